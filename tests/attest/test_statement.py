"""What a rebuild states: read back as it was made, and refused where it contradicts itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rebuilds import ENVIRONMENT
from utils.attest import statement
from utils.errors import ReleaseError

SUBJECTS = {"a_float32.tflite": "1" * 64, "a_int8.tflite": "2" * 64}
FACTS: dict[str, Any] = {
    "model": "a",
    "commit": "c" * 40,
    "resource": statement.release_uri("1.2.3-rc.1+x"),
    "subjects": SUBJECTS,
    "rebuilt": SUBJECTS,
    "provenance": dict.fromkeys(SUBJECTS, "3" * 64),
    "environment": ENVIRONMENT,
    "tools": {"numpy": "2.4.0"},
    "time": "2026-01-31T12:00:00Z",
}


def made(**changes: Any) -> dict[str, Any]:
    return statement.make(**{**FACTS, **changes})


def read(value: Any) -> tuple[dict[str, str], statement.Summary]:
    return statement.read(json.dumps(value).encode(), "here")


def test_it_says_what_was_rebuilt() -> None:
    subjects, found = read(made())
    assert subjects == SUBJECTS
    assert found.verificationResult == "PASSED"
    assert found.resourceUri == "urn:nxp-model-zoo:release:1.2.3-rc.1+x"
    assert found.verifier.id == "urn:nxp-model-zoo:rebuilder:venv"
    assert found.verifier.version == {"numpy": "2.4.0"}
    assert found.policy.digest.gitCommit == found.rebuild.commit == "c" * 40
    assert [entry.uri for entry in found.inputAttestations] == [f"provenance/{file}.json" for file in sorted(SUBJECTS)]
    assert found.rebuild.environment == ENVIRONMENT


@pytest.mark.parametrize("other", ["", "9" * 64])
def test_one_file_that_differs_fails_all(other: str) -> None:
    subjects, found = read(made(rebuilt={**SUBJECTS, "a_int8.tflite": other}))
    assert subjects == SUBJECTS
    assert found.verificationResult == "FAILED"
    assert found.verifiedLevels == ["FAILED"]
    assert found.rebuild.rebuilt["a_int8.tflite"] == other


def test_the_image_is_named_where_it_is_known() -> None:
    image = ENVIRONMENT.model_copy(update={"kind": "image", "image": "d" * 64})
    found = read(made(environment=image))[1]
    assert found.verifier.id == "urn:nxp-model-zoo:rebuilder:docker"
    assert found.rebuild.environment.image == "d" * 64
    assert "image" not in made()["predicate"][statement.POLICY]["environment"]


def test_the_lock_has_no_provenance() -> None:
    assert read(made(resource=statement.LOCK, provenance={}))[1].inputAttestations == []
    with pytest.raises(ReleaseError, match="its input attestations are not those of its subjects"):
        made(resource=statement.LOCK)


def put(*keys: str | int, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = value

    return change


EXTENSION = ("predicate", statement.POLICY)

#: A change, and what is said about it.
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "FAILED with equal hashes": (
        put("predicate", "verificationResult", value="FAILED"),
        "says FAILED, and its hashes say PASSED",
    ),
    "PASSED with other hashes": (
        put(*EXTENSION, "rebuilt", "a_int8.tflite", value="9" * 64),
        "says PASSED, and its hashes say FAILED",
    ),
    "PASSED with a file that was not made": (
        put(*EXTENSION, "rebuilt", "a_int8.tflite", value=""),
        "says PASSED, and its hashes say FAILED",
    ),
    "a result of its own": (put("predicate", "verificationResult", value="passed"), "predicate.verificationResult: "),
    "levels of its own": (put("predicate", "verifiedLevels", value=["SLSA_BUILD_LEVEL_3"]), "its levels are not those"),
    "other files": (put(*EXTENSION, "rebuilt", value={"b.tflite": "1" * 64}), "its rebuilt files are not its subjects"),
    "a file twice": (lambda found: found["subject"].append(found["subject"][0]), "names a file twice"),
    "no file": (lambda found: found["subject"].clear(), "subject: "),
    "two commits": (put(*EXTENSION, "commit", value="d" * 40), "names two commits"),
    "two environments": (put(*EXTENSION, "environment", "kind", value="image"), "names two kinds of environment"),
    "another predicate": (put("predicateType", value="https://slsa.dev/provenance/v1"), "predicateType: "),
    "another policy": (put("predicate", "policy", "uri", value="urn:x"), "predicate.policy.uri: "),
    "another resource": (put("predicate", "resourceUri", value="urn:x"), "predicate.resourceUri: "),
    "a path": (put("subject", 0, "name", value="../a_int8.tflite"), "subject.0.name: "),
    "an escape": (put(*EXTENSION, "environment", "cpu", value="\x1b[2J"), "cpu: "),
    "a long name": (put(*EXTENSION, "environment", "cpu", value="x" * 121), "cpu: "),
    "no time": (put("predicate", "timeVerified", value="now"), "predicate.timeVerified: "),
    "another key": (put("predicate", "more", value=1), "predicate.more: "),
    "an input less": (lambda found: found["predicate"]["inputAttestations"].pop(), "its input attestations are not"),
    "an input twice": (
        lambda found: found["predicate"]["inputAttestations"].append(found["predicate"]["inputAttestations"][0]),
        "its input attestations are not",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_contradicts_itself_is_refused(what: str) -> None:
    change, said = WRONG[what]
    value = made()
    change(value)
    with pytest.raises(ReleaseError, match=re.escape(said)) as caught:
        read(value)
    assert str(caught.value).startswith("here: ")


def test_in_totos_own_reader_takes_it() -> None:
    text = json.dumps(made()).encode()
    statement.check(text, "here")
    with pytest.raises(ReleaseError, match="timeVerified"):  # a day that our own schema does not look at
        statement.check(text.replace(b"2026-01-31T", b"2026-13-31T"), "here")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD  EPYC 7B13\nmodel name\t: other\n", "AMD EPYC 7B13"),
        ("model name\t: a\x1b[2Jb\u00e9\n", "a [2Jb"),
        ("model name : " + "x" * 300 + "\n", "x" * 120),
        ("CPU implementer\t: 0x41\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_cpu_is_called_by_its_name(text: str, name: str) -> None:
    assert statement.cpu_model(text) == name


def test_a_release_is_told_by_its_version() -> None:
    assert statement.version_of_uri(statement.release_uri("1.2.3-rc.1+x")) == "1.2.3-rc.1+x"
    assert statement.version_of_uri(statement.LOCK) is None
