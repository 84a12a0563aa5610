"""Damaged recipes, records and remembered digests, weights and data sets: read in this process, refused with words."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign.case import Case, Outcome
from tests.support.checkouts import ROOT
from utils import files, paths
from utils.errors import ZooError
from utils.graph import code, plan, record
from utils.model import datasets
from utils.model.own_weights import OwnWeights
from utils.recipe.load import find_recipe, load_recipes
from utils.sources.keep import keep_file

#: What a text file may be broken by.
_ODD = [
    *("\0", "\x1b]0;x\x07", "\ud7ff", "'", '"', '"""', "[", "]", "{", "}", "=", "\n", "\r", "#", "\\", ",", ".", " "),
    *("nan", "inf", "-0", "1e999", "0x", "1" * 5000, "9" * 300, "[" * 2000, "true", "1979-05-27T07:32:00Z", "{}", "[]"),
    *('"' + "x" * 300 + '"', '"\\u0000"', '"/dev/zero"', '"../../dodo.py"', '"."', '""', "-1", "0", "null", "../" * 50),
]


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Without end; each makes its files in a temporary folder of its own."""
    del folder
    makers = (_recipe, _recipe, _beside, _record, _digests, _idx, _class_index, _own_listing)
    while True:
        what, run = rng.choice(makers)(random.Random(rng.getrandbits(64)))
        yield Case("core", what, run)


def _broken(rng: random.Random, text: str) -> tuple[str, str]:
    """A text with one to three things changed, and what."""
    told = []
    for _ in range(rng.randint(1, 3)):
        at, odd = rng.randrange(len(text) + 1), rng.choice(_ODD)
        kind = rng.choice(["insert", "replace value", "cut", "repeat line", "drop line", "flip"])
        if kind == "insert":
            text = text[:at] + odd + text[at:]
        elif kind == "replace value":
            begin = text.find("= ", at) + 2
            end = text.find("\n", begin)
            text = text[:begin] + odd + text[end:] if begin > 1 and end > 0 else text + odd
        elif kind == "cut":
            text = text[:at]
        elif kind in {"repeat line", "drop line"}:
            lines = text.splitlines(keepends=True) or [""]
            index = rng.randrange(len(lines))
            lines[index : index + 1] = [lines[index]] * (2 if kind == "repeat line" else 0)
            text = "".join(lines)
        else:
            text = text[:at] + chr(rng.randrange(1, 0x3000)) + text[at + 1 :]
        told.append(f"{kind} {odd[:20]!a} at {at}")
    return text, ", ".join(told)


def _place(name: str) -> Path:
    """A folder of this case alone, with the recipes and the paths of a project."""

    root = Path(tempfile.mkdtemp(prefix=name))
    shutil.copytree(ROOT / "recipes", root / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("utils", "docker"):
        (root / folder).symlink_to(ROOT / folder)
    for constant, value in vars(paths).items():
        if isinstance(value, Path):
            setattr(paths, constant, root / value.relative_to(ROOT))
    os.environ["ZOO_CACHE"] = str(root / "cache")
    os.environ["ZOO_OFFLINE"] = "1"
    return root


def judged(read: Callable[[], object]) -> Outcome:
    """Right, or an error with a message that says where and cannot act on a terminal."""

    try:
        read()
    except ZooError as error:
        said = str(error)
        odd = {char for char in said if not char.isprintable()} - {"\n"}
        if odd or len(said) > 100_000 or not error.what:
            print(f"the message is odd: {odd} {len(said)}")
            return Outcome.WRONG
        return Outcome.CLEAR
    return Outcome.RIGHT


def _load_and_plan() -> None:

    for found in load_recipes().values():
        for step in plan.steps_of(found):
            step.is_current()


def _recipe(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    file = rng.choice(sorted((ROOT / "recipes").glob("*/recipe.toml"))).relative_to(ROOT)
    text, told = _broken(rng, (ROOT / file).read_text())

    def run() -> Outcome:
        (_place("recipe") / file).write_bytes(text.encode("utf-8", "surrogatepass"))
        return judged(_load_and_plan)

    return f"{file}: {told}", run


def _beside(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    names = [file.relative_to(ROOT) for end in ("lists/*.csv", "*/model.py", "*/recipe.toml")
             for file in sorted((ROOT / "recipes").glob(end))]  # fmt: skip
    file, kind = rng.choice(names), rng.choice(["pipe", "device", "folder", "circle", "bytes", "large", "text"])
    content = rng.randbytes(rng.randrange(3000))
    text, told = _broken(rng, (ROOT / file).read_text())

    def run() -> Outcome:
        path = _place("beside") / file
        path.unlink()
        make_odd(path, kind, content if kind == "bytes" else text.encode("utf-8", "surrogatepass"))
        return judged(_load_and_plan)

    return f"{file} is {kind} {told if kind == 'text' else ''}", run


def make_odd(path: Path, kind: str, content: bytes) -> None:
    """Put something that is no file of ours in a file's place."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in {"device", "circle"}:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(content)
        if kind == "large":
            os.truncate(path, 5 << 30)


def _json(rng: random.Random, value: object) -> object:
    """A JSON value with one part changed for something else."""
    odd = [None, True, -1, 1.5, "", "x" * 300, "\x1b[2J", [], {}, [[[]]], {"a": {"b": []}}, 10**30, [value]]
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        kind = rng.random()
        if kind < 0.15:
            return {name: part for name, part in value.items() if name != key}
        if kind < 0.3:
            return {**value, "odd": rng.choice(odd)}
        return {**value, key: _json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        return [*value[:index], _json(rng, value[index]), *value[index + 1 :]]
    return rng.choice(odd)


def _dumped(rng: random.Random, value: object) -> bytes:
    """A damaged JSON file."""
    kind, text = rng.random(), json.dumps(_json(rng, value))
    if kind < 0.6:
        return text.encode()
    if kind < 0.8:
        return _broken(rng, text)[0].encode("utf-8", "surrogatepass")
    return rng.choice([b"[" * 100_000, b"\xff\xfe", b"", b"1" * 6000, b"NaN", b'"\\ud800"', rng.randbytes(300)])


def _record(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    good = {"format": 1, "key": "key", "writes": {"a": {"size": 1, "sha256": "0" * 64}}}
    kind = rng.choice(["json", "json", "json", "pipe", "device", "folder", "circle", "large"])
    content = _dumped(rng, good)

    def run() -> Outcome:

        root = _place("record")
        target, mark = root / "a", root / "records" / "train.json"
        target.write_bytes(b"a")
        mark.parent.mkdir()
        make_odd(mark, kind, content)
        trusted = record.is_current(mark, "key", (target,))
        true = trusted and json.loads(content)["writes"]["a"] == files.describe_file(target)
        return Outcome.WRONG if trusted and not true else Outcome.RIGHT

    return f"a record is {kind} {content[:60]!r}", run


def _digests(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    kind = rng.choice(["json", "json", "json", "pipe", "device", "folder", "circle", "large"])
    seed = rng.getrandbits(64)

    def run() -> Outcome:

        root = _place("digests")
        step, file = root / "utils/steps/train.py", root / "build/code-digests/utils.steps.train.py.json"
        right, known = code.code_digest(step), file.read_bytes()
        looks = json.loads(known)["looks"]
        file.unlink()
        make_odd(file, kind, _dumped(random.Random(seed), json.loads(known)))
        code.forget_files()
        code._facts.cache_clear()
        found = code.code_digest(step)
        code.code_files(step)
        trusted = kind == "json" and file.is_file() and json.loads(file.read_bytes())["looks"] == looks
        return Outcome.RIGHT if found == right or trusted else Outcome.WRONG

    return f"a file of code-digests/ is {kind}, seed {seed}", run


def _idx(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    sizes = [rng.choice([0, 1, 3, 28, 60_000, 2**31, 2**32 - 1]) for _ in range(rng.choice([1, 1, 3, 3, 4, 40, 255]))]
    body = bytes(rng.choice([0, 1, 27, 784, 10_000]))
    raw = (
        b"\0\0" + bytes([rng.choice([8, 8, 8, 9, 0, 255]), len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + body
    )
    packed = gzip.compress(raw)
    kind = rng.choice(["whole", "whole", "cut", "flipped", "bomb", "plain"])
    if kind == "cut":
        packed = packed[: rng.randrange(len(packed))]
    elif kind == "flipped":
        at = rng.randrange(len(packed))
        packed = packed[:at] + bytes([packed[at] ^ (1 << rng.randrange(8))]) + packed[at + 1 :]
    elif kind == "plain":
        packed = raw

    def run() -> Outcome:

        file = _place("idx") / "a.gz"
        if kind == "bomb":
            with gzip.open(file, "wb", 1) as stream:
                stream.write(raw[: 4 + 4 * len(sizes)])
                for _ in range(300):
                    stream.write(bytes(10 << 20))
        else:
            file.write_bytes(packed)
        return judged(lambda: datasets.read_idx(file))

    return f"an idx file is {kind}, {sizes[:4]}, {len(sizes)} dimensions", run


def _class_index(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    content = _dumped(rng, {str(index): [f"n{index}", f"name_{index}"] for index in range(1000)})

    def run() -> Outcome:

        root = _place("labels")
        digest = hashlib.sha256(content).hexdigest()
        (root / "cache").mkdir()
        (root / "cache" / digest).write_bytes(content)
        found = find_recipe("mobilenet_v2")
        entry = found.sources[found.labels].model_copy(update={"sha256": digest, "size": len(content), "md5": None})
        changed = found.model_copy(update={"sources": {**found.sources, found.labels: entry}})

        def read() -> None:
            labels = datasets.labels(changed)
            assert len(labels) == 1000
            assert all(isinstance(label, str) for label in labels)

        return judged(read)

    return f"a class index is {content[:60]!r}", run


def _own_listing(rng: random.Random) -> tuple[str, Callable[[], Outcome]]:
    content = _dumped(rng, {"saved_model.pb": "0" * 64, "variables/variables.index": "1" * 64})

    def run() -> Outcome:

        root = _place("own")
        digest = keep_file(io.BytesIO(content), "listing")
        own = OwnWeights(path=root, is_folder=True, name="mine", size=1, sha256=digest, licence="")
        return judged(lambda: own.is_kept() or own.take(root / "taken"))

    return f"the listing of a folder of weights is {content[:60]!r}", run
