"""release:check: hold a release, of this version of the project or an older one, against itself and a public key.

Every file but three has two witnesses: its line in SHA256SUMS and its entry in release.json; so it can be told which of
them a flipped byte is in. release.json and SHA256SUMS have each other and the signature, the signature has the key.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from utils import files
from utils.errors import ReleaseError
from utils.release import pack, provenance, sbom, sign

__all__ = ["check", "compare", "index_of"]

#: A file or folder of a release: no path, and nothing hidden.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Artifact(BaseModel):
    sha256: _Sha256
    variant: str


class _Model(BaseModel):
    archive: _Name
    artifacts: dict[_Name, _Artifact]
    left_out: list[str]
    title: str
    licence: str


class _Index(BaseModel):
    """What is relied on in a release.json, which may be a stranger's."""

    version: _Name
    commit: str
    time: int
    models: dict[_Name, _Model]
    files: dict[str, _Sha256]


def check(folder: Path, public: Path | None) -> list[str]:
    """Look at everything; returns what was looked at, a line each.

    Args:
        folder: of the release.
        public: the key of whom the caller trusts; without it nobody knows who signed, and the lines say so.

    Raises:
        ReleaseError: something is wrong; the message names every file that is.
    """
    index = index_of(folder)
    wrong = _sums(folder, index)
    lines = [f"checksums: {len(index['files']) + 1} files are those of SHA256SUMS and release.json"]
    signature = folder / sign.SIGNATURE
    if public is not None:
        found = sign.verify(folder, signature, public) if signature.is_file() else [f"{sign.SIGNATURE}: is missing"]
        wrong += found
        lines.append("signature: of this key, over all files")
    elif signature.is_file():
        hint = sign.hint_of(signature)
        lines.append(f"signature: there, NOT CHECKED: pubkey=FILE says whom you trust (signed by key {hint[:16]}...)")
    else:
        lines.append("signature: none")
    if not wrong:  # what was damaged need not be looked into
        wrong += _models(folder, index, public)
        wrong += _bom(folder, index)
    if wrong:
        raise ReleaseError(
            "\n  ".join([f"{len(wrong)} thing{'s' if len(wrong) > 1 else ''} wrong:", *wrong]),
            where=str(folder),
            hint="get it again from where it was published; do not use it",
        )
    artifacts = sum(len(model["artifacts"]) for model in index["models"].values())
    return [
        *lines,
        f"provenance: {artifacts + len(index['models'])} statements of in-toto v1 and SLSA v1, {_built(folder, index)}",
        "bom.json: CycloneDX 1.6, every artifact is in it",
        f"release {index['version']} of {index['commit'][:12]}: {artifacts} artifacts, all as they were released",
    ]


def index_of(folder: Path) -> dict[str, Any]:
    """What release.json says.

    Raises:
        ReleaseError: it is not there, or cannot be read.
    """
    file = folder / "release.json"
    if not folder.is_dir() or not file.is_file():
        raise ReleaseError(
            "is no release: there is no release.json", where=str(folder), hint="name a folder like release/1.0.0"
        )
    try:
        index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if index["format"] != pack.FORMAT:
            what = f"a release of format {index['format']}"
            raise ReleaseError(what, where=str(file), hint="check it with a newer version")
        _Index.model_validate(index)
    except (KeyError, TypeError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else f"{type(error).__name__}: {error}"
        what = f"release.json cannot be read ({why})"
        raise ReleaseError(what, where=str(folder), hint="get it again from where it was published") from None
    return index


def _sums(folder: Path, index: dict[str, Any]) -> list[str]:
    """Files that are missing, unknown or not what their witnesses say."""
    there = {
        file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file() or file.is_symlink()
    }
    wrong = [f"{name}: is a link, not a file" for name, file in there.items() if file.is_symlink()]
    if "SHA256SUMS" not in there:
        return [*wrong, "SHA256SUMS: is missing"]
    actual = {
        name: files.sha256(file)
        for name, file in sorted(there.items())
        if name not in ("SHA256SUMS", sign.SIGNATURE) and not file.is_symlink()
    }
    text = there["SHA256SUMS"].read_bytes().decode(errors="replace")
    summed = files.parse_sums(text, skip_malformed=True)
    listed = index["files"]
    doubted = {"release.json": False, "SHA256SUMS": False}  # it alone says something else
    for name in sorted((actual.keys() | summed.keys() | listed.keys()) - {"release.json"}):
        file, first, second = actual.get(name), summed.get(name), listed.get(name)
        if first == second:
            if file is None:
                wrong.append(f"{name}: is missing")
            elif file != first:
                wrong.append(f"{name}: is not {'the file that was released' if first else 'of this release'}")
        elif file == first:
            doubted["release.json"] = True
        elif file == second:
            doubted["SHA256SUMS"] = True
        else:
            wrong.append(f"{name}: is not the file that was released")
    wrong += [f"{name}: does not fit the files, which fit one another" for name, doubt in doubted.items() if doubt]
    if not wrong and text != "".join(f"{actual[name]}  {name}\n" for name in sorted(actual)):
        # of its own line nothing but the signature can tell which of the two is damaged
        both = summed.get("release.json") != actual["release.json"]
        wrong.append(f"SHA256SUMS{' or release.json' if both else ''}: does not fit the files, which fit one another")
    return wrong


def _models(folder: Path, index: dict[str, Any], public: Path | None) -> list[str]:
    wrong = []
    for name, model in index["models"].items():
        try:
            contents = pack.read_archive(folder / model["archive"])
        except ValueError as error:
            wrong.append(f"{model['archive']}: {error}")
            continue
        sums = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
        listed = files.parse_sums(contents.get(files.SUMS, b"").decode(errors="replace"), skip_malformed=True)
        if listed != {file: value for file, value in sums.items() if file != "SHA256SUMS"}:
            wrong.append(f"{model['archive']}: its files are not those of its SHA256SUMS")
        if contents.get("README.md") != (folder / "cards" / f"{name}.md").read_bytes():
            wrong.append(f"cards/{name}.md: is not the card in {model['archive']}")
        archive = {model["archive"]: files.sha256(folder / model["archive"])}
        for file, facts in model["artifacts"].items():
            if sums.get(file) != facts["sha256"]:
                wrong.append(f"{model['archive']}: {file} is not the artifact of release.json")
        for file, sha256 in (archive | {file: facts["sha256"] for file, facts in model["artifacts"].items()}).items():
            wrong += _statement(folder, index, file, sha256)
        if public is not None:
            wrong += _published(folder, index, name, public)
    return wrong


def _statement(folder: Path, index: dict[str, Any], file: str, sha256: str) -> list[str]:
    place = f"provenance/{file}.json"
    try:
        statement = provenance.check((folder / place).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{place}: is missing"]
    except ValueError as error:
        return [f"{place}: {error}"]
    wrong = []
    if statement.get("subject") != [{"name": file, "digest": {"sha256": sha256}}]:
        wrong.append(f"{place}: is about another file than {file}")
    made_from = statement["predicate"]["buildDefinition"].get("resolvedDependencies", ())
    if {"gitCommit": index["commit"]} not in [entry.get("digest") for entry in made_from]:
        wrong.append(f"{place}: names another commit than release.json")
    return wrong


def _published(folder: Path, index: dict[str, Any], model: str, public: Path) -> list[str]:
    """The signature that goes with one model to where it is published."""
    if not (folder / "signatures" / f"{model}.sig").is_file():
        return [f"signatures/{model}.sig: is missing"]
    with tempfile.TemporaryDirectory() as near:
        top = Path(near) / f"{model}-{index['version']}"
        for name, data in pack.published(folder, index, model).items():
            pack.write(top / name, data)
        found = sign.verify(top, top / sign.SIGNATURE, public)
    return [f"signatures/{model}.sig: {line}" for line in found]


def _bom(folder: Path, index: dict[str, Any]) -> list[str]:
    text = (folder / "bom.json").read_text(encoding="utf-8")
    wrong = [f"bom.json: {line}" for line in sbom.check(text)]
    if wrong:
        return wrong
    known = {
        (part["name"], entry["content"])
        for part in json.loads(text).get("components", ())
        for entry in part.get("hashes", ())
    }
    artifacts = [
        (file, facts["sha256"]) for model in index["models"].values() for file, facts in model["artifacts"].items()
    ]
    return [
        f"bom.json: does not have {file} with its sha256" for file, sha256 in artifacts if (file, sha256) not in known
    ]


def _built(folder: Path, index: dict[str, Any]) -> str:
    builders = {
        _statements(folder)[f"{file}.json"]["id"] for model in index["models"].values() for file in model["artifacts"]
    }
    return "built by " + ", ".join(sorted(builders))


def _statements(folder: Path) -> dict[str, Any]:
    """Builder of each statement."""
    return {
        file.name: json.loads(file.read_text(encoding="utf-8"))["predicate"]["runDetails"]["builder"]
        for file in sorted((folder / "provenance").glob("*.json"))
    }


def compare(one: Path, other: Path) -> list[str]:
    """Hold two releases of one commit against each other; returns what was found, a line each.

    Raises:
        ReleaseError: they differ in more than who built them.
    """
    names = [
        {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} for folder in (one, other)
    ]
    both = names[0] & names[1]
    differ = {name for name in both if files.sha256(one / name) != files.sha256(other / name)}
    apart = sorted(name for name in names[0] ^ names[1] if not _follows(name))
    builder = {name for name in differ if name.startswith("provenance/") and _without_builder(one, other, name)}
    wrong = [f"{name}: only in one of them" for name in apart]
    wrong += [f"{name}: differs" for name in sorted(differ - builder) if not (builder and _follows(name))]
    if builder and "release.json" in differ and index_of(one) | {"files": {}} != index_of(other) | {"files": {}}:
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
    ids = sorted({_statements(folder)[Path(name).name]["id"] for folder in (one, other) for name in builder})
    over = f"{len(builder)} statements, and the sums and signatures over them"
    return [f"the same release as {other}, but for the provenance's builder: {' and '.join(ids)} ({over})"]


def _follows(name: str) -> bool:
    """Whether a file says only what other files are."""
    return name in ("release.json", "SHA256SUMS", sign.SIGNATURE) or name.startswith("signatures/")


def _without_builder(one: Path, other: Path, name: str) -> bool:
    statements = [json.loads((folder / name).read_text(encoding="utf-8")) for folder in (one, other)]
    for statement in statements:
        statement["predicate"]["runDetails"].pop("builder")
    return bool(statements[0] == statements[1])
