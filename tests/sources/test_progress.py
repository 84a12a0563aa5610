"""Progress: lines without a tty, bars on one."""

from __future__ import annotations

import io

from tests.support.servers import Server, cut, full
from tests.support.sources import (
    DATA,
    QUICK,
    source,
)
from utils.sources.fetch import fetch, fetch_all
from utils.sources.progress import Event, Terminal


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_without_a_tty(server: Server) -> None:
    stream = io.StringIO()
    big = bytes(1_500_000)
    wanted = [source(server.on("/a", full(DATA))), source(server.on("/b", full(big)), data=big, name="big")]
    fetch_all(wanted, jobs=1, report=Terminal(stream), limits=QUICK)
    assert stream.getvalue().splitlines() == [
        "fetched weights.bin 200.0 kB from 127.0.0.1",
        "fetching big 1.5 MB from 127.0.0.1",
        "fetched big 1.5 MB from 127.0.0.1",
    ]


def test_two_bars_with_one_name() -> None:
    stream = _Tty()
    show = Terminal(stream)
    for have, total, key in ((100, 1000, "a"), (50_000, 90_000, "b"), (900, 1000, "a")):
        show(Event("bytes", "weights.bin", have, total, key=key))
    for have, key in ((1000, "a"), (90_000, "b")):
        show(Event("done", "weights.bin", have, have, "there", key=key))
    assert "/1.00k" in stream.getvalue()
    assert "/90.0k" in stream.getvalue()
    assert stream.getvalue().count("fetched weights.bin") == 2


def test_bars_on_a_tty(server: Server) -> None:
    stream = _Tty()
    url = server.on("/a", cut(DATA, 70_000), full(DATA, pace=0.06))
    fetch(source(url), report=Terminal(stream), limits=QUICK)
    assert "weights.bin:" in stream.getvalue()
    assert "/200k" in stream.getvalue()
    assert stream.getvalue().endswith("fetched weights.bin 200.0 kB from 127.0.0.1\n")
