"""Answers of servers and programs, within bounds of time and size, even if a server stalls, trickles or never ends.

A socket's timeout restarts with every byte, so a byte a minute would keep it waiting for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from utils import limits

__all__ = ["AnswerError", "allowed_s", "join_chunks", "within"]

T = TypeVar("T")


class AnswerError(Exception):
    """An answer that must not be used, or does not come; the text describes the server's behaviour."""


def allowed_s(sent_bytes: int) -> float:
    """Seconds for a request with a body of so many bytes."""
    return limits.ANSWER_S + sent_bytes / limits.UPLOAD_BYTES_S


def join_chunks(chunks: Iterable[bytes]) -> bytes:
    """Read a body.

    Raises:
        AnswerError: it is larger than the bound; the rest is not read.
    """
    found: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limits.ANSWER_BYTES:
            raise AnswerError(f"answers with more than {limits.ANSWER_BYTES:,} bytes")
        found.append(chunk)
    return b"".join(found)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return or raise what ``work`` does, if it ends in time; otherwise its thread is abandoned.

    Raises:
        AnswerError: it did not end in time.
    """
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # whatever it is, the caller's thread raises it
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise AnswerError(f"has not finished its answer within {seconds:,.0f} s")
    return done[0]
