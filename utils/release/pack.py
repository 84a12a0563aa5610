"""release: make ``release/<version>/``: an archive for each model, and the documents about them.

::

    release.json               version, commit, time; model -> archive and artifacts; sha256 of every file below
    <model>-<version>.tar.gz   the bundle, without what must not be passed on
    cards/<model>.md           its card, with its pictures inside
    provenance/<file>.json     in-toto statement, one an artifact and one an archive
    signatures/<model>.sig     of the folder that is published for one model (``published``); only with a key
    signatures/<model>.oci.sig  the same, for a registry, whose page shows the card alone; only with a key
    site/                      the catalogue of these models: index.html, catalogue.json (``utils/catalogue``)
    bom.json                   CycloneDX 1.6
    SHA256SUMS                 of all of these
    model.sig                  of all of these; only with a key

Two releases of one commit are equal to the last byte on any machine, except for ``runDetails`` in the provenance. So
archives are stored, not compressed: the output of deflate depends on the version of zlib, and weights and pictures
hardly compress. Reports of boards are included only on request (``boards.py``).
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from utils import files, keys, limits, paths
from utils.attest import rebuilds
from utils.bundle.board_report import Record, dump_record
from utils.catalogue import browser, collect
from utils.catalogue.make import make_site
from utils.catalogue.schema import Release
from utils.errors import STORAGE, ReleaseError, ZooError, storage_error
from utils.recipe.load import find_recipe, load_recipes
from utils.release import card, git, provenance, sbom, sign
from utils.release.archive import read_archive, write_archive
from utils.release.boards import released_boards
from utils.release.index import FORMAT
from utils.release.model import ReleasedModel
from utils.release.reasons import reasons
from utils.release.versions import precedence_of
from utils.untrusted import as_text

#: The bundles as they are released, unpacked beside the new release while its site is made.
_BUNDLES = "bundles"

__all__ = [
    "is_added",
    "pack",
    "published",
    "put_release",
    "release_of",
    "signature_of",
    "with_proofs",
    "write",
]


def pack(
    version: str,
    models: list[str],
    key: Path | None,
    *,
    force: bool = False,
    with_boards: bool = False,
    previous: Path | None = None,
    with_trials: bool = False,
    takes_restored: bool = False,
) -> Path:
    """Make a release of ``models`` (none: the zoo); returns its folder.

    Args:
        version: by https://semver.org.
        models: names.
        key: the key that signs it.
        force: replace an existing release.
        with_boards: include the boards' reports, without their owners' names.
        previous: the folder of the release before: the site says what moved.
        with_trials: let the site run models in the browser.
        takes_restored: also release what a step cache has built; the provenance says which steps.

    Raises:
        SourceError: the runtime for the browser cannot be had.
        ReleaseError: a wrong version or key, an existing version, or reasons against the release; lists all reasons.
        StorageError: disk full, read-only, no permission.
    """
    folder = release_of(version)
    if key:
        sign.check_private(key)
        _tell_own_key(key)
    before = collect.load_previous(previous) if previous else None
    if with_trials:
        browser.files()  # early: archives take minutes
    _refuse_existing(folder, force=force)  # early; what a killed run left aside is looked at under the lock
    known = [find_recipe(name) for name in models] or [r for r in load_recipes().values() if r.group == "zoo"]
    found = [ReleasedModel(recipe) for _, recipe in sorted({recipe.name: recipe for recipe in known}.items())]
    against = reasons(found, takes_restored=takes_restored)
    if against:
        raise ReleaseError(
            "\n  ".join([f"refused, for {len(against)} reason{'s' if len(against) > 1 else ''}:", *against]),
            where=f"release {version}",
            hint="correct them, or name the models that are ready: models=NAME,NAME",
        )
    try:
        options = collect.Options(previous=before, trials="always" if with_trials else "never")
        fill = partial(_fill, version=version, models=found, key=key, with_boards=with_boards, options=options)
        put_release(folder, fill, force=force)
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        raise storage_error(error) from error
    return folder


def _tell_own_key(key: Path) -> None:
    """Say where cards count the key that signs the release as a key of others."""
    own = keys.fingerprint_of(keys.load_private(key, "key", ReleaseError).public_key())
    with contextlib.suppress(ZooError):  # a file there is no key: the card's step says so
        for name, public in rebuilds.known_rebuilders(paths.REBUILDS).items():
            if keys.fingerprint_of(public) == own:
                file = paths.relative(paths.REBUILDS / rebuilds.KEYS / f"{name}.pub")
                what = "is the key that signs this release, and cards count it as another builder"
                print(f"{as_text(file)}: {what} -> move it away", flush=True)


def put_release(folder: Path, fill: Callable[[Path], None], *, force: bool) -> None:
    """Let ``fill`` make a folder, and give it its place; a kill leaves what was there, or all of the new one."""
    with files.staging(folder.parent, ".new.") as staging:
        new = staging.folder / folder.name  # a signature contains the folder's name
        new.mkdir()
        fill(new)
        with files.locked_folder(folder.parent):
            files.restore_folders(folder.parent)  # not before: another run may be between its two renames
            _refuse_existing(folder, force=force)  # another run may have made it meanwhile
            files.replace_folder(new, folder)


def _refuse_existing(folder: Path, *, force: bool) -> None:
    if folder.exists() and not force:
        hint = "choose the next version, or give --force to make it again"
        raise ReleaseError("this release exists", where=paths.relative(folder), hint=hint)


def release_of(version: str) -> Path:
    """The folder of a version.

    Raises:
        ReleaseError: it is not a version.
    """
    if precedence_of(version) is None:
        hint = f"versions follow https://semver.org, up to {limits.VERSION_CHARS} characters: 1.2.3 or 1.2.3-rc.1"
        what = f"'{as_text(version, 80)}' is not a version" if version else "no version given"
        raise ReleaseError(what, where="version=", hint=hint)
    return paths.RELEASES / version


def _fill(
    folder: Path,
    version: str,
    models: list[ReleasedModel],
    key: Path | None,
    *,
    with_boards: bool,
    options: collect.Options,
) -> None:
    commit, time = git.commit(), git.time()
    index: dict[str, Any] = {"format": FORMAT, "version": version, "commit": commit, "time": time, "models": {}}
    for sub in ("cards", "provenance", *(["signatures"] if key else [])):
        (folder / sub).mkdir()
    for model in models:
        archive = folder / f"{model.name}-{version}.tar.gz"
        contents = _contents(model, version, released_boards(model) if with_boards else {})
        write_archive(archive, contents, time)
        for name, data in contents.items():
            write(folder.parent / _BUNDLES / model.name / name, data)
        alone = card.embed_pictures(contents["README.md"], contents)
        (folder / "cards" / f"{model.name}.md").write_bytes(alone)
        subjects = {file: facts["sha256"] for file, facts in model.artifacts.items()}
        for file, sha256 in {**subjects, archive.name: files.sha256(archive)}.items():
            statement = files.dump_json(provenance.of(model, file, sha256, commit))
            (folder / "provenance" / f"{file}.json").write_text(statement, encoding="utf-8")
        index["models"][model.name] = {
            "archive": archive.name,
            "title": model.recipe.title,
            "task": model.recipe.task,
            "licence": model.recipe.licence,
            "artifacts": {
                file: {"sha256": facts["sha256"], "variant": facts["variant"]}
                for file, facts in model.artifacts.items()
            },
            "left_out": list(model.left_out()),
        }
        if key:
            for card_alone in (False, True):
                _sign_published(folder, index, model.name, key, card_alone=card_alone)
        print(f"{archive.name}: {archive.stat().st_size:,} bytes", flush=True)
    _make_site(folder, index, options)
    (folder / "bom.json").write_text(files.dump_json(sbom.of(models, version, commit, time)), encoding="utf-8")
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    index["files"] = {name: files.sha256(folder / name) for name in names}
    (folder / "release.json").write_text(files.dump_json(index), encoding="utf-8")
    (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")
    if key:
        sign.sign(folder, folder / sign.SIGNATURE, key)


def _make_site(folder: Path, index: dict[str, Any], options: collect.Options) -> None:
    """Make the catalogue of the bundles as they are released, and remove them."""
    bundles = folder.parent / _BUNDLES
    options = replace(
        options,
        release=Release(version=index["version"], commit=index["commit"]),
        archives={name: f"../{model['archive']}" for name, model in index["models"].items()},
    )
    found = make_site(bundles, folder / "site", options, note=lambda words: print(f"site: {words}", flush=True))
    shutil.rmtree(bundles)
    for model in found.content["models"]:
        if model["damaged"]:  # it was whole when the reasons were looked for
            raise ReleaseError(model["damaged"], where=model["name"], hint=f"doit {model['name']}, then release again")


def _sign_published(folder: Path, index: dict[str, Any], model: str, key: Path, *, card_alone: bool) -> None:
    near = folder.parent / f"{model}-{index['version']}"
    for name, data in published(folder, index, model, card_alone=card_alone).items():
        write(near / name, data)
    sign.sign(near, near / sign.SIGNATURE, key)
    (near / sign.SIGNATURE).rename(folder / signature_of(index, model, card_alone=card_alone))
    shutil.rmtree(near)


def _contents(model: ReleasedModel, version: str, boards: dict[str, Record]) -> dict[str, bytes]:
    """The bundle's files as they are released: without those left out, with the card's front matter."""
    left_out = {*model.left_out(), files.SUMS}
    found = {name: (model.folder / name).read_bytes() for name in model.contents() if name not in left_out}
    found["README.md"] = card.text(model, version, boards.values()).encode()
    found |= {name: dump_record(record).encode() for name, record in boards.items()}
    return found | {files.SUMS: _sums(found)}


def _sums(contents: dict[str, bytes]) -> bytes:
    """A SHA256SUMS, as ``files.make_sums`` writes it."""
    names = sorted((name for name in contents if name != files.SUMS), key=PurePosixPath)
    return "".join(f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in names).encode()


def published(folder: Path, index: dict[str, Any], model: str, *, card_alone: bool = False) -> dict[str, bytes]:
    """What is published for one model: its bundle's files, the provenance of its artifacts, its signature.

    ``card_alone``: for a place whose page shows the card without the files beside it.
    """
    contents = read_archive(folder / index["models"][model]["archive"])
    return with_proofs(folder, index, model, contents, card_alone=card_alone)


def signature_of(index: dict[str, Any], model: str, *, card_alone: bool = False) -> str:
    """The name of the file in a release that signs what is published for one model; format 1 has one for all."""
    return f"signatures/{model}.oci.sig" if card_alone and index["format"] > 1 else f"signatures/{model}.sig"


def with_proofs(
    folder: Path, index: dict[str, Any], model: str, contents: dict[str, bytes], *, card_alone: bool = False
) -> dict[str, bytes]:
    """The files of a model's archive, and what is published beside them; ``published`` explains ``card_alone``."""
    found = dict(contents)
    if card_alone and index["format"] > 1:
        found["README.md"] = card.embed_pictures(contents["README.md"], contents)
        found[files.SUMS] = _sums(found)
    for file in index["models"][model]["artifacts"]:
        found[f"provenance/{file}.json"] = (folder / "provenance" / f"{file}.json").read_bytes()
    signature = folder / signature_of(index, model, card_alone=card_alone)
    if signature.is_file():
        found[sign.SIGNATURE] = signature.read_bytes()
    return dict(sorted(found.items()))


def is_added(name: str) -> bool:
    """Whether a file of what is published is not from the archive."""
    return name == sign.SIGNATURE or name.startswith("provenance/")


def write(file: Path, data: bytes) -> None:
    """Write a file, and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
