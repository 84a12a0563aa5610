"""Plots: only what can be compared shares axes, every mark is where its number is, and no text acts."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.bundles import DEFAULT, add_record, add_vela, make_bundle
from utils.catalogue import plots
from utils.catalogue.collect import collect

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> ET.Element:
    return ET.fromstring(text)


def dots(text: str) -> dict[str, tuple[float, float, float]]:
    """Title -> x, y, radius of every circle."""
    circles = list(drawn(text).iter(f"{SVG}circle"))
    return {
        str(circle.findtext(f"{SVG}title")): (
            float(circle.get("cx", 0)),
            float(circle.get("cy", 0)),
            float(circle.get("r", 0)),
        )
        for circle in circles
    }


def words_of(text: str) -> str:
    return " ".join(drawn(text).itertext())


def accuracy(value: float, parameters: int = 1000, **card: Any) -> Any:
    def change(found: dict[str, Any]) -> None:
        found["evaluation"]["variants"]["int8"]["accuracy"] = value
        found["graph"]["parameters"] = parameters
        found["card"].update(card)

    return change


def rows(ms: float, board: str = "i.MX 93", release: str = "LF6.1.36_2.1.0") -> list[dict[str, Any]]:
    row = {"board": board, "accelerator": "NPU", "variant": "int8", "ms": ms, "bsp": release}
    return [row | {"command": "-", "source": "https://example.org"}]


def plotted(folder: Path) -> dict[str, str]:
    return plots.plots_of(collect(folder).content)


def test_models_of_one_data_set_share_a_plot_and_others_do_not(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets", manifest=accuracy(70.0))
    make_bundle(tmp_path / "cars", manifest=accuracy(80.0))
    make_bundle(tmp_path / "other", manifest=accuracy(90.0, evaluation_set={"name": "pets.csv", "sha256": "f" * 64}))
    make_bundle(tmp_path / "count", manifest=lambda found: found["evaluation"].update(count=21))
    make_bundle(tmp_path / "metric", manifest=accuracy(60.0, metric="mean IoU"))
    found = plotted(tmp_path)
    assert len(found) == 4
    shared = found["accuracy-pets.csv: top-1 on 20 inputs"]
    assert {title.split(",")[0] for title in dots(shared)} == {"The pets", "The cars"}
    assert "accuracy-pets.csv: top-1 on 20 inputs (ffffffff)" in found
    assert "accuracy-pets.csv: top-1 on 21 inputs" in found
    assert "accuracy-pets.csv: mean IoU on 20 inputs" in found


def test_names_do_not_cover_each_other(tmp_path: Path) -> None:
    for number in range(12):
        make_bundle(tmp_path / f"a_long_name_{number}", manifest=accuracy(80.0 + number / 100))
    (found,) = plotted(tmp_path).values()
    assert len(dots(found)) == 24  # each circle is there, with its title
    names = [text for text in drawn(found).iter(f"{SVG}text") if str(text.text).startswith("a_long_name")]
    assert 4 <= len(names) < 24
    sides = {"start": 0.0, "middle": -0.5, "end": -1.0}
    boxes = []
    for name in names:
        width = 6.0 * len(str(name.text))
        left = float(name.get("x", 0)) + sides[str(name.get("text-anchor"))] * width
        boxes.append((left, left + width, float(name.get("y", 0))))
    assert all(left >= 0 and right <= plots.WIDTH for left, right, _ in boxes)
    for place, (left, right, y) in enumerate(boxes):
        for other_left, other_right, other_y in boxes[place + 1 :]:
            assert right <= other_left or other_right <= left or abs(y - other_y) >= 11


def test_a_mark_is_where_its_number_is(tmp_path: Path) -> None:
    make_bundle(tmp_path / "large", manifest=accuracy(80.0, 4000, measured=rows(8.0)))
    make_bundle(tmp_path / "small", manifest=accuracy(70.0, 1000, measured=rows(2.0)))
    make_bundle(tmp_path / "third", manifest=accuracy(75.0, 0, measured=rows(4.0)))
    (found,) = plotted(tmp_path).values()
    marks = dots(found)
    large = marks["The large, int8: 80.00 %, 8, 4,000 parameters"]
    small = marks["The small, int8: 70.00 %, 2, 1,000 parameters"]
    third = marks["The third, int8: 75.00 %, 4, 0 parameters"]
    assert len(marks) == 3
    assert small[0] < third[0] < large[0]
    assert third[0] == pytest.approx((small[0] + large[0]) / 2, abs=0.2)  # 2, 4, 8: equal steps
    assert small[1] > third[1] > large[1]  # up is better
    assert third[1] == pytest.approx((small[1] + large[1]) / 2, abs=0.2)
    grows = plots.LARGEST - plots.SMALLEST
    assert large[2] == pytest.approx(plots.LARGEST, abs=0.1)
    assert small[2] == pytest.approx(plots.SMALLEST + grows * math.sqrt(1 / 4), abs=0.1)
    assert "ms on i.MX 93, NPU, LF6.1.36_2.1.0 (published)" in words_of(found)
    for x, y, _ in marks.values():
        assert plots.LEFT <= x <= plots.WIDTH - plots.RIGHT
        assert plots.TOP <= y <= plots.HEIGHT - plots.BOTTOM


def test_without_two_latencies_of_one_kind_it_is_the_size(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets", manifest=accuracy(70.0, measured=rows(2.0)))
    other = make_bundle(tmp_path / "cars", manifest=accuracy(80.0, measured=rows(2.0, release="LF6.6.36_2.1.0")))
    add_vela(other, ms=1.0)
    add_vela(tmp_path / "pets", ms=1.0)
    add_record(other, "NXP i.MX93", delegate="ethosu")
    found = plotted(tmp_path)["accuracy-pets.csv: top-1 on 20 inputs"]
    assert len(dots(found)) == 4
    assert "Accuracy against MB" in words_of(found)


def test_our_latencies_and_published_ones_never_share_an_axis(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets", manifest=accuracy(70.0, measured=rows(2.0, "i.MX 8M Plus", "LF6.6.36_2.1.0")))
    for name in ("cars", "birds"):
        add_record(make_bundle(tmp_path / name, manifest=accuracy(80.0)), ms=3.0)
    (found,) = plotted(tmp_path).values()
    assert {title.split(",")[0] for title in dots(found)} == {"The cars", "The birds"}
    assert "(measured by us)" in words_of(found)
    assert "no such latency: The pets" in words_of(found)


def test_where_the_cycles_go(tmp_path: Path) -> None:
    add_vela(make_bundle(tmp_path / "pets"))
    found = plotted(tmp_path)[f"npu-pets-{DEFAULT}"]
    bars = list(drawn(found).iter(f"{SVG}rect"))
    titles = [str(bar.findtext(f"{SVG}title")) for bar in bars]
    assert titles[0] == "Conv2D layer 1: 100 cycles, 16.7 %"
    assert titles[1] == "Conv2D layer 1: 2.0 KiB of SRAM"
    cycles = [float(bar.get("width", 0)) for bar in bars[::2]]
    assert cycles[1] == pytest.approx(2 * cycles[0], abs=0.2)
    assert cycles[2] == pytest.approx(3 * cycles[0], abs=0.2)
    assert "peak SRAM 2 KiB, peak DRAM 64 KiB" in words_of(found)


def test_layers_beyond_the_bound_are_one_bar() -> None:
    layers = [
        {"operator": "Conv2D", "name": f"{number}", "cycles": 1.0, "macs": 1, "sram_bytes": number}
        for number in range(plots.LAYERS + 40)
    ]
    run = {"bsp": "LF", "vela": "4.3.0", "sram_kib": 1.0, "dram_kib": 1.0, "layers": layers}
    found = drawn(plots.layers_plot(run, "Deep"))
    assert len(list(found.iter(f"{SVG}rect"))) == 2 * (plots.LAYERS + 1)
    assert "40 more layers : 40 cycles, 40.0 %" in " ".join(found.itertext())
    assert plots.layers_plot(run | {"layers": []}, "None") == ""


def test_equal_numbers_and_one_model_have_axes(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets", manifest=accuracy(90.5))
    (found,) = plotted(tmp_path).values()
    assert len(dots(found)) == 2
    assert "nan" not in found


def test_text_of_a_bundle_never_acts(tmp_path: Path) -> None:
    evil = '</title><script>alert(1)</script> javascript:x <a onclick="y"> ]]> &amp;'
    bundle = make_bundle(
        tmp_path / "pets",
        model=lambda found: found.update(title=evil),
        manifest=accuracy(70.0, evaluation_set={"name": evil, "sha256": "f" * 64}),
    )
    add_vela(bundle)
    for found in plotted(tmp_path).values():
        assert "script" not in {element.tag.removeprefix(SVG) for element in drawn(found).iter()}
        assert evil in words_of(found)
        assert not re.search(r"<script|javascript:|<[^>]*\son\w+\s*=", found)
