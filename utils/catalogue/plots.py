"""Plots as SVG text: accuracy against latency or size, and where the cycles of an NPU go.

Only numbers of one data set share axes, and only latencies of one board, accelerator, system and kind. Colours are
those of the page (``currentColor``, and the classes ``dot``, ``bar`` and ``grid``). Each mark has a title, so that it
can be read without a mouse. Titles come from bundles: they are text, and never part of a tag.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Axis", "Dot", "accuracy_plot", "layers_plot", "plots_of"]

Model = dict[str, Any]

#: Size of a plot, and the room for its axes, in units of the SVG.
WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 16, 48

#: Radius of the smallest and the largest circle.
SMALLEST, LARGEST = 5.0, 22.0

#: How wide a letter of a name is, on average and at least: names must not cover each other.
LETTER = 6.5

#: Layers that a chart shows; those after them are one bar.
LAYERS = 60


class Axis(NamedTuple):
    """What stands below a plot: the words, and the value of each model's file by (model, variant)."""

    words: str
    values: dict[tuple[str, str], float]


class Dot(NamedTuple):
    """One file of a model: ``x`` in the axis' unit, ``y`` in %."""

    name: str
    title: str
    variant: str
    x: float
    y: float
    parameters: int


def plots_of(content: dict[str, Any]) -> dict[str, str]:
    """All plots of a catalogue, name -> SVG: ``accuracy-DATASET``, and ``npu-MODEL-BSP``."""
    whole = [model for model in content["models"] if not model["damaged"]]
    found = {f"accuracy-{words}": accuracy_plot(models, words) for words, models in sorted(_by_data(whole).items())}
    for model in whole:
        found |= {f"npu-{model['name']}-{run['bsp']}": layers_plot(run, model["title"]) for run in model["npu"]}
    return {name: drawn for name, drawn in found.items() if drawn}


def _by_data(models: list[Model]) -> dict[str, list[Model]]:
    """The models by what they were measured on: words -> models that can be compared."""
    groups: dict[tuple[str, int, str], list[Model]] = {}
    for model in models:
        data = model["data"]
        groups.setdefault((data["id"], data["count"], data["metric"]), []).append(model)
    found: dict[str, list[Model]] = {}
    for (digest, count, metric), group in sorted(groups.items()):
        words = f"{group[0]['data']['dataset']}: {metric} on {count:,} inputs"
        found[words if words not in found else f"{words} ({digest[:8]})"] = group
    return found


# Accuracy


def axis_of(models: list[Model]) -> Axis:
    """The latency that most of these models have in common, if two have one; else the size."""
    latencies: dict[str, dict[tuple[str, str], float]] = {}
    for model in models:
        for board in model["boards"]:
            for time in (*board["speed"], *board["cpu"]):
                if time["kind"] == "estimated":
                    continue
                kind = "measured by us" if time["kind"] == "ours" else "published"
                words = f"ms on {board['board']}, {time['accelerator']}, {time['bsp']} ({kind})"
                latencies.setdefault(words, {}).setdefault((model["name"], time["variant"]), time["ms"])
    shared = {words: found for words, found in latencies.items() if len({name for name, _ in found}) > 1}
    if shared:
        words = min(shared, key=lambda words: (-len(shared[words]), words))
        return Axis(words, shared[words])
    sizes = {(model["name"], entry["variant"]): entry["size"] / 1e6 for model in models for entry in model["variants"]}
    return Axis("MB", sizes)


def accuracy_plot(models: list[Model], words: str) -> str:
    """Accuracy against latency or size; the area of a circle is the number of parameters.

    Args:
        models: entries of catalogue.json with one data set, count and metric.
        words: about the data set, for the description.
    """
    axis = axis_of(models)
    dots = [
        Dot(model["name"], model["title"], entry["variant"], value, entry["accuracy"], model["parameters"])
        for model in models
        for entry in model["variants"]
        if (value := axis.values.get((model["name"], entry["variant"]))) is not None and value > 0
    ]
    if not dots:
        return ""
    missing = sorted({model["title"] for model in models} - {dot.title for dot in dots})
    across = _Scale.logarithmic([dot.x for dot in dots], LEFT, WIDTH - RIGHT)
    up = _Scale.linear([dot.y for dot in dots], HEIGHT - BOTTOM, TOP)
    largest = max(dot.parameters for dot in dots) or 1
    parts = [
        *_frame(f"Accuracy against {axis.words}: {words}"),
        *_grid(across, up),
        _text(WIDTH / 2, HEIGHT - 8, axis.words, "middle"),
        _text(4, TOP - 2, "%", "start"),
        *_dots([_Circle.of(dot, across, up, largest) for dot in sorted(dots, key=_order)]),
    ]
    if missing:
        parts.append(_text(WIDTH - RIGHT, TOP + 8, f"no such latency: {', '.join(missing)}", "end"))
    return "".join([*parts, "</svg>"])


def _order(dot: Dot) -> tuple[int, str, str]:
    """Large circles first: they would hide the small ones."""
    return -dot.parameters, dot.name, dot.variant


class _Box(NamedTuple):
    """What a text covers, in units of the SVG."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class _Circle(NamedTuple):
    """A dot on the plot."""

    dot: Dot
    x: float
    y: float
    radius: float

    @classmethod
    def of(cls, dot: Dot, across: _Scale, up: _Scale, largest: int) -> _Circle:
        radius = SMALLEST + (LARGEST - SMALLEST) * math.sqrt(dot.parameters / largest)
        return cls(dot, across.place(dot.x), up.place(dot.y), radius)

    def places(self) -> Iterator[tuple[float, float, str, _Box]]:
        """Where its name can stand, best first: x, y, anchor and what it covers."""
        width, beside = LETTER * len(self.dot.name), self.radius + 4
        for y in (self.y - self.radius - 3, self.y + self.radius + 11):
            yield self.x, y, "middle", _Box(self.x - width / 2, y - 10, self.x + width / 2, y + 3)
        for anchor, x, left in (("start", beside, beside), ("end", -beside, -beside - width)):
            box = _Box(self.x + left, self.y - 6, self.x + left + width, self.y + 7)
            yield self.x + x, self.y + 4, anchor, box


def _dots(circles: list[_Circle]) -> Iterator[str]:
    """The circles with their names; a name that would cover another one is left to the title."""
    taken: list[_Box] = []
    for circle in circles:
        name = ""
        for x, y, anchor, box in circle.places():
            if _is_free(box, taken):
                taken.append(box)
                name = _text(x, y, circle.dot.name, anchor)
                break
        yield _dot(circle, name)


def _is_free(box: _Box, taken: list[_Box]) -> bool:
    is_inside = box.left >= 0 and box.right <= WIDTH and box.top >= 0 and box.bottom <= HEIGHT - BOTTOM
    return is_inside and not any(box.meets(other) for other in taken)


def _dot(circle: _Circle, name: str) -> str:
    dot = circle.dot
    said = f"{dot.title}, {dot.variant}: {dot.y:.2f} %, {dot.x:.3g}, {dot.parameters:,} parameters"
    opacity = "0" if dot.variant == "float32" else "0.35"
    return (
        f'<a href="models/{dot.name}.html" data-model="{dot.name}">'
        f'<circle class="dot" cx="{circle.x:.1f}" cy="{circle.y:.1f}" r="{circle.radius:.1f}" fill="currentColor" '
        f'fill-opacity="{opacity}" stroke="currentColor" stroke-width="1.5"><title>{_escape(said)}</title></circle>'
        f"{name}</a>"
    )


class _Scale(NamedTuple):
    """Values to places on an axis, with the values that have a line."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    is_log: bool

    @classmethod
    def logarithmic(cls, values: list[float], start: float, end: float) -> _Scale:
        low, high = min(values) / 1.6, max(values) * 1.6
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        every = [step * 10.0**power for power in powers for step in (1, 2, 5)]
        ticks = [value for value in every if low <= value <= high]
        return cls(low, high, start, end, tuple(ticks), is_log=True)

    @classmethod
    def linear(cls, values: list[float], start: float, end: float) -> _Scale:
        spread = max(max(values) - min(values), 1.0)
        step = next(size for size in (0.5, 1, 2, 5, 10, 20, 50, 100) if spread / size <= 6 or size == 100)
        low = step * math.floor((min(values) - spread * 0.15) / step)
        high = step * math.ceil((max(values) + spread * 0.15) / step)
        count = round((high - low) / step)
        return cls(low, high, start, end, tuple(low + step * number for number in range(count + 1)), is_log=False)

    def place(self, value: float) -> float:
        """Where a value is."""
        low, high = (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
        share = ((math.log(value) if self.is_log else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)


def _grid(across: _Scale, up: _Scale) -> Iterator[str]:
    for value in across.ticks:
        x = across.place(value)
        yield _line(x, TOP, x, HEIGHT - BOTTOM)
        yield _text(x, HEIGHT - BOTTOM + 16, f"{value:g}", "middle")
    for value in up.ticks:
        y = up.place(value)
        yield _line(LEFT, y, WIDTH - RIGHT, y)
        yield _text(LEFT - 6, y + 4, f"{value:g}", "end")


# Layers of an NPU


def layers_plot(run: dict[str, Any], title: str) -> str:
    """A bar a layer: its cycles, and beside it the SRAM in use; the layers in the order of execution.

    Args:
        run: an entry of ``npu``.
        title: of the model.
    """
    layers = run["layers"][:LAYERS]
    if rest := run["layers"][LAYERS:]:
        cycles, sram_bytes = sum(each["cycles"] for each in rest), max(each["sram_bytes"] for each in rest)
        more = f"{len(rest)} more layers"
        layers = [*layers, {"operator": more, "name": "", "cycles": cycles, "sram_bytes": sram_bytes}]
    if not layers:
        return ""
    most = max(layer["cycles"] for layer in layers) or 1
    sram = max(layer["sram_bytes"] for layer in layers) or 1
    total = sum(layer["cycles"] for layer in run["layers"]) or 1
    row, label, middle = 18, 200, 430
    height = 40 + row * len(layers)
    words = (
        f"Where the cycles go: {title}, Vela {run['vela']}, {run['bsp']}; peak SRAM {run['sram_kib']:,.0f} KiB, "
        f"peak DRAM {run['dram_kib']:,.0f} KiB"
    )
    parts = _frame(words, height)
    parts += [_text(label, 14, "cycles", "start"), _text(middle + 20, 14, "SRAM in use, KiB", "start")]
    for number, layer in enumerate(layers):
        top = 24 + row * number
        share = 100 * layer["cycles"] / total
        said = f"{layer['operator']} {layer['name']}: {layer['cycles']:,.0f} cycles, {share:.1f} %"
        used = f"{layer['operator']} {layer['name']}: {layer['sram_bytes'] / 1024:,.1f} KiB of SRAM"
        parts.append(_text(label - 6, top + 12, layer["operator"][:28], "end"))
        parts.append(_bar(label, top, (middle - label - 60) * layer["cycles"] / most, said, f"{share:.1f} %"))
        kib = f"{layer['sram_bytes'] / 1024:,.0f}"
        parts.append(_bar(middle + 20, top, (WIDTH - middle - 70) * layer["sram_bytes"] / sram, used, kib))
    return "".join([*parts, "</svg>"])


def _bar(x: float, top: float, width: float, said: str, value: str) -> str:
    return (
        f'<rect class="bar" x="{x:.1f}" y="{top:.1f}" width="{max(width, 0.5):.1f}" height="13" fill="currentColor" '
        f'fill-opacity="0.55"><title>{_escape(said)}</title></rect>{_text(x + width + 4, top + 11, value, "start")}'
    )


# Marks


def _frame(words: str, height: float = HEIGHT) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="group" font-size="11">',
        f"<title>{_escape(words)}</title>",
    ]


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    place = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line class="grid" {place} stroke="currentColor" stroke-opacity="0.2"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{_escape(words)}</text>'


def _escape(words: str) -> str:
    """Text of an SVG; also what reads like a program's address, or an attribute, is none."""
    return html.escape(words).replace(":", "&#58;").replace("=", "&#61;")
