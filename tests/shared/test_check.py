"""``doit steps:check``: what it says of servers that are well set up, and of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.nginx import make_tls
from tests.support.releases import Keys
from tests.support.step_caches import StepServer
from utils.errors import SourceError, UsageError
from utils.shared.check import check_server
from utils.shared.settings import TLS_FILES, Settings


def check(settings: Settings) -> tuple[list[str], str]:
    """What it says, and its error."""
    said: list[str] = []
    try:
        check_server(settings, said.append)
    except SourceError as error:
        return said, str(error)
    return said, ""


def test_a_server_as_it_should_be(server: StepServer, keys: Keys) -> None:
    said, error = check(server.settings(key=keys.private, public=keys.public))
    assert error == ""
    assert [line[:6].strip() for line in said[1:]] == ["ok", "ok", "ok", "ok", "note", "ok"]
    text = "\n".join(said)
    for words in (
        "it can be read",
        "refuses writing without credentials: HTTP 401",
        "gives back what was written",
        "refuses overwriting",
        "does not compare a file with its hash",
        "this machine signs with",
    ):
        assert words in text
    assert "secret" not in text


def test_who_only_reads_writes_nothing(server: StepServer) -> None:
    said, error = check(server.settings(user="", writes=False))
    assert error == ""
    assert "writing was not tested" in said[3]
    assert server.entries == {}


def test_a_server_to_which_anyone_may_write(server: StepServer) -> None:
    server.is_open = True
    said, error = check(server.settings())
    assert "one thing is to be mended" in error
    assert "wrong anyone may write" in said[2]
    assert "-> let it ask for a password or a certificate for PUT" in said[2]


@pytest.mark.parametrize("kind", ["ac", "cas"])
def test_a_server_of_which_one_half_is_open(server: StepServer, kind: str) -> None:
    """Also where it asks for credentials to look, and not to write."""

    def take(handler: Any) -> None:
        handler.owner.entries[handler.path] = handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.answer(201)

    server.acts |= {f"PUT /{kind}": take, "HEAD /cas": lambda handler: handler.answer(401)}
    said, error = check(server.settings(user="", writes=False))
    assert "one thing is to be mended" in error
    assert f"wrong anyone may write: no credentials were asked for, at /{kind}/" in said[2]


def test_a_server_that_overwrites(server: StepServer, keys: Keys) -> None:
    server.overwrites = True
    said, error = check(server.settings())
    assert error
    assert any(line.startswith("wrong it lets a result be overwritten") for line in said)
    said, error = check(server.settings(key=keys.private, public=keys.public))
    assert not error
    assert any(line.startswith("note  it lets a result be overwritten") for line in said)


def test_a_password_that_is_wrong(server: StepServer) -> None:
    said, error = check(server.settings(user="ci:wrong"))
    assert error
    assert any("a file cannot be written: HTTP 401\n      -> give credentials" in line for line in said)


def test_a_page_that_answers_everything_is_no_step_cache(server: StepServer) -> None:
    server.acts["GET /ac"] = lambda handler: handler.answer(200, b"<html>")
    said, error = check(server.settings())
    assert error
    assert "this is no step cache" in said[1]


def test_a_server_that_changes_what_it_stores(server: StepServer) -> None:
    def act(handler: Any) -> None:
        handler.owner.entries[handler.path] = handler.rfile.read(int(handler.headers["Content-Length"])) + b"x"
        handler.answer(201)

    server.acts["PUT /cas"] = act
    said, error = check(server.settings())
    assert error
    assert any("does not come back as it was" in line for line in said)


def test_a_certificate_that_is_none(server: StepServer, tmp_path: Path) -> None:
    for name in TLS_FILES:
        (tmp_path / name).write_text("none")
    with pytest.raises(UsageError, match=r"ZOO_TLS=.*: a certificate or key cannot be used") as caught:
        check(server.settings(tls=tmp_path))
    assert "-> make ca.pem, cert.pem, key.pem" in str(caught.value)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(server: StepServer, tmp_path: Path) -> None:
    folder = make_tls(tmp_path / "tls")
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"word")
    kind = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, locked))
    with pytest.raises(UsageError, match="a certificate or key cannot be used"):
        check(server.settings(tls=folder))


def test_nothing_to_test() -> None:
    with pytest.raises(UsageError, match="no step cache is named"):
        check_server(Settings(), print)


def test_a_server_that_is_gone() -> None:
    said, error = check(Settings("http://127.0.0.1:9"))
    assert error
    assert "it cannot be read: the connection was refused" in said[1]
