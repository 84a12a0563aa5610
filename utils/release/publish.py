"""publish: bring a release to where people get it from. What is there already is not sent again."""

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
    """Refuse an address with a user in it, of whose words none is shown again: each may be the password.

    Raises:
        PublishError: there is one.
    """
    if "@" in to and "://" in to and not to.startswith("dir:///"):  # a folder may have any name
        hint = f"leave out what stands before the @, and `docker login HOST` (or `hf auth login`); {_PLACES}"
        raise PublishError("the address has a user in it", where="to=", hint=hint)


def publish(release: Path, to: str, public: Path | None, *, dry_run: bool) -> None:
    """Publish a release, after everything in it was checked.

    Args:
        release: its folder.
        to: the place.
        public: the key of whom the caller trusts; without it the signature is only held against the files.
        dry_run: say what would be sent, and send nothing.

    Raises:
        ReleaseError: the release is not what it says.
        PublishError: the place cannot be reached, or refuses.
        StorageError: a folder cannot be written.
    """
    send = _find_place(to)
    check.check(release, public)
    send(release, check.index_of(release), dry_run)


#: What brings a release and its index to a place, or says what it would bring (dry run).
_Send = Callable[[Path, dict[str, Any], bool], None]


def _find_place(to: str) -> _Send:
    """What publishes there.

    Raises:
        PublishError: it is no place, or has a user in it.
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
    what = f"'{as_text(to)}' is no place to publish to" if to.strip() else "no place given"
    raise PublishError(what, where="to=", hint=_PLACES)


def _to_stores(find_store: Callable[[str], oci.Store], release: Path, index: dict[str, Any], dry_run: bool) -> None:
    """Push every model to the store that is for it."""
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
    """Copy the release to ``to/<version>``, in one rename."""
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
                if _is_there(release, final):  # another run has published it meanwhile
                    return
                files.replace_folder(new, final)
    except OSError as error:
        if error.errno not in (*STORAGE, errno.EEXIST, errno.ENOTDIR):
            raise
        raise storage_error(error, str(to)) from error
    print(f"{final}: published")


def _is_there(release: Path, final: Path) -> bool:
    """Whether the folder has this very release.

    Raises:
        PublishError: it has another one.
    """
    if not final.exists():
        return False
    if _are_same(release, final):
        print(f"{final}: nothing to do", flush=True)
        return True
    hint = "a published version does not change: publish a new one, or remove that folder"
    raise PublishError("this version is there, with other files", where=str(final), hint=hint)


def _are_same(one: Path, other: Path) -> bool:
    trees = [{f.relative_to(top).as_posix(): f for f in top.rglob("*") if f.is_file()} for top in (one, other)]
    return trees[0].keys() == trees[1].keys() and all(
        file.read_bytes() == trees[1][name].read_bytes() for name, file in trees[0].items()
    )
