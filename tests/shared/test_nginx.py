"""Debian's nginx with docker/cluster/nginx.conf: who may do what, and that it serves as a step cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.nginx import Nginx, make_tls, running_nginx
from tests.support.releases import Keys
from tests.support.step_caches import CONTENTS, Machine, digest
from utils.shared.check import check_server
from utils.shared.http import ServerError, Store
from utils.shared.settings import Settings
from utils.shared.trust import digest_of

pytestmark = pytest.mark.cluster

Machines = Callable[[str], Machine]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with running_nginx(tmp_path_factory.mktemp("nginx")) as found:
        yield found


@pytest.fixture
def reader(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A machine that knows the site's CA, and nothing else."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(nginx.tls / "ca.pem"))
    return Settings(nginx.address)


def code_of(
    nginx: Nginx, method: str, path: str, data: bytes = b"", *, cert: Path | None = None, user: str = ""
) -> int:
    pair = (str(cert / "cert.pem"), str(cert / "key.pem")) if cert else None
    login = tuple(user.split(":")) if user else None
    answer = requests.request(
        method, nginx.address + path, data=data, verify=str(nginx.tls / "ca.pem"), cert=pair, auth=login, timeout=20
    )
    return answer.status_code


@pytest.mark.usefixtures("reader")
def test_who_may_do_what(nginx: Nginx, tmp_path: Path) -> None:
    for number, (content, who) in enumerate(
        ((b"by certificate", {"cert": nginx.tls}), (b"by word", {"user": "ci:secret"}))
    ):
        path = f"/cas/{digest(content).sha256}"
        assert code_of(nginx, "GET", path) == 404
        assert code_of(nginx, "PUT", path, content) == 401
        assert code_of(nginx, "PUT", path, content, user="ci:wrong") == 401
        assert code_of(nginx, "PUT", path, content, cert=make_tls(tmp_path / f"{number}")) == 400
        assert code_of(nginx, "GET", path) == 404
        assert code_of(nginx, "PUT", path, content, **who) == 201  # type: ignore[arg-type]
        assert code_of(nginx, "PUT", path, b"other", **who) == 409  # type: ignore[arg-type]
        assert code_of(nginx, "DELETE", path, **who) == 405  # type: ignore[arg-type]
        assert code_of(nginx, "GET", path) == 200
        assert (nginx.store / path[1:]).read_bytes() == content


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("path", ["/", "/cas/", "/cas/..%2f..%2fetc%2fpasswd", "/ac/" + "A" * 64, "/x/" + "0" * 64])
def test_there_is_nothing_else(nginx: Nginx, path: str) -> None:
    assert code_of(nginx, "GET", path) in (400, 404)
    assert code_of(nginx, "PUT", path, b"x", cert=nginx.tls) in (400, 404, 405)


@pytest.mark.usefixtures("reader")
def test_two_machines_share_a_step(nginx: Nginx, machine: Machines, keys: Keys) -> None:
    one, two = machine("one"), machine("two")
    large = bytes(range(256)) * 20_000
    step = one.step()
    one.run(step, (large, *CONTENTS[1:]))
    writes = Settings(nginx.address, writes=True, key=keys.private, public=keys.public, tls=nginx.tls)
    pushed = one.cache(writes).push(step)
    assert pushed is not None
    assert (nginx.store / "cas" / digest(large).sha256).read_bytes() == large
    again = two.step()
    assert two.cache(Settings(nginx.address, public=keys.public)).restore(again)
    assert again.writes[0].read_bytes() == large
    two.run(again, (b"other", *CONTENTS[1:]))
    pushed = two.cache(writes).push(again)
    assert pushed is not None
    assert len(pushed.differs) == 1
    assert one.said == []


def test_without_the_site_s_ca_nothing_is_read(nginx: Nginx) -> None:
    with pytest.raises(ServerError, match="its TLS certificate is not trusted"):
        Store(Settings(nginx.address)).read_result("0" * 64)


@pytest.mark.usefixtures("reader")
def test_a_password_in_the_address(nginx: Nginx) -> None:
    store, content = Store(Settings(nginx.with_password(), writes=True)), b"with a password"
    assert store.write_small(digest_of(content), content)
    assert not store.write_small(digest_of(content), content)


def test_the_check_has_nothing_against_it(nginx: Nginx, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(nginx.tls / "ca.pem"))
    said: list[str] = []
    check_server(Settings(nginx.address, writes=True, key=keys.private, public=keys.public, tls=nginx.tls), said.append)
    assert not [line for line in said if line.startswith("wrong")]
    assert any("refuses overwriting" in line for line in said)
    assert any("refuses writing without credentials: HTTP 401" in line for line in said)
