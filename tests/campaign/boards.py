"""Boards that lie: reports, answers, greetings, folders and names of all kinds; some over a real sshd."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.campaign.case import Case, Outcome
from tests.support.boards import MODEL, make_bundle, make_report, start
from utils import board, limits, paths
from utils.board import answers
from utils.board.ssh import Ssh
from utils.bundle import board_report
from utils.bundle.boards import BEGIN, END, boards_part
from utils.errors import BoardError, ZooError
from utils.recipe.load import find_recipe

#: Texts that act: on a terminal, in Markdown, in HTML, in a table, in JSON, on a disk.
TEXTS = (
    "", "\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\r\x9b31m", "\u202e\u2066", "<script>alert(1)</script>", "](http://x) [a",
    "![x](http://x)", "| a | b |\n|---|---|\n# top", "`x` **y** ~~z~~", "--> <img src=x onerror=y>", END, BEGIN, "\0",
    "{{ 7 * 7 }}", "{% raw %}", "../../.bashrc", "/etc/passwd", "\ud800", "\U000e0041", "x" * 10_000, "é" * 600,
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 2**63, 10**400, 1e308, -0.0, [], {}, [[]], {"": ""}, [None] * 2000, {"a": {"b": "c"}},
    *TEXTS,
)  # fmt: skip
DOCUMENTS = (
    "", "null", "[]", "{}", "{" * 10_000, "[" * 100_000, '{"a":' * 5000, "NaN", "Infinity", '{"models": [1e999]}',
    "\ufeff{}", '{"models":[]}', "9" * 6000, '"' + "x" * 2_000_000 + '"', '{"problem": {}}',
)  # fmt: skip
GREETINGS = (
    b"", b"Gr\xfc\xdfe\n", "Grüße\n".encode("utf-16"), b"\xff\xfe\x00{\n", b"{\n", b"\n{", b"\x1b[2J\n", b"a" * 10**6,
    b"nxp-model-zoo:\n", b"\n" * 1000, b"\0" * 1000,
)  # fmt: skip


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Hostile boards without end; about one in twelve is a real sshd's."""
    kinds: list[Callable[[random.Random, Path], Case]] = [_report] * 5 + [_answer] * 2 + [_record] * 2
    kinds += [_name, _folder, _session]
    number = 0
    while True:
        number += 1
        own = random.Random(rng.random())
        yield rng.choice(kinds)(own, folder / str(number))


def _case(what: str, run: Callable[[], Outcome]) -> Case:
    def judged() -> Outcome:
        try:
            return run()
        except ZooError as error:
            print(error)
            return Outcome.CLEAR if _is_quiet(str(error).replace("\n", " ")) else Outcome.WRONG
        except Exception:
            traceback.print_exc()
            return Outcome.TRACEBACK

    return Case("boards", what, judged)


def _is_quiet(text: str) -> bool:
    """Whether a terminal shows it and does no more, and it has an end."""
    return text.isprintable() and len(text) < 10_000


# What is said


def _mutate(rng: random.Random, value: Any) -> tuple[Any, str]:
    """The value with one place of it changed, and what was done."""
    changed = copy.deepcopy({"": value})
    place, key, way = changed, "", []
    while True:
        inner: Any = place[key]  # type: ignore[index]
        way.append(str(key))
        if not inner or not isinstance(inner, dict | list) or rng.random() < 0.2:
            break
        place, key = inner, rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
    new = rng.choice(VALUES)
    verb = rng.choice(("set", "set", "set", "drop", "add", "twice"))
    if verb == "drop" and way != [""]:
        del place[key]
    elif verb == "add" and isinstance(inner, dict):
        inner[rng.choice(TEXTS)] = new
    elif verb == "twice" and isinstance(inner, list):
        inner *= 2
    else:
        place[key] = new  # type: ignore[index]
    return changed.get("", new), f"{verb} {'.'.join(way)[:60] or 'all'} {new!r:.40}"


def _acts(records: list[board_report.Record]) -> bool:
    """Whether something in the card is more than the text that a board said."""
    part = boards_part(records)
    body = part.removeprefix(BEGIN).removesuffix(END)
    rows = sum(len(record.report.models) for record in records)
    table = [line for line in body.splitlines() if line.startswith("|")]
    found = [
        not all(line.isprintable() for line in part.splitlines()),
        bool(re.search(r"<(?!!-- boards: )|(?<!\\)\]\(", part)),
        BEGIN in body or END in body,
        len(table) != rows + 2,
        any(len(re.findall(r"(?<!\\)\|", line)) != 9 for line in table),
        sum(line.startswith("#") for line in body.splitlines()) != 1,
    ]
    if any(found):
        print(found, body)
    return any(found)


def _record_of(report: Any) -> dict[str, Any]:
    facts = {"os": {"PRETTY_NAME": "x"}, "kernel": "6", "machine": "aarch64", "model": "m", "python": "3.11"}
    sums = {entry["file"]: entry["sha256"] for entry in report["models"]}
    bsp = {**facts, "delegates": {"/usr/lib/libvx_delegate.so": "0" * 64}}
    return {
        "format": 1, "target": "root@x", "date": "2026-01-01", "emulated": False, "bsp": bsp, "files": sums,
        "report": report,
    }  # fmt: skip


def _report(rng: random.Random, folder: Path) -> Case:
    bare, times, code = rng.random() < 0.1, rng.randint(1, 3), rng.choice((0, 0, 1, 4, 255))
    seed, noise = rng.random(), rng.choice(GREETINGS).decode(errors="replace")
    document, stderr = rng.choice(DOCUMENTS), rng.choice(TEXTS)

    def run() -> Outcome:
        bundle = make_bundle(folder)
        whole = report = make_report(folder)
        for step in range(times):
            report, done = _mutate(random.Random(seed + step), report)
            print(done)
        try:
            text = document if bare else json.dumps(report)
        except ValueError:  # thousands of digits: no board's Python writes them either
            return Outcome.RIGHT
        outcome = board.Outcome(None, code, text if bare else f"\n{text}\n{noise}", f"example.py: {stderr}")
        read = answers.read_report(outcome, bundle, "board")
        if {entry.file: entry.sha256 for entry in read.models} != bundle.models:
            return Outcome.WRONG
        record = board_report.parse_record(json.dumps(_record_of(whole) | {"report": report}).encode(), "board")
        return Outcome.WRONG if _acts([record]) else Outcome.RIGHT

    return _case(f"a report, changed {times} times, code {code}", run)


def _record(rng: random.Random, folder: Path) -> Case:
    seed, times, damage = rng.random(), rng.randint(1, 3), rng.randrange(4)

    def run() -> Outcome:
        make_bundle(folder)
        record: Any = _record_of(make_report(folder))
        for step in range(times):
            record, done = _mutate(random.Random(seed + step), record)
            print(done)
        try:
            data = json.dumps(record).encode()
        except ValueError:
            return Outcome.RIGHT
        cut = int(seed * len(data))
        data = (data, data[:cut], data[:cut] + b"\xff" + data[cut:], data.decode().encode("utf-16"))[damage]
        return Outcome.WRONG if _acts([board_report.parse_record(data, "stored")]) else Outcome.RIGHT

    return _case(f"a stored report, changed {times} times, damage {damage}", run)


def _answer(rng: random.Random, _folder: Path) -> Case:
    facts = {"os": {"ID": "x"}, "kernel": "6", "machine": "aarch64", "model": "", "python": "3.11", "delegates": {}}
    right: list[tuple[type[board_report.Closed], Any]] = [
        (answers.Probed, {"bsp": facts, "folder": "/x", "same": ["a"], "parts": {"0" * 64: 3}, "free": 10**9}),
        (answers.Received, {"damaged": []}),
        (answers.Running, {"runs": "/x"}),
        (answers.Probed, {"problem": "ENOSPC", "path": "/x"}),
    ]
    schema, whole = rng.choice(right)
    value, done = _mutate(rng, whole)
    bare, document = rng.random() < 0.2, rng.choice(DOCUMENTS)
    greeting = rng.choice(GREETINGS).decode(errors="replace")

    def run() -> Outcome:
        try:
            text = document if bare else json.dumps(value)
        except ValueError:
            return Outcome.RIGHT
        found = answers.parse_answer(schema, f"{greeting}\n{answers.MARK}{text}\n{greeting}", "board")
        if isinstance(found, answers.Problem):
            raise Ssh("board")._explain_problem(found, "/x")
        return Outcome.RIGHT

    return _case(f"an answer: {done}", run)


# What is done to a disk


def _name(rng: random.Random, folder: Path) -> Case:
    parts = ("..", ".", "", "a", "x", ".parts", "~", "\\", "\x1b", "/etc", " ", "é", "..\\..", "a\nb", "\x85")
    name = "/".join(rng.choice(parts) for _ in range(rng.randint(1, 4)))
    linked = rng.random() < 0.3

    def run() -> Outcome:
        paths.ARTIFACTS = folder / "artifacts"  # this process is the case's own
        bundle = make_bundle(paths.ARTIFACTS / MODEL)
        (folder / "x").write_bytes(b"x")
        if linked:
            (bundle.folder / "a").symlink_to(folder)
        for place in (folder, bundle.folder):
            for near in ("a", "x"):
                if not (place / near).exists() and place != folder:
                    (place / near).write_bytes(b"x")
        digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of b"x"
        (bundle.folder / "SHA256SUMS").write_text(f"{digest}  {name}\n", encoding="utf-8")
        found = board.Bundle.of(find_recipe(MODEL))
        inside = bundle.folder.resolve()
        leads_out = any(not (bundle.folder / file).resolve().is_relative_to(inside) for file in found.files)
        return Outcome.WRONG if leads_out else Outcome.RIGHT

    return _case(f"SHA256SUMS names {name!r}{', a link' if linked else ''}", run)


def _folder(rng: random.Random, folder: Path) -> Case:
    """A folder on the board with something else in the place of each part; remote.py runs here."""
    places = ("nxp-model-zoo", f"nxp-model-zoo/{MODEL}", f"nxp-model-zoo/{MODEL}/.parts", "part", "file", "import")
    place, kind = rng.choice(places), rng.choice(("link", "hard", "pipe", "file", "others", "dangling"))
    verbs = rng.choice((("probe", "receive", "run"), ("receive",), ("run",), ("probe", "run")))

    def run() -> Outcome:
        bundle = make_bundle(folder / "bundle")
        home, precious = folder / "home", folder / "precious"
        (home / "nxp-model-zoo" / MODEL / ".parts").mkdir(parents=True, mode=0o700)
        for made in (home, home / "nxp-model-zoo", home / "nxp-model-zoo" / MODEL):
            made.chmod(0o700)
        precious.mkdir()
        (precious / "mine").write_bytes(b"mine")
        where = home / "nxp-model-zoo" / MODEL
        digest = bundle.files["example.py"]
        spots = {"part": where / ".parts" / digest, "file": where / "example.py", "import": where / "argparse.py"}
        spot = spots.get(place, home / place)
        _put(spot, kind, precious, spot not in spots.values())
        said = b""
        for verb in verbs:
            done = _remote(verb, home, bundle)
            said += done.stdout + done.stderr
            if b"Traceback" in done.stderr and verb != "run":
                print(said)
                return Outcome.TRACEBACK
        made = {"link": MODEL, "dangling": "not"}.get(kind, "mine") if place == places[0] else "mine"
        allowed = {"mine", made}  # a user may link the whole to another place
        if {path.name for path in precious.iterdir()} - allowed or (precious / "mine").read_bytes() != b"mine":
            return Outcome.LOST
        if (folder / "owned").exists():
            return Outcome.WRONG
        return Outcome.CLEAR if b'"problem"' in said else Outcome.RIGHT

    return _case(f"on the board {place} is {kind}, then {' '.join(verbs)}", run)


def _put(spot: Path, kind: str, precious: Path, is_folder: bool) -> None:
    if kind == "others" and is_folder:
        spot.chmod(0o777)
        return
    if spot.is_dir():
        shutil.rmtree(spot)
    if kind == "link":
        spot.symlink_to(precious if is_folder else precious / "mine")
    elif kind == "dangling":
        spot.symlink_to(precious / "not")
    elif kind == "hard":
        spot.hardlink_to(precious / "mine")
    elif kind == "pipe":
        os.mkfifo(spot)
    else:
        spot.write_text(f"open({str(precious.parent / 'owned')!r}, 'w')\n")


def _remote(verb: str, home: Path, bundle: board.Bundle) -> subprocess.CompletedProcess[bytes]:
    program = Path(board.__file__).with_name("remote.py").read_bytes()
    payload = {"probe": json.dumps(bundle.files).encode(), "receive": b"", "run": b""}[verb]
    for name, digest in bundle.files.items() if verb == "receive" else ():
        data = (bundle.folder / name).read_bytes()
        payload += json.dumps({"name": name, "sha256": digest, "offset": 0, "size": len(data)}).encode() + b"\n" + data
    begin = f"import sys;sys.path[:]=filter(None,sys.path);exec(sys.stdin.buffer.read({len(program)}))"
    command = [sys.executable, "-c", begin, verb, f"nxp-model-zoo/{MODEL}"]
    command += [bundle.files["example.py"], "example.py"] if verb == "run" else []
    env = {**os.environ, "HOME": str(home)}
    return subprocess.run(command, input=program + payload, cwd=home, env=env, capture_output=True, timeout=50)


# Over sshd


def _session(rng: random.Random, folder: Path) -> Case:
    greeting, document = rng.choice(GREETINGS), rng.choice(DOCUMENTS)[:100_000]
    text = rng.choice(TEXTS).replace("\0", "").encode("utf-8", "replace").decode()
    code = rng.choice((0, 1, 4, 127, 255))
    say = shlex.quote(f"{answers.MARK}{document}")
    quoted = shlex.quote(text)
    kinds = {
        "floods": "exec cat /dev/zero",
        "floods stderr": "exec cat /dev/zero >&2",
        "trickles": "while :; do echo x; sleep 0.1; done",
        "reads nothing": "exec sleep 100",
        "says a document": f"cat >/dev/null; printf '%s\\n' {say}; exit {code}",
        "complains": f"printf '%s\\n' {quoted} >&2; exit {code}",
        "ends": f"exit {code}",
        "dies": "kill -9 $PPID",
        "greets": "",
    }
    kind = rng.choice(list(kinds))

    def run() -> Outcome:
        limits.BOARD_ANSWER_S = limits.BOARD_RUN_S = limits.BOARD_STALL_S = 20.0  # this process is the case's own
        limits.BOARD_SESSION_S, limits.BOARD_OUTPUT_BYTES = 30.0, 2**21
        paths.BUILD = folder / "build"
        bundle = make_bundle(folder / "bundle")
        with start(folder / "sshd") as sshd:
            os.environ["ZOO_SSH_OPTIONS"] = sshd.options
            (sshd.folder / "greeting").write_bytes(greeting)
            script = (sshd.folder / "board").read_text().removeprefix("#!/bin/sh\n")
            sshd.board(f"PATH=/usr/bin:/bin; cat {sshd.folder}/greeting; {kinds[kind]}\n{script}")
            begin = time.monotonic()
            try:
                outcome = Ssh(sshd.target).measure(bundle, _require_quiet)
                read = answers.read_report(outcome, bundle, sshd.target)
            finally:
                print(f"{time.monotonic() - begin:.1f} s")
        return Outcome.RIGHT if len(read.models) == 2 and kind == "greets" else Outcome.WRONG

    return _case(f"a board behind sshd {kind}, code {code}, greets with {greeting[:20]!r}", run)


def _require_quiet(text: str) -> None:
    if not _is_quiet(text):
        raise BoardError(text)
