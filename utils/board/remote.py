"""What runs on a board beside example.py: tells the board's facts, and takes in the files of a bundle.

It is sent along with every call and stays nowhere: ``python3 -c START probe FOLDER``, this file on stdin, then JSON
or files. It needs Python 3.6 and nothing else. It prints one JSON object; a problem of the board is ``{"problem":
errno name, "path": file}``.

A file on its way is ``FOLDER/.parts/<sha256>``: where a connection broke, the next one goes on. Whole and checked, it
is renamed to its place.
"""

import errno
import hashlib
import json
import os
import platform
import sys
from typing import Any, Dict, List

#: Libraries that run a model on an NPU, and where a BSP has libraries.
DELEGATES = ("libvx_delegate.so", "libethosu_delegate.so", "libneutron_delegate.so", "libtim-vx.so")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib")

BLOCK = 1 << 16


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
            return stream.read()
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


def probe(folder: str, wanted: Dict[str, str]) -> Dict[str, Any]:
    """The board's facts; and what it has of the files ``wanted``, by name their sha256."""
    answer: Dict[str, Any] = {"bsp": bsp(), "folder": folder, "same": [], "parts": {}, "free": 0}
    if not folder:
        return answer
    parts = os.path.join(folder, ".parts")
    os.makedirs(parts, exist_ok=True)
    for name in os.listdir(parts):  # of another build of the bundle
        if name not in wanted.values():
            os.remove(os.path.join(parts, name))
    for name, digest in wanted.items():
        path, part = os.path.join(folder, name), os.path.join(parts, digest)
        if os.path.isfile(path) and sha256(path) == digest:
            answer["same"].append(name)
        elif os.path.isfile(part):
            answer["parts"][digest] = os.path.getsize(part)
    with open(os.path.join(parts, "try"), "wb"):  # may this user write here?
        pass
    os.remove(os.path.join(parts, "try"))
    disk = os.statvfs(folder)
    answer["free"] = disk.f_bavail * disk.f_frsize
    return answer


def receive(folder: str) -> Dict[str, Any]:
    """Take in files from stdin: for each a line of JSON (name, sha256, offset, size), then its bytes from offset on."""
    damaged: List[str] = []
    for line in iter(sys.stdin.buffer.readline, b""):
        head = json.loads(line.decode())
        part, path = os.path.join(folder, ".parts", head["sha256"]), os.path.join(folder, head["name"])
        with open(part, "ab", buffering=0) as stream:
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
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.replace(part, path)
    return {"damaged": damaged}


def main(verb: str, folder: str) -> None:
    """Do what is asked, and print the answer."""
    try:
        folder = folder and os.path.abspath(os.path.expanduser(folder))
        answer = receive(folder) if verb == "receive" else probe(folder, json.loads(sys.stdin.buffer.read().decode()))
    except OSError as error:
        answer = {"problem": errno.errorcode.get(error.errno or 0, str(error)), "path": str(error.filename or folder)}
    print(json.dumps(answer))


main(*sys.argv[1:])
