"""Read release.json: the contents of a release. It is untrusted, and names in it become paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from utils import files
from utils.errors import ReleaseError
from utils.release.versions import precedence_of
from utils.untrusted import as_text, parse_as, parse_json, read_untrusted

__all__ = ["FORMAT", "index_of"]

#: Since 2, the pictures of ``cards/`` are inside them, and a registry gets that card; since 3, there is ``site/``.
FORMAT = 3

_AGAIN = "get it again from where it was published"


def _is_version(text: str) -> str:
    if precedence_of(text) is None:
        raise ValueError("is not a version of semver.org")
    return text


#: Name of a file or folder in a release: not a path, not hidden.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=150)]
_Place = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=300)
]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=1000)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Artifact(_Closed):
    sha256: _Sha256
    variant: _Name


class _Model(_Closed):
    archive: _Name
    artifacts: Annotated[dict[_Name, _Artifact], Field(min_length=1)]  # of none, nothing could be confirmed
    left_out: list[_Text]
    title: _Text
    task: _Text
    licence: _Text


class _Index(_Closed):
    format: Literal[1, 2, 3]
    version: Annotated[str, AfterValidator(_is_version)]
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")]
    time: Annotated[int, Field(ge=0, le=0o77777777777)]  # the limit of tar
    models: Annotated[dict[_Name, _Model], Field(min_length=1)]
    files: dict[_Place, _Sha256]

    @model_validator(mode="after")
    def _has_its_files(self) -> Self:
        signed = {f"signatures/{name}.sig" for name in self.models}
        signed |= {f"signatures/{name}.oci.sig" for name in self.models if self.format > 1}
        wanted = {"bom.json", *(f"cards/{name}.md" for name in self.models)}
        for name, model in self.models.items():
            if model.archive != f"{name}-{self.version}.tar.gz":
                raise ValueError(f"the archive of {name} is called {model.archive}")
            wanted |= {model.archive, *(f"provenance/{file}.json" for file in (*model.artifacts, model.archive))}
        found = self.files.keys() - signed
        if self.format > 2:
            wanted |= {"site/index.html", "site/catalogue.json", *(f"site/models/{name}.html" for name in self.models)}
            found -= {name for name in found - wanted if name.startswith("site/")}
        if found != wanted:
            raise ValueError(f"files does not have what a release has: {min(found ^ wanted)}")
        return self


def index_of(folder: Path) -> dict[str, Any]:
    """Read release.json.

    Raises:
        ReleaseError: it is missing, or cannot be read.
    """
    file = folder / "release.json"
    if not folder.is_dir() or not file.is_file():
        raise ReleaseError(
            "is not a release: it has no release.json", where=str(folder), hint="name a folder like release/1.0.0"
        )
    where = f"{folder}: release.json cannot be read"
    text = read_untrusted(file, where=where, error=ReleaseError, hint=_AGAIN)
    found = parse_json(text, where=where, error=ReleaseError, hint=_AGAIN)
    if isinstance(found, dict) and type(found.get("format")) is int and found["format"] not in range(1, FORMAT + 1):
        what = f"a release of format {as_text(found['format'], 20)}"
        raise ReleaseError(what, where=str(file), hint="check it with a newer version")
    parse_as(_Index, text, where=where, error=ReleaseError, hint=_AGAIN)
    if files.dump_json(found).encode("utf-8", "surrogatepass") != text:
        raise ReleaseError("it was changed: it is not in the form that `doit release` writes", where=where, hint=_AGAIN)
    index: dict[str, Any] = found
    return index
