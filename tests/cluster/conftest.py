"""A small checkout under git, Dask, a step cache, and clusters of them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import nginx
from tests.support.checkouts import Checkout, clean_env, copy_project, make_small
from tests.support.clusters import Machines, machines, make_engine, make_tls
from tests.support.shared_builds import require_promise
from tests.support.step_caches import USER, serving_steps

WHO = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]

#: The machines that have certificates.
NAMES = ("coordinator", "scheduler", "worker")


@dataclass(frozen=True)
class Cache:
    """A step cache, and the certificates of a cluster that may write it.

    Attributes:
        variables: of a machine that writes.
        tls: a folder for each of NAMES.
        stop: ends it.
    """

    variables: dict[str, str]
    tls: Path
    stop: Callable[[], object]


def git(checkout: Checkout, *words: str) -> None:
    """Run git in a checkout."""
    env = clean_env() | dict.fromkeys(WHO, "tester@example.org")
    subprocess.run(["git", *words], cwd=checkout.root, env=env, check=True, capture_output=True)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment of Dask."""
    require_promise()
    return make_engine(tmp_path_factory)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """Debian's nginx with docker/cluster/nginx.conf, whose writers have certificates; or a server of the tests."""
    tls = tmp_path / "tls"
    with contextlib.ExitStack() as stack:
        if shutil.which("nginx") or Path("/usr/sbin/nginx").exists():
            served = stack.enter_context(nginx.running_nginx(tmp_path / "cache"))
            for name in NAMES:
                nginx.make_tls(tls / name, ca_of=tmp_path / "cache/etc")
            address = served.address
        else:
            make_tls(tls, *NAMES)
            address = stack.enter_context(serving_steps()).base.replace("://", f"://{USER}@")
        yield Cache({"ZOO_STEPS": address, "ZOO_STEPS_WRITE": "1"}, tls, stack.close)


@pytest.fixture
def coordinator(tmp_path: Path) -> Checkout:
    """The checkout in which doit runs; its demo builds in seconds."""
    made = make_small(copy_project(tmp_path / "coordinator"))
    (made.root / ".gitignore").write_text("build/\nartifacts/\n__pycache__/\n")
    git(made, "init", "-q")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "Small")
    return made


@pytest.fixture
def cluster(tmp_path: Path, engine: Path, cache: Cache, coordinator: Checkout) -> Iterator[Machines]:
    """A cluster with a scheduler and no worker; the coordinator can reach it."""
    with machines(tmp_path / "machines", engine, cache.variables, cache.tls) as made:
        made.adopt(coordinator)
        made.start_scheduler(coordinator)
        yield made
