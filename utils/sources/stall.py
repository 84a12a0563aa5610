"""Stall: cut a connection that is too slow, even if it never falls silent.

The timeouts of a socket only detect silence: a byte a second, or endless headers, would keep it open for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["StalledError", "Watch"]


class StalledError(Exception):
    """The watch has cut the connection; the text tells why."""


class Watch:
    """While entered, calls ``cut`` once if fewer than ``least_bytes`` have arrived in ``within_s`` seconds.

    Attributes:
        arrived: bytes so far; the reader counts them here.
        has_cut: whether it has cut the connection.
    """

    def __init__(self, cut: Callable[[], object], least_bytes: int, within_s: float) -> None:
        self.arrived, self.has_cut = 0, False
        self._cut, self._least_bytes, self._within_s = cut, least_bytes, within_s
        self._done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._done.set()
        if self.has_cut and (error is None or isinstance(error, Exception)):
            raise StalledError(self._why) from None

    @property
    def _why(self) -> str:
        least = f"fewer than {self._least_bytes:,} bytes" if self._least_bytes > 1 else "no complete answer"
        return f"{least} in {self._within_s:g} s"

    def _run(self) -> None:
        seen = 0
        while not self._done.wait(self._within_s):
            if self.arrived - seen < self._least_bytes:
                self.has_cut = True
                self._cut()
                return
            seen = self.arrived
