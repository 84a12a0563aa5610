#!/usr/bin/env python3
"""Compiles Python files for the image, so that every build gives the same bytes.

    docker/compile.py FOLDER...

The container's user may not write there, and every step would compile TensorFlow anew. A compiled file names its
source by hash, not by time, and nothing looks whether it changed. What a process has compiled before shows in what it
writes next (which strings it knows): so the files are dealt out to a fixed number of processes, in order, however many
cores there are.
"""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PARTS = 16


def main(words: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    if words[:1] == ["--part"]:
        for name in sys.stdin.read().split("\0"):
            compile_file(name)
        return 0
    if not words or words[0] in {"-h", "--help"}:
        print("usage: docker/compile.py FOLDER...", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    found = sorted(str(file) for folder in words for file in Path(folder).rglob("*.py") if file.is_file())
    for folder in words:
        for file in Path(folder).rglob("*.pyc"):  # of an installer, with times in it
            file.unlink()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        codes = list(pool.map(run_part, [found[number::PARTS] for number in range(PARTS)]))
    return int(any(codes))  # a part that was killed has a code below 0


def run_part(names: list[str]) -> int:
    """Compile files in a process of their own."""
    env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-s", "-B", "-W", "ignore", __file__, "--part"]
    return subprocess.run(command, input="\0".join(names), text=True, env=env).returncode if names else 0


def compile_file(name: str) -> None:
    """Compile one file; what is no Python of this version stays as it is."""
    try:
        py_compile.compile(name, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except (py_compile.PyCompileError, ValueError, UnicodeError, RecursionError):
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
