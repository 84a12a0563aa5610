"""Downloads from a loopback server that does everything wrong, one thing at a time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server, body, cut, full, redirect, serving, stall, status
from utils.errors import (
    CorruptError,
    OfflineError,
    RecipeError,
    SourceError,
    StorageError,
)
from utils.sources import fetch as sources
from utils.sources.fetch import Event, Limits, Source, Terminal, cached, fetch, fetch_all, known_sha256

ROOT = Path(__file__).resolve().parents[2]
DATA = bytes(i * i % 251 for i in range(200_000))
SHA = hashlib.sha256(DATA).hexdigest()
QUICK = Limits(connect=20.0, read=20.0, tries=4, backoff=0.01, longest=0.3)  # a busy machine must not look dead
IMPATIENT = replace(QUICK, read=1.0)  # where silence is what is tested


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own cache, and no proxy, mirror or switch from outside."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith("ZOO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def loopback() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(loopback: Server) -> Server:
    loopback.routes.clear()
    loopback.requests.clear()
    return loopback


def quiet(_: Event, /) -> None:
    """Report nothing."""


def source(*urls: str, data: bytes = DATA, **changes: Any) -> Source:
    facts: dict[str, Any] = {
        "name": "weights.h5",
        "urls": urls,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": None,
        "licence": "Apache-2.0",
        "what": "weights",
    }
    return Source(**{**facts, **changes})


def get(wanted: Source, limits: Limits = QUICK) -> tuple[Path, list[Event]]:
    events: list[Event] = []
    return fetch(wanted, report=events.append, limits=limits), events


def refused(wanted: Source, kind: type[SourceError] = SourceError, limits: Limits = QUICK) -> str:
    with pytest.raises(SourceError) as caught:
        get(wanted, limits)
    assert type(caught.value) is kind
    return str(caught.value)


def said(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if event.kind == "say")


def ranges(server: Server) -> list[str | None]:
    return [request.headers.get("range") for request in server.requests]


def partial(cache: Path) -> list[str]:
    return sorted(path.suffix for path in (cache / "partial").iterdir())


# --- the plain way


def test_fetch_and_then_the_cache(server: Server, cache: Path) -> None:
    wanted = source(server.on("/a", full(DATA)))
    assert cached(wanted) is None
    path, events = get(wanted)
    assert path == cache / SHA == cached(wanted) == cached(wanted, verify=True)
    assert path.read_bytes() == DATA
    assert [event.kind for event in events if event.kind != "bytes"] == ["start", "done"]
    assert events[-1] == Event("done", "weights.h5", len(DATA), len(DATA), "127.0.0.1")
    assert [event.have for event in events if event.kind == "bytes"][-1] == len(DATA)
    assert partial(cache) == []
    assert get(wanted) == (path, [])
    assert len(server.requests) == 1


def test_several_at_once_and_all_failures_together(server: Server) -> None:
    good = [source(server.on(f"/{i}", full(DATA[i:])), data=DATA[i:], name=f"f{i}") for i in range(12)]
    events: list[Event] = []
    assert [*fetch_all(good, report=events.append, limits=QUICK)] == [one.name for one in good]
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


def test_two_sources_with_one_name(server: Server) -> None:
    with pytest.raises(RecipeError, match=r"weights.h5: two different sources"):
        fetch_all([source(server.base), source(server.base, size=1)])


def test_one_content_under_two_names(server: Server) -> None:
    url = server.on("/a", full(DATA, pace=0.02))
    found = fetch_all([source(url), source(url, name="again")], report=quiet, limits=QUICK)
    assert set(found.values()) == {cached(source(url))}
    assert len(server.requests) == 1


def test_compressed_on_the_way_is_kept_as_sent(server: Server) -> None:
    get(source(server.on("/a.gz", body(DATA, Content_Encoding="gzip"))))
    assert server.requests[0].headers["accept-encoding"] == "identity"


# --- bodies that are not what they should be


def test_short_body_is_resumed(server: Server) -> None:
    url = server.on("/a", body(DATA[:50_000]), full(DATA))
    assert get(source(url))[0].read_bytes() == DATA
    assert ranges(server) == [None, "bytes=50000-"]
    assert [request.sent for request in server.requests] == [50_000, 150_000]


def test_a_shorter_file(server: Server, cache: Path) -> None:
    text = refused(source(server.on("/a", full(DATA[:-1]))), CorruptError)
    assert "the server's file has 199999 bytes, not 200000" in text
    assert ".part" not in partial(cache)


@pytest.mark.parametrize("size", [len(DATA), None])
def test_cut_connection_is_resumed(server: Server, size: int | None) -> None:
    url = server.on("/a", cut(DATA, 70_000, etag='"v1"'), full(DATA, etag='"v1"'))
    path, events = get(source(url, size=size))
    assert path.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=70000-"]
    assert server.requests[1].headers["if-range"] == '"v1"'
    assert server.requests[1].sent == 130_000
    assert [event.have for event in events if event.kind == "start"] == [0, 70_000]


def test_a_file_that_changed_in_between_starts_anew(server: Server) -> None:
    url = server.on("/a", cut(bytes(200_000), 70_000, etag='"v1"'), full(DATA, etag='"v2"'))
    assert get(source(url))[0].read_bytes() == DATA
    assert [request.sent for request in server.requests] == [70_000, 200_000]


def test_a_server_that_ignores_range(server: Server) -> None:
    url = server.on("/a", cut(DATA, 70_000), body(DATA))
    assert get(source(url))[0].read_bytes() == DATA
    assert ranges(server) == [None, "bytes=70000-"]


def test_what_another_address_sent_is_not_this_ones_fault(server: Server) -> None:
    urls = [server.on("/bad", body(bytes(5000)), status(404)), server.on("/good", full(DATA))]
    assert get(source(*urls))[0].read_bytes() == DATA
    assert ranges(server) == [None, "bytes=5000-", "bytes=5000-", None]


def test_no_mixture_without_a_hash(server: Server) -> None:
    facts: dict[str, Any] = {"sha256": None, "size": None}
    url = server.on("/a", cut(DATA, 70_000), full(DATA))
    assert get(source(url, **facts))[0].read_bytes() == DATA
    assert ranges(server) == [None, None]


def test_range_that_does_not_fit(server: Server, cache: Path) -> None:
    (cache / "partial").mkdir(parents=True)
    (cache / f"partial/{SHA}.part").write_bytes(DATA[:100])
    url = server.on("/a", status(206, Content_Range="bytes 7-9/200000"), status(416), full(DATA))
    assert get(source(url))[0].read_bytes() == DATA
    assert ranges(server) == ["bytes=100-", None, None]


@pytest.mark.parametrize("part", [DATA, DATA + b"x", b"x" * len(DATA)])
def test_whole_long_or_wrong_part(server: Server, cache: Path, part: bytes) -> None:
    (cache / "partial").mkdir(parents=True)
    (cache / f"partial/{SHA}.part").write_bytes(part)
    assert get(source(server.on("/a", full(DATA))))[0].read_bytes() == DATA
    assert ranges(server) == ([] if part == DATA else [None])


def test_too_long_is_refused_before_its_body(server: Server, cache: Path) -> None:
    text = refused(source(server.on("/a", body(DATA + b"x"))), CorruptError)
    assert "the body has 200001 bytes, not 200000" in text
    assert not (cache / SHA).exists()


def test_too_long_without_a_length(server: Server, cache: Path) -> None:
    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        while not handler.wfile.closed and handler.request_seen.sent < 50 * len(DATA):
            handler.put(DATA)

    assert "goes on after the 200000 bytes" in refused(source(server.on("/a", endless)), CorruptError)
    assert ".part" not in partial(cache)
    assert server.requests[0].sent < 50 * len(DATA)


def test_wrong_bytes_and_the_next_address(server: Server, cache: Path) -> None:
    wrong = bytes(len(DATA))
    urls = [server.on("/wrong", full(wrong)), server.on("/right", full(DATA))]
    assert get(source(*urls))[0].read_bytes() == DATA
    text = refused(source(urls[0], sha256="3" * 64), CorruptError)
    assert f"{urls[0]}: has sha256 {hashlib.sha256(wrong).hexdigest()}, not 333" in text
    assert not (cache / ("3" * 64)).exists()
    assert ".part" not in partial(cache)


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
    assert record == {"name": "weights.h5", "sha256": SHA, "size": len(DATA)}
    (cache / SHA).unlink()
    server.on("/a", full(bytes(7)))
    text = refused(wanted, CorruptError)
    assert "the body has 7 bytes" in text or "unpinned.json to accept new bytes" in text
    (cache / "unpinned.json").write_text("{}")
    assert get(wanted)[0].read_bytes() == bytes(7)
    (cache / "unpinned.json").write_text('{"x": {"sha256": "../../etc/passwd", "size": 1}}')
    assert "unpinned.json: this is no record of hashes" in refused(wanted)


# --- servers that fail


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
    assert QUICK.longest <= time.monotonic() - began < 5
    url = server.on("/a", status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), full(DATA))
    get(source(url, name="other", md5=hashlib.md5(DATA).hexdigest()))


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("99", 60.0), ("", None), ("soon", None), ("-1", None)])
def test_retry_after_values(value: str, seconds: float | None) -> None:
    assert sources._retry_after(value, 60.0) == seconds


def test_stalled_body(server: Server) -> None:
    url = server.on("/a", stall(DATA, 70_000, 3.0), full(DATA))
    assert get(source(url), IMPATIENT)[0].read_bytes() == DATA
    assert ranges(server) == [None, "bytes=70000-"]
    text = refused(source(server.on("/b", stall(b"x", 0, 3.0)), sha256="5" * 64), limits=IMPATIENT)
    assert "no data for 1 s (4 tries)" in text


def test_redirects(server: Server) -> None:
    url = server.on("/from", redirect(server.on("/to", full(DATA))))
    assert get(source(url))[0].read_bytes() == DATA
    loop = server.on("/round", redirect("/and"))
    server.on("/and", redirect("/round"))
    began = len(server.requests)
    assert f"{loop}: its redirects go in a circle" in refused(source(loop, sha256="6" * 64))
    assert len(server.requests) - began <= 11


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/x", "the connection was refused (4 tries)"),
        ("ftp://127.0.0.1/x", "this is no http(s) address"),
        ("file:///etc/passwd", "this is no http(s) address"),
        ("weights.h5", "this is no http(s) address"),
        ("http://[::1", "this is no http(s) address"),
    ],
)
def test_no_server(url: str, why: str) -> None:
    assert why in refused(source(url))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate that nobody has signed."""
    path = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=zoo -addext subjectAltName=IP:127.0.0.1"
    try:
        subprocess.run(
            [*command.split(), "-keyout", path, "-out", path.with_suffix(".crt")],
            check=True,
            capture_output=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl program")
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def test_tls_is_verified(server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with serving(certificate) as secure:
        url = secure.on("/a", full(DATA))
        assert "its TLS certificate is not trusted (REQUESTS_CA_BUNDLE" in refused(source(url))
        assert secure.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        down = secure.on("/down", redirect(server.on("/a", full(DATA))))
        assert f"{down}: it redirects from https to http" in refused(source(down))
        assert get(source(url))[0].read_bytes() == DATA


def test_credentials_are_never_shown(server: Server, cache: Path) -> None:
    url = server.on("/a", status(403)).replace("//", "//user:hunter2@") + "?X-Sig=hunter2&download=1"
    text = refused(source(url))
    assert f"{server.base.replace('//', '//***@')}/a?X-Sig=***&download=1: HTTP 403 Forbidden" in text
    assert server.requests[0].headers["authorization"].startswith("Basic")
    server.on("/a", cut(DATA, 10), full(DATA))
    _, events = get(source(url, sha256=None, size=None))
    kept = "".join(path.read_text(errors="replace") for path in cache.rglob("*.json"))
    assert "hunter2" not in text + kept + repr(events)


def test_credentials_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:hunter2@127.0.0.1:1")
    text = refused(source("http://zoo.invalid/a"))
    assert "the proxy refused or cannot be reached" in text
    assert "hunter2" not in text


# --- mirrors


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
    assert re.match(r"warning: weights.h5: mirror /.*: has .*, not .*; not used", said(events))
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
    text = record.replace("KEY", sources._key(wanted)).replace("SHA", "7" * 64)
    (folder / "unpinned.json").write_text(text)
    monkeypatch.setenv("ZOO_MIRROR", str(folder))
    path, events = get(wanted)
    assert path.read_bytes() == DATA
    assert ("no record of hashes" in said(events)) == (record == "<html>")


def test_mirror_that_is_none(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("/no/such/folder", "ftp://127.0.0.1/mirror"):
        monkeypatch.setenv("ZOO_MIRROR", value)
        text = refused(source(server.on("/a", full(DATA))))
        assert f"ZOO_MIRROR is neither a folder nor an http(s) address: {value}" in text
    assert server.requests == []


# --- without a network


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


# --- the cache


def test_damaged_cache_is_noticed(server: Server, cache: Path) -> None:
    wanted = source(server.on("/a", full(DATA)))
    get(wanted)
    (cache / SHA).write_bytes(bytes(len(DATA)))
    assert cached(wanted) is not None
    assert cached(wanted, verify=True) is None
    path, events = get(wanted)
    assert path.read_bytes() == DATA
    assert "warning: weights.h5 in the cache has sha256" in said(events)
    (cache / SHA).write_bytes(b"")
    assert cached(wanted) is None


PROGRAM = """
import os, sys
from utils import errors
from utils.sources import fetch as sources
url, size, sha256, user = sys.argv[1:]
if user != "0":
    os.setgroups([]), os.setgid(int(user)), os.setuid(int(user))
wanted = sources.Source("weights.h5", (url,), int(size), sha256, None, "MIT", "weights")
try:
    print(sources.fetch(wanted, limits=sources.Limits(read=5.0, tries=1)))
except errors.ZooError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def program(url: str, data: bytes = DATA, user: int = 0) -> subprocess.Popen[str]:
    """Fetch in a process of its own, as another user if ``user`` is not 0."""
    facts = [str(len(data)), hashlib.sha256(data).hexdigest(), str(user)]
    command = [sys.executable, "-c", PROGRAM, url, *facts]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "nothing happened for 10 s"
        time.sleep(0.01)


def test_two_processes_fetch_once(server: Server, cache: Path) -> None:
    url = server.on("/a", full(DATA, pace=0.3))
    both = [program(url) for _ in range(2)]
    results = [one.communicate(timeout=15) for one in both]
    assert [out for out, _ in results] == [f"{cache / SHA}\n"] * 2, results
    assert [request.sent for request in server.requests] == [len(DATA)]
    assert "waiting for weights.h5: another fetch of it is running" in "".join(err for _, err in results)


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
    process = program(server.on("/a", stall(DATA, 70_000, 4.0)))
    until((cache / f"partial/{SHA}.part").exists)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert "KeyboardInterrupt" in err
    assert time.monotonic() - began < 2.5


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


# --- progress, start-up time


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_without_a_tty(server: Server) -> None:
    stream = io.StringIO()
    big = bytes(1_500_000)
    wanted = [source(server.on("/a", full(DATA))), source(server.on("/b", full(big)), data=big, name="big")]
    fetch_all(wanted, jobs=1, report=Terminal(stream), limits=QUICK)
    assert stream.getvalue().splitlines() == [
        "fetched weights.h5 200.0 kB from 127.0.0.1",
        "fetching big 1.5 MB from 127.0.0.1",
        "fetched big 1.5 MB from 127.0.0.1",
    ]


def test_bars_on_a_tty(server: Server) -> None:
    stream = _Tty()
    url = server.on("/a", cut(DATA, 70_000), full(DATA, pace=0.06))
    fetch(source(url), report=Terminal(stream), limits=QUICK)
    assert "weights.h5:" in stream.getvalue()
    assert "/200k" in stream.getvalue()
    assert stream.getvalue().endswith("fetched weights.h5 200.0 kB from 127.0.0.1\n")


def test_planning_imports_no_network() -> None:
    code = "import sys, utils.sources.fetch; print({'requests', 'urllib3', 'tqdm'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
