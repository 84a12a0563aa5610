"""The variables: what they mean, and the sentence that refuses each contradiction."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.errors import UsageError
from utils.shared.settings import TLS_FILES, Settings, read_settings

HTTPS = "https://steps.example/zoo"


def test_without_an_address_there_is_no_step_cache() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"ZOO_STEPS_WRITE": "0", "ZOO_STEPS_PUBKEY": ""}) == Settings()


def test_an_empty_address_switches_all_off() -> None:
    assert read_settings({"ZOO_STEPS": "", "ZOO_STEPS_WRITE": "1", "ZOO_STEPS_KEY": "nowhere"}) == Settings()


def test_all_of_them(tmp_path: Path) -> None:
    for name in ("key", "pub", *TLS_FILES):
        (tmp_path / name).touch()
    found = read_settings({
        "ZOO_STEPS": f"{HTTPS}/", "ZOO_STEPS_WRITE": "1", "ZOO_STEPS_KEY": str(tmp_path / "key"),
        "ZOO_STEPS_PUBKEY": str(tmp_path / "pub"), "ZOO_STEPS_TOKEN": "t0ken", "ZOO_STEPS_OWN": "1",
        "ZOO_TLS": str(tmp_path),
    })  # fmt: skip
    assert found == Settings(HTTPS, "t0ken", True, tmp_path / "key", tmp_path / "pub", True, tmp_path)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080", "http://[::1]/x", "http://localhost", "https://ci:secret@steps.example"]
)
def test_addresses_that_are_taken(address: str) -> None:
    found = read_settings({"ZOO_STEPS": address, "ZOO_STEPS_WRITE": "1"})
    assert found.server == address
    assert "secret" not in found.label


def test_plain_http_is_read_where_signatures_are_checked(tmp_path: Path) -> None:
    (tmp_path / "pub").touch()
    env = {"ZOO_STEPS": "http://steps.example", "ZOO_STEPS_PUBKEY": str(tmp_path / "pub")}
    assert read_settings(env).server == "http://steps.example"


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"ZOO_STEPS_WRITE": "1"}, "no step cache is named"),
        ({"ZOO_STEPS": "steps.example"}, "is not the http(s) address of a step cache"),
        ({"ZOO_STEPS": "ftp://steps.example"}, "is not the http(s) address of a step cache"),
        ({"ZOO_STEPS": "https://"}, "is not the http(s) address of a step cache"),
        ({"ZOO_STEPS": "https://[bad"}, "is not the http(s) address of a step cache"),
        ({"ZOO_STEPS": f"{HTTPS}?a=b"}, "is not the http(s) address of a step cache"),
        ({"ZOO_STEPS": "http://ci:secret@steps.example"}, "sends a password over plain http"),
        ({"ZOO_STEPS": "http://steps.example"}, "others may change a result on its way"),
        ({"ZOO_STEPS": "http://steps.example", "ZOO_STEPS_PUBKEY": __file__, "ZOO_STEPS_WRITE": "1",
          "ZOO_STEPS_KEY": __file__}, "is plain http, and it is to be written"),
        ({"ZOO_STEPS": "http://steps.example", "ZOO_STEPS_PUBKEY": __file__, "ZOO_STEPS_TOKEN": "x"},
         "is plain http, and it is to be written"),
        ({"ZOO_STEPS": HTTPS, "ZOO_STEPS_WRITE": "yes"}, "ZOO_STEPS_WRITE: is 'yes': 0, 1 or unset"),
        ({"ZOO_STEPS": HTTPS, "ZOO_STEPS_OWN": "2"}, "ZOO_STEPS_OWN: is '2': 0, 1 or unset"),
        ({"ZOO_STEPS": HTTPS, "ZOO_STEPS_TOKEN": "a\r\nHost: b"}, "is not a bearer token"),
        ({"ZOO_STEPS": HTTPS, "ZOO_STEPS_PUBKEY": "/nowhere"}, "ZOO_STEPS_PUBKEY=/nowhere: there is no such file"),
        ({"ZOO_STEPS": HTTPS, "ZOO_STEPS_KEY": __file__}, "signs what is written, and nothing is written"),
        ({"ZOO_STEPS": HTTPS, "ZOO_STEPS_WRITE": "1", "ZOO_STEPS_PUBKEY": __file__}, "would write unsigned ones"),
        ({"ZOO_STEPS": HTTPS, "ZOO_TLS": "/nowhere"}, "ca.pem is missing or cannot be read"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused(env: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(env)
    assert says in str(caught.value)
    assert caught.value.hint
    assert "secret" not in str(caught.value)
