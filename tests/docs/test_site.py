"""docs/ as a site: built strictly, complete, and whole without network or server."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env
from tests.support.shared import make_once

pytestmark = pytest.mark.docs


def make_site(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([root / "docker/make-site"], env=clean_env(), capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as docker/make-site leaves it in this checkout: a copy, for another worker may make it anew."""

    def make(folder: Path) -> None:
        done = make_site(ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout == "build/site/index.html is ready\n"
        shutil.copytree(ROOT / "build/site", folder / "site")

    return make_once(tmp_path_factory, "site", make) / "site"


class Addresses(HTMLParser):
    """What a page loads, and what it links to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif "src" in given or (tag == "link" and given.get("rel") not in ("canonical", "prev", "next")):
            self.loads.append(given.get("src") or given["href"])


def test_every_page_is_in_the_site(site: Path) -> None:
    wanted = {page.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for page in ROOT.glob("docs/**/*.md")}
    wanted = {name.replace("README.html", "index.html") for name in wanted}
    assert wanted <= {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert not list(site.rglob("*.py"))


def test_pages_load_nothing_from_another_host_and_all_they_load_is_there(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]  # its addresses are those of a server
    assert len(pages) > 10
    for page in pages:
        found = Addresses(page)
        assert found.loads
        for address in found.loads:
            assert not re.match(r"([a-z]+:)?//", address), f"{page}: {address}"
            assert address.startswith("data:") or (page.parent / address.partition("#")[0]).is_file(), address


def test_links_lead_to_pages_and_headings_of_the_site(site: Path) -> None:
    pages = {page.resolve(): Addresses(page) for page in site.rglob("*.html") if page.name != "404.html"}
    for page, found in pages.items():
        for link in found.links:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.is_file(), f"{page}: {link}"
            assert not anchor or anchor in pages[target].ids, f"{page}: {link}"


def copy_docs(to: Path) -> None:
    """What docker/make-site needs."""
    shutil.copytree(ROOT / "docs", to / "docs")
    (to / "docker").mkdir()
    needed = ("make-site", "install.py", "requirements-docs.txt", "requirements-lock.txt")
    for name in ("mkdocs.yml", *(f"docker/{name}" for name in needed)):
        shutil.copy(ROOT / name, to / name)


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    copy_docs(tmp_path)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(make_site, tmp_path)
        while not (tmp_path / "build/site-venv/uv").exists() and not first.done():
            time.sleep(0.05)  # then it installs
        for done in (make_site(tmp_path), first.result()):
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("site")
def test_a_dead_link_ends_the_build(tmp_path: Path) -> None:
    copy_docs(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/site-venv").symlink_to(ROOT / "build/site-venv")
    for broken in ("[gone](gone.md)", "[gone](numbers.md#gone)"):
        (tmp_path / "docs/tutorial.md").write_text(f"# Broken\n\n{broken}\n")
        done = make_site(tmp_path)
        assert done.returncode == 1
        assert "gone" in done.stderr


def test_the_search_works_where_a_page_is_opened_from_a_folder(site: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if not browser:
        pytest.skip("no chromium: apt-get install chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    page = f"{(site / 'index.html').as_uri()}?q=bicubic"
    found = subprocess.run(
        [browser, *options, "--virtual-time-budget=20000", page], capture_output=True, text=True, timeout=300
    )
    results = re.findall(r'<a [^>]*href="([^"]+)" class="md-search-result__link"', found.stdout)
    assert results, found.stdout[-2000:] + found.stderr[-2000:]
    assert "reference/recipe.html" in results[0]
