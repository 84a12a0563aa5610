"""``python -m utils.board prepare TARGETS`` and ``python -m utils.board run TARGETS MODEL``; doit calls both.

The boards of one call work side by side and end independently; errors are reported at the end.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from utils import files, paths, program
from utils.board import Board, Bundle, Outcome, Say, file_name_of
from utils.board.answers import read_report
from utils.board.ssh import Ssh
from utils.board.virtual import Virtual
from utils.bundle.board_report import Report, parse_record
from utils.errors import BoardError, BuildError, ValidationError, ZooError, storage_error
from utils.graph import plan
from utils.recipe.load import find_recipe, read_recipes
from utils.recipe.schema import Recipe
from utils.untrusted import as_lines, as_text


def boards(targets: str) -> list[Board]:
    """List the boards that the user named.

    Raises:
        BoardError: none is named, or a name is not a target.
    """
    names = list(dict.fromkeys(filter(None, targets.split(","))))
    if not names:
        raise BoardError(
            "no board is named",
            hint="doit board target=virtual, or target=root@HOST[:PORT]; separate several with commas",
        )
    return [Virtual() if name == "virtual" else Ssh(name) for name in names]


def prepare(targets: str) -> None:
    """Report what is impossible before anything runs."""
    known = read_recipes()[0]
    left_out = [name for name in known if not (paths.bundle(name) / "SHA256SUMS").is_file()]
    if len(left_out) == len(known):
        raise BuildError(
            "there is no bundle", where=paths.relative(paths.ARTIFACTS), hint="build one: doit mnist_bilinear"
        )
    for board in boards(targets):
        board.prepare(_say(board.target))
    if left_out:
        _say("")(f"not built, so not run: {', '.join(left_out)}")


def run(targets: str, model: str) -> None:
    """Run one bundle on every board, keep the results, and update the card."""
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
        report = read_report(outcome, bundle, board.target)
        save_report(board, bundle, outcome, report)
        return check_report(board, bundle, report, outcome)
    except ZooError as error:
        return error
    except OSError as error:
        return storage_error(error)


def save_report(board: Board, bundle: Bundle, outcome: Outcome, report: Report) -> None:
    """Write ``board/<target>.json`` beside the other intermediate files, and into the bundle.

    Raises:
        BoardError: the record could not be read again.
    """
    assert outcome.bsp is not None
    facts = {
        "format": 1,
        "target": board.target,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "emulated": board.emulated,
        "bsp": outcome.bsp.model_dump(mode="json"),
        "files": {name: digest for name, digest in bundle.files.items() if name.endswith(".tflite")},
        "report": report.model_dump(mode="json", exclude_unset=True),
    }
    if outcome.peak:
        facts["memory"] = {"peak": outcome.peak, "limit": board.limit}
    text = files.dump_json(facts)
    parse_record(text.encode(), board.target)
    folders = [paths.work(bundle.model)]
    folders += [bundle.folder] if (bundle.folder / files.SUMS).is_file() else []  # `doit clean` may have removed it
    for folder in folders:
        final = folder / "board" / f"{file_name_of(board.target)}.json"
        final.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(final, text)


def check_report(board: Board, bundle: Bundle, report: Report, outcome: Outcome) -> ValidationError | None:
    """Report the result; returns an error unless every verdict is PASS."""
    say = _say(f"{bundle.model} {board.target}")
    wrong = []
    for entry in report.models:
        checks = [check for check in (entry.check, entry.compare) if check and check.verdict != "PASS"]
        failures = [as_text(f"{check.verdict}: {check.remedy}") for check in checks]
        if entry.failure:
            failures.append(as_text(f"{entry.failure.what}: {entry.failure.remedy}"))
        name, delegate = as_text(entry.file), as_text(entry.delegate, 100)
        wrong += [f"{name} on {delegate}: {failure}" for failure in dict.fromkeys(failures)]
        if not failures and entry.check and entry.steady_ms:
            time = "" if board.emulated else f", {entry.steady_ms.median:.2f} ms"
            runtime = as_text(f"{report.runtime.name} {report.runtime.version}", 100)
            say(f"{as_text(entry.variant)}: {entry.check.verdict} on {delegate}, {runtime}{time}")
    if not wrong and outcome.code == 0:
        return None
    wrong = wrong or [f"example.py ended with exit code {outcome.code}: {as_text(outcome.err.strip())}"]
    return ValidationError("\n  ".join(wrong), where=board.target, hint="see the card of the bundle")


def _make_card(found: Recipe) -> None:
    """Update the card if all its inputs are present and current; otherwise the next build does it."""
    *before, card = plan.steps_of(found)
    if not all(step.is_current() for step in before):
        _say(found.name)(f"the card shows it after the next `doit {found.name}`")
        return
    made = subprocess.run(
        card.command, env=os.environ | {"ZOO_PARENT": str(os.getpid())}, stdout=subprocess.PIPE, text=True
    )
    for line in made.stdout.splitlines():
        if "left out: " in line:
            _say(found.name)(line)
    if made.returncode:
        raise BuildError("the card could not be made", where=found.name, hint=f"doit {found.name}")


def _say(about: str) -> Say:
    def say(text: str) -> None:
        sys.stdout.write(as_lines(f"board{about and ' '}{about}: {text}\n"))
        sys.stdout.flush()

    return say


def _print_error(where: str, error: ZooError) -> None:
    sys.stderr.write(as_lines(f"\nerror: board {where}: {error}\n"))
    sys.stderr.flush()


def main(verb: str, *words: str) -> None:
    """Run the command, or end the process with a message and an exit code."""
    program.prepare()
    try:
        if verb == "prepare":
            prepare(*words)
        else:
            run(*words)
    except BaseException as error:
        program.end(error, f"board {words[1]}" if verb == "run" else "board")


if __name__ == "__main__":
    main(*sys.argv[1:])
