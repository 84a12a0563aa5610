#!/usr/bin/env python3
"""Downloads what the image's build installs, for a site without network.

    docker/get_wheels.py FOLDER LOCK...

FOLDER gets the wheels of these locks for the image's Python and machine, each checked by the lock's hash. pip downloads
them, with its own settings (index, proxy, CA).
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.markers import Marker

#: Of Debian bookworm on x86-64: its Python, and the newest glibc that a wheel may need.
PYTHON, GLIBC = "3.11", 36

#: What markers ask of it.
IMAGE = {
    "implementation_name": "cpython",
    "implementation_version": f"{PYTHON}.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.2",
    "python_version": PYTHON,
    "sys_platform": "linux",
}

#: The image does without: see the Dockerfile's stage `test`.
LEFT_OUT = ("kubernetes-validate", "playwright")


def main(words: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    if len(words) < 2 or words[0] in {"-h", "--help"}:
        text = (__doc__ or "").split("\n\n", 1)[1]
        print("usage:", text.strip(), file=sys.stdout if words else sys.stderr)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    folder, *locks = words
    sys.dont_write_bytecode = True  # of install.py: this folder is what the image is built of
    tags = [f"manylinux_2_{number}_x86_64" for number in range(GLIBC, 4, -1)]
    tags += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    command = ["download", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--dest", folder]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--abi", f"cp{PYTHON.replace('.', '')}"]
    command += ["--python-version", PYTHON, *(word for tag in tags for word in ("--platform", tag))]
    with tempfile.TemporaryDirectory() as near:
        pip = [sys.executable, "-I", "-B", str(importlib.import_module("install").unpack_pip(Path(near)))]
        for number, lock in enumerate(locks):  # one after the other: they have packages in common
            wanted = Path(near) / f"{number}.txt"
            wanted.write_text(of_image(Path(lock).read_text(encoding="utf-8")), encoding="utf-8")
            code = subprocess.run([*pip, *command, "-r", wanted], env=os.environ | {"PIP_NO_INPUT": "1"}).returncode
            if code:
                return code
    return 0


def of_image(lock: str) -> str:
    """What of a lock the image installs: pip would ask which Python runs here, and which machine this is."""
    comment, *entries = re.split(r"\n(?=[A-Za-z])", "\n" + lock)
    return comment + "\n" + "\n".join(filter(None, map(for_image, entries)))


def for_image(entry: str) -> str:
    """An entry of a lock without its marker; empty where the image does without the package."""
    first, *rest = entry.split("\n")
    line, backslash, _ = first.partition(" \\")
    line, _, hashes = line.partition(" --hash")
    named, _, marker = line.partition(" ; ")
    if named.partition("==")[0] in LEFT_OUT or (marker and not Marker(marker).evaluate(IMAGE)):
        return ""
    return "\n".join([named + (f" --hash{hashes}" if hashes else "") + backslash, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
