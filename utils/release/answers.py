"""Answers of servers and programs, within bounds of time and size: one that dies, trickles or never ends holds nobody.

A timeout of a socket starts again with every byte, so a byte a minute would keep it waiting for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from utils import limits

__all__ = ["AnswerError", "allowed_s", "join_chunks", "within"]

T = TypeVar("T")


class AnswerError(Exception):
    """An answer that must not be used, or does not come; says what the server does."""


def allowed_s(sent_bytes: int) -> float:
    """Seconds for a request that takes so many bytes along."""
    return limits.ANSWER_S + sent_bytes / limits.UPLOAD_BYTES_S


def join_chunks(chunks: Iterable[bytes]) -> bytes:
    """The bytes of a body.

    Raises:
        AnswerError: there are more than may be; the rest is not read.
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
    """What ``work`` returns or raises, if it is done in time; if not, its thread is left to the end of the process.

    Raises:
        AnswerError: it is not done.
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
