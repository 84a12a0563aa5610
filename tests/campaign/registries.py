"""Registries, hubs and credential helpers on the loopback that lie, trickle, cut or never end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.campaign.case import Case, Outcome
from tests.support.kept import made
from tests.support.releases import make_keys, small_release
from tests.support.rogues import endless, http, rogue, trickle
from utils import limits
from utils.errors import ZooError
from utils.release import credentials, index, oci, registry
from utils.release.hub import publish_to_hub

AREA = "registries"

#: The clock of a client that does not wait before it tries again.
_HURRIED = SimpleNamespace(sleep=int, time=time.time, monotonic=time.monotonic)
SECRETS = ("hf_secret", "let me in")

_SCALARS: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    "",
    "x",
    "\x1b[2J",
    "\ud800",
    "../x",
    "a" * 5000,
    [],
    {},
    [None],
    [[]],
]

#: What registries and hubs say, so that a mutation comes far.
_WORDS: list[Any] = [
    {"token": "t0ken"},
    {"errors": [{"code": "DENIED", "message": "no"}]},
    {"schemaVersion": 2, "annotations": {"org.opencontainers.image.version": "1.0.0"}},
    {"id": "team/m", "sha": "0" * 40, "siblings": [{"rfilename": "a", "blobId": "0" * 40, "size": 1}]},
    {"branches": [], "converts": [], "tags": [{"name": "1.0.0", "ref": "refs/tags/1.0.0", "targetCommit": "0" * 40}]},
    {"files": [{"path": "README.md", "uploadMode": "regular", "shouldIgnore": False}]},
    {"transfer": "basic", "objects": [{"oid": "0" * 64, "size": 1, "actions": {"upload": {"href": "http://x"}}}]},
    {"url": "http://127.0.0.1/team/m", "name": "team/m"},
    {"commitOid": "0" * 40, "commitUrl": "http://127.0.0.1/x", "success": True},
]

_HEADERS = [
    "Location: /up", "Location: http://[", "Location: http://a\x1b[2Jb/", "Location: http://storage.example.org/x",
    "Location: ftp://x/", "Location: //", "Content-Encoding: gzip", "Retry-After: 99999", "X-Error-Code: RepoNotFound",
    "X-Error-Code: RevisionNotFound", "X-Error-Message: \x1b[2J", "X-HF-Warning: a; \x1b[2J", "Content-Length: -5",
    "Content-Length: x", "Transfer-Encoding: chunked", 'WWW-Authenticate: Basic realm="x"', "WWW-Authenticate: \xff",
    'WWW-Authenticate: Bearer realm="/token"', 'WWW-Authenticate: Bearer realm="http://{host}/token",service="x"',
    'Link: <http://{host}/x>; rel="next"', 'ratelimit: "api";r=0;t=9999', "Set-Cookie: a=b",
]  # fmt: skip

_CODES = [
    200,
    200,
    200,
    201,
    202,
    204,
    206,
    301,
    302,
    307,
    308,
    400,
    401,
    401,
    403,
    404,
    404,
    409,
    416,
    429,
    500,
    503,
    99,
    999,
]


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Push to registries and hubs that answer at random, and ask helpers that do; without an end.

    Args:
        rng: of the campaign's seed.
        folder: for a release and for Docker's files.
    """
    release = small_release(folder / "small", make_keys(folder / "keys"))
    while True:
        kind, seed = rng.choice([_registry, _registry, _registry, _hub, _hub, _config]), rng.randrange(2**32)
        what = f"{kind.__name__.strip('_')}, seed {seed}"
        yield Case(AREA, what, partial(_judge, partial(kind, random.Random(seed), release), folder))


def _judge(run: partial[None], folder: Path) -> Outcome:
    """Run it with short times; every answer that it does not like is a clear error, and none lasts."""
    said = io.StringIO()
    began = time.monotonic()
    outcome = Outcome.RIGHT
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        _impatient(Path(own)),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        try:
            run(Path(own))
        except ZooError as error:
            outcome = Outcome.CLEAR
            said.write(str(error))
        except Exception:  # whatever it is, nobody explained it
            traceback.print_exc(file=sys.__stderr__)
            return Outcome.TRACEBACK
    if time.monotonic() - began > 50:
        return Outcome.HANG
    shown = said.getvalue()
    acts = not all(line.isprintable() for line in shown.splitlines())
    return Outcome.WRONG if acts or any(secret in shown for secret in SECRETS) else outcome


@contextmanager
def _impatient(own: Path) -> Iterator[None]:
    home = {"DOCKER_CONFIG": str(own), "HF_TOKEN": "hf_secret", "HF_HOME": str(own / "hf")}
    (own / "config.json").write_text("{}")
    with (
        mock.patch.dict(os.environ, home),
        mock.patch.object(limits, "ANSWER_S", 1.0),
        mock.patch.object(registry, "_TRIES", 2),
        mock.patch.object(registry, "time", _HURRIED),
        mock.patch.object(credentials, "_HELPER_S", 1.0),
    ):
        yield


def _mutate(rng: random.Random, value: Any) -> Any:
    """The value with something else somewhere in it."""
    if rng.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return rng.choice(_SCALARS)
    copy = dict(value) if isinstance(value, dict) else list(value)
    key: Any = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    if isinstance(copy, dict) and rng.random() < 0.2:
        del copy[key]
    else:
        copy[key] = _mutate(rng, copy[key])
    return copy


def _body(rng: random.Random) -> bytes:
    match rng.randrange(8):
        case 0:
            return rng.randbytes(rng.randrange(200))
        case 1:
            return rng.choice([b"", b"<html>", b"[" * 10**5, b"\xff\xfe", b"NaN", b"1" * 5000, b'{"a":' * 200])
        case 2 | 3:
            return json.dumps(rng.choice(_WORDS)).encode()
        case _:
            return json.dumps(_mutate(rng, rng.choice(_WORDS))).encode()


def _answer(rng: random.Random, host: list[str], lock: threading.Lock) -> Iterable[bytes]:
    """One answer of a server that has no good will."""
    with lock:
        body, code = _body(rng), rng.choice(_CODES)
        headers = [line.replace("{host}", host[0]) for line in rng.sample(_HEADERS, rng.choice([0, 0, 1, 1, 3]))]
        kind = rng.choice(["plain"] * 24 + ["cut", "trickle", "slow head", "endless", "no http", "short", "heads"])
    whole = b"".join(http(code, body, *headers))
    ways: dict[str, Callable[[], Iterable[bytes]]] = {
        "cut": lambda: [whole[: len(whole) // 2]],
        "trickle": _slowly,
        "slow head": lambda: trickle(b"HTTP/1.1 200 X\r\nX: y", 0.1),
        "endless": lambda: endless(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n", b"x" * (1 << 20)),
        "no http": lambda: [b"SSH-2.0-x\r\n\r\n" + body],
        "short": lambda: http(code, body, *headers, length=len(body) + 5),
        "heads": lambda: endless(b"HTTP/1.1 200 X\r\n", b"X: y\r\n"),
    }
    return ways[kind]() if kind in ways else [whole]


def _slowly() -> Iterator[bytes]:
    yield from http(200, length=10**6)
    yield from trickle(b"{", 0.1)


@contextmanager
def _server(rng: random.Random) -> Iterator[str]:
    place, lock = [""], threading.Lock()
    with rogue(lambda *_: _answer(rng, place, lock)) as host:
        place[0] = host
        yield host


def _registry(rng: random.Random, _release: Path, own: Path) -> None:
    if rng.random() < 0.5:
        (own / "config.json").write_text(json.dumps({"credsStore": "none"}))
    with _server(rng) as host:
        oci.push(registry.Registry(host, "zoo/m"), made("1.0.0"), "1.0.0", dry_run=rng.random() < 0.2)


def _hub(rng: random.Random, release: Path, _own: Path) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    waits = mock.patch.object(_http, "time", _HURRIED)
    with _server(rng) as host, waits, mock.patch.object(constants, "ENDPOINT", f"http://{host}"):
        publish_to_hub("team", release, index.index_of(release), rng.random() < 0.2)


def _config(rng: random.Random, _release: Path, own: Path) -> None:
    good = {
        "auths": {"host": {"auth": rng.choice(["em9vOmxldCBtZSBpbg==", "!", "/w=="])}},
        "credHelpers": {"host": "rogue"},
        "credsStore": rng.choice(["rogue", "../x", "\x1b", ""]),
    }
    if rng.random() < 0.5:
        del good["auths"]
    value = _mutate(rng, good) if rng.random() < 0.6 else good
    text = rng.randbytes(50) if rng.random() < 0.1 else json.dumps(value).encode()
    (own / "config.json").write_bytes(text)
    answer = json.dumps(_mutate(rng, {"Username": "zoo", "Secret": "let me in"}))
    (own / "answer").write_text(answer)
    script = rng.choice(
        [f"cat {own}/answer", "exit 1", "exec cat /dev/zero", "exec sleep 30", "kill -9 $$", "printf '\\377'"]
    )
    helper = own / "docker-credential-rogue"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    with mock.patch.dict(os.environ, {"PATH": f"{own}:{os.environ['PATH']}"}):
        credentials.find_credentials("host")
