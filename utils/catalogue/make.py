"""Make the site of a folder of bundles: for ``doit catalogue``, and for a release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from utils.catalogue import browser, plots, site, try_it
from utils.catalogue.collect import Collected, Options, cleaned, collect
from utils.errors import SourceError, ZooError
from utils.untrusted import as_lines, as_text

__all__ = ["make_site"]


def make_site(bundles: Path, to: Path, options: Options, note: Callable[[str], object]) -> Collected:
    """Read every bundle of a folder, and write the site.

    Args:
        bundles: a folder of bundles; it is only read.
        to: the folder of the site: not there yet, empty, or a site.
        options: what it is made for.
        note: told of what is left out, a sentence each.

    Returns:
        What was collected.

    Raises:
        DataError: ``bundles`` cannot be read.
        SourceError: the site always has the runtime, and it cannot be had.
        BuildError: ``to`` is no site.
        StorageError: it cannot be written.
    """
    found = collect(bundles, options)
    for model in found.content["models"]:
        if model["damaged"]:
            note(f"damaged: {model['name']}: {model['damaged']}")
        else:
            for words in model["warnings"]:
                note(f"{model['name']}: {words}")
    for words in found.notes:
        note(words)
    more = _trials(found, options, note)
    site.write_site(found.content, plots.plots_of(found.content), found.read, to, more)
    return found


def _trials(found: Collected, options: Options, note: Callable[[str], object]) -> dict[str, bytes]:
    """Path -> bytes of what a browser needs to run the models; their entries go into the content."""
    if not found.bundles or options.trials == "never":
        return {}
    try:
        more = browser.files()
    except SourceError as error:
        if options.trials == "always":
            raise
        note(as_lines(f'made without "try it": {error.what}\n-> {error.hint}'))
        return {}
    trials: dict[str, try_it.Trial] = {}
    for name, facts in found.bundles.items():
        if not facts.manifest.card.redistributable:
            continue
        try:
            trials[name] = try_it.make(name, facts.folder)
        except ZooError as error:
            note(f"{name}: cannot be tried: {as_text(error.what)}")
    try_it.beside(trials)
    can = {name: trial for name, trial in trials.items() if trial.entry}
    for model in found.content["models"]:
        if model["name"] in can:
            model["try"] = cleaned(can[model["name"]].entry)
            more |= can[model["name"]].files
    return more if can else {}
