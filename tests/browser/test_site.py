"""The whole site in a browser: no error, no other host, filters and order as catalogue.json says, keyboard, screens."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import catalogues, sites
from tests.support.checkouts import ROOT, Checkout
from utils import paths
from utils.catalogue import browser
from utils.catalogue.site import write_site

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]

#: What the overview of 200 models may take.
LOAD_MS, FILTER_MS, OVERVIEW_BYTES = 1000, 1000, 300_000

AXE_RUN = """axe.run().then((result) => result.violations.flatMap((one) =>
  one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 200)}`)))"""


def made_up(content: dict[str, Any], to: Path) -> Path:
    write_site(content, catalogues.plots(content), catalogues.Bundles(), to)
    return to


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with a model in every state that a page must name."""
    with sites.served(made_up(catalogues.states(), tmp_path_factory.mktemp("states") / "site")) as base:
        yield base


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address and the folder of a site with 200 models."""
    folder = made_up(catalogues.two_hundred(), tmp_path_factory.mktemp("many") / "site")
    with sites.served(folder) as base:
        yield base, folder


@pytest.fixture(scope="session")
def whole(demo_bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the demo, as the command makes it."""
    sites.had(*browser.PACKAGES)
    checkout, to = Checkout(demo_bundles["demo_nearest"].parents[1]), tmp_path_factory.mktemp("whole") / "site"
    env = {"ZOO_CACHE": str(paths.cache()), "ZOO_OFFLINE": "1"}
    done = checkout.run(sys.executable, "-m", "utils.catalogue", "--to", str(to), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return to


PAGES = ["index.html", *(f"models/{entry['name']}.html" for entry in catalogues.states()["models"])]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_clean(states: str, visit: Visit, path: str, scheme: str) -> None:
    """No error, no other host (the fixture looks), no violation of axe, no sideways scrolling, on any screen."""
    axe = sites.had(sites.AXE)["axe.min.js"].decode()
    watched = visit(states, path, color_scheme=scheme, viewport={"width": 1600, "height": 900})
    watched.page.wait_for_load_state("networkidle")
    for width in (1600, 800, 360):
        watched.page.set_viewport_size({"width": width, "height": 900})
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    watched.page.evaluate(axe)
    assert watched.page.evaluate(AXE_RUN) == []


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(states: str, visit: Visit, path: str) -> None:
    page = visit(states, path).page
    links = page.evaluate(
        """[...document.querySelectorAll("a[href]")].map(
             (link) => new URL(link.getAttribute("href"), document.baseURI).href)"""  # in SVG, href is an object
    )
    ours = sorted({link for link in links if link.startswith(states)})
    assert ours
    for link in ours:
        assert page.request.get(link).status == 200, link
        if link.partition("#")[0] == states + path and "#" in link:
            assert page.query_selector(f'[id="{link.partition("#")[2]}"]'), link


def shown(page: Any) -> list[str]:
    """Names of the models that the overview shows, in its order."""
    return list(page.evaluate("[...document.querySelectorAll('#cards > .card:not([hidden])')].map((c) => c.dataset.n)"))


def fits(model: dict[str, Any], **wanted: str) -> bool:
    """Whether filters should show a model, by its entry in catalogue.json."""
    if any(wanted.get(key, model[key]) != model[key] for key in ("task", "licence")):
        return False
    verdict, board, bsp = (wanted.get(key) for key in ("verdict", "board", "bsp"))
    cells = [cell for cell in model["matrix"] if board in (None, cell["accelerator"]) and bsp in (None, cell["bsp"])]
    return any(verdict in (None, cell["verdict"]) for cell in cells)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"task": "audio"},
        {"licence": "MIT"},
        {"verdict": "red"},
        {"board": "ethos_u", "verdict": "yellow"},
        {"board": "ethos_u", "verdict": "yellow", "bsp": catalogues.BSPS[0]},
        {"board": "ethos_u", "verdict": "yellow", "bsp": catalogues.BSPS[-1]},
        {"board": "vx", "verdict": "green", "task": "detection", "licence": "Apache-2.0"},
        {"board": "cpu", "verdict": "red"},
    ],
    ids=str,
)
def test_filters_show_what_catalogue_json_says(many: tuple[str, Path], visit: Visit, wanted: dict[str, str]) -> None:
    base, folder = many
    models = json.loads((folder / "catalogue.json").read_text())["models"]
    page = visit(base, "index.html").page
    for name, value in wanted.items():
        page.select_option(f"#filters [name={name}]", value)
    expected = [model["name"] for model in models if fits(model, **wanted)]
    assert shown(page) == sorted(expected)
    assert page.inner_text("#count").startswith(f"{len(expected)} of 200 models")
    assert page.is_visible("#none") is (not expected)
    page.click("#filters [type=reset]")
    page.wait_for_function("document.querySelectorAll('#cards > .card:not([hidden])').length === 200")


@pytest.mark.parametrize(("order", "key", "sign"), [("size", "size", 1), ("accuracy", "accuracy", -1)])
def test_the_order_is_that_of_catalogue_json(
    many: tuple[str, Path], visit: Visit, order: str, key: str, sign: int
) -> None:
    base, folder = many
    models = json.loads((folder / "catalogue.json").read_text())["models"]
    page = visit(base, "index.html").page
    page.select_option("#filters [name=sort]", order)
    value = {model["name"]: entry[key] for model in models for entry in model["variants"] if entry["variant"] == "int8"}
    assert shown(page) == sorted(value, key=lambda name: (sign * value[name], name))
    page.select_option("#filters [name=sort]", "name")
    assert shown(page) == sorted(value)


def test_the_search_finds_words_of_a_card(many: tuple[str, Path], visit: Visit) -> None:
    page = visit(many[0], "index.html").page
    page.keyboard.press("/")
    page.keyboard.type("Network_01 Classification")
    found = shown(page)
    assert found
    assert all(name.startswith("network_01") for name in found)
    tasks = page.evaluate("[...document.querySelectorAll('#cards > .card:not([hidden])')].map((c) => c.dataset.t)")
    assert set(tasks) == {"classification"}
    page.keyboard.press("End")
    page.keyboard.type(" nowhere")
    assert shown(page) == []


def test_two_hundred_models_load_and_filter_fast(many: tuple[str, Path], visit: Visit) -> None:
    """The best of three: other tests may run beside it."""
    base, folder = many
    size = sum((folder / name).stat().st_size for name in ("index.html", "style.css", "catalogue.js"))
    assert size < OVERVIEW_BYTES
    loads, filters = [], []
    for _ in range(3):
        page = visit(base, "index.html").page
        page.wait_for_load_state("load")
        loads.append(page.evaluate("performance.getEntriesByType('navigation')[0].domComplete"))
        filters.append(
            page.evaluate("""() => new Promise((resolve) => {
              const begin = performance.now(), form = document.querySelector("#filters");
              form.elements.verdict.value = "red";
              form.elements.verdict.dispatchEvent(new Event("input", { bubbles: true }));
              requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begin)));
            })""")
        )
        assert 0 < len(shown(page)) < 200
    assert min(loads) < LOAD_MS
    assert min(filters) < FILTER_MS


def test_the_keyboard_alone(states: str, visit: Visit) -> None:
    page = visit(states, "index.html").page
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.className") == "skip"
    assert page.evaluate(f"{focused}.getBoundingClientRect().top >= 0")  # it comes into sight
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    seen = []
    for _ in range(120):
        page.keyboard.press("Tab")
        outline = page.evaluate(f"getComputedStyle({focused}).outlineStyle")
        assert outline != "none", page.evaluate(f"{focused}.outerHTML")
        seen.append(page.evaluate(f"{focused}.name || {focused}.getAttribute('href') || {focused}.tagName"))
        if seen[-1] == "models/does_not_run.html":
            break
    assert {"q", "task", "board", "bsp", "verdict", "licence", "sort"} <= set(seen)
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/does_not_run.html")


def test_a_finding_shows_on_focus_and_goes_with_escape(states: str, visit: Visit) -> None:
    page = visit(states, "index.html").page
    page.focus(".matrix td.red > a")
    assert page.is_visible("#tip")
    text = page.inner_text("#tip")
    assert catalogues.NEAREST["what"] in text
    assert f"Remedy: {catalogues.NEAREST['remedy']}" in text
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 40)  # a focus scrolls, too, and smoothly: later than it opens the finding
    page.wait_for_function("before => scrollY !== before", arg=before)
    assert page.is_visible("#tip")
    beside = """() => { const at = (id) => document.querySelector(id).getBoundingClientRect();
      return Math.min(Math.abs(at("#tip").top - at(".matrix td.red > a").bottom),
                      Math.abs(at("#tip").bottom - at(".matrix td.red > a").top)); }"""
    page.wait_for_function(f"({beside})() < 6")
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")


def test_the_theme_is_chosen_and_kept(states: str, visit: Visit) -> None:
    page = visit(states, "index.html", color_scheme="light").page
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    dark = page.evaluate(colour)
    assert dark != light
    page.goto(f"{states}models/as_it_should_be.html")
    assert page.evaluate(colour) == dark


def test_a_page_may_be_left_while_it_loads(states: str, visit: Visit) -> None:
    watched = visit(states, "index.html")
    watched.page.route("**/late.png", lambda _: None)  # is never answered
    with watched.page.expect_request("**/late.png"):
        watched.page.evaluate("new Image().src = 'late.png'; undefined")
    watched.page.goto(f"{states}models/as_it_should_be.html")
    assert not watched.errors
    watched.page.route("**/broken.png", lambda route: route.abort("connectionreset"))
    with watched.page.expect_event("requestfailed"), watched.page.expect_console_message():
        watched.page.evaluate("new Image().src = '../broken.png'; undefined")
    assert f"failed (net::ERR_CONNECTION_RESET): {states}broken.png" in watched.errors
    watched.errors.clear()


def test_without_javascript_everything_can_be_read(states: str, visit: Visit) -> None:
    page = visit(states, "index.html", java_script_enabled=False).page
    assert page.locator("#cards > .card").count() == len(catalogues.states()["models"])
    assert not page.is_visible("#filters")
    assert not page.is_visible("#theme")
    assert page.is_visible(".findings")


@pytest.mark.parametrize("model", ["demo_bilinear", "demo_nearest"])
def test_models_run_in_their_own_page(whole: Path, visit: Visit, model: str) -> None:
    """With the site's own style and content security policy."""
    axe = sites.had(sites.AXE)["axe.min.js"].decode()
    with sites.served(whole) as base:
        watched = visit(base, f"models/{model}.html", viewport={"width": 360, "height": 800})
        watched.page.wait_for_load_state("networkidle")
        assert not any("runtime" in url or "/try" in url for url in watched.requests)
        watched.start()
        watched.page.click("[aria-label=Examples] button")
        watched.wait_for_answers(1)
        watched.page.click("text=Run the golden inputs")
        watched.page.wait_for_selector(".try-golden li:nth-child(4)")
        lines = watched.page.query_selector_all(".try-golden li")
        assert [line.get_attribute("data-verdict") for line in lines] == ["PASS"] * 4
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
        for scheme in ("light", "dark"):
            watched.page.emulate_media(color_scheme=scheme)
            watched.page.evaluate(axe)
            assert watched.page.evaluate(AXE_RUN) == []


def test_it_opens_from_the_file_system(whole: Path, visit: Visit) -> None:
    watched = visit(whole.as_uri() + "/", "index.html")
    page = watched.page
    assert len(shown(page)) == 2
    page.select_option("#filters [name=sort]", "accuracy")
    page.click("#cards h3 a")
    page.wait_for_selector("#try .go")
    page.click("#try .go")
    page.wait_for_function("document.querySelector('#try [role=status]').textContent.includes('doit catalogue')")


def test_screenshots_of_the_documentation(whole: Path, visit: Visit, tmp_path: Path) -> None:
    """docs/pictures/ has two of them; `ZOO_PICTURES=1` makes them anew, and each stays small."""
    import os

    with sites.served(whole) as base:
        view = {"viewport": {"width": 1100, "height": 900}, "color_scheme": "light"}
        page = visit(base, "index.html", **view).page
        page.wait_for_load_state("networkidle")
        page.screenshot(path=tmp_path / "catalogue.png")
        watched = visit(base, "models/demo_nearest.html", **view)
        watched.start()
        watched.page.click("[aria-label=Examples] button >> nth=3")
        watched.wait_for_answers(1)
        watched.page.locator("#try").scroll_into_view_if_needed()
        watched.page.evaluate("document.querySelector('#try').scrollIntoView()")
        watched.page.screenshot(path=tmp_path / "try-it.png")
    for name in ("catalogue.png", "try-it.png"):
        assert 10_000 < (tmp_path / name).stat().st_size < 200_000
        kept = ROOT / "docs/pictures" / name
        if os.environ.get("ZOO_PICTURES"):
            kept.write_bytes((tmp_path / name).read_bytes())
        assert kept.stat().st_size < 200_000
