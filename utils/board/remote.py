"""What runs on a board beside example.py: tells the board's facts, takes in the files of a bundle, runs example.py.

It is sent along with every call and stays nowhere: ``python3 -c START VERB FOLDER``, this file on stdin, then JSON or
files. It needs Python 3.6 and nothing else. It prints one line, ``MARK`` and a JSON object; login scripts may print
before it. A problem of the board is ``{"problem": errno name, "path": file}``.

The folder on the board is of our own making: this user's, closed to others, and on a way that nobody else can change.
No link is followed in it. Else it is ``{"problem": "unsafe", "path": folder, "why": sentence}``.

A file on its way is ``FOLDER/.parts/<sha256>``: where a connection broke, the next one goes on. Whole and checked, it
is renamed to its place.
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

#: What our line of the output begins with.
MARK = "nxp-model-zoo: "

#: Libraries that run a model on an NPU, and where a BSP has libraries.
DELEGATES = ("libvx_delegate.so", "libethosu_delegate.so", "libneutron_delegate.so", "libtim-vx.so")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib")

BLOCK = 1 << 16
PARTS = ".parts"

OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in the place of a file must not block


class UnsafeError(Exception):
    """Somebody else may have a hand in a folder or file."""

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
    """A small file of the system; empty where it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(BLOCK)
    except OSError:
        return ""


def bsp() -> Dict[str, Any]:
    """What the board is."""
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


# Folders that nobody else can change


def settle(path: str) -> str:
    """The real path of a folder, made where it is not there; every folder on the way checked, from the root down.

    What stands in a checked folder only this user or root can exchange, so a check stays true.
    """
    real, links = "/", 0
    pending = path.split("/")[::-1]
    while pending:
        name = pending.pop()
        here = os.path.normpath(os.path.join(real, name))
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # of another model, at this moment
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
    """Refuse a folder in which others can exchange what is there; in a sticky one they cannot."""
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise UnsafeError(path, "can be written by others (mode %04o)" % stat.S_IMODE(found.st_mode))


def own(path: str) -> str:
    """Make a folder of this user alone, or check that it is one."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeError(path, "is a link")
    if found.st_uid != os.geteuid():
        raise UnsafeError(path, "belongs to user %d" % found.st_uid)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if found.st_mode & 0o022:  # what is in it may be another's
        raise UnsafeError(path, "can be written by others (mode %04o)" % stat.S_IMODE(found.st_mode))
    if stat.S_IMODE(found.st_mode) != 0o700:
        with contextlib.suppress(OSError):  # a card's file system without modes
            os.chmod(path, 0o700)
    return path


def place(folder: str, name: str) -> str:
    """Where a file of the bundle belongs; the folders above it are there then, and our own."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or not name.isprintable() or "\\" in name or parts[0] == PARTS:
        raise UnsafeError(name, "is no name of a file in a bundle")
    for part in parts[:-1]:
        folder = own(os.path.join(folder, part))
    return os.path.join(folder, parts[-1])


def part_of(folder: str, digest: str) -> str:
    """Where a file is while it is on its way."""
    if not re.match("[0-9a-f]{64}$", digest):
        raise UnsafeError(digest, "is no sha256")
    return os.path.join(folder, PARTS, digest)


def is_ours(path: str) -> bool:
    """Whether a plain file of this user is there, of one name: no link of either kind."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()


# What is asked


def probe(folder: str, wanted: Dict[str, str]) -> Dict[str, Any]:
    """The board's facts; and what it has of the files ``wanted``, by name their sha256."""
    answer: Dict[str, Any] = {"bsp": bsp(), "folder": folder, "same": [], "parts": {}, "free": 0}
    if not folder:
        return answer
    parts = own(os.path.join(folder, PARTS))
    for name in os.listdir(parts):  # of another build of the bundle, or no part at all
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
    """Take in files from stdin: for each a line of JSON (name, sha256, offset, size), then its bytes from offset on."""
    damaged: List[str] = []
    own(os.path.join(folder, PARTS))
    for line in iter(sys.stdin.buffer.readline, b""):
        head = json.loads(line.decode())
        part, path = part_of(folder, head["sha256"]), place(folder, head["name"])
        with os.fdopen(os.open(part, OPEN | os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab", 0) as stream:
            if not is_ours(part):
                raise UnsafeError(part, "is a link, or no file")
            stream.truncate(head["offset"])
            left = head["size"] - head["offset"]
            while left:
                block = sys.stdin.buffer.read(min(left, BLOCK))
                if not block:
                    return {"problem": "dropped", "path": path}  # nobody may read this
                view = memoryview(block)
                while view:  # a disk that is nearly full takes a part
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
    """Go to the folder, in which the program is what it was."""
    path = place(folder, program)
    if not is_ours(path) or sha256(path) != digest:
        raise UnsafeError(path, "is not the file that was copied")
    os.chdir(folder)
    return {"runs": folder}


def answer_to(verb: str, folder: str, words: Sequence[str]) -> Dict[str, Any]:
    """What is told of a request; a problem of the board where it is one."""
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
    """Do what is asked, and print the answer.

    ``run`` goes on with a program, ``words``: its sha256, its name, what it is given. It runs without its folder in
    ``sys.path``: nothing that lies beside it is imported.
    """
    answer = answer_to(verb, folder, words)
    print("\n" + MARK + json.dumps(answer))  # a greeting may have no end of line
    sys.stdout.flush()
    if "runs" in answer:
        sys.argv = list(words[1:])
        runpy.run_path(words[1], run_name="__main__")


main(*sys.argv[1:])
