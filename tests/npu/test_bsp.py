"""The list of BSPs: whole, in order, and what it says of the default is what docker/ installs."""

from __future__ import annotations

import re

import pytest

from utils import paths
from utils.errors import BuildError
from utils.npu import bsp, vela


def test_every_row_is_complete_and_rows_are_sorted() -> None:
    found = list(bsp.load_bsps().values())
    assert len(found) >= 14
    for row in found:
        assert re.fullmatch(r"LF\d+\.\d+\.\d+_\d+\.\d+\.\d+", row.name)
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", text) for text in (row.vela, row.tflite)), row
        assert row.source
    for key in ("name", "vela", "tflite"):
        numbers = [bsp.parse_version(getattr(row, key).removeprefix("LF").replace("_", ".")) for row in found]
        assert numbers == sorted(numbers), key
    assert found[0].tflite == "2.9.1"


def test_a_version_that_nobody_confirmed_is_at_least_the_one_before() -> None:
    assert bsp.find_bsp("LF6.12.3_1.0.0").tflite == bsp.find_bsp("LF6.6.36_2.1.0").tflite == "2.16.2"
    assert not bsp.find_bsp("LF6.12.3_1.0.0").confirmed


def test_the_default_bsp_matches_the_vela_of_the_image() -> None:
    default = bsp.find_default_bsp()
    assert (default.name, default.vela) == ("LF6.12.34_2.1.0", "4.3.0")
    assert f"\nARG VELA={default.vela}\n" in (paths.DOCKER / "Dockerfile").read_text()
    assert f"\ndefault_vela={default.vela} " in (paths.DOCKER / "run").read_text()
    assert vela.lock_file(default.vela).is_file()


def test_every_locked_vela_belongs_to_a_bsp() -> None:
    locked = {file.stem.removeprefix("requirements-vela-") for file in paths.DOCKER.glob("requirements-vela-*.txt")}
    assert {"3.12.0", "4.3.0", "5.0.0"} <= locked <= {row.vela for row in bsp.load_bsps().values()}


@pytest.mark.parametrize(("name", "near"), [("LF6.6.3", "did you mean 'LF6.6.3_1.0.0'"), ("nonsense", "")])
def test_an_unknown_bsp_lists_the_known_ones(name: str, near: str) -> None:
    with pytest.raises(BuildError, match=f"no BSP is called '{name}'") as caught:
        bsp.find_bsp(name)
    assert near in str(caught.value)
    assert all(known in str(caught.value) for known in bsp.load_bsps())


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2.10.0", (2, 10, 0)),
        ("4.3", (4, 3)),
        ("2.16.0rc1", (2, 16, 0)),
        ("2.²", (2,)),  # isdigit, but no number
        ("2." + "9" * 5000, (2, 999_999_999)),
        ("", ()),
        ("v2", ()),
    ],
)
def test_parse_version(text: str, numbers: tuple[int, ...]) -> None:
    assert bsp.parse_version(text) == numbers
