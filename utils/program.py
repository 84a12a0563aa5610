"""What every program of ours shares: how it begins, and how it ends when something is wrong."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from utils.errors import STORAGE, BuildError, StorageError, ZooError, storage_error
from utils.untrusted import as_lines

__all__ = ["DoitTraceback", "as_zoo_error", "end", "end_quietly", "prepare"]

#: Exit code of a program whose reader has gone, as the shell counts a SIGPIPE.
_NO_READER = 141


def prepare(*, dies_of_closed_pipe: bool = False) -> None:
    """Make the process fit to work, whatever it was started from: umask, characters of the terminal.

    Args:
        dies_of_closed_pipe: end silently when the reader of its output goes, as ``| head`` does; not for a program
            with sockets, which break in the same way.
    """
    os.umask(os.umask(0o077) & 0o077)  # it must be able to read what it writes
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if dies_of_closed_pipe:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if sys.stderr is None:  # closed by the caller
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # as long as the process lives
    if sys.stdout is None:
        end(StorageError("the standard output is closed", hint="send it somewhere: > /dev/null"))
    atexit.register(_flush)


def _flush() -> None:
    """Say it where the last words cannot be written; Python would name the stream, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        if not isinstance(error, BrokenPipeError):
            _tell(storage_error(error, "the standard output"), "")
            os._exit(StorageError.exit_code)
        end_quietly()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def as_zoo_error(error: BaseException) -> ZooError | None:
    """The error as a person can use it; None if it is a defect of ours, whose traceback is wanted."""
    if isinstance(error, ZooError):
        return error
    if isinstance(error, MemoryError):
        return BuildError("not enough memory", hint="give it more, or run one step at a time: doit -n 1")
    if isinstance(error, FileNotFoundError) and error.filename is None:  # of tempfile
        return StorageError(error.strerror or str(error), hint="set TMPDIR to a folder that this user may write")
    if isinstance(error, OSError) and error.errno in STORAGE:
        return storage_error(error)
    return None


def end(error: BaseException, name: str = "", note: Callable[[ZooError], object] = lambda _: None) -> NoReturn:
    """End the process for an error: a message and its exit code, or quietly; a defect is raised again.

    Args:
        error: what happened.
        name: of what failed, for the message.
        note: called with the error that is told.
    """
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, KeyboardInterrupt):
        sys.exit(130)
    if isinstance(error, BrokenPipeError):
        end_quietly()
    known = as_zoo_error(error)
    if known is None:
        raise error
    _tell(known, name)
    note(known)
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):  # that may be what is told
        _drop_output()
    sys.exit(known.exit_code)


def _tell(error: ZooError, name: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be listening
        sys.stderr.write(as_lines(f"\nerror: {name}: {error}\n" if name else f"error: {error}\n"))
        sys.stderr.flush()


class DoitTraceback:
    """In the place of the module ``traceback`` in doit, which shows one for a full disk as for a defect."""

    @staticmethod
    def format_exc() -> str:
        """The traceback of a defect; for what a person can mend, the program ends."""
        error = sys.exc_info()[1]
        if error is not None and (isinstance(error, BrokenPipeError) or as_zoo_error(error) is not None):
            end(error)
        return traceback.format_exc()


def end_quietly() -> NoReturn:
    """End because the reader of the output has gone: there is nobody to tell."""
    os._exit(_NO_READER)  # no flushing, which would fail again
