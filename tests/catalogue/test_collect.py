"""catalogue.json: what it holds, that it is the same everywhere, and that no text in it acts."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import add_record, add_vela, make_bundle
from tests.support.rebuilders import COMMIT, CPU, know, new_key, put, state
from utils import files
from utils.catalogue import schema
from utils.catalogue.collect import Collected, Options, collect, load_previous
from utils.catalogue.schema import Release
from utils.errors import DataError
from utils.npu import bsp

RELEASE = Release(version="1.2.0", commit="a" * 40)


def one(folder: Path, options: Options | None = None) -> dict[str, Any]:
    (found,) = collect(folder, options).content["models"]
    assert isinstance(found, dict)
    return found


def previous_of(found: Collected, folder: Path) -> Path:
    """A release with this catalogue."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "catalogue.json").write_text(files.dump_json(found.content))
    return folder


def test_what_it_holds(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a" / "pets")
    add_vela(bundle)
    found = one(tmp_path / "a")
    assert (found["name"], found["title"], found["page"]) == ("pets", "The pets", "models/pets.html")
    assert (found["picture"], found["figures"]) == ("models/pets/result.png", {"result": "models/pets/result.png"})
    assert (found["group"], found["own_weights"], found["redistributable"]) == ("zoo", False, True)
    assert found["data"]["dataset"] == "pets.csv"
    assert (found["data"]["count"], found["data"]["metric"], found["data"]["sampled"]) == (20, "top-1", True)
    assert [entry["variant"] for entry in found["variants"]] == ["float32", "int8"]
    first, second = found["variants"]
    assert (first["accuracy"], first["agreement"], first["loss"], first["verdict"]) == (90.5, None, None, "PASS")
    assert (second["accuracy"], second["agreement"], second["loss"]) == (90.0, 99.0, 0.5)
    assert (found["parameters"], found["macs"]) == (3500000, 300000000)
    assert found["operators"] == {"CONV_2D": 3, "SOFTMAX": 1}
    assert found["classes"]["labels"] == ["cat", "dog"]
    assert found["classes"]["confusion"]["int8"] == [[8, 2], [0, 10]]
    assert found["output"] == [{"kind": "probabilities", "name": "probabilities", "shape": [1, 2]}]
    assert len(found["matrix"]) == 3 * len(bsp.load_bsps())
    assert [source["url"] for source in found["sources"]] == [None, "https://example.org/weights.h5"]
    assert found["tools"] == {"tensorflow": "2.21.0"}
    assert {entry["name"] for entry in found["files"]} >= {"README.md", "pets_int8.tflite"}
    assert (found["warnings"], found["previous"], found["try"], found["damaged"]) == ([], None, None, None)


def test_the_head(tmp_path: Path) -> None:
    content = collect(tmp_path, Options(release=RELEASE)).content
    assert (content["format"], content["title"], content["models"]) == (1, "nxp-model-zoo", [])
    assert content["release"] == {"version": "1.2.0", "commit": "a" * 40}
    assert [found["name"] for found in content["bsps"]] == list(bsp.load_bsps())
    assert [found["board"] for found in content["targets"]] == ["i.MX 8M Plus", "i.MX 93", "either board"]


def test_who_has_rebuilt_it_is_in_the_checkout_and_not_in_the_bundle(tmp_path: Path) -> None:
    for name in ("pets", "cars"):
        make_bundle(tmp_path / "bundles" / name)
    options = Options(rebuilds=tmp_path / "rebuilds")
    artifacts = {
        entry["file"]: entry["sha256"] for entry in collect(tmp_path / "bundles").content["models"][1]["variants"]
    }
    key, stranger = new_key(), new_key()
    know(options.rebuilds, "lab", key)
    put(options.rebuilds, "pets", key, state(key, "pets", artifacts))
    put(options.rebuilds, "pets", stranger, state(stranger, "pets", artifacts))
    put(options.rebuilds, "cars", key, state(key, "pets", artifacts))  # about another model
    found = collect(tmp_path / "bundles", options)
    cars, pets = found.content["models"]
    told = {"name": "lab", "commit": COMMIT, "builder": "image", "cpu": CPU, "time": "2026-10-01T12:00:00Z"}
    assert pets["rebuilds"] == [told]
    assert cars["rebuilds"] == []
    assert [note.split(":")[0] for note in found.notes] == ["rebuilds/cars", "rebuilds/pets"]
    assert all("1 statement not counted" in note for note in found.notes)
    put(options.rebuilds, "pets", key, state(key, "pets", artifacts, rebuilt=dict.fromkeys(artifacts, "9" * 64)))
    pets = collect(tmp_path / "bundles", options).content["models"][1]
    assert (pets["rebuilds"], pets["rebuilds_failed"]) == ([], [told])
    assert [model["rebuilds"] for model in collect(tmp_path / "bundles").content["models"]] == [[], []]


def test_a_catalogue_of_before_rebuilds_can_be_compared_with(tmp_path: Path) -> None:
    make_bundle(tmp_path / "a" / "pets")
    found = collect(tmp_path / "a")
    del found.content["models"][0]["rebuilds"], found.content["models"][0]["rebuilds_failed"]
    assert load_previous(previous_of(found, tmp_path / "old")).models[0].name == "pets"


def test_the_same_bundles_give_the_same_bytes_in_another_place_and_hour(tmp_path: Path) -> None:
    for name in ("pets", "cars"):
        bundle = make_bundle(tmp_path / "one" / name)
        add_vela(bundle)
        add_record(bundle, ms=3.0, target="b")
        add_record(bundle, ms=2.0, target="a")
    (tmp_path / "far").mkdir()
    for name in ("cars", "pets"):  # another order of the file system
        shutil.copytree(tmp_path / "one" / name, tmp_path / "far" / "other" / name)
    for file in (tmp_path / "far").rglob("*"):
        os.utime(file, (0, 0))
    text, other = (files.dump_json(collect(tmp_path / place).content) for place in ("one", "far/other"))
    assert text == other
    assert str(tmp_path) not in text
    assert "NaN" not in text


def test_it_fits_the_json_schema_in_git(tmp_path: Path) -> None:
    import jsonschema

    assert schema.SCHEMA.read_text() == schema.as_json(), "docker/run python -m utils.catalogue.schema writes it anew"
    wanted = json.loads(schema.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(wanted)
    bundle = make_bundle(tmp_path / "pets")
    add_vela(bundle)
    add_record(bundle)
    (tmp_path / "half").mkdir()
    content = collect(tmp_path, Options(release=RELEASE, with_files=True)).content
    validator = jsonschema.Draft202012Validator(wanted)
    assert list(validator.iter_errors(json.loads(json.dumps(content)))) == []
    content["models"][1]["surprise"] = 1
    assert list(validator.iter_errors(content))


def test_the_page_explains_every_key() -> None:
    text = (schema.SCHEMA.parent / "catalogue.md").read_text()
    found = json.loads(schema.as_json())
    tables = [found, *found["$defs"].values()]
    missing = {key for table in tables for key in table.get("properties", {}) if f"`{key}`" not in text}
    assert missing == set()


def test_every_key_has_a_description() -> None:
    found = json.loads(schema.as_json())
    for name, table in [("catalogue.json", found), *found["$defs"].items()]:
        assert table["description"], name
        for key, value in table["properties"].items():
            assert value.get("description", "").endswith("."), f"{name}.{key}"


# Files and licences


def test_downloads_are_offered_only_where_the_site_has_the_files(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets")
    without, with_files = one(tmp_path), one(tmp_path, Options(with_files=True))
    assert (
        {entry["download"] for entry in without["variants"]} == {entry["path"] for entry in without["files"]} == {None}
    )
    assert with_files["variants"][1]["download"] == "models/pets/pets_int8.tflite"
    assert {entry["path"] for entry in with_files["files"]} >= {"models/pets/README.md"}
    released = one(tmp_path, Options(release=RELEASE, archives={"pets": "../pets-1.2.0.tar.gz"}))
    assert {entry["download"] for entry in released["variants"]} == {"../pets-1.2.0.tar.gz"}


def test_what_must_not_be_passed_on_is_not_offered(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets", manifest=lambda found: found["card"].update(redistributable=False))
    found = one(tmp_path, Options(with_files=True))
    assert not found["redistributable"]
    assert {entry["download"] for entry in found["variants"]} == {entry["path"] for entry in found["files"]} == {None}


def test_own_weights_demos_and_odd_environments_are_marked(tmp_path: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        found["card"]["group"] = "demo"
        found["environment"]["bit_identical"] = False
        found["validation"]["models"][0]["check"]["verdict"] = "MISMATCH"
        del found["validation"]["models"][1]

    make_bundle(tmp_path / "pets", manifest=change, model=lambda found: found.update(weights="user-supplied"))
    found = one(tmp_path)
    assert (found["own_weights"], found["weights"], found["group"]) == (True, "user-supplied", "demo")
    assert [entry["verdict"] for entry in found["variants"]] == ["MISMATCH", "not validated"]
    assert found["warnings"] == ["It was built in a custom environment: the bytes may differ on other machines."]


def test_it_reads_files_that_were_checked_and_no_others(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "pets")
    (bundle / "secret").write_bytes(b"x")
    (tmp_path / "half").mkdir()
    found = collect(tmp_path)
    assert found.read("pets", "README.md") == b"# pets\n"
    for model, name in (("pets", "secret"), ("pets", "../pets/README.md"), ("half", "README.md"), ("", "x")):
        assert found.read(model, name) is None


# Hostile text


def test_codes_that_act_on_terminals_and_direction_are_spelt_out(tmp_path: Path) -> None:
    evil = "a\u202eb\x1b[31m\nc \u2066<script>alert(1)</script> \" '"

    def change(found: dict[str, Any]) -> None:
        found["card"].update(introduction=evil, summary=evil)
        found["card"]["claims"] = [{"what": evil, "value": evil, "source": "javascript:alert(1)"}]
        found["card"]["links"] = {"weights": "javascript:alert(1)", "evaluation": 'https://x/"onclick="y'}
        found["graph"]["operators"] = {evil: 1}
        found["environment"]["tools"] = {evil: evil}

    bundle = make_bundle(
        tmp_path / "pets",
        manifest=change,
        model=lambda found: found.update(title=evil, input={"name": evil, evil: evil}),
    )
    add_record(bundle, evil, delegate=evil, target="desk")
    content = collect(tmp_path).content
    text = json.dumps(content, ensure_ascii=False)
    assert text.isprintable()
    (found,) = content["models"]
    assert found["damaged"] is None
    assert found["title"] == "a\\u202eb\\x1b[31m c \\u2066<script>alert(1)</script> \" '"
    assert {source["url"] for source in found["sources"]} == {None}
    assert found["reports"][0]["board"].startswith("a\\u202eb")


def test_a_number_beyond_all_numbers_stays_out(tmp_path: Path) -> None:
    make_bundle(tmp_path / "pets")
    file = tmp_path / "pets" / "model.json"
    file.write_text(file.read_text().replace('"shape": [\n      1,\n      8,', '"shape": [\n      1,\n      1e999,', 1))
    assert "1e999" in file.read_text()
    (tmp_path / "pets" / files.SUMS).unlink()
    (tmp_path / "pets" / files.SUMS).write_text(files.make_sums(tmp_path / "pets"))
    assert one(tmp_path)["input"]["shape"] == [1, None, 8, 3]


def test_half_a_character_is_spelt_out_or_refused(tmp_path: Path) -> None:
    def surrogate(found: dict[str, Any]) -> None:
        found["input"]["name"] = "SURROGATE"

    make_bundle(tmp_path / "pets", model=surrogate)
    file = tmp_path / "pets" / "model.json"
    file.write_text(file.read_text().replace("SURROGATE", "\\ud800"))
    (tmp_path / "pets" / files.SUMS).unlink()
    (tmp_path / "pets" / files.SUMS).write_text(files.make_sums(tmp_path / "pets"))
    assert one(tmp_path)["input"]["name"] == "\\ud800"


# The release before


def test_what_moved_since_a_release(tmp_path: Path) -> None:
    before = tmp_path / "before"
    make_bundle(before / "pets", manifest=lambda found: found["evaluation"]["variants"]["int8"].update(accuracy=80.0))
    release = previous_of(collect(before, Options(release=RELEASE)), tmp_path / "release")
    make_bundle(tmp_path / "now" / "pets", raw={})
    make_bundle(tmp_path / "now" / "cars")
    options = Options(previous=load_previous(release))
    cars, pets = collect(tmp_path / "now", options).content["models"]
    assert pets["previous"]["version"] == "1.2.0"
    assert pets["previous"]["known"]
    assert pets["previous"]["variants"]["int8"] == {
        "accuracy": 80.0, "size": pets["variants"][1]["size"], "sha256": pets["variants"][1]["sha256"], "same": True,
    }  # fmt: skip
    assert not cars["previous"]["known"]
    assert cars["previous"]["variants"]["int8"] == {"accuracy": None, "size": None, "sha256": None, "same": False}


def test_a_model_that_was_damaged_is_unknown_to_the_release(tmp_path: Path) -> None:
    (tmp_path / "before" / "pets").mkdir(parents=True)
    release = previous_of(collect(tmp_path / "before", Options(release=RELEASE)), tmp_path / "release")
    make_bundle(tmp_path / "now" / "pets")
    assert not one(tmp_path / "now", Options(previous=load_previous(release)))["previous"]["known"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ('{"format": 2}', "format: "),
        ("[]", "should be an"),
    ],
)
def test_a_release_without_a_catalogue_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "catalogue.json").write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        load_previous(tmp_path)
    assert caught.value.hint == "name the folder of a release that has a site: release/1.2.0"
