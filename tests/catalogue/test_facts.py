"""What is read of a bundle: a whole one, and whatever else may stand in its place; nothing of it raises or runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import DEFAULT, add_record, add_vela, make_bundle
from utils import files, limits
from utils.catalogue.collect import collect
from utils.catalogue.facts import read
from utils.errors import DataError


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(folder)
    assert caught.value.hint == f"doit {folder.name} builds it again"
    return caught.value.what


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "artifacts" / "pets")


def test_a_whole_bundle(bundle: Path) -> None:
    add_vela(bundle)
    add_record(bundle)
    found = read(bundle)
    assert found.name == "pets"
    assert found.labels == ("cat", "dog")
    assert found.left_out == ()
    assert found.sizes["pets_int8.tflite"] == (bundle / "pets_int8.tflite").stat().st_size
    assert [run.bsp.name for run in found.compiled] == [DEFAULT]
    assert [record.target for record in found.records] == ["desk"]
    assert set(found.sums) == {
        "README.md", "compat.json", "figures/result.png", "labels.txt", "manifest.json", "model.json",
        "pets_float32.tflite", "pets_int8.tflite",
    }  # fmt: skip


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def put(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def link(name: str, to: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        kept = folder.parent / "kept"
        (folder / name).rename(kept)
        (folder / name).symlink_to(kept if to == "kept" else to)

    return change


def pipe(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


DAMAGE = {
    "empty": (
        lambda folder: [shutil.rmtree(folder), folder.mkdir()],
        "SHA256SUMS: is missing: the bundle is not whole",
    ),
    "without sums": (remove(files.SUMS), "SHA256SUMS: is missing"),
    "half": (remove("pets_int8.tflite"), "pets_int8.tflite: is missing"),
    "a bit": (put("pets_int8.tflite", b"other"), "pets_int8.tflite: changed after the build"),
    "card": (put("README.md", b"# Other"), "README.md: changed after the build"),
    "linked model": (link("pets_int8.tflite", "kept"), "pets_int8.tflite: is a link, or reached through one"),
    "linked folder": (link("figures", "kept"), "figures/result.png: is a link, or reached through one"),
    "linked secret": (link("README.md", "/etc/passwd"), "README.md: is a link"),
    "linked sums": (link(files.SUMS, "kept"), "SHA256SUMS: is a link"),
    "pipe": (pipe("model.json"), "model.json: is not a regular file"),
    "piped sums": (pipe(files.SUMS), "SHA256SUMS: is missing"),
    "sums of noise": (put(files.SUMS, b"\xff\xfe"), "SHA256SUMS: "),
    "sums that leave": (put(files.SUMS, b"0" * 64 + b"  ../../secret\n"), "SHA256SUMS has a malformed line"),
    "sums of nothing": (put(files.SUMS, b""), "manifest.json: is missing"),
    "too many": (
        put(files.SUMS, b"".join(b"0" * 64 + b"  f%d\n" % number for number in range(limits.ARCHIVE_FILES + 1))),
        "names more than 2,000 files",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(case: str, bundle: Path) -> None:
    change, said = DAMAGE[case]
    change(bundle)
    assert said in refused(bundle)


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "older": ({"manifest": lambda found: found.update(format=1)}, "manifest.json: is of format 1, of an older version"),
    "newer": ({"manifest": lambda found: found.update(format=3)}, "manifest.json: is of format 3, of a newer version"),
    "odd format": ({"manifest": lambda found: found.update(format="2")}, "manifest.json: format: "),
    "no card": ({"manifest": lambda found: found.pop("card")}, "manifest.json: card: Field required"),
    "other model": ({"manifest": lambda found: found.update(model="cars")}, "another model than the folder's name"),
    "a list": ({"raw": {"model.json": b"[]"}}, "model.json: the document: should be an object"),
    "not JSON": ({"raw": {"manifest.json": b"{"}}, "manifest.json: is not JSON"),
    "not text": ({"raw": {"manifest.json": b"\xff"}}, "manifest.json: is not JSON"),
    "deep": ({"raw": {"manifest.json": b"[" * 100_000}}, "brackets deep"),
    "NaN": ({"raw": {"compat.json": b'{"format": NaN}'}}, "NaN is not allowed in JSON"),
    "infinity": (
        {"manifest": lambda found: found["evaluation"]["variants"]["int8"].update(accuracy=1e300)},
        "manifest.json: evaluation.variants.int8.accuracy: ",
    ),
    "a number as text": ({"manifest": lambda found: found["graph"].update(macs="9")}, "manifest.json: graph.macs: "),
    "less than nothing": ({"manifest": lambda found: found["graph"].update(macs=-1)}, "manifest.json: graph.macs: "),
    "long": (
        {"manifest": lambda found: found["card"].update(summary="x" * (limits.CATALOGUE_TEXT_CHARS + 1))},
        "manifest.json: card.summary: ",
    ),
    "a path": (
        {"model": lambda found: found["variants"]["int8"].update(file="../x")},
        "model.json: variants.int8.file: ",
    ),
    "other variants": ({"model": lambda found: found["variants"].pop("int8")}, "name other variants"),
    "unknown variant": (
        {"model": lambda found: found["variants"].update(float16=found["variants"]["int8"])}, "model.json: variants.",
    ),
    "swapped": (
        {"model": lambda found: found["variants"]["int8"].update(file="pets_float32.tflite")},
        "pets_float32.tflite: is not the int8 file that was measured",
    ),
    "other compat": ({"compat": lambda found: found.update(sha256="0" * 64)}, "compat.json: is about another file"),
    "odd verdict": (
        {"compat": lambda found: found["targets"][0].update(verdict="blue")},
        "compat.json: targets.0.verdict: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_files_that_fit_their_sums_and_not_the_schema_are_named(case: str, tmp_path: Path) -> None:
    changes, said = HOSTILE[case]
    assert said in refused(make_bundle(tmp_path / "artifacts" / "pets", **changes))


def test_the_rest_of_the_catalogue_is_made(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    for name in ("pets", "cars", "birds"):
        make_bundle(artifacts / name)
    (artifacts / "cars" / "model.json").write_bytes(b"\x00")
    (artifacts / "README.md").write_text("no bundle")
    (artifacts / ".pets.old").mkdir()
    (artifacts / "<script>alert(1)").mkdir()
    (artifacts / "linked").symlink_to(artifacts / "pets")
    (artifacts / "half").mkdir()
    found = {model["name"]: model["damaged"] for model in collect(artifacts).content["models"]}
    assert found == {
        "<script>alert(1)": "no model can have this name",
        "birds": None,
        "cars": "model.json: changed after the build -> doit cars builds it again",
        "half": "SHA256SUMS: is missing: the bundle is not whole -> doit half builds it again",
        "linked": "is a link, or no folder -> doit linked builds it again",
        "pets": None,
    }


def test_no_bundles_are_no_error(tmp_path: Path) -> None:
    assert collect(tmp_path / "artifacts").content["models"] == []


def test_too_many_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CATALOGUE_MODELS", 2)
    for name in "abc":
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="holds more than 2 folders"):
        collect(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda place: place.write_text("{"), "imx93/: changed after the build"),
        (lambda place: (place.parents[1] / files.SUMS).unlink(), "imx93/: is missing"),
        (lambda place: [shutil.rmtree(place.parents[1]), place.parents[1].symlink_to("/etc")], "is a link"),
    ],
)
def test_a_damaged_vela_folder_is_left_out_and_named(change: Callable[[Path], object], said: str, bundle: Path) -> None:
    change(add_vela(bundle))
    found = read(bundle)
    assert found.compiled == ()
    assert len(found.left_out) == 1
    assert said in found.left_out[0]


def test_what_was_compiled_from_another_file_is_left_out(bundle: Path) -> None:
    add_vela(bundle, sha256="0" * 64)
    found = read(bundle)
    assert found.compiled == ()
    assert found.left_out == ("What Vela compiled from another file is left out: imx93/.",)


def test_a_vela_json_of_another_form_is_left_out(bundle: Path) -> None:
    place = add_vela(bundle)
    run = json.loads(place.read_text())
    run["summary"]["ms"] = "fast"
    place.write_text(json.dumps(run))
    (bundle / "imx93" / files.SUMS).write_text(files.make_sums(bundle / "imx93"))
    assert "summary.ms" in read(bundle).left_out[0]


def test_a_damaged_board_report_is_left_out_and_the_others_stay(bundle: Path) -> None:
    add_record(bundle, target="good")
    add_record(bundle, target="bad").write_text('{"format": 1}')
    (bundle / "board" / "pipe.json").unlink(missing_ok=True)
    os.mkfifo(bundle / "board" / "pipe.json")
    found = read(bundle)
    assert [record.target for record in found.records] == ["good"]
    assert [words.partition(": ")[2].partition(":")[0] for words in found.left_out] == [
        "board/bad.json",
        "board/pipe.json",
    ]


def test_a_report_on_an_older_build_is_ignored(bundle: Path) -> None:
    place = add_record(bundle)
    record = json.loads(place.read_text())
    record["files"]["pets_int8.tflite"] = "0" * 64
    place.write_text(json.dumps(record))
    found = read(bundle)
    assert (found.records, found.left_out) == ((), ())
