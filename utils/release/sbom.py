"""bom.json: a CycloneDX 1.6 bill of materials of a release: models, their weights and data, and the tools.

cyclonedx-python-lib does not support model cards: this module writes the document, and checks it with the library's
schemas and SPDX list.
"""

from __future__ import annotations

import re
import time as clock
import uuid
from importlib import metadata
from typing import Any

from utils import files, limits, paths
from utils.errors import ReleaseError
from utils.release.model import ReleasedModel
from utils.tasks import task_of
from utils.untrusted import as_text, parse_json

__all__ = ["of", "packages", "parse", "stamp"]

#: One package of the lock, with its hashes.
_LOCKED = re.compile(
    r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)

_NAMESPACE = uuid.UUID("5f7f6f0a-6b3f-5c55-8d4e-3f3d2f5f7c11")


def of(models: list[ReleasedModel], version: str, commit: str, time: int) -> dict[str, Any]:
    """Make the bill of materials of a release."""
    machine = models[0].manifest["environment"]["machine"]
    tools = [_package(*entry) for entry in packages(machine)]
    components: dict[str, dict[str, Any]] = {}
    dependencies = []
    for model in models:
        sources = {key: _source(model, key, facts) for key, facts in sorted(model.manifest["sources"].items())}
        drawn = {key: _drawn(model, key) for key, found in model.recipe.datasets.items() if found.kind == "drawn"}
        for component in (*sources.values(), *drawn.values()):
            components.setdefault(component["bom-ref"], component)
        datasets = [c["bom-ref"] for c in (*sources.values(), *drawn.values()) if c["type"] == "data"]
        for file, facts in model.artifacts.items():
            artifact = _artifact(model, version, file, facts, datasets)
            components[artifact["bom-ref"]] = artifact
            needs = [c["bom-ref"] for c in (*sources.values(), *drawn.values(), *tools)]
            dependencies.append({"ref": artifact["bom-ref"], "dependsOn": sorted(set(needs))})
    root = f"pkg:generic/nxp-model-zoo@{version}"
    everything = [*components.values(), *tools]
    dependencies.insert(0, {"ref": root, "dependsOn": sorted(d["ref"] for d in dependencies)})
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": stamp(time),
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "nxp-model-zoo",
                "version": version,
                "purl": root,
                "licenses": _licences("MIT"),
                "properties": [_property("commit", commit)],
            },
        },
        "components": sorted(everything, key=lambda c: (c["type"], c["bom-ref"])),
        "dependencies": dependencies,
    }
    content = files.dump_json(bom)
    return {**bom, "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"}


def stamp(time: int) -> str:
    """Write seconds since 1970 in the form of RFC 3339."""
    return clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(time))


def parse(text: bytes) -> dict[str, Any]:
    """Parse a bill of materials, and check it with CycloneDX's own schema.

    Raises:
        ReleaseError: it is not JSON, too large, or refused by the schema.
    """
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = parse_json(text, where="", error=ReleaseError)
    if not isinstance(found, dict):
        raise ReleaseError("should be an object")
    if _comparisons(found) > limits.BOM_COMPARISONS:
        raise ReleaseError("has longer lists than a bill of materials needs")
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode())
    if error is not None:
        raise ReleaseError(as_text(error.data.message, 300))
    return found


def _comparisons(value: Any) -> int:
    """Count the pairs in the lists of a document: the schema compares them, because lists must have no duplicates."""
    if isinstance(value, list):
        return len(value) ** 2 + sum(map(_comparisons, value))
    return sum(map(_comparisons, value.values())) if isinstance(value, dict) else 0


def packages(machine: str) -> list[tuple[str, str, list[str]]]:
    """List name, version and wheel hashes of every package in the lock for a Linux ``machine``."""
    from packaging.markers import Marker

    here = {"sys_platform": "linux", "platform_machine": machine}
    return [
        (name, version, re.findall(r"[0-9a-f]{64}", hashes))
        for name, version, marker, hashes in _LOCKED.findall(paths.LOCK.read_text(encoding="utf-8"))
        if not marker or Marker(marker).evaluate(here)
    ]


def _package(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        **_licensed(_package_licence(name, version)),
        "externalReferences": [
            {  # one hash for each wheel: the Python version decides which one is installed
                "type": "distribution",
                "url": f"https://pypi.org/project/{name}/{version}/",
                "hashes": [{"alg": "SHA-256", "content": value} for value in hashes],
            }
        ],
    }


def _package_licence(name: str, version: str) -> str:
    """Get the short licence of an installed package; empty if it has none."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""
    if about["Version"] != version:  # a developer's own environment
        return ""
    said = next(iter(about.get_all("License-Expression") or about.get_all("License") or ()), "")
    if said and "\n" not in said and len(said) <= 60:
        return said.strip()
    classified = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License :: ")]
    return " AND ".join(classified)


def _licences(said: str) -> list[dict[str, Any]]:
    from cyclonedx.spdx import is_expression, is_supported_id

    if is_supported_id(said):
        return [{"license": {"id": said}}]
    return [{"expression": said}] if is_expression(said) else [{"license": {"name": said}}]


def _licensed(said: str) -> dict[str, Any]:
    return {"licenses": _licences(said)} if said else {}


def _source(model: ReleasedModel, key: str, facts: dict[str, Any]) -> dict[str, Any]:
    known = model.recipe.sources.get(key)
    weights = key in model.weights
    urls = known.urls if known and not facts.get("own") else []
    return {
        "type": "machine-learning-model" if weights else "data",
        "bom-ref": f"source:{facts['sha256']}",
        "name": facts["name"],
        "hashes": [{"alg": "SHA-256", "content": facts["sha256"]}],
        **_licensed(facts["licence"]),
        **({"description": known.what} if known else {}),
        **({} if weights else {"data": [{"type": "dataset", "name": facts["name"]}]}),
        "externalReferences": [{"type": "distribution", "url": url} for url in urls],
        "properties": [
            _property("size", facts["size"]),
            _property("pinned", str(facts["pinned"]).lower()),
            *([_property("redistribute", "false")] if key in model.withheld() else []),
        ],
    }


def _drawn(model: ReleasedModel, key: str) -> dict[str, Any]:
    facts = model.recipe.datasets[key].model_dump(mode="json")
    name = " ".join(f"{word} {value}" for word, value in sorted(facts.items()) if word != "kind")
    return {
        "type": "data",
        "bom-ref": f"drawn:{name.replace(' ', '-')}",
        "name": f"drawn digits, {name}",
        "description": "drawn by the pipeline itself",
        **_licensed(model.recipe.licence),
        "data": [{"type": "dataset", "name": f"drawn digits, {name}"}],
    }


def _artifact(
    model: ReleasedModel, version: str, file: str, facts: dict[str, Any], datasets: list[str]
) -> dict[str, Any]:
    recipe, evaluation = model.recipe, model.manifest["evaluation"]
    purl = f"pkg:generic/nxp-model-zoo/{file}@{version}?checksum=sha256:{facts['sha256']}"
    return {
        "type": "machine-learning-model",
        "bom-ref": f"artifact:{file}",
        "name": file,
        "version": version,
        "description": f"{recipe.title}, {facts['variant']}",
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": facts["sha256"]}],
        **_licensed(recipe.licence),
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": recipe.task,
                "datasets": [{"ref": ref} for ref in datasets],
                "inputs": [{"format": f"{recipe.input.what} {recipe.input.shape}"}],
                "outputs": [{"format": f"{output.kind} {output.shape}"} for output in recipe.outputs],
            },
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {
                        "type": evaluation["metric"],
                        "value": f"{facts['accuracy']:.4f}",
                        "slice": f"{evaluation['dataset']}, {evaluation['count']} {task_of(recipe).many}, in percent",
                    }
                ]
            },
            "considerations": {"technicalLimitations": [" ".join(recipe.card.limitations.split())]},
        },
        "properties": [_property("size", facts["size"]), _property("variant", facts["variant"])],
    }


def _property(name: str, value: object) -> dict[str, str]:
    return {"name": f"nxp-model-zoo:{name}", "value": str(value)}
