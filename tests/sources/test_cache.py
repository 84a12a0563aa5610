"""The cache: what it records, what it notices, and where it cannot be written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server, full
from tests.support.sources import (
    DATA,
    QUICK,
    SHA,
    get,
    partial,
    program,
    quiet,
    refused,
    said,
    source,
)
from utils.errors import CorruptError, StorageError
from utils.sources.cache import cached, known_sha256
from utils.sources.fetch import fetch_all


def test_md5_of_upstream(server: Server, cache: Path) -> None:
    facts: dict[str, Any] = {"sha256": None, "size": None}
    wanted = source(server.on("/a", full(DATA)), md5=hashlib.md5(DATA).hexdigest(), **facts)
    assert wanted.unpinned
    assert known_sha256(wanted) is None
    assert get(wanted)[0] == cache / SHA
    assert known_sha256(wanted) == SHA
    assert f"has md5 {hashlib.md5(DATA).hexdigest()}, not 444" in refused(
        source(server.base + "/a", md5="4" * 32, **facts), CorruptError
    )


def test_unpinned_is_pinned_by_its_first_fetch(server: Server, cache: Path) -> None:
    wanted = source(server.on("/a?key=1", full(DATA)), sha256=None, size=None)
    server.on("/a", full(DATA))
    assert get(wanted)[0] == cache / SHA == cached(wanted)
    (record,) = json.loads((cache / "unpinned.json").read_text()).values()
    assert record == {"name": "weights.bin", "sha256": SHA, "size": len(DATA)}
    (cache / SHA).unlink()
    server.on("/a", full(bytes(7)))
    text = refused(wanted, CorruptError)
    assert "the server's file has 7 bytes, not 200000; `doit refetch source=weights.bin` forgets it" in text
    (cache / "unpinned.json").write_text("{}")
    assert get(wanted)[0].read_bytes() == bytes(7)
    (cache / "unpinned.json").write_text('{"x": {"sha256": "../../etc/passwd", "size": 1}}')
    assert "unpinned.json: this is not a record of hashes: x.sha256" in refused(wanted)


def test_a_record_is_on_the_disk_before_it_gets_its_name(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renamed before its bytes are there, it would be empty after a power cut."""
    synced, sync = [], os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        assert not (cache / "unpinned.json").exists()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    get(source(server.on("/a", full(DATA)), sha256=None, size=None))
    assert synced[-1].parent == cache
    assert (cache / "unpinned.json").is_file()
    assert sorted(path.name for path in cache.iterdir()) == sorted([SHA, "locks", "partial", "unpinned.json"])


def test_damaged_cache_is_noticed(server: Server, cache: Path) -> None:
    wanted = source(server.on("/a", full(DATA)))
    get(wanted)
    (cache / SHA).write_bytes(bytes(len(DATA)))
    assert cached(wanted) is not None
    assert cached(wanted, verify=True) is None
    path, events = get(wanted)
    assert path.read_bytes() == DATA
    assert "warning: weights.bin in the cache has sha256" in said(events)
    (cache / SHA).write_bytes(b"")
    assert cached(wanted) is None


def test_two_processes_fetch_once(server: Server, cache: Path) -> None:
    url = server.on("/a", full(DATA, pace=0.3))
    both = [program(url) for _ in range(2)]
    results = [one.communicate(timeout=15) for one in both]
    assert [out for out, _ in results] == [f"{cache / SHA}\n"] * 2, results
    assert [request.sent for request in server.requests] == [len(DATA)]
    assert "waiting for weights.bin: another fetch of it is running" in "".join(err for _, err in results)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system of memory; a machine that does not let us skips the test."""
    place = tmp_path / "mounted"
    place.mkdir()

    def make(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "zoo-test", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("needs the mount program")
        if done.returncode:
            pytest.skip("needs the right to mount a tmpfs (root outside of a container)")
        return place

    yield make
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


def test_disk_full(server: Server, mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    place = mount("size=128k")
    monkeypatch.setenv("ZOO_CACHE", str(place))
    with pytest.raises(StorageError, match=r"no space left on the disk\n  -> free some space"):
        get(source(server.on("/a", full(DATA)), name="full"))
    assert not (place / SHA).exists()
    assert len(server.requests) == 1


def test_read_only_cache(server: Server, mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    place = mount("size=1m")
    monkeypatch.setenv("ZOO_CACHE", str(place))
    wanted = source(server.on("/a", full(DATA)))
    get(wanted)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    assert get(wanted)[0] == place / SHA  # a full cache needs no writing
    with pytest.raises(StorageError, match="the folder is read-only"):
        get(source(server.on("/b", full(DATA[1:])), data=DATA[1:]))
    assert len(server.requests) == 1


def test_no_permission(server: Server, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o555)
    # Root is let in everywhere.
    process = program(server.on("/a", full(DATA)), user=0 if os.geteuid() else 65534)
    _, err = process.communicate(timeout=15)
    assert "Traceback" not in err
    assert re.search(r"StorageError: .*/cache/locks: no permission to write\n  -> make the folder writable", err)
    assert server.requests == []


def test_cache_that_is_a_file(cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(StorageError, match="cache"):
        get(source("http://127.0.0.1:1/a"))


def test_two_fetchers_without_locks_do_not_mix_their_bytes(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a source that nobody has pinned, a mixture would be recorded."""

    def flock(_descriptor: object, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    other = bytes(reversed(DATA))
    wanted = source(server.on("/a", full(DATA, pace=0.1), full(other, pace=0.05)), sha256=None, size=None)
    with ThreadPoolExecutor(2) as pool:
        found = [one[0] for one in pool.map(get, [wanted, wanted])]
    for path in found:
        assert path.read_bytes() in (DATA, other)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert known_sha256(wanted) in {path.name for path in found}
    assert partial(cache) == []


def test_no_room_for_one_more_file(
    server: Server, mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = mount("size=4m,nr_inodes=6")
    monkeypatch.setenv("ZOO_CACHE", str(place))
    wanted = [source(server.on(f"/{n}", full(DATA[n:])), data=DATA[n:], name=f"f{n}") for n in range(4)]
    with pytest.raises(StorageError, match=r"no space left on the disk\n  -> free some space"):
        fetch_all(wanted, jobs=1, report=quiet, limits=QUICK)
    left = [path.name for path in place.iterdir() if len(path.name) == 64]
    assert all(hashlib.sha256((place / name).read_bytes()).hexdigest() == name for name in left)
    for path in (place / "locks").iterdir():
        path.unlink()
    subprocess.run(["mount", "-o", "remount,nr_inodes=100", str(place)], check=True)
    assert [get(one)[0].read_bytes() for one in wanted] == [DATA[n:] for n in range(4)]
