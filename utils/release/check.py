"""release:check: check a release of this or an older version against its own records and a public key.

Every file but three is recorded twice, in SHA256SUMS and in release.json, so the damaged one of the three can be named.
release.json and SHA256SUMS are checked against each other and the signature, the signature with the key.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from utils import files, limits
from utils.catalogue.collect import load_previous
from utils.catalogue.schema import Model, Release
from utils.errors import DataError, ReleaseError
from utils.release import pack, provenance, sbom, sign, signer, statement
from utils.release.archive import read_archive
from utils.release.card import embed_pictures
from utils.release.index import index_of
from utils.release.manifest import is_artifact
from utils.untrusted import as_text, read_untrusted

__all__ = ["check", "compare", "index_of"]

_AGAIN = "get it again from where it was published; do not use it"


def check(folder: Path, public: Path | None) -> list[str]:
    """Check everything; returns a line for each check.

    Args:
        folder: of the release.
        public: the trusted public key; without it the signer is unknown, and the lines say so.

    Raises:
        ReleaseError: something is wrong; the message names every file that is.
    """
    try:
        return _check(folder, public)
    except OSError as error:  # a disk that fails, another user's file, or one that was removed meanwhile
        what = f"cannot be read: {error.strerror or type(error).__name__}"
        raise ReleaseError(what, where=as_text(error.filename or folder), hint="check the disk") from None


def _check(folder: Path, public: Path | None) -> list[str]:
    index = index_of(folder)
    there, wrong = _find_files(folder)
    wrong += _sums(there, index)
    damaged = bool(wrong)
    lines = [f"checksums: {len(index['files']) + 1} files are those of SHA256SUMS and release.json"]
    signature = folder / sign.SIGNATURE
    if public is not None:
        found = sign.verify(folder, signature, public) if signature.is_file() else [f"{sign.SIGNATURE}: is missing"]
        wrong += found
        lines.append("signature: of this key, over all files")
    elif signature.is_file():
        key, found = _compare_signature(signature, {n: files.sha256(f) for n, f in there.items() if f != signature})
        wrong += found
        lines.append(f"signature: there, NOT CHECKED: pubkey=FILE says whom you trust (signed by key {key[:16]}...)")
    else:
        if any(name.startswith("signatures/") for name in index["files"]):  # with a key all of them are made
            wrong.append(f"{sign.SIGNATURE}: is missing")
        lines.append("signature: none")
    builders: set[str] = set()
    if not damaged:  # damaged files need no further check
        wrong += _models(folder, index, public, builders)
        wrong += _bom(folder, index) + _site(folder, index)
    if wrong:
        raise _wrong(folder, wrong)
    artifacts = sum(len(model["artifacts"]) for model in index["models"].values())
    built = f"built by {as_text(', '.join(sorted(builders)))}"
    return [
        *lines,
        f"provenance: {artifacts + len(index['models'])} statements of in-toto v1 and SLSA v1, {built}",
        "bom.json: CycloneDX 1.6, every artifact is in it",
        f"release {index['version']} of {index['commit'][:12]}: {artifacts} artifacts, all as they were released",
    ]


def _wrong(folder: Path, wrong: list[str]) -> ReleaseError:
    shown = [*wrong[: limits.SHOWN_LINES], *(["and more"] if len(wrong) > limits.SHOWN_LINES else [])]
    count = f"{len(wrong)} thing{'s' if len(wrong) > 1 else ''} wrong:"
    return ReleaseError("\n  ".join([count, *shown]), where=str(folder), hint=_AGAIN)


def _find_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Name -> place of every file in a release; and its links, pipes and empty folders, which none has.

    Raises:
        ReleaseError: there is more than there may be.
    """
    there: dict[str, Path] = {}
    wrong: list[str] = []
    size = 0
    for top, folders, names in os.walk(folder, onerror=_raise):
        place = Path(top)
        if not folders and not names and place != folder:
            wrong.append(f"{as_text(place.relative_to(folder))}: is an empty folder")
        for file in (place / name for name in (*folders, *names)):
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                wrong.append(f"{as_text(file.relative_to(folder))}: is a link, not a file")
            elif stat.S_ISREG(mode):
                there[file.relative_to(folder).as_posix()] = file
                size += file.lstat().st_size
            elif not stat.S_ISDIR(mode):
                wrong.append(f"{as_text(file.relative_to(folder))}: is not a regular file")
        if len(there) > limits.RELEASE_FILES or size > limits.RELEASE_BYTES:
            most = f"{limits.RELEASE_FILES:,} files and {limits.RELEASE_BYTES:,} bytes"
            raise ReleaseError(f"holds more than {most}", where=str(folder), hint=_AGAIN)
    return there, wrong


def _raise(error: OSError) -> None:
    raise error


def _sums(there: dict[str, Path], index: dict[str, Any]) -> list[str]:
    """Files that are missing, unknown or not what their witnesses say."""
    absent = [name for name in ("SHA256SUMS", "release.json") if name not in there]
    if absent:  # or a link: what it leads to bears no witness
        return [f"{name}: is missing" for name in absent]
    wrong = []
    actual = {
        name: files.sha256(file) for name, file in sorted(there.items()) if name not in ("SHA256SUMS", sign.SIGNATURE)
    }
    text = read_untrusted(there["SHA256SUMS"], where="SHA256SUMS", error=ReleaseError).decode(errors="replace")
    summed = files.parse_sums(text, skip_malformed=True)
    listed = index["files"]
    doubted = {"release.json": False, "SHA256SUMS": False}  # it alone says something else
    for name in sorted((actual.keys() | summed.keys() | listed.keys()) - {"release.json"}):
        file, first, second = actual.get(name), summed.get(name), listed.get(name)
        shown = as_text(name, 100)
        if first == second:
            if file is None:
                wrong.append(f"{shown}: is missing")
            elif file != first:
                wrong.append(f"{shown}: is not {'the file that was released' if first else 'of this release'}")
        elif file == first:
            doubted["release.json"] = True
        elif file == second:
            doubted["SHA256SUMS"] = True
        else:
            wrong.append(f"{shown}: is not the file that was released")
    wrong += [f"{name}: does not fit the files, which fit one another" for name, doubt in doubted.items() if doubt]
    if not wrong and text != "".join(f"{actual[name]}  {name}\n" for name in sorted(actual)):
        # of its own line nothing but the signature can tell which of the two is damaged
        both = summed.get("release.json") != actual["release.json"]
        wrong.append(f"SHA256SUMS{' or release.json' if both else ''}: does not fit the files, which fit one another")
    return wrong


def _models(folder: Path, index: dict[str, Any], public: Path | None, builders: set[str]) -> list[str]:
    """What is wrong in the archives and beside them; ``builders`` gets who built the artifacts."""
    wrong = []
    for name, model in index["models"].items():
        archive = model["archive"]
        try:
            contents = read_archive(folder / archive)
        except ValueError as error:
            wrong.append(f"{archive}: {as_text(error)}")
            continue
        sums = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
        listed = files.parse_sums(contents.get(files.SUMS, b"").decode(errors="replace"), skip_malformed=True)
        if listed != {file: value for file, value in sums.items() if file != files.SUMS}:
            wrong.append(f"{archive}: its files are not those of its SHA256SUMS")
        card = contents.get("README.md", b"")
        if index["format"] > 1:
            card = embed_pictures(card, contents)
        if hashlib.sha256(card).hexdigest() != index["files"].get(f"cards/{name}.md"):
            wrong.append(f"cards/{name}.md: is not the card in {archive}")
        wrong += [f"{archive}: holds {file}, which is added to it" for file in sums if pack.is_added(file)]
        facts = {file: facts["sha256"] for file, facts in model["artifacts"].items()}
        unlisted = [file for file in sums if is_artifact(file) and file not in facts]
        wrong += [f"{archive}: holds {file}, which is no artifact of release.json" for file in unlisted]
        for file, sha256 in facts.items():
            if sums.get(file) != sha256:
                wrong.append(f"{archive}: {file} is not the artifact of release.json")
        for file, sha256 in {archive: index["files"].get(archive, ""), **facts}.items():
            wrong += _statement(folder, index, file, sha256, builders)
        for card_alone in (False, True)[: index["format"]]:
            wrong += _published(folder, index, name, contents, public, card_alone=card_alone)
    return wrong


def _statement(folder: Path, index: dict[str, Any], file: str, sha256: str, builders: set[str]) -> list[str]:
    place = f"provenance/{file}.json"
    try:
        found = provenance.check(read_untrusted(folder / place, where=place, error=ReleaseError))
    except ReleaseError as error:
        return [f"{place}: {error.what}"]
    builders.add(provenance.builder_of(found))
    return [f"{place}: {fault}" for fault in provenance.find_faults(found, file, sha256, index["commit"])]


def _published(
    folder: Path,
    index: dict[str, Any],
    model: str,
    contents: dict[str, bytes],
    public: Path | None,
    *,
    card_alone: bool,
) -> list[str]:
    """What is wrong with the signature that goes with one model to where it is published."""
    place = pack.signature_of(index, model, card_alone=card_alone)
    signature = folder / place
    if not signature.is_file():
        return [f"{place}: is missing"] if public or (folder / sign.SIGNATURE).is_file() else []
    published = pack.with_proofs(folder, index, model, contents, card_alone=card_alone)
    if public is None:
        _, found = _compare_signature(
            signature, {n: hashlib.sha256(data).hexdigest() for n, data in published.items() if n != sign.SIGNATURE}
        )
        return [f"signatures/{line}" for line in found]
    with tempfile.TemporaryDirectory() as near:
        top = Path(near) / f"{model}-{index['version']}"
        for name, data in published.items():
            pack.write(top / name, data)
        found = sign.verify(top, top / sign.SIGNATURE, public)
    return [f"{place}: {line}" for line in found]


def _compare_signature(signature: Path, actual: dict[str, str]) -> tuple[str, list[str]]:
    """The key that a signature names as its own, and what is wrong with it that can be seen without that key."""
    try:
        signed = statement.read(signature)
    except ReleaseError as error:
        return "", [f"{signature.name}: {error.what}"]
    if signed.key not in signer.find_keys(signed.message, signed.signature):
        return signed.key, [f"{signature.name}: was made with another key than it names, or is damaged"]
    return signed.key, [f"{signature.name}: {line}" for line in statement.compare(signed, actual)]


def _bom(folder: Path, index: dict[str, Any]) -> list[str]:
    try:
        bom = sbom.parse(read_untrusted(folder / "bom.json", where="bom.json", error=ReleaseError))
    except ReleaseError as error:
        return [f"bom.json: {error.what}"]
    known = {(part["name"], entry["content"]) for part in bom.get("components", ()) for entry in part.get("hashes", ())}
    artifacts = [
        (file, facts["sha256"]) for model in index["models"].values() for file, facts in model["artifacts"].items()
    ]
    return [
        f"bom.json: does not have {file} with its sha256" for file, sha256 in artifacts if (file, sha256) not in known
    ]


def _site(folder: Path, index: dict[str, Any]) -> list[str]:
    """What the catalogue says otherwise than release.json; a release before format 3 has none."""
    if index["format"] < 3:
        return []
    try:
        found = load_previous(folder)
    except DataError as error:
        return [f"site/catalogue.json: {error.what}"]
    wrong = []
    if found.release != Release(version=index["version"], commit=index["commit"]):
        wrong.append("site/catalogue.json: is of another release than release.json")
    shown = {model.name: model for model in found.models}
    if shown.keys() != index["models"].keys():
        wrong.append("site/catalogue.json: does not show the models of release.json")
    for name in sorted(shown.keys() & index["models"].keys()):
        model = shown[name]
        told = {entry.file: entry.sha256 for entry in model.variants} if isinstance(model, Model) else {}
        if told != {file: facts["sha256"] for file, facts in index["models"][name]["artifacts"].items()}:
            wrong.append(f"site/catalogue.json: has other files of {name} than release.json")
    return wrong


def compare(one: Path, other: Path) -> list[str]:
    """Hold two releases of one commit against each other; returns what was found, a line each.

    Raises:
        ReleaseError: they differ in more than who built them.
    """
    index = [index_of(folder) for folder in (one, other)]
    names = [_find_files(folder)[0].keys() for folder in (one, other)]
    both = names[0] & names[1]
    differ = {name for name in both if files.sha256(one / name) != files.sha256(other / name)}
    apart = sorted(name for name in names[0] ^ names[1] if not _follows(name))
    builder = {name for name in differ if name.startswith("provenance/") and _without_builder(one, other, name)}
    wrong = [f"{as_text(name, 100)}: only in one of them" for name in apart]
    wrong += [f"{as_text(name, 100)}: differs" for name in sorted(differ - builder) if not (builder and _follows(name))]
    if builder and "release.json" in differ and index[0] | {"files": {}} != index[1] | {"files": {}}:
        wrong.append("release.json: differs in more than sums")
    if wrong:
        raise ReleaseError(
            "\n  ".join(["not the same release:", *wrong]),
            where=f"{one} and {other}",
            hint="`doit verify` looks for the cause",
        )
    if not builder:
        signed = " (signed otherwise)" if (names[0] ^ names[1]) | differ else ""
        return [f"the same release as {other}, to the last byte{signed}"]
    ids = sorted({as_text(provenance.builder_of(_load(folder / name))) for folder in (one, other) for name in builder})
    over = f"{len(builder)} statements, and the sums and signatures over them"
    return [f"the same release as {other}, but for the provenance's builder: {' and '.join(ids)} ({over})"]


def _follows(name: str) -> bool:
    """Whether a file says only what other files are."""
    return name in ("release.json", "SHA256SUMS", sign.SIGNATURE) or name.startswith("signatures/")


def _without_builder(one: Path, other: Path, name: str) -> bool:
    """Whether two statements differ only in who built the model, and which steps a step cache had."""
    try:
        statements = [_load(folder / name) for folder in (one, other)]
    except ReleaseError:  # one of them is none: they differ
        return False
    for found in statements:
        details = found["predicate"]["runDetails"]
        details.pop("builder")
        for step in details.get("byproducts", []):  # the same result may be built here or restored
            step.pop("annotations", None)
    return bool(statements[0] == statements[1])


def _load(file: Path) -> dict[str, Any]:
    return provenance.check(read_untrusted(file, where=str(file), error=ReleaseError))
