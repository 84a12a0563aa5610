"""What all programs of the zoo share: how they start, and how they end when something is wrong."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from utils.errors import STORAGE, BuildError, StorageError, ZooError, storage_error
from utils.untrusted import as_lines

__all__ = ["DoitTraceback", "as_zoo_error", "end", "end_quietly", "prepare"]

#: Exit code of a program whose reader has closed the pipe, as the shell reports a SIGPIPE. Python ignores the signal
#: itself, and so do we: it does not tell an output from a socket.
_NO_READER = 141


def prepare(*, dies_of_closed_pipe: bool = False) -> None:
    """Set up the process, whatever started it: umask, encoding errors, closed streams.

    Args:
        dies_of_closed_pipe: end silently, in the midst of whatever it does, when the reader of its output closes it, as
            ``| head`` does. A socket that its peer closes is another matter: it is an error where it is used.
    """
    os.umask(os.umask(0o077) & 0o077)  # it must be able to read what it writes
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if dies_of_closed_pipe:
        sys.stdout, sys.stderr = _with_reader(sys.stdout), _with_reader(sys.stderr)
    if sys.stderr is None:  # closed by the caller
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # as long as the process lives
    if sys.stdout is None:
        end(StorageError("the standard output is closed", hint="send it somewhere: > /dev/null"))
    atexit.register(_flush)


class _Read(io.FileIO):
    """The file of an output; the process ends with its reader."""

    def write(self, data: Any, /) -> Any:
        try:
            return super().write(data)
        except BrokenPipeError:
            end_quietly()


def _with_reader(stream: Any) -> Any:
    """A standard stream as it was, but that its process ends when its reader has closed it."""
    if not isinstance(stream, io.TextIOWrapper) or stream not in (sys.__stdout__, sys.__stderr__):
        return stream  # closed, or captured
    stream.flush()
    raw = _Read(stream.fileno(), "w", closefd=False)
    file = io.BufferedWriter(raw) if isinstance(stream.buffer, io.BufferedWriter) else raw
    return io.TextIOWrapper(
        file,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _flush() -> None:
    """Report that the last output cannot be written; Python alone would name the stream and exit with 120."""
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
    """The error as a message for the user; None if it is a bug, whose traceback is needed."""
    if isinstance(error, ZooError):
        return error
    if isinstance(error, MemoryError):
        return BuildError("not enough memory", hint="give it more memory, or run one step at a time: doit -n 1")
    if isinstance(error, FileNotFoundError) and error.filename is None:  # of tempfile
        return StorageError(error.strerror or str(error), hint="set TMPDIR to a folder that this user may write")
    if isinstance(error, OSError) and error.errno in STORAGE:
        return storage_error(error)
    return None


def end(error: BaseException, name: str = "", note: Callable[[ZooError], object] = lambda _: None) -> NoReturn:
    """End the process after an error, with a message and an exit code, or quietly; a bug is raised again.

    Args:
        error: what happened.
        name: what failed, for the message.
        note: called with the error that is shown.
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
    except (OSError, AttributeError):  # this may be the error itself
        _drop_output()
    sys.exit(known.exit_code)


def _tell(error: ZooError, name: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the reader may be gone
        sys.stderr.write(as_lines(f"\nerror: {name}: {error}\n" if name else f"error: {error}\n"))
        sys.stderr.flush()


class DoitTraceback:
    """Replaces the module ``traceback`` in doit, which would show one for a full disk as it does for a bug."""

    @staticmethod
    def format_exc() -> str:
        """The traceback of a bug; an error that the user can correct ends the program with its message."""
        error = sys.exc_info()[1]
        if error is not None and (isinstance(error, BrokenPipeError) or as_zoo_error(error) is not None):
            end(error)
        return traceback.format_exc()


def end_quietly() -> NoReturn:
    """End without a message: the reader of the output is gone."""
    os._exit(_NO_READER)  # without a flush, which would fail again
