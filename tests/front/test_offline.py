"""Without a network: few lines, one list, and ways to bring the files here."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, copy_project
from tests.support.servers import Server, full, serving
from utils.graph import plan
from utils.recipe.load import load_recipes

pytestmark = pytest.mark.heavy

ENV = {"ZOO_OFFLINE": "1"}
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"

#: A checkout, and what a build in it said.
Run = tuple[Checkout, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A checkout with nothing in its cache, and what a build of everything says there."""
    zoo = copy_project(tmp_path_factory.mktemp("offline") / "zoo")
    return zoo, zoo.run("sh", "-c", "python3 -m doit 2>&1", env=ENV | {"PATH": PATH})


def sources() -> set[str]:
    """The key of every source of the zoo."""
    zoo = [recipe for recipe in load_recipes().values() if recipe.group == "zoo"]
    return {source.key for recipe in zoo for step in plan.steps_of(recipe) for source in step.fetches}


def test_a_build_of_everything_says_in_few_lines_what_is_missing(offline: Run) -> None:
    _, done = offline
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) <= 38  # docker/run adds one or two
    assert re.search(
        r"^500 sample images of mnasnet, mobilenet_v2 and resnet50 are missing \(54\.\d MB\)$",
        done.stdout,
        re.MULTILINE,
    )
    assert done.stdout.count("are missing") == 7  # images and recordings of six kinds, and the steps that failed
    assert "FAILED deeplabv3:download, keyword_spotting:download, " in done.stdout
    assert "verdict" not in done.stdout  # a table of models of which nothing ran would say nothing
    assert f"build/missing.txt lists all {len(sources()):,} " in done.stdout


def test_the_list_has_every_missing_hash_once(offline: Run) -> None:
    lines = (offline[0].root / "build/missing.txt").read_text().splitlines()
    assert len(lines) == len(sources())
    hashes = re.findall(r"#sha256=([0-9a-f]{64})$", "\n".join(lines), re.MULTILINE)
    wanted = {key for key in sources() if re.fullmatch("[0-9a-f]{64}", key)}
    assert sorted(hashes) == sorted(wanted)
    assert all(re.fullmatch(r"https?://\S+#(sha256=[0-9a-f]{64}|md5=[0-9a-f]{32}|unpinned)", line) for line in lines)


def test_one_model_is_told_of_alone(offline: Run) -> None:
    zoo, _ = offline
    done = zoo.doit("mnist_nearest", "mnist_bilinear", env=ENV)
    assert "train-images-idx3-ubyte.gz of mnist_bilinear and mnist_nearest is missing (9.9 MB)" in done.stderr
    assert "mobilenet" not in done.stdout + done.stderr
    assert len((zoo.root / "build/missing.txt").read_text().splitlines()) == 4
    log = (zoo.root / "build/mnist_nearest/records/download.log").read_text()
    assert log.count("train-images-idx3-ubyte.gz: 9912422 bytes, sha256 ") == 1


# Bringing them here


@pytest.fixture
def served(project: Checkout) -> Iterator[tuple[Checkout, Server]]:
    """A checkout whose MNIST comes from a server of ours, and is four short files."""
    recipe = project.root / "recipes/mnist/recipe.toml"
    text = recipe.read_text()
    with serving() as server:
        blocks = re.split(r"(?=^\[sources\.)", text, flags=re.MULTILINE)
        for number, block in enumerate(blocks[1:], 1):
            data = f"source {number}".encode() * 50
            digest = hashlib.sha256(data).hexdigest()
            url = server.on(f"/files/{number}", full(data))
            mine = re.sub(r"urls = \[.*?\]", f'urls = ["{url}"]', block, count=1, flags=re.DOTALL)
            mine = re.sub(r'sha256 = "[0-9a-f]{64}"', f'sha256 = "{digest}"', mine, count=1)
            blocks[number] = re.sub(r"size = [0-9_]+", f"size = {len(data)}", mine, count=1)
        recipe.write_text("".join(blocks))
        project.doit("mnist_nearest", env=ENV)
        yield project, server


def test_mirror_fetches_what_the_list_names(served: tuple[Checkout, Server], tmp_path: Path) -> None:
    zoo, server = served
    lines = (zoo.root / "build/missing.txt").read_text().splitlines()
    (tmp_path / "some.txt").write_text("\n".join(lines[:2]) + "\n")
    done = zoo.doit("mirror", f"list={tmp_path}/some.txt", f"to={tmp_path}/mirror")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file.name for file in (tmp_path / "mirror").glob("*") if len(file.name) == 64} == {
        line.partition("#sha256=")[2] for line in lines[:2]
    }
    assert len(server.requests) == 2


def test_a_list_of_another_checkout_is_refused(served: tuple[Checkout, Server], tmp_path: Path) -> None:
    zoo, _ = served
    (tmp_path / "other.txt").write_text("https://example.org/x#sha256=1\n")
    done = zoo.doit("mirror", f"list={tmp_path}/other.txt", f"to={tmp_path}/mirror")
    assert "no recipe has the address https://example.org/x" in done.stderr
    assert done.returncode


@pytest.mark.skipif(not shutil.which("wget"), reason="needs wget")
def test_what_wget_brought_is_taken_by_its_hash(served: tuple[Checkout, Server], tmp_path: Path) -> None:
    zoo, _ = served
    fetched = subprocess.run(
        ["wget", "-q", "-i", zoo.root / "build/missing.txt", "-P", tmp_path / "brought"], env={"PATH": PATH}
    )
    assert fetched.returncode == 0
    (tmp_path / "brought/unrelated.bin").write_bytes(b"source 1" * 50)  # of the right size at most
    done = zoo.doit("mirror", f"from={tmp_path}/brought", f"to={tmp_path}/mirror", env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 files are sources of the zoo" in done.stdout
    wanted = re.findall("#sha256=(.*)", (zoo.root / "build/missing.txt").read_text())
    assert {file.name for file in (tmp_path / "mirror").glob("*") if len(file.name) == 64} == set(wanted)
    env = ENV | {"ZOO_CACHE": str(tmp_path / "empty"), "ZOO_MIRROR": str(tmp_path / "mirror")}
    again = zoo.doit("mnist_nearest:download", env=env)
    assert again.returncode == 0, again.stdout + again.stderr
