"""ZOO_ENGINE and ZOO_TLS: what names a cluster, and what is refused before anything is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout, copy_project
from utils.errors import UsageError
from utils.shared import cluster, worker
from utils.shared.cluster import Cluster, find_cluster


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    folder = tmp_path / "tls"
    folder.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).write_text(name)
    return folder


def refused(**env: str) -> str:
    with pytest.raises(UsageError) as caught:
        find_cluster(env)
    return str(caught.value)


def test_no_address_is_no_cluster(tls: Path) -> None:
    assert find_cluster({}) is None
    assert find_cluster({"ZOO_ENGINE": "", "ZOO_TLS": str(tls)}) is None


def test_an_address_with_tls_takes_the_folder_of_a_certificate(tls: Path) -> None:
    found = find_cluster({"ZOO_ENGINE": "tls://scheduler.example:8786", "ZOO_TLS": str(tls)})
    assert found == Cluster("tls://scheduler.example:8786", "scheduler.example", 8786, tls)
    assert found.dask_words == [
        "--tls-ca-file", f"{tls}/ca.pem", "--tls-cert", f"{tls}/cert.pem", "--tls-key", f"{tls}/key.pem",
    ]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.1"])
def test_plain_tcp_is_for_this_machine(host: str) -> None:
    found = find_cluster({"ZOO_ENGINE": f"tcp://{host}:8786"})
    assert found is not None
    assert (found.host, found.tls, found.dask_words) == (host.strip("[]"), None, [])


@pytest.mark.parametrize("host", ["scheduler.example", "10.0.0.1", "0.0.0.0", "localhost.example", "[fe80::1]"])
def test_plain_tcp_to_another_machine_is_refused(host: str) -> None:
    said = refused(ZOO_ENGINE=f"tcp://{host}:8786")
    assert "plain TCP is for this machine alone" in said
    assert "-> use tls://, and set ZOO_TLS" in said


@pytest.mark.parametrize(
    "address",
    ["scheduler:8786", "https://scheduler:8786", "tls://scheduler", "tls://:8786", "tls://scheduler:port", "tls://[::1:8",
     "tls://user:word@scheduler:8786", "tls://scheduler:8786/x", "tls://scheduler:8786?x", "tls://scheduler:99999"],
)  # fmt: skip
def test_a_malformed_address_is_refused(address: str, tls: Path) -> None:
    said = refused(ZOO_ENGINE=address, ZOO_TLS=str(tls))
    assert "tls://HOST:PORT" in said
    assert f"ZOO_ENGINE={address}" in said


def test_tls_without_a_certificate_is_refused(tls: Path) -> None:
    assert "tls:// needs a certificate" in refused(ZOO_ENGINE="tls://scheduler:8786")
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tls / name).rename(tls / "aside")
        said = refused(ZOO_ENGINE="tls://scheduler:8786", ZOO_TLS=str(tls))
        assert f"{name} is missing or cannot be read" in said
        (tls / "aside").rename(tls / name)


def test_a_certificate_may_be_for_the_cache_alone(tls: Path) -> None:
    found = find_cluster({"ZOO_ENGINE": "tcp://127.0.0.1:8786", "ZOO_TLS": str(tls)})
    assert found is not None
    assert (found.tls, found.certificate) == (None, [])


# What Dask is started with


def test_a_worker_computes_nothing_itself(tls: Path) -> None:
    words = worker.worker_words(Cluster("tls://h:1", "h", 1, tls), {"steps": "3", "name": "a-1"})
    assert words[0] == "tls://h:1"
    assert words[words.index("--nthreads") + 1] == "3"
    assert words[words.index("--name") + 1] == "a-1"
    assert {"--no-nanny", "--no-dashboard", "--tls-ca-file", "--tls-cert", "--tls-key"} <= {*words}
    assert words[words.index("--dashboard-address") + 1] == "127.0.0.1:0"


def test_plain_tcp_listens_on_this_machine_alone() -> None:
    found = Cluster("tcp://127.0.0.1:1", "127.0.0.1", 1, None)
    for words in (worker.worker_words(found, {}), worker.scheduler_words(found, {})):
        assert words[words.index("--host") + 1] == "127.0.0.1"


def test_the_dashboard_is_for_this_machine_unless_told(tls: Path) -> None:
    found = Cluster("tls://h:7", "h", 7, tls)
    words = worker.scheduler_words(found, {})
    assert words[words.index("--dashboard-address") + 1] == "127.0.0.1:8787"
    assert words[words.index("--port") + 1] == "7"
    assert words[words.index("--protocol") + 1] == "tls"
    assert "0.0.0.0:9000" in worker.scheduler_words(found, {"dashboard": "0.0.0.0:9000"})


@pytest.mark.parametrize("steps", ["0", "-1", "two", "1e3", "99999", "²"])
def test_a_number_of_steps_that_is_none_is_refused(steps: str, tls: Path) -> None:
    with pytest.raises(UsageError, match="steps="):
        worker.worker_words(Cluster("tls://h:1", "h", 1, tls), {"steps": steps})


@pytest.mark.parametrize("name", ["a b", "x" * 65, "é", "-;rm"])
def test_a_name_that_others_would_have_to_quote_is_refused(name: str, tls: Path) -> None:
    with pytest.raises(UsageError, match="name="):
        worker.worker_words(Cluster("tls://h:1", "h", 1, tls), {"name": name})


# The command line


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return copy_project(tmp_path_factory.mktemp("cluster") / "zoo")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({}, "ZOO_ENGINE names no scheduler"),
        ({"ZOO_ENGINE": "tls://scheduler:8786"}, "tls:// needs a certificate"),
        ({"ZOO_ENGINE": "tcp://127.0.0.1:8786"}, "a worker needs a step cache that it may write"),
        (
            {"ZOO_ENGINE": "tcp://127.0.0.1:8786", "ZOO_STEPS": "http://127.0.0.1:9", "ZOO_STEPS_WRITE": "1",
             "ZOO_STEPS_KEY": "dodo.py"},
            "ZOO_STEPS_KEY=",
        ),
    ],
)  # fmt: skip
def test_a_worker_says_what_it_lacks(checkout: Checkout, env: dict[str, str], says: str) -> None:
    done = checkout.doit("worker", env=env)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.heavy
def test_a_build_for_a_malformed_cluster_does_nothing(checkout: Checkout) -> None:
    done = checkout.doit("demo", env={"ZOO_ENGINE": "tcp://scheduler.example:8786"})
    assert done.returncode == 2
    assert "plain TCP is for this machine alone" in done.stderr
    assert not (checkout.root / "build/demo_nearest").exists()


def test_the_engine_is_in_no_other_environment() -> None:
    for lock in (ROOT / "docker").glob("requirements*.txt"):
        names = {line.partition("==")[0] for line in lock.read_text().splitlines()}
        assert ({"dask", "distributed"} <= names) == (lock.name == "requirements-engine.txt"), lock.name


def test_an_engine_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.paths, "BUILD", tmp_path)
    monkeypatch.delenv("NXP_MODEL_ZOO_IMAGE", raising=False)
    with pytest.raises(UsageError, match="the engine is not installed"):
        cluster.find_engine_folder()
