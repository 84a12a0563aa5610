"""Board reports for a release (``boards=``), without anything that identifies the board's owner.

Names of host and user, folders of the board, and messages of its programs are removed. The system, the hashes of the
libraries, the verdicts and the times remain.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from utils import files
from utils.bundle.board_report import Record, load_records, parse_record
from utils.release.model import ReleasedModel

__all__ = ["released_boards"]

#: Keys of /etc/os-release that the vendor sets, not the owner.
_OS = ("ID", "NAME", "PRETTY_NAME", "VERSION", "VERSION_CODENAME", "VERSION_ID")

#: Name of a failure, by the exit code of example.py.
_FAILURES = {5: "the delegate failed", 6: "the CPU ran the model"}


def released_boards(model: ReleasedModel) -> dict[str, Record]:
    """Collect the boards' reports on these artifacts, file name -> report, in an order independent of host names."""
    found, wrong = load_records(model.recipe, model.folder)
    for error in wrong:
        print(f"left out: {error.where}: {error.what}", flush=True)
    texts = sorted(files.dump_json(_without_owner(record)) for record in found.values())
    boards = {}
    for number, text in enumerate(texts, 1):
        record = parse_record(text.encode(), model.name)
        target = "virtual" if record.target == "virtual" else f"board {number}"
        boards[f"board/{number}.json"] = record.model_copy(update={"target": target})
    return boards


def _without_owner(record: Record) -> dict[str, Any]:
    known: dict[str, Any] = record.model_dump(mode="json", exclude_unset=True)
    known["target"] = "virtual" if record.target == "virtual" else "board"
    bsp, report = known["bsp"], known["report"]
    bsp["os"] = {key: value for key, value in bsp["os"].items() if key in _OS}
    bsp["delegates"] = {PurePosixPath(path).name: digest for path, digest in bsp["delegates"].items()}
    if report["delegate"]["library"]:
        report["delegate"]["library"] = PurePosixPath(report["delegate"]["library"]).name
    report["delegate"] |= {"note": None, "options": {}, "name": PurePosixPath(report["delegate"]["name"]).name}
    for entry in report["models"]:
        for part in (entry, entry.get("cpu", {})):
            part.pop("notes", None)
            part.pop("predictions", None)  # paths of images
            part.get("check", {}).pop("remedy", None)
        entry.get("compare", {}).pop("remedy", None)
        entry["delegate"] = PurePosixPath(entry["delegate"]).name
        if "failure" in entry:
            code = entry["failure"]["code"]
            entry["failure"] |= {"what": _FAILURES.get(code, f"example.py ended with exit code {code}"), "remedy": ""}
    return known
