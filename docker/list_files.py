#!/usr/bin/env python3
"""Lists every file of a machine's own file system, a line each.

A line has path, type and mode, owner, time, size, and sha256 or target, with tabs between them.

`docker/run doit verify image=1` runs it in two images, and compares what it says.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

#: What a container gets from Docker.
GIVEN = {"/dev", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf", "/mnt", "/proc", "/sys", "/.dockerenv"}


def main() -> None:
    """Print the lines, sorted by path."""
    waiting = ["/"]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name, reverse=True)
        for entry in found:
            if entry.path in GIVEN:
                continue
            sys.stdout.write(line_of(entry.path, entry.stat(follow_symlinks=False)))
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def line_of(path: str, facts: os.stat_result) -> str:
    """One line; a tab or a newline in a name is shown as an escape."""
    content = "-"
    if stat.S_ISLNK(facts.st_mode):
        content = str(Path(path).readlink())
    elif stat.S_ISREG(facts.st_mode):
        with Path(path).open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
    size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    cells = (path, stat.filemode(facts.st_mode), f"{facts.st_uid}:{facts.st_gid}", int(facts.st_mtime), size, content)
    return "\t".join(str(cell).encode("unicode_escape").decode() for cell in cells) + "\n"


if __name__ == "__main__":
    main()
