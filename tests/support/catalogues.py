"""Made-up catalogues: a few models, one in each state that a page must name, and 200 for the overview's size."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from typing import Any

from PIL import Image

__all__ = ["BSPS", "EVIL", "TARGETS", "Bundles", "catalogue", "model", "plots", "states", "two_hundred"]

BSPS = [f"LF6.{minor}_{patch}.0.0" for minor in (1, 6, 12, 18) for patch in (1, 2, 3)]

TARGETS = [
    ("vx", "i.MX 8M Plus", "i.MX 8M Plus, NPU through the VX delegate"),
    ("ethos_u", "i.MX 93", "i.MX 93, NPU through Ethos-U (Vela)"),
    ("cpu", "either board", "CPU of either board"),
]

#: Text that would do harm where it is not escaped: tags, ends of attributes and scripts, addresses, direction codes.
EVIL = (
    """<script>alert("x")</script> '"><img src=x onerror=alert(1)> </script><!-- {{ 7*7 }} """
    "\u202egnp.exe\u0000 javascript:x"
)

NEAREST = {
    "id": "vx-nearest-half-pixel",
    "what": "nearest upsampling with half-pixel centres is refused, or gives outputs that do not change with the input",
    "remedy": "upsample bilinearly: that runs there with the CPU's results",
}
BATCH = {
    "id": "ethos-u-batch",
    "what": "up to Vela 4, operators with a batch other than 1 stay on the CPU",
    "remedy": "keep dilated convolutions as one operator, with batch 1",
}
LEFT = {
    "id": "not-on-the-accelerator",
    "what": "the accelerator does not take these operators: they stay on the CPU",
    "remedy": "nothing to do: the model runs, but the copies to the CPU and back cost time",
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def png(number: int = 0, size: tuple[int, int] = (750, 450)) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size, (60, 90 + number * 40 % 160, 120)).save(made, "PNG")
    return made.getvalue()


def cells(verdicts: dict[str, list[tuple[str, int, list[dict[str, str]]]]], total: int) -> list[dict[str, Any]]:
    """The matrix; for each accelerator runs of (verdict, placed, findings), spread evenly over the BSPs."""
    found = []
    for accelerator, runs in verdicts.items():
        for number, bsp in enumerate(BSPS):
            verdict, placed, findings = runs[number * len(runs) // len(BSPS)]
            cell = {"verdict": verdict, "placed": placed, "total": total, "by": "tables", "findings": findings}
            found.append({"accelerator": accelerator, "bsp": bsp, **cell})
    return found


UNTESTED = {"state": "untested", "kind": None, "by": None, "date": None, "bsp": None, "why": None}


def time(kind: str, accelerator: str, ms: float) -> dict[str, Any]:
    source = {"ours": "imx93evk, 2026-11-02", "published": "https://example.org/numbers", "estimated": "Vela 4.3.0"}
    found = {"accelerator": accelerator, "variant": "int8", "ms": ms, "bsp": BSPS[-1], "source": source[kind]}
    return {"kind": kind, **found}


def board(name: str, accelerator: str, **changes: Any) -> dict[str, Any]:
    placement = {"verdict": "green", "placed": 16, "total": 16, "by": "tables", "bsps": BSPS}
    caution = "nobody has compared the answers of this board's NPU"
    found = {"placement": placement, "correctness": UNTESTED, "speed": [], "cpu": [], "caution": caution}
    return {"board": name, "accelerator": accelerator, **found, **changes}


def model(name: str = "demo_bilinear", **changes: Any) -> dict[str, Any]:
    """An entry of catalogue.json: a classifier that runs everywhere."""
    size = {"float32": 96_112, "int8": 33_856}
    variants = [
        {
            "variant": variant,
            "file": f"{name}_{variant}.tflite",
            "size": size[variant],
            "sha256": digest(name + variant),
            "accuracy": 98.6 if variant == "float32" else 98.2,
            "agreement": None if variant == "float32" else 99.7,
            "loss": None if variant == "float32" else 0.4,
            "verdict": "PASS",
            "download": f"models/{name}/{name}_{variant}.tflite",
        }
        for variant in size
    ]
    layers = [
        {"operator": "Conv2D", "name": f"conv_{n}", "cycles": 900.0 * n, "macs": 7000, "sram_bytes": 4096 * n}
        for n in range(1, 5)
    ]
    run = {"bsp": BSPS[-1], "vela": "4.3.0", "ms": 0.048, "sram_kib": 31.5, "dram_kib": 12.0, "cycles": 48_000}
    found = {
        "name": name,
        "title": "Drawn digits with bilinear upsampling",
        "task": "classification",
        "licence": "MIT",
        "group": "zoo",
        "own_weights": False,
        "redistributable": True,
        "weights": "trained here",
        "page": f"models/{name}.html",
        "picture": f"models/{name}/result.png",
        "figures": {key: f"models/{name}/{key}.png" for key in ("result", "confusion")},
        "introduction": "A network of `CONV_2D` and\nupsampling. See [its paper](https://example.org/paper).",
        "limitations": "Use it to try the pipeline.",
        "summary": "reads drawn digits",
        "data": {"dataset": "drawn digits", "id": digest("data"), "count": 1000, "metric": "top-1", "sampled": False},
        "variants": variants,
        "classes": {
            "labels": ["zero", "one"],
            "confusion": {},
            "scores": {"float32": {"0": 91.5, "1": 80.25}, "int8": {"0": 90.0}},
        },
        "parameters": 22_611,
        "macs": 1_946_272,
        "operators": {"CONV_2D": 7, "RESIZE_BILINEAR": 3, "SOFTMAX": 1},
        "input": {
            "name": "image",
            "kind": "image",
            "shape": [1, 28, 28, 1],
            "colour": "gray",
            "fit": "stretch",
            "resize": "bilinear",
            "mean": [0.0],
            "std": [255.0],
        },
        "output": [{"name": "probabilities", "kind": "probabilities", "shape": [1, 10]}],
        "boards": [
            board("i.MX 8M Plus", "NPU through the VX delegate"),
            board(
                "i.MX 93",
                "NPU",
                speed=[time("estimated", "NPU", 0.048)],
                cpu=[time("published", "CPU (1 thread)", 0.6)],
            ),
        ],
        "matrix": cells({key: [("green", 16, [])] for key, _, _ in TARGETS}, 16),
        "npu": [{**run, "layers": layers}],
        "sources": [],
        "tools": {"tensorflow": "2.21.0", "ai-edge-litert": "2.3.0"},
        "files": [
            {"name": each["file"], "size": each["size"], "sha256": each["sha256"], "path": each["download"]}
            for each in variants
        ]
        + [{"name": "model.json", "size": 900, "sha256": digest("model.json"), "path": None}],
        "claims": [],
        "targets": [],
        "measured": [],
        "reports": [],
        "rebuilds": [],
        "rebuilds_failed": [],
        "warnings": [],
        "damaged": None,
        "previous": None,
        "try": None,
    }
    return found | changes


def damaged(
    name: str = "half_there", why: str = "manifest.json: is not JSON -> doit half_there builds it"
) -> dict[str, Any]:
    return {"name": name, "title": name, "page": f"models/{name}.html", "damaged": why}


def catalogue(*models: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The content of catalogue.json with these models."""
    found = {
        "format": 1,
        "title": "nxp-model-zoo",
        "release": None,
        "bsps": [{"name": name, "confirmed": name != BSPS[-1]} for name in BSPS],
        "targets": [{"accelerator": key, "board": name, "text": text} for key, name, text in TARGETS],
        "models": sorted(models, key=lambda each: each["name"]),
    }
    return found | changes


def states() -> dict[str, Any]:
    """A catalogue with one model in each state that a page must name, and one from a board."""
    tested = {"state": "right", "kind": "ours", "by": "imx93evk", "date": "2026-11-02", "bsp": "LF6.12", "why": "PASS"}
    slower = "slower than the CPU: 12 ms against 8 ms (CPU (4 threads), LF6.12, measured by us)"
    red = {"verdict": "red", "placed": 13, "total": 16, "by": "tables", "bsps": BSPS}
    fails = tested | {
        "state": "wrong",
        "kind": "published",
        "by": "https://example.org/issue",
        "date": None,
        "why": "It repeats itself.",
    }
    wrong = "wrong on the board: It repeats itself.; slower than the CPU: 9 ms against 8 ms"
    report = {
        "target": "imx93evk",
        "date": "2026-11-02",
        "board": "NXP i.MX93 11X11 EVK board",
        "system": "NXP i.MX Release Distro 6.12, Linux 6.12.20 aarch64",
        "emulated": False,
        "runtime": "tflite_runtime 2.18.0",
        "variant": "int8",
        "ran_on": "libethosu_delegate.so",
        "verdict": "PASS",
        "first_ms": 40.0,
        "ms": 12.0,
    }
    times = {"speed": [time("ours", "NPU", 12.0), time("estimated", "NPU", 9.0)], "cpu": [time("ours", "CPU", 8.0)]}
    boards = [board("i.MX 93", "NPU", correctness=tested, caution=slower, **times)]
    source = {"name": "weights.h5", "url": None, "licence": None, "sha256": digest("weights")}
    target = {"board": "i.MX 8M Plus", "accelerator": "NPU", "verdict": "fails", "why": "It repeats itself."}
    published = {"board": "i.MX 93", "accelerator": "NPU", "variant": "int8", "ms": 3.46, "bsp": BSPS[0]}
    claim = {
        "what": "accuracy on all images",
        "value": "71.8 %",
        "source": "https://github.com/owner/name/tree/main; a book",
    }
    same = {"accuracy": 98.6, "size": 96_112, "sha256": digest("float32"), "same": True}
    other = {"accuracy": 97.0, "size": 34_000, "sha256": digest("older"), "same": False}
    lanes = {
        "vx": [("red", 13, [NEAREST])],
        "ethos_u": [("yellow", 10, [BATCH, LEFT]), ("yellow", 10, [BATCH, LEFT]), ("green", 16, [])],
        "cpu": [("green", 16, [])],
    }
    return catalogue(
        model("as_it_should_be", boards=boards, reports=[report], sources=[source | {"url": "https://example.org/w"}]),
        model("demo_nearest", group="demo", title="A demo", boards=[board("i.MX 8M Plus", "NPU", placement=red)]),
        model(
            "does_not_run",
            title="Fails on a board",
            task="segmentation",
            licence="Apache-2.0",
            boards=[board("i.MX 8M Plus", "NPU", placement=red, correctness=fails, caution=wrong)],
            matrix=cells(lanes, 16),
            targets=[target | {"source": "https://example.org/issue"}],
            measured=[published | {"command": "benchmark_model --graph=x", "source": "https://example.org/n"}],
            claims=[claim],
        ),
        damaged(),
        model("not_ours", redistributable=False, title="Not redistributable", variants=[]),
        model("own_weights", own_weights=True, weights="user-supplied", sources=[source], title="Somebody's weights"),
        model(
            "moved",
            title="Moved since",
            previous={"version": "1.0.0", "known": True, "variants": {"float32": same, "int8": other}},
            **{"try": {"format": 1, "kind": "draw", "name": "moved", "title": "</script><b>"}},
        ),
        model("new_here", title="New", previous={"version": "1.0.0", "known": False, "variants": {}}),
        release={"version": "1.1.0", "commit": "c0ffee" * 7},
    )


def two_hundred() -> dict[str, Any]:
    """A catalogue of 200 models, as different as real ones: four tasks, verdicts that change with the BSP."""
    tasks, licences = ("classification", "segmentation", "detection", "audio"), ("MIT", "Apache-2.0", "BSD-3-Clause")
    green, red = ("green", 64, []), ("red", 50, [NEAREST])
    yellow, less = ("yellow", 60, [BATCH]), ("yellow", 55, [BATCH, LEFT])
    patterns = [[green], [yellow, green], [red], [less, yellow, green], [green, green, yellow]]
    models = []
    for number in range(200):
        name = f"network_{number * 37 % 200:03}"
        lanes = {"vx": [patterns[number % 3]], "ethos_u": [patterns[number % 5]], "cpu": [patterns[0]]}
        made = model(
            name,
            title=f"Network {number}, MobileNet with {number % 7 + 1} heads",
            task=tasks[number % 4],
            licence=licences[number % 3],
            matrix=cells({key: runs[0] for key, runs in lanes.items()}, 64),
            parameters=22_611 + 40_009 * number,
            npu=[],
            data={
                "dataset": f"set {number % 4}",
                "id": digest(f"{number % 4}"),
                "count": 300,
                "metric": "top-1",
                "sampled": True,
            },
        )
        for entry in made["variants"]:
            entry["accuracy"] = round(55 + (number * 61 % 400) / 10 - entry["size"] / 1e6, 2)
            entry["size"] += 5_003 * number
        models.append(made)
    return catalogue(*models)


def plots(content: dict[str, Any]) -> dict[str, str]:
    """A plot a data set and a chart a compiled model, as small as plots are."""
    whole = [each for each in content["models"] if not each["damaged"]]
    start = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" role="img"><title>Accuracy against size</title>'
    )
    found = {}
    for each in whole:
        words = each["data"]["dataset"]
        dot = (
            '<circle class="dot" cx="{0}" cy="{0}" r="6" fill="currentColor"><title>{1}, int8: 90.00 %</title></circle>'
        )
        dot = dot.format(len(words), each["name"]) + f'<text x="9" y="9">{each["name"]}</text>'
        found.setdefault(f"accuracy-{words}", start)
        found[f"accuracy-{words}"] += f'<a href="models/{each["name"]}.html" data-model="{each["name"]}">{dot}</a>'
        for run in each["npu"]:
            found[f"npu-{each['name']}-{run['bsp']}"] = start + '<rect class="bar" width="9" height="9"/>'
    return {name: f"{text}</svg>" for name, text in found.items()}


class Bundles:
    """Gives the files of made-up bundles, as ``write_site`` asks for them.

    Attributes:
        changes: (model, file name) -> its bytes, or None for a file that is not there.
        asked: what was asked for.
    """

    def __init__(self, changes: dict[tuple[str, str], bytes | None] | None = None) -> None:
        self.changes = changes or {}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, file: str) -> bytes | None:
        self.asked.append((name, file))
        if (name, file) in self.changes:
            return self.changes[name, file]
        if file == "README.md":
            return CARD.format(name=name).encode()
        if file.endswith(".png"):
            return png(len(name))
        return f"{name} {file}".encode() if file.endswith((".tflite", ".json")) else None


CARD = """# {name}

> **A demo.** Of *nothing* real.

| At a glance | |
|---|---|
| Licence | MIT |

<!-- boards: begin -->
## On boards
<!-- boards: end -->

![Input and output](figures/result.png) and ![Confusion matrix](figures/confusion.png)

[the code](https://github.com/owner/name/tree/main), [a file](model.json), [x](javascript:alert(1))

![tracked](https://evil.example/pixel.png) <b>bold</b>

    python3 example.py
"""
