"""Put the content of catalogue.json together: the same bundles give the same bytes, on any day and machine."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from utils import limits, paths
from utils.bundle.rebuilds import find_rebuilds
from utils.catalogue.boards import boards_of, matrix_of, npu_of, reports_of
from utils.catalogue.facts import Facts, find_bundles, is_name, read
from utils.catalogue.parts import (
    Before,
    Claim,
    Classes,
    Data,
    File,
    Known,
    Measured,
    Previous,
    Rebuilt,
    Source,
    Variant,
)
from utils.catalogue.schema import FORMAT, Bsp, Catalogue, Damaged, Model, Release, Target
from utils.errors import DataError, ZooError
from utils.npu import bsp
from utils.npu.compat import TARGETS
from utils.untrusted import as_text, parse_as, read_untrusted

if TYPE_CHECKING:
    from utils.attest.rebuilds import Rebuild

__all__ = ["Collected", "Options", "cleaned", "collect", "load_previous"]

#: Addresses that may become links.
_ADDRESS = re.compile(r"https?://[^\s<>\"'`]+")

#: What a bundle says of the machine that made it, if its bytes may differ elsewhere.
_NOT_IDENTICAL = "It was built in a custom environment: the bytes may differ on other machines."


@dataclass(frozen=True)
class Options:
    """What the catalogue is made for.

    Attributes:
        release: the release that it belongs to.
        with_files: whether the site has copies of the models' files.
        archives: model -> path, from the site, of an archive that has its files; of a release.
        previous: the catalogue of the release before.
        trials: whether the site can run models in the browser: as far as the runtime can be had, always, or never.
        rebuilds: the folder of statements about rebuilds.
    """

    release: Release | None = None
    with_files: bool = False
    archives: dict[str, str] | None = None
    previous: Catalogue | None = None
    trials: Literal["if had", "always", "never"] = "if had"
    rebuilds: Path = paths.REBUILDS


@dataclass(frozen=True)
class Collected:
    """The content of catalogue.json, and the bundles that it is about.

    Attributes:
        content: as ``schema.py`` says.
        bundles: name -> facts of every whole bundle.
        notes: what was left out without being in the content, a sentence each.
    """

    content: dict[str, Any]
    bundles: dict[str, Facts]
    notes: list[str]

    def read(self, model: str, name: str) -> bytes | None:
        """The bytes of a bundle's file; None if it has none, or none that was checked."""
        facts = self.bundles.get(model)
        if facts is None or name not in facts.sums:
            return None
        return read_untrusted(facts.folder / name, where=f"{model}/{name}", error=DataError, most=limits.MODEL_BYTES)


def collect(folder: Path, options: Options | None = None) -> Collected:
    """Read every bundle of ``folder``.

    Raises:
        DataError: the folder cannot be read, or has too many.
    """
    options = options or Options()
    bundles: dict[str, Facts] = {}
    models: list[Model | Damaged] = []
    notes: list[str] = []
    for place in find_bundles(folder):
        try:
            facts = read(place)
            models.append(_model(facts, options, notes))
            bundles[facts.name] = facts
        except ZooError as error:
            models.append(_damaged(place.name, error))
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
            key = ".".join(str(part) for part in wrong["loc"])
            what = f"{key}: {wrong['msg']}"
            models.append(_damaged(place.name, DataError(what, hint=f"doit {place.name} builds it again")))
    content = Catalogue(
        format=FORMAT,
        title="nxp-model-zoo",
        release=options.release,
        bsps=[Bsp(name=found.name, confirmed=found.confirmed) for found in bsp.load_bsps().values()],
        targets=[_target(key, text) for key, text in TARGETS.items()],
        models=models,
    )
    return Collected(cleaned(content.model_dump(mode="json", by_alias=True)), bundles, notes)


def load_previous(release: Path) -> Catalogue:
    """Read the catalogue of a release, to compare with.

    Raises:
        DataError: it has none, or a damaged one.
    """
    file = release / "site" / "catalogue.json"
    hint = "name the folder of a release that has a site: release/1.2.0"
    where = as_text(file)
    return parse_as(Catalogue, read_untrusted(file, where=where, error=DataError, hint=hint), where=where,
                    error=DataError, hint=hint)  # fmt: skip


def cleaned(value: Any) -> Any:
    """The same value with every text on one line, and control and direction codes spelt out."""
    if isinstance(value, str):
        return value if value.isprintable() else as_text(value, limits.CATALOGUE_TEXT_CHARS)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value  # 1e999 is JSON, Infinity is not


def _target(key: str, text: str) -> Target:
    found = {"accelerator": key, "board": text.split(", ", 1)[0] if key != "cpu" else "either board", "text": text}
    return Target.model_validate(found)


def _damaged(name: str, error: ZooError) -> Damaged:
    shown = as_text(name, limits.NAME_CHARS)
    reason = f"{error.what} -> {error.hint}" if error.hint and is_name(name) else error.what
    page = f"models/{name}.html" if is_name(name) else None
    return Damaged(name=shown, title=shown, page=page, damaged=as_text(reason))


def _model(facts: Facts, options: Options, notes: list[str]) -> Model:
    """The entry of a bundle; ``notes`` gets what is left out of it."""
    card, graph, results = facts.manifest.card, facts.manifest.graph, facts.manifest.evaluation
    model, output = facts.model, facts.model.output
    figures = [name for name in facts.sums if re.fullmatch(r"figures/[A-Za-z0-9_]+\.png", name)]
    pictures = {Path(name).stem: f"models/{facts.name}/{Path(name).name}" for name in sorted(figures)}
    source = facts.manifest.sources.get(results.dataset)
    # Not what the bundle's card says of rebuilds: that is the bundle's own word.
    rebuilds = find_rebuilds(facts.name, {e.file: e.sha256 for e in model.variants.values()}, options.rebuilds)
    notes += rebuilds.notes
    return Model(
        name=facts.name,
        title=model.title,
        task=model.task,
        licence=model.licence,
        group=card.group,
        own_weights=model.weights == "user-supplied",
        redistributable=card.redistributable,
        weights=model.weights,
        page=f"models/{facts.name}.html",
        picture=pictures.get("result"),
        figures=pictures,
        introduction=card.introduction,
        limitations=card.limitations,
        summary=card.summary,
        data=Data(
            dataset=card.evaluation_set.name,
            id=card.evaluation_set.sha256,
            count=results.count,
            metric=card.metric,
            sampled=source is not None and source.count is not None,
        ),
        variants=_variants(facts, options),
        classes=_classes(facts),
        parameters=graph.parameters,
        macs=graph.macs,
        operators=graph.operators,
        input=cleaned(model.input),
        output=cleaned(output if isinstance(output, list) else [output]),
        boards=boards_of(facts),
        matrix=matrix_of(facts),
        npu=npu_of(facts),
        sources=_sources(facts),
        tools=facts.manifest.environment.tools,
        files=_files(facts, options),
        claims=[Claim.model_validate(claim.model_dump()) for claim in card.claims],
        targets=[Known.model_validate(known.model_dump()) for known in card.targets],
        measured=[Measured.model_validate(row.model_dump()) for row in card.measured],
        reports=reports_of(facts),
        rebuilds=[_rebuilt(name, found) for name, found in rebuilds.same],
        rebuilds_failed=[_rebuilt(name, found) for name, found in rebuilds.other],
        warnings=[*facts.left_out, *([] if facts.manifest.environment.bit_identical else [_NOT_IDENTICAL])],
        damaged=None,
        previous=_previous(facts, options),
        trial=None,
    )


def _variants(facts: Facts, options: Options) -> list[Variant]:
    """The files in the order of the recipe: what was built first, first."""
    results = facts.manifest.evaluation.variants
    verdicts = {entry.file: entry.check.verdict for entry in facts.manifest.validation.models}
    order = sorted(results, key=lambda variant: (results[variant].agreement is not None, variant))
    first = results[order[0]].accuracy
    found = []
    for variant in order:
        result, entry = results[variant], facts.model.variants[variant]
        found.append(
            Variant(
                variant=variant,
                file=entry.file,
                size=facts.sizes[entry.file],
                sha256=entry.sha256,
                accuracy=result.accuracy,
                agreement=result.agreement,
                loss=None if variant == order[0] else round(first - result.accuracy, 4),
                verdict=verdicts.get(entry.file, "not validated"),
                download=_download(facts, entry.file, options),
            )
        )
    return found


def _download(facts: Facts, file: str, options: Options) -> str | None:
    if not facts.manifest.card.redistributable:
        return None
    if options.archives is not None:
        return options.archives.get(facts.name)
    return f"models/{facts.name}/{file}" if options.with_files else None


def _classes(facts: Facts) -> Classes:
    results = facts.manifest.evaluation.variants
    few = {name: found.confusion for name, found in results.items() if found.confusion}
    scores = {name: found.iou or found.ap or {} for name, found in results.items()}
    return Classes(
        labels=list(facts.labels),
        confusion={name: rows for name, rows in few.items() if len(rows) <= limits.CATALOGUE_CELLS},
        scores={name: found for name, found in scores.items() if found},
    )


def _sources(facts: Facts) -> list[Source]:
    links = facts.manifest.card.links
    return [
        Source(
            name=source.name,
            url=links[key] if _ADDRESS.fullmatch(links.get(key, "")) else None,
            licence=source.licence,
            sha256=source.sha256,
        )
        for key, source in sorted(facts.manifest.sources.items())
    ]


def _files(facts: Facts, options: Options) -> list[File]:
    may = options.with_files and options.archives is None and facts.manifest.card.redistributable
    return [
        File(
            name=name,
            size=facts.sizes[name],
            sha256=digest,
            path=f"models/{facts.name}/{name}" if may else None,
        )
        for name, digest in sorted(facts.sums.items())
    ]


def _rebuilt(name: str, found: Rebuild) -> Rebuilt:
    return Rebuilt(
        name=as_text(name),
        commit=as_text(found.commit),
        builder=found.builder,
        cpu=as_text(found.cpu),
        time=as_text(found.time),
    )


def _previous(facts: Facts, options: Options) -> Previous | None:
    """What moved since the previous release; None without one."""
    if options.previous is None:
        return None
    version = options.previous.release.version if options.previous.release else "?"
    found = next((model for model in options.previous.models if model.name == facts.name), None)
    before = {entry.variant: entry for entry in found.variants} if isinstance(found, Model) else {}
    now = facts.model.variants
    return Previous(
        version=version,
        known=isinstance(found, Model),
        variants={
            variant: Before(
                accuracy=before[variant].accuracy if variant in before else None,
                size=before[variant].size if variant in before else None,
                sha256=before[variant].sha256 if variant in before else None,
                same=variant in before and variant in now and before[variant].sha256 == now[variant].sha256,
            )
            for variant in sorted(before.keys() | now.keys())
        },
    )
