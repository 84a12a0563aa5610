"""Which version is newer, and that `latest` moves only forward."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from utils import limits
from utils.errors import ReleaseError
from utils.release import oci
from utils.release.layout import Layout
from utils.release.pack import release_of
from utils.release.versions import precedence_of, why_not_latest

#: Oldest first: the example of https://semver.org, section 11, with numbers that are longer than others.
ORDER = [
    "0.9.0",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.9.0",
    "1.10.0",
    "10.0.0",
]


def made(version: str) -> oci.Artifact:
    release: dict[str, Any] = {"version": version, "commit": "0" * 40, "time": 0}
    return oci.build_artifact("model", {"title": "T", "licence": "MIT"}, {"README.md": version.encode()}, release)


def push(layout: Layout, version: str, *, dry_run: bool = False) -> str:
    return oci.push(layout, made(version), version, dry_run=dry_run).latest


def test_the_order_of_versions() -> None:
    for older, newer in pairwise(ORDER):
        one, other = precedence_of(older), precedence_of(newer)
        assert one is not None
        assert other is not None
        assert one < other
    for text in ("", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0+build", "\u0661.0.0", "1.0.0-01", "1.0.0-rc.00"):
        assert precedence_of(text) is None
    for text in ("1.0.0-0", "1.0.0-0a", "1.0.0-01-", "1.0.0--", "1.0.0-rc.10"):
        assert precedence_of(text) is not None


def test_a_version_that_is_too_long_for_a_tag() -> None:
    assert precedence_of(f"1.0.0-{'a' * (limits.VERSION_CHARS - 6)}") is not None
    for text in (f"1.0.0-{'a' * (limits.VERSION_CHARS - 5)}", f"1.0.{'1' * 5000}", "1" * 10**6):
        assert precedence_of(text) is None
        with pytest.raises(ReleaseError, match=r"is not a version\n.*up to 64 characters") as caught:
            release_of(text)
        assert len(str(caught.value)) < 400
    assert why_not_latest("1.0.0", f"1.0.{'1' * 5000}") == "the version that it names is unknown"


@pytest.mark.parametrize(
    ("version", "held", "reason"),
    [
        ("1.0.0", None, ""),
        ("1.0.1", "1.0.0", ""),
        ("1.0.0", "1.0.0", ""),
        ("1.0.0", "1.0.0-rc.1", ""),
        ("1.10.0", "1.9.0", ""),
        ("0.9.0", "1.0.0", "1.0.0 is newer"),
        ("1.9.0", "1.10.0", "1.10.0 is newer"),
        ("2.0.0-rc.1", None, "2.0.0-rc.1 is a pre-release"),
        ("2.0.0-rc.1", "1.0.0", "2.0.0-rc.1 is a pre-release"),
        ("1.0.0", "", "the version that it names is unknown"),
        ("tomorrow", None, "tomorrow is not a version of semver.org"),
    ],
)
def test_who_takes_latest(version: str, held: str | None, reason: str) -> None:
    assert why_not_latest(version, held) == reason


def test_latest_moves_only_forward(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert push(layout, "2.0.0-rc.1") == "no latest: 2.0.0-rc.1 is a pre-release"
    assert layout.find_tag("latest") is None
    assert push(layout, "1.0.0", dry_run=True) == "latest would be 1.0.0"
    assert push(layout, "1.0.0") == "latest is 1.0.0"
    assert push(layout, "0.9.0") == "latest stays: 1.0.0 is newer"
    assert push(layout, "1.1.0-rc.1") == "latest stays: 1.1.0-rc.1 is a pre-release"
    assert layout.find_tag("latest") == oci.Tagged(made("1.0.0").digest, "1.0.0")
    assert push(layout, "1.0.0") == "latest is 1.0.0"
    assert push(layout, "1.10.0") == "latest is 1.10.0"
    assert push(layout, "1.9.0") == "latest stays: 1.10.0 is newer"
    for version in ("0.9.0", "1.0.0", "1.1.0-rc.1", "1.10.0", "1.9.0", "2.0.0-rc.1"):
        assert layout.find_tag(version) == oci.Tagged(made(version).digest, version)


def test_a_latest_of_others_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.put_manifest("latest", json.dumps({"schemaVersion": 2}).encode())
    assert push(layout, "1.0.0") == "latest stays: the version that it names is unknown"
