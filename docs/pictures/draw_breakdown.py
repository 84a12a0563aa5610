"""Draw breakdown.png: where the CPU seconds of three builds go, before and after, from the rows of breakdown.csv.

docker/run python docs/pictures/draw_breakdown.py
"""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
#: Okabe and Ito's palette, and greys for what is not the model's own work.
PHASES = {
    "start": "#5F5F5F",
    "read": "#999999",
    "download": "#CCCCCC",
    "load": "#CCCCCC",
    "train": "#0072B2",
    "convert": "#E69F00",
    "calibrate": "#F0E442",
    "evaluate": "#009E73",
    "validate": "#56B4E9",
    "card": "#CC79A7",
    "records": "#D55E00",
    "doit": "#000000",
}


def main() -> None:
    """Draw it."""
    with (HERE / "breakdown.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    bars = list(dict.fromkeys((row["build"], row["when"]) for row in rows))
    bars.sort(key=lambda bar: list(dict.fromkeys(row["build"] for row in rows)).index(bar[0]))
    figure, axis = plt.subplots(figsize=(7.0, 0.45 * len(bars) + 1.1), layout="constrained")
    for place, bar in enumerate(bars):
        ours = {row["phase"]: float(row["cpu_seconds"]) for row in rows if (row["build"], row["when"]) == bar}
        left = 0.0
        for phase, colour in PHASES.items():
            axis.barh(place, ours.get(phase, 0.0), left=left, color=colour, height=0.75)
            left += ours.get(phase, 0.0)
        axis.text(left + 0.5, place, f"{ours['whole']:.0f}", va="center", fontsize=8)
    axis.set_yticks(range(len(bars)), [f"{build}, {when}" for build, when in bars], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("CPU seconds", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    shown = [
        phase for phase in PHASES if any(row["phase"] == phase and float(row["cpu_seconds"]) >= 0.5 for row in rows)
    ]
    axis.legend(
        [plt.Rectangle((0, 0), 1, 1, color=PHASES[phase]) for phase in shown], shown, fontsize=7, frameon=False, ncols=2
    )
    figure.savefig(HERE / "breakdown.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
