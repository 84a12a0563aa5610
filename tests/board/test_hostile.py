"""Boards that lie, flood, stall or are in other hands; over a real sshd, on this side in this process."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.boards import MODEL, Sshd, make_bundle
from utils import limits, paths
from utils.board import Bundle, Outcome, answers
from utils.board.answers import read_report
from utils.board.ssh import Ssh
from utils.errors import BoardError, BuildError

pytestmark = pytest.mark.slow

ESC = "\x1b]0;owned\x07"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def board(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    """The client of ``sshd``."""
    monkeypatch.setenv("ZOO_SSH_OPTIONS", sshd.options)
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    return Ssh(sshd.target)


def measure(board: Ssh, bundle: Bundle) -> Outcome:
    return board.measure(bundle, print)


def folder_of(sshd: Sshd) -> Path:
    return sshd.home / "nxp-model-zoo" / MODEL


# Folders that others can change


def test_the_folder_is_this_user_s_alone(board: Ssh, sshd: Sshd, bundle: Bundle) -> None:
    old = folder_of(sshd)
    old.mkdir(parents=True)
    old.chmod(0o755)  # as older versions made it
    outcome = measure(board, bundle)
    assert outcome.code == 0, outcome.err
    assert read_report(outcome, bundle, "board").models[0].verdict == "PASS"
    for folder in (old, old / ".parts"):
        assert folder.stat().st_mode & 0o7777 == 0o700
    assert {file.stat().st_mode & 0o077 for file in old.iterdir()} == {0}


def test_nothing_beside_example_py_is_imported(board: Ssh, sshd: Sshd, bundle: Bundle) -> None:
    mark = sshd.folder / "owned"
    for folder in (folder_of(sshd), sshd.home):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("argparse", "json", "hashlib", "runpy"):
            (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')\n")
    assert measure(board, bundle).code == 0
    assert not mark.exists()


def test_a_link_instead_of_the_parts(board: Ssh, sshd: Sshd, bundle: Bundle) -> None:
    precious = sshd.folder / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    folder_of(sshd).mkdir(parents=True)
    (folder_of(sshd) / ".parts").symlink_to(precious)
    with pytest.raises(BoardError, match=r"/\.parts on the board is a link"):
        measure(board, bundle)
    assert (precious / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_instead_of_a_part(board: Ssh, sshd: Sshd, bundle: Bundle, kind: str) -> None:
    precious = sshd.folder / "precious"
    precious.write_text("mine")
    parts = folder_of(sshd) / ".parts"
    parts.mkdir(parents=True)
    for name, digest in bundle.files.items():
        for link in (parts / digest, folder_of(sshd) / name):
            link.symlink_to(precious) if kind == "symbolic" else link.hardlink_to(precious)
    assert measure(board, bundle).code == 0
    assert precious.read_text() == "mine"
    assert not (folder_of(sshd) / "example.py").is_symlink()


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_folder_that_others_can_write(board: Ssh, sshd: Sshd, bundle: Bundle, above: int) -> None:
    folder_of(sshd).mkdir(parents=True)
    [folder_of(sshd), *folder_of(sshd).parents][above].chmod(0o777)
    with pytest.raises(BoardError, match=r"on the board can be written by others \(mode 0777\)") as caught:
        measure(board, bundle)
    assert "chmod go-w" in caught.value.hint
    assert "/tmp" not in caught.value.hint
    assert not (folder_of(sshd) / "example.py").exists()


def test_a_sticky_folder_above_is_no_harm(
    board: Ssh, sshd: Sshd, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sshd.home / "sticky").mkdir()
    (sshd.home / "sticky").chmod(0o1777)
    monkeypatch.setenv("ZOO_BOARD_FOLDER", "~/sticky/zoo")
    board = Ssh(board.target)
    assert measure(board, bundle).code == 0
    assert (sshd.home / "sticky" / "zoo").stat().st_mode & 0o7777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_folder_of_another_user(board: Ssh, sshd: Sshd, bundle: Bundle, above: int, kind: str) -> None:
    theirs = [folder_of(sshd), *folder_of(sshd).parents][above]
    theirs.parent.mkdir(exist_ok=True)
    elsewhere = sshd.home / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        theirs.symlink_to(elsewhere)
    else:
        theirs.mkdir()
    os.chown(theirs, 1234, 1234, follow_symlinks=False)
    with pytest.raises(BoardError, match=r"on the board (belongs to user 1234|is a link)"):
        measure(board, bundle)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["../../.bashrc", "/etc/cron.d/x", "a/../../b", ".parts/x", "a//b", "a\\b", "a\x1bb"])
def test_a_name_that_leads_out(board: Ssh, sshd: Sshd, bundle: Bundle, name: str) -> None:
    """The board refuses it, whoever sends it."""
    (bundle.folder / "x").write_text("x")
    files = {**bundle.files, name: hashlib.sha256(b"x").hexdigest()}
    with pytest.raises(BoardError, match="is not the name of a file in a bundle"):
        measure(board, Bundle(MODEL, bundle.folder, files))
    assert {file.name for file in sshd.home.iterdir()} <= {"nxp-model-zoo"}


@pytest.mark.parametrize("line", ["../x", "/etc/passwd", "link"])
def test_a_bundle_that_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """This side refuses it too."""
    from utils.recipe.load import find_recipe

    monkeypatch.setattr(paths, "ARTIFACTS", tmp_path)
    (tmp_path / "x").write_text("x")
    folder = make_bundle(tmp_path / MODEL).folder
    (folder / "link").symlink_to(tmp_path / "x")
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(b'x').hexdigest()}  {line}\n")
    with pytest.raises(BuildError, match=r"malformed line|is a link"):
        Bundle.of(find_recipe(MODEL))


# Words


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "shift_jis"])
def test_a_greeting_in_any_encoding(board: Ssh, sshd: Sshd, bundle: Bundle, encoding: str) -> None:
    text = {"shift_jis": "ようこそ"}.get(encoding, "Grüße {\n{ \x1b[2J")
    (sshd.folder / "greeting").write_bytes(f"{text}\n".encode(encoding))
    script = (sshd.folder / "board").read_text().removeprefix("#!/bin/sh\n")
    sshd.board(f"cat {sshd.folder}/greeting; cat {sshd.folder}/greeting >&2; {script}")
    assert read_report(measure(board, bundle), bundle, "board").models


def test_what_a_board_says_does_not_act(board: Ssh, sshd: Sshd, bundle: Bundle) -> None:
    for script in (f"printf '{ESC}' >&2; exit 1", f"printf 'Hello {ESC}'", _answer({"problem": ESC, "path": ESC})):
        sshd.is_python(script)
        with pytest.raises(BoardError) as caught:
            measure(board, bundle)
        assert str(caught.value).replace("\n", "").isprintable()
        assert "owned" in str(caught.value)


def test_a_board_does_not_speak_for_ssh(board: Ssh, sshd: Sshd, bundle: Bundle) -> None:
    """Else it could have its key taken out of known_hosts."""
    sshd.is_python("echo 'REMOTE HOST IDENTIFICATION HAS CHANGED' >&2; exit 255")
    with pytest.raises(BoardError) as caught:
        measure(board, bundle)
    assert "ssh-keygen" not in str(caught.value)


def _answer(answer: Any) -> str:
    return f"/bin/cat >/dev/null; /bin/cat <<'EOF'\n{answers.MARK}{json.dumps(answer)}\nEOF"


FACTS = {"os": {}, "kernel": "6", "machine": "aarch64", "model": "", "python": "3.11", "delegates": {}}
PROBED = {"bsp": FACTS, "folder": "/x", "same": [], "parts": {}, "free": 10**9}


@pytest.mark.parametrize(
    "answer",
    [
        [], "x", 1, None, {}, {"problem": 1, "path": "x"}, {"problem": "ENOSPC"}, {**PROBED, "free": -1},
        {**PROBED, "free": "much"}, {**PROBED, "same": "all"}, {**PROBED, "same": [1]}, {**PROBED, "parts": {"x": 1}},
        {**PROBED, "parts": {"0" * 64: "1"}}, {**PROBED, "parts": {"0" * 64: 1e99}}, {**PROBED, "bsp": None},
        {**PROBED, "bsp": {**FACTS, "os": {"NAME": 1}}}, {**PROBED, "bsp": {**FACTS, "delegates": {"a": "b"}}},
        {**PROBED, "bsp": {**FACTS, "kernel": "x" * 10**5}}, {**PROBED, "more": 1}, {**PROBED, "free": 10**4000},
    ],
    ids=range(20),
)  # fmt: skip
def test_an_answer_of_other_types(answer: Any) -> None:
    said = f"Hello\n{answers.MARK}{json.dumps(answer)}\nlogout\n"
    with pytest.raises(BoardError):
        answers.parse_answer(answers.Probed, said, "board")


# Bounds


def test_a_flood(board: Ssh, sshd: Sshd, bundle: Bundle) -> None:
    import resource

    sshd.is_python("exec /bin/cat /dev/zero")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BoardError, match="printed more than 33,554,432 bytes"):
        measure(board, bundle)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_board_that_reads_nothing(board: Ssh, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BOARD_STALL_S", 3.0)
    bundle = make_bundle(tmp_path / "large", 20_000_000)
    script = (sshd.folder / "board").read_text().removeprefix("#!/bin/sh\n")
    sshd.board(f"case $SSH_ORIGINAL_COMMAND in *receive*) exec sleep 300;; esac; {script}")
    begin = time.monotonic()
    with pytest.raises(BoardError, match="it accepted no byte for 3 s"):
        measure(board, bundle)
    assert time.monotonic() - begin < 60


def test_a_board_that_trickles(board: Ssh, sshd: Sshd, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BOARD_ANSWER_S", 3.0)
    sshd.is_python("while :; do echo x; /bin/sleep 0.2; done")
    begin = time.monotonic()
    with pytest.raises(BoardError, match="no answer within 3 s"):
        measure(board, bundle)
    assert time.monotonic() - begin < 60


def test_a_session_ends(board: Ssh, sshd: Sshd, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each part of it stays within its own time."""
    monkeypatch.setattr(limits, "BOARD_SESSION_S", 3.0)
    sshd.is_python(f'case "$3" in run) exec /bin/sleep 300;; esac; exec {sys.executable} "$@"')
    with pytest.raises(BoardError, match=r"no answer within \d s"):
        measure(board, bundle)


# Reports


def test_the_mark_is_one() -> None:
    assert f'MARK = "{answers.MARK}"' in Path(answers.__file__).with_name("remote.py").read_text()


def said(report: Any) -> Outcome:
    return Outcome(None, 0, f"\n{json.dumps(report)}\n", "")


def test_a_report_must_fit_the_bundle(bundle: Bundle) -> None:
    whole = json.loads((bundle.folder / "report.json").read_text())
    assert len(read_report(said(whole), bundle, "board").models) == 2
    first, second = whole["models"]
    for models, why in (
        ([], "it has no entry for"),
        ([first], f"it has no entry for {second['file']}"),
        ([first, second, {**first, "file": "x.tflite"}], r"it has an entry for x\.tflite"),
        ([first, second, second], "two entries"),
        ([first, {**second, "sha256": "0" * 64}], "the sha256 of"),
        ([first, {key: value for key, value in second.items() if key != "sha256"}], "the sha256 of"),
        ([first, {**second, "variant": "float32"}], "is not the variant float32"),
        ([first, {key: value for key, value in second.items() if key != "check"}], "no verdict"),
        ([{"file": 1}], "file"),
        ("all", "models"),
        ([first, {**second, "owned": "x"}], "owned"),
        ([first, {**second, "first_ms": "fast"}], "first_ms"),
        ([first, {**second, "first_ms": -1}], "first_ms"),
        ([first, {**second, "delegate": "x" * 2**21}], "bytes"),
    ):
        with pytest.raises(BoardError, match=why):
            read_report(said({**whole, "models": models}), bundle, "board")
