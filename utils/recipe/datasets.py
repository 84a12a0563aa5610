"""The tables ``[sources]`` and ``[datasets]`` of a recipe: upstream files, and the data sets made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from utils.recipe.fields import Closed
from utils.sources.source import Source

__all__ = ["Dataset", "DrawnSet", "FileSet", "IdxSet", "ImageSet", "RecordingSet", "SourceFile"]

_Template = Annotated[str, Field(pattern=r"^https?://\S*\{file\}\S*$")]


class SourceFile(Closed):
    """One upstream file. Without `sha256` it is unpinned: recorded at the first fetch, refused by a release."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """File name without a folder: letters, digits, `.`, `_` and `-`."""
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://\S+$")]], Field(min_length=1)]
    """Addresses (http or https): the origin first, then its mirrors."""
    size: Annotated[int, Field(gt=0)] | None = None
    """Size in bytes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file: 64 lower-case hexadecimal digits."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """MD5 of the file, only where upstream publishes no SHA-256: 32 lower-case hexadecimal digits."""
    licence: str
    """Licence of the file: an SPDX identifier, or a plain name."""
    redistribute: bool = True
    """`false`: a release leaves out the files of a bundle that are made from it."""
    what: str
    """What the file is, in a few words; messages and the card show it."""

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
    """`idx`: images and labels in the format of MNIST."""
    images: str
    """Key in [sources]: the gzipped idx file of the images."""
    labels: str
    """Key in [sources]: the gzipped idx file of the labels."""


class DrawnSet(Closed):
    """Digits that the pipeline draws itself: no download, not real data."""

    kind: Literal["drawn"]
    """`drawn`: digits that the pipeline draws; no download."""
    count: Annotated[int, Field(gt=0, le=100_000)]
    """How many images: 1 to 100000."""
    seed: Annotated[int, Field(ge=0)]  # Python takes -1 for 1
    """Seed of the drawing, 0 or higher. Sets with different seeds share no image."""


class FileSet(Closed):
    """Single files, each a pinned source, in a list that names their labels, masks or boxes."""

    kind: Literal["images", "recordings"]
    """What a file is."""
    file: str
    """CSV list, relative to the recipe's folder: file, sha256, size, and label, mask or boxes (a second file a row)."""
    urls: Annotated[list[_Template], Field(min_length=1)]
    """Addresses (http or https) with `{file}` in the place of a file's name: the origin first, then its mirrors."""
    truth_urls: Annotated[list[_Template], Field(min_length=1)] | None = None
    """Addresses of the masks or boxes with `{file}`, where they differ from `urls`."""
    licence: str
    """Licence of every file: an SPDX identifier, or a plain name."""
    redistribute: bool = False
    """`false`: the files are for measuring only, none goes into a bundle."""
    what: str
    """What a file is, in a few words; messages show it."""


class ImageSet(FileSet):
    """Single image files, each a pinned source, in a list that names their labels, masks or boxes."""

    kind: Literal["images"]
    """`images`: single files, named by a CSV list."""
    redistribute: Literal[False] = False
    """Always `false`: the images are for measuring, none goes into a bundle."""


class RecordingSet(FileSet):
    """Single WAV files, each a pinned source, in a list that names their labels."""

    kind: Literal["recordings"]
    """`recordings`: single WAV files, named by a CSV list."""
    redistribute: bool = False
    """`true`: the first 100 recordings go into a bundle, as samples.npz, if their licence allows it."""


Dataset = Annotated[IdxSet | DrawnSet | ImageSet | RecordingSet, Field(discriminator="kind")]
