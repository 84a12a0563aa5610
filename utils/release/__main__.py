"""``python -m utils.release COMMAND name=value ...``: what doit's tasks run; messages, exit codes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from utils import paths, program
from utils.errors import ReleaseError, UsageError

Options = dict[str, str]


def _lock(options: Options) -> None:
    from utils.release import lock

    lock.update(_names(options), takes_restored=_is_on(options, "restored"))


def _verify(options: Options) -> None:
    if _is_on(options, "image"):  # docker/run does it, where a daemon answers
        hint = "ZOO_DOCKER=1 docker/run doit verify image=1, on the machine that runs Docker"
        raise UsageError("there is no Docker here to build the image with", where="image=1", hint=hint)
    restored = _is_on(options, "restored")
    if not {"key", "release", "to"} & options.keys():
        from utils.release import verify

        verify.verify(_names(options), takes_restored=restored)
        return
    from utils.release import rebuild

    rebuild.rebuild(
        _names(options),
        key=_path(options, "key") if "key" in options else None,  # ZOO_KEY signs releases, and nothing else
        release=options.get("release", ""),
        to=_path(options, "to") if "to" in options else None,
        takes_restored=restored,
    )


def _release(options: Options) -> None:
    from utils.release import pack

    folder = pack.pack(
        options.get("version", ""),
        _names(options),
        _key(options),
        force="force" in options,
        with_boards=_is_on(options, "boards"),
        takes_restored=_is_on(options, "restored"),
        previous=_path(options, "previous") if "previous" in options else None,
        with_trials=_is_on(options, "try"),
    )
    signed = "signed" if _key(options) else "not signed (key=FILE signs it)"
    print(f"{paths.relative(folder)} is ready, {signed}")


def _check(options: Options) -> None:
    from utils.release import check, confirm

    folder = _path(options, "path")
    if "rebuilders" not in options and (alone := sorted({"threshold", "rebuilds"} & options.keys())):
        raise UsageError(f"{alone[0]}= is about rebuilders, and none are named", hint="add rebuilders=FILE,FILE")
    for line in check.check(folder, _public(options)):
        print(line)
    if "with" in options:
        for line in check.compare(folder, _path(options, "with")):
            print(line)
    if "rebuilders" in options:
        place = _path(options, "rebuilds") if "rebuilds" in options else None
        rebuilders = confirm.read_list(options["rebuilders"])
        for line in confirm.confirm(folder, rebuilders, options.get("threshold"), place):
            print(line)


def _publish(options: Options) -> None:
    from utils.release import pack, publish

    if "rebuilds" in options:
        _publish_rebuilds(options)
        return
    folder = _path(options, "path") if "path" in options else pack.release_of(options.get("version", ""))
    publish.publish(folder, options.get("to", ""), _public(options), dry_run=_is_on(options, "dry_run"))


def _publish_rebuilds(options: Options) -> None:
    from utils.release import publish

    beside = sorted(options.keys() - {"rebuilds", "to", "dry_run"})
    if beside:
        hint = "give rebuilds= alone to add to what is published; a release takes the statements beside it along"
        raise ReleaseError(f"{', '.join(f'{name}=' for name in beside)} beside rebuilds=", where="rebuilds=", hint=hint)
    publish.publish_rebuilds(_path(options, "rebuilds"), options.get("to", ""), dry_run=_is_on(options, "dry_run"))


def _mirror(options: Options) -> None:
    from utils.release import mirror, publish

    to = options.get("to", "")
    publish.refuse_credentials(to)
    if to.startswith(("dir:", "oci:")) or "://" in to:
        raise ReleaseError(f"{to!r} is not a folder", where="to=", hint="doit mirror to=FOLDER")
    listed = _path(options, "list") if "list" in options else None
    found = _path(options, "from") if "from" in options else None
    mirror.mirror(
        _path(options, "to"),
        _names(options),
        listed,
        found,
        with_site=_is_on(options, "site"),
        with_image=_is_on(options, "image"),
    )


def _refetch(options: Options) -> None:
    from utils.sources import cache

    name = options.get("source", "")
    count = cache.forget_records(name, lambda _: time.sleep(0.05))
    print(f"{count} recorded hash{'es' if count > 1 else ''} of {name} forgotten: the next doit fetches it again")
    if os.environ.get("ZOO_MIRROR"):
        print(f"ZOO_MIRROR may have it recorded too: remove the entry from the mirror's {cache.RECORDS}")


#: What is not left empty; an empty to= is refused where the places are known.
_NAMES_A_PLACE = {"key", "pubkey", "path", "with", "list", "from", "previous", "release", "rebuilders", "rebuilds"}

#: Command -> what it runs, and the names it takes.
COMMANDS: dict[str, tuple[Callable[[Options], None], set[str]]] = {
    "lock": (_lock, {"models", "restored"}),
    "verify": (_verify, {"models", "restored", "key", "release", "to", "image"}),
    "release": (_release, {"version", "models", "key", "boards", "previous", "try", "restored", "force"}),
    "release:check": (_check, {"path", "pubkey", "with", "rebuilders", "threshold", "rebuilds"}),
    "publish": (_publish, {"version", "path", "pubkey", "to", "dry_run", "rebuilds"}),
    "mirror": (_mirror, {"to", "models", "list", "from", "site", "image"}),
    "refetch": (_refetch, {"source"}),
}


def _names(options: Options) -> list[str]:
    return [name for name in options.get("models", "").replace(" ", ",").split(",") if name]


def _is_on(options: Options, name: str) -> bool:
    return options.get(name, "0") not in ("", "0")


def _key(options: Options) -> Path | None:
    given = options.get("key") or os.environ.get("ZOO_KEY")
    return Path(given) if given else None


def _public(options: Options) -> Path | None:
    return _path(options, "pubkey") if "pubkey" in options else None


def _path(options: Options, name: str) -> Path:
    if not options.get(name):
        raise ReleaseError(f"no {name} given", where=f"{name}=", hint=f"doit {sys.argv[1]} {name}=...")
    return Path(options[name])


def _refuse_empty(options: Options) -> None:
    """Refuse ``key=`` and its like, as a shell leaves them of an unset variable: nothing was chosen, nothing is meant.

    Raises:
        ReleaseError: an option that names a file or a folder has no value.
    """
    for name in sorted(_NAMES_A_PLACE & options.keys()):
        if not options[name].strip():
            hint = f"doit {sys.argv[1]} {name}=..., or leave {name}= out"
            raise ReleaseError(f"no {name} given", where=f"{name}=", hint=hint)


def main() -> None:
    """Run the command that is named on the command line, and exit."""
    name, *given = sys.argv[1:] or [""]
    options = dict(word.partition("=")[::2] for word in given)
    work, known = COMMANDS.get(name, (None, set()))
    if work is None or not options.keys() <= known:
        sys.exit(f"usage: python -m utils.release ({' | '.join(COMMANDS)}) name=value ... (doit does this for you)")
    program.prepare()
    try:
        _refuse_empty(options)
        work(options)
    except BaseException as error:
        program.end(error, name)


if __name__ == "__main__":
    main()
