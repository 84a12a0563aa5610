"""Fixtures: a checkout of its own for each test that builds, and a small bundle that is built once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import pretrained
from tests.support.servers import Server, serving

ROOT = Path(__file__).resolve().parent.parent

#: The real upstream files, where a machine has them; nothing may need them.
MIRROR = Path(os.environ.get("ZOO_MIRROR") or ROOT.parent / "shared" / "mirror")

#: Exit codes of doit: 1 where a step failed, 2 where others were left out because of it.
FAILED = (1, 2)


@dataclass(frozen=True)
class Checkout:
    """A copy of the project that a test may build in and change."""

    root: Path

    def run(
        self, *command: str, env: dict[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it; never raises on an exit code."""
        return subprocess.run(
            command, cwd=self.root, env={**clean_env(), **(env or {})}, capture_output=True, text=True, timeout=timeout
        )

    def doit(
        self, *arguments: str, env: dict[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run doit in it."""
        return self.run(sys.executable, "-m", "doit", *arguments, env=env, timeout=timeout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start doit in it, in a session of its own; what it and its steps say comes through one pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "doit", *arguments], cwd=self.root, env=clean_env(), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def change(self, file: str, old: str, new: str) -> None:
        """Replace text that must be there."""
        path = self.root / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new))

    def hashes(self, pattern: str = "artifacts/*/*.tflite") -> dict[str, str]:
        """sha256 of the matching files."""
        import hashlib

        return {
            file.relative_to(self.root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(self.root.glob(pattern))
            if file.is_file()
        }


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read what a process says until a line holds ``text``; a process that ends without it fails the test."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return
    pytest.fail(f"ended without {text!r}:\n{''.join(said)}")


def clean_env() -> dict[str, str]:
    """This environment without what would lead a build astray."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("ZOO_", "PYTEST"))}


def copy_project(to: Path) -> Checkout:
    """What git would clone, without anything built."""
    to.mkdir(parents=True)
    for name in ("utils", "recipes", "docker"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dodo.py", to)
    return Checkout(to)


def make_small(project: Checkout) -> Checkout:
    """Make the demo train for seconds on few digits, with a gate that lets it pass."""
    for old, new in (
        ("count = 8000", "count = 2400"),  # with less it learns nothing, and answers all inputs alike
        ("count = 1000", "count = 200"),
        ("count = 500", "count = 50"),
        ("warmup_steps = 200", "warmup_steps = 60"),
        ("float32 = 90\n", "float32 = 0\n"),
        ("int8 = 90", "int8 = 0"),
        ("loss = 1.0", "loss = 100.0"),
    ):
        project.change("recipes/demo/recipe.toml", old, new)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A fresh checkout."""
    return copy_project(tmp_path / "zoo")


@pytest.fixture
def small(project: Checkout) -> Checkout:
    """A fresh checkout whose demo builds in seconds."""
    return make_small(project)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the small demo is built: look, do not touch."""
    checkout = make_small(copy_project(tmp_path_factory.mktemp("built") / "zoo"))
    done = checkout.doit("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


@pytest.fixture
def built(built_once: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it that a test may damage."""
    shutil.copytree(built_once.root, tmp_path / "zoo", symlinks=True)
    return Checkout(tmp_path / "zoo")


@pytest.fixture
def mirror() -> Path:
    """The mirror with the real MNIST files; tests that need it are skipped where it is not."""
    if not MIRROR.is_dir():
        pytest.skip("no mirror beside the checkout: real MNIST is not here")
    return MIRROR


@pytest.fixture(scope="session")
def peculiar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small int8 models, one of each of ``tests/support/models.py``."""
    from tests.support import models

    return models.make(tmp_path_factory.mktemp("peculiar"))


@pytest.fixture(scope="session")
def upstream() -> Iterator[Server]:
    """A web server that has what the tests publish."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def loaded_once(tmp_path_factory: pytest.TempPathFactory, upstream: Server) -> pretrained.Loaded:
    """A checkout in which the small loaded models of tests/support/pretrained.py are built: look, do not touch."""
    checkout = copy_project(tmp_path_factory.mktemp("loaded") / "zoo")
    return pretrained.build(checkout, upstream, tmp_path_factory.mktemp("upstream"))


@pytest.fixture
def loaded(loaded_once: pretrained.Loaded, tmp_path: Path) -> Checkout:
    """A copy of it that a test may damage; its server is there still."""
    shutil.copytree(loaded_once.checkout.root, tmp_path / "zoo", symlinks=True)
    return Checkout(tmp_path / "zoo")
