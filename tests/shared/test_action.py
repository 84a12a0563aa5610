"""The key of a result, and the result as a document that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.step_caches import digest
from utils import limits
from utils.errors import CorruptError
from utils.shared import action
from utils.shared.action import ActionResult, action_key, compare_files, parse_result

FILES = {"build/tiny/a": digest(b"a"), "build/tiny/b": digest(b"")}
RESULT = ActionResult(FILES, digest(b"signature"), "host")


def test_the_key_says_machine_locks_and_format(monkeypatch: pytest.MonkeyPatch) -> None:
    key = action_key("step", ("lock",))
    assert key == action_key("step", ["lock"])
    others = {action_key("other", ("lock",)), action_key("step", ("other",)), action_key("step", ("lock", "vela"))}
    monkeypatch.setattr(action.platform, "machine", lambda: "aarch64")
    others.add(action_key("step", ("lock",)))
    monkeypatch.undo()
    monkeypatch.setattr(action, "FORMAT", 2)
    others.add(action_key("step", ("lock",)))
    assert len(others | {key}) == 6


def test_it_comes_back_as_it_was_written() -> None:
    assert parse_result(RESULT.dump(), FILES, "x") == RESULT
    assert parse_result(ActionResult(FILES).dump(), FILES, "x") == ActionResult(FILES)


def test_it_is_what_bazel_s_servers_take() -> None:
    """proto3 JSON: 64-bit numbers as text, paths without a slash in front."""
    found = json.loads(RESULT.dump())
    assert found["outputFiles"][0] == {
        "path": ".signature", "digest": {"hash": digest(b"signature").sha256, "sizeBytes": "9"}, "isExecutable": False,
    }  # fmt: skip
    assert found["executionMetadata"] == {"worker": "host"}


def test_it_may_come_back_as_protojson_formats_it() -> None:
    """Other spaces, another order, and without what is 0, empty or false; with a field of the server's own."""
    found = json.loads(RESULT.dump())
    for file in found["outputFiles"]:
        del file["isExecutable"]
        if file["digest"]["sizeBytes"] == "0":
            del file["digest"]["sizeBytes"]
    del found["exitCode"]
    found["executionMetadata"]["queuedTimestamp"] = "2026-01-01T00:00:00Z"
    found["outputFiles"].reverse()
    assert parse_result(json.dumps(found).encode(), FILES, "x") == RESULT


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    found = json.loads(RESULT.dump())
    change(found)
    return json.dumps(found).encode()


def rename(path: str) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["outputFiles"][1].update(path=path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (changed(rename("build/tiny/c")), "names files that the step does not write: 'build/tiny/c'"),
        (changed(rename("../../etc/passwd")), "names files that the step does not write: '../../etc/passwd'"),
        (changed(rename("/etc/passwd")), "names files that the step does not write: '/etc/passwd'"),
        (changed(rename("build/tiny/../tiny/a")), "names files that the step does not write"),
        (changed(rename("build/tiny/b")), "names 'build/tiny/b' twice"),
        (changed(rename("")), "outputFiles.1.path"),
        (changed(rename("\x1b[31m")), "'\\\\x1b[31m'"),
        (changed(lambda found: found["outputFiles"].pop()), "lacks files: 'build/tiny/b'"),
        (changed(lambda found: found.update(outputFiles=[])), "lacks files"),
        (changed(lambda found: found.update(outputSymlinks=[{"path": "a", "target": "/etc"}])), "outputSymlinks"),
        (changed(lambda found: found.update(outputFileSymlinks=[{}])), "outputFileSymlinks"),
        (changed(lambda found: found.update(outputDirectorySymlinks=[{}])), "outputDirectorySymlinks"),
        (changed(lambda found: found.update(outputDirectories=[{"path": "build"}])), "outputDirectories"),
        (changed(lambda found: found.update(exitCode=3)), "is of a step that failed (exit code 3)"),
        (changed(lambda found: found["outputFiles"][1].update(isExecutable=True)), "names an executable file"),
        (changed(lambda found: found["outputFiles"][1]["digest"].update(hash="A" * 64)), "outputFiles.1.digest.hash"),
        (changed(lambda found: found["outputFiles"][1]["digest"].update(sizeBytes="-1")), "sizeBytes"),
        (changed(lambda found: found["outputFiles"][1]["digest"].update(sizeBytes=-1)), "has -1 bytes"),
        (changed(lambda found: found["outputFiles"][1]["digest"].update(sizeBytes="9" * 18)), "are allowed"),
        (changed(lambda found: found["outputFiles"][1]["digest"].update(sizeBytes="9" * 30)), "sizeBytes"),
        (changed(lambda found: found.update(outputFiles=[{}] * (limits.STEP_FILES + 1))), "outputFiles"),
        (b"", "is not JSON"),
        (b"\x00\xff", "is not JSON"),
        (b"[" * 100, "is not JSON"),
        (b"[]", "should be an object"),
        (b'{"exitCode": 1e999}', "exitCode"),
    ],
)  # fmt: skip
def test_another_document_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(CorruptError) as caught:
        parse_result(data, FILES, "https://steps.example/ac/1")
    assert says in str(caught.value)
    assert "https://steps.example/ac/1" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_what_a_worker_calls_itself_does_not_act() -> None:
    found = parse_result(changed(lambda found: found["executionMetadata"].update(worker="\x1b[2Jme")), FILES, "x")
    assert found.worker == "\\x1b[2Jme"


def test_differences_name_both_hashes() -> None:
    other = {"build/tiny/a": digest(b"other"), "build/tiny/c": digest(b"c")}
    lines = compare_files(FILES, other)
    assert [line.partition(":")[0] for line in lines] == ["build/tiny/a", "build/tiny/b", "build/tiny/c"]
    assert digest(b"a").sha256 in lines[0]
    assert digest(b"other").sha256 in lines[0]
    assert "there no such file" in lines[1]
    assert compare_files(FILES, dict(FILES)) == []
