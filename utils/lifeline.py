"""Lifeline: a process that ends with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from functools import partial

__all__ = ["die_with", "tied"]


def die_with(parent: str) -> None:
    """End when the parent does, and now if it has already.

    The kernel tells us of a parent's death only from here on (Linux only); whether it lives still, its pid tells.

    Args:
        parent: its pid, as the environment names it.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, <sys/prctl.h>
    if parent != str(os.getppid()):
        os._exit(137)


def tied() -> Callable[[], None]:
    """The ``preexec_fn`` of a program that ends with this process, however this one ends."""
    return partial(die_with, str(os.getpid()))
