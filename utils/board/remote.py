"""Runs on a board beside example.py: reports the board's facts, receives the files of a bundle, runs example.py.

It is sent with every call and never stored: ``python3 -c START VERB FOLDER``, this file on stdin, then JSON or files.
It needs only Python 3.6. It prints one line, ``MARK`` and a JSON object; login scripts may print before it. A problem
of the board is ``{"problem": errno name, "path": file}``.

The folder on the board belongs to this user, is closed to others, and no folder above it can be changed by another
user. No link in it is followed. Otherwise the answer is ``{"problem": "unsafe", "path": folder, "why": sentence}``.

A file in transfer is ``FOLDER/.parts/<sha256>``: a new connection resumes it. Complete and checked, it is renamed to
its place.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import runpy
import stat
import sys
from typing import Any, Dict, List, Sequence

#: Start of the one line that is ours.
MARK = "nxp-model-zoo: "

#: Libraries that run a model on an NPU, and the library folders of a BSP.
DELEGATES = ("libvx_delegate.so", "libethosu_delegate.so", "libneutron_delegate.so", "libtim-vx.so")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib")

BLOCK = 1 << 16
PARTS = ".parts"

OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in place of a file must not block


class UnsafeError(Exception):
    """Another user may have changed a folder or file."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path, self.why = path, why


def sha256(path: str) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def read(path: str) -> str:
    """Read a small file of the system; empty if it is missing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(BLOCK)
    except OSError:
        return ""


def bsp() -> Dict[str, Any]:
    """Collect the board's facts."""
    lines = [line.partition("=") for line in read("/etc/os-release").splitlines()]
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    found = [os.path.join(folder, name) for folder in (*folders, *LIBRARIES) for name in DELEGATES]
    return {
        "os": {key: value.strip("\"'") for key, equals, value in lines if equals},
        "kernel": platform.release(),
        "machine": platform.machine(),
        "model": read("/proc/device-tree/model").strip("\0\n"),
        "python": platform.python_version(),
        "delegates": {path: sha256(path) for path in found if os.path.isfile(path)},
    }


# Folders that no other user can change


def settle(path: str) -> str:
    """Find the real path of a folder, and make it if it is missing; every folder above is checked, from the root down.

    Only this user or root can replace the content of a checked folder, so a check stays valid.
    """
    real, links = "/", 0
    pending = path.split("/")[::-1]
    while pending:
        name = pending.pop()
        here = os.path.normpath(os.path.join(real, name))
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # made for another model meanwhile
                os.mkdir(here, 0o700)
            found = os.lstat(here)
        if found.st_uid not in (0, os.geteuid()):
            raise UnsafeError(here, "belongs to user %d" % found.st_uid)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), here)
            target = os.readlink(here)
            pending += target.split("/")[::-1]
            real = "/" if target.startswith("/") else real
            continue
        check_folder(here, found)
        real = here
    return real


def check_folder(path: str, found: os.stat_result) -> None:
    """Refuse a folder whose content others can replace; in a sticky one they cannot."""
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise UnsafeError(path, "can be written by others (mode %04o)" % stat.S_IMODE(found.st_mode))


def own(path: str) -> str:
    """Make a private folder of this user, or check that it is one."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeError(path, "is a link")
    if found.st_uid != os.geteuid():
        raise UnsafeError(path, "belongs to user %d" % found.st_uid)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if found.st_mode & 0o022:  # its content may be another user's
        raise UnsafeError(path, "can be written by others (mode %04o)" % stat.S_IMODE(found.st_mode))
    if stat.S_IMODE(found.st_mode) != 0o700:
        with contextlib.suppress(OSError):  # an SD card's file system without modes
            os.chmod(path, 0o700)
    return path


def place(folder: str, name: str) -> str:
    """Find the place of a file of the bundle, and make the folders above it."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or not name.isprintable() or "\\" in name or parts[0] == PARTS:
        raise UnsafeError(name, "is not the name of a file in a bundle")
    for part in parts[:-1]:
        folder = own(os.path.join(folder, part))
    return os.path.join(folder, parts[-1])


def part_of(folder: str, digest: str) -> str:
    """Find the place of a file in transfer."""
    if not re.match("[0-9a-f]{64}$", digest):
        raise UnsafeError(digest, "is not a sha256")
    return os.path.join(folder, PARTS, digest)


def is_ours(path: str) -> bool:
    """Whether it is a plain file of this user with one name, neither a symbolic nor a hard link."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()


# Requests


def probe(folder: str, wanted: Dict[str, str]) -> Dict[str, Any]:
    """Report the board's facts, and which of the files ``wanted`` (name -> sha256) it has."""
    answer: Dict[str, Any] = {"bsp": bsp(), "folder": folder, "same": [], "parts": {}, "free": 0}
    if not folder:
        return answer
    parts = own(os.path.join(folder, PARTS))
    for name in os.listdir(parts):  # from another build of the bundle, or not a part
        if name not in wanted.values() or not is_ours(os.path.join(parts, name)):
            os.remove(os.path.join(parts, name))
    for name, digest in wanted.items():
        path, part = place(folder, name), part_of(folder, digest)
        if is_ours(path) and sha256(path) == digest:
            answer["same"].append(name)
        elif is_ours(part):
            answer["parts"][digest] = os.path.getsize(part)
    os.close(os.open(os.path.join(parts, "try"), OPEN | os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # may it write?
    os.remove(os.path.join(parts, "try"))
    disk = os.statvfs(folder)
    answer["free"] = disk.f_bavail * disk.f_frsize
    return answer


def receive(folder: str) -> Dict[str, Any]:
    """Receive files from stdin: for each a line of JSON (name, sha256, offset, size), then its bytes from offset on."""
    damaged: List[str] = []
    own(os.path.join(folder, PARTS))
    for line in iter(sys.stdin.buffer.readline, b""):
        head = json.loads(line.decode())
        part, path = part_of(folder, head["sha256"]), place(folder, head["name"])
        with os.fdopen(os.open(part, OPEN | os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab", 0) as stream:
            if not is_ours(part):
                raise UnsafeError(part, "is a link, or not a file")
            stream.truncate(head["offset"])
            left = head["size"] - head["offset"]
            while left:
                block = sys.stdin.buffer.read(min(left, BLOCK))
                if not block:
                    return {"problem": "dropped", "path": path}  # readable by no one
                view = memoryview(block)
                while view:  # a nearly full disk accepts a part
                    view = view[stream.write(view) :]
                left -= len(block)
            os.fsync(stream.fileno())
        if sha256(part) != head["sha256"]:
            os.remove(part)
            damaged.append(head["name"])
            continue
        os.replace(part, path)
    return {"damaged": damaged}


def begin_in(folder: str, digest: str, program: str) -> Dict[str, Any]:
    """Enter the folder, if the program in it is unchanged."""
    path = place(folder, program)
    if not is_ours(path) or sha256(path) != digest:
        raise UnsafeError(path, "has changed since it was copied")
    os.chdir(folder)
    return {"runs": folder}


def answer_to(verb: str, folder: str, words: Sequence[str]) -> Dict[str, Any]:
    """Answer a request; a problem of the board is an answer too."""
    try:
        if folder:
            folder = os.path.abspath(os.path.expanduser(folder))
            folder = own(os.path.join(settle(os.path.dirname(folder)), os.path.basename(folder)))
        if verb == "receive":
            return receive(folder)
        if verb == "run":
            return begin_in(folder, *words[:2])
        return probe(folder, json.loads(sys.stdin.buffer.read().decode()))
    except UnsafeError as error:
        return {"problem": "unsafe", "path": error.path, "why": error.why}
    except OSError as error:
        return {"problem": errno.errorcode.get(error.errno or 0, str(error)), "path": str(error.filename or folder)}


def main(verb: str, folder: str, *words: str) -> None:
    """Handle the request, and print the answer.

    ``run`` continues as a program, ``words``: its sha256, its name, its arguments. Its folder is not in ``sys.path``:
    nothing beside it is imported.
    """
    answer = answer_to(verb, folder, words)
    print("\n" + MARK + json.dumps(answer))  # a greeting may lack a newline
    sys.stdout.flush()
    if "runs" in answer:
        sys.argv = list(words[1:])
        runpy.run_path(words[1], run_name="__main__")


main(*sys.argv[1:])
