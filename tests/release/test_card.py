"""A released card shows its pictures wherever it is read: on a hub, on a registry's page, in the release's folder."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.support.links import dead_links, targets
from tests.support.releases import FIRST_MODEL, first_release, published
from utils.errors import ReleaseError
from utils.release import check, pack
from utils.release.archive import read_archive
from utils.release.card import embed_pictures

PNG = b"\x89PNG and so on"


def test_pictures_are_inside_once() -> None:
    card = (
        b"# T\n\n![A](figures/a.png)\n\n![A again](figures/a.png)\n\n![B](b.jpg)\n\n![gone](c.png) `![code](b.jpg)`\n"
    )
    found = embed_pictures(card, {"figures/a.png": PNG, "b.jpg": b"J", "x.py": b""}).decode()
    assert found.startswith(
        "# T\n\n![A][figures/a.png]\n\n![A again][figures/a.png]\n\n![B][b.jpg]\n\n![gone](c.png) `"
    )
    encoded = base64.b64encode(PNG).decode()
    assert found.count(encoded) == 1
    assert f"\n[figures/a.png]: data:image/png;base64,{encoded}\n[b.jpg]: data:image/jpeg;base64,Sg==\n" in found


@pytest.mark.parametrize("card", [b"no picture", b"![x](y.png)", b"![x](a.py)", b"\xff![x](a.png) \xfe"])
def test_a_card_without_pictures_stays_as_it_is(card: bytes) -> None:
    assert embed_pictures(card, {"a.py": b"", "a.png": b""}) == card


def inside(card: str) -> dict[str, bytes]:
    """Name -> bytes of the pictures that a card holds and shows."""
    pictures = re.findall(r"^\[(.+)\]: data:image/\w+;base64,(.+)$", card, re.MULTILINE)
    found = {name: base64.b64decode(data) for name, data in pictures}
    assert re.findall(r"^!\[[^\]]+\]\[([^\]]+)\]$", card, re.MULTILINE) == list(found)
    for data in found.values():
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
    return found


@pytest.mark.parametrize("model", ["demo_nearest", "demo_bilinear"])
def test_pictures_resolve_wherever_the_card_is_shown(release_once: Path, tmp_path: Path, model: str) -> None:
    contents = read_archive(release_once / f"{model}-1.0.0.tar.gz")
    figures = {name: data for name, data in contents.items() if name.startswith("figures/")}
    assert len(figures) == (6 if model == "demo_nearest" else 5)
    for name, data in published(release_once, model).items():  # as a hub has it, and an unpacked archive
        pack.write(tmp_path / name, data)
    assert dead_links(tmp_path / "README.md") == []
    assert {target for target in targets((tmp_path / "README.md").read_text()) if target.endswith(".png")} == set(
        figures
    )
    alone = published(release_once, model, card_alone=True)["README.md"]  # as a registry has it
    assert inside(alone.decode()) == figures
    assert (release_once / f"cards/{model}.md").read_bytes() == alone


def test_a_changed_picture_in_a_card_is_found(release: Path) -> None:
    card = release / "cards/demo_nearest.md"
    card.write_text(card.read_text().replace("base64,iVBOR", "base64,iVBOS", 1))
    with pytest.raises(ReleaseError) as caught:
        check.check(release, None)
    assert "cards/demo_nearest.md: is not the file that was released" in str(caught.value)


def test_the_first_release_is_published_as_it_was_signed(tmp_path: Path) -> None:
    release = first_release(tmp_path)
    assert published(release, FIRST_MODEL, card_alone=True) == published(release, FIRST_MODEL)
