"""The catalogue of a release: about its own bundles, covered by its checksums and signature, and checked with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import Checkout
from tests.support.releases import DEMO, Keys, change_json, copy
from utils import files
from utils.errors import ReleaseError
from utils.release import check, sign
from utils.release.archive import read_archive


def shown(release: Path) -> dict[str, Any]:
    return {model["name"]: model for model in files.load_json(release / "site/catalogue.json")["models"]}


def sum_up(release: Path) -> None:
    """Let the release's records say what its files are now; nobody signs them."""
    shutil.rmtree(release / "signatures")
    (release / sign.SIGNATURE).unlink()

    def change(index: dict[str, Any]) -> None:
        index["files"] = {name: files.sha256(release / name) for name in index["files"] if (release / name).is_file()}

    change_json(release / "release.json", change)
    (release / files.SUMS).write_text(files.make_sums(release))


def refused(release: Path) -> str:
    with pytest.raises(ReleaseError) as caught:
        check.check(release, None)
    return caught.value.what


def test_the_site_is_about_what_is_released(release_once: Path) -> None:
    index = check.index_of(release_once)
    content = files.load_json(release_once / "site/catalogue.json")
    assert content["release"] == {"version": "1.0.0", "commit": index["commit"]}
    models = shown(release_once)
    assert models.keys() == index["models"].keys()
    for name, model in models.items():
        assert model["damaged"] is None
        archive = read_archive(release_once / f"{name}-1.0.0.tar.gz")
        told = {entry["name"]: entry["sha256"] for entry in model["files"]}
        assert told == {n: hashlib.sha256(d).hexdigest() for n, d in archive.items() if n != files.SUMS}
        for entry in model["variants"]:
            assert (release_once / "site" / entry["download"]).samefile(release_once / f"{name}-1.0.0.tar.gz")
        assert (release_once / "site" / model["page"]).is_file()
        assert (release_once / "site" / model["picture"]).is_file()
    assert not (release_once.parent / "bundles").exists()


def test_checksums_and_signature_cover_it(release: Path, keys: Keys) -> None:
    names = files.parse_sums((release / files.SUMS).read_text())
    site = {file.relative_to(release).as_posix() for file in (release / "site").rglob("*") if file.is_file()}
    assert site <= names.keys()
    assert site <= check.index_of(release)["files"].keys()
    page = release / "site/index.html"
    page.write_bytes(page.read_bytes() + b" ")
    with pytest.raises(ReleaseError, match=r"site/index\.html: is not the file that was released"):
        check.check(release, keys.public)


def test_a_page_that_was_added_is_found(release: Path) -> None:
    (release / "site/models/more.html").write_text("x")
    assert "site/models/more.html" in refused(release)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["release"].update(version="2.0.0"), "is of another release than release.json"),
        (lambda found: found["models"].pop(), "does not show the models of release.json"),
        (lambda found: found["models"][0]["variants"].pop(), "has other files of demo_bilinear than release.json"),
        (lambda found: found.pop("bsps"), "site/catalogue.json: bsps: Field required"),
    ],
)
def test_a_catalogue_that_tells_another_story_is_found(change: Any, said: str, release: Path) -> None:
    change_json(release / "site/catalogue.json", change)
    sum_up(release)
    assert said in refused(release)


def test_an_honest_one_is_not(release: Path) -> None:
    sum_up(release)
    assert any("all as they were released" in line for line in check.check(release, None))


@pytest.mark.slow
def test_the_site_says_what_moved_since_the_release_before(
    ready_once: Checkout, release_once: Path, tmp_path: Path
) -> None:
    other = copy(ready_once, tmp_path / "copy")
    done = other.doit("release", "version=1.1.0", DEMO, f"previous={release_once}")
    assert done.returncode == 0, done.stderr
    for model in shown(other.root / "release/1.1.0").values():
        assert model["previous"]["version"] == "1.0.0"
        assert {entry["same"] for entry in model["previous"]["variants"].values()} == {True}
    done = other.doit("release", "version=1.2.0", DEMO, "previous=recipes")
    assert done.returncode != 0
    assert "name the folder of a release that has a site" in done.stderr
    assert json.loads((release_once / "release.json").read_text())["format"] == 3
