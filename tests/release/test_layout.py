"""OCI layout folders that several publish to at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils import files
from utils.errors import PublishError, StorageError
from utils.release import oci
from utils.release.layout import Layout

pytestmark = pytest.mark.heavy

#: Pushes one small artifact under each of the versions that it is given.
PUSH = """
import sys
from pathlib import Path
from tests.release.test_layout import push
for version in sys.argv[2:]:
    push(Path(sys.argv[1]), version)
print("done", flush=True)
"""


def push(folder: Path, version: str) -> oci.Tally:
    facts = {"title": "Demo", "licence": "MIT"}
    release = {"time": 0, "version": version, "commit": "0" * 40}
    what = oci.build_artifact("demo", facts, {"README.md": b"text"}, release)
    return oci.push(Layout(folder), what, version, dry_run=False)


def start(folder: Path, *versions: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUSH, str(folder), *versions]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def tags(folder: Path) -> dict[str, str]:
    manifests = json.loads((folder / "index.json").read_text())["manifests"]
    return {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in manifests}


def test_publishing_at_once_loses_no_tag_and_latest_is_the_newest(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    versions = [[f"1.{minor}.{patch}" for patch in range(20)] for minor in range(3)]
    running = [start(layout, *some) for some in versions]
    assert [(process.communicate()[0], process.returncode) for process in running] == [("done\n", 0)] * 3
    found = tags(layout)
    assert found.keys() == {"latest", *(version for some in versions for version in some)}
    assert found["latest"] == found["1.2.19"]


def test_latest_is_decided_after_the_other_process_has_set_it(tmp_path: Path) -> None:
    """The older version found no tag `latest` before it waited: it must look again."""
    push(tmp_path, "0.1.0")
    with files.locked_folder(tmp_path):
        older = start(tmp_path, "1.0.0")
        blob = tmp_path / "blobs"
        before = len(list(blob.rglob("*")))
        while len(list(blob.rglob("*"))) == before and older.poll() is None:
            pass  # its config blob comes before its tags
        assert older.poll() is None
        newer = Layout(tmp_path)
        release = {"time": 0, "version": "2.0.0", "commit": "0" * 40}
        what = oci.build_artifact("demo", {"title": "Demo", "licence": "MIT"}, {}, release)
        for tag in ("2.0.0", "latest"):  # we hold the lock
            newer.put_manifest(tag, what.manifest)
    assert older.communicate(timeout=30)[0] == "done\n"
    found = tags(tmp_path)
    assert found.keys() == {"0.1.0", "1.0.0", "2.0.0", "latest"}
    assert found["latest"] == found["2.0.0"]


def test_a_dry_run_makes_no_folder(tmp_path: Path) -> None:
    release = {"time": 0, "version": "1.0.0", "commit": "0" * 40}
    what = oci.build_artifact("demo", {"title": "Demo", "licence": "MIT"}, {"README.md": b"text"}, release)
    assert oci.push(Layout(tmp_path / "layout"), what, "1.0.0", dry_run=True).latest == "latest would be 1.0.0"
    assert not (tmp_path / "layout").exists()


@pytest.mark.parametrize("index", ["{", "[]", '{"schemaVersion": 1, "manifests": []}'])
def test_a_folder_that_is_no_layout(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(PublishError, match="is not an OCI layout"):
        push(tmp_path, "1.0.0")


def test_a_file_where_the_layout_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        push(tmp_path / "file/layout", "1.0.0")
