"""The order of addresses, mirrors, life without a network, and runs that end in the middle."""

from __future__ import annotations

import hashlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server, body, full, redirect, stall, status
from tests.support.sources import (
    DATA,
    IMPATIENT,
    QUICK,
    ROOT,
    SHA,
    get,
    partial,
    program,
    quiet,
    ranges,
    refused,
    said,
    source,
    until,
)
from utils.errors import CorruptError, OfflineError, SourceError
from utils.sources import fetch as fetch_module
from utils.sources import http
from utils.sources.cache import cached, known_sha256
from utils.sources.fetch import fetch_all
from utils.sources.progress import Event


def test_fetch_and_then_the_cache(server: Server, cache: Path) -> None:
    wanted = source(server.on("/a", full(DATA)))
    assert cached(wanted) is None
    path, events = get(wanted)
    assert path == cache / SHA == cached(wanted) == cached(wanted, verify=True)
    assert path.read_bytes() == DATA
    assert [event.kind for event in events if event.kind != "bytes"] == ["plan", "start", "done"]
    assert events[0] == Event("plan", total=len(DATA), count=1)
    assert events[-1] == Event("done", "weights.bin", len(DATA), len(DATA), "127.0.0.1", SHA)
    assert [event.have for event in events if event.kind == "bytes"][-1] == len(DATA)
    assert partial(cache) == []
    assert get(wanted) == (path, [])
    assert len(server.requests) == 1


def test_several_at_once_and_all_failures_together(server: Server) -> None:
    good = [source(server.on(f"/{i}", full(DATA[i:])), data=DATA[i:], name=f"f{i}") for i in range(12)]
    events: list[Event] = []
    assert [*fetch_all(good, report=events.append, limits=QUICK)] == good
    bad = [
        source(server.on("/gone", status(404)), server.on("/busy", status(503)), name="b1", sha256="1" * 64),
        source(name="b2", sha256="2" * 64),
    ]
    with pytest.raises(SourceError) as caught:
        fetch_all([*good, *bad], report=events.append, limits=QUICK)
    text = str(caught.value)
    assert text.startswith("2 sources cannot be had:\n  b1: 200000 bytes, sha256 111")
    assert f"\n    {server.base}/gone: HTTP 404 Not Found\n" in text
    assert f"\n    {server.base}/busy: HTTP 503 Service Unavailable (4 tries)\n" in text
    assert "\n    it has no address\n  -> try again" in text
    assert "ZOO_MIRROR" in text
    assert fetch_all([]) == {}


def test_the_message_names_a_few_and_the_details_all(server: Server) -> None:
    wanted = [source(server.on(f"/{n}", status(404)), name=f"f{n}", sha256=f"{n:064}") for n in range(40)]
    with pytest.raises(SourceError) as caught:
        fetch_all(wanted, report=quiet, limits=QUICK)
    assert len(str(caught.value).splitlines()) <= 10
    assert "and 37 more" in str(caught.value)
    assert all(f"sha256 {one.sha256}" in caught.value.details for one in wanted)


def silent_url() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://localhost:{free.getsockname()[1]}/x"


def test_a_dead_host_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = silent_url()
    tries: list[str] = []
    download = http.Client.download
    monkeypatch.setattr(http.Client, "download", lambda *a: (tries.append(a[2]), download(*a))[1])
    wanted = [source(f"{dead}{n}", name=f"f{n}", sha256=f"{n:064}") for n in range(40)]
    events: list[Event] = []
    with pytest.raises(SourceError, match=r"^40 sources cannot be had, for nothing answers:") as caught:
        fetch_all(wanted, jobs=1, report=events.append, limits=QUICK)
    assert len(tries) == QUICK.tries
    assert said(events) == "warning: localhost: the connection was refused (4 tries); it is not asked again"
    assert caught.value.details.count("not asked again") == 39


def test_a_dead_host_does_not_keep_another_from_giving_the_file(server: Server) -> None:
    dead = silent_url()
    wanted = [source(f"{dead}{n}", server.on(f"/{n}", full(DATA[n:])), data=DATA[n:], name=f"f{n}") for n in range(5)]
    assert len(fetch_all(wanted, report=quiet, limits=QUICK)) == 5


def test_a_redirect_to_a_dead_host_does_not_make_its_own_host_dead(server: Server) -> None:
    """The host that redirects has answered; so has another port of a host of which one port is dead."""
    moved = [server.on(f"/moved{n}", redirect(silent_url())) for n in range(2)]
    another = silent_url().replace("localhost", "127.0.0.1")
    path, _ = get(source(*moved, another, server.on("/good", full(DATA))))
    assert path.read_bytes() == DATA


def test_a_host_that_answers_with_an_error_is_not_dead(server: Server) -> None:
    wanted = [source(server.on(f"/{n}", status(503)), name=f"f{n}", sha256=f"{n:064}") for n in range(2)]
    with pytest.raises(SourceError, match=r"^2 sources cannot be had:") as caught:
        fetch_all(wanted, jobs=1, report=quiet, limits=QUICK)
    assert "not asked again" not in caught.value.details


def test_it_says_soon_that_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch_module._PATIENCE_S <= 15
    monkeypatch.setattr(fetch_module, "_PATIENCE_S", 0.5)
    events: list[Event] = []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        wanted = [source(f"http://127.0.0.1:{mute.getsockname()[1]}/x")]
        with pytest.raises(SourceError):
            fetch_all(wanted, report=events.append, limits=replace(IMPATIENT, tries=1))
    assert "warning: nothing has answered for 0.5 s (asked 127.0.0.1): is there a network?" in said(events)


def test_two_sources_with_one_name(server: Server) -> None:
    one = source(server.on("/a", full(DATA)))
    other = source(server.on("/b", full(DATA[1:])), data=DATA[1:])
    found = fetch_all([one, other, one], report=quiet, limits=QUICK)
    assert [*found] == [one, other]
    assert [found[each].read_bytes() for each in (one, other)] == [DATA, DATA[1:]]


def test_failures_of_two_sources_with_one_name(server: Server) -> None:
    wanted = [source(server.on(f"/{digit}", status(404)), sha256=digit * 64) for digit in "21"]
    with pytest.raises(SourceError) as caught:
        fetch_all(wanted, report=quiet, limits=QUICK)
    assert re.findall(r"sha256 (\d)", str(caught.value)) == ["2", "1"]


def test_one_content_under_two_names(server: Server) -> None:
    url = server.on("/a", full(DATA, pace=0.02))
    found = fetch_all([source(url), source(url, name="again")], report=quiet, limits=QUICK)
    assert set(found.values()) == {cached(source(url))}
    assert len(server.requests) == 1


def test_wrong_bytes_and_the_next_address(server: Server, cache: Path) -> None:
    wrong = bytes(len(DATA))
    urls = [server.on("/wrong", full(wrong)), server.on("/right", full(DATA))]
    assert get(source(*urls))[0].read_bytes() == DATA
    text = refused(source(urls[0], sha256="3" * 64), CorruptError)
    assert f"{urls[0]}: has sha256 {hashlib.sha256(wrong).hexdigest()}, not 333" in text
    assert not (cache / ("3" * 64)).exists()
    assert ".part" not in partial(cache)


@pytest.mark.parametrize("code", [403, 404, 410])
def test_no_second_try(server: Server, code: int) -> None:
    urls = [server.on("/gone", status(code)), server.on("/b", full(DATA))]
    assert get(source(*urls))[1][-1].kind == "done"
    assert [request.path for request in server.requests] == ["/gone", "/b"]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_second_try(server: Server, code: int) -> None:
    get(source(server.on("/a", status(code), status(code), full(DATA))))
    assert len(server.requests) == 3


def test_retry_after(server: Server) -> None:
    url = server.on("/a", status(429, Retry_After="86400"), full(DATA))
    began = time.monotonic()
    get(source(url))
    assert QUICK.longest_s <= time.monotonic() - began < 5
    url = server.on("/a", status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), full(DATA))
    get(source(url, name="other", md5=hashlib.md5(DATA).hexdigest()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a mirror folder with the one file."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / SHA).write_bytes(DATA)
    return tmp_path / "mirror"


def test_mirror_folder(server: Server, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("ZOO_MIRROR", "mirror")
    path, events = get(source(server.base))
    assert path == cache / SHA
    assert path.read_bytes() == DATA
    assert (events[-1].kind, events[-1].text, said(events)) == ("done", "mirror", "")
    assert server.requests == []


def test_http_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on(f"/cas/{SHA}", full(DATA))
    monkeypatch.setenv("ZOO_MIRROR", server.base + "/cas/")
    assert get(source(server.base + "/origin"))[1][-1].text == "mirror"
    assert [request.path for request in server.requests] == [f"/cas/{SHA}"]


def test_mirror_without_the_file_is_passed_over(
    server: Server, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / SHA).unlink()
    (cache / "partial").mkdir(parents=True)
    (cache / f"partial/{SHA}.part").write_bytes(DATA[:100])
    monkeypatch.setenv("ZOO_MIRROR", str(folder))
    assert said(get(source(server.on("/a", full(DATA))))[1]) == ""
    assert ranges(server) == ["bytes=100-"]  # what was there before is still of use


@pytest.mark.parametrize("wrong", [bytes(len(DATA)), DATA[:-1], DATA + b"x"])
def test_corrupted_mirror_folder(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: bytes) -> None:
    (folder / SHA).write_bytes(wrong)
    monkeypatch.setenv("ZOO_MIRROR", str(folder))
    path, events = get(source(server.on("/a", full(DATA))))
    assert path.read_bytes() == DATA
    assert re.match(r"warning: weights.bin: mirror /.*: has .*, not .*; not used", said(events))
    assert events[-1].text == "127.0.0.1"


def test_corrupted_http_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on(f"/cas/{SHA}", full(bytes(len(DATA))))
    monkeypatch.setenv("ZOO_MIRROR", server.base.replace("//", "//user:hunter2@") + "/cas")
    path, events = get(source(server.on("/a", full(DATA))))
    assert path.read_bytes() == DATA
    assert f"mirror {server.base.replace('//', '//***@')}/cas/{SHA}: has sha256" in said(events)


def test_dead_mirror_is_asked_for_one_file_only(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRROR", "http://127.0.0.1:1/cas")
    wanted = [source(server.on(f"/{i}", full(DATA[i:])), data=DATA[i:], name=f"f{i}") for i in range(3)]
    events: list[Event] = []
    fetch_all(wanted, jobs=1, report=events.append, limits=QUICK)
    assert said(events).count("warning") == 1
    assert "the connection was refused (4 tries); not used" in said(events)


@pytest.mark.parametrize("record", ["<html>", '{"KEY": {"sha256": "SHA", "size": 7}}'])
def test_wrong_record_of_a_mirror(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, record: str) -> None:
    wanted = source(server.on("/a", full(DATA)), sha256=None, size=None)
    text = record.replace("KEY", wanted.key).replace("SHA", "7" * 64)
    (folder / "unpinned.json").write_text(text)
    monkeypatch.setenv("ZOO_MIRROR", str(folder))
    path, events = get(wanted)
    assert path.read_bytes() == DATA
    assert ("not a record of hashes" in said(events)) == (record == "<html>")


def test_mirror_that_is_none(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("/no/such/folder", "ftp://127.0.0.1/mirror"):
        monkeypatch.setenv("ZOO_MIRROR", value)
        text = refused(source(server.on("/a", full(DATA))))
        assert f"ZOO_MIRROR is neither a folder nor an http(s) address: {value}" in text
    assert server.requests == []


def test_offline_lists_all_that_is_missing_and_asks_nobody(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.on("/a", full(DATA))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_MIRROR", str(folder))
    wanted = [
        source(url),
        source(url, name="one", sha256="1" * 64, size=123),
        source(url, server.base + "/b", name="two", sha256=None, size=None, md5="2" * 32),
    ]
    with pytest.raises(OfflineError) as caught:
        fetch_all(wanted, report=quiet, limits=QUICK)
    lines = str(caught.value).splitlines()
    assert lines[0] == "ZOO_OFFLINE is set, and cache and mirror lack 2 sources:"
    assert lines[1] == f"  one: 123 bytes, sha256 {'1' * 64}"
    assert lines[3:6] == [
        f"    {url}",
        f"  two: size unknown, no sha256 published, md5 {'2' * 32}",
        f"    {url}",
    ]
    assert "put each file in a folder, named by its sha256, and set ZOO_MIRROR to that folder" in lines[-1]
    assert cached(wanted[0]) is not None
    assert server.requests == []


def test_offline_with_an_http_mirror_asks_only_that(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_MIRROR", server.base + "/cas")
    server.on(f"/cas/{SHA}", full(DATA))
    get(source(server.base + "/origin"))
    server.on(f"/cas/{'1' * 64}", redirect(server.base + "/elsewhere"))
    assert "it redirects" in refused(source(server.base + "/origin", sha256="1" * 64), OfflineError)
    assert [request.path for request in server.requests] == [f"/cas/{SHA}", f"/cas/{'1' * 64}"]


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_the_cache_of_another_machine_is_a_mirror(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    wanted = source(server.on("/a", full(DATA)), sha256=None, size=None)
    get(wanted)
    server.requests.clear()
    server.on(f"/cas/{SHA}", full(DATA))
    server.on("/cas/unpinned.json", body((cache / "unpinned.json").read_bytes()))
    monkeypatch.setenv("ZOO_MIRROR", str(cache) if kind == "folder" else server.base + "/cas")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(cache.parent / "new"))
    assert get(wanted)[0] == cache.parent / "new" / SHA
    assert known_sha256(wanted) == SHA
    assert "/a" not in [request.path for request in server.requests]


def test_killed_in_the_middle_then_resumed(server: Server, cache: Path) -> None:
    go = threading.Event()

    def first(handler: Any) -> None:
        handler.head(200, len(DATA), {})
        handler.put(DATA[:150_000])
        go.wait(10)
        handler.close_connection = True

    url = server.on("/a", first, full(DATA))
    part = cache / f"partial/{SHA}.part"
    process = program(url)
    until(lambda: part.exists() and part.stat().st_size >= 65_536)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    go.set()
    assert not (cache / SHA).exists()
    have = part.stat().st_size
    assert get(source(url))[0].read_bytes() == DATA
    assert ranges(server) == [None, f"bytes={have}-"]
    assert server.requests[1].sent == len(DATA) - have


def test_interrupt_does_not_wait_for_a_silent_server(server: Server, cache: Path) -> None:
    process = program(server.on("/a", stall(DATA, 70_000, 600.0)))
    until((cache / f"partial/{SHA}.part").exists)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err


def test_planning_imports_no_network() -> None:
    code = "import sys, utils.sources.fetch; print({'requests', 'urllib3', 'tqdm'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
