"""Every reader of strangers' files: how to call it, and valid files to begin with."""

from __future__ import annotations

import functools
import gzip
import io
import json
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support import boards, handmade
from tests.support.rebuilds import make_rebuilder, put
from tests.support.releases import make_keys, small_release
from utils import example
from utils.attest import rebuilds
from utils.board.answers import MARK, Probed, parse_answer
from utils.bundle import board_report
from utils.errors import BoardError, ReleaseError, ZooError
from utils.model import datasets, keras_config
from utils.npu import compat
from utils.release import archive, index, provenance, sbom, statement
from utils.sources import cache, formats
from utils.sources.unpack import unpack
from utils.untrusted import parse_json, read_untrusted

__all__ = ["READERS", "Reader", "is_refusal", "seeds"]

_SPEC = {"shape": [1, 28, 28, 1], "colour": "grey", "resize": "bilinear", "fit": "stretch"}


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        read: reads a file; raises ZooError or ``example.Problem`` where it refuses it.
        name: what the file has to be called.
        make: valid files, made in a folder.
    """

    read: Callable[[Path], object]
    name: str
    make: Callable[[Path], list[bytes]]


def _report(folder: Path) -> list[bytes]:
    return [(boards.make_bundle(folder).folder / "report.json").read_bytes()]


def _record(folder: Path) -> list[bytes]:
    report = json.loads(_report(folder)[0])
    record = {
        "format": 1, "target": "root@board", "date": "2026-01-31", "emulated": False, "bsp": _BSP, "report": report,
        "files": {entry["file"]: entry["sha256"] for entry in report["models"]},
    }  # fmt: skip
    return [json.dumps(record).encode(), json.dumps(record | {"memory": {"peak": 1, "limit": 2}}).encode()]


_BSP = {
    "os": {"NAME": "NXP i.MX Release Distro", "VERSION": "6.6-scarthgap"}, "kernel": "6.6.52", "machine": "aarch64",
    "model": "NXP i.MX8MPlus EVK board", "python": "3.12.9", "delegates": {"libvx_delegate.so": "0" * 64},
}  # fmt: skip


def _probed(_folder: Path) -> list[bytes]:
    probed = {"bsp": _BSP, "folder": "/root/.cache/zoo", "same": ["model.json"], "parts": {"0" * 64: 3}, "free": 10**9}
    problem = {"problem": "linked", "path": "/root/.cache/zoo", "why": "is a link"}
    return [f"Welcome\n{MARK}{json.dumps(found)}\n".encode() for found in (probed, problem)]


def _released(name: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        release = small_release(folder / "small", make_keys(folder / "keys"))
        return [file.read_bytes() for file in sorted(release.glob(name))]

    return make


def _records(_folder: Path) -> list[bytes]:
    return [json.dumps({"a" * 64: {"name": "weights.h5", "sha256": "b" * 64, "size": 5}}).encode()]


def _facts(folder: Path) -> list[bytes]:
    return [(handmade.make_bundle(folder / "bundle") / "model.json").read_bytes()]


def _model(_folder: Path) -> list[bytes]:
    return [handmade.pack(handmade.network(whole_numbers=whole)) for whole in (False, True)]


def _pictures(kinds: tuple[str, ...]) -> Callable[[Path], list[bytes]]:
    def make(_folder: Path) -> list[bytes]:
        found = []
        for kind in kinds:
            for mode in ("L", "RGB") if kind in {"JPEG", "PPM", "WEBP"} else ("L", "RGB", "P"):
                stream = io.BytesIO()
                Image.new(mode, (9, 7)).save(stream, kind)
                found.append(stream.getvalue())
        return found

    return make


def _npy(_folder: Path) -> list[bytes]:
    found = []
    for array in (np.zeros((28, 28, 1), np.uint8), np.zeros((1, 28, 28, 1), np.float32)):
        stream = io.BytesIO()
        np.save(stream, array)
        found.append(stream.getvalue())
    return found


def _tar(_folder: Path) -> list[bytes]:
    found = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as tar:
            for name in ("a/model.pb", "a/" + "long" * 40):
                member = tarfile.TarInfo(name)
                member.size = 5
                tar.addfile(member, io.BytesIO(b"bytes"))
            link = tarfile.TarInfo("a/link")
            link.type, link.linkname = tarfile.SYMTYPE, "model.pb"
            tar.addfile(link)
        found.append(stream.getvalue())
    return [*found, *_zip(_folder)]


def _zip(_folder: Path) -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/model.pb", b"bytes" * 9)
    return [stream.getvalue()]


def _idx(_folder: Path) -> list[bytes]:
    return [gzip.compress(struct.pack(">IIII", 0x803, 2, 3, 3) + bytes(18), mtime=0)]


def _config(_folder: Path) -> list[bytes]:
    layer = {"class_name": "Dense", "config": {"name": "dense", "units": 3, "activation": "relu"}}
    return [json.dumps({"class_name": "Sequential", "config": {"name": "a", "layers": [layer]}}).encode()]


def _rebuild(folder: Path) -> list[bytes]:
    return [put(small_release(folder), make_rebuilder(folder, "ann")).read_bytes()]


def _read_index(file: Path) -> object:
    return index.index_of(file.parent)


def _read_bundle(file: Path) -> object:
    return example.Bundle(str(file.parent))


def _read_graph(file: Path) -> object:
    return compat.as_text(file)


def _read_for_board(file: Path) -> object:
    return example.read_content(str(file))


def _read_picture(file: Path) -> object:
    return example.read_image(str(file), _SPEC)


def _unpack(file: Path) -> object:
    with tempfile.TemporaryDirectory(dir=file.parent) as to:
        return unpack(file, Path(to) / "there", max_bytes=1 << 20)


def _read_archive(file: Path) -> object:
    try:
        return archive.read_archive(file)
    except ValueError as error:  # which release:check adds to what is wrong
        raise ReleaseError(str(error), where=file.name) from None


def _find_misfits(file: Path) -> object:
    ends = (
        ".h5",
        ".tgz",
        ".tar.gz",
        ".zip",
        ".png",
        ".jpg",
        ".json",
        ".npz",
        ".tflite",
        ".keras",
        ".gz",
        ".bz2",
        ".xz",
    )
    return [formats.find_misfit(file, f"file{end}") for end in ends]


def _bytes_of(file: Path) -> bytes:
    return read_untrusted(file, where=file.name, error=ReleaseError)


#: Each reader by what it reads.
READERS = {
    "a board's answer": Reader(
        lambda file: parse_answer(Probed, file.read_bytes().decode("utf-8", "replace"), "board"), "answer", _probed
    ),
    "a board's report": Reader(
        lambda file: board_report.parse_report(file.read_bytes().decode("utf-8", "replace"), "board"), "report", _report
    ),
    "a stored report": Reader(lambda file: board_report.parse_record(file.read_bytes(), "board"), "record", _record),
    "release.json": Reader(_read_index, "release.json", _released("release.json")),
    "provenance": Reader(lambda file: provenance.check(_bytes_of(file)), "p.json", _released("provenance/*.json")),
    "a bill of materials": Reader(lambda file: sbom.parse(_bytes_of(file)), "bom.json", _released("bom.json")),
    "a signature": Reader(statement.read, "model.sig", _released("signatures/*.sig")),
    "a rebuild": Reader(lambda file: rebuilds.read_rebuild(_bytes_of(file), "r"), "rebuild.json", _rebuild),
    "recorded hashes": Reader(lambda file: cache.parse_records(_bytes_of(file), "r"), "unpinned.json", _records),
    "any JSON": Reader(lambda file: parse_json(_bytes_of(file), where="j", error=BoardError), "any.json", _record),
    "model.json": Reader(_read_bundle, "model.json", _facts),
    "a model, for the report": Reader(_read_graph, "model.tflite", _model),
    "a model, on the board": Reader(_read_for_board, "model.tflite", _model),
    "an image": Reader(_read_picture, "image", _pictures(("PNG", "BMP", "GIF", "JPEG", "PPM", "TIFF", "WEBP"))),
    "an array": Reader(_read_picture, "image.npy", _npy),
    "an archive": Reader(_unpack, "archive.tar.gz", _tar),
    "a released archive": Reader(_read_archive, "demo_nearest-0.1.0.tar.gz", _released("*.tar.gz")),
    "an idx file": Reader(datasets.read_idx, "images.gz", _idx),
    "a Keras config": Reader(lambda file: keras_config.read_config(file.read_bytes()), "config.json", _config),
    "a fetched file of any kind": Reader(_find_misfits, "fetched", lambda folder: [*_tar(folder), *_npy(folder)]),
}


def is_refusal(error: Exception) -> bool:
    """Whether a reader refused with words for people: bounded, and nothing in them acts on a terminal."""
    if not isinstance(error, (ZooError, example.Problem)):
        return False
    said = str(error)
    return len(said) < 20_000 and all(line.isprintable() for line in said.split("\n"))


@functools.cache
def seeds(name: str, folder: Path) -> tuple[bytes, ...]:
    """The valid files of a reader; made once a process and folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(READERS[name].make(folder))
