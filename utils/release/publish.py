"""publish: bring a release to where people get it from. What is there already is not sent again."""

from __future__ import annotations

import errno
from pathlib import Path

from utils import files
from utils.errors import STORAGE, PublishError, storage_error
from utils.release import check, hub, oci, pack
from utils.release.layout import Layout
from utils.release.registry import Registry

__all__ = ["publish"]

_PLACES = "to=dir:FOLDER, to=oci:FOLDER, to=oci://HOST/REPO or to=hf://ORG"


def publish(release: Path, to: str, *, dry_run: bool) -> None:
    """Publish a release, after everything in it was checked.

    Raises:
        ReleaseError: the release is not what it says.
        PublishError: the place cannot be reached, or refuses.
        StorageError: a folder cannot be written.
    """
    index = check.index_of(release)
    check.check(release, None)
    kind, _, rest = to.partition(":")
    place = rest.removeprefix("//")
    if kind == "dir" and place and (place == rest or place.startswith("/")):  # dir:///x is /x, dir://x names a host
        _to_folder(release, index["version"], Path(rest), dry_run=dry_run)
    elif kind == "hf" and rest.startswith("//") and place.strip("/"):
        hub.publish_to_hub(release, index, place.strip("/"), dry_run=dry_run)
    elif kind == "oci" and place:
        host, _, repository = place.partition("/")
        if rest.startswith("//") and not (host and repository.strip("/")):
            raise PublishError(f"{to!r} names no {'repository' if host else 'host'}", where="to=", hint=_PLACES)
        for model, facts in index["models"].items():
            store: oci.Store = (
                Registry(host, f"{repository.strip('/')}/{model}")
                if rest.startswith("//")
                else Layout(Path(rest) / model)
            )
            what = oci.build_artifact(model, facts, pack.published(release, index, model), index)
            tally = oci.push(store, what, index["version"], dry_run=dry_run)
            _say(f"{store}:{index['version']}", tally, dry_run=dry_run)
    else:
        raise PublishError(f"{to!r} is no place to publish to" if to else "no place given", where="to=", hint=_PLACES)


def _say(place: str, tally: oci.Tally, *, dry_run: bool) -> None:
    verb = "would be sent" if dry_run else "sent"
    done = f"{len(tally.sent)} {verb} ({tally.bytes:,} bytes)" if tally.sent else "nothing to do"
    print(f"{place}: {done}, {len(tally.there)} blobs were there; {tally.latest}", flush=True)


def _to_folder(release: Path, version: str, to: Path, *, dry_run: bool) -> None:
    """Copy the release to ``to/<version>``, in one rename."""
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
