"""Redirects and credentials of publishing: real servers write down what reaches them, over TLS and without."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.hops import HOSTS, Recorder, make_certificate, recorder
from utils.errors import PublishError
from utils.release.http import AddressError, Client, is_loopback, origin_of, refuse_unprotected
from utils.release.oci import digest_of
from utils.release.registry import Registry

pytestmark = pytest.mark.heavy

BASIC = f"Basic {base64.b64encode(b'zoo:secret').decode()}"
BLOB = b"blob"
DIGEST = digest_of(BLOB)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@pytest.fixture
def servers(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Recorder, Recorder]]:
    """A registry and a storage, under names that are no loopback to the program; ~/.netrc knows both."""
    resolve = socket.getaddrinfo

    def to_loopback(host: Any, *more: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if host in HOSTS else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", to_loopback)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    netrc = tmp_path / "netrc"
    netrc.write_text("".join(f"machine {host} login n password netrc\n" for host in (*HOSTS, "127.0.0.1")))
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with recorder(certificate) as registry, recorder(certificate) as storage:
        known = {f"{host}:{registry.port}": {"auth": BASIC.split()[1]} for host in ("registry.test", "127.0.0.1")}
        (tmp_path / "config.json").write_text(json.dumps({"auths": known}))
        registry.token, registry.challenge = "Bearer t0ken", challenge(registry)
        registry.answers["GET /token"] = 200, {}
        yield registry, storage


def challenge(server: Recorder, scheme: str = "https", host: str = "registry.test") -> str:
    return f'Bearer realm="{scheme}://{host}:{server.port}/token",service="zoo"'


def uploads_to(registry: Recorder, location: str) -> Registry:
    """The registry's client, once an upload is answered with that Location."""
    registry.answers["POST /v2/zoo/blobs/uploads/"] = 202, {"Location": location}
    registry.answers["PUT /up"] = 201, {}
    return Registry(f"registry.test:{registry.port}", "zoo")


def test_an_upload_on_the_same_host_carries_the_token(servers: tuple[Recorder, Recorder]) -> None:
    registry, _ = servers
    uploads_to(registry, "/up?state=a%2Bb").put_blob(DIGEST, BLOB)
    [put] = [request for request in registry.seen if request.method == "PUT"]
    assert (put.scheme, put.authorization, put.body) == ("https", "Bearer t0ken", BLOB)
    assert put.path == f"/up?state=a%2Bb&digest={DIGEST.replace(':', '%3A')}"
    assert registry.secrets("/token") == [BASIC]
    assert not [request for request in registry.seen if "netrc" in request.authorization]


def test_an_upload_is_not_sent_to_the_same_host_without_tls(servers: tuple[Recorder, Recorder]) -> None:
    registry, _ = servers
    client = uploads_to(registry, f"http://registry.test:{registry.port}/up")
    with pytest.raises(PublishError, match=rf"unprotected address \(http://registry\.test:{registry.port}\)"):
        client.put_blob(DIGEST, BLOB)
    assert {request.scheme for request in registry.seen} == {"https"}
    assert registry.secrets("/up") == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/up", "http://storage.test:{port}/up", "ftp://storage.test/up", "http://[bad/up", ""],
)
def test_an_upload_that_leads_astray(servers: tuple[Recorder, Recorder], location: str) -> None:
    """A registry on another machine has no business with servers of this one either."""
    registry, storage = servers
    with pytest.raises(PublishError, match="address"):
        uploads_to(registry, location.format(port=storage.port)).put_blob(DIGEST, BLOB)
    assert storage.seen == []


@pytest.mark.parametrize("user", ["user:word@", "evil\\@", "registry.test@"])
def test_a_user_in_an_address_confuses_nobody(servers: tuple[Recorder, Recorder], user: str) -> None:
    """`https://storage.test\\@registry.test/` is one host to urllib.parse and another one to who connects."""
    registry, storage = servers
    location = f"https://{user}storage.test:{storage.port}/up".replace("evil", f"storage.test:{storage.port}")
    location = location.replace(f"\\@storage.test:{storage.port}", f"\\@registry.test:{registry.port}")
    with pytest.raises(PublishError):
        uploads_to(registry, location).put_blob(DIGEST, BLOB)
    assert not [request for request in storage.seen if request.authorization]


def test_an_upload_to_another_host_goes_without_credentials(servers: tuple[Recorder, Recorder]) -> None:
    registry, storage = servers
    storage.answers["PUT /up"] = 201, {}
    uploads_to(registry, f"https://storage.test:{storage.port}/up").put_blob(DIGEST, BLOB)
    [put] = storage.seen
    assert (put.scheme, put.authorization, put.body) == ("https", "", BLOB)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_blob_that_is_elsewhere(servers: tuple[Recorder, Recorder], code: int) -> None:
    """A redirect takes along neither the token nor what ~/.netrc has for that host."""
    registry, storage = servers
    headers = {"Location": f"https://storage.test:{storage.port}/blob", "Set-Cookie": "session=1"}
    registry.answers[f"HEAD /v2/zoo/blobs/{DIGEST}"] = code, headers
    storage.answers["HEAD /blob"] = 200, {}
    client = Registry(f"registry.test:{registry.port}", "zoo")
    assert client.has_blob(DIGEST)
    assert client.has_blob(DIGEST)
    assert [request.authorization for request in storage.seen] == ["", ""]
    assert not [request for request in (*registry.seen, *storage.seen) if request.cookie]


def test_a_blob_that_is_elsewhere_without_tls(servers: tuple[Recorder, Recorder]) -> None:
    registry, storage = servers
    location = f"http://storage.test:{storage.port}/blob"
    registry.answers[f"HEAD /v2/zoo/blobs/{DIGEST}"] = 307, {"Location": location}
    with pytest.raises(PublishError, match="unprotected address"):
        Registry(f"registry.test:{registry.port}", "zoo").has_blob(DIGEST)
    assert storage.seen == []


def test_credentials_do_not_come_back(servers: tuple[Recorder, Recorder]) -> None:
    """A storage that redirects to the registry does not speak there in the user's name."""
    registry, storage = servers
    registry.answers[f"HEAD /v2/zoo/blobs/{DIGEST}"] = 307, {"Location": f"https://storage.test:{storage.port}/back"}
    storage.answers["HEAD /back"] = 307, {"Location": f"https://registry.test:{registry.port}/v2/zoo/manifests/latest"}
    with pytest.raises(PublishError):
        Registry(f"registry.test:{registry.port}", "zoo").has_blob(DIGEST)
    assert set(registry.secrets("/v2/zoo/manifests/latest")) == {""}


def test_a_put_that_is_redirected_keeps_its_bytes(servers: tuple[Recorder, Recorder]) -> None:
    registry, storage = servers
    client = uploads_to(registry, "/up")
    registry.answers["PUT /up"] = 307, {"Location": f"https://storage.test:{storage.port}/up"}
    storage.answers["PUT /up"] = 201, {}
    client.put_blob(DIGEST, BLOB)
    assert [(request.body, request.authorization) for request in storage.seen] == [(BLOB, "")]
    registry.answers["PUT /up"] = 302, {"Location": f"https://storage.test:{storage.port}/up"}
    with pytest.raises(PublishError, match="answers HTTP 302"):
        client.put_blob(DIGEST, BLOB)


def test_redirects_in_a_circle_end(servers: tuple[Recorder, Recorder]) -> None:
    registry, _ = servers
    place = f"/v2/zoo/blobs/{DIGEST}"
    registry.answers[f"HEAD {place}"] = 307, {"Location": place}
    with pytest.raises(PublishError, match="redirects more than 5 times"):
        Registry(f"registry.test:{registry.port}", "zoo").has_blob(DIGEST)


def test_a_storage_that_wants_a_password_gets_none(servers: tuple[Recorder, Recorder]) -> None:
    registry, storage = servers
    location = f"https://storage.test:{storage.port}/blob"
    registry.answers[f"HEAD /v2/zoo/blobs/{DIGEST}"] = 307, {"Location": location}
    storage.token, storage.challenge = "Basic ours", 'Basic realm="storage"'
    with pytest.raises(
        PublishError, match=rf"redirects to https://storage\.test:{storage.port}, which answers HTTP 401"
    ):
        Registry(f"registry.test:{registry.port}", "zoo").has_blob(DIGEST)
    assert [request.authorization for request in storage.seen] == [""]


@pytest.mark.parametrize("host", ["registry.test", "127.0.0.1"])
def test_a_token_service_without_tls_gets_no_password(servers: tuple[Recorder, Recorder], host: str) -> None:
    registry, storage = servers
    registry.challenge = challenge(storage, "http", host)
    with pytest.raises(PublishError, match="unprotected address"):
        Registry(f"registry.test:{registry.port}", "zoo").has_blob(DIGEST)
    assert storage.seen == []


def test_a_token_service_that_is_redirected_gets_no_password_elsewhere(servers: tuple[Recorder, Recorder]) -> None:
    registry, storage = servers
    registry.answers["GET /token"] = 307, {"Location": f"https://storage.test:{storage.port}/token"}
    storage.answers["GET /token"] = 200, {}
    registry.answers[f"HEAD /v2/zoo/blobs/{DIGEST}"] = 200, {}
    assert Registry(f"registry.test:{registry.port}", "zoo").has_blob(DIGEST)
    assert storage.secrets("/token") == [""]


def test_what_stays_on_this_machine_passes_no_proxy(
    servers: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would get the password over http."""
    registry, storage = servers
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{storage.port}")
    registry.challenge = challenge(registry, "http", "127.0.0.1")
    registry.answers[f"HEAD /v2/zoo/blobs/{DIGEST}"] = 200, {}
    assert Registry(f"127.0.0.1:{registry.port}", "zoo").has_blob(DIGEST)
    assert storage.seen == []
    assert registry.secrets("/token") == [BASIC]


def test_a_proxy_of_the_site_is_used_for_the_rest(
    servers: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, storage = servers
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{storage.port}")
    with pytest.raises(requests.exceptions.ProxyError):
        Client(origin_of(f"https://registry.test:{registry.port}")).send(
            "GET", f"https://registry.test:{registry.port}/"
        )
    assert {(request.method, request.authorization) for request in storage.seen} == {("CONNECT", "")}


def test_which_addresses_are_protected() -> None:
    remote, local = origin_of("https://registry.test/v2/"), origin_of("http://127.0.0.1:5000/v2/")
    assert origin_of("https://REGISTRY.test:443/x") == remote
    assert origin_of("https://registry.test:444/x") != remote
    assert origin_of("http://[::1]:5000") == ("http", "[::1]", 5000)
    for url in ("http://localhost:5000/", "http://127.9.9.9/", "http://[::1]/", "https://elsewhere.test/"):
        assert refuse_unprotected(url, local) == origin_of(url)
    for url in ("http://registry.test/", "http://127.0.0.1/", "http://localhost.example.org/", "file:///etc", "//x/y"):
        with pytest.raises(AddressError):
            refuse_unprotected(url, remote)
    with pytest.raises(AddressError):
        refuse_unprotected("http://registry.test/", local)
    assert is_loopback("[::1]:80")
    assert not is_loopback("[bad")
    assert not is_loopback("127.0.0.1.example.org")


@pytest.mark.parametrize("host", ["zoo:secret@registry.test", "[bad", "a b", ""])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(PublishError) as caught:
        Registry(host, "zoo")
    assert "to=oci://HOST/REPO" in str(caught.value)
    assert "secret" not in str(caught.value)
