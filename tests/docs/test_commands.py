"""Every command of README.md and docs/, run as a reader would: page by page, in a fresh clone, without network."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs import pages
from tests.support.checkouts import ROOT, clean_env
from tests.support.shared import make_once

pytestmark = [pytest.mark.docs, pytest.mark.timeout(1800)]

#: The pages that have commands to run.
PAGES = [page for page in pages.pages() if any(map(pages.is_run, pages.blocks(page)))]


@dataclass(frozen=True)
class Clone:
    """A clone of the project in which nothing is downloaded: what would fetch something fails."""

    root: Path

    def run(self, script: str, where: str) -> str:
        """Run a block in bash, from the clone's folder; what it prints. A command that fails fails the test."""
        home = self.root.parent / "home"
        home.mkdir(exist_ok=True)
        roles = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
        env = clean_env() | dict.fromkeys(roles, "reader@example.org")
        env |= {"HOME": str(home), "ZOO_DOCKER": "0", "ZOO_OFFLINE": "1", "PIP_NO_INDEX": "1"}
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.root, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=1500)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # what it started ends with it
            raise
        assert process.returncode == 0, f"{where} ends with {process.returncode}:\n{script}\n{said[-6000:]}"
        return said


def clone(to: Path) -> Clone:
    """The checkout as git would clone it, with the tools that docker/run would make from its locks."""

    def made_here(folder: str, names: list[str]) -> set[str]:
        caches = {name for name in names if name == "__pycache__" or name.endswith("_cache")}
        return caches | ({".git", "artifacts", "build", "release", "site"} if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, to, ignore=made_here)
    (to / "artifacts").mkdir()
    shutil.copy(ROOT / "artifacts/README.md", to / "artifacts")
    made = Clone(to)
    made.run("git init -q && git add -A && git commit -q -m Clone", "git")
    lend_tools(to)
    return made


def lend_tools(root: Path) -> None:
    """Give a clone the environments that this test runs in; in the image, the tools are there already."""
    if "NXP_MODEL_ZOO_IMAGE" in os.environ:
        return
    docker = root / "docker"
    locks = [docker / f"requirements{part}.txt" for part in ("", "-release", "-dev")]
    default = re.search(r"^default_vela=(\S+)", (docker / "run").read_text(), re.MULTILINE)
    assert default
    version = default[1]
    vela = shutil.which("vela", path=str(Path(sys.executable).parent))
    assert vela, "no Vela beside this Python: run the tests with docker/run"
    lend(Path(sys.prefix), root / "build/venv", locks, root)
    of_vela = [docker / f"requirements-vela-{version}.txt", docker / "make-vela"]
    lend(Path(vela).resolve().parents[1], root / "build/vela" / version, of_vela, root)


def lend(real: Path, folder: Path, stamped: list[Path], root: Path) -> None:
    """A folder that docker/run takes for an environment of ``root``'s own (docker/run.d/venv.sh: ``stamp``)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in real.iterdir():
        if entry.name != "stamp":
            (folder / entry.name).symlink_to(entry)
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in stamped)).hexdigest()
    (folder / "stamp").write_text(f"{digest} {platform.python_version()} {root.resolve()}\n")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the README's first command has run: look, do not touch."""

    def make(folder: Path) -> None:
        first = next(filter(pages.is_run, pages.blocks(ROOT / "README.md")))
        assert first.text.startswith("docker/run doit demo ")
        said = clone(folder / "zoo").run(first.text, first.where)
        assert "using build/venv" in said or "NXP_MODEL_ZOO_IMAGE" in os.environ

    return make_once(tmp_path_factory, "documented", make) / "zoo"


@pytest.mark.parametrize("page", PAGES, ids=pages.name_of)
def test_the_commands_of_a_page_work_in_order(page: Path, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "zoo", symlinks=True)
    lend_tools(tmp_path / "zoo")
    reader = Clone(tmp_path / "zoo")
    said = ""
    for block in pages.blocks(page):
        if pages.is_run(block):
            said = reader.run(block.text, block.where)
        elif block.language == "text" and said:
            shown = [re.escape(line.strip()).replace(r"\.\.\.", ".*") for line in block.text.splitlines()]
            missing = [line for line in shown if not re.search(line, said)]
            assert not missing, f"{block.where}: {missing} is not in\n{said}"


@pytest.mark.parametrize("name", ["answers", "breakdown"])
def test_the_picture_is_what_its_script_draws(demo: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(demo, tmp_path / "zoo", symlinks=True)
    lend_tools(tmp_path / "zoo")
    picture = tmp_path / f"zoo/docs/pictures/{name}.png"
    picture.unlink()
    Clone(tmp_path / "zoo").run(f"docker/run python docs/pictures/draw_{name}.py", "docs/pictures")
    assert picture.read_bytes() == (ROOT / f"docs/pictures/{name}.png").read_bytes()
    assert picture.stat().st_size < 200_000
