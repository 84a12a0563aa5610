"""One area of the campaign: ``python -m tests.campaign.driver AREA SEED FOLDER``.

For each line on stdin it does one thing and answers with one line of JSON: ``run`` tries the next case, ``skip`` passes
over it. A case runs in a child process, so that a hang, a signal or too much memory is an outcome as any other.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.campaign.case import Case, Outcome

#: A case ends by itself within 60 s; what takes longer than this hangs.
LIMIT_S = 90.0

#: Addresses that a case may take, and memory that it may fill before that counts as wrong: machines have 2 GB free.
ADDRESS_BYTES, MEMORY_BYTES = 12 << 30, 2 << 30


def main() -> None:
    """Answer on stdout, until stdin ends."""
    area, seed, home = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an area prints is no answer
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER, <sys/prctl.h>: what a case leaves running comes to us
    folder = home / area
    folder.mkdir(parents=True, exist_ok=True)
    stream = _cases(area, random.Random(f"{seed}:{area}"), folder)
    for number, word in enumerate(sys.stdin):
        begin = time.monotonic()
        try:
            case = next(stream)
            answer = {"what": case.what} if word.strip() == "skip" else run_case(case, home / f"{area}-{number}")
        except BaseException:  # of the area's own code
            answer = {"what": "the area itself", "outcome": Outcome.TRACEBACK.value, "said": traceback.format_exc()}
            answer["broken"] = True
        print(json.dumps({"number": number, "seconds": time.monotonic() - begin, **answer}), file=answers, flush=True)
        if "broken" in answer:
            return


def _cases(area: str, rng: random.Random, folder: Path) -> Iterator[Case]:
    yield from importlib.import_module(f"tests.campaign.{area}").cases(rng, folder)  # its errors are told as a case's


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    """Try a case in a child process: ``what``, ``outcome`` and what was ``said``."""
    folder.mkdir(parents=True)
    ours = _children()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_case(case, folder, tell)
    os.close(tell)
    try:
        ready = select.select([told], [], [], LIMIT_S)[0]
        word = os.read(told, 100).decode() if ready else Outcome.HANG.value
        _, status, usage = _end(pid)
        _end_others(ours)
        said = (folder / "said").read_bytes()[-8000:].decode("utf-8", "replace")
        if not word:
            said += f"\nended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "\nended without a word"
        elif usage.ru_maxrss * 1024 > MEMORY_BYTES:
            word, said = Outcome.WRONG.value, f"{said}\ntook {usage.ru_maxrss / 2**20:.1f} GB of memory"
        return {"what": case.what, "outcome": word or Outcome.TRACEBACK.value, "said": said}
    finally:
        os.close(told)
        shutil.rmtree(folder, ignore_errors=True)


def _be_the_case(case: Case, folder: Path, tell: int) -> None:
    outcome = Outcome.TRACEBACK
    try:
        os.setsid()
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.stdout, sys.stderr = (os.fdopen(number, "w", errors="backslashreplace") for number in (1, 2))
        outcome = case.run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(tell, outcome.value.encode())
        os._exit(0)


def _end(pid: int) -> Any:
    """Wait a moment for a case that has told its outcome, end it and all in its session, and take what it used."""
    for _ in range(20):
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return (done, status, usage) if done else os.wait4(pid, 0)


def _children() -> set[int]:
    return {int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def _end_others(ours: set[int]) -> None:
    """End what a case left running in sessions of its own."""
    for pid in _children() - ours:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


if __name__ == "__main__":
    main()
