"""Publishing to a hub: twice, cut in the middle, after a newer version, and where it is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hops import make_certificate, recorder
from tests.support.registries import Hub, hub
from tests.support.releases import killed, publish, published

#: Each starts the program, which imports the hub's and signing's packages for seconds.
pytestmark = pytest.mark.slow


@pytest.fixture
def hugging(home: dict[str, str]) -> Iterator[Hub]:
    with hub() as server:
        home["HF_ENDPOINT"] = f"http://{server.address}"
        home["HF_TOKEN"] = server.token
        yield server


def test_to_a_hub(release_once: Path, home: dict[str, str], hugging: Hub) -> None:
    dry = publish(release_once, "hf://team", home, "dry_run=1")
    assert dry.returncode == 0, dry.stderr
    assert "files would be changed" in dry.stdout
    assert hugging.repositories == {}
    done = publish(release_once, "hf://team", home)
    assert done.returncode == 0, done.stderr
    for model in ("demo_nearest", "demo_bilinear"):
        for revision in ("main", "1.0.0"):
            files = dict(hugging.repositories[f"team/{model}"][revision])
            del files[".gitattributes"]
            assert files == published(release_once, model)
    assert len(hugging.uploads) == len(set(hugging.uploads))
    counts = len(hugging.uploads), len(hugging.commits)
    again = publish(release_once, "hf://team", home)
    assert again.stdout.count("nothing to do") == 2
    assert (len(hugging.uploads), len(hugging.commits)) == counts


def test_a_hub_cut_in_the_middle(release_once: Path, home: dict[str, str], hugging: Hub) -> None:
    hugging.pace = 0.1
    killed(release_once, "hf://team", home, lambda: len(hugging.uploads) >= 4)
    hugging.pace = 0.0
    time.sleep(0.5)
    assert hugging.commits == []  # large files that no commit names: nothing half-published
    assert publish(release_once, "hf://team", home).returncode == 0
    assert len(hugging.uploads) == len(set(hugging.uploads))
    assert sorted(hugging.commits) == ["team/demo_bilinear", "team/demo_nearest"]


def test_a_hub_that_has_an_older_version(release_once: Path, home: dict[str, str], hugging: Hub) -> None:
    """What is not of this release goes; what was released before stays under its tag."""
    old = {"README.md": b"old", "old.tflite": b"old"}
    hugging.repositories["team/demo_nearest"] = {"main": dict(old), "0.9.0": dict(old)}
    assert publish(release_once, "hf://team", home).returncode == 0
    assert hugging.repositories["team/demo_nearest"]["main"] == published(release_once, "demo_nearest")
    assert hugging.repositories["team/demo_nearest"]["0.9.0"] == old


def test_a_hub_that_has_another_release_of_this_version(release_once: Path, home: dict[str, str], hugging: Hub) -> None:
    hugging.repositories["team/demo_bilinear"] = {"main": {}, "1.0.0": {"README.md": b"other"}}
    done = publish(release_once, "hf://team", home)
    assert done.returncode == 11
    assert "hf://team/demo_bilinear:1.0.0: this version is already published, with other files" in done.stderr
    assert hugging.commits == []


@pytest.mark.parametrize("branch", [False, True])
def test_a_hub_that_has_a_newer_version(release_once: Path, home: dict[str, str], hugging: Hub, branch: bool) -> None:
    """`main` is what people get who name no version: it moves only forward. A branch may be left of a killed run."""
    new = {"README.md": b"new", "new.tflite": b"new"}
    hugging.repositories["team/demo_nearest"] = {"main": dict(new), "1.10.0": dict(new), "2.0.0-rc.1": {}, "x": {}}
    if branch:
        hugging.repositories["team/demo_nearest"]["release-1.0.0"] = dict(new)
        hugging.branches.add(("team/demo_nearest", "release-1.0.0"))
    dry = publish(release_once, "hf://team", home, "dry_run=1")
    assert "main stays: 1.10.0 is newer" in dry.stdout
    done = publish(release_once, "hf://team", home)
    assert done.returncode == 0, done.stderr
    assert "; main stays: 1.10.0 is newer" in done.stdout
    assert "; main is 1.0.0" in done.stdout  # the other model's
    assert hugging.repositories["team/demo_nearest"].pop("1.0.0") == published(release_once, "demo_nearest")
    assert hugging.repositories["team/demo_nearest"] == {"main": new, "1.10.0": new, "2.0.0-rc.1": {}, "x": {}}


def test_a_hub_that_sends_files_to_an_unprotected_address(
    release_once: Path, home: dict[str, str], hugging: Hub
) -> None:
    hugging.storage = "http://storage.example.org"
    done = publish(release_once, "hf://team", home)
    assert done.returncode == 11
    assert "hf://team: the hub redirects to an unprotected address (http://storage.example.org)" in done.stderr
    assert hugging.commits == []


def test_the_token_of_a_hub_goes_to_the_hub_only(
    release_once: Path, home: dict[str, str], hugging: Hub, tmp_path: Path
) -> None:
    """Neither to whom it names for checking an upload, nor to a proxy on the way to this machine."""
    with recorder(make_certificate(tmp_path / "server.pem")) as other, recorder(tmp_path / "server.pem") as proxy:
        hugging.verify = f"http://127.0.0.1:{other.port}/verify"
        other.answers["POST /verify"] = 200, {}
        proxies = {"http_proxy": f"http://127.0.0.1:{proxy.port}", "all_proxy": f"http://127.0.0.1:{proxy.port}"}
        done = publish(release_once, "hf://team", home | proxies)
        assert done.returncode == 0, done.stderr
        assert other.seen
        assert set(other.secrets("/verify")) == {""}
        assert proxy.seen == []


@pytest.mark.parametrize("token", ["hf_wrong", ""])
def test_a_hub_that_does_not_know_us(release_once: Path, home: dict[str, str], hugging: Hub, token: str) -> None:
    done = publish(release_once, "hf://team", home | {"HF_TOKEN": token})
    assert done.returncode == 11
    assert "hf://team: not authorised (HTTP 401)" in done.stderr
    assert "run hf auth login, or set HF_TOKEN" in done.stderr
    assert hugging.repositories == {}


def test_a_hub_that_is_not_there(release_once: Path, home: dict[str, str]) -> None:
    done = publish(release_once, "hf://team", home | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_secret"})
    assert done.returncode == 11
    assert "hf://team: the hub cannot be reached" in done.stderr


def test_no_hub_elsewhere_is_spoken_to_without_tls(release_once: Path, home: dict[str, str]) -> None:
    done = publish(release_once, "hf://team", home | {"HF_ENDPOINT": "http://hub.example.org"})
    assert done.returncode == 11
    assert "HF_ENDPOINT is not https" in done.stderr


@pytest.mark.parametrize("organisation", ["no such name!", "team/model"])
def test_a_hub_name_that_is_none(release_once: Path, home: dict[str, str], hugging: Hub, organisation: str) -> None:
    done = publish(release_once, f"hf://{organisation}", home)
    assert done.returncode == 11
    assert "is not the name of an organisation" in done.stderr
    assert hugging.requests == []
