"""How long `doit catalogue` takes, and how large the site is: of the demo, and of 200 models.

docker/run pytest -m bench -s tests/bench/test_catalogue.py
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from tests.support import catalogues
from tests.support.checkouts import Checkout
from utils import paths
from utils.catalogue.site import write_site

pytestmark = pytest.mark.bench


def size_of(folder: Path, *endings: str) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.suffix in endings)


def test_the_site_of_the_demo(built: Checkout) -> None:
    env = {"ZOO_CACHE": str(paths.cache())}
    spent = []
    for _ in range(3):
        begin = time.monotonic()
        done = built.doit("catalogue", env=env)
        spent.append(time.monotonic() - begin)
        assert done.returncode == 0, done.stdout + done.stderr
    site = built.root / "site"
    pages, whole = size_of(site, ".html", ".css"), size_of(site, *{file.suffix for file in site.rglob("*")})
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"\ndoit catalogue: {min(spent):.1f} s (best of {len(spent)}), largest process {peak:.2f} GB")
    print(f"pages {pages:,} bytes, the whole site {whole:,}")


def test_the_site_of_two_hundred_models(tmp_path: Path) -> None:
    content = catalogues.two_hundred()
    begin = time.monotonic()
    write_site(content, catalogues.plots(content), catalogues.Bundles(), tmp_path / "site")
    spent = time.monotonic() - begin
    overview = sum((tmp_path / "site" / name).stat().st_size for name in ("index.html", "style.css", "catalogue.js"))
    print(f"\n200 models: {spent:.1f} s; the overview has {overview:,} bytes without pictures")
