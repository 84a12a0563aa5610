"""One try at a loopback server that does everything wrong, one thing at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server, body, cut, full, redirect, serving, stall, status
from tests.support.sources import (
    DATA,
    IMPATIENT,
    SHA,
    get,
    partial,
    ranges,
    refused,
    said,
    source,
)
from utils.errors import CorruptError
from utils.sources import http


def test_compressed_on_the_way_is_kept_as_sent(server: Server) -> None:
    get(source(server.on("/a.gz", body(DATA, Content_Encoding="gzip"))))
    assert server.requests[0].headers["accept-encoding"] == "identity"


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

    assert "continues after the 200000 bytes" in refused(source(server.on("/a", endless)), CorruptError)
    assert ".part" not in partial(cache)
    assert server.requests[0].sent < 50 * len(DATA)


@pytest.mark.parametrize(("value", "seconds"), [("3", 3.0), ("99", 60.0), ("", None), ("soon", None), ("-1", None)])
def test_retry_after_values(value: str, seconds: float | None) -> None:
    assert http.parse_retry_after(value, 60.0) == seconds


@pytest.mark.slow
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
    assert f"{loop}: its redirects form a loop" in refused(source(loop, sha256="6" * 64))
    assert len(server.requests) - began <= 11


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/x", "the connection was refused (4 tries)"),
        ("ftp://127.0.0.1/x", "the address, or its redirect, is not http(s)"),
        ("file:///etc/passwd", "the address, or its redirect, is not http(s)"),
        ("weights.bin", "the address, or its redirect, is not http(s)"),
        ("http://[::1", "the address, or its redirect, is not http(s)"),
    ],
)
def test_no_server(url: str, why: str) -> None:
    assert why in refused(source(url))


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


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server with TLS whose certificate is trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(certificate) as server:
        yield server


@pytest.fixture
def plain(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Let the server answer for http://zoo.invalid too, as the proxy of all plain http but the loopback's."""
    monkeypatch.setenv("http_proxy", server.base)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return server


UNKNOWN: dict[str, Any] = {"sha256": None, "size": None}


@pytest.mark.parametrize("end", ["https", "http"])
def test_without_a_hash_no_hop_may_leave_https(server: Server, secure: Server, cache: Path, end: str) -> None:
    last = {"https": secure, "http": server}[end].on("/last", full(DATA))
    url = secure.on("/first", redirect(server.on("/middle", redirect(last))))
    assert f"{url}: it redirects from https to http" in refused(source(url, **UNKNOWN))
    assert not (cache / SHA).exists()
    assert not (cache / "unpinned.json").exists()
    assert server.requests[0].path == "/middle"


def test_with_a_hash_it_may_pass_through_http(server: Server, secure: Server) -> None:
    url = secure.on("/first", redirect(server.on("/middle", redirect(secure.on("/last", full(DATA))))))
    assert get(source(url))[0].read_bytes() == DATA
    md5 = hashlib.md5(DATA).hexdigest()
    assert get(source(url, name="other", md5=md5, **UNKNOWN))[0].read_bytes() == DATA


def test_without_a_hash_plain_http_is_refused(plain: Server, secure: Server, cache: Path) -> None:
    last = secure.on("/last", full(DATA))
    plain.routes["http://zoo.invalid/direct"] = [full(DATA)]
    plain.routes["http://zoo.invalid/first"] = [redirect(last)]
    for path in ("/first?token=hunter2", "/direct"):
        text = refused(source(f"http://zoo.invalid{path}", **UNKNOWN))
        assert "http://zoo.invalid is plain http, and there is no hash to check its answer" in text
        assert "hunter2" not in text
    assert not (cache / "unpinned.json").exists()
    assert get(source("http://zoo.invalid/direct"))[0].read_bytes() == DATA


def test_without_a_hash_https_and_the_loopback_will_do(server: Server, secure: Server) -> None:
    url = server.on("/first", redirect(secure.on("/middle", redirect(secure.on("/last", full(DATA))))))
    assert get(source(url, **UNKNOWN))[0].read_bytes() == DATA


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ~/.netrc have a login for this machine and for zoo.invalid."""
    lines = [f"machine {host} login zoo password hunter2\n" for host in ("127.0.0.1", "zoo.invalid")]
    (tmp_path / "netrc").write_text("".join(lines))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.usefixtures("netrc")
def test_a_login_of_netrc_does_not_go_over_plain_http(plain: Server, secure: Server) -> None:
    plain.routes["http://zoo.invalid/direct"] = [full(DATA)]
    plain.routes["http://zoo.invalid/again"] = [redirect("/direct")]
    down = secure.on("/down", redirect("http://zoo.invalid/again"))
    assert "it redirects from https to http" in refused(source(down))
    assert get(source("http://zoo.invalid/again"))[0].read_bytes() == DATA
    assert [request.path for request in plain.requests] == [
        "http://zoo.invalid/again",
        "http://zoo.invalid/direct",
    ] * 2
    assert not [request for request in plain.requests if "authorization" in request.headers]
    assert secure.requests[0].headers["authorization"].startswith("Basic")


@pytest.mark.usefixtures("netrc")
def test_a_login_of_netrc_goes_over_https_and_to_this_machine(server: Server, secure: Server) -> None:
    url = secure.on("/first", redirect(server.on("/middle", redirect(secure.on("/last", full(DATA))))))
    assert get(source(url))[0].read_bytes() == DATA
    seen = [*secure.requests, *server.requests]
    assert [request.headers.get("authorization", "")[:5] for request in seen] == ["Basic"] * 3


def test_a_login_in_an_address_stays_with_that_host(plain: Server) -> None:
    plain.routes["http://zoo.invalid/first"] = [redirect("/second")]
    plain.routes["http://zoo.invalid/second"] = [redirect("http://other.invalid/last")]
    plain.routes["http://other.invalid/last"] = [full(DATA)]
    assert get(source("http://user:hunter2@zoo.invalid/first"))[0].read_bytes() == DATA
    assert ["authorization" in request.headers for request in plain.requests] == [True, True, False]


def test_hashes_that_a_mirror_recorded_do_not_leave_https(
    server: Server, secure: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = source(secure.on("/a", full(DATA)), **UNKNOWN)
    records = json.dumps({wanted.key: {"name": "weights.bin", "sha256": "7" * 64, "size": 7}})
    last = secure.on("/records", body(records.encode()))
    secure.on("/cas/unpinned.json", redirect(server.on("/middle", redirect(last))))
    monkeypatch.setenv("ZOO_MIRROR", secure.base + "/cas")
    path, events = get(wanted)
    assert path.read_bytes() == DATA
    assert f"warning: {secure.base}/cas/unpinned.json: it redirects from https to http" in said(events)
    assert f"/cas/{'7' * 64}" not in [request.path for request in secure.requests]


def test_hashes_of_a_mirror_over_plain_http_are_not_taken(
    plain: Server, secure: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can change that answer would choose the bytes of every unpinned source."""
    wanted = source(secure.on("/a", full(DATA)), **UNKNOWN)
    other = b"others' weights"
    digest = hashlib.sha256(other).hexdigest()
    record = {"name": "weights.bin", "sha256": digest, "size": len(other)}
    plain.routes["http://zoo.invalid/cas/unpinned.json"] = [body(json.dumps({wanted.key: record}).encode())]
    plain.routes[f"http://zoo.invalid/cas/{digest}"] = [body(other)]
    plain.routes[f"http://zoo.invalid/cas/{SHA}"] = [body(DATA)]
    monkeypatch.setenv("ZOO_MIRROR", "http://zoo.invalid/cas")
    path, events = get(wanted)
    assert path.read_bytes() == DATA
    assert "zoo.invalid/cas/unpinned.json: http://zoo.invalid is plain http, and there is no hash" in said(events)
    assert "-> set ZOO_MIRROR to an https address that does not redirect to http, or to a folder" in said(events)
    assert not (cache / digest).exists()
    (cache / SHA).unlink()
    assert get(source("http://127.0.0.1:1/x"))[0].read_bytes() == DATA  # a pinned one is: its hash proves it
    assert plain.requests[-1].path == f"http://zoo.invalid/cas/{SHA}"


@pytest.mark.parametrize("via", ["https", "loopback"])
def test_hashes_of_a_mirror_over_https_or_of_this_machine_are_taken(
    server: Server, secure: Server, monkeypatch: pytest.MonkeyPatch, via: str
) -> None:
    mirror = {"https": secure, "loopback": server}[via]
    wanted = source("https://127.0.0.1:1/x", **UNKNOWN)
    records = {wanted.key: {"name": "weights.bin", "sha256": SHA, "size": len(DATA)}}
    mirror.on("/cas/unpinned.json", body(json.dumps(records).encode()))
    mirror.on(f"/cas/{SHA}", full(DATA))
    monkeypatch.setenv("ZOO_MIRROR", mirror.base + "/cas")
    assert get(wanted)[0].read_bytes() == DATA


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
