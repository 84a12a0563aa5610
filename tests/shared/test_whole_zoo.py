"""Every locked model, taken by a second machine that runs no step: it gets what is locked."""

from __future__ import annotations

import re
import shutil
import time
from itertools import groupby
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, copy_project
from tests.support.nginx import require_nginx, running_nginx
from tests.support.real import FROM_MIRROR, build_real
from tests.support.releases import commit, make_keys
from tests.support.shared_builds import push_all, require_promise
from utils.graph import plan
from utils.recipe.load import find_recipe
from utils.release import lock
from utils.shared.trust import Signer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_the_step_cache_gives_a_second_machine_what_is_locked(
    mirror: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    require_promise()
    require_nginx()
    models = sorted(lock.load()["models"])
    steps = [step for name in models for step in plan.steps_of(find_recipe(name))]
    fetched = {source for step in steps for source in step.fetches}
    if missing := [source.name for source in fetched if not (mirror / str(source.sha256)).is_file()]:
        pytest.skip(f"the mirror lacks {len(missing)} files of the locked models: {missing[0]}")
    groups = [(*group,) for _, group in groupby(models, lambda name: find_recipe(name).folder)]
    built = {group: build_real(tmp_path_factory, *group).checkout for group in groups}
    keys, second = make_keys(tmp_path / "keys"), copy_project(tmp_path / "second/zoo")
    shutil.copy(ROOT / "artifacts.lock", second.root)
    commit(second)
    with running_nginx(tmp_path / "nginx") as nginx:
        reads = {
            "ZOO_STEPS": nginx.address, "ZOO_STEPS_PUBKEY": str(keys.public), "ZOO_TLS": str(nginx.tls)
        } | FROM_MIRROR  # fmt: skip
        writes = {"ZOO_STEPS_WRITE": "1", "ZOO_STEPS_KEY": str(keys.private)}
        for group, first in built.items():
            push_all(first, reads | writes, *group)
        begin = time.monotonic()
        done = second.doit("verify", "restored=1", env=reads, timeout=600)
    print(f"\n{len(steps)} steps of {len(models)} models: verified in {time.monotonic() - begin:.1f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"done: 0 steps run, {len(steps)} restored, 0 up to date" in done.stdout
    signer = Signer(keys.private).fingerprint
    said = re.search(r"(\d+) of \1 steps were restored from the step cache: \1 signed by (\w+)\n", done.stdout)
    assert said, done.stdout
    assert (int(said[1]), said[2]) == (len(steps), signer)
    assert "  shown: for this checkout, the step cache gives what artifacts.lock says\n" in done.stdout
    assert "  not shown: that this checkout's code makes these bytes" in done.stdout
    for name in models:
        for file in lock.load()["models"][name]["artifacts"]:
            assert f"{file}: identical" in done.stdout
