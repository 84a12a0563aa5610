"""What the catalogue says of a board: prediction, measurement and estimate told apart, and green never alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import DEFAULT, add_record, add_vela, make_bundle
from utils.catalogue.boards import boards_of, matrix_of, npu_of, reports_of
from utils.catalogue.facts import read
from utils.catalogue.parts import Board
from utils.npu import bsp

MX8, MX93 = "i.MX 8M Plus", "i.MX 93"


def on(folder: Path, board: str) -> Board:
    return next(found for found in boards_of(read(folder)) if found.board == board)


def measured(*rows: tuple[str, str, float], release: str = "LF6.1.36_2.1.0") -> Any:
    table = [
        {
            "board": board, "accelerator": accelerator, "variant": "int8", "ms": ms, "bsp": release,
            "command": "benchmark_model", "source": "https://example.org",
        }
        for board, accelerator, ms in rows
    ]  # fmt: skip
    return lambda found: found["card"].update(measured=table)


def known(verdict: str, board: str = MX8, accelerator: str = "NPU through the VX delegate") -> Any:
    target = {
        "board": board, "accelerator": accelerator, "verdict": verdict, "why": "so it is", "source": "https://example.org",
    }  # fmt: skip
    return lambda found: found["card"].update(targets=[target])


def test_without_a_board_green_has_a_caution_beside_it(tmp_path: Path) -> None:
    for found in boards_of(read(make_bundle(tmp_path / "pets"))):
        assert found.placement is not None
        assert (found.placement.verdict, found.placement.by) == ("green", "tables")
        assert found.placement.bsps == list(bsp.load_bsps())
        assert found.correctness.state == "untested"
        assert found.caution == "nobody has compared the answers of this board's NPU"
        assert found.speed == found.cpu == []


def test_a_board_that_ran_the_file_says_whether_it_is_right(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, ms=8.0, cpu_ms=12.0)
    found = on(bundle, MX8)
    assert (found.correctness.state, found.correctness.kind, found.correctness.by) == ("right", "ours", "desk")
    assert (found.correctness.date, found.correctness.bsp) == ("2026-01-02", "NXP i.MX Release Distro 6.12")
    assert [(time.kind, time.accelerator, time.ms) for time in found.speed] == [("ours", "NPU", 8.0)]
    assert [(time.kind, time.accelerator, time.ms) for time in found.cpu] == [("ours", "CPU", 12.0)]
    assert found.caution is None
    assert on(bundle, MX93).correctness.state == "untested"


@pytest.mark.parametrize("verdict", ["FIXED_OUTPUT", "NAN", "SATURATED", "MISMATCH"])
def test_a_wrong_answer_is_named(verdict: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, verdict=verdict)
    found = on(bundle, MX8)
    assert (found.correctness.state, found.correctness.why) == ("wrong", verdict)
    assert found.caution == f"wrong on the board: {verdict}"


def test_a_delegate_that_fails_is_wrong_and_has_no_time(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, failure={"code": 5, "what": "the delegate refuses it", "remedy": "-"})
    found = on(bundle, MX8)
    assert found.caution == "wrong on the board: the delegate refuses it"
    assert found.speed == []


def test_the_newest_report_counts(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, verdict="MISMATCH", date="2026-01-01", target="old", ms=1.0)
    add_record(bundle, date="2026-03-01", target="new", ms=2.0)
    found = on(bundle, MX8)
    assert (found.correctness.state, found.correctness.by) == ("right", "new")
    assert [time.ms for time in found.speed] == [2.0]
    assert [report.target for report in reports_of(read(bundle))] == ["new", "old"]


def test_the_cpu_of_a_board_says_nothing_of_its_npu(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, delegate="cpu", ms=5.0)
    found = on(bundle, MX8)
    assert found.correctness.state == "untested"
    assert found.speed == []
    assert [time.accelerator for time in found.cpu] == ["CPU"]


def test_an_emulation_is_no_board(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, emulated=True)
    assert on(bundle, MX8).correctness.state == "untested"
    assert on(bundle, MX8).speed == []
    (report,) = reports_of(read(bundle))
    assert report.emulated
    assert (report.ms, report.first_ms) == (None, None)


def test_boards_are_known_by_their_models(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_record(bundle, "NXP i.MX93 11X11 EVK board", delegate="ethosu", target="a")
    add_record(bundle, "Raspberry Pi 4", delegate="vx", target="b")
    assert on(bundle, MX93).correctness.by == "a"
    assert on(bundle, MX8).correctness.state == "untested"


def test_what_others_found_is_said_to_be_theirs(tmp_path: Path) -> None:
    right = on(make_bundle(tmp_path / "right", manifest=known("works")), MX8)
    assert (right.correctness.state, right.correctness.kind, right.correctness.by) == (
        "right", "published", "https://example.org",
    )  # fmt: skip
    assert right.caution == "others found the answers right, with their own file"
    wrong = on(make_bundle(tmp_path / "wrong", manifest=known("fails")), MX8)
    assert wrong.caution == "wrong on the board: so it is"
    assert on(make_bundle(tmp_path / "un", manifest=known("untested")), MX8).correctness.state == "untested"


def test_ours_counts_more_than_what_others_found(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets", manifest=known("fails"))
    add_record(bundle)
    assert on(bundle, MX8).correctness.kind == "ours"


def test_an_npu_slower_than_the_cpu_is_said_with_both_times(tmp_path: Path) -> None:
    ours = make_bundle(tmp_path / "ours")
    add_record(ours, ms=12.0, cpu_ms=8.0)
    words = "slower than the CPU: 12 ms against 8 ms (CPU, NXP i.MX Release Distro 6.12, measured by us)"
    assert on(ours, MX8).caution == words
    rows = measured(
        (MX8, "NPU", 12.0), (MX8, "CPU (1 thread)", 20.0), (MX8, "CPU (4 threads)", 8.0), (MX93, "NPU", 3.0)
    )
    theirs = on(make_bundle(tmp_path / "theirs", manifest=rows), MX8)
    assert theirs.caution is not None
    words = "slower than the CPU: 12 ms against 8 ms (CPU (4 threads), LF6.1.36_2.1.0, published)"
    assert theirs.caution.endswith(words)


def test_times_of_two_kinds_are_never_compared(tmp_path: Path) -> None:
    rows = measured((MX93, "CPU (1 thread)", 1.0), (MX8, "CPU (1 thread)", 1.0))
    bundle = make_bundle(tmp_path / "pets", manifest=rows)
    add_vela(bundle, ms=40.0)
    add_record(bundle, ms=12.0)
    for board in (MX8, MX93):
        assert "slower" not in (on(bundle, board).caution or "")
    assert [time.kind for time in on(bundle, MX93).speed] == ["estimated"]
    assert on(bundle, MX93).speed[0].source == f"Vela {bsp.find_default_bsp().vela}"


def test_times_with_two_bsps_are_never_compared(tmp_path: Path) -> None:
    def change(found: Any) -> None:
        measured((MX8, "NPU", 12.0))(found)
        kept = found["card"]["measured"]
        measured((MX8, "CPU (1 thread)", 8.0), release="LF6.6.36_2.1.0")(found)
        found["card"]["measured"] += kept

    assert "slower" not in (on(make_bundle(tmp_path / "pets", manifest=change), MX8).caution or "")


def test_what_vela_placed_counts_more_than_the_tables(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_vela(bundle, on_cpu=1)
    cells = {(cell.accelerator, cell.bsp): cell for cell in matrix_of(read(bundle))}
    assert len(cells) == 3 * len(bsp.load_bsps())
    asked = cells["ethos_u", DEFAULT]
    assert (asked.verdict, asked.placed, asked.total) == ("yellow", 3, 4)
    assert asked.by == f"Vela {bsp.find_default_bsp().vela}"
    assert [(found.id, found.what) for found in asked.findings] == [("vela-cpu", "SOFTMAX: not supported")]
    assert {cell.by for key, cell in cells.items() if key != ("ethos_u", DEFAULT)} == {"tables"}
    placement = on(bundle, MX93).placement
    assert placement is not None
    assert placement.bsps == [DEFAULT]


def test_vela_takes_back_no_red(tmp_path: Path) -> None:
    finding = {"id": "runtime-too-old", "what": "too old", "remedy": "a newer one", "operators": {}, "evidence": "-"}

    def change(found: Any) -> None:
        found["targets"][1].update(verdict="red", findings=[finding])

    bundle = make_bundle(tmp_path / "pets", compat=change)
    add_vela(bundle)
    cell = next(cell for cell in matrix_of(read(bundle)) if (cell.accelerator, cell.bsp) == ("ethos_u", DEFAULT))
    assert (cell.verdict, [found.id for found in cell.findings]) == ("red", ["runtime-too-old"])


def test_an_unknown_bsp_is_left_out(tmp_path: Path) -> None:
    def change(found: Any) -> None:
        found["targets"][0]["bsps"] = ["LF99", DEFAULT]

    cells = matrix_of(read(make_bundle(tmp_path / "pets", compat=change)))
    assert [cell.bsp for cell in cells if cell.accelerator == "vx"] == [DEFAULT]


def test_the_layers_of_the_npu(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    add_vela(bundle)
    (run,) = npu_of(read(bundle))
    assert (run.bsp, run.ms, run.dram_kib, len(run.layers)) == (DEFAULT, 4.0, 64.5, 3)
