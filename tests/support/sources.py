"""What the tests of sources share: one file, ways to fetch it, and a process of its own that does."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server
from utils.errors import SourceError
from utils.sources.fetch import fetch
from utils.sources.http import Limits
from utils.sources.progress import Event
from utils.sources.source import Source

ROOT = Path(__file__).resolve().parents[2]
DATA = bytes(i * i % 251 for i in range(200_000))
SHA = hashlib.sha256(DATA).hexdigest()
# A busy machine must not look dead.
QUICK = Limits(connect_s=20.0, read_s=20.0, tries=4, backoff_s=0.01, longest_s=0.3)
IMPATIENT = replace(QUICK, read_s=1.0)  # where silence is what is tested


def quiet(_: Event, /) -> None:
    """Report nothing."""


def source(*urls: str, data: bytes = DATA, **changes: Any) -> Source:
    facts: dict[str, Any] = {
        "name": "weights.bin",
        "urls": urls,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": None,
        "licence": "Apache-2.0",
        "what": "weights",
    }
    return Source(**{**facts, **changes})


def get(wanted: Source, limits: Limits = QUICK) -> tuple[Path, list[Event]]:
    events: list[Event] = []
    return fetch(wanted, report=events.append, limits=limits), events


def refused(wanted: Source, kind: type[SourceError] = SourceError, limits: Limits = QUICK) -> str:
    with pytest.raises(SourceError) as caught:
        get(wanted, limits)
    assert type(caught.value) is kind
    return str(caught.value)


def said(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if event.kind == "say")


def ranges(server: Server) -> list[str | None]:
    return [request.headers.get("range") for request in server.requests]


def partial(cache: Path) -> list[str]:
    return sorted(path.suffix for path in (cache / "partial").iterdir())


PROGRAM = """
import os, sys
from utils import errors
from utils.sources.fetch import fetch
from utils.sources.http import Limits
from utils.sources.source import Source
url, size, sha256, user = sys.argv[1:]
if user != "0":
    os.setgroups([]), os.setgid(int(user)), os.setuid(int(user))
wanted = Source("weights.bin", (url,), int(size), sha256, None, "MIT", "weights")
try:
    print(fetch(wanted, limits=Limits(read_s=5.0, tries=1)))
except errors.ZooError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def program(url: str, data: bytes = DATA, user: int = 0) -> subprocess.Popen[str]:
    """Fetch in a process of its own, as another user if ``user`` is not 0."""
    facts = [str(len(data)), hashlib.sha256(data).hexdigest(), str(user)]
    command = [sys.executable, "-c", PROGRAM, url, *facts]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "nothing happened for 10 s"
        time.sleep(0.01)
