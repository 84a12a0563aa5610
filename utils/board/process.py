"""Run a program that talks to a board, within bounds of output and time."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Iterable
from typing import IO, cast

from utils import limits
from utils.errors import BoardError

__all__ = ["run_bounded"]

#: Seconds in which the pipes of a finished program must close.
_LAST_WORDS_S = 5.0

_LOOK = "log in and check what the board does"


def run_bounded(
    command: list[str], payload: Iterable[bytes], *, timeout_s: float, where: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a program, send it ``payload``, collect its output; it is killed when it exceeds a bound.

    Raises:
        BoardError: it takes longer than ``timeout_s``, accepts no byte for a while, or prints too much.
    """
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, err = _talk(process, payload, timeout_s, where)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _talk(
    process: subprocess.Popen[bytes], payload: Iterable[bytes], timeout_s: float, where: str
) -> tuple[bytes, bytes]:
    assert process.stdin
    assert process.stdout
    assert process.stderr
    said: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    blocks, waiting = iter(payload), memoryview(b"")
    deadline = time.monotonic() + timeout_s
    giving, taken, ended = True, time.monotonic(), 0.0
    with selectors.DefaultSelector() as pipes:
        os.set_blocking(process.stdin.fileno(), False)
        pipes.register(process.stdin, selectors.EVENT_WRITE)
        for pipe in said:
            pipes.register(pipe, selectors.EVENT_READ)
        while pipes.get_map():
            ready = pipes.select(timeout=min(1.0, max(0.0, deadline - time.monotonic())))
            now = time.monotonic()
            if now > deadline:
                raise BoardError(f"no answer within {timeout_s:.0f} s", where=where, hint=_LOOK)
            if giving and now - taken > limits.BOARD_STALL_S:
                raise BoardError(f"it accepted no byte for {limits.BOARD_STALL_S:.0f} s", where=where, hint=_LOOK)
            if not ready and process.poll() is not None:
                ended = ended or now
                if now - ended > _LAST_WORDS_S:  # another process holds the pipes
                    break
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    waiting = waiting or memoryview(next(blocks, b""))
                    count = _write(key.fd, waiting)
                    waiting, taken = waiting[count:], now if count else taken
                    if count is None:
                        pipes.unregister(process.stdin)
                        process.stdin.close()
                        giving = False
                elif block := os.read(key.fd, 1 << 16):
                    said[cast("IO[bytes]", key.fileobj)] += block
                    if sum(map(len, said.values())) > limits.BOARD_OUTPUT_BYTES:
                        what = f"the board printed more than {limits.BOARD_OUTPUT_BYTES:,} bytes"
                        raise BoardError(what, where=where, hint="check what its login scripts and python3 print")
                else:
                    pipes.unregister(key.fileobj)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    if process.poll() is None:
        raise BoardError(f"not finished within {timeout_s:.0f} s", where=where, hint=_LOOK)
    out, err = (bytes(text) for text in said.values())
    return out, err


def _write(pipe: int, block: memoryview) -> int | None:
    """Write as much as the pipe accepts, and count it; None at the end, or when the other side has closed it."""
    try:
        return os.write(pipe, block) if block else None
    except BlockingIOError:
        return 0
    except BrokenPipeError:  # its exit code tells why
        return None
