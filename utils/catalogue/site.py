"""Write the site: pages, pictures, files and catalogue.json, in one move, with the same bytes for the same content."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.catalogue import markup, views
from utils.errors import BuildError

__all__ = ["write_site"]

#: Gives the bytes of a file in a model's bundle, by its name there; None if there is no such file.
Read = Callable[[str, str], bytes | None]

#: The file that makes a folder a site: a folder without it is never replaced.
MARK = "catalogue.json"

#: Files of ``pages/`` that are in every site, as they are.
ASSETS = ("style.css", "catalogue.js")

#: A picture of the card in the bundle, and the one on the overview.
_FIGURE = "figures/{}.png"
RESULT = _FIGURE.format("result")

#: Characters of all plots that the overview shows itself; a crowd of dots is on a page of its own.
PLOT_CHARS = 30_000

#: How the pictures begin that a page may show: PNG, JPEG. An SVG could hold a program.
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def write_site(
    content: dict[str, Any],
    plots: dict[str, str],
    read: Read,
    to: Path,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Write the site into ``to``; a site that is there is replaced once the new one is whole.

    Args:
        content: that of catalogue.json; a path in it whose file ``read`` does not have becomes null.
        plots: name -> SVG: ``accuracy-DATASET`` for the overview, ``npu-MODEL-BSP`` for the page of a model.
        read: gives the files of bundles.
        to: a folder that is not there, is empty, or is a site.
        more: path in the site -> bytes: what "try it" needs.

    Raises:
        BuildError: ``to`` is something else.
        OSError: it cannot be written.
    """
    if to.exists() and not ((to / MARK).is_file() or (to.is_dir() and not any(to.iterdir()))):
        hint = "name a folder that is not there yet"
        raise BuildError("is not a site: it is not replaced", where=paths.relative(to), hint=hint)
    with files.staging(to.parent, f".{to.name}.making.") as made:
        site = made.folder / to.name
        site.mkdir()
        _fill(site, copy.deepcopy(content), plots, read)
        for name in ASSETS:
            _write(site, name, (markup.PAGES / name).read_bytes())
        for name, data in sorted((more or {}).items()):
            _write(site, name, data)
        files.replace_folder(site, to)


def _fill(site: Path, content: dict[str, Any], plots: dict[str, str], read: Read) -> None:
    whole = _whole(content)
    cards = {model["name"]: (read(model["name"], "README.md") or b"").decode("utf-8", "replace") for model in whole}
    pictures = {model["name"]: _copy_files(site, model, cards[model["name"]], read) for model in whole}
    shared = _shared(content)
    shown = {name: markup.as_plot(text) for name, text in sorted(plots.items()) if text}
    _write(site, MARK, files.dump_json(content).encode())
    accuracy = {name.removeprefix("accuracy-"): text for name, text in shown.items() if name.startswith("accuracy-")}
    beside = sum(map(len, accuracy.values())) > PLOT_CHARS
    _write(
        site, "index.html", markup.render("index.html.j2", root="", plots=accuracy, beside=beside, **shared).encode()
    )
    if beside:
        _write(site, "plots.html", markup.render("plots.html.j2", root="", plots=accuracy, **shared).encode())
    for model in content["models"]:
        name = model["name"]
        if not _has_page(model):
            continue
        page = markup.render(
            "model.html.j2",
            root="../",
            model=model,
            card=cards.get(name, ""),
            pictures=pictures.get(name, {}),
            captions=markup.pictures_of(cards.get(name, "")),
            plots={npu["bsp"]: shown.get(f"npu-{name}-{npu['bsp']}") for npu in model.get("npu") or ()},
            **shared,
        )
        _write(site, f"models/{name}.html", page.encode())


def _has_page(model: dict[str, Any]) -> bool:
    """Whether it can have one: the folder of a damaged bundle may have any name."""
    return model["page"] is not None and _NAME.fullmatch(model["name"]) is not None


def _whole(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The models whose bundles are not damaged."""
    return [model for model in content["models"] if not model["damaged"]]


def _shared(content: dict[str, Any]) -> dict[str, Any]:
    """What every template is given."""
    bsps = [bsp["name"] for bsp in content["bsps"]]
    texts = {target["accelerator"]: target["text"] for target in content["targets"]}
    return {
        "content": content,
        "bsps": bsps,
        "texts": texts,
        "words": views.WORDS,
        "findings": views.findings_of(_whole(content)),
        "whole": _whole(content),
        "deployed": views.deployed,
        "lanes": lambda model: views.lanes(model, texts, bsps),
        "lines": views.lines,
        "notices": lambda model: views.notices(model, texts, bsps),
        "span_of": lambda some: views.span_of(some, bsps),
        "has_page": _has_page,
        "is_plain": lambda accelerator: views.is_plain(_whole(content), accelerator, bsps),
    }


def _copy_files(site: Path, model: dict[str, Any], card: str, read: Read) -> dict[str, str]:
    """Copy what the pages of a model show and offer; name of a picture in the bundle -> its address on the page."""
    name = model["name"]
    inside = f"models/{name}/"

    def copied(path: str | None, source: str) -> str | None:
        """The path, once its file is in the site; a path outside the model's folder is a release's own file."""
        if path is None or not path.startswith(inside):
            return path
        data = read(name, source)
        if data is None or not files.is_plain(path):
            return None
        _write(site, path, data)
        return path

    for variant in model["variants"]:
        variant["download"] = copied(variant["download"], variant["file"])
    for file in model["files"]:
        file["path"] = copied(file["path"], file["name"])
    found = {}
    for source in [RESULT, *(_FIGURE.format(each) for each in model["figures"]), *markup.pictures_of(card)]:
        path = inside + source.removeprefix("figures/")
        data = read(name, source) if source not in found and files.is_plain(path) else None
        if data is not None and data.startswith(_PICTURES):
            _write(site, path, data)
            found[source] = path.removeprefix("models/")
    there = {key: found.get(_FIGURE.format(key)) for key in model["figures"]}
    model["figures"] = {key: f"models/{address}" for key, address in there.items() if address}
    model["picture"] = f"models/{found[RESULT]}" if RESULT in found else None
    return found


def _write(site: Path, name: str, data: bytes) -> None:
    file = site / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
