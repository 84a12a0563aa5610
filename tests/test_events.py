"""Events: what a program tells the doit that started it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator

import pytest

from utils import events
from utils.events import Event


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    monkeypatch.setenv(events.PIPE, events.name_pipe(write))
    yield read, write
    for descriptor in (read, write):
        with contextlib.suppress(OSError):  # a test closed it
            os.close(descriptor)


def test_an_event_arrives_as_it_was_sent(pipe: tuple[int, int]) -> None:
    sent = Event("progress", "epoch 1\nof \u00e9 4", 1.5, 4)
    assert events.send(sent)
    line, end, rest = os.read(pipe[0], 4096).partition(b"\n")
    assert (events.parse_event(line), end, rest) == (sent, b"\n", b"")


def test_lines_of_many_threads_do_not_mix(pipe: tuple[int, int]) -> None:
    text = "x" * 9000  # more than a pipe takes in one piece
    threads = [threading.Thread(target=lambda: [events.send(Event("say", text)) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = b""
    while seen.count(b"\n") < 80:
        seen += os.read(pipe[0], 1 << 16)
    assert {events.parse_event(line) for line in seen.splitlines()} == {Event("say", text)}


def test_nobody_listens_without_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(events.PIPE, raising=False)
    assert not events.has_listener()
    assert not events.send(Event("say", "x"))
    assert not events.send_progress(1, 2)


@pytest.mark.parametrize("value", ["", "1", "x:y", "999:1", "-1:5", "1:0"])
def test_a_wrong_name_of_a_pipe_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(events.PIPE, value)
    assert not events.has_listener()


def test_a_number_that_became_another_files_is_not_written_to(pipe: tuple[int, int], tmp_path) -> None:
    file = os.open(tmp_path / "precious", os.O_CREAT | os.O_WRONLY)
    os.dup2(file, pipe[1])
    os.close(file)
    assert not events.send(Event("say", "x"))
    assert (tmp_path / "precious").read_bytes() == b""


def test_a_listener_that_has_gone_does_no_harm(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    assert not events.send(Event("say", "x"))


def test_progress_is_sent_four_times_a_second_at_most_and_at_its_end(pipe: tuple[int, int]) -> None:
    for n in range(1, 5001):
        assert events.send_progress(n, 5000)
    found = [events.parse_event(line) for line in os.read(pipe[0], 1 << 16).splitlines()]
    assert len(found) <= 4
    assert found[-1] == Event("progress", "", 5000, 5000)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b'{"kind": "say"}', b'{"kind":"say","text":"","done":"x","total":0}', b"\xff"],
)
def test_a_half_line_is_no_event(line: bytes) -> None:
    assert events.parse_event(line) is None


def test_an_unknown_kind_is_no_event() -> None:
    line = json.dumps({"kind": "shout", "text": "", "done": 0, "total": 0}).encode()
    assert events.parse_event(line) is None
