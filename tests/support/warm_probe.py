"""A program that a warm parent may become: says what it was given, or does as its first word says."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    word, *_ = sys.argv[1:]
    if word == "tell":
        print(
            "tensorflow" in sys.modules,
            [name for name in sys.modules if name.split(".")[0] == "utils"],
            len([*Path("/proc/self/task").iterdir()]),
            os.environ["ZOO_PARENT"] == str(os.getppid()),
            os.environ["PYTHONHASHSEED"],
            sys.stdin.fileno(),
            sys.argv[1:],
        )
        print("é", file=sys.stderr)
        os.write(int(os.environ["ZOO_EVENTS"].partition(":")[0]), b"event")
        sys.exit(7)
    if word == "pinned":
        from utils import environment

        environment.pin_tensorflow(0)
        print(environment.is_pinned())
    if word == "raise":
        raise ValueError("a bug")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "stay":
        print(os.getpid(), flush=True)
        time.sleep(600)
