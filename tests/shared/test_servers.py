"""Servers that refuse, fail, hang or lead elsewhere: a build goes on here, with one warning, and credentials stay."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hops import Recorder, make_certificate, recorder
from tests.support.step_caches import CONTENTS, Machine, StepServer, _basic, digest
from utils.shared.http import ServerError, Store
from utils.shared.settings import Settings

Machines = Callable[[str], Machine]
HOSTS = ("registry.test", "storage.test")


def answering(code: int, **headers: str) -> Callable[[Any], None]:
    def act(handler: Any) -> None:
        handler.answer(code, b"", **headers)
        handler.close_connection = True

    return act


@pytest.fixture
def ready(machine: Machines, server: StepServer) -> Machine:
    """A machine whose step the server has."""
    one = machine("one")
    one.store(server, one.step())
    return machine("two")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (401, "HTTP 401 (give credentials: ~/.netrc, ZOO_STEPS_TOKEN, or a certificate"),
        (403, "HTTP 403 (use credentials that may do this)"),
        (400, "HTTP 400 (where ZOO_TLS is set, the server has to know the CA"),
        (429, "HTTP 429"),
        (500, "HTTP 500"),
        (503, "HTTP 503"),
        (418, "HTTP 418"),
    ],
)
def test_a_server_that_does_not_let_itself_be_read(ready: Machine, server: StepServer, code: int, says: str) -> None:
    """It is told once, and then left alone; with writing it is the same."""
    server.acts["GET /ac"] = answering(code)
    cache, step = ready.cache(server.settings()), ready.step()
    for _ in range(3):
        assert cache.restore(step) is None
    ready.run(step)
    assert cache.push(step) is None
    assert len(ready.said) == 1
    assert f"step cache {server.base.replace('://', '://***@')}: {says}" in ready.said[0]
    assert ready.said[0].endswith("; steps run here from now on")
    assert server.count("GET") == (3 if code in (429, 500, 503) else 1)
    assert server.count("PUT") == 0


def test_a_failure_that_passes_is_no_failure(ready: Machine, server: StepServer) -> None:
    failed: list[int] = []

    def act(handler: Any) -> None:
        if len(failed) < 2:
            failed.append(1)
            handler.answer(503, b"", Retry_After="0")
        else:
            handler._serve()

    server.acts["GET /ac"] = act
    assert ready.cache(server.settings()).restore(ready.step())
    assert ready.said == []


@pytest.mark.heavy
def test_a_server_that_hangs(ready: Machine, server: StepServer) -> None:
    server.acts["GET /ac"] = lambda _handler: time.sleep(8)
    cache, step = ready.cache(server.settings()), ready.step()
    assert cache.restore(step) is None
    assert cache.restore(step) is None
    assert len(ready.said) == 1
    assert "no data for 2 s" in ready.said[0]


def test_a_server_that_is_gone(ready: Machine) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cache, step = ready.cache(Settings(f"http://127.0.0.1:{port}", writes=True)), ready.step()
    assert cache.restore(step) is None
    ready.run(step)
    assert cache.push(step) is None
    assert len(ready.said) == 1
    assert "the connection was refused" in ready.said[0]


def test_a_server_that_is_gone_when_it_is_written_is_not_read_either(machine: Machines) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = machine("one")
    cache, step = one.cache(Settings(f"http://127.0.0.1:{port}", writes=True)), one.step()
    one.run(step)
    assert cache.push(step) is None
    assert not cache.is_read
    other = one.step(name="int8", writes=(one.root / "build/tiny/int8",))
    assert cache.restore(other) is None
    assert one.said == [f"{cache.failure}; steps run here from now on"]


def test_a_server_that_stops_in_mid_run(ready: Machine, server: StepServer) -> None:
    cache, step = ready.cache(server.settings()), ready.step()
    assert cache.restore(step)
    server.acts["GET /ac"] = answering(500)
    other = ready.step(name="int8", writes=(ready.root / "build/tiny/int8",))
    assert cache.restore(other) is None
    assert cache.restore(other) is None
    assert len(ready.said) == 1


# Writing


@pytest.mark.parametrize(
    ("where", "code", "says"),
    [
        ("PUT /cas", 401, "HTTP 401 (give credentials"),
        ("PUT /cas", 403, "HTTP 403"),
        ("PUT /ac", 403, "HTTP 403"),
        ("PUT /cas", 405, "HTTP 405 (the server is only read: unset ZOO_STEPS_WRITE)"),
        ("PUT /cas", 500, "HTTP 500"),
        ("PUT /cas", 507, "HTTP 507"),
        ("PUT /cas", 307, "redirects a PUT, which is not followed"),
        ("HEAD /cas", 500, "HTTP 500"),
    ],
)
def test_a_server_that_takes_nothing(machine: Machines, server: StepServer, where: str, code: int, says: str) -> None:
    """It is read on, and not written again."""
    one = machine("one")
    server.acts[where] = answering(code, Location=f"{server.base}/elsewhere")
    cache, step = one.cache(server.settings()), one.step()
    one.run(step)
    assert cache.push(step) is None
    assert cache.push(step) is None
    (said,) = one.said
    assert says in said
    assert said.endswith("; results of this machine are not shared from now on")
    server.acts.clear()
    other = one.step(name="int8", writes=(one.root / "build/tiny/int8",))
    one.store(server, other, (b"int8",))
    assert cache.restore(other)


@pytest.mark.parametrize("code", [413, 400])
def test_a_file_that_the_server_does_not_take(machine: Machines, server: StepServer, code: int) -> None:
    """That step is not shared; the next one is."""
    one = machine("one")
    server.acts[f"PUT /cas/{digest(CONTENTS[0]).sha256}"] = answering(code)
    cache, step = one.cache(server.settings()), one.step()
    one.run(step)
    assert cache.push(step) is None
    assert f"tiny:train is not shared: HTTP {code}" in one.said[0]
    other = one.step(name="int8", writes=(one.root / "build/tiny/int8",))
    one.run(other, (b"int8",))
    assert cache.push(other)
    assert len(one.said) == 1


def test_a_server_that_never_lets_go_of_what_it_has(machine: Machines, server: StepServer) -> None:
    """409 and 412 are no failure: another machine was faster."""
    one = machine("one")
    step = one.step()
    one.run(step)
    one.store(server, step)
    server.acts["HEAD /cas"] = answering(404)
    pushed = one.cache(server.settings()).push(step)
    assert pushed is not None
    assert pushed.sent == 0
    assert one.said == []


# Credentials


def test_credentials_of_the_address(ready: Machine, server: StepServer) -> None:
    assert ready.cache(server.settings()).restore(ready.step())
    assert {one.authorization for one in server.asked} == {_basic("ci:secret")}


@pytest.mark.usefixtures("ready")
def test_a_bearer_token_counts_more_than_netrc(
    server: StepServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ci password netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    store = Store(server.settings(user="", token="t0ken"))
    assert store.read_result("0" * 64) is None
    assert server.asked[-1].authorization == "Bearer t0ken"
    assert Store(server.settings(user="")).read_result("0" * 64) is None
    assert server.asked[-1].authorization == _basic("ci:netrc")
    assert Store(server.settings(token="t0ken"), anonymous=True).read_result("0" * 64) is None
    assert server.asked[-1].authorization == ""


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Recorder, Recorder]]:
    """Two servers under names that are no loopback to the program; ~/.netrc knows both."""
    certificate, resolve = make_certificate(tmp_path / "server.pem"), socket.getaddrinfo

    def to_loopback(host: Any, *more: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host in HOSTS else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", to_loopback)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    netrc = tmp_path / "netrc"
    netrc.write_text("".join(f"machine {host} login n password netrc\n" for host in HOSTS))
    monkeypatch.setenv("NETRC", str(netrc))
    with recorder(certificate) as one, recorder(certificate) as other:
        yield one, other


KEY = "5" * 64


def test_a_redirect_to_another_host_goes_without_credentials(servers: tuple[Recorder, Recorder]) -> None:
    one, other = servers
    one.answers[f"GET /ac/{KEY}"] = 302, {"Location": f"https://storage.test:{other.port}/x"}
    for settings in (
        Settings(f"https://registry.test:{one.port}"),
        Settings(f"https://registry.test:{one.port}", token="t0ken"),
        Settings(f"https://ci:secret@registry.test:{one.port}"),
    ):
        assert Store(settings).read_result(KEY) is None
    assert len(one.secrets(f"/ac/{KEY}")) == 3
    assert all(one.secrets(f"/ac/{KEY}"))
    assert other.secrets("/x") == ["", "", ""]


def test_offline_only_the_server_itself_is_asked(
    servers: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = servers
    one.answers[f"GET /ac/{KEY}"] = 302, {"Location": f"https://storage.test:{other.port}/x"}
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(ServerError, match="redirects to another server"):
        Store(Settings(f"https://registry.test:{one.port}")).read_result(KEY)
    assert other.seen == []


@pytest.mark.parametrize("location", ["http://storage.test:{port}/x", "http://registry.test:{port}/x"])
def test_a_redirect_to_plain_http_is_not_followed(servers: tuple[Recorder, Recorder], location: str) -> None:
    one, other = servers
    one.answers[f"GET /ac/{KEY}"] = 302, {"Location": location.format(port=other.port)}
    with pytest.raises(ServerError, match="redirects to plain http"):
        Store(Settings(f"https://registry.test:{one.port}", token="t0ken")).read_result(KEY)
    assert other.seen == []


@pytest.mark.parametrize("location", ["", "ftp://storage.test/x", "https://user:word@storage.test/x", "https://[bad"])
def test_a_malformed_redirect_is_not_followed(servers: tuple[Recorder, Recorder], location: str) -> None:
    one, _ = servers
    one.answers[f"GET /ac/{KEY}"] = 302, {"Location": location}
    with pytest.raises(ServerError, match="redirects to a malformed address"):
        Store(Settings(f"https://registry.test:{one.port}")).read_result(KEY)


def test_redirects_in_a_circle_end(servers: tuple[Recorder, Recorder]) -> None:
    one, _ = servers
    one.answers[f"GET /ac/{KEY}"] = 302, {"Location": f"/ac/{KEY}"}
    with pytest.raises(ServerError, match="redirects more than 5 times"):
        Store(Settings(f"https://registry.test:{one.port}")).read_result(KEY)


def test_a_put_is_never_led_elsewhere(servers: tuple[Recorder, Recorder]) -> None:
    one, other = servers
    one.answers[f"PUT /ac/{KEY}"] = 307, {"Location": f"https://storage.test:{other.port}/x"}
    with pytest.raises(ServerError, match="redirects a PUT"):
        Store(Settings(f"https://registry.test:{one.port}", writes=True)).write_result(KEY, b"{}")
    assert other.seen == []


def test_a_certificate_that_nobody_knows_is_refused(
    servers: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = servers
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ServerError, match="its TLS certificate is not trusted"):
        Store(Settings(f"https://registry.test:{one.port}", token="t0ken")).read_result(KEY)
    assert one.seen == []


def test_connections_are_used_again(ready: Machine, server: StepServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection for all requests of a thread: with TLS each new one costs some milliseconds."""
    made: list[object] = []
    connect = socket.create_connection
    from urllib3.util import connection

    def count(*words: Any, **named: Any) -> Any:
        made.append(words)
        return connect(*words[:1], **{key: value for key, value in named.items() if key == "timeout"})

    monkeypatch.setattr(connection, "create_connection", count)
    cache, step = ready.cache(server.settings()), ready.step()
    assert cache.restore(step)
    assert len(server.asked) >= 4
    assert len(made) == 1
