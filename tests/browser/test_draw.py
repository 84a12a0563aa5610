"""Both models of the demo in a browser: golden tensors, a drawn digit, feature maps, keyboard, small screens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import sites

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]

COMPETITORS = [f"demo_{kind}, {variant}" for kind in ("bilinear", "nearest") for variant in ("float32", "int8")]

#: Strokes of digits on a canvas of 280 x 280 pixels.
STROKES = {
    "1": [[(140, 45), (140, 235)]],
    "4": [[(165, 235), (165, 45), (80, 170), (205, 170)]],
    "7": [[(85, 60), (195, 60), (120, 235)]],
}


def draw(page: Any, digit: str) -> None:
    """Draw with a mouse, stroke by stroke."""
    page.locator(".try-draw").scroll_into_view_if_needed()
    box = page.locator(".try-draw").bounding_box()
    for stroke in STROKES[digit]:
        places = [(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=8)
        page.mouse.up()


def test_nothing_is_fetched_before_somebody_asks(demo: str, visit: Visit) -> None:
    watched = visit(demo, "models/demo_nearest.html")
    watched.page.wait_for_load_state("networkidle")
    assert watched.requests == [f"{demo}models/demo_nearest.html"]
    watched.start()
    assert any(url.endswith(".wasm") for url in watched.requests)


@pytest.mark.parametrize("model", ["demo_bilinear", "demo_nearest"])
def test_golden_tensors_of_both_models_pass(demo: str, visit: Visit, model: str) -> None:
    watched = visit(demo, f"models/{model}.html")
    watched.start()
    watched.page.click("text=Run the golden inputs")
    watched.page.wait_for_selector(".try-golden li:nth-child(4)")
    lines = watched.page.query_selector_all(".try-golden li")
    assert [line.get_attribute("data-verdict") for line in lines] == ["PASS"] * 4
    texts = sorted(line.inner_text() for line in lines)
    assert [text.partition(":")[0] for text in texts] == COMPETITORS
    for line in lines:
        worst = float(line.get_attribute("data-worst"))
        if "float32" in line.inner_text():
            assert 0 < worst < 1e-5  # other kernels than the reference's: equal would mean that nothing was compared
        else:
            assert worst <= 20
            assert worst == round(worst)


@pytest.mark.parametrize("digit", sorted(STROKES))
def test_a_drawn_digit_is_read_rightly_by_all(demo: str, visit: Visit, digit: str) -> None:
    watched = visit(demo, "models/demo_bilinear.html")
    watched.start()
    draw(watched.page, digit)
    watched.wait_for_answers(len(STROKES[digit]))
    assert watched.answers() == dict.fromkeys(COMPETITORS, digit)
    for box in watched.page.query_selector_all(".try-answer"):
        assert box.query_selector(".try-said").inner_text().startswith(digit)
        assert len(box.query_selector_all("table tr")) == 10


def test_a_finger_draws_too(demo: str, visit: Visit) -> None:
    watched = visit(demo, "models/demo_nearest.html", has_touch=True, viewport={"width": 400, "height": 800})
    watched.start()
    dispatch = """([kind, x, y]) => {
      const canvas = document.querySelector(".try-draw"), box = canvas.getBoundingClientRect();
      const at = { clientX: box.left + x * box.width / 280, clientY: box.top + y * box.height / 280 };
      canvas.setPointerCapture = () => {};
      canvas.dispatchEvent(new PointerEvent(kind, { ...at, pointerId: 5, pointerType: "touch", isPrimary: true }));
    }"""
    steps = [("pointerdown", 140, 45), *[("pointermove", 140, y) for y in range(55, 236, 10)], ("pointerup", 140, 235)]
    for step in steps:
        watched.page.evaluate(dispatch, list(step))
    watched.wait_for_answers(1)
    assert set(watched.answers().values()) == {"1"}


def test_clear_wipes_the_canvas(demo: str, visit: Visit) -> None:
    watched = visit(demo, "models/demo_nearest.html")
    watched.start()
    ink = """() => { const canvas = document.querySelector(".try-draw");
      const { data } = canvas.getContext("2d").getImageData(0, 0, 280, 280);
      return data.reduce((sum, value, index) => sum + (index % 4 < 3 ? value : 0), 0); }"""
    assert watched.page.evaluate(ink) == 0
    draw(watched.page, "1")
    watched.wait_for_answers(1)
    assert watched.page.evaluate(ink) > 0
    watched.page.click("text=Clear")
    assert watched.page.evaluate(ink) == 0


def test_feature_maps_differ_between_inputs_and_between_the_models(demo: str, visit: Visit) -> None:
    watched = visit(demo, "models/demo_nearest.html")
    watched.start()
    maps = """() => [...document.querySelectorAll(".try-answer")].map((box) =>
      [...box.querySelectorAll("figure canvas")].map((canvas) => canvas.toDataURL()))"""
    draw(watched.page, "1")
    watched.wait_for_answers(1)
    before = watched.page.evaluate(maps)
    assert [len(each) for each in before] == [3] * 4
    assert len({tuple(each) for each in before}) == 4
    watched.page.click("text=Clear")
    draw(watched.page, "7")
    watched.wait_for_answers(2)
    after = watched.page.evaluate(maps)
    assert not {url for each in before for url in each} & {url for each in after for url in each}
    captions = watched.page.locator(".try-answer figcaption").all_inner_texts()
    assert {text.partition(",")[0] for text in captions} == {"RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"}


def test_examples_answer_to_the_keyboard_alone(demo: str, visit: Visit) -> None:
    watched = visit(demo, "models/demo_nearest.html")
    page = watched.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Try it"
    page.keyboard.press("Enter")
    page.wait_for_selector('#try[data-state="ready"]')
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.querySelector('img')?.alt ?? ''") == "example 1":
            break
    page.keyboard.press("Enter")
    watched.wait_for_answers(1)
    assert len(set(watched.answers().values())) == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.querySelector('img').alt") == "example 2"


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_no_sideways_scrolling(demo: str, visit: Visit, width: int) -> None:
    watched = visit(demo, "models/demo_nearest.html", viewport={"width": width, "height": 800})
    watched.start()
    draw(watched.page, "4")
    watched.wait_for_answers(len(STROKES["4"]))
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_finds_nothing(demo: str, visit: Visit) -> None:
    axe = sites.had(sites.AXE)["axe.min.js"].decode()
    watched = visit(demo, "models/demo_nearest.html")
    watched.start()
    draw(watched.page, "7")
    watched.wait_for_answers(1)
    watched.page.click("text=Run the golden inputs")
    watched.page.wait_for_selector(".try-golden li:nth-child(4)")
    watched.page.evaluate(axe)
    found = watched.page.evaluate(
        "axe.run().then((result) => result.violations.map((one) => [one.id, one.nodes[0].html]))"
    )
    assert found == []
    watched.page.evaluate("document.querySelector('.try-draw').removeAttribute('aria-label')")
    found = watched.page.evaluate("axe.run().then((result) => result.violations.map((one) => one.id))")
    assert found == ["role-img-alt"]  # it does look
