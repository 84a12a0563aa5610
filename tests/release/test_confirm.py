"""release:check rebuilders=: k of n keys, what does not count, and a rebuilder who disagrees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from tests.support.rebuilds import artifacts_of, facts_of, make_rebuilder, private_of, put
from tests.support.releases import FIRST_MODEL, Keys, make_keys, small_release
from utils import limits
from utils.attest import envelope, rebuilds, statement
from utils.errors import ReleaseError, UsageError
from utils.release import confirm


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return small_release(tmp_path / "release")


@pytest.fixture
def ann(tmp_path: Path) -> Keys:
    return make_rebuilder(tmp_path, "ann")


@pytest.fixture
def bob(tmp_path: Path) -> Keys:
    return make_rebuilder(tmp_path, "bob")


def confirmed(release: Path, *rebuilders: Keys, threshold: str | None = None, folder: Path | None = None) -> str:
    return "\n".join(confirm.confirm(release, [keys.public for keys in rebuilders], threshold, folder))


def refused(release: Path, *rebuilders: Keys, threshold: str | None = None) -> str:
    with pytest.raises(ReleaseError) as caught:
        confirmed(release, *rebuilders, threshold=threshold)
    return str(caught.value)


def other_bytes(release: Path) -> dict[str, str]:
    return dict.fromkeys(artifacts_of(release), "9" * 64)


def test_two_of_two_and_two_of_three_hold(release: Path, ann: Keys, bob: Keys, tmp_path: Path) -> None:
    put(release, ann)
    put(release, bob)
    cpu = "Some CPU (R) @ 2.00GHz"
    [file] = artifacts_of(release)
    lines = confirmed(release, bob, ann)
    assert f"{file}: rebuilt by 2 of 2: ann (venv, {cpu}); bob (venv, {cpu})" in lines
    assert lines.endswith("rebuilds: 2 of 2 keys were asked for, and confirm every artifact: 1")
    assert "not counted" not in lines
    eve = make_rebuilder(tmp_path, "eve")
    assert f"{file}: rebuilt by 2 of 3: " in confirmed(release, ann, bob, eve, threshold="2")
    said = refused(release, ann, bob, eve)
    assert f"fewer than 3 rebuilders confirm:\n  {file}: 2 of 3 (ann, bob)" in said


def test_nobody_has_rebuilt_it(release: Path, ann: Keys) -> None:
    [file] = artifacts_of(release)
    assert f"{file}: 0 of 1 (nobody)" in refused(release, ann)


def test_other_bytes_are_an_error_however_many_agree(release: Path, ann: Keys, bob: Keys, tmp_path: Path) -> None:
    """A flipped weight: both hashes are said, and whose they are."""
    eve = make_rebuilder(tmp_path, "eve")
    for keys in (ann, bob):
        put(release, keys)
    put(release, eve, rebuilt=other_bytes(release))
    [(file, sha256)] = artifacts_of(release).items()
    said = refused(release, ann, bob, eve, threshold="2")
    assert "a rebuilder has built other bytes:" in said
    assert f"{file}: released is sha256 {sha256}, eve has built {'9' * 64}" in said
    assert "fewer than" not in said
    # Not listed, she is a stranger.
    lines = confirmed(release, ann, bob)
    assert "is signed by the key " in lines
    assert "which is not listed" in lines


def test_a_file_that_was_not_made_is_an_error_too(release: Path, ann: Keys) -> None:
    put(release, ann, rebuilt=dict.fromkeys(artifacts_of(release), ""))
    assert "ann has built none" in refused(release, ann, threshold="1")


def test_whoever_says_both_disagrees(release: Path, ann: Keys) -> None:
    good = put(release, ann)
    kept = good.read_bytes()
    put(release, ann, rebuilt=other_bytes(release))
    for name in ("0.json", "z.json"):  # whichever is read first
        good.with_name(name).write_bytes(kept)
        assert "ann has built 9999" in refused(release, ann)


def forge(release: Path, bob: Keys) -> None:
    """Eve signs, and says that she is Bob."""
    eve = make_rebuilder(release.parent / "forged", "eve")
    made = statement.make(**facts_of(release))
    bundle = json.loads(envelope.seal(made, private_of(eve)))
    own = json.loads(put(release, bob).read_bytes())
    bundle["verificationMaterial"] = own["verificationMaterial"]
    place_of(release, bob).write_bytes(envelope.as_written(bundle).encode())


def place_of(release: Path, keys: Keys) -> Path:
    return put(release, keys)


def swap_type(release: Path, bob: Keys) -> None:
    file = place_of(release, bob)
    file.write_bytes(file.read_bytes().replace(b"application/vnd.in-toto+json", b"application/vnd.other+json"))


def say_failed(release: Path, bob: Keys) -> None:
    put(release, bob, lambda made: made["predicate"].update(verificationResult="FAILED"))


def say_passed(release: Path, bob: Keys) -> None:
    def edit(made: dict) -> None:
        made["predicate"][statement.POLICY]["rebuilt"] = other_bytes(release)

    put(release, bob, edit)


def link(release: Path, bob: Keys) -> None:
    file = place_of(release, bob)
    file.rename(release.parent / "aside.json")
    file.symlink_to(release.parent / "aside.json")


#: What is in the place of Bob's statement, and why it does not count.
OTHERS: dict[str, tuple[Callable[[Path, Keys], object], str]] = {
    "of another release": (
        lambda release, bob: put(release, bob, resource=statement.release_uri("9.9.9")),
        "bob speaks of urn:nxp-model-zoo:release:9.9.9",
    ),
    "of the lock": (
        lambda release, bob: put(release, bob, resource=statement.LOCK, provenance={}),
        "bob speaks of urn:nxp-model-zoo:lock",
    ),
    "of another commit": (
        lambda release, bob: put(release, bob, commit="f" * 40),
        "bob has built another commit, ffffffffffff",
    ),
    "of another model": (lambda release, bob: put(release, bob, model="other"), "bob speaks of the model other"),
    "of other artifacts": (
        lambda release, bob: put(release, bob, subjects=other_bytes(release), rebuilt=other_bytes(release)),
        "bob speaks of other artifacts than are asked for",
    ),
    "of other provenance": (
        lambda release, bob: put(release, bob, provenance=other_bytes(release)),
        "bob had other provenance of the same artifacts",
    ),
}

#: What is in the place of Bob's statement, and may have been one that found other bytes.
LOST: dict[str, tuple[Callable[[Path, Keys], object], str]] = {
    "forged": (forge, "is not signed by the key of bob, which it names"),
    "empty": (lambda release, bob: place_of(release, bob).write_bytes(b""), "is not JSON"),
    "truncated": (
        lambda release, bob: place_of(release, bob).write_bytes(place_of(release, bob).read_bytes()[:500]),
        "is not JSON",
    ),
    "of another payload type": (swap_type, "dsseEnvelope.payloadType: "),
    "FAILED with equal hashes": (say_failed, "says FAILED, and its hashes say PASSED"),
    "PASSED with other hashes": (say_passed, "says PASSED, and its hashes say FAILED"),
    "huge": (
        lambda release, bob: place_of(release, bob).write_bytes(b" " * (limits.REBUILD_BYTES + 1)),
        f"has more than {limits.REBUILD_BYTES:,} bytes",
    ),
    "a link": (link, "is a link, not a file"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_does_not_count_is_named(release: Path, ann: Keys, bob: Keys, what: str) -> None:
    """It is an error only where too few others are left: anybody can put a file there."""
    change, reason = OTHERS[what]
    put(release, ann)
    change(release, bob)
    [file] = artifacts_of(release)
    lines = confirmed(release, ann, bob, threshold="1")
    [note] = [line for line in lines.splitlines() if line.startswith("not counted: ")]
    assert note.startswith(f"not counted: {FIRST_MODEL}/")
    assert reason in note
    assert f"{file}: rebuilt by 1 of 2: ann (" in lines
    said = refused(release, ann, bob)
    assert f"{file}: 1 of 2 (ann)" in said
    assert reason in said


@pytest.mark.parametrize("what", LOST)
def test_what_a_listed_key_may_have_said_is_not_passed_over(release: Path, ann: Keys, bob: Keys, what: str) -> None:
    change, reason = LOST[what]
    put(release, ann)
    change(release, bob)
    text = refused(release, ann, bob, threshold="1")
    assert "what a rebuilder has said cannot be read:" in text
    assert reason in text
    assert "in the place of bob's statement" in text
    assert "rebuilt by 1 of 1: ann (" in confirmed(release, ann)  # whose key is not listed may say anything


def test_files_that_are_not_read_hide_nothing(
    release: Path, ann: Keys, bob: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(release, ann)
    put(release, bob, rebuilt=other_bytes(release)).rename(file.with_name("zz.json"))
    monkeypatch.setattr(limits, "REBUILDS", 3)
    for number in range(3):
        file.with_name(f"{number}.json").write_text("{}")
    text = refused(release, ann, bob, threshold="1")
    assert "has more than 3 statements: the others were not read" in text


def test_one_key_counts_once(release: Path, ann: Keys, tmp_path: Path) -> None:
    file = put(release, ann)
    file.with_name("again.json").write_bytes(file.read_bytes())
    also = Keys(ann.private, tmp_path / "also.pub")
    also.public.write_bytes(ann.public.read_bytes())
    lines = confirmed(release, ann, also)
    assert f"{also.public}: is the key of ann again, and counts once" in lines
    assert ": rebuilt by 1 of 1: ann (" in lines
    with pytest.raises(UsageError, match="is not a number from 1 to 1"):
        confirmed(release, ann, also, threshold="2")


def test_two_keys_in_files_of_one_name_are_told_apart(release: Path, ann: Keys, tmp_path: Path) -> None:
    other = make_rebuilder(tmp_path / "other", "ann")
    put(release, ann)
    put(release, other)
    lines = confirmed(release, ann, other)
    assert ": rebuilt by 2 of 2: ann (venv, " in lines
    assert "; ann (" in lines


@pytest.mark.parametrize("threshold", ["0", "3", "-1", "1.5", "two", "", "\u00b2", "9" * 5000])
def test_a_threshold_that_cannot_be(release: Path, ann: Keys, bob: Keys, threshold: str) -> None:
    with pytest.raises(UsageError, match="is not a number from 1 to 2") as caught:
        confirmed(release, ann, bob, threshold=threshold)
    assert len(str(caught.value)) < 300


def test_who_also_signed_the_release_is_told(tmp_path: Path, ann: Keys) -> None:
    keys = make_keys(tmp_path / "keys")
    release = small_release(tmp_path / "signed", keys)
    put(release, keys)
    put(release, ann)
    lines = confirmed(release, keys, ann)
    assert "release (venv, Some CPU (R) @ 2.00GHz, also signed the release: not counted)" in lines
    assert ": rebuilt by 1 of 1: ann (" in lines
    assert lines.count("also signed") == 1


def test_the_key_that_signed_the_release_does_not_count(tmp_path: Path, ann: Keys) -> None:
    keys = make_keys(tmp_path / "keys")
    release = small_release(tmp_path / "signed", keys)
    put(release, keys)
    assert ": 0 of 1 (nobody)" in refused(release, keys, ann)
    put(release, ann)
    with pytest.raises(UsageError, match=r"number from 1 to 1, the number of different keys .* did not sign"):
        confirmed(release, keys, ann, threshold="2")
    with pytest.raises(UsageError, match="names no other key than the one that signed the release"):
        confirmed(release, keys)
    put(release, keys, rebuilt=other_bytes(release))
    assert "release has built 9999" in refused(release, keys, ann)


def test_statements_may_be_elsewhere(release: Path, ann: Keys, tmp_path: Path) -> None:
    put(release, ann, folder=tmp_path / "sent")
    assert ": rebuilt by 1 of 1: ann (" in confirmed(release, ann, folder=tmp_path / "sent")
    assert not rebuilds.folder_of(release).exists()


def test_a_place_of_statements_that_is_none(release: Path, ann: Keys, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "none", tmp_path / "file", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match="is not a folder") as caught:
            confirmed(release, ann, folder=place)
        assert "FOLDER/MODEL/KEY.json" in caught.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReleaseError) as few:
        confirmed(release, ann, folder=tmp_path / "empty")
    assert few.value.hint == f"put more statements into {tmp_path}/empty, as MODEL/KEY.json"


def test_a_list_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.pub", "b, c.pub"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert confirm.read_list("a.pub,b, c.pub,none.pub") == [Path("a.pub"), Path("b, c.pub"), Path("none.pub")]
    assert confirm.read_list("a.pub, a.pub ,  b, c.pub") == [Path("a.pub"), Path("a.pub"), Path("b, c.pub")]
    long = "x" * 300
    assert confirm.read_list(f"a.pub,{long}") == [Path("a.pub"), Path(long)]
    assert confirm.read_list(f"{tmp_path}/b, c.pub") == [tmp_path / "b, c.pub"]
    for empty in ("", "a.pub,", ",a.pub", "a.pub, ,a.pub"):
        with pytest.raises(UsageError, match="a name is empty"):
            confirm.read_list(empty)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "utils.release", "release:check", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.heavy
def test_from_the_command_line(release: Path, ann: Keys, bob: Keys) -> None:
    put(release, ann)
    path, both = f"path={release}", f"rebuilders={ann.public},{bob.public}"
    good = run(path, both, "threshold=1")
    assert good.returncode == 0, good.stderr
    assert "1 artifacts, all as they were released" in good.stdout
    assert ": rebuilt by 1 of 2: ann (" in good.stdout
    few = run(path, both)
    assert few.returncode == 10
    assert ": 1 of 2 (ann)" in few.stderr
    assert run(path, both, "threshold=3").returncode == 2
    alone = run(path, "threshold=1")
    assert alone.returncode == 2
    assert "add rebuilders=FILE,FILE" in alone.stderr
    missing = run(path, f"rebuilders={ann.public},{bob.public}.gone")
    assert missing.returncode == 10
    assert "the key file does not exist" in missing.stderr
