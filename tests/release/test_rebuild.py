"""verify release= and key=: a commit is built again in a clean checkout, compared, and what was found is signed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout
from tests.support.rebuilds import artifacts_of, make_rebuilder, move_to, private_of
from tests.support.releases import DEMO, FIRST_MODEL, Keys, commit, git, small_release
from utils import environment
from utils.attest import rebuilds, statement
from utils.keys import fingerprint_of

PROMISED = pytest.mark.skipif(
    environment.promised_lock() is None, reason="this environment does not promise identical bytes"
)


@pytest.fixture
def ann(tmp_path: Path) -> Keys:
    return make_rebuilder(tmp_path / "home", "ann")


def refused(checkout: Checkout, *words: str) -> str:
    done = checkout.doit("verify", *words)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list((checkout.root / "build").glob("verify.*"))
    return done.stderr


def head(checkout: Checkout) -> str:
    return git(checkout, "rev-parse", "HEAD").strip()


def stored(folder: Path, model: str, keys: Keys) -> rebuilds.Rebuild:
    """The statement of a key about a model: the only one there, and signed."""
    [(name, text)] = rebuilds.files_of(folder, model).items()
    found, signed = rebuilds.read_rebuild(text, name)
    public = private_of(keys).public_key()
    assert name == f"{fingerprint_of(public)[:16]}.json"
    assert rebuilds.envelope.is_signed_by(signed, public)
    return found


def test_a_key_that_others_can_read_is_refused_at_once(ready: Checkout, ann: Keys) -> None:
    ann.private.chmod(0o644)
    assert "others can read this key (mode 644)" in refused(ready, f"key={ann.private}")
    assert "the key file does not exist" in refused(ready, f"key={ann.private}.gone")
    assert not (ready.root / "rebuilds").exists()


def test_what_is_signed_has_a_commit(ready: Checkout, ann: Keys) -> None:
    """Also a change that no build reads."""
    with (ready.root / "dodo.py").open("a") as file:
        file.write("# a change\n")
    said = refused(ready, f"key={ann.private}")
    assert "the statement names a commit, and the checkout differs from it: dodo.py" in said
    assert not (ready.root / "rebuilds").exists()


def test_what_is_restored_is_not_rebuilt(ready: Checkout, ann: Keys, release_once: Path) -> None:
    for words in ((f"key={ann.private}",), (f"release={release_once}",)):
        assert "restored=1 takes what others have built" in refused(ready, *words, "restored=1")


def test_a_folder_for_nothing(ready: Checkout, tmp_path: Path, release_once: Path) -> None:
    for words in ((), (f"release={release_once}",)):
        assert "no key signs them" in refused(ready, *words, f"to={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_a_release_that_is_damaged_is_not_built(ready: Checkout, release: Path) -> None:
    (release / "bom.json").write_text("{}")
    assert "bom.json: is not the file that was released" in refused(ready, f"release={release}")
    assert "is not a release: it has no release.json" in refused(ready, f"release={release.parent / 'none'}")
    assert "is not a release" in refused(ready, "release=https://example.org/1.0.0")


def test_a_model_that_the_release_does_not_have(ready: Checkout, release_once: Path) -> None:
    said = refused(ready, f"release={release_once}", "models=demo_neerest")
    assert "the release has no model 'demo_neerest' (did you mean 'demo_nearest'?)" in said
    assert "it has demo_bilinear, demo_nearest" in said


def test_a_commit_that_this_clone_does_not_have(ready: Checkout, tmp_path: Path) -> None:
    small = small_release(tmp_path / "release")
    said = refused(ready, f"release={small}")
    assert "this clone does not have the commit " in said
    assert "git fetch" in said


def test_a_clone_without_git(ready: Checkout, tmp_path: Path) -> None:
    small = small_release(tmp_path / "release")
    (tmp_path / "bin").mkdir()
    done = ready.doit("verify", f"release={small}", env={"PATH": str(tmp_path / "bin")})
    assert done.returncode != 0
    assert "git is not installed" in done.stderr
    assert "cannot be read or written" not in done.stderr


def other_packages(root: Path) -> None:
    with (root / "docker/requirements.txt").open("a") as file:
        file.write("# another lock\n")


def no_demo(root: Path) -> None:
    shutil.rmtree(root / "recipes/demo")


@PROMISED
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_packages, "locks other packages than this environment has"),
        (no_demo, f"has no model '{FIRST_MODEL}'"),
    ],
)
def test_a_commit_that_cannot_be_built_here(
    ready: Checkout, tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    change(ready.root)
    commit(ready)
    other = head(ready)
    git(ready, "reset", "-q", "--hard", "HEAD~1")
    small = small_release(tmp_path / "release")
    move_to(small, other)
    said = refused(ready, f"release={small}")
    assert f"the commit {other[:12]} {says}" in said


def test_another_environment_is_refused(ready: Checkout, ann: Keys) -> None:
    """The checkout's lock is not that of this environment: whatever differs then shows nothing."""
    other_packages(ready.root)
    commit(ready)
    assert "this environment does not promise identical bytes" in refused(ready, f"key={ann.private}")


def test_a_folder_that_cannot_be_written_is_refused_before_the_build(
    ready: Checkout, ann: Keys, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = ready.doit("verify", f"key={ann.private}", f"to={tmp_path / 'file/out'}")
    assert done.returncode != 0
    assert f"{tmp_path / 'file/out'}: cannot be read or written" in done.stderr
    assert "building" not in done.stdout


@PROMISED
@pytest.mark.slow
def test_a_release_is_rebuilt_and_signed(ready: Checkout, release: Path, ann: Keys) -> None:
    (ready.root / "recipes/demo/more.py").write_text("import nothing_that_is_there\n")  # not of the commit
    done = ready.doit("verify", f"release={release}", f"key={ann.private}", DEMO, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    for model in ("demo_nearest", "demo_bilinear"):
        artifacts = artifacts_of(release, model)
        for file, sha256 in artifacts.items():
            assert f"{file}: identical, sha256 {sha256}" in done.stdout
        found = stored(rebuilds.folder_of(release), model, ann)
        assert found.passed
        assert found.subjects == found.rebuilt == artifacts
        assert found.commit == head(ready)
        assert found.resource == statement.release_uri("1.0.0")
    assert not list((ready.root / "build").glob("verify.*"))
    checked = ready.doit("release:check", f"path={release}", f"rebuilders={ann.public}")
    assert checked.returncode == 0, checked.stderr
    assert "demo_nearest_int8.tflite: rebuilt by 1 of 1: ann (" in checked.stdout
    assert "all as they were released" in checked.stdout  # what is beside a release is not in it


@PROMISED
@pytest.mark.slow
def test_a_published_model_is_rebuilt_and_its_statement_published(
    ready: Checkout, release: Path, ann: Keys, tmp_path: Path
) -> None:
    place = f"oci:{tmp_path / 'to'}"
    done = ready.doit("publish", f"path={release}", f"to={place}")
    assert done.returncode == 0, done.stderr
    published = f"{place}/demo_nearest:1.0.0"
    done = ready.doit("verify", f"release={published}", f"key={ann.private}", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = ready.root / "release/1.0.0.rebuilds"
    found = stored(folder, "demo_nearest", ann)
    assert found.passed
    assert found.subjects == artifacts_of(release, "demo_nearest")
    done = ready.doit("publish", f"rebuilds={folder}", f"to={place}")
    assert done.returncode == 0, done.stderr
    again = ready.doit("publish", f"rebuilds={folder}", f"to={place}")
    assert "nothing to do" in again.stdout
    [text] = rebuilds.files_of(folder, "demo_nearest").values()
    assert (tmp_path / "to/demo_nearest/blobs/sha256" / hashlib.sha256(text).hexdigest()).read_bytes() == text


@PROMISED
@pytest.mark.slow
def test_a_release_that_differs_is_signed_as_such(ready: Checkout, ann: Keys, tmp_path: Path) -> None:
    """The first release's bytes, said to be of this commit."""
    small = small_release(tmp_path / "release")
    move_to(small, head(ready))
    done = ready.doit("verify", f"release={small}", f"key={ann.private}", f"to={tmp_path / 'sent'}", timeout=900)
    assert done.returncode != 0
    [(file, sha256)] = artifacts_of(small).items()
    found = stored(tmp_path / "sent", FIRST_MODEL, ann)
    assert not found.passed
    assert found.subjects == {file: sha256}
    assert f"{file}: released is sha256 {sha256}" in done.stderr
    assert f"rebuilt is  sha256 {found.rebuilt[file]}" in done.stderr
    assert "not the same" in done.stderr
    [kept] = [folder for folder in (ready.root / "build").glob("verify.*") if folder.is_dir()]
    assert (kept / f"checkout/released/{FIRST_MODEL}/{file}").is_file()
    words = (f"path={small}", f"rebuilders={ann.public}", f"rebuilds={tmp_path / 'sent'}")
    assert f"ann has built {found.rebuilt[file]}" in ready.doit("release:check", *words).stderr


@PROMISED
@pytest.mark.slow
def test_the_lock_is_rebuilt_and_signed(ready: Checkout, ann: Keys) -> None:
    """Its statements are committed: a later one may replace an earlier one."""
    (ready.root / "rebuilds/demo_nearest").mkdir(parents=True)
    place = ready.root / f"rebuilds/demo_nearest/{rebuilds.name_of(fingerprint_of(private_of(ann).public_key()))}"
    place.write_text("an old one\n")
    commit(ready)
    place.write_text("another\n")
    done = ready.doit("verify", "models=demo_nearest", f"key={ann.private}", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo_nearest_int8.tflite: identical, " in done.stdout
    found = stored(ready.root / "rebuilds", "demo_nearest", ann)
    locked = json.loads((ready.root / "artifacts.lock").read_text())["models"]["demo_nearest"]["artifacts"]
    assert found.passed
    assert found.subjects == {file: facts["sha256"] for file, facts in locked.items()}
    assert (found.commit, found.resource) == (head(ready), statement.LOCK)


@PROMISED
@pytest.mark.slow
def test_nothing_is_signed_where_the_lock_says_less_than_is_built(ready: Checkout, ann: Keys) -> None:
    file = ready.root / "artifacts.lock"
    lock = json.loads(file.read_text())
    del lock["models"]["demo_nearest"]["artifacts"]["demo_nearest_float32.tflite"]
    file.write_text(json.dumps(lock))
    commit(ready)
    done = ready.doit("verify", "models=demo_nearest", f"key={ann.private}", timeout=900)
    assert done.returncode != 0
    assert "demo_nearest_float32.tflite: is not in the lock" in done.stderr
    assert "demo_nearest: not signed" in done.stderr
    assert "run `doit lock`" in done.stderr
    assert "PASSED" not in done.stdout + done.stderr
    assert not list((ready.root / "rebuilds").glob("*/*"))
