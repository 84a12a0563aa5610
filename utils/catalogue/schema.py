"""The schema of catalogue.json, format 1: everything that the pages of the catalogue show.

``python -m utils.catalogue.schema`` writes it as JSON Schema beside ``docs/reference/catalogue.md``. The string below a
key is its description. All paths are relative to the folder of the site.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from utils import files, paths
from utils.catalogue.parts import (
    Board,
    Cell,
    Claim,
    Classes,
    Closed,
    Count,
    Data,
    File,
    Known,
    Measured,
    Npu,
    Previous,
    Rebuilt,
    Report,
    Source,
    Variant,
)

__all__ = ["FORMAT", "SCHEMA", "Bsp", "Catalogue", "Damaged", "Model", "Release", "Target", "as_json"]

FORMAT: Literal[1] = 1

#: The file of the JSON Schema.
SCHEMA = paths.ROOT / "docs" / "reference" / "catalogue.schema.json"


class Release(Closed):
    """The release that the catalogue belongs to."""

    version: str
    """Its version."""
    commit: str
    """The commit that it was built from."""


class Bsp(Closed):
    """A BSP of NXP."""

    name: str
    """As NXP writes it."""
    confirmed: bool
    """Whether its versions were read from the release, and not inferred."""


class Target(Closed):
    """What can compute a model."""

    accelerator: Literal["vx", "ethos_u", "cpu"]
    """Key in `matrix`."""
    board: str
    """Name of the board."""
    text: str
    """Both in words."""


class Model(Closed):
    """A whole bundle."""

    name: str
    """Name of the model."""
    title: str
    """Its display name."""
    task: str
    """Kind of task."""
    licence: str
    """Licence of the artifacts."""
    group: Literal["zoo", "demo"]
    """`demo`: trained and measured on drawn digits."""
    own_weights: bool
    """Whether it was made from user-supplied weights."""
    redistributable: bool
    """Whether the licence of its weights lets you pass it on."""
    weights: Literal["trained here", "as published", "user-supplied"]
    """Where the weights are from."""
    page: str
    """Its page."""
    picture: str | None
    """Input and output."""
    figures: dict[str, str]
    """Pictures of the card: name -> path in the site."""
    introduction: str
    """What it is."""
    limitations: str
    """What it is for, and what it is not for."""
    summary: str
    """In one line."""
    data: Data
    """The evaluation set: what the numbers of `variants` are about."""
    variants: list[Variant]
    """Its files."""
    classes: Classes
    """Accuracy by class."""
    parameters: Count
    """Learnt numbers."""
    macs: Count
    """Multiply-accumulates for one input."""
    operators: dict[str, Count]
    """Operators of the deployed file: name -> count."""
    input: dict[str, Any]
    """As in model.json."""
    output: list[dict[str, Any]]
    """As in model.json, always a list."""
    boards: list[Board]
    """For each board: what is predicted, what was measured."""
    matrix: list[Cell]
    """For each accelerator and BSP: the verdict."""
    npu: list[Npu]
    """What Vela estimates."""
    sources: list[Source]
    """What it was made from."""
    tools: dict[str, str]
    """What it was made with: name -> version."""
    files: list[File]
    """The bundle."""
    claims: list[Claim]
    """What others say about the model."""
    targets: list[Known]
    """What others found on boards."""
    measured: list[Measured]
    """Latencies that others published."""
    reports: list[Report]
    """What boards said."""
    rebuilds: list[Rebuilt] = Field(default_factory=list)
    """Who has rebuilt it with the same bytes; older catalogues do not have it."""
    rebuilds_failed: list[Rebuilt] = Field(default_factory=list)
    """Who has rebuilt it and got other bytes of a file of `variants`; older catalogues do not have it."""
    warnings: list[str]
    """What must be known before it is used."""
    damaged: None
    """Always null: the bundle is whole."""
    previous: Previous | None
    """What moved since the previous release; null if there is none to compare with."""
    trial: Annotated[dict[str, Any] | None, Field(alias="try")]
    """What the browser needs to run it; null if it cannot."""


class Damaged(Closed):
    """A bundle that cannot be shown."""

    name: str
    """Name of the folder."""
    title: str
    """The same."""
    page: str | None
    """Its page; null where no page can have the folder's name."""
    damaged: Annotated[str, Field(min_length=1)]
    """What is wrong, and what to do."""


class Catalogue(Closed):
    """catalogue.json."""

    format: Literal[1]
    """1."""
    title: Literal["nxp-model-zoo"]
    """Name of the zoo."""
    release: Release | None
    """The release that it belongs to; null if it was made from `artifacts/`."""
    bsps: list[Bsp]
    """All BSPs, oldest first."""
    targets: list[Target]
    """All accelerators."""
    models: list[Model | Damaged]
    """All bundles, sorted by name."""


def as_json() -> str:
    """The text of the JSON Schema."""
    schema = Catalogue.model_json_schema(ref_template="#/$defs/{model}")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    files.write_whole(SCHEMA, as_json())
