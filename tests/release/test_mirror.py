"""mirror: what a site without network needs; and a release of a model whose data must not be passed on."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkouts import Checkout, clean_env, copy_project
from tests.support.releases import commit, copy
from utils.model import datasets
from utils.recipe.datasets import DrawnSet
from utils.recipe.load import load_recipes


@functools.cache
def small() -> dict[str, bytes]:
    """The recipe's files, as small ones: name -> bytes."""
    made = {}
    for part, count in (("train", 2400), ("t10k", 100)):
        drawn = datasets.draw(DrawnSet(kind="drawn", count=count, seed=len(part)))
        for kind, array in (("images-idx3", drawn.inputs[..., 0]), ("labels-idx1", drawn.labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            made[f"{part}-{kind}-ubyte.gz"] = gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)
    return made


def make_small(project: Checkout, upstream: Path) -> None:
    """Let recipes/mnist train for a second on small files, which lie in ``upstream``."""
    upstream.mkdir()
    lines = (project.root / "recipes/mnist/recipe.toml").read_text().splitlines()
    name = ""
    for number, line in enumerate(lines):
        if line.startswith("file = "):
            name = line.split('"')[1]
        elif line.startswith("size = "):
            lines[number] = f"size = {len(small()[name])}"
        elif line.startswith("sha256 = "):
            digest = hashlib.sha256(small()[name]).hexdigest()
            lines[number] = f'sha256 = "{digest}"'
            (upstream / digest).write_bytes(small()[name])
        elif line.startswith(("float32 = 9", "int8 = 9")):
            lines[number] = f"{line.split()[0]} = 0"
        elif line == "loss = 0.1":
            lines[number] = "loss = 100.0"
    (project.root / "recipes/mnist/recipe.toml").write_text("\n".join(lines) + "\n")
    for old, new in (("epochs = 5", "epochs = 4"), ("warmup_steps = 600", "warmup_steps = 60"), ("= 1000", "= 50")):
        project.change("recipes/mnist/recipe.toml", old, new)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout whose mnist recipe takes small sources; nothing is built. ``../upstream`` has the sources."""
    folder = tmp_path_factory.mktemp("mirrored")
    project = copy_project(folder / "zoo")
    make_small(project, folder / "upstream")
    return project


def test_a_mirror_has_every_source_with_its_licence(zoo: Checkout, tmp_path: Path) -> None:
    there = copy(zoo, tmp_path / "zoo")
    upstream = {"ZOO_MIRROR": str(zoo.root.parent / "upstream")}
    done = there.doit("mirror", f"to={tmp_path / 'mirror'}", "models=mnist_nearest", env=upstream)
    assert done.returncode == 0, done.stderr
    assert "4 files" in done.stdout
    hashes = {hashlib.sha256(data).hexdigest(): name for name, data in small().items()}
    files = {file.name for file in (tmp_path / "mirror").iterdir()}
    assert files == {*hashes, "INDEX.tsv", "LICENCES.md", "unpinned.json"}
    rows = [line.split("\t") for line in (tmp_path / "mirror/INDEX.tsv").read_text().splitlines()]
    assert rows[0] == ["sha256", "size", "name", "url", "licence", "what"]
    assert {row[0]: row[2] for row in rows[1:]} == hashes
    assert {row[4] for row in rows[1:]} == {"CC-BY-SA-3.0"}
    assert "## CC-BY-SA-3.0" in (tmp_path / "mirror/LICENCES.md").read_text()
    # damaged and half-copied files are made good; what is whole is not copied again
    victim = tmp_path / "mirror" / next(iter(hashes))
    victim.write_bytes(b"damaged")
    again = there.doit("mirror", f"to={tmp_path / 'mirror'}", "models=mnist_nearest", env=upstream)
    assert "1 of them new" in again.stdout
    assert hashlib.sha256(victim.read_bytes()).hexdigest() == victim.name


def test_two_recipes_with_one_file_name_lose_no_file(zoo: Checkout, tmp_path: Path) -> None:
    there = copy(zoo, tmp_path / "zoo")
    name, data = "t10k-labels-idx1-ubyte.gz", b"another file"
    mine, other = (hashlib.sha256(content).hexdigest() for content in (small()[name], data))
    text = (there.root / "recipes/mnist/recipe.toml").read_text()
    text = text.replace(mine, other).replace(f"size = {len(small()[name])}", f"size = {len(data)}", 1)
    (there.root / "recipes/other").mkdir()
    shutil.copy(there.root / "recipes/mnist/model.py", there.root / "recipes/other")
    (there.root / "recipes/other/recipe.toml").write_text(text.replace("mnist_", "other_"))
    shutil.copytree(zoo.root.parent / "upstream", tmp_path / "upstream")
    (tmp_path / "upstream" / other).write_bytes(data)
    command = [sys.executable, "-m", "utils.release", "mirror", f"to={tmp_path / 'mirror'}"]
    done = there.run(*command, "models=mnist_nearest,other_nearest", env={"ZOO_MIRROR": str(tmp_path / "upstream")})
    assert done.returncode == 0, done.stderr
    assert "5 files" in done.stdout
    assert (tmp_path / "mirror" / other).read_bytes() == data
    assert (tmp_path / "mirror" / mine).read_bytes() == small()[name]
    rows = [line.split("\t") for line in (tmp_path / "mirror/INDEX.tsv").read_text().splitlines()]
    assert [row[0] for row in rows if row[2] == name] == sorted([mine, other])


def test_an_unpinned_source_is_mirrored_with_its_record(zoo: Checkout, tmp_path: Path) -> None:
    """The mirror's unpinned.json is what lets an air-gapped site take it."""
    there = copy(zoo, tmp_path / "zoo")
    name = "t10k-labels-idx1-ubyte.gz"
    digest = hashlib.sha256(small()[name]).hexdigest()
    there.change("recipes/mnist/recipe.toml", f'sha256 = "{digest}"\n', "")
    address = f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}"
    key = f"url-{hashlib.sha256(address.encode()).hexdigest()[:32]}"
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    for data in small().values():
        (upstream / hashlib.sha256(data).hexdigest()).write_bytes(data)
    record = {key: {"name": name, "sha256": digest, "size": len(small()[name])}}
    (upstream / "unpinned.json").write_text(json.dumps(record))
    done = there.doit("mirror", f"to={tmp_path / 'mirror'}", "models=mnist_nearest", env={"ZOO_MIRROR": str(upstream)})
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "mirror/unpinned.json").read_text())[key]["sha256"] == digest
    fresh = copy(zoo, tmp_path / "fresh")
    fresh.change("recipes/mnist/recipe.toml", f'sha256 = "{digest}"\n', "")
    offline = {"ZOO_MIRROR": str(tmp_path / "mirror"), "ZOO_OFFLINE": "1"}
    done = fresh.doit("mnist_nearest:download", env=offline)
    assert done.returncode == 0, done.stderr


def test_sources_that_cannot_be_had_are_listed_and_nothing_is_copied(zoo: Checkout, tmp_path: Path) -> None:
    there = copy(zoo, tmp_path / "zoo")
    done = there.doit("mirror", f"to={tmp_path / 'mirror'}", "models=mnist_nearest", env={"ZOO_OFFLINE": "1"})
    assert done.returncode != 0
    assert "ZOO_OFFLINE is set, and cache and mirror lack 4 sources" in done.stderr
    assert not (tmp_path / "mirror").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"key": {"name": "x"}}', '{"key": {"sha256": "../x", "size": 1}}'])
def test_a_damaged_record_in_the_mirror_is_told_before_anything_is_copied(
    zoo: Checkout, tmp_path: Path, text: str
) -> None:
    there, to = copy(zoo, tmp_path / "zoo"), tmp_path / "mirror"
    to.mkdir()
    (to / "unpinned.json").write_text(text)
    upstream = {"ZOO_MIRROR": str(zoo.root.parent / "upstream")}
    command = [sys.executable, "-m", "utils.release", "mirror", f"to={to}", "models=mnist_nearest"]
    done = there.run(*command, env=upstream)
    assert done.returncode == 4, done.stderr
    assert f"{to}/unpinned.json: this is not a record of hashes: " in done.stderr
    assert "\n  -> restore it, or remove it" in done.stderr
    assert [file.name for file in to.iterdir()] == ["unpinned.json"]
    (to / "unpinned.json").unlink()
    (to / "INDEX.tsv").write_bytes(b"\xff\n\xff\t\n")
    assert there.run(*command, env=upstream).returncode == 0
    assert len((to / "INDEX.tsv").read_text().splitlines()) == 5


def test_a_mirror_that_cannot_be_written(zoo: Checkout, tmp_path: Path) -> None:
    there = copy(zoo, tmp_path / "zoo")
    (tmp_path / "file").write_text("")
    upstream = {"ZOO_MIRROR": str(zoo.root.parent / "upstream")}
    command = [sys.executable, "-m", "utils.release", "mirror", f"to={tmp_path / 'file'}", "models=mnist_nearest"]
    done = there.run(*command, env=upstream)
    assert done.returncode == 9
    assert f"{tmp_path / 'file'}: cannot be read or written: File exists" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("to", ["dir:usb", "oci:usb", "dir:///usb", "hf://org", "https://host/usb"])
def test_a_mirror_is_a_folder_and_no_place_to_publish_to(zoo: Checkout, tmp_path: Path, to: str) -> None:
    there = copy(zoo, tmp_path / "zoo")
    done = there.run(sys.executable, "-m", "utils.release", "mirror", f"to={to}", "models=mnist_nearest")
    assert done.returncode == 10
    assert f"'{to}' is not a folder" in done.stderr
    assert "-> doit mirror to=FOLDER" in done.stderr


@pytest.mark.slow
def test_a_site_without_network_builds_from_it_and_releases_what_it_may(zoo: Checkout, tmp_path: Path) -> None:
    """In a network namespace with nothing but the loopback. The test images must not be passed on."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no right to make a network namespace")
    mirrored = copy(zoo, tmp_path / "connected")
    upstream = {"ZOO_MIRROR": str(zoo.root.parent / "upstream")}
    assert (
        mirrored.doit(
            "mirror", f"to={tmp_path / 'mirror'}", "models=mnist_nearest,mnist_bilinear", env=upstream
        ).returncode
        == 0
    )

    site = copy(zoo, tmp_path / "site")
    recipe = "recipes/mnist/recipe.toml"
    site.change(
        recipe, 'what = "MNIST, 10,000 test images"', 'what = "MNIST, 10,000 test images"\nredistribute = false'
    )
    commit(site)
    env = {**clean_env(), "ZOO_MIRROR": str(tmp_path / "mirror")}
    seen = subprocess.run([*alone, "cat", "/proc/net/dev"], capture_output=True, text=True).stdout
    assert [line.split(":")[0].strip() for line in seen.splitlines()[2:]] == ["lo"]

    def doit(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*alone, sys.executable, "-m", "doit", *arguments]
        done = subprocess.run(command, cwd=site.root, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    doit("mnist_nearest")
    doit("lock")
    commit(site)
    doit("release", "version=1.0.0", "models=mnist_nearest")
    release = site.root / "release/1.0.0"
    doit("release:check", "path=release/1.0.0")

    with tarfile.open(release / "mnist_nearest-1.0.0.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    home = site.root / "artifacts/mnist_nearest"
    bundle = {file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()}
    left_out = set(json.loads((release / "release.json").read_text())["models"]["mnist_nearest"]["left_out"])
    assert bundle - names == left_out
    assert {
        "samples.npz",
        "golden_int8.npz",
        "inputs/example_input.png",
        "inputs/example_9.png",
        "figures/digits.png",
    } <= left_out
    assert {"mnist_nearest_int8.tflite", "example.py", "figures/confusion.png"} <= names
    card = (release / "cards/mnist_nearest.md").read_text()
    assert "## Not in this release" in card
    assert "made from t10k-images-idx3-ubyte.gz (CC-BY-SA-3.0), available from https://storage.googleapis.com/" in card
    for name in left_out:
        assert f"`{name}`" in card
    components = {c["name"]: c for c in json.loads((release / "bom.json").read_text())["components"]}
    source = components["t10k-images-idx3-ubyte.gz"]
    assert source["licenses"] == [{"license": {"id": "CC-BY-SA-3.0"}}]
    assert {"name": "nxp-model-zoo:redistribute", "value": "false"} in source["properties"]
    statement = json.loads((release / "provenance/mnist_nearest_int8.tflite.json").read_text())
    depends = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {entry["name"] for entry in depends} == {"nxp-model-zoo", "docker/requirements.txt", *small()}


def test_weights_that_must_not_be_passed_on_keep_the_model_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from utils.release import reasons
    from utils.release.model import ReleasedModel

    recipe = load_recipes()["mnist_nearest"]
    source = recipe.sources["test_images"].model_copy(update={"redistribute": False, "licence": "non-commercial"})
    model = ReleasedModel(recipe.model_copy(update={"sources": {"weights": source}}))
    monkeypatch.setattr(ReleasedModel, "weights", ["weights"])
    own = {"weights": {"name": "mine.h5", "own": True, "licence": "MIT"}}
    assert reasons._sources(model, own) == []
    assert reasons._sources(model, {}) == [
        "the licence of its weights (non-commercial) forbids redistribution: release it without this model"
    ]


def test_two_mirrors_into_one_folder_lose_no_row(tmp_path: Path) -> None:
    from utils.release import mirror
    from utils.sources import cache
    from utils.sources.source import Source

    to = tmp_path / "mirror"
    to.mkdir()

    def enter(number: int) -> None:
        """As a process of its own does, which has a cache of its own and has copied its file."""
        data = bytes([number])
        digest = hashlib.sha256(data).hexdigest()
        (to / digest).write_bytes(data)
        one = Source(f"f{number}", (f"https://host/{number}",), 1, None, None, "MIT \x1b[2J", "what|\tit is")
        home = tmp_path / f"cache{number}"
        home.mkdir()
        (home / "unpinned.json").write_text(json.dumps({one.key: {"name": one.name, "sha256": digest, "size": 1}}))
        os.environ["ZOO_CACHE"] = str(home)
        mirror._enter(to, {digest: one})

    context = multiprocessing.get_context("fork")
    both = [context.Process(target=enter, args=(number,)) for number in range(12)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert {one["name"] for one in cache.load_records(to).values()} == {f"f{number}" for number in range(12)}
    index = (to / "INDEX.tsv").read_text().splitlines()
    assert sorted(line.split("\t")[2] for line in index[1:]) == sorted(f"f{number}" for number in range(12))
    assert "MIT \\x1b[2J" in index[1]
    assert "what\\| it is" in (to / "LICENCES.md").read_text()


def test_rows_of_an_index_that_lead_elsewhere_are_dropped(tmp_path: Path) -> None:
    from utils.release import mirror

    row = "../secret\t1\tn\tu\tMIT\tw"
    (tmp_path / "mirror").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "mirror/INDEX.tsv").write_text(f"sha256\n{row}\n")
    assert mirror._rows(tmp_path / "mirror", {}) == []
