"""The statement of a rebuild: in-toto Statement v1 with a verification summary of SLSA (https://slsa.dev/verification_summary/v1).

One statement a model. Its subjects are the model's artifacts as they were released or locked; it says ``PASSED`` if a
build of the commit made the same bytes of all of them, and else ``FAILED``. What the build made and where is in an
extension of the summary, whose name is a URI.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from utils import limits
from utils.errors import ReleaseError
from utils.untrusted import as_text, parse_as

__all__ = [
    "LOCK",
    "POLICY",
    "PREDICATE",
    "Environment",
    "Summary",
    "check",
    "cpu_model",
    "make",
    "read",
    "release_uri",
    "version_of_uri",
]

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/verification_summary/v1"

#: What the summary verifies: `doit MODEL` in a clean checkout of the commit makes the subjects' bytes.
POLICY = "urn:nxp-model-zoo:rebuild:v1"

#: What is rebuilt: the artifacts of artifacts.lock, or those of a release.
LOCK = "urn:nxp-model-zoo:lock"
_RELEASE = "urn:nxp-model-zoo:release:"

_REBUILDER = "urn:nxp-model-zoo:rebuilder:"

#: In the words of provenance: the image is ``docker``.
_REBUILDERS = {"image": f"{_REBUILDER}docker", "venv": f"{_REBUILDER}venv"}

#: Nothing is said about a level of SLSA: the summary is about bytes.
_LEVELS = {"PASSED": ["SLSA_BUILD_LEVEL_UNEVALUATED"], "FAILED": ["FAILED"]}

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")]
_File = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=150)]
_Words = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=120)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Digest(_Closed):
    sha256: _Sha256


class _Subject(_Closed):
    name: _File
    digest: _Digest


class _Verifier(_Closed):
    id: Literal["urn:nxp-model-zoo:rebuilder:docker", "urn:nxp-model-zoo:rebuilder:venv"]
    version: Annotated[dict[_Words, _Words], Field(max_length=50)] = {}


class _GitCommit(_Closed):
    gitCommit: _Commit  # noqa: N815  # its name in in-toto


class _Policy(_Closed):
    uri: Literal["urn:nxp-model-zoo:rebuild:v1"]
    digest: _GitCommit


class _Input(_Closed):
    uri: Annotated[str, Field(pattern=r"^provenance/[A-Za-z0-9_][A-Za-z0-9._-]*\.json$", max_length=200)]
    digest: _Digest


class Environment(_Closed):
    """Where a rebuild ran.

    Attributes:
        kind: in the image, or in a venv of the same lock.
        image: sha256 of the image; None where it is not known.
        requirements_sha256: of the locked requirements.
        cpu: its model, as Linux names it.
        python: version.
    """

    kind: Literal["image", "venv"]
    image: _Sha256 | None = None
    requirements_sha256: _Sha256
    cpu: _Words
    python: _Words


class _Rebuild(_Closed):
    model: Annotated[_File, Field(max_length=limits.NAME_CHARS)]
    commit: _Commit
    rebuilt: dict[_File, _Sha256 | Literal[""]]
    environment: Environment


class Summary(_Closed):
    """The predicate."""

    verifier: _Verifier
    timeVerified: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]  # noqa: N815  # its name in SLSA
    resourceUri: Annotated[  # noqa: N815
        str, Field(pattern=r"^urn:nxp-model-zoo:(lock|release:[0-9A-Za-z.+-]{1,64})$")
    ]
    policy: _Policy
    inputAttestations: list[_Input]  # noqa: N815
    verificationResult: Literal["PASSED", "FAILED"]  # noqa: N815
    verifiedLevels: list[str]  # noqa: N815
    slsaVersion: Literal["1.1"]  # noqa: N815
    rebuild: Annotated[_Rebuild, Field(alias=POLICY)]


class _Statement(_Closed):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[list[_Subject], Field(min_length=1, max_length=100)]
    predicateType: Literal["https://slsa.dev/verification_summary/v1"]  # noqa: N815
    predicate: Summary

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        found, made = self.predicate, self.predicate.rebuild
        subjects = {subject.name: subject.digest.sha256 for subject in self.subject}
        if len(subjects) < len(self.subject):
            raise ValueError("names a file twice")
        if made.rebuilt.keys() != subjects.keys():
            raise ValueError("its rebuilt files are not its subjects")
        result = _result_of(subjects, made.rebuilt)
        if found.verificationResult != result:
            raise ValueError(f"says {found.verificationResult}, and its hashes say {result}")
        if found.verifiedLevels != _LEVELS[result]:
            raise ValueError(f"its levels are not those of {result}")
        if found.policy.digest.gitCommit != made.commit:
            raise ValueError("names two commits")
        if found.verifier.id != _REBUILDERS[made.environment.kind]:
            raise ValueError("names two kinds of environment")
        wanted = set() if found.resourceUri == LOCK else {f"provenance/{name}.json" for name in subjects}
        inputs = [entry.uri for entry in found.inputAttestations]
        if len(inputs) > len(set(inputs)) or set(inputs) != wanted:
            raise ValueError("its input attestations are not those of its subjects")
        return self


def release_uri(version: str) -> str:
    """What a statement calls a release."""
    return _RELEASE + version


def version_of_uri(uri: str) -> str | None:
    """The version of the release that a statement calls so; None if it is about something else."""
    return uri.removeprefix(_RELEASE) if uri.startswith(_RELEASE) else None


def _result_of(subjects: Mapping[str, str], rebuilt: Mapping[str, str]) -> str:
    return "PASSED" if dict(subjects) == dict(rebuilt) else "FAILED"


def make(
    model: str,
    commit: str,
    resource: str,
    subjects: Mapping[str, str],
    rebuilt: Mapping[str, str],
    provenance: Mapping[str, str],
    environment: Environment,
    tools: Mapping[str, str],
    time: str,
) -> dict[str, Any]:
    """Make a statement.

    Args:
        model: its name.
        commit: what was built.
        resource: ``LOCK``, or the ``release_uri``.
        subjects: file -> sha256 as it was released or locked.
        rebuilt: file -> sha256 that the build made; empty where it made none. The same files.
        provenance: file -> sha256 of its provenance in the release; none for the lock.
        environment: where it was built.
        tools: package -> version.
        time: of the comparison, in RFC 3339 and UTC, to the second.

    Raises:
        ReleaseError: the statement would not be read back.
    """
    result = _result_of(subjects, rebuilt)
    made = {
        "_type": STATEMENT,
        "subject": [{"name": file, "digest": {"sha256": sha256}} for file, sha256 in sorted(subjects.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "verifier": {"id": _REBUILDERS[environment.kind], "version": dict(tools)},
            "timeVerified": time,
            "resourceUri": resource,
            "policy": {"uri": POLICY, "digest": {"gitCommit": commit}},
            "inputAttestations": [
                {"uri": f"provenance/{file}.json", "digest": {"sha256": sha256}}
                for file, sha256 in sorted(provenance.items())
            ],
            "verificationResult": result,
            "verifiedLevels": _LEVELS[result],
            "slsaVersion": "1.1",
            POLICY: {
                "model": model,
                "commit": commit,
                "rebuilt": dict(rebuilt),
                "environment": environment.model_dump(exclude_none=True),
            },
        },
    }
    check(json.dumps(made).encode(), where=model)
    return made


def read(text: bytes, where: str) -> tuple[dict[str, str], Summary]:
    """Parse a statement; returns its subjects (file -> sha256) and its predicate.

    Raises:
        ReleaseError: it is not such a statement, or contradicts itself.
    """
    found = parse_as(_Statement, text, where=where, error=ReleaseError)
    return {subject.name: subject.digest.sha256 for subject in found.subject}, found.predicate


def check(text: bytes, where: str) -> None:
    """Parse a statement, and check it with in-toto's own reader and its schema of a verification summary.

    Raises:
        ReleaseError: it is not such a statement.
    """
    read(text, where)
    try:
        _check_fields(text)
    except ValueError as error:  # in-toto's; protobuf's come as such
        raise ReleaseError(as_text(error), where=where) from None


def _check_fields(text: bytes) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    try:
        statement = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
        statement.validate()
        fields = json_format.MessageToDict(statement.pb.predicate)
        del fields["verifiedLevels"]  # a list in SLSA, one string in in-toto's schema
        # Readers ignore what they do not know: the extension, and the verifier's version, which SLSA added later.
        predicate = json_format.ParseDict(fields, vsa_pb2.VerificationSummary(), ignore_unknown_fields=True)
    except (json_format.ParseError, json_format.SerializeToJsonError) as error:
        raise ValueError(str(error)) from None
    for what, value in (
        ("verifier.id", predicate.verifier.id),
        ("timeVerified", predicate.time_verified.seconds),
        ("resourceUri", predicate.resource_uri),
        ("policy.uri", predicate.policy.uri),
        ("verificationResult", predicate.verification_result),
    ):
        if not value:
            raise ValueError(f"predicate.{what} is missing")


def cpu_model(text: str) -> str:
    """The name of the CPU in the text of /proc/cpuinfo, in plain characters; ``unknown`` where there is none."""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = " ".join(re.sub(r"[^ -~]", " ", found[1]).split()) if found else ""
    return name[:120] or "unknown"
