"""The card of a released model: the bundle's own, with front matter as Hugging Face reads it.

In the archive and on Hugging Face its pictures are files beside it. A page of a registry, and ``cards/`` of a release,
show the card without these files: there its pictures are inside it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any

from utils.bundle.board_report import Record
from utils.bundle.boards import boards_part, replace_boards_part
from utils.release.model import ReleasedModel
from utils.tasks import task_of

__all__ = ["embed_pictures", "text"]

#: What Hugging Face calls licences that we use; anything else is "other", with our words.
_LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC-BY-SA-3.0": "cc-by-sa-3.0", "BSD-3-Clause": "bsd-3-clause"}

_PICTURE = re.compile(r"^!\[([^\]\n]*)\]\(([^()\s]+)\)$", re.MULTILINE)

#: How the name of a picture ends -> its media type.
_MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def embed_pictures(card: bytes, contents: dict[str, bytes]) -> bytes:
    """The card with the pictures of ``contents`` (file name -> bytes) inside it, each once, at its end."""
    shown = card.decode("utf-8", "replace")
    media = {name: _MEDIA.get(name[name.rfind(".") :].lower(), "") for _, name in _PICTURE.findall(shown)}
    found = {name: kind for name, kind in media.items() if kind and name in contents}
    shown = _PICTURE.sub(lambda match: f"![{match[1]}][{match[2]}]" if match[2] in found else match[0], shown)
    inside = [
        f"[{name}]: data:{kind};base64,{base64.b64encode(contents[name]).decode()}" for name, kind in found.items()
    ]
    return "\n".join([shown, *inside, ""]).encode() if inside else card


def text(model: ReleasedModel, version: str, boards: Iterable[Record] = ()) -> str:
    """Front matter, the bundle's README.md, and what a licence keeps out of the release.

    It shows the results of ``boards`` in place of those in the bundle's card.
    """
    body = replace_boards_part((model.folder / "README.md").read_text(encoding="utf-8"), boards_part(boards)).strip()
    left_out = model.left_out()
    body = _PICTURE.sub(lambda match: f"*{match[1]}: not in this release.*" if match[2] in left_out else match[0], body)
    if left_out:
        body += "\n\n## Not in this release\n\nTheir licence does not allow redistribution:\n"
        origins = {origin for found in left_out.values() for origin in found}
        for origin in sorted(origins, key=lambda origin: (origin.name, origin.url)):
            names = ", ".join(f"`{name}`" for name, found in left_out.items() if origin in found)
            body += f"\n- {names}: made from {origin.name} ({origin.licence}), available from {origin.url}"
        command = f"`docker/run doit {model.name}`"
        body += f"\n\n{command} in a checkout of nxp-model-zoo {version} downloads their sources and makes them.\n"
    return f"---\n{_front_matter(model)}\n---\n{body.strip()}\n"


def _front_matter(model: ReleasedModel) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    recipe, evaluation = model.recipe, model.manifest["evaluation"]
    task = task_of(recipe)
    metric, metric_name = task.hub_metric
    licence: dict[str, Any] = {"license": _LICENCES.get(recipe.licence, "other")}
    if licence["license"] == "other":
        licence["license_name"] = re.sub(r"[^a-z0-9.]+", "-", recipe.licence.lower()).strip("-")
    results = [
        EvalResult(
            task_type=task.hub,
            dataset_type=f"{recipe.folder}-{evaluation['dataset']}",
            dataset_name=f"{recipe.folder}, {evaluation['count']} {task.many}",
            dataset_split=evaluation["dataset"],
            metric_type=metric,
            metric_name=f"{metric_name} {facts['variant']}",
            metric_value=facts["accuracy"],
        )
        for facts in model.artifacts.values()
    ]
    data = ModelCardData(
        **licence,
        library_name="tflite",
        pipeline_tag=task.hub,
        tags=["tflite", "litert", "nxp", "i.mx", *sorted({facts["variant"] for facts in model.artifacts.values()})],
        model_name=model.name,
        eval_results=results,
    )
    return str(data.to_yaml()).strip()
