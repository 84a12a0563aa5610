"""The provenance of an artifact: in-toto Statement v1 with SLSA provenance v1, one for each artifact.

It has no times, so that two builds of one commit are equal. Only ``runDetails`` differs: between a build in the image
and one in a venv, and between steps that ran here and steps that were restored from a step cache.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import files, paths
from utils.errors import ReleaseError
from utils.graph.step import Step
from utils.release import lock
from utils.release.model import ReleasedModel
from utils.untrusted import as_text, parse_as, parse_json

__all__ = ["BUILD_TYPE", "PREDICATE", "builder_of", "check", "find_faults", "model_of", "of"]

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"

#: What the parameters mean: `doit MODEL` in a checkout of the commit, in the locked environment.
BUILD_TYPE = "urn:nxp-model-zoo:doit:v1"

#: The step whose record also depends on what boards have measured: a release is the same with and without it.
_WITH_BOARDS = "card"


def of(model: ReleasedModel, file: str, sha256: str, commit: str) -> dict[str, Any]:
    """Make the statement about ``file``, which contains all or one of the model's artifacts."""
    manifest, environment = model.manifest, model.manifest["environment"]
    variant = model.artifacts.get(file, {}).get("variant")
    return {
        "_type": STATEMENT,
        "subject": [{"name": file, "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "model": model.name,
                    **({"variant": variant} if variant else {}),
                    "recipe": {
                        "file": f"recipes/{model.recipe.folder}/recipe.toml",
                        "sha256": manifest["recipe_sha256"],
                    },
                    "parameters": dict(model.recipe.parameters),
                },
                "internalParameters": {key: environment[key] for key in ("machine", "pins", "threads", "tools")},
                "resolvedDependencies": [
                    {"name": "nxp-model-zoo", "digest": {"gitCommit": commit}},
                    {
                        "name": paths.relative(paths.LOCK),
                        "digest": {"sha256": environment["requirements_sha256"]},
                    },
                    *(_source(model, key, facts) for key, facts in sorted(manifest["sources"].items())),
                ],
            },
            "runDetails": {"builder": builder(), "byproducts": [_step(step) for step in model.steps()]},
        },
    }


def _source(model: ReleasedModel, key: str, facts: dict[str, Any]) -> dict[str, Any]:
    known = model.recipe.sources.get(key)
    uri = {"uri": known.urls[0]} if known and not facts.get("own") else {}
    return {
        "name": facts["name"],
        **uri,
        "digest": {"sha256": facts["sha256"]},
        "annotations": {"licence": facts["licence"], "size": facts["size"]},
    }


def _step(step: Step) -> dict[str, Any]:
    """One step of the build: its record, and whether it ran here, or who signed what was restored."""
    origin = step.origin()
    digest = {} if step.name == _WITH_BOARDS else {"digest": {"sha256": files.sha256(step.record)}}
    signer = {"signer": origin.get("signer") or "not checked"} if origin is not None else {}
    return {
        "name": f"step {step.name}",
        **digest,
        "annotations": {"made": "restored" if origin is not None else "run", **signer},
    }


def builder() -> dict[str, Any]:
    """Describe the environment of this process: the image, or a venv of the same lock."""
    image = os.environ.get("NXP_MODEL_ZOO_IMAGE", "")
    if not image:
        return {"id": "urn:nxp-model-zoo:builder:venv"}
    found: list[dict[str, Any]] = []
    if base := lock.base_image():
        name, _, digest = base.partition("@sha256:")
        found.append(
            {"name": name, **({"digest": {"sha256": digest}} if digest else {})}
        )  # none: built on this machine
    if image.startswith("sha256:"):  # docker/run sets it; a plain docker run does not
        found.append({"name": "nxp-model-zoo", "digest": {"sha256": image.removeprefix("sha256:")}})
    return {"id": "urn:nxp-model-zoo:builder:docker", "builderDependencies": found}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Resource(_Closed):
    name: str
    uri: str | None = None
    digest: dict[str, str] | None = None
    annotations: dict[str, str | int] | None = None


class _Builder(_Closed):
    id: str
    builderDependencies: list[_Resource] = []  # noqa: N815  # its name in SLSA


class _Run(_Closed):
    builder: _Builder
    byproducts: list[_Resource] = []  # since 0.2: the steps


class _Build(_Closed):
    buildType: str  # noqa: N815
    externalParameters: dict[str, Any]  # noqa: N815
    internalParameters: dict[str, Any]  # noqa: N815
    resolvedDependencies: list[_Resource]  # noqa: N815


class _Predicate(_Closed):
    buildDefinition: _Build  # noqa: N815
    runDetails: _Run  # noqa: N815


class _Statement(_Closed):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: list[_Resource]
    predicateType: str  # noqa: N815
    predicate: _Predicate


def builder_of(statement: dict[str, Any]) -> str:
    """Get the builder's id from a statement that ``check`` has read."""
    return str(statement["predicate"]["runDetails"]["builder"]["id"])


def model_of(statement: dict[str, Any]) -> str:
    """Get the model's name from a statement that ``check`` has read; empty if it has none."""
    return str(statement["predicate"]["buildDefinition"]["externalParameters"].get("model", ""))


def find_faults(statement: dict[str, Any], file: str, sha256: str, commit: str) -> list[str]:
    """Find what a statement that ``check`` has read says otherwise of a file."""
    wrong = []
    if statement["subject"] != [{"name": file, "digest": {"sha256": sha256}}]:
        wrong.append(f"is about another file than {file}")
    made_from = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    if {"gitCommit": commit} not in [entry.get("digest") for entry in made_from]:
        wrong.append(f"names another commit than {commit[:12]}")
    return wrong


def check(text: bytes) -> dict[str, Any]:
    """Parse a statement, and check it with in-toto's own reader and SLSA's schema.

    Raises:
        ReleaseError: it is not such a statement, or not one of ours.
    """
    parse_as(_Statement, text, where="", error=ReleaseError)
    try:
        _check_fields(text)
    except ValueError as error:  # in-toto's; protobuf's come as such
        raise ReleaseError(as_text(error)) from None
    found: dict[str, Any] = parse_json(text, where="", error=ReleaseError)
    return found


def _check_fields(text: bytes) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    try:
        statement = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
        statement.validate()
        if statement.pb.predicate_type != PREDICATE:
            raise ValueError(f"predicateType is {statement.pb.predicate_type}, not {PREDICATE}")
        predicate = json_format.ParseDict(
            json_format.MessageToDict(statement.pb.predicate),
            provenance_pb2.Provenance(),
        )
    except (json_format.ParseError, json_format.SerializeToJsonError) as error:
        raise ValueError(str(error)) from None
    for resource in (
        *predicate.build_definition.resolved_dependencies,
        *predicate.run_details.builder.builder_dependencies,
    ):
        ResourceDescriptor.copy_from_pb(resource).validate()
    for what, value in (
        ("buildDefinition.buildType", predicate.build_definition.build_type),
        ("buildDefinition.externalParameters", predicate.build_definition.external_parameters),
        ("runDetails.builder.id", predicate.run_details.builder.id),
    ):
        if not value:
            raise ValueError(f"predicate.{what} is missing")
