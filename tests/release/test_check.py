"""release:check: every flipped byte is found and named, and old releases are read for ever."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.checkouts import Checkout
from tests.support.releases import FIRST, FIRST_KEY, Keys, flip, make_fit, make_keys, small_release, write_public
from utils import files
from utils.errors import ReleaseError
from utils.release import check
from utils.sources.unpack import unpack

pytestmark = pytest.mark.heavy


def names(release: Path) -> list[str]:
    return sorted(file.relative_to(release).as_posix() for file in release.rglob("*") if file.is_file())


def refused(release: Path, public: Path | None) -> str:
    with pytest.raises(ReleaseError) as caught:
        check.check(release, public)
    return str(caught.value)


def test_a_release_is_what_it_says(release_once: Path, keys: Keys) -> None:
    lines = "\n".join(check.check(release_once, keys.public))
    assert "signature: of this key, over all files" in lines
    here = "docker" if "NXP_MODEL_ZOO_IMAGE" in os.environ else "venv"
    assert f"built by urn:nxp-model-zoo:builder:{here}" in lines
    assert "4 artifacts, all as they were released" in lines


@pytest.mark.slow
@pytest.mark.parametrize("signed", [True, False])
def test_a_flipped_bit_anywhere_is_found_and_named(release: Path, keys: Keys, signed: bool) -> None:
    """Also in model.sig without a key: it says whose it is."""
    for name in names(release):
        file = release / name
        whole = file.read_bytes()
        for at in (0, len(whole) // 3, len(whole) // 2, -2, -1):
            flip(file, at)
            said = refused(release, keys.public if signed else None)
            assert name in said, (name, at, said)
            file.write_bytes(whole)
    assert check.check(release, keys.public)


@pytest.mark.parametrize("signed", [True, False])
def test_a_flipped_bit_anywhere_in_the_signature_is_found(tmp_path: Path, signed: bool) -> None:
    keys = make_keys(tmp_path / "keys")
    release = small_release(tmp_path / "release", keys)
    signature = release / "model.sig"
    whole = signature.read_bytes()
    for at in range(0, len(whole), 97):
        flip(signature, at)
        assert "model.sig: " in refused(release, keys.public if signed else None)
        signature.write_bytes(whole)


def test_a_flipped_bit_in_each_witness_is_told_apart(release: Path) -> None:
    """Where SHA256SUMS or release.json is the damaged one, the file that it speaks of is not blamed."""
    for name in ("SHA256SUMS", "release.json"):
        whole = (release / name).read_bytes()
        digest = files.sha256(release / "bom.json").encode()
        other = digest[:-1] + (b"0" if digest.endswith(b"1") else b"1")
        (release / name).write_bytes(whole.replace(digest, other))
        said = refused(release, None)
        assert f"{name}: does not fit the files" in said
        assert "bom.json" not in said
        (release / name).write_bytes(whole)


def test_missing_and_additional_files_are_named(release: Path) -> None:
    (release / "cards/demo_nearest.md").unlink()
    (release / "cards/more.md").write_text("more")
    (release / "bom.json").unlink()
    (release / "bom.json").symlink_to("/etc/passwd")
    said = refused(release, None)
    assert "cards/demo_nearest.md: is missing" in said
    assert "cards/more.md: is not of this release" in said
    assert "bom.json: is a link, not a file" in said


@pytest.mark.parametrize("name", ["release.json", "SHA256SUMS", "model.sig"])
@pytest.mark.parametrize("is_signed", [True, False])
def test_a_link_to_the_very_file_is_no_file(release: Path, keys: Keys, name: str, is_signed: bool) -> None:
    (release / name).rename(release.parent / name)
    (release / name).symlink_to(release.parent / name)
    said = refused(release, keys.public if is_signed else None)
    assert f"{name}: is a link, not a file" in said


def test_a_release_that_was_made_to_fit_itself_fails_on_its_signature(release: Path, keys: Keys) -> None:
    """Sums can be made again by anybody; the signature cannot."""
    card = release / "cards/demo_nearest.md"
    old = files.sha256(card)
    card.write_text(card.read_text() + "It flies.\n")
    for file in (release / "release.json", release / "SHA256SUMS"):
        before = files.sha256(file)
        file.write_text(file.read_text().replace(old, files.sha256(card)))
        sums = release / "SHA256SUMS"
        sums.write_text(sums.read_text().replace(before, files.sha256(file)))
    said = refused(release, keys.public)
    assert "model.sig: does not match the bytes of SHA256SUMS, cards/demo_nearest.md, release.json" in said
    assert "cards/demo_nearest.md: is not the card in demo_nearest-1.0.0.tar.gz" in refused(release, None)


def test_another_signer_is_not_trusted(release_once: Path, tmp_path: Path) -> None:
    assert "model.sig: Key mismatch" in refused(release_once, make_keys(tmp_path).public)


def test_an_unsigned_release_is_not_taken_for_a_signed_one(release: Path, keys: Keys) -> None:
    make_fit(release)
    assert "signature: none" in check.check(release, None)
    assert "model.sig: is missing" in refused(release, keys.public)


def test_a_signature_that_was_taken_away_is_missed(release: Path, keys: Keys) -> None:
    """Without a key too: those of its models are left."""
    (release / "model.sig").unlink()
    assert "model.sig: is missing" in refused(release, keys.public)
    assert "model.sig: is missing" in refused(release, None)


def test_who_signed_is_left_open_without_a_key(release_once: Path) -> None:
    assert any("NOT CHECKED: pubkey=FILE says whom you trust" in line for line in check.check(release_once, None))


@pytest.mark.parametrize("kind", ["missing", "text", "private", "rsa"])
def test_a_public_key_that_is_none(release_once: Path, keys: Keys, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "key"
    if kind == "text":
        file.write_text("hello")
    elif kind == "private":
        shutil.copy(keys.private, file)
    elif kind == "rsa":
        write_public(file, rsa.generate_private_key(65537, 2048))
    assert f"pubkey={file}: " in refused(release_once, file)


def test_what_is_no_release(tmp_path: Path) -> None:
    assert "is not a release: it has no release.json" in refused(tmp_path, None)
    (tmp_path / "release.json").write_text('{"format": 4}')
    assert "a release of format 4" in refused(tmp_path, None)
    (tmp_path / "release.json").write_text('{"format": 1, "models": []}')
    assert "release.json cannot be read: version: Field required" in refused(tmp_path, None)


def test_a_strangers_release_json_leads_nowhere_else(release: Path) -> None:
    """Names in it become paths."""
    index = json.loads((release / "release.json").read_text())
    model = index["models"]["demo_nearest"]
    model["artifacts"]["../../../etc/passwd"] = model["artifacts"].pop("demo_nearest_int8.tflite")
    (release / "release.json").write_text(json.dumps(index))
    said = refused(release, None)
    assert "release.json cannot be read: models.demo_nearest.artifacts" in said


def test_two_releases_that_differ_are_told_apart(release_once: Path, release: Path) -> None:
    assert "to the last byte" in check.compare(release_once, release)[0]
    flip(release / "demo_nearest-1.0.0.tar.gz", 400)
    with pytest.raises(ReleaseError, match=r"demo_nearest-1\.0\.0\.tar\.gz: differs"):
        check.compare(release_once, release)


def test_from_the_command_line(ready_once: Checkout, release: Path, keys: Keys) -> None:
    good = ready_once.doit("release:check", f"path={release}", f"pubkey={keys.public}")
    assert good.returncode == 0, good.stderr
    assert "all as they were released" in good.stdout
    flip(release / "bom.json", 100)
    bad = ready_once.run(sys.executable, "-m", "utils.release", "release:check", f"path={release}")
    assert bad.returncode == 10
    assert "bom.json: is not the file that was released" in bad.stderr
    assert "do not use it" in bad.stderr
    assert "path=: no path given" in ready_once.doit("release:check").stderr


@pytest.mark.slow
def test_the_first_release_is_read_for_ever(tmp_path: Path) -> None:
    release = unpack(FIRST, tmp_path / "first") / "0.1.0"
    lines = "\n".join(check.check(release, FIRST_KEY))
    assert "signature: of this key" in lines
    assert "1 artifacts, all as they were released" in lines
    index = json.loads((release / "release.json").read_text())
    assert index["format"] == 1
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=release, check=True)
    for name in names(release):
        whole = (release / name).read_bytes()
        flip(release / name, len(whole) // 2)
        assert name in refused(release, FIRST_KEY)
        (release / name).write_bytes(whole)
    assert FIRST.stat().st_size + FIRST_KEY.stat().st_size < 200_000
