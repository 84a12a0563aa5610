"""The tables ``[sources]`` and ``[datasets]`` of a recipe: upstream files, and the sets of images made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from utils.recipe.fields import Closed
from utils.sources.source import Source

__all__ = ["Dataset", "DrawnSet", "IdxSet", "ImageSet", "SourceFile"]


class SourceFile(Closed):
    """One upstream file. Without ``sha256`` it is unpinned: recorded at first fetch, refused by a release."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # file name, no folder
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://\S+$")]], Field(min_length=1)]  # origin first
    size: Annotated[int, Field(gt=0)] | None = None  # bytes
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None  # only where upstream has no sha256
    licence: str  # SPDX id or a plain name
    redistribute: bool = True  # false: a release leaves out the files of a bundle that are made from it
    what: str  # what it is, for people

    def source(self) -> Source:
        """The same facts as the downloader takes them."""
        return Source(
            name=self.file,
            urls=tuple(self.urls),
            size=self.size,
            sha256=self.sha256,
            md5=self.md5,
            licence=self.licence,
            what=self.what,
        )


class IdxSet(Closed):
    """Images and labels in the idx format of MNIST, gzipped."""

    kind: Literal["idx"]
    images: str  # key in [sources]
    labels: str  # key in [sources]


class DrawnSet(Closed):
    """Digits that the pipeline draws itself: no download, not real data."""

    kind: Literal["drawn"]
    count: Annotated[int, Field(gt=0, le=100_000)]  # images
    seed: Annotated[int, Field(ge=0)]  # two sets with different seeds share no image; Python takes -1 for 1


class ImageSet(Closed):
    """Single image files, each a pinned source, named by a list in git with their labels or masks."""

    kind: Literal["images"]
    file: str  # CSV list, seen from the recipe's folder; utils/recipe/lists.py says what stands in it
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://\S*\{file\}\S*$")]], Field(min_length=1)]
    licence: str
    redistribute: Literal[False] = False  # for measuring only: no image goes into a bundle
    what: str


Dataset = Annotated[IdxSet | DrawnSet | ImageSet, Field(discriminator="kind")]
