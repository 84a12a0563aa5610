"""publish: send a release to its destination. Files that are there already are not sent again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from utils import files
from utils.errors import STORAGE, PublishError, storage_error
from utils.release import check, hub, oci, pack
from utils.release.layout import Layout
from utils.release.registry import Registry
from utils.untrusted import as_text

__all__ = ["publish", "refuse_credentials"]

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
    """Check a release, and publish it.

    Args:
        release: its folder.
        to: the destination.
        public: the trusted public key; without it, a signature must fit the files and its own key.
        dry_run: report what would be sent, and send nothing.

    Raises:
        ReleaseError: the release differs from its own records.
        PublishError: the destination cannot be reached, or refuses.
        StorageError: a folder cannot be written.
    """
    send = _find_place(to)
    check.check(release, public)
    send(release, check.index_of(release), dry_run)


#: Sends a release and its index to a destination, or reports what it would send (dry run).
_Send = Callable[[Path, dict[str, Any], bool], None]


def _find_place(to: str) -> _Send:
    """Choose the function that publishes to a destination.

    Raises:
        PublishError: it is not a destination, or has a user in it.
    """
    refuse_credentials(to)
    kind, _, rest = to.partition(":")
    place = rest.removeprefix("//")
    is_address = rest.startswith("//")
    if kind == "dir" and place and (not is_address or place.startswith("/")):  # dir:///x is /x, dir://x names a host
        return partial(_to_folder, Path(rest))
    if kind == "hf" and is_address and place.strip("/"):
        return partial(hub.publish_to_hub, place.strip("/"))
    if kind == "oci" and place and not is_address:
        return partial(_to_stores, lambda model: Layout(Path(rest) / model))
    if kind == "oci" and place:
        host, _, repository = place.partition("/")
        if not (host and repository.strip("/")):
            what = f"'{as_text(to)}' names no {'repository' if host else 'host'}"
            raise PublishError(what, where="to=", hint=_PLACES)
        return partial(_to_stores, lambda model: Registry(host, f"{repository.strip('/')}/{model}"))
    what = f"'{as_text(to)}' is not a destination" if to.strip() else "no destination given"
    raise PublishError(what, where="to=", hint=_PLACES)


def _to_stores(find_store: Callable[[str], oci.Store], release: Path, index: dict[str, Any], dry_run: bool) -> None:
    """Push every model to its store."""
    for model, facts in index["models"].items():
        store = find_store(model)
        what = oci.build_artifact(model, facts, pack.published(release, index, model, card_alone=True), index)
        tally = oci.push(store, what, index["version"], dry_run=dry_run)
        _say(f"{store}:{index['version']}", tally, dry_run=dry_run)


def _say(place: str, tally: oci.Tally, *, dry_run: bool) -> None:
    verb = "would be sent" if dry_run else "sent"
    done = f"{len(tally.sent)} {verb} ({tally.bytes:,} bytes)" if tally.sent else "nothing to do"
    print(f"{place}: {done}, {len(tally.there)} blobs were there; {tally.latest}", flush=True)


def _to_folder(to: Path, release: Path, index: dict[str, Any], dry_run: bool) -> None:
    """Copy the release to ``to/<version>``, with one rename at the end."""
    version = index["version"]
    final = to / version
    if _is_there(release, final):
        return
    if dry_run:
        print(f"{final}: {sum(file.is_file() for file in release.rglob('*'))} files would be copied")
        return
    try:
        with files.staging(to, ".new.") as staging:
            new = staging.folder / version
            for file in release.rglob("*"):
                if file.is_file():
                    pack.write(new / file.relative_to(release), file.read_bytes())
            with files.locked_folder(to):
                files.restore_folders(to)
                if _is_there(release, final):  # another run published it meanwhile
                    return
                files.replace_folder(new, final)
    except OSError as error:
        if error.errno not in (*STORAGE, errno.EEXIST, errno.ENOENT):
            raise
        raise storage_error(error, str(to)) from error
    print(f"{final}: published")


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
