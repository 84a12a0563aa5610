"""Registries, hubs and credential helpers that lie, trickle or never end: each is an error in a sentence."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.releases import first_release
from tests.support.rogues import Answer, endless, http, rogue, trickle
from utils import limits, paths
from utils.errors import PublishError, ReleaseError
from utils.release import credentials, index, lock, oci
from utils.release.answers import AnswerError, within
from utils.release.hub import publish_to_hub
from utils.release.layout import Layout
from utils.release.oci import version_of
from utils.release.registry import Registry

pytestmark = pytest.mark.slow

TAG = "1.0.0"


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, and nothing may last long."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(limits, "ANSWER_S", 1.5)
    monkeypatch.setattr("utils.release.registry._TRIES", 1)


def refused(answer: Answer) -> str:
    began = time.monotonic()
    with rogue(answer) as host, pytest.raises(PublishError) as caught:
        Registry(host, "zoo").find_tag(TAG)
    assert time.monotonic() - began < 30
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return str(caught.value)


## Registries


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_registry_that_trickles_is_given_up(where: str) -> None:
    """Each byte comes before a socket's timeout."""

    def answer(_method: str, _path: str, _body: bytes) -> Iterable[bytes]:
        yield from [] if where == "head" else http(200, length=10**6)
        yield from trickle(b"HTTP/1.1 200 X\r\nX: ")

    assert "has not finished its answer within" in refused(answer)


def test_a_body_without_an_end_is_cut() -> None:
    head = b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n"
    began = time.process_time()
    assert "answers with more than 16,777,216 bytes" in refused(lambda *_: endless(head, b"x" * 65536))
    assert time.process_time() - began < 10


def test_the_body_of_a_redirect_is_bounded_too() -> None:
    head = b"HTTP/1.1 307 X\r\nLocation: /\r\nConnection: close\r\n\r\n"
    assert "answers with more than 16,777,216 bytes" in refused(lambda *_: endless(head, b"x" * 65536))


@pytest.mark.parametrize("location", ["http://[", "http://a\x1b[2Jb/", "http://\x1b/", "http://a:99999/"])
def test_a_location_that_is_none(location: str) -> None:
    assert "address" in refused(lambda *_: http(307, b"", f"Location: {location}"))


def test_a_squeezed_body_is_not_unpacked() -> None:
    body = gzip.compress(b'{"annotations": {"org.opencontainers.image.version": "1.0.0"}}')
    with rogue(lambda *_: http(200, body, "Content-Encoding: gzip")) as host:
        found = Registry(host, "zoo").find_tag(TAG)
    assert found == oci.Tagged(oci.digest_of(body), "")


@pytest.mark.parametrize(
    "token",
    [b"[]", b"null", b'"x"', b"<html>", b"\xff", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": "\xc3\xa9"}',
     b"[" * 9999],
)  # fmt: skip
def test_a_token_that_is_none(token: bytes) -> None:
    def answer(_method: str, path: str, _body: bytes) -> Iterable[bytes]:
        if path.startswith("/token"):
            return http(200, token)
        return http(401, b"", f'WWW-Authenticate: Bearer realm="http://{place[0]}/token",service="zoo"')

    place: list[str] = []
    with rogue(answer) as host:
        place.append(host)
        with pytest.raises(PublishError, match="its token service's answer") as caught:
            Registry(host, "zoo").find_tag(TAG)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"5", b'{"errors": 5}', b'{"errors": [5]}', b'{"errors": [{"code": {}}]}', b"\xff", b"[" * 9999],
)
def test_a_refusal_in_other_words(body: bytes) -> None:
    assert "answers HTTP 400" in refused(lambda *_: http(400, body))


def test_words_of_a_registry_do_not_act_on_the_terminal() -> None:
    errors = [{"code": f"\x1b[2J{'x' * 1000}"}] * 100
    said = refused(lambda *_: http(400, json.dumps({"errors": errors}).encode()))
    assert "\\x1b[2J" in said
    assert len(said) < 1500


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"null", b'{"annotations": 5}', b'{"annotations": {"a": 5}}', b"[" * 10**6, b'{"annotations": []}'],
)
def test_a_manifest_that_does_not_say_its_version(manifest: bytes) -> None:
    assert version_of(manifest) == ""


## Docker's files


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"[]", "the document: should be an object"),
        (b"\xff", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"auths": []}', "auths: "),
        (b'{"auths": {"host": 5}}', "auths.host: "),
        (b'{"auths": {"host": {"auth": 5}}}', "auths.host.auth: "),
        (b'{"auths": {"host": {"auth": "!"}}}', "auths.host.auth: is not base64 of text"),
        (b'{"auths": {"host": {"auth": "/w=="}}}', "auths.host.auth: is not base64 of text"),
        (b'{"credHelpers": {"host": ["x"]}}', "credHelpers.host: "),
        (b'{"credsStore": "../../bin/x"}', "has a malformed name of a credential helper"),
        (b"[" * 10**5, "is not JSON"),
    ],
)
def test_a_config_that_is_damaged(tmp_path: Path, config: bytes, said: str) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_bytes(config)
    with pytest.raises(PublishError) as caught:
        credentials.find_credentials("host")
    assert said in str(caught.value)
    assert "docker login host" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo '[]'", "should be an object"),
        ("echo '{}'", "Username: Field required"),
        ("echo hello", "is not JSON"),
        ('printf "\\377"', "is not JSON"),
        ("""echo '{"Username": 5, "Secret": "x"}'""", "Username: "),
        ("exec cat /dev/zero", "answers with more than 65,536 bytes"),
        ("exec sleep 60", "has not finished its answer within"),
    ],
)
def test_a_helper_that_misbehaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credsStore": "rogue"}')
    helper = tmp_path / "docker-credential-rogue"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(credentials, "_HELPER_S", 1.0 if "sleep" in script else 30.0)
    with pytest.raises(PublishError, match=f"docker-credential-rogue.*: .*{said}"):
        credentials.find_credentials("host")


def test_a_helper_that_knows_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text('{"credsStore": "none"}')
    assert credentials.find_credentials("host") == ""
    helper = tmp_path / "docker-credential-none"
    helper.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert credentials.find_credentials("host") == ""


## Layouts


@pytest.mark.parametrize(
    "manifests",
    ["5", "[5]", "[{}]", '[{"digest": 5}]', '[{"digest": "../../../etc/passwd"}]', '[{"digest": "sha256:x"}]',
     f'[{{"digest": "sha256:{"0" * 64}", "annotations": []}}]'],
)  # fmt: skip
def test_an_index_of_a_layout_that_is_none(tmp_path: Path, manifests: str) -> None:
    (tmp_path / "index.json").write_text(f'{{"schemaVersion": 2, "manifests": {manifests}}}')
    with pytest.raises(PublishError, match="is not an OCI layout: manifests"):
        Layout(tmp_path).find_tag(TAG)


## Hubs


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_release(tmp_path_factory.mktemp("first"))


def published(answer: Answer, release: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with rogue(answer) as host:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://{host}")
        with pytest.raises(PublishError) as caught:
            publish_to_hub("team", release, index.index_of(release), False)
    shown = capfd.readouterr()
    text = f"{caught.value}{shown.out}{shown.err}"
    assert "\x1b" not in text
    assert "hf_secret" not in text
    return str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"5", b"{}", b"\xff", b"[" * 9999, b'{"id": 5}', b'{"id": "a/b", "siblings": 5}',
     b'{"id": "a/b", "siblings": [{"rfilename": 5}]}', b'{"id": "a/b", "siblings": null}',
     b'{"id": "a/b", "siblings": [{"rfilename": "a", "lfs": 5}]}', b'{"id": "a/b", "lastModified": "\\u001b[2J"}'],
)  # fmt: skip
def test_a_hub_with_other_answers(
    release: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    said = published(lambda *_: http(200, body, "X-HF-Warning: a; \x1b[2J"), release, monkeypatch, capfd)
    assert "the hub's answer is not the expected one" in said


def test_a_hub_that_says_when_to_come_again(
    release: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    answer = http(503, b"\x1b[2J", "Retry-After: 999999")
    said = published(lambda *_: answer, release, monkeypatch, capfd)
    assert "the hub answers HTTP 503" in said
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ("trickle", "has not finished its answer within 2 s"),
        ("endless", "answers with more than 16,777,216 bytes"),
        ("circle", "redirects more than 5 times"),
    ],
)
def test_a_hub_without_an_end(
    release: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], pieces: str, said: str
) -> None:
    head = b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n"
    answers: dict[str, Answer] = {
        "trickle": lambda *_: trickle(b"HTTP/1.1 200 X\r\nX: "),
        "endless": lambda *_: endless(head, b"x" * 65536),
        "circle": lambda _, path, __: http(307, b"", f"Location: {path}"),
    }
    assert said in published(answers[pieces], release, monkeypatch, capfd)


def test_work_that_is_done_in_time() -> None:
    assert within(10, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 / 0)
    with pytest.raises(AnswerError, match="has not finished its answer within 0 s"):
        within(0.01, lambda: time.sleep(0.5))


## artifacts.lock


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "is not JSON"),
        (b"[" * 9999, "is not JSON"),
        (b"[]", "is a lock of an unknown format"),
        (b'{"format": 1}', "models: Field required"),
        (b'{"format": 1, "models": [], "sources": {}}', "models: "),
        (b'{"format": 1, "models": {"a": 5}, "sources": {}}', "models.a: should be an object"),
        (b'{"format": 1, "models": {"a": {"artifacts": {"a": []}}}, "sources": {}}', "models.a.artifacts.a: should"),
        (b'{"format": 1, "models": {}, "sources": {"a": {"sha256": "x"}}}', "sources.a.sha256: "),
        (b'{"format": 1, "models": {}, "sources": {}, "\\u001b": 1}', "Extra inputs are not permitted"),
    ],
)
def test_a_lock_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, said: str) -> None:
    monkeypatch.setattr(paths, "ARTIFACTS_LOCK", tmp_path / "artifacts.lock")
    (tmp_path / "artifacts.lock").write_bytes(text)
    with pytest.raises(ReleaseError) as caught:
        lock.load()
    assert said in str(caught.value)
    assert "git checkout" in str(caught.value)
