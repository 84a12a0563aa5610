"""Sites that tests look at with a browser: a server for a folder, pages with "try it" alone, and axe-core."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import answering
from utils.catalogue import browser, try_it
from utils.catalogue.serve import make_server
from utils.errors import SourceError

#: What checks a page's accessibility: fetched as the runtime is, and used by tests alone.
AXE = browser.Package(
    "axe-core",
    "4.10.3",
    563_802,
    "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292",
    "MPL-2.0",
    {"axe.min.js": "axe.min.js"},
)

#: A page as the catalogue's: nothing of "try it" is loaded until the button is pressed.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main><h1>{title}</h1>
<section id="try" data-model="{name}"><h2>Try it</h2><button type="button" class="go">Try it</button></section>
<script type="application/json" id="try-data">{data}</script>
<script>document.querySelector(".go").addEventListener("click", () => import("../try.js"));</script>
</main></body></html>
"""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback; yields its address, which ends with a slash."""
    with answering(make_server(folder, 0)) as host:
        yield f"http://{host}/"


def had(*packages: browser.Package) -> dict[str, bytes]:
    """The files of packages of npm; without a cache, a mirror or a registry that has them, the test is skipped."""
    try:
        return browser.load(packages)
    except SourceError as error:
        pytest.skip(f"{', '.join(package.name for package in packages)} of npm cannot be had: {error.what}")


def write_trials(bundles: dict[str, Path], to: Path) -> Path:
    """Write a site with one page a bundle, which has "try it" and nothing else."""
    had(*browser.PACKAGES)
    trials = {name: try_it.make(name, folder) for name, folder in bundles.items()}
    try_it.beside(trials)
    files = browser.files()
    for name, trial in trials.items():
        assert trial.entry, trial.why
        data = json.dumps(trial.entry).replace("<", "\\u003c")
        page = PAGE.format(title=html.escape(trial.entry["title"]), name=name, data=data)
        files |= {**trial.files, f"models/{name}.html": page.encode()}
    for path, content in files.items():
        (to / path).parent.mkdir(parents=True, exist_ok=True)
        (to / path).write_bytes(content)
    return to
