"""Releases of strangers, and releases and publishes that are killed or run at once."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import shutil
import signal
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.campaign.case import Case, Outcome
from tests.support.kept import NEW, OLD, fill, made, push, put, tags, tree
from tests.support.kills import fork, killed_at
from tests.support.releases import FIRST_MODEL, Keys, make_fit, make_keys, small_release
from utils import files
from utils.errors import ZooError
from utils.release import check, publish, sign
from utils.release.archive import StoredGzip

AREA = "releases"
ARCHIVE = f"{FIRST_MODEL}-0.1.0.tar.gz"

#: What stands in the place of a value.
_VALUES: list[Any] = [
    None, True, 0, -1, 10**30, 1e308, "", "x", "\x1b[2J", "\ud800", "../../x", "a" * 10**5, [], {}, [[]], [{}] * 300,
    {"a": {}}, "0" * 64, "\u202e",
]  # fmt: skip


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Damage a release in one way after the other, and kill what makes and publishes releases; without an end.

    Args:
        rng: of the campaign's seed.
        folder: for the releases; each case cleans up after itself.
    """
    keys = make_keys(folder / "keys")
    whole = small_release(folder / "whole", keys)
    kinds = [_bytes, _bytes, _json, _json, _json, _tar, _tar, _names, _signature, _killed, _at_once]
    while True:
        kind, seed = rng.choice(kinds), rng.randrange(2**32)
        what = f"{kind.__name__.strip('_')}, seed {seed}"
        yield Case(AREA, what, partial(_in_own_folder, folder, partial(kind, random.Random(seed), whole, keys)))


def _in_own_folder(folder: Path, run: Callable[[Path], Outcome]) -> Outcome:
    with tempfile.TemporaryDirectory(dir=folder) as own, contextlib.redirect_stdout(io.StringIO()):
        return run(Path(own))


def _copy(whole: Path, own: Path) -> Path:
    release = own / "release" / whole.name
    shutil.copytree(whole, release)
    return release


def _look(
    release: Path, whole: Path, keys: Keys, rng: random.Random, own: Path, *, is_writable: bool = True
) -> Outcome:
    """Check and publish, with the key or without.

    Only the very release that was made may pass with it; without it also one that ``doit release`` could have written.
    """
    same = _bytes_of(release) == _bytes_of(whole)
    public = keys.public if rng.random() < 0.5 else None
    is_writable = is_writable or _without_signatures(release) == _without_signatures(whole)
    began = time.process_time()
    try:
        check.check(release, public)
        publish.publish(release, f"{rng.choice(['dir', 'oci'])}:{own / 'to'}", public, dry_run=False)
    except ZooError as error:
        if same or (own / "to").exists() or not all(line.isprintable() for line in str(error).splitlines()):
            return Outcome.WRONG
        return Outcome.CLEAR
    except Exception:  # whatever it is, nobody explained it
        traceback.print_exc()
        return Outcome.TRACEBACK
    if time.process_time() - began > 30:
        return Outcome.HANG
    return Outcome.RIGHT if same or (is_writable and not public) else Outcome.WRONG


def _bytes_of(folder: Path) -> dict[str, bytes | None]:
    """The files; None stands for what is none of its own: a folder, a pipe, a link."""
    return {
        str(f.relative_to(folder)): f.read_bytes() if f.is_file() and not f.is_symlink() else None
        for f in folder.rglob("*")
    }


def _without_signatures(release: Path) -> dict[str, bytes | None]:
    """The files that are the same in a release that nobody signed; the sums, which are not, are checked by the sums."""
    signing = ("signatures", sign.SIGNATURE, "release.json", files.SUMS)
    return {name: data for name, data in _bytes_of(release).items() if not name.startswith(signing)}


def _fit(rng: random.Random, release: Path) -> None:
    """Sometimes the sums are made again: anybody can. The signature then is of other bytes, or none."""
    if rng.random() < 0.7:
        signature = (release / sign.SIGNATURE).read_bytes()
        try:
            make_fit(release)
        except (AttributeError, KeyError, TypeError, ValueError, OSError):  # release.json is past it
            return
        if rng.random() < 0.3:
            (release / sign.SIGNATURE).write_bytes(signature)


def _files(release: Path) -> list[Path]:
    return sorted(file for file in release.rglob("*") if file.is_file())


def _bytes(rng: random.Random, whole: Path, keys: Keys, own: Path) -> Outcome:
    """Flip, cut, add and repeat bytes of one file."""
    release = _copy(whole, own)
    file = rng.choice(_files(release))
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:]
        case 2:
            data += rng.randbytes(rng.choice([1, 512, 10240]))
        case 3:
            data[at:at] = data[: rng.randrange(1, 2000)]
        case _:
            data[at : at + rng.randrange(1, 600)] = rng.randbytes(rng.randrange(600))
    file.write_bytes(data)
    if file.name != "release.json":
        _fit(rng, release)
    return _look(release, whole, keys, rng, own)


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document: its container and its key."""
    for key, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(part, dict | list):
            yield from _spots(part)


def _json(rng: random.Random, whole: Path, keys: Keys, own: Path) -> Outcome:
    """Put another value, take a key away, or add one."""
    release = _copy(whole, own)
    file = rng.choice([file for file in _files(release) if file.suffix == ".json"])
    value = files.load_json(file)
    for _ in range(rng.choice([1, 1, 1, 3])):
        container, key = rng.choice(list(_spots(value)))
        match rng.randrange(4):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[rng.choice(["x", "\x1b", "", "../x", "__class__"])] = rng.choice(_VALUES)
            case _:
                container[key] = rng.choice(_VALUES)
        if not list(_spots(value)):
            break
    plain = rng.random() < 0.2
    text = json.dumps(value) if plain else files.dump_json(value)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    if file.name != "release.json":
        _fit(rng, release)
    return _look(release, whole, keys, rng, own)


def _tar(rng: random.Random, whole: Path, keys: Keys, own: Path) -> Outcome:
    """Write the archive with entries that no archive of ours has; or damage the headers in it."""
    release = _copy(whole, own)
    data = bytearray(gzip.decompress((release / ARCHIVE).read_bytes()))
    if rng.random() < 0.5:
        for _ in range(rng.choice([1, 3])):
            at = rng.choice(
                [match for match in range(0, len(data), 512) if data[match + 257 : match + 262] == b"ustar"]
            )
            data[at + rng.randrange(500)] = rng.randrange(256)
            head = data[at : at + 512]
            head[148:156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(head)
    else:
        stream = io.BytesIO()
        names = ["../x", "/etc/x", f"{FIRST_MODEL}-0.1.0/README.md", f"{FIRST_MODEL}-0.1.0/\x1b", "x" * 300, "a/b/../c"]
        kinds = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
        with tarfile.open(fileobj=stream, mode="w", format=rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])) as tar:
            for _ in range(rng.choice([1, 5, 3000])):
                entry = tarfile.TarInfo(rng.choice(names))
                entry.type, entry.mode = rng.choice(kinds), rng.choice([0o644, 0o4755, 0])
                entry.linkname, entry.uname = rng.choice(names), rng.choice(["", "root", "\x1b"])
                tar.addfile(entry)
        data = bytearray(stream.getvalue()) + (data if rng.random() < 0.5 else b"")
    if rng.random() < 0.3:
        data += bytes(rng.choice([1 << 20, 64 << 20]))
    with (release / ARCHIVE).open("wb") as file:
        if rng.random() < 0.5:
            file.write(gzip.compress(bytes(data), 6))
        else:
            stored = StoredGzip(file)
            stored.write(bytes(data[: 4 << 20]))
            stored.finish()
    _fit(rng, release)
    return _look(release, whole, keys, rng, own, is_writable=False)


def _names(rng: random.Random, whole: Path, keys: Keys, own: Path) -> Outcome:
    """Add, rename and take away files, folders, links and pipes."""
    release = _copy(whole, own)
    victim = rng.choice(_files(release))
    other = rng.choice([release, release / "cards", release / "new"]) / rng.choice(["x", "\x1b[2J", "a b", ".x", "é"])
    match rng.randrange(6):
        case 0:
            victim.unlink()
        case 1:
            other.parent.mkdir(exist_ok=True)
            victim.rename(other)
        case 2:
            other.mkdir(parents=True)
        case 3:
            victim.unlink()
            victim.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", "nowhere", str(whole / victim.name)]))
        case 4:
            victim.unlink()
            os.mkfifo(victim)
        case _:
            victim.unlink()
            victim.mkdir()
    if rng.random() < 0.5 and (release / "release.json").is_file() and (release / sign.SIGNATURE).is_file():
        _fit(rng, release)
    return _look(release, whole, keys, rng, own, is_writable=False)


def _signature(rng: random.Random, whole: Path, keys: Keys, own: Path) -> Outcome:
    """Write a signature in another way, or let it say something else."""
    release = _copy(whole, own)
    file = rng.choice([release / sign.SIGNATURE, release / f"signatures/{FIRST_MODEL}.sig"])
    value = json.loads(file.read_text())
    match rng.randrange(4):
        case 0:
            value["dsseEnvelope"]["signatures"] *= 2
        case 1:
            container, key = rng.choice(list(_spots(value)))
            container[key] = rng.choice(_VALUES)
        case 2:
            value[rng.choice(["x", "mediaType2"])] = rng.choice(_VALUES)
        case _:
            file.write_text(json.dumps(value, sort_keys=True, indent=rng.choice([0, 1, "\t"])))
            value = None
    if value is not None:
        file.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))
    return _look(release, whole, keys, rng, own)


def _killed(rng: random.Random, _whole: Path, _keys: Keys, own: Path) -> Outcome:
    """Kill a forced release, or a publish, at one of its requests to the system."""
    kind, moment = rng.choice(["release", "layout", "folder"]), rng.randrange(1, 150)
    top = own / "top"
    try:
        if kind == "release":
            fill(top / "9.0.0", OLD)
            killed_at(moment, partial(put, top / "9.0.0", NEW))
            put(top / "1.0.0", OLD)
            there = sorted(entry.name for entry in top.iterdir())
            good = there == ["1.0.0", "9.0.0"] and tree(top / "9.0.0") in (OLD, NEW)
        elif kind == "folder":
            fill(own / "1.0.0", NEW)
            send = partial(publish._to_folder, top, own / "1.0.0", {"version": "1.0.0"}, False, {})
            killed_at(moment, send)
            half = (top / "1.0.0").exists() and tree(top / "1.0.0") != NEW
            send()
            good = not half and tree(top) == {f"1.0.0/{name}": text for name, text in NEW.items()}
        else:
            push(top, "0.9.0")
            killed_at(moment, partial(push, top, "1.0.0"))
            good = tags(top)["0.9.0"] == made("0.9.0").digest
            push(top, "1.0.0")
            good = good and tags(top).keys() == {"0.9.0", "1.0.0", "latest"}
    except (ZooError, AssertionError, FileNotFoundError, KeyError):  # what was there is not, or not whole
        return Outcome.LOST
    except Exception:  # whatever it is, nobody explained it
        return Outcome.TRACEBACK
    return Outcome.RIGHT if good else Outcome.LOST


def _at_once(rng: random.Random, _whole: Path, _keys: Keys, own: Path) -> Outcome:
    """Release and publish in several processes, some of which are killed."""
    top, layout = own / "release", own / "layout"
    fill(top / "9.0.0", OLD)

    def work(version: str) -> None:
        put(top / version, NEW)
        put(top / "9.0.0", NEW)
        push(layout, version)

    running = {fork(partial(work, f"{number % 3}.0.0")): number for number in range(5)}
    victims = rng.sample(list(running), 2)
    for victim in victims:
        time.sleep(rng.uniform(0, 0.02))
        os.kill(victim, signal.SIGKILL)
    codes = {pid: os.waitpid(pid, 0)[1] for pid in running}
    if any(codes[pid] for pid in running if pid not in victims):
        return Outcome.TRACEBACK
    try:
        put(top / "3.0.0", NEW)
        push(layout, "3.0.0")
        found = tags(layout)
    except (ZooError, AssertionError, FileNotFoundError):
        return Outcome.LOST
    wanted = {f"{running[pid] % 3}.0.0" for pid in running if pid not in victims}
    whole = all(tree(folder) in (OLD, NEW) for folder in top.iterdir())
    kept = (top / "9.0.0").is_dir() and wanted <= found.keys() and found["latest"] == found["3.0.0"]
    return Outcome.RIGHT if whole and kept else Outcome.LOST
