"""Servers that do harm: whatever one address says, the next is tried, and no more is taken than there is room for."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server, cut, full, raw, redirect, serving
from tests.support.sources import DATA, QUICK, SHA, get, refused, said, source
from utils import limits
from utils.errors import CorruptError
from utils.sources import cache as kept

pytestmark = pytest.mark.slow

UNKNOWN: dict[str, Any] = {"sha256": None, "size": None}
SLOW = replace(QUICK, tries=2, stall_s=1.5, stall_bytes=1000)
NINES = b"9" * 5000


def head(*lines: bytes, code: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + b"\r\n".join((code, *lines, b"", b""))


HOSTILE = {
    "no IPv6 address": head(b"Location: http://[::1", b"Content-Length: 0", code=b"302 Found"),
    "no UTF-8 in Location": head(b"Location: http://\xff\xfe/", b"Content-Length: 0", code=b"302 Found"),
    "no host name": head(b"Location: http://" + b"\xc3\xa4" * 300 + b"/", b"Content-Length: 0", code=b"302 Found"),
    "no port": head(b"Location: http://127.0.0.1:99999999/", b"Content-Length: 0", code=b"302 Found"),
    "no host": head(b"Location: http:///x", b"Content-Length: 0", code=b"302 Found"),
    "a scheme of its own": head(b"Location: \x1b[31m:x", b"Content-Length: 0", code=b"302 Found"),
    "a length of 5000 digits": head(b"Content-Length: " + NINES) + DATA[:9],
    "a length of other digits": head("Content-Length: ٣".encode()) + DATA[:9],
    "two lengths": head(b"Content-Length: 5, 6") + DATA[:9],
    "a range of 5000 digits": head(b"Content-Range: bytes 0-" + NINES + b"/" + NINES, code=b"206 Partial"),
    "no chunks": head(b"Transfer-Encoding: chunked") + b"ZZ\r\nabc",
    "a chunk of less than nothing": head(b"Transfer-Encoding: chunked") + b"-5\r\nabc",
    "a huge chunk": head(b"Transfer-Encoding: chunked") + b"FFFFFFFFFFFFFFFFFF\r\nabc",
    "no gzip": head(b"Content-Encoding: gzip", b"Content-Length: 9") + b"\x1f\x8b\x08\x00!!!!!",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n" + DATA,
    "a status of words": head(b"Content-Length: 0", code=b"OK OK"),
    "a long status": b"HTTP/1.1 200 " + b"K" * 70_000,
    "header without a name": head(b": x", b"\xff\xff", b"no colon") + DATA[:9],
    "200 headers": head(*[b"X-%d: y" % n for n in range(200)]),
    "a cookie of year 99999": head(b"Set-Cookie: a=b; expires=01 Jan 99999 00:00:00 GMT", code=b"403 Forbidden"),
    "a wait until year 9999": head(b"Retry-After: Fri, 31 Dec 9999 23:59:59 -0000", code=b"403 Forbidden"),
    "a wait of 5000 digits": head(b"Retry-After: " + NINES, code=b"403 Forbidden"),
    "a reason that acts": head(code=b"403 \x1b[2Jgone\x07"),
    "an ETag that acts": head(b'ETag: "\xff\x1b"', b"Content-Length: 200000") + DATA[:9],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_answer_is_that_addresss_failure_alone(
    server: Server, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = [server.on("/bad", raw(HOSTILE[what])), server.on("/good", full(DATA))]
    assert get(source(*urls))[0].read_bytes() == DATA
    unpinned = get(source(*urls, name="other", **UNKNOWN))[0].read_bytes()
    assert unpinned in (DATA, DATA[:5], DATA[:9])  # what has no end cannot be told from what has
    text = refused(source(urls[0], sha256="3" * 64))
    assert text.replace("\n", "").isprintable()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("again", [b"x" * 65536, b""], ids=["endless", "packed"])
def test_the_body_of_a_redirect_is_not_read(server: Server, again: bytes) -> None:
    packed = gzip.compress(bytes(200_000_000), 1)
    lines = [b"Location: /good", b"Content-Encoding: gzip"] + ([] if again else [b"Content-Length: %d" % len(packed)])
    server.on("/good", full(DATA))
    url = server.on("/away", raw(head(*lines, code=b"302 Found") + packed, again))
    tracemalloc.start()
    try:
        assert get(source(url))[0].read_bytes() == DATA
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


CHUNKED = head(b"Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (head(b"Content-Length: 200000"), b"x"),
        (head(), b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", b"X-Trailer: y\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: ", b"x"),
    ],
    ids=["body", "body without a length", "chunks", "trailers", "header", "100 Continue", "Location"],
)
def test_what_comes_too_slowly_is_given_up_for_the_next_address(server: Server, begin: bytes, again: bytes) -> None:
    urls = [server.on("/slow", raw(begin, again, pace=0.05)), server.on("/good", full(DATA))]
    began = time.monotonic()
    assert get(source(*urls, **UNKNOWN), SLOW)[0].read_bytes() == DATA
    assert time.monotonic() - began < 20
    assert [request.path for request in server.requests] == ["/slow", "/good"]
    text = refused(source(urls[0], sha256="4" * 64), limits=SLOW)
    assert "fewer than 1,000 bytes in 1.5 s" in text or "no complete answer in 1.5 s" in text


@contextmanager
def dripping(begin: bytes) -> Iterator[int]:
    """Send ``begin`` to everyone who connects, and then a byte now and then; say on which port."""
    end = threading.Event()

    def serve(client: socket.socket) -> None:
        with client:
            try:
                client.sendall(begin)
                while not end.wait(0.05):
                    client.sendall(b"\0")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while not end.is_set():
                try:
                    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            end.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_handshake_that_does_not_end(server: Server) -> None:
    with dripping(b"\x16\x03\x03\x40\x00") as port:
        url = server.on("/good", full(DATA))
        assert get(source(f"https://127.0.0.1:{port}/", url), SLOW)[0].read_bytes() == DATA


@pytest.mark.parametrize("tls", [False, True])
def test_a_slow_but_honest_server_is_waited_for(
    server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(certificate) as secure:
        url = (secure if tls else server).on("/a", full(DATA, pace=0.3))
        assert get(source(url), replace(QUICK, stall_s=1.0, stall_bytes=1000))[0].read_bytes() == DATA
        slow = secure.on("/slow", raw(head(), b"x", pace=0.05))
        assert "fewer than 1,000 bytes in 1.5 s" in refused(source(slow, sha256="5" * 64), limits=SLOW)


def test_a_file_of_unknown_size_has_an_end(server: Server, cache: Path) -> None:
    small = replace(QUICK, most_bytes=1_000_000)
    endless = server.on("/endless", raw(head(), b"x" * 65536))
    text = refused(source(endless, **UNKNOWN), CorruptError, small)
    assert "it continues after the 1000000 bytes that it may have" in text
    assert server.requests[0].sent < 20_000_000
    told = server.on("/told", raw(head(b"Content-Length: 1000001"), b"x" * 65536))
    assert "the body has 1000001 bytes, more than the 1000000 that it may have" in refused(
        source(told, **UNKNOWN), limits=small
    )
    assert not list((cache / "partial").iterdir())
    assert get(source(endless, server.on("/good", full(DATA)), **UNKNOWN), small)[0].read_bytes() == DATA


DEEP = b'{"key": ' + b"[" * 100_000


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (raw(head(), b" " * 65536), "has more than 16,777,216 bytes"),
        (raw(head(b"Content-Encoding: gzip") + gzip.compress(bytes(200_000_000), 1)), "is not JSON"),
        (raw(head() + DEEP), "more than 64 brackets deep"),
        (raw(head() + b'{"KEY": {"name": "x", "sha256": 5, "size": 1}}'), "sha256: Input should be a valid string"),
        (raw(head() + b'{"KEY": {"sha256": "' + b"7" * 64 + b'", "size": ' + NINES + b"}}"), "is not JSON"),
        (raw(head() + b'{"KEY": {"sha256": "' + b"7" * 64 + b'", "size": true}}'), "size: Input should be a valid int"),
        (raw(head() + b'{"KEY\x1b[2J": 1}'), "is not JSON"),
        (raw(HOSTILE["no IPv6 address"]), ""),
        (raw(HOSTILE["no HTTP"]), ""),
        (redirect("http://[::1"), ""),
    ],
)
@pytest.mark.parametrize("where", ["http", "folder"])
def test_hostile_records_of_a_mirror(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, why: str, where: str
) -> None:
    wanted = source(server.on("/a", full(DATA)), **UNKNOWN)
    if where == "http":
        server.on("/cas/unpinned.json", answer)
        monkeypatch.setenv("ZOO_MIRROR", server.base + "/cas")
    else:
        (tmp_path / "unpinned.json").write_bytes(DEEP)
        why = "more than 64 brackets deep"
        monkeypatch.setenv("ZOO_MIRROR", str(tmp_path))
    tracemalloc.start()
    try:
        path, events = get(wanted)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert path.read_bytes() == DATA
    assert why in said(events)
    assert "\x1b" not in said(events)


def test_a_mirror_of_pipes_and_devices_is_passed_over(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "unpinned.json")
    os.mkfifo(tmp_path / SHA)
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path))
    url = server.on("/a", full(DATA))
    assert "cannot be read: is not a regular file; not used" in said(get(source(url))[1])
    (tmp_path / "unpinned.json").unlink()
    (tmp_path / "unpinned.json").symlink_to("/dev/zero")
    assert "unpinned.json: cannot be read or written: is not a regular file" in said(
        get(source(url, name="other", **UNKNOWN))[1]
    )


def test_a_host_name_of_a_redirect_is_shown_as_text(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.routes["http://zoo.invalid\u202e/x"] = [full(DATA)]
    url = server.on("/a", redirect("http://zoo.invalid%1b[2J/x"))
    assert refused(source(url, **UNKNOWN)).replace("\n", "").isprintable()


def test_what_a_crash_left_of_an_unpinned_file_is_not_gone_on_with(server: Server, cache: Path) -> None:
    wanted = source(server.on("/a", full(DATA, etag='"v1"')), **UNKNOWN)
    (cache / "partial").mkdir(parents=True)
    (cache / f"partial/{wanted.key}.part").write_bytes(bytes(100))
    note = {"url": wanted.key, "etag": '"v1"'}
    (cache / f"partial/{wanted.key}.json").write_text(json.dumps(note))
    assert get(wanted)[0].read_bytes() == DATA


def test_a_login_page_is_not_recorded(server: Server, cache: Path) -> None:
    page = b"\n<!DOCTYPE html><html><title>Log in</title></html>"
    portal = server.on("/a.tgz", full(page))
    facts = {"name": "a.tgz", **UNKNOWN}
    text = refused(source(portal, **facts), CorruptError)
    assert f"{portal}: it is a web page, perhaps a login page: open the address in a browser" in text
    assert not (cache / "unpinned.json").exists()
    archive = gzip.compress(DATA)
    path, events = get(source(portal, server.on("/b.tgz", full(archive)), **facts))
    assert path.read_bytes() == archive
    digest = hashlib.sha256(archive).hexdigest()
    assert f"recorded a.tgz, sha256 {digest}: nobody else vouches for it; `doit refetch source=a.tgz`" in said(events)
    pinned = source(server.on("/c", full(page)), size=None, name="c.bin")
    assert "not " + SHA + "; it is a web page, perhaps a login page" in refused(pinned, CorruptError)


def test_a_record_can_be_forgotten(server: Server) -> None:
    wanted = source(server.on("/a", full(DATA)), **UNKNOWN)
    other = source(server.on("/b", full(DATA[1:])), name="other.bin", **UNKNOWN)
    get(wanted), get(other)
    server.on("/a", full(DATA[2:]))
    assert get(wanted)[0].read_bytes() == DATA
    assert kept.forget_records("weights.bin", pytest.fail) == 1
    assert get(wanted)[0].read_bytes() == DATA[2:]
    assert kept.cached(other) is not None
    with pytest.raises(kept.SourceError, match=r"no source named 'weight' is recorded \(did you mean 'weights.bin'"):
        kept.forget_records("weight", pytest.fail)


def test_bounds_hold_what_the_recipes_need() -> None:
    assert limits.STALL_BYTES / limits.STALL_S < 300  # bytes a second: a modem
    assert limits.SOURCE_BYTES > 10 * 103_000_000


def test_a_server_that_goes_on_with_another_file(server: Server) -> None:
    """Without a hash, the mixture would be recorded."""
    mixed = head(
        b'ETag: "v2"',
        b"Content-Range: bytes 70000-199999/200000",
        b"Content-Length: 130000",
        code=b"206 Partial Content",
    )
    url = server.on("/a", cut(DATA, 70_000, etag='"v1"'), raw(mixed + bytes(130_000)), full(DATA, etag='"v2"'))
    assert get(source(url, **UNKNOWN))[0].read_bytes() == DATA
    assert [request.headers.get("range") for request in server.requests] == [None, "bytes=70000-", None]
