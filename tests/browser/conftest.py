"""Debian's Chromium, driven by Playwright: pages in it load nothing from elsewhere and report no error."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import handmade, sites
from tests.support.checkouts import Checkout, copy_project
from tests.support.shared import make_once

#: No window, no GPU, a camera of the browser's own, and no word to the browser's maker.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium."""
    program = shutil.which("chromium")
    if not program:
        pytest.skip("no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: docker/requirements-dev.txt")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


class Watched:
    """A page, and what it did: requests, errors of its console, exceptions."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._note_failure)
        page.on("response", lambda got: got.status >= 400 and self.errors.append(f"{got.status}: {got.url}"))
        page.on("console", lambda said: said.type == "error" and self.errors.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))

    def _note_failure(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # that is a page that was left before it had loaded
            self.errors.append(f"failed ({request.failure}): {request.url}")

    def start(self, state: str = "ready") -> None:
        """Press "Try it", and wait until the models are loaded, or cannot be."""
        self.page.click("#try .go")
        self.page.wait_for_selector(f'#try[data-state="{state}"]')

    def wait_for_answers(self, count: int) -> None:
        """Wait until the page has answered so many inputs."""
        self.page.wait_for_selector(f'#try[data-answered="{count}"]')

    def answers(self) -> dict[str, str]:
        """What each model and variant answers."""
        boxes = self.page.query_selector_all(".try-answer")
        return {box.get_attribute("data-competitor"): box.get_attribute("data-answer") for box in boxes}

    def alert(self) -> str:
        """What the page says of an error, once it does."""
        self.page.wait_for_function("document.querySelector('.try-alert').textContent !== ''")
        return str(self.page.inner_text(".try-alert"))

    def elsewhere(self, base: str) -> list[str]:
        """Requests to another place than the site."""
        return [url for url in self.requests if not url.startswith((base, "data:", "blob:"))]


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """A function: opens a page in a profile of its own; at the end, none may have met an error or another host."""
    opened: list[tuple[Watched, str, Any]] = []

    def open_page(base: str, path: str = "", *, script: str = "", **options: Any) -> Watched:
        context = chromium.new_context(**options)
        if script:
            context.add_init_script(script)
        watched = Watched(context.new_page())
        watched.page.set_default_timeout(60_000)
        opened.append((watched, base, context))
        watched.page.goto(base + path)
        return watched

    yield open_page
    for watched, base, context in opened:
        context.close()
        assert not watched.errors
        assert not watched.elsewhere(base)


@pytest.fixture(scope="session")
def demo_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundles of the demo, trained in full."""

    def make(folder: Path) -> None:
        done = copy_project(folder / "zoo").doit("demo", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr

    checkout = Checkout(make_once(tmp_path_factory, "demo", make) / "zoo")
    return {name: checkout.root / "artifacts" / name for name in ("demo_bilinear", "demo_nearest")}


@pytest.fixture(scope="session")
def demo(demo_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site in which both models of the demo can be tried."""
    with sites.served(sites.write_trials(demo_bundles, tmp_path_factory.mktemp("demo_site"))) as base:
        yield base


@pytest.fixture(scope="session")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with a small classifier of pictures, put together by hand."""
    folder = tmp_path_factory.mktemp("hand")
    bundle = handmade.make_bundle(folder / "bundle")
    (bundle / "inputs").mkdir()
    shutil.copy(bundle / "image.png", bundle / "inputs/example_input.png")
    with sites.served(sites.write_trials({"hand": bundle}, folder / "site")) as base:
        yield base
