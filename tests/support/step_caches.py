"""Step caches for tests: a server on the loopback that does as docker/cluster/nginx.conf says, and its machines."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from tests.support.servers import address, answering
from utils import environment, paths
from utils.graph import record
from utils.graph.step import Step
from utils.shared.action import ActionResult, Digest, action_key
from utils.shared.restore import Cache
from utils.shared.settings import Settings

__all__ = ["LOCK", "USER", "Asked", "Machine", "StepServer", "digest", "make_step", "serving_steps"]

#: Who may write.
USER = "ci:secret"

#: What every machine of these tests says that its environment was made from.
LOCK = "1" * 64

_ENTRY = re.compile(r"/(ac|cas)/[0-9a-f]{64}")


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    authorization: str


@dataclass
class StepServer:
    """What the server has, and how it misbehaves.

    Attributes:
        base: its address.
        entries: path -> content.
        asked: every request.
        acts: ``"GET /ac"``, ``"PUT /cas"`` or a method and a whole path -> what it does instead.
        is_open: whether anyone may write.
        overwrites: whether an entry may be replaced.
    """

    base: str
    entries: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    acts: dict[str, Callable[[_Handler], None]] = field(default_factory=dict)
    is_open: bool = False
    overwrites: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str) -> int:
        return sum(one.method == method for one in self.asked)

    def settings(self, user: str = USER, **changes: object) -> Settings:
        """Those of a machine that may write."""
        server = self.base.replace("://", f"://{user}@") if user else self.base
        return Settings(**{"server": server, "writes": True, **changes})  # type: ignore[arg-type]

    def result(self) -> tuple[str, dict[str, object]]:
        """The path and the document of the one result that is stored."""
        (path,) = (path for path in self.entries if path.startswith("/ac/"))
        return path, json.loads(self.entries[path])

    def replace_result(self, change: Callable[[dict[str, object]], object]) -> None:
        """Change the one result that is stored."""
        path, found = self.result()
        change(found)
        self.entries[path] = json.dumps(found).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets: the second one would wait for an answer

    @property
    def owner(self) -> StepServer:
        return cast("_Loopback", self.server).owner

    def _any(self) -> None:
        owner, kind = self.owner, "/" + self.path.strip("/").partition("/")[0]
        with owner.lock:
            owner.asked.append(Asked(self.command, self.path, self.headers.get("Authorization", "")))
        act = owner.acts.get(f"{self.command} {self.path}") or owner.acts.get(f"{self.command} {kind}")
        (act or type(self)._serve)(self)

    do_GET = do_HEAD = do_PUT = do_DELETE = _any  # noqa: N815  # the names that http.server calls

    def _serve(self) -> None:
        owner = self.owner
        if not _ENTRY.fullmatch(self.path):
            self.answer(404)
        elif self.command in ("GET", "HEAD"):
            found = owner.entries.get(self.path)
            self.answer(404 if found is None else 200, found or b"")
        elif self.command == "PUT":
            self._store()
        else:
            self.answer(405)

    def _store(self) -> None:
        owner = self.owner
        if self.path in owner.entries and not owner.overwrites:
            self.answer(409)
            self.close_connection = True  # without reading the body, as nginx does
            return
        if not owner.is_open and self.headers.get("Authorization", "") != _basic(USER):
            self.answer(401, WWW_Authenticate='Basic realm="writers"')
            self.close_connection = True
            return
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) == length:
            with owner.lock:
                there = self.path in owner.entries
                owner.entries[self.path] = content
            self.answer(204 if there else 201)

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def _basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


class _Loopback(ThreadingHTTPServer):
    daemon_threads = True
    owner: StepServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients hang up."""


@contextmanager
def serving_steps() -> Iterator[StepServer]:
    """Run a server on a free port."""
    loopback = _Loopback(("127.0.0.1", 0), _Handler)
    loopback.owner = StepServer(f"http://{address(loopback)}")
    with answering(loopback):
        yield loopback.owner


def digest(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest(), len(content))


def make_step(root: Path, **changes: object) -> Step:
    """A step that reads one file and writes three; ``root`` has to be the project's."""
    facts = {
        "model": "tiny",
        "name": "train",
        "module": "utils.steps.train",
        "doc": "train",
        "reads": (root / "build/tiny/input",),
        "code": (),
        "writes": (root / "build/tiny/weights", root / "build/tiny/more/history.json", root / "build/tiny/empty"),
        "facts": {"seed": 1},
    }
    return Step(**{**facts, **changes})  # type: ignore[arg-type]


#: What the step writes.
CONTENTS = (b"weights" * 1000, b'{"loss": 1}', b"")


@dataclass
class Machine:
    """A checkout of its own; the process works in one at a time."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work_here()
        (self.root / "build/tiny").mkdir(parents=True, exist_ok=True)
        (self.root / "build/tiny/input").write_bytes(b"input")

    def work_here(self) -> None:
        for name, place in (("ROOT", ""), ("BUILD", "build"), ("ARTIFACTS", "artifacts")):
            self.monkeypatch.setattr(paths, name, self.root / place)
        self.monkeypatch.setattr(environment, "promised_lock", lambda: LOCK)

    def cache(self, settings: Settings) -> Cache:
        self.work_here()
        return Cache(settings, self.said.append)

    def step(self, **changes: object) -> Step:
        self.work_here()
        return make_step(self.root, **changes)

    def run(self, step: Step, contents: tuple[bytes, ...] = CONTENTS) -> None:
        """Run it, as its program would."""
        self.work_here()
        with record.locked(step.record), record.writing(step.record, step.key(), step.writes, step.folder) as outputs:
            for number, (final, content) in enumerate(zip(step.writes, contents, strict=True)):
                target = outputs.new(final, str(number))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)

    def files(self) -> dict[str, bytes]:
        """Every file of the checkout but locks."""
        found = (file for file in self.root.rglob("*") if file.is_file() and file.suffix != ".lock")
        return {file.relative_to(self.root).as_posix(): file.read_bytes() for file in found}

    def store(self, server: StepServer, step: Step, contents: tuple[bytes, ...] = CONTENTS) -> str:
        """Put an unsigned result on the server, by hand; its key."""
        self.work_here()
        action = action_key(step.key(), (LOCK,))
        named = {paths.relative(file): content for file, content in zip(step.writes, contents, strict=True)}
        server.entries |= {f"/cas/{digest(content).sha256}": content for content in contents}
        server.entries[f"/ac/{action}"] = ActionResult({name: digest(text) for name, text in named.items()}).dump()
        return action
