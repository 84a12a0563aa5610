"""``python -m utils.board prepare TARGETS`` and ``python -m utils.board run TARGETS MODEL``; doit calls both.

The boards of one call work side by side; each ends for itself, and what went wrong is said at the end.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from utils import files, paths
from utils.board import Board, Bundle, Outcome, Say, file_name_of
from utils.board.ssh import Ssh
from utils.board.virtual import Virtual
from utils.errors import BoardError, BuildError, ValidationError, ZooError, storage_error
from utils.graph import plan
from utils.recipe.load import find_recipe, load_recipes
from utils.recipe.schema import Recipe


def boards(targets: str) -> list[Board]:
    """The boards that the user named.

    Raises:
        BoardError: none, or one that is no target.
    """
    names = list(dict.fromkeys(filter(None, targets.split(","))))
    if not names:
        raise BoardError(
            "which board?", hint="doit board target=virtual, or target=root@HOST[:PORT]; several with commas"
        )
    return [Virtual() if name == "virtual" else Ssh(name) for name in names]


def prepare(targets: str) -> None:
    """Say what cannot be, before anything runs."""
    left_out = [name for name in load_recipes() if not (paths.bundle(name) / "SHA256SUMS").is_file()]
    if len(left_out) == len(load_recipes()):
        raise BuildError(
            "there is no bundle", where=paths.relative(paths.ARTIFACTS), hint="build one: doit mnist_bilinear"
        )
    for board in boards(targets):
        board.prepare(_say(board.target))
    if left_out:
        _say("")(f"not built, so not on a board: {', '.join(left_out)}")


def run(targets: str, model: str) -> None:
    """Run one bundle on every board, keep what was seen, and make the card again."""
    found = find_recipe(model)
    chosen, bundle = boards(targets), Bundle.of(found)
    with ThreadPoolExecutor(len(chosen)) as pool:
        errors = list(filter(None, pool.map(lambda board: _one(board, bundle), chosen)))
    if len(errors) < len(chosen) or any(isinstance(error, ValidationError) for error in errors):
        _make_card(found)
    for error in errors[:-1]:
        _print_error(model, error)
    if errors:
        raise errors[-1]


def _one(board: Board, bundle: Bundle) -> ZooError | None:
    try:
        outcome = board.measure(bundle, _say(f"{bundle.model} {board.target}"))
        report = _report(board, outcome)
        save_report(board, bundle, outcome, report)
        return check_report(board, bundle, report, outcome)
    except ZooError as error:
        return error
    except OSError as error:
        return storage_error(error)


def _report(board: Board, outcome: Outcome) -> dict[str, Any]:
    """What example.py printed.

    Raises:
        BoardError: it could not run: no runtime, no numpy, a file that cannot be read.
    """
    try:
        begin = outcome.out.find("\n{") + 1  # a login script may greet first
        report: dict[str, Any] = json.loads(outcome.out[begin:])
    except ValueError:
        said = [line for line in outcome.err.strip().splitlines() if line.startswith(("example.py: ", "  -> "))]
        if not said:
            said = [f"example.py ended with exit code {outcome.code}: {(outcome.err.strip().splitlines() or [''])[-1]}"]
        what, _, hint = "\n".join(said).partition("\n  -> ")
        raise BoardError(what.removeprefix("example.py: "), where=board.target, hint=hint) from None
    return report


def save_report(board: Board, bundle: Bundle, outcome: Outcome, report: dict[str, Any]) -> None:
    """Write ``board/<target>.json`` beside the other intermediate files, and into the bundle."""
    entry = {
        "format": 1,
        "target": board.target,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "emulated": board.emulated,
        "bsp": outcome.bsp,
        "files": {name: digest for name, digest in bundle.files.items() if name.endswith(".tflite")},
        "report": report,
    }
    if outcome.peak:
        entry["memory"] = {"peak": outcome.peak, "limit": board.limit}
    for folder in (paths.work(bundle.model), bundle.folder):
        final = folder / "board" / f"{file_name_of(board.target)}.json"
        final.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(final, files.dump_json(entry))


def check_report(board: Board, bundle: Bundle, report: dict[str, Any], outcome: Outcome) -> ValidationError | None:
    """Say what came out; the error is returned for every verdict that is not PASS."""
    say = _say(f"{bundle.model} {board.target}")
    wrong = []
    for entry in report["models"]:
        failures = [f"{entry[part]['verdict']}: {entry[part]['remedy']}" for part in ("check", "compare")
                    if part in entry and entry[part]["verdict"] != "PASS"]  # fmt: skip
        if "failure" in entry:
            failures.append(f"{entry['failure']['what']}: {entry['failure']['remedy']}")
        wrong += [f"{entry['file']} on {entry['delegate']}: {failure}" for failure in dict.fromkeys(failures)]
        if not failures:
            time = "" if board.emulated else f", {entry['steady_ms']['median']:.2f} ms"
            runtime = f"{report['runtime']['name']} {report['runtime']['version']}"
            say(f"{entry['variant']}: {entry['check']['verdict']} on {entry['delegate']}, {runtime}{time}")
    if not wrong and outcome.code == 0:
        return None
    wrong = wrong or [f"example.py ended with exit code {outcome.code}: {outcome.err.strip()}"]
    return ValidationError("\n  ".join(wrong), where=board.target, hint="the card of the bundle shows it too")


def _make_card(found: Recipe) -> None:
    """Let the card show it, where all that the card is made of is there and current; else the next build does."""
    *before, card = plan.steps_of(found)
    if not all(step.is_current() for step in before):
        _say(found.name)(f"the card shows it after the next `doit {found.name}`")
        return
    quiet = subprocess.run(card.command, env=os.environ | {"ZOO_PARENT": str(os.getpid())}, stdout=subprocess.DEVNULL)
    if quiet.returncode:
        raise BuildError("the card could not be made", where=found.name, hint=f"doit {found.name}")


def _say(about: str) -> Say:
    def say(text: str) -> None:
        sys.stdout.write(f"board{about and ' '}{about}: {text}\n")
        sys.stdout.flush()

    return say


def _print_error(where: str, error: ZooError) -> None:
    sys.stderr.write(f"\nerror: board{where and ' '}{where}: {error}\n")
    sys.stderr.flush()


def main(verb: str, *words: str) -> int:
    """Do it; returns the exit code."""
    try:
        if verb == "prepare":
            prepare(*words)
        else:
            run(*words)
    except ZooError as error:
        _print_error(words[1] if verb == "run" else "", error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
