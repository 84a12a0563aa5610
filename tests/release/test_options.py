"""What stands behind key=, pubkey=, to= and their like: empty values and passwords."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils.errors import PublishError, SourceError
from utils.model import own_weights
from utils.release.publish import publish
from utils.release.registry import Registry

pytestmark = pytest.mark.slow


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "utils.release", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("command", "empty"),
    [
        ("release version=1.0.0", "key="),
        ("release:check path=release/1.0.0", "pubkey="),
        ("release:check path=release/1.0.0", "pubkey= "),
        ("release:check path=release/1.0.0", "with="),
        ("release:check", "path="),
        ("publish path=release/1.0.0 to=dir:out", "pubkey="),
        ("publish to=dir:out", "path="),
        ("mirror", "to="),
        ("verify", "key="),
        ("verify", "release="),
        ("verify", "to="),
        ("release:check path=release/1.0.0", "rebuilders="),
        ("release:check path=release/1.0.0 rebuilders=a.pub", "rebuilds="),
    ],
)
def test_an_empty_value_is_refused(command: str, empty: str) -> None:
    """A shell leaves `key=` of an unset variable: the release would be made without a signature."""
    name = empty.strip(" =")
    done = run(*command.split(), empty)
    assert done.returncode == 10, done.stderr
    assert f"{name}=: no {name} given\n  -> doit {command.split(maxsplit=1)[0]} {name}=" in done.stderr


@pytest.mark.parametrize("value", ["", " "])
def test_empty_weights_do_not_mean_the_published_ones(value: str) -> None:
    with pytest.raises(SourceError, match=r"^weights=: no weights given"):
        own_weights.choose({}, value, None, ["mobilenet_v2"])


@pytest.mark.parametrize(
    "to",
    [
        "oci://zoo:hush@host/repo",
        "oci://zoo:hu/sh@host/repo",
        "oci://zoo:hush@/repo",
        "oci://hush@",
        "hf://zoo:hush@org",
        "https://zoo:hush@host/repo",
        "dir://zoo:hush@host/folder",
    ],
)
@pytest.mark.parametrize("command", ["publish", "mirror"])
def test_a_password_in_an_address_is_refused_and_not_shown(command: str, to: str, tmp_path: Path) -> None:
    done = run(command, f"to={to}", *([f"path={tmp_path}"] if command == "publish" else []))
    assert done.returncode == 11, done.stderr
    assert "to=: the address has a user in it" in done.stderr
    assert "docker login HOST" in done.stderr
    assert "hu" not in (done.stdout + done.stderr).replace("hub", "").replace("HOST", "")


@pytest.mark.parametrize(("host", "repository"), [("zoo:hush@host", "repo"), ("zoo:hu", "sh@host/repo")])
def test_a_registry_shows_no_password_either(host: str, repository: str) -> None:
    with pytest.raises(PublishError, match="HOST has a user in it") as caught:
        Registry(host, repository)
    assert "hu" not in str(caught.value)


def test_a_place_does_not_act_on_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(PublishError) as caught:
        publish(tmp_path, "x\x1b[2J@", None, dry_run=True)
    assert "\x1b" not in str(caught.value)
