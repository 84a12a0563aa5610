"""publish: send a release to its destination. Files that are there already are not sent again."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from utils import files
from utils.errors import STORAGE, PublishError, storage_error
from utils.release import check, hub, oci, pack, rebuilds, referrers
from utils.release.layout import Layout
from utils.release.manifest import read_manifest
from utils.release.rebuilds import Statement
from utils.release.registry import Registry
from utils.untrusted import as_text

__all__ = ["publish", "publish_rebuilds", "refuse_credentials"]

_PLACES = "to=dir:FOLDER, to=oci:FOLDER, to=oci://HOST/REPO or to=hf://ORG"


def refuse_credentials(to: str) -> None:
    """Refuse an address with a user in it, and repeat no part of it: any may be the password.

    Raises:
        PublishError: the address has a user.
    """
    if "@" in to and "://" in to and not to.startswith("dir:///"):  # a folder may have any name
        hint = f"remove the part before the @, and run `docker login HOST` (or `hf auth login`); {_PLACES}"
        raise PublishError("the address has a user in it", where="to=", hint=hint)


def publish(release: Path, to: str, public: Path | None, *, dry_run: bool) -> None:
    """Check a release, and publish it with the statements about rebuilds that are beside it.

    Args:
        release: its folder.
        to: the destination.
        public: the trusted public key; without it, a signature must fit the files and its own key.
        dry_run: report what would be sent, and send nothing.

    Raises:
        ReleaseError: the release differs from its own records, or a statement is damaged.
        PublishError: the destination cannot be reached, or refuses; or a statement is about something else, or takes
            back what its key has said there.
        StorageError: a folder cannot be written.
    """
    place = _find_place(to)
    check.check(release, public)
    index = check.index_of(release)
    statements = rebuilds.of_release(release, index)
    for model, some in statements.items():
        rebuilds.tell_refuted(model, some)
    place.send(release, index, dry_run, statements)


def publish_rebuilds(folder: Path, to: str, *, dry_run: bool) -> None:
    """Add statements about rebuilds to models that are published already, by you or by others.

    Args:
        folder: the statements, ``FOLDER/MODEL/KEY.json``; each says which release it is about.
        to: the destination.
        dry_run: report what would be sent, and send nothing.

    Raises:
        ReleaseError: a statement is damaged.
        PublishError: a model is not published there, or not as a statement says; or the destination refuses.
        StorageError: a folder cannot be written.
    """
    place = _find_place(to)
    for (model, version), statements in rebuilds.read_folder(folder).items():
        place.add(model, version, statements, dry_run)
        rebuilds.tell_refuted(model, statements)


#: Sends a release, its index and the statements beside it (by model), or reports what it would send (dry run).
_Send = Callable[[Path, dict[str, Any], bool, dict[str, list[Statement]]], None]

#: Adds statements to a published model: its name, the version.
_Add = Callable[[str, str, list[Statement], bool], None]


class _Place(NamedTuple):
    """How to publish to a destination."""

    send: _Send
    add: _Add


def _find_place(to: str) -> _Place:
    """Choose the functions that publish to a destination.

    Raises:
        PublishError: it is not a destination, or has a user in it.
    """
    refuse_credentials(to)
    kind, _, rest = to.partition(":")
    place = rest.removeprefix("//")
    is_address = rest.startswith("//")
    if kind == "dir" and place and (not is_address or place.startswith("/")):  # dir:///x is /x, dir://x names a host
        return _Place(partial(_to_folder, Path(rest)), partial(_add_to_folder, Path(rest)))
    if kind == "hf" and is_address and (name := place.strip("/")):
        return _Place(partial(hub.publish_to_hub, name), partial(hub.add_to_hub, name))
    if kind == "oci" and place and not is_address:
        return _find_stores(lambda model: Layout(Path(rest) / model))
    if kind == "oci" and place:
        host, _, repository = place.partition("/")
        if not (host and repository.strip("/")):
            what = f"'{as_text(to)}' names no {'repository' if host else 'host'}"
            raise PublishError(what, where="to=", hint=_PLACES)
        return _find_stores(lambda model: Registry(host, f"{repository.strip('/')}/{model}"))
    what = f"'{as_text(to)}' is not a destination" if to.strip() else "no destination given"
    raise PublishError(what, where="to=", hint=_PLACES)


def _find_stores(find_store: Callable[[str], oci.Store]) -> _Place:
    return _Place(partial(_to_stores, find_store), partial(_add_to_store, find_store))


def _to_stores(
    find_store: Callable[[str], oci.Store],
    release: Path,
    index: dict[str, Any],
    dry_run: bool,
    statements: dict[str, list[Statement]],
) -> None:
    """Push every model to its store, and attach the proofs to it."""
    bom = (release / "bom.json").read_bytes()
    for model, facts in index["models"].items():
        store = find_store(model)
        contents = pack.published(release, index, model, card_alone=True)
        what = oci.build_artifact(model, facts, contents, index)
        tally = oci.push(store, what, index["version"], dry_run=dry_run)
        place = f"{store}:{index['version']}"
        _say(place, tally, dry_run=dry_run)
        proofs = {name: data for name, data in contents.items() if name.startswith("provenance/")}
        proofs |= {"bom.json": bom, **_named(statements.get(model, []))}
        _say_attached(place, referrers.attach(store, what.manifest, proofs, dry_run=dry_run), dry_run=dry_run)


def _add_to_store(
    find_store: Callable[[str], oci.Store], model: str, version: str, statements: list[Statement], dry_run: bool
) -> None:
    """Attach statements to a model in its store."""
    store = find_store(model)
    place = f"{store}:{version}"
    manifest = store.get_manifest(version)
    if manifest is None:
        raise _not_published(place)
    found = read_manifest(manifest, where=place, version=version)
    digests = {name: layer.sha256 for name, layer in found.layers.items()}
    for statement in statements:
        rebuilds.require_fit(statement, version, found.artifacts, found.commit, digests, where=place)
    _say_attached(place, referrers.attach(store, manifest, _named(statements), dry_run=dry_run), dry_run=dry_run)


def _named(statements: list[Statement]) -> dict[str, bytes]:
    return {f"rebuilds/{statement.name}": statement.text for statement in statements}


def _not_published(place: str) -> PublishError:
    hint = "publish the release first: doit publish version=X.Y.Z to=..."
    return PublishError("this version is not published", where=place, hint=hint)


def _say(place: str, tally: oci.Tally, *, dry_run: bool) -> None:
    verb = "would be sent" if dry_run else "sent"
    done = f"{len(tally.sent)} {verb} ({tally.bytes:,} bytes)" if tally.sent else "nothing to do"
    print(f"{place}: {done}, {len(tally.there)} blobs were there; {tally.latest}", flush=True)


def _say_attached(place: str, tally: oci.Tally, *, dry_run: bool) -> None:
    verb = "would be attached" if dry_run else "attached"
    done = f"{len(tally.sent)} {verb} ({tally.bytes:,} bytes)" if tally.sent else "nothing to do"
    print(f"{place}: proofs: {done}, {len(tally.there)} were there", flush=True)


def _to_folder(
    to: Path, release: Path, index: dict[str, Any], dry_run: bool, statements: dict[str, list[Statement]]
) -> None:
    """Copy the release to ``to/<version>``, with one rename at the end, and the statements to the folder beside it."""
    final = to / index["version"]
    for model, some in statements.items():
        rebuilds.select_for_folder(final, model, some)  # refuses before anything is copied
    with _writing(to):
        _copy_release(to, release, final, dry_run=dry_run)
        for model, some in statements.items():
            rebuilds.write_beside(final, model, some, dry_run=dry_run)


def _add_to_folder(to: Path, model: str, version: str, statements: list[Statement], dry_run: bool) -> None:
    """Copy statements to the folder beside a published release."""
    final = to / version
    if not final.is_dir():
        raise _not_published(str(final))
    index = check.index_of(final)
    facts = index["models"].get(model)
    if facts is None or index["version"] != version:
        raise _not_published(f"{final}: {model}")
    artifacts = {file: entry["sha256"] for file, entry in facts["artifacts"].items()}
    for statement in statements:
        rebuilds.require_fit(statement, version, artifacts, index["commit"], index["files"], where=str(final))
    with _writing(to):
        rebuilds.write_beside(final, model, statements, dry_run=dry_run)


def _copy_release(to: Path, release: Path, final: Path, *, dry_run: bool) -> None:
    if _is_there(release, final):
        return
    if dry_run:
        print(f"{final}: {sum(file.is_file() for file in release.rglob('*'))} files would be copied")
        return
    with files.staging(to, ".new.") as staging:
        new = staging.folder / final.name
        for file in release.rglob("*"):
            if file.is_file():
                pack.write(new / file.relative_to(release), file.read_bytes())
        with files.locked_folder(to):
            files.restore_folders(to)
            if _is_there(release, final):  # another run published it meanwhile
                return
            files.replace_folder(new, final)
    print(f"{final}: published")


@contextlib.contextmanager
def _writing(to: Path) -> Iterator[None]:
    """Report a folder that cannot be written.

    Raises:
        StorageError: it cannot.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*STORAGE, errno.EEXIST, errno.ENOENT):
            raise
        raise storage_error(error, str(to)) from error


def _is_there(release: Path, final: Path) -> bool:
    """Whether the folder has this same release.

    Raises:
        PublishError: it has another release.
    """
    if not final.exists():
        return False
    if _are_same(release, final):
        print(f"{final}: nothing to do", flush=True)
        return True
    hint = "publish a new version (a published one does not change), or remove that folder"
    raise PublishError("this version is already published, with other files", where=str(final), hint=hint)


def _are_same(one: Path, other: Path) -> bool:
    trees = [{f.relative_to(top).as_posix(): f for f in top.rglob("*") if f.is_file()} for top in (one, other)]
    return trees[0].keys() == trees[1].keys() and all(
        file.read_bytes() == trees[1][name].read_bytes() for name, file in trees[0].items()
    )
