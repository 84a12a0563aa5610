"""Statements about rebuilds, published with a release or added to one later: to folders, layouts and hubs."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import ROOT
from tests.support.rebuilders import COMMIT, file_of, know, new_key, put, put_beside, state
from tests.support.registries import Hub, hub
from tests.support.releases import FIRST_MODEL, Keys, make_keys, published, small_release
from utils import limits
from utils.attest.rebuilds import read_rebuild
from utils.errors import PublishError, ReleaseError
from utils.keys import fingerprint_of
from utils.release import check, publish, rebuilds, sign

VERSION = "0.1.0"
FILE = f"{FIRST_MODEL}_int8.tflite"

#: What a rebuild made that differs; and times before and after those of the other statements.
OTHER = {FILE: "0" * 64}
EARLIER, LATER = "2026-09-01T12:00:00Z", "2026-11-01T12:00:00Z"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "keys")


@pytest.fixture
def release(tmp_path: Path, keys: Keys) -> Path:
    return small_release(tmp_path, keys)


@pytest.fixture
def index(release: Path) -> dict[str, Any]:
    return check.index_of(release)


def statement(key: Any, index: dict[str, Any], **changes: Any) -> bytes:
    artifacts = {file: facts["sha256"] for file, facts in index["models"][FIRST_MODEL]["artifacts"].items()}
    facts = {"version": index["version"], "commit": index["commit"], "files": index["files"], **changes}
    return state(key, FIRST_MODEL, facts.pop("artifacts", artifacts), **facts)


def given(folder: Path, key: Any, index: dict[str, Any], **changes: Any) -> Path:
    """A folder with one statement."""
    put(folder, FIRST_MODEL, key, statement(key, index, **changes))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


## Folders


def test_a_folder_gets_them_beside_the_release(
    release: Path, index: dict[str, Any], keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, to = new_key(), new_key(), f"dir:{tmp_path / 'to'}"
    put_beside(release, index, FIRST_MODEL, first)
    publish.publish(release, to, keys.public, dry_run=True)
    assert "rebuilds: 1 would be added" in capsys.readouterr().out
    assert not (tmp_path / "to").exists()
    publish.publish(release, to, keys.public, dry_run=False)
    before = tree(tmp_path / "to" / VERSION)
    assert before == tree(release)
    folder = given(tmp_path / "statements", second, index)
    publish.publish_rebuilds(folder, to, dry_run=True)
    beside = tmp_path / "to" / f"{VERSION}.rebuilds"
    assert tree(beside).keys() == {f"{FIRST_MODEL}/{file_of(first)}"}
    capsys.readouterr()
    for said in ("rebuilds: 1 added", "rebuilds: all were there"):
        publish.publish_rebuilds(folder, to, dry_run=False)
        assert said in capsys.readouterr().out
    assert tree(beside) == {f"{FIRST_MODEL}/{file_of(key)}": statement(key, index) for key in (first, second)}
    publish.publish(release, to, keys.public, dry_run=False)  # the published version is still the same
    assert f"{VERSION}: nothing to do" in capsys.readouterr().out
    assert tree(tmp_path / "to" / VERSION) == before


def test_a_newer_statement_of_a_key_takes_the_place_of_its_own(
    release: Path, index: dict[str, Any], tmp_path: Path
) -> None:
    """Also one that found other bytes: that is news."""
    key, to = new_key(), f"dir:{tmp_path / 'to'}"
    put_beside(release, index, FIRST_MODEL, key)
    publish.publish(release, to, None, dry_run=False)
    folder = given(tmp_path / "statements", key, index, rebuilt={FILE: "0" * 64})
    publish.publish_rebuilds(folder, to, dry_run=False)
    file = tmp_path / "to" / f"{VERSION}.rebuilds" / FIRST_MODEL / file_of(key)
    assert file.read_bytes() == statement(key, index, rebuilt={FILE: "0" * 64}) != statement(key, index)


@pytest.mark.parametrize("time", [EARLIER, LATER])
def test_a_key_does_not_take_back_what_it_has_found(
    release: Path, index: dict[str, Any], tmp_path: Path, time: str
) -> None:
    """Whether it says so later or has said so before: the owner of the place decides."""
    key, to = new_key(), tmp_path / "to"
    publish.publish(release, f"dir:{to}", None, dry_run=False)
    failed = given(tmp_path / "failed", key, index, rebuilt=OTHER)
    publish.publish_rebuilds(failed, f"dir:{to}", dry_run=False)
    there = to / f"{VERSION}.rebuilds" / FIRST_MODEL / file_of(key)
    passed = given(tmp_path / "passed", key, index, time=time)
    for dry_run in (True, False):
        with pytest.raises(PublishError) as caught:
            publish.publish_rebuilds(passed, f"dir:{to}", dry_run=dry_run)
        assert str(caught.value).startswith(f"{there}: this key has built other bytes of {FILE} before, and ")
        assert f"and {passed}/{FIRST_MODEL}/{file_of(key)} says the same bytes" in str(caught.value)
        assert "remove the earlier statement there if it was wrong" in str(caught.value)
    assert there.read_bytes() == statement(key, index, rebuilt=OTHER)
    there.unlink()
    publish.publish_rebuilds(passed, f"dir:{to}", dry_run=False)
    assert there.read_bytes() == statement(key, index, time=time)


def test_a_release_is_not_copied_beside_what_its_statement_takes_back(
    release: Path, index: dict[str, Any], tmp_path: Path
) -> None:
    key, to = new_key(), tmp_path / "to"
    put(to / f"{VERSION}.rebuilds", FIRST_MODEL, key, statement(key, index, rebuilt=OTHER))
    put_beside(release, index, FIRST_MODEL, key)
    with pytest.raises(PublishError, match=f"this key has built other bytes of {FILE} before"):
        publish.publish(release, f"dir:{to}", None, dry_run=False)
    assert not (to / VERSION).exists()


@pytest.mark.parametrize("rebuilt", [None, OTHER])
def test_an_older_statement_does_not_replace_a_newer_one(
    release: Path,
    index: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rebuilt: dict[str, str] | None,
) -> None:
    key, to = new_key(), f"dir:{tmp_path / 'to'}"
    publish.publish(release, to, None, dry_run=False)
    publish.publish_rebuilds(given(tmp_path / "newer", key, index), to, dry_run=False)
    older = given(tmp_path / "older", key, index, time=EARLIER, rebuilt=rebuilt)
    capsys.readouterr()
    publish.publish_rebuilds(older, to, dry_run=False)
    assert "rebuilds: 0 added, 1 left out: newer ones of their keys are there" in capsys.readouterr().out
    there = tmp_path / "to" / f"{VERSION}.rebuilds" / FIRST_MODEL / file_of(key)
    assert there.read_bytes() == statement(key, index)
    publish.publish_rebuilds(given(tmp_path / "latest", key, index, time=LATER), to, dry_run=False)
    assert there.read_bytes() == statement(key, index, time=LATER)


def test_what_its_key_has_not_said_about_this_release_is_replaced(
    release: Path, index: dict[str, Any], tmp_path: Path
) -> None:
    key, to = new_key(), f"dir:{tmp_path / 'to'}"
    publish.publish(release, to, None, dry_run=False)
    there = tmp_path / "to" / f"{VERSION}.rebuilds" / FIRST_MODEL / file_of(key)
    there.parent.mkdir(parents=True)
    bundle = json.loads(statement(new_key(), index, rebuilt=OTHER))
    bundle["verificationMaterial"]["publicKey"]["hint"] = fingerprint_of(key.public_key())
    forged = json.dumps(bundle, sort_keys=True, separators=(",", ":")).encode()
    elsewhere = statement(key, index, rebuilt=OTHER, version="0.2.0", time=LATER)
    for text in (b"damaged", forged, elsewhere):
        there.write_bytes(text)
        publish.publish_rebuilds(given(tmp_path / "statements", key, index), to, dry_run=False)
        assert there.read_bytes() == statement(key, index)


def test_what_is_there_and_cannot_be_read_is_not_replaced(release: Path, index: dict[str, Any], tmp_path: Path) -> None:
    key, to = new_key(), f"dir:{tmp_path / 'to'}"
    publish.publish(release, to, None, dry_run=False)
    there = tmp_path / "to" / f"{VERSION}.rebuilds" / FIRST_MODEL / file_of(key)
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x" * (limits.REBUILD_BYTES + 1))
    with pytest.raises(PublishError, match=f"{there}: cannot be read: has more than"):
        publish.publish_rebuilds(given(tmp_path / "statements", key, index), to, dry_run=False)


@pytest.mark.parametrize("kind", ["dir", "oci"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_other_bytes_are_said_when_their_statement_goes_along(
    release: Path, index: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, dry_run: bool
) -> None:
    first, second, to = new_key(), new_key(), f"{kind}:{tmp_path / 'to'}"
    line = "{}: {} has built other bytes of {}\n"
    put_beside(release, index, FIRST_MODEL, first, rebuilt=OTHER)
    put_beside(release, index, FIRST_MODEL, new_key())
    publish.publish(release, to, None, dry_run=dry_run)
    out = capsys.readouterr().out
    assert line.format(FIRST_MODEL, file_of(first).removesuffix(".json"), FILE) in out
    assert out.count("has built other bytes") == 1
    if not dry_run:
        for again in (True, False):
            folder = given(tmp_path / "statements", second, index, rebuilt={FILE: ""})
            publish.publish_rebuilds(folder, to, dry_run=again)
            assert line.format(FIRST_MODEL, file_of(second).removesuffix(".json"), FILE) in capsys.readouterr().out


def test_a_statement_about_some_of_the_artifacts(index: dict[str, Any]) -> None:
    artifacts = {FILE: index["models"][FIRST_MODEL]["artifacts"][FILE]["sha256"]}
    key = new_key()
    facts, _ = read_rebuild(statement(key, index), "here")
    some = rebuilds.Statement(file_of(key), "here", b"", VERSION, facts)
    rebuilds.require_fit(some, VERSION, artifacts, index["commit"], where="there")
    with pytest.raises(PublishError, match=r"is not about more\.tflite, which this release has"):
        rebuilds.require_fit(some, VERSION, artifacts | {"more.tflite": "0" * 64}, index["commit"], where="there")


@pytest.mark.parametrize("kind", ["dir", "oci"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.2.0"}, "0.2.0: this version is not published"),
        ({"commit": COMMIT}, f"is about commit {COMMIT[:12]}, and the release is of "),
        ({"artifacts": {FILE: "0" * 64}}, f"is about other bytes of {FILE} than this release has"),
        ({"artifacts": {"other.tflite": "0" * 64}}, "is about other bytes of other.tflite than this release has"),
        ({"files": {}}, f"was made with another provenance/{FILE}.json than this release has"),
        ({"version": ""}, "is about urn:nxp-model-zoo:lock, not a release"),
    ],
)
def test_a_statement_about_something_else(
    release: Path, index: dict[str, Any], tmp_path: Path, kind: str, changes: dict[str, Any], said: str
) -> None:
    to = f"{kind}:{tmp_path / 'to'}"
    publish.publish(release, to, None, dry_run=False)
    before = tree(tmp_path / "to")
    with pytest.raises(PublishError) as caught:
        publish.publish_rebuilds(given(tmp_path / "statements", new_key(), index, **changes), to, dry_run=False)
    assert said in str(caught.value)
    assert tree(tmp_path / "to") == before


@pytest.mark.parametrize("kind", ["dir", "oci"])
def test_a_model_that_is_not_published(index: dict[str, Any], tmp_path: Path, kind: str) -> None:
    folder = given(tmp_path / "statements", new_key(), index)
    with pytest.raises(PublishError, match="this version is not published"):
        publish.publish_rebuilds(folder, f"{kind}:{tmp_path / 'to'}", dry_run=False)
    assert not (tmp_path / "to").exists()


def test_a_release_with_a_statement_about_something_else_is_not_published(
    release: Path, index: dict[str, Any], tmp_path: Path
) -> None:
    put_beside(release, index, FIRST_MODEL, new_key(), version="0.2.0")
    with pytest.raises(PublishError, match=f"is about release 0.2.0, not {VERSION}"):
        publish.publish(release, f"dir:{tmp_path / 'to'}", None, dry_run=False)
    assert not (tmp_path / "to").exists()


def test_statements_that_are_none(release: Path, index: dict[str, Any], tmp_path: Path) -> None:
    key, other, to = new_key(), new_key(), f"dir:{tmp_path / 'to'}"
    publish.publish(release, to, None, dry_run=False)
    whole = statement(key, index)
    bundle = json.loads(whole)
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"\x30\x06\x02\x01\x01\x02\x01\x01").decode()
    forged = json.dumps(bundle, sort_keys=True, separators=(",", ":")).encode()
    artifacts = {FILE: index["models"][FIRST_MODEL]["artifacts"][FILE]["sha256"]}
    elsewhere = state(key, "another", artifacts, version=VERSION, commit=index["commit"])
    cases = {
        "was signed with another key than it names": (key, forged),
        "is not named after its key": (other, whole),
        "is not JSON": (key, whole[:100]),
        "mediaType: Field required": (key, b"{}"),
        "is about another": (key, elsewhere),
    }
    for number, (said, (owner, text)) in enumerate(cases.items()):
        folder = tmp_path / f"statements {number}"
        put(folder, FIRST_MODEL, owner, text)
        with pytest.raises(ReleaseError) as caught:
            publish.publish_rebuilds(folder, to, dry_run=False)
        assert said in str(caught.value)
    assert not (tmp_path / "to" / f"{VERSION}.rebuilds").exists()


def test_no_statement_is_left_out_silently(release: Path, index: dict[str, Any], tmp_path: Path) -> None:
    publish.publish(release, f"dir:{tmp_path / 'to'}", None, dry_run=False)
    folder = given(tmp_path / "statements", new_key(), index)
    good = next((folder / FIRST_MODEL).iterdir())
    bad = folder / FIRST_MODEL / "0123456789abcdef.json"

    def refuse(said: str) -> None:
        with pytest.raises(ReleaseError) as caught:
            publish.publish_rebuilds(folder, f"dir:{tmp_path / 'to'}", dry_run=False)
        assert "not every statement can be read" in str(caught.value)
        assert f"{FIRST_MODEL}/{bad.name}: {said}" in str(caught.value)

    bad.symlink_to(good)
    refuse("is a link, not a file")
    bad.unlink()
    bad.write_bytes(b"x" * (limits.REBUILD_BYTES + 1))
    refuse("has more than")
    bad.unlink()
    bad.mkdir()
    refuse("")
    good.rename(rebuilds_of(release) / good.name)
    bad.rename(rebuilds_of(release) / bad.name)
    with pytest.raises(ReleaseError, match="not every statement can be read"):
        publish.publish(release, f"dir:{tmp_path / 'other'}", None, dry_run=False)
    assert not (tmp_path / "to" / f"{VERSION}.rebuilds").exists()
    assert not (tmp_path / "other").exists()


def rebuilds_of(release: Path) -> Path:
    """The folder of the statements about the model beside a release."""
    folder = release.with_name(f"{release.name}.rebuilds") / FIRST_MODEL
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_folder_without_statements(tmp_path: Path) -> None:
    know(tmp_path / "statements", "lab", new_key())
    (tmp_path / "statements/no such name!").mkdir()
    with pytest.raises(PublishError, match="has no statement"):
        publish.publish_rebuilds(tmp_path / "statements", f"dir:{tmp_path}", dry_run=False)
    with pytest.raises(PublishError, match="cannot be read: No such file or directory"):
        publish.publish_rebuilds(tmp_path / "nothing", f"dir:{tmp_path}", dry_run=False)


@pytest.mark.slow
@pytest.mark.parametrize("more", ["version=1.0.0", "path=release/1.0.0", "pubkey=release.pub"])
def test_words_that_are_not_for_statements_alone(tmp_path: Path, more: str) -> None:
    command = [sys.executable, "-m", "utils.release", "publish", f"rebuilds={tmp_path}", f"to=dir:{tmp_path}", more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 10
    assert f"rebuilds=: {more.partition('=')[0]}= beside rebuilds=" in done.stderr


## Hubs


@pytest.fixture
def hugging(home: dict[str, str]) -> Iterator[Hub]:
    with hub() as server:
        home["HF_ENDPOINT"] = f"http://{server.address}"
        home["HF_TOKEN"] = server.token
        yield server


def send(home: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Publish to the hub, as a program of its own: the hub's package reads its settings when it is imported."""
    command = [sys.executable, "-m", "utils.release", "publish", "to=hf://team", *words]
    done = subprocess.run(command, cwd=ROOT, env=home, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def revision(server: Hub, name: str) -> dict[str, bytes]:
    files = dict(server.repositories[f"team/{FIRST_MODEL}"][name])
    files.pop(".gitattributes", None)
    return files


@pytest.mark.slow
def test_a_hub_gets_them_beside_the_card(
    release: Path, index: dict[str, Any], tmp_path: Path, home: dict[str, str], hugging: Hub
) -> None:
    first, second = new_key(), new_key()
    put_beside(release, index, FIRST_MODEL, first)
    done = send(home, f"path={release}")
    assert done.returncode == 0, done.stderr
    model, beside = published(release, FIRST_MODEL), {f"rebuilds/{file_of(first)}": statement(first, index)}
    assert revision(hugging, VERSION) == revision(hugging, "main") == model | beside
    folder = given(tmp_path / "statements", second, index)
    assert "rebuilds: 1 would be added" in send(home, f"rebuilds={folder}", "dry_run=1").stdout
    assert revision(hugging, "main") == model | beside
    for said in ("rebuilds: 1 added", "rebuilds: all were there"):
        assert said in send(home, f"rebuilds={folder}").stdout
    assert revision(hugging, VERSION) == model | beside  # a tag does not move
    both = beside | {f"rebuilds/{file_of(second)}": statement(second, index)}
    assert revision(hugging, "main") == model | both
    commits = len(hugging.commits)
    assert "nothing to do" in send(home, f"path={release}").stdout  # they are no other files of the version
    assert len(hugging.commits) == commits


@pytest.mark.slow
def test_a_hub_whose_main_is_of_another_release(
    release: Path, index: dict[str, Any], tmp_path: Path, home: dict[str, str], hugging: Hub
) -> None:
    assert send(home, f"path={release}").returncode == 0
    newer = {"README.md": b"newer", "rebuilds/0123456789abcdef.json": b"{}"}
    hugging.repositories[f"team/{FIRST_MODEL}"] |= {"main": dict(newer), "9.0.0": dict(newer)}
    done = send(home, f"rebuilds={given(tmp_path / 'statements', new_key(), index)}")
    assert done.returncode == 11
    assert f"hf://team/{FIRST_MODEL}:{VERSION}: main holds another release" in done.stderr
    put_beside(release, index, FIRST_MODEL, new_key())
    done = send(home, f"path={release}")
    assert done.returncode == 0
    assert "no rebuilds added: main holds another release" in done.stdout
    assert revision(hugging, "main") == newer


@pytest.mark.slow
def test_statements_of_an_older_release_leave_main(release: Path, home: dict[str, str], hugging: Hub) -> None:
    old = {"README.md": b"old", "rebuilds/0123456789abcdef.json": b"{}"}
    hugging.repositories[f"team/{FIRST_MODEL}"] = {"main": dict(old), "0.0.9": dict(old)}
    assert send(home, f"path={release}").returncode == 0
    assert revision(hugging, "main") == published(release, FIRST_MODEL)
    assert revision(hugging, "0.0.9") == old


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.2.0"}, f"hf://team/{FIRST_MODEL}:0.2.0: this version is not published"),
        ({"artifacts": {FILE: "0" * 64}}, f"is about other bytes of {FILE} than this release has"),
        ({"commit": COMMIT}, f"is about commit {COMMIT[:12]}, and the provenance of {FILE} names another commit than "),
        ({"files": {}}, f"was made with another provenance/{FILE}.json than this release has"),
    ],
)
def test_a_statement_that_does_not_fit_a_hub(
    release: Path,
    index: dict[str, Any],
    tmp_path: Path,
    home: dict[str, str],
    hugging: Hub,
    changes: dict[str, Any],
    said: str,
) -> None:
    assert send(home, f"path={release}").returncode == 0
    done = send(home, f"rebuilds={given(tmp_path / 'statements', new_key(), index, **changes)}")
    assert done.returncode == 11
    assert said in done.stderr
    assert revision(hugging, "main") == published(release, FIRST_MODEL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("more.TFLITE", b"more", "is not about more.TFLITE, which this release has"),
        (f"provenance/{FILE}.json", None, f"provenance/{FILE}.json: is not published"),
        (f"provenance/{FILE}.json", b"{}", f"provenance/{FILE}.json: _type: Field required"),
    ],
)
def test_a_hub_that_has_other_files(
    release: Path,
    index: dict[str, Any],
    tmp_path: Path,
    home: dict[str, str],
    hugging: Hub,
    name: str,
    data: bytes | None,
    said: str,
) -> None:
    assert send(home, f"path={release}").returncode == 0
    for files in hugging.repositories[f"team/{FIRST_MODEL}"].values():
        files.pop(name, None)
        if data is not None:
            files[name] = data
    done = send(home, f"rebuilds={given(tmp_path / 'statements', new_key(), index)}")
    assert done.returncode == 11
    assert said in done.stderr


@pytest.mark.slow
def test_on_a_hub_too_no_key_takes_back_what_it_has_found(
    release: Path, index: dict[str, Any], tmp_path: Path, home: dict[str, str], hugging: Hub
) -> None:
    key, other = new_key(), new_key()
    assert send(home, f"path={release}").returncode == 0
    folder = given(tmp_path / "first", key, index, rebuilt=OTHER)
    done = send(home, f"rebuilds={given(folder, other, index)}")
    assert f"{FIRST_MODEL}: {file_of(key)[:16]} has built other bytes of {FILE}\n" in done.stdout
    before = revision(hugging, "main")
    done = send(home, f"rebuilds={given(tmp_path / 'passed', key, index, time=LATER)}")
    assert done.returncode == 11
    place = f"hf://team/{FIRST_MODEL}:main/rebuilds/{file_of(key)}"
    assert f"{place}: this key has built other bytes of {FILE} before" in done.stderr
    done = send(home, f"rebuilds={given(tmp_path / 'older', other, index, time=EARLIER)}")
    assert "rebuilds: 0 added, 1 left out" in done.stdout
    assert revision(hugging, "main") == before
    done = send(home, f"rebuilds={given(tmp_path / 'newer', other, index, time=LATER)}")
    assert "rebuilds: 1 added" in done.stdout
    assert revision(hugging, "main") == before | {f"rebuilds/{file_of(other)}": statement(other, index, time=LATER)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rebuilds/evil.py", "rebuilds/x.tflite", "rebuilds/0123456789ABCDEF.json"])
def test_only_statements_may_be_added_to_a_published_model(
    release: Path, home: dict[str, str], hugging: Hub, name: str
) -> None:
    assert send(home, f"path={release}").returncode == 0
    hugging.repositories[f"team/{FIRST_MODEL}"][VERSION][name] = b"x"
    done = send(home, f"path={release}")
    assert done.returncode == 11
    assert "this version is already published, with other files" in done.stderr


@pytest.mark.slow
def test_the_signature_of_a_published_folder_leaves_them_out(
    release: Path, index: dict[str, Any], keys: Keys, tmp_path: Path
) -> None:
    """As the docs say: model_signing needs to be told."""
    folder = tmp_path / "got"
    for name, data in published(release, FIRST_MODEL).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    put(folder, "rebuilds", key := new_key(), statement(key, index))
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature",
               str(folder / sign.SIGNATURE), "--public_key", str(keys.public)]  # fmt: skip
    assert subprocess.run(command, capture_output=True, timeout=120).returncode != 0
    ignoring = [*command, "--ignore-paths", str(folder / "rebuilds"), "--ignore-paths", str(folder / sign.SIGNATURE)]
    done = subprocess.run(ignoring, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    weights = next(folder.glob("*.tflite"))
    weights.write_bytes(weights.read_bytes() + b"x")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() != index["models"][FIRST_MODEL]["artifacts"][FILE]["sha256"]
    assert subprocess.run(ignoring, capture_output=True, timeout=120).returncode != 0
