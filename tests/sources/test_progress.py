"""Progress: lines for who looks on, events for the doit that draws."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest

from tests.support.servers import Server, full
from tests.support.sources import (
    DATA,
    QUICK,
    source,
)
from utils import events
from utils.sources.fetch import fetch_all
from utils.sources.progress import Event, Terminal


def test_lines(server: Server) -> None:
    stream = io.StringIO()
    big = bytes(1_500_000)
    wanted = [source(server.on("/a", full(DATA))), source(server.on("/b", full(big)), data=big, name="big")]
    fetch_all(wanted, jobs=1, report=Terminal(stream), limits=QUICK)
    assert stream.getvalue().splitlines() == [
        "fetched weights.bin 200.0 kB from 127.0.0.1",
        "fetching big 1.5 MB from 127.0.0.1",
        "fetched big 1.5 MB from 127.0.0.1",
    ]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The read end of the pipe of a doit that listens."""
    read, write = os.pipe()
    monkeypatch.setenv(events.PIPE, events.name_pipe(write))
    yield read
    os.close(read)
    os.close(write)


def heard(pipe: int) -> list[events.Event]:
    found = [events.parse_event(line) for line in os.read(pipe, 1 << 16).splitlines()]
    assert None not in found
    return [event for event in found if event]


def test_a_doit_that_listens_hears_of_all_files_together(
    server: Server, pipe: int, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted = [source(server.on(f"/{n}", full(DATA[n:])), data=DATA[n:], name=f"f{n}") for n in range(3)]
    fetch_all(wanted, limits=QUICK)
    told = heard(pipe)
    total = sum(one.size or 0 for one in wanted)
    *_, last = [event for event in told if event.kind == "progress"]
    assert (last.done, last.total, last.text) == (total, total, "3 of 3 files, 600.0 kB of 600.0 kB")
    assert sorted(event.text for event in told if event.kind == "say") == [
        f"fetched f{n} 200.0 kB from 127.0.0.1" for n in range(3)
    ]
    assert capfd.readouterr() == ("", "")


def test_two_files_with_one_name_are_two(pipe: int) -> None:
    show = Terminal()
    show(Event("plan", total=91_000, count=2))
    for have, total, key in ((100, 1000, "a"), (50_000, 90_000, "b"), (900, 1000, "a")):
        show(Event("bytes", "weights.bin", have, total, key=key))
    show(Event("done", "weights.bin", 1000, 1000, "there", key="a"))
    show(Event("done", "weights.bin", 90_000, 90_000, "there", key="b"))
    assert heard(pipe)[-1] == events.Event("progress", "2 of 2 files, 91.0 kB of 91.0 kB", 91_000, 91_000)


def test_a_warning_is_a_note_for_all(pipe: int) -> None:
    Terminal()(Event("say", text="warning: x"))
    assert heard(pipe) == [events.Event("note", "warning: x")]
