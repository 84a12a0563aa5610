"""Hostile servers, mirrors, caches and archives; nothing wrong may be taken for a source, and nothing good is lost."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.campaign.case import Case, Outcome
from tests.support.servers import Behaviour, Server, body, cut, full, raw, redirect, serving, stall, status
from tests.support.sources import DATA, QUICK, SHA, source
from utils.errors import ZooError
from utils.sources.fetch import fetch
from utils.sources.progress import Event
from utils.sources.source import Source
from utils.sources.unpack import unpack

#: The least that a busy machine passes for alive, so that a case ends in time.
LIMITS = replace(QUICK, connect_s=8.0, read_s=3.0, tries=2, stall_s=3.0, stall_bytes=20_000, most_bytes=500_000)

ARCHIVE = gzip.compress(DATA, mtime=0)
OTHER = gzip.compress(b"another file", mtime=0)
BOMB = gzip.compress(bytes(10**7), 1, mtime=0)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield cases without end; each is decided by ``rng`` before it is run."""
    kinds = [_answers, _answers, _answers, _mirror, _cache, _tar, _tar, _zip, _bomb]
    while True:
        kind = rng.choice(kinds)
        what, act = kind(random.Random(rng.getrandbits(64)))
        yield Case("sources", what, _in_folder(act, folder))


def _in_folder(act: Callable[[Path], Outcome], folder: Path) -> Callable[[], Outcome]:
    def run() -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as home:
            return act(Path(home))

    return run


# Servers


def _words(rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"",
            b"0",
            b"-1",
            b"200000",
            b"199999",
            b"9" * 5000,
            b"\xff\xfe",
            b"\x1b[2J\x07",
            b"a, b",
            b"bytes 0-9/200000",
            rng.randbytes(rng.randrange(40)),
            b"x" * 70_000,
            b"chunked",
            b"gzip",
            b"http://[::1",
            b"//\xc3\xa4" * 80,
        ]
    ).translate(None, b"\r\n")


def _header(rng: random.Random) -> bytes:
    names = [b"Content-Length", b"Content-Range", b"Transfer-Encoding", b"Content-Encoding", b"Location", b"ETag"]
    names += [b"Retry-After", b"Set-Cookie", b"Connection", b"X", b"", b"\xff", b"Content-Length "]
    return rng.choice(names) + rng.choice([b": ", b":", b" "]) + _words(rng)


def _content(rng: random.Random) -> bytes:
    wrong = bytearray(DATA)
    wrong[rng.randrange(len(wrong))] ^= 1
    chunked = b"%x\r\n%b\r\n" % (rng.choice([5, 10, 2**70]), b"12345")
    return rng.choice(
        [
            b"",
            DATA,
            DATA[: rng.randrange(len(DATA))],
            DATA + b"x",
            bytes(wrong),
            b"<!DOCTYPE html><p>log in",
            chunked,
            b"-5\r\nabc",
            b"ZZ\r\n",
            b"0\r\n\r\n",
            BOMB,
            rng.randbytes(1000),
        ]
    )


def _raw(rng: random.Random) -> Behaviour:
    code = rng.choice(
        [b"200 OK"] * 5 + [b"206 x", b"302 x", b"301 x", b"416 x", b"100 x", b"204 x", b"999 x", b"OK", b""]
    )
    version = rng.choice([b"HTTP/1.1 "] * 6 + [b"HTTP/1.0 ", b"HTTP/9 ", b"ICY ", b""])
    lines = [_header(rng) for _ in range(rng.choice([0, 1, 2, 3, 150]))]
    answer = version + b"\r\n".join([code, *lines, b"", _content(rng)])
    if rng.random() < 0.2:
        answer = answer[: rng.randrange(len(answer) + 1)]
    endless = rng.choice(
        [b""] * 6 + [b"x" * 65536, b"HTTP/1.1 100 Continue\r\n\r\n", b"X: y\r\n", b"1\r\nx\r\n", b"\0"]
    )
    return raw(answer, endless, pace=rng.choice([0.0, 0.05]), most=1_000_000)


def _usual(rng: random.Random) -> Behaviour:
    code = rng.choice([401, 403, 404, 408, 416, 429, 500, 503])
    return rng.choice(
        [
            status(code),
            status(code, Retry_After=rng.choice(["1", "soon", "9" * 5000])),
            full(DATA, etag='"v"'),
            full(DATA[:-1]),
            cut(DATA, rng.randrange(len(DATA)), etag='"v"'),
            stall(DATA, 70_000, 5.0),
            body(_content(rng)),
            redirect("/bad"),
            redirect("/0"),
            redirect("http://127.0.0.1:1/"),
            redirect("//"),
        ]
    )


@contextmanager
def _cache_in(home: Path, **settings: str) -> Iterator[None]:
    before = dict(os.environ)
    for name in before:
        if name.startswith("ZOO_") or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(ZOO_CACHE=str(home / "cache"), **settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _judge(home: Path, wanted: Source, *, must: bool) -> Outcome:
    """Fetch; ``must`` says that one of the addresses has the right file."""
    events: list[Event] = []
    try:
        found = fetch(wanted, report=events.append, limits=LIMITS)
    except ZooError as error:
        shown = str(error).replace("\n", "").isprintable()
        names = {path.name for path in (home / "cache").glob("*") if path.is_file()} - {"unpinned.json"}
        whole = all(hashlib.sha256((home / "cache" / name).read_bytes()).hexdigest() == name for name in names)
        return Outcome.WRONG if not (shown and whole) else Outcome.LOST if must else Outcome.CLEAR
    said = all(event.text.replace("\n", "").isprintable() for event in events)
    data = found.read_bytes()
    is_right = said and data in _RIGHT.get(wanted.name, (DATA,)) and hashlib.sha256(data).hexdigest() == found.name
    return Outcome.RIGHT if is_right else Outcome.WRONG


#: What may be taken; of a gzip file that nobody publishes a hash for, nothing tells another whole one from it.
_RIGHT = {"a.gz": (ARCHIVE, BOMB, OTHER)}


def _wanted(rng: random.Random, *, pinned: bool | None = None) -> Callable[..., Source]:
    """How to make a source of addresses that have ``DATA``, or ``ARCHIVE`` if it is unpinned."""
    md5 = hashlib.md5(DATA).hexdigest()
    unpinned: dict[str, Any] = {"size": None, "sha256": None, "name": "a.gz"}
    facts = rng.choice([{}, {"size": None}, {"size": None, "sha256": None, "md5": md5}, unpinned])
    if pinned is not None:
        facts = {} if pinned else unpinned
    return lambda *urls: source(*urls, **facts)


def _good(server: Server, wanted: Source) -> str:
    return server.on("/good", full(ARCHIVE if wanted.name == "a.gz" else DATA, etag='"v"'))


def _answers(rng: random.Random) -> tuple[str, Callable[[Path], Outcome]]:
    count, good = rng.randrange(1, 4), rng.random() < 0.7
    acts = [[rng.choice([_raw, _raw, _usual])(rng) for _ in range(rng.randrange(1, 3))] for _ in range(count)]
    make = _wanted(rng)

    def act(home: Path) -> Outcome:
        with serving() as server, _cache_in(home):
            urls = [server.on(f"/{number}", *some) for number, some in enumerate(acts)]
            server.on("/bad", redirect("/bad"))
            return _judge(home, make(*urls, *([_good(server, make())] if good else [])), must=good)

    return f"{count} hostile addresses{' before a good one' if good else ''}", act


# Mirrors and caches


def _record(rng: random.Random, key: str) -> bytes:
    """A record of hashes that is wrong in one way, or in none."""
    digest = hashlib.sha256(OTHER).hexdigest()
    one = {"name": "a.gz", "sha256": digest, "size": len(OTHER)}
    text = json.dumps({key: one}).encode()
    value = rng.choice([None, 5, "x", [], {}, True, -1, 1e300, "\x1b[2J", "../../etc/passwd", digest + "\n"])
    wrong = json.dumps({key: {**one, rng.choice(["name", "sha256", "size", "more"]): value}}).encode()
    flipped = bytearray(text)
    flipped[rng.randrange(len(text))] = rng.randrange(256)
    deep = b"[" * rng.choice([65, 100_000])
    large = b" " * 20_000_000
    return rng.choice(
        [
            b"",
            text,
            wrong,
            bytes(flipped),
            deep,
            b'{"a":' * 9999,
            large,
            text[:-9],
            b"null",
            b"[]",
            b"1" * 5000,
            b"\xff",
        ]
    )


def _mirror(rng: random.Random) -> tuple[str, Callable[[Path], Outcome]]:
    make, over_http, answer = _wanted(rng), rng.random() < 0.5, rng.choice([_raw, _usual])(rng)
    key = make("http://127.0.0.1/good").key
    record, stored = _record(rng, key), rng.choice([DATA, DATA[:-1], bytes(len(DATA)), OTHER, b"", None])
    kind = rng.choice(["file", "file", "pipe", "folder", "device", "loop"])

    def act(home: Path) -> Outcome:
        with serving() as server:
            wanted = make(_good(server, make()))
            mirror = home / "mirror"
            mirror.mkdir()
            names = [SHA, hashlib.sha256(OTHER).hexdigest()]
            for name in names:
                _put(mirror / name, kind, stored or b"")
                server.on(f"/cas/{name}", answer if stored is None else body(stored))
            told = record.replace(key.encode(), wanted.key.encode())
            _put(mirror / "unpinned.json", kind, told)
            server.on("/cas/unpinned.json", answer if stored is None else body(told))
            with _cache_in(home, ZOO_MIRROR=server.base + "/cas" if over_http else str(mirror)):
                return _judge(home, wanted, must=True)

    return f"a hostile mirror ({'http' if over_http else kind})", act


def _put(place: Path, kind: str, data: bytes) -> None:
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "loop":
        place.symlink_to(place.name)
    else:
        place.write_bytes(data)


def _cache(rng: random.Random) -> tuple[str, Callable[[Path], Outcome]]:
    pinned, kind = rng.random() < 0.5, rng.choice(["file", "file", "file", "folder", "loop"])
    what = rng.choice(["part", "record", "file"])
    make = _wanted(rng, pinned=pinned)
    record, junk = _record(rng, "KEY"), rng.choice([DATA, DATA[:999], bytes(999), bytes(len(DATA)), DATA + b"x", b""])

    def act(home: Path) -> Outcome:
        with serving() as server, _cache_in(home):
            wanted = make(_good(server, make()))
            (home / "cache/partial").mkdir(parents=True)
            if what == "part":
                _put(home / f"cache/partial/{wanted.key}.part", kind, junk)
                (home / f"cache/partial/{wanted.key}.json").write_bytes(b"[" * 100_000)
            elif what == "record":
                _put(home / "cache/unpinned.json", kind, record.replace(b"KEY", wanted.key.encode()))
            else:
                _put(home / "cache" / SHA, "file", junk)
            # What cannot be a file of ours is told; and a record of hashes is the word of this machine.
            return _judge(home, wanted, must=kind == "file" and what != "record")

    return f"a damaged cache ({what}, {kind})", act


# Archives


def _name(rng: random.Random) -> str:
    return rng.choice(
        [
            "a",
            "b",
            "a/b",
            "a/b/c",
            "a//b",
            "./a",
            ".",
            "..",
            "../x",
            "/x",
            "a/../../x",
            "a\\b",
            "l",
            "l/x",
            "m/x",
            "n" * 255,
            "n" * 256,
            "n/" * 3000,
            "\x1b[2J",
            "\u202e",
            "\udcff",
            "",
            "con",
            "a\0b",
            "~",
            "-x",
        ]
    )


def _tar(rng: random.Random) -> tuple[str, Callable[[Path], Outcome]]:
    stream = io.BytesIO()
    form = rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    with tarfile.open(fileobj=stream, mode=rng.choice(["w", "w:gz", "w:bz2", "w:xz"]), format=form) as file:
        for _ in range(rng.randrange(1, 8)):
            info = tarfile.TarInfo(_name(rng))
            info.type = rng.choice([*[tarfile.REGTYPE] * 4, *[tarfile.DIRTYPE] * 2, *[tarfile.SYMTYPE] * 2,
                                    tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"S", b"g", b"V"])  # fmt: skip
            info.linkname = _name(rng)
            info.mode = rng.choice([0, 0o777, 0o6777])
            data = rng.randbytes(rng.choice([0, 1, 511, 5000])) if info.type == tarfile.REGTYPE else b""
            info.size = len(data)
            key = rng.choice(
                ["mtime", "size", "uid", "path", "linkpath", "GNU.sparse.map", "GNU.sparse.size", "comment"]
            )
            if form == tarfile.PAX_FORMAT and rng.random() < 0.3:
                info.pax_headers = {
                    key: rng.choice(["inf", "nan", "-1", "9" * 5000, "1e999", "../x", "/x", "0,9", "\x1b"])
                }
            try:
                file.addfile(info, io.BytesIO(data))
            except (ValueError, OverflowError):  # the writer has scruples
                continue
    return "a hostile tar", _unpacking(_mutated(rng, stream.getvalue()))


def _zip(rng: random.Random) -> tuple[str, Callable[[Path], Outcome]]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice([0, 8, 12, 14])) as file:
        for number in range(rng.randrange(1, 6)):
            info = zipfile.ZipInfo(_name(rng).replace("\udcff", "") or f"{number}")
            info.external_attr = rng.choice([0, 0o120777, 0o100644, 0o020666, 0o040755]) << 16
            if info.filename not in file.namelist():
                file.writestr(info, rng.randbytes(rng.choice([0, 1, 5000])))
    return "a hostile zip", _unpacking(_mutated(rng, stream.getvalue()))


def _bomb(rng: random.Random) -> tuple[str, Callable[[Path], Outcome]]:
    size, kind = rng.choice([10**6, 10**7, 10**8]), rng.choice(["pax", "name", "file", "many", "gz in gz"])
    info = tarfile.TarInfo("x")
    info.size = size
    info.type = {"pax": tarfile.XHDTYPE, "name": tarfile.GNUTYPE_LONGNAME}.get(kind, tarfile.REGTYPE)

    def act(home: Path) -> Outcome:
        with gzip.open(home / "packed", "wb", 1) as file:
            if kind == "many":
                for number in range(size // 10_000):
                    file.write(tarfile.TarInfo(f"{number}").tobuf())
            else:
                file.write(info.tobuf())
            for _ in range(size // 10**6):
                file.write(bytes(10**6))
        data = (home / "packed").read_bytes()
        (home / "packed").unlink()
        return _unpacking(gzip.compress(data) if kind == "gz in gz" else data, most=500_000_000)(home)

    return f"a packed tar that grows ({kind}, {size} bytes)", act


def _mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([0, 0, 0, 1, 3, 30])):
        changed[rng.randrange(len(changed))] = rng.choice([0, 255, ord("/"), rng.randrange(256)])
    return bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.1 else changed)


def _unpacking(data: bytes, most: int = 10_000_000) -> Callable[[Path], Outcome]:
    def act(home: Path) -> Outcome:
        box, outside = home / "box", home / "outside"
        box.mkdir()
        outside.write_bytes(b"outside")
        (box / "archive").write_bytes(data)
        to = box / "out"
        try:
            unpack(box / "archive", to, max_bytes=most)
        except ZooError as error:
            is_clean = [path.name for path in box.iterdir()] == ["archive"]
            return Outcome.CLEAR if is_clean and str(error).replace("\n", "").isprintable() else Outcome.WRONG
        finally:
            is_whole = outside.read_bytes() == b"outside" and sorted(path.name for path in home.iterdir()) == [
                "box",
                "outside",
            ]
        found = list(to.rglob("*"))
        stays = all(path.resolve().is_relative_to(to.resolve()) for path in found)
        plain = all(path.is_symlink() or path.is_file() or path.is_dir() for path in found)
        modes = all(path.is_symlink() or not path.stat().st_mode & 0o7000 for path in found)
        size = sum(path.stat().st_size for path in found if path.is_file() and not path.is_symlink())
        shutil.rmtree(to)
        return Outcome.RIGHT if is_whole and stays and plain and modes and size <= most else Outcome.WRONG

    return act
