"""Releases of strangers: each fits its own sums, and is refused all the same; and none ends in a traceback."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.releases import FIRST_MODEL, Keys, change_json, flip, make_fit, make_keys, small_release
from utils import files, limits
from utils.errors import PublishError, ReleaseError, StorageError
from utils.release import check, sign
from utils.release.archive import read_archive, write_archive
from utils.release.publish import publish

pytestmark = pytest.mark.heavy

ARCHIVE = f"{FIRST_MODEL}-0.1.0.tar.gz"
STATEMENT = f"provenance/{FIRST_MODEL}_int8.tflite.json"


@pytest.fixture(scope="module")
def small_once(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    return small_release(tmp_path_factory.mktemp("small"), keys)


@pytest.fixture
def small(small_once: Path, tmp_path: Path) -> Path:
    """A signed release that a test may damage."""
    shutil.copytree(small_once, tmp_path / "release/0.1.0")
    return tmp_path / "release/0.1.0"


def refused(release: Path, public: Path | None) -> str:
    with pytest.raises(ReleaseError) as caught:
        check.check(release, public)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return str(caught.value)


## Archives


def pack_tar(file: Path, change: Callable[[tarfile.TarFile, dict[str, bytes]], None], *, squeeze: int = 0) -> None:
    """Write the archive again, with ``change`` in charge of an entry more."""
    contents = read_archive(file)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        change(archive, contents)
        for name, data in sorted(contents.items()):
            add(archive, f"{FIRST_MODEL}-0.1.0/{name}", data)
    file.write_bytes(gzip.compress(stream.getvalue(), squeeze))


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **facts: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    for key, value in facts.items():
        setattr(entry, key, value)
    archive.addfile(entry, io.BytesIO(data))


def hide(archive: tarfile.TarFile, contents: dict[str, bytes]) -> None:
    del contents["labels.txt"]
    add(archive, f"{FIRST_MODEL}-0.1.0/labels.txt", b"x", mode=0o4755)


TARS: dict[str, tuple[Callable[[tarfile.TarFile, dict[str, bytes]], None], str]] = {
    "up": (
        lambda archive, _: add(archive, "../README.md", b"x"),
        "holds '../README.md', which is not a file of a bundle",
    ),
    "absolute": (lambda archive, _: add(archive, "/etc/passwd", b"x"), "which is not a file of a bundle"),
    "elsewhere": (lambda archive, _: add(archive, "other/README.md", b"x"), "which is not a file of a bundle"),
    "hidden": (
        lambda archive, _: add(archive, f"{FIRST_MODEL}-0.1.0/.bashrc", b"x"),
        "which is not a file of a bundle",
    ),
    "escape": (
        lambda archive, _: add(archive, f"{FIRST_MODEL}-0.1.0/\x1b[2J", b"x"),
        "which is not a file of a bundle",
    ),
    "twice": (lambda archive, _: add(archive, f"{FIRST_MODEL}-0.1.0/README.md", b"x"), "README.md' twice"),
    "setuid": (hide, "which is not a regular file of mode 644"),
    "link": (
        lambda archive, _: add(archive, f"{FIRST_MODEL}-0.1.0/a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "which is not a regular file of mode 644",
    ),
    "sparse": (
        lambda archive, _: add(archive, f"{FIRST_MODEL}-0.1.0/a", type=tarfile.GNUTYPE_SPARSE),
        "is no",
    ),
    "owner": (lambda archive, _: add(archive, f"{FIRST_MODEL}-0.1.0/a", uname="\x1b"), "is not written like"),
    "file and folder": (
        lambda _, contents: contents.update({"labels.txt/x": b""}),
        "holds 'labels.txt/x' in a folder that is a file",
    ),
    "model.sig": (lambda _, contents: contents.update({"model.sig": b"{}"}), "is not written like"),
    "squeezed": (lambda _archive, _contents: None, "is not written like"),
}


@pytest.mark.parametrize("what", TARS)
def test_an_archive_that_is_none_of_ours(small: Path, what: str) -> None:
    change, said = TARS[what]
    pack_tar(small / ARCHIVE, change)
    change_json(
        small / f"provenance/{ARCHIVE}.json",
        lambda value: value["subject"][0]["digest"].update(sha256=files.sha256(small / ARCHIVE)),
    )
    (small / sign.SIGNATURE).unlink()
    make_fit(small)
    assert f"{ARCHIVE}: {said}" in refused(small, None) or said in refused(small, None)


def test_what_is_added_to_an_archive_when_it_is_published(small: Path) -> None:
    contents = read_archive(small / ARCHIVE) | {"model.sig": b"{}", "provenance/x.json": b"{}"}
    write_archive(small / ARCHIVE, contents, 0)
    make_fit(small)
    said = refused(small, None)
    assert "holds model.sig, which is added to it" in said
    assert "holds provenance/x.json, which is added to it" in said


@pytest.mark.parametrize("name", ["other.tflite", "other.TFLite"])
def test_a_tflite_file_that_release_json_does_not_list(small: Path, name: str) -> None:
    """Nobody would be asked to confirm it."""
    write_archive(small / ARCHIVE, read_archive(small / ARCHIVE) | {name: b"x", f"imx93/b/{name}": b"x"}, 0)
    make_fit(small)
    said = refused(small, None)
    assert f"{ARCHIVE}: holds {name}, which is no artifact of release.json" in said
    assert f"holds imx93/b/{name}" not in said


def test_a_model_without_artifacts_is_no_model_of_a_release(small: Path) -> None:
    """Of none, everybody has rebuilt every one."""
    index = files.load_json(small / "release.json")
    for file in index["models"][FIRST_MODEL]["artifacts"]:
        del index["files"][f"provenance/{file}.json"]
    index["models"][FIRST_MODEL]["artifacts"] = {}
    (small / "release.json").write_text(files.dump_json(index))
    assert f"models.{FIRST_MODEL}.artifacts: Dictionary should have at least 1 item" in refused(small, None)


@pytest.mark.parametrize("honest", [True, False])
def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(small: Path, honest: bool) -> None:
    """4 MB that become 4 GB: the reader stops at the size of the archive, whatever the header says."""
    with gzip.open(small / ARCHIVE, "wb", 9) as stream:
        entry = tarfile.TarInfo(f"{FIRST_MODEL}-0.1.0/a")
        entry.size, entry.mode = 4 << 30 if honest else 512, 0o644
        stream.write(entry.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            stream.write(bytes(1 << 20))
    make_fit(small)
    began = time.process_time()
    assert f"{ARCHIVE}: {'unpacks to more than' if honest else 'is not written like'}" in refused(small, None)
    assert time.process_time() - began < 5


def test_an_archive_of_many_files(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_FILES", 22)
    assert "holds more than 22 files" in refused(small, None)


def test_an_archive_that_is_larger_than_may_be(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_BYTES", 100_000)
    assert "unpacks to more than 100,000 bytes" in refused(small, None)


## Folders


@pytest.mark.parametrize("signed", [True, False])
def test_what_no_release_holds(small: Path, keys: Keys, signed: bool) -> None:
    key = keys.public if signed else None
    (small / "cards/empty").mkdir()
    assert "cards/empty: is an empty folder" in refused(small, key)
    (small / "cards/empty").rmdir()
    os.mkfifo(small / "pipe")
    assert "pipe: is not a regular file" in refused(small, key)
    (small / "pipe").unlink()
    (small / "cards/a\x1b[2J").write_text("")
    assert "cards/a\\x1b[2J: is not of this release" in refused(small, key)


def test_a_release_that_is_too_large(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (small / "holes").open("wb") as stream:
        stream.truncate(limits.RELEASE_BYTES + 1)
    assert "holds more than 10,000 files and 17,179,869,184 bytes" in refused(small, None)
    (small / "holes").unlink()
    monkeypatch.setattr(limits, "RELEASE_FILES", 8)
    assert "holds more than 8 files" in refused(small, None)


@pytest.mark.parametrize("name", ["release.json", "SHA256SUMS", "bom.json", STATEMENT, "model.sig"])
def test_a_file_that_is_too_large_is_not_read(small: Path, name: str) -> None:
    with (small / name).open("r+b") as stream:
        stream.truncate(limits.JSON_BYTES + 1)
    if name not in ("release.json", "SHA256SUMS", "model.sig"):
        make_fit(small)
    assert "has more than 16,777,216 bytes" in refused(small, None)


## JSON


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


PREDICATE = ("predicate", "buildDefinition")


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("release.json", ("time",), 10**30, "release.json cannot be read: time"),
        ("release.json", ("time",), "now", "release.json cannot be read: time"),
        ("release.json", ("version",), "1.0.0-01", "version: Value error, is not a version"),
        ("release.json", ("version",), "9.9.9", "the archive of demo_nearest is called"),
        ("release.json", ("commit",), 5, "release.json cannot be read: commit"),
        ("release.json", ("models",), {}, "release.json cannot be read: models"),
        ("release.json", ("models", FIRST_MODEL, "licence"), ["MIT"], "cannot be read: models.demo_nearest.licence"),
        ("release.json", ("models", FIRST_MODEL, "\x1b[2J"), 1, "Extra inputs are not permitted"),
        ("release.json", ("files",), {}, "files does not have what a release has: bom.json"),
        ("bom.json", ("components",), 5, "bom.json: "),
        ("bom.json", ("components",), [{}] * 5000, "bom.json: has longer lists"),
        ("bom.json", ("components", 0), "\x1b[2J", "bom.json: "),
        (STATEMENT, ("predicate",), [], f"{STATEMENT}: predicate: "),
        (STATEMENT, (*PREDICATE, "resolvedDependencies"), [5], f"{STATEMENT}: predicate.buildDefinition"),
        (STATEMENT, ("predicate", "runDetails", "builder", "id"), 5, f"{STATEMENT}: predicate.runDetails.builder.id"),
        (STATEMENT, ("subject",), [], f"{STATEMENT}: "),
    ],
)
def test_json_of_another_type(small: Path, name: str, path: tuple[Any, ...], value: Any, said: str) -> None:
    change_json(small / name, put(*path, value=value))
    if name != "release.json":
        make_fit(small)
    assert said in refused(small, None)


@pytest.mark.parametrize("name", ["release.json", "bom.json", STATEMENT])
def test_half_a_character_in_json(small: Path, name: str) -> None:
    text = (small / name).read_text()
    (small / name).write_text(text.replace('"name": "', '"name": "\\ud800').replace('"title": "', '"title": "\\ud800'))
    if name != "release.json":
        make_fit(small)
    assert name in refused(small, None)


@pytest.mark.parametrize("name", ["release.json", "bom.json", STATEMENT, "model.sig", "SHA256SUMS"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 10**5, b"1" * 10**5, b"[NaN]", b"null", b"{}"])
def test_what_is_no_json(small: Path, name: str, data: bytes) -> None:
    (small / name).write_bytes(data)
    if name in ("bom.json", STATEMENT):
        make_fit(small)
    assert name in refused(small, None)


def test_a_release_json_that_is_written_otherwise(small: Path) -> None:
    index = small / "release.json"
    index.write_text(json.dumps(files.load_json(index)))
    assert "it was changed: it is not in the form that `doit release` writes" in refused(small, None)


def test_statements_of_a_release_to_compare_with(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(small, other)
    (other / STATEMENT).write_text("[]")
    make_fit(other)
    with pytest.raises(ReleaseError, match="not the same release"):
        check.compare(small, other)
    (other / "release.json").write_text("[]")
    with pytest.raises(ReleaseError, match=r"release\.json cannot be read"):
        check.compare(small, other)


## Signatures


def edit(signature: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(signature.read_text())
    change(value)
    signature.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))


def double(value: Any) -> None:
    value["dsseEnvelope"]["signatures"] *= 2


SIGNATURES: dict[str, Callable[[Path], object]] = {
    "doubled": lambda file: edit(file, double),
    "indented": lambda file: file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True, indent=1)),
    "longer": lambda file: file.write_text(file.read_text() + "\n"),
    "added to": lambda file: edit(file, put("more", value=1)),
    "of another type": lambda file: edit(file, put("dsseEnvelope", value=[])),
    "without a key": lambda file: edit(file, put("verificationMaterial", value={})),
    "of no base64": lambda file: edit(file, put("dsseEnvelope", "payload", value="\u00e9")),
    "of no statement": lambda file: edit(file, put("dsseEnvelope", "payload", value="e30=")),
    "not JSON": lambda file: file.write_bytes(b"\xff"),
}


@pytest.mark.parametrize("what", SIGNATURES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", ["model.sig", f"signatures/{FIRST_MODEL}.sig"])
def test_a_signature_that_is_not_as_it_was_written(small: Path, keys: Keys, what: str, signed: bool, name: str) -> None:
    SIGNATURES[what](small / name)
    if name != "model.sig":
        index = files.load_json(small / "release.json")
        index["files"][name] = files.sha256(small / name)
        (small / "release.json").write_text(files.dump_json(index))
        (small / sign.SIGNATURE).rename(small.parent / "aside")
        (small / files.SUMS).write_text(files.make_sums(small))
        (small.parent / "aside").rename(small / sign.SIGNATURE)
    assert "model.sig: " in refused(small, keys.public if signed else None)


def test_a_signature_of_other_files_is_seen_without_a_key(small: Path) -> None:
    signature = (small / sign.SIGNATURE).read_bytes()
    card = small / f"cards/{FIRST_MODEL}.md"
    contents = read_archive(small / ARCHIVE) | {"README.md": card.read_bytes() + b"It flies."}
    card.write_bytes(contents["README.md"])
    write_archive(small / ARCHIVE, contents, 0)
    make_fit(small)
    (small / sign.SIGNATURE).write_bytes(signature)
    said = f"model.sig: does not match the bytes of SHA256SUMS, cards/{FIRST_MODEL}.md, {ARCHIVE}, release.json"
    assert said in refused(small, None)


@pytest.mark.parametrize("name", ["model.sig", f"signatures/{FIRST_MODEL}.sig"])
def test_a_signature_that_does_not_fit_the_key_that_it_names(small: Path, name: str) -> None:
    """Nobody needs the key for it: the signature itself tells whose it is."""

    def change(value: Any) -> None:
        [entry] = value["dsseEnvelope"]["signatures"]
        signed = bytearray(base64.b64decode(entry["sig"]))
        signed[20] ^= 1
        entry["sig"] = base64.b64encode(signed).decode()

    edit(small / name, change)
    if name != "model.sig":
        change_json(small / "release.json", lambda index: index["files"].update({name: files.sha256(small / name)}))
        (small / sign.SIGNATURE).unlink()
        (small / files.SUMS).write_text(files.make_sums(small))
    assert "model.sig: was made with another key than it names, or is damaged" in refused(small, None).replace(
        f"{FIRST_MODEL}.sig", "model.sig"
    )
    for to in ("dir", "oci"):
        with pytest.raises(ReleaseError, match="was made with another key than it names"):
            publish(small, f"{to}:{small.parent / 'out'}", None, dry_run=False)
    assert not (small.parent / "out").exists()


def test_a_release_of_the_tests_can_be_right(small: Path, keys: Keys) -> None:
    assert "signature: of this key, over all files" in check.check(small, keys.public)


## Publishing


def test_nothing_is_published_whose_signature_does_not_fit(small: Path, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="Key mismatch"):
        publish(small, f"dir:{tmp_path / 'out'}", make_keys(tmp_path).public, dry_run=False)
    whole = (small / sign.SIGNATURE).read_bytes()
    for at in range(0, len(whole), 211):
        flip(small / sign.SIGNATURE, at)
        with pytest.raises(ReleaseError, match=r"model\.sig"):
            publish(small, f"dir:{tmp_path / 'out'}", keys.public, dry_run=False)
        (small / sign.SIGNATURE).write_bytes(whole)
    edit(small / sign.SIGNATURE, double)
    for to in ("dir", "oci"):
        with pytest.raises(ReleaseError, match=r"model\.sig"):
            publish(small, f"{to}:{tmp_path / 'out'}", None, dry_run=False)
    assert not (tmp_path / "out").exists()
    (small / sign.SIGNATURE).write_bytes(whole)
    publish(small, f"dir:{tmp_path / 'out'}", keys.public, dry_run=False)
    assert check.check(tmp_path / "out/0.1.0", keys.public)


@pytest.mark.parametrize("to", ["dir", "oci"])
def test_a_place_where_no_folder_can_be_made(small: Path, to: str) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        publish(small, f"{to}:/proc/{os.getpid()}", None, dry_run=False)


def test_a_place_that_is_none_is_refused_before_the_release_is_read(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="is not a destination"):
        publish(tmp_path, "nowhere", None, dry_run=False)
