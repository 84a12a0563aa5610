"""Checkouts of the project that a test builds in, and the small demo that builds in seconds."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: The real upstream files, where a machine has them; nothing may need them.
MIRROR = Path(os.environ.get("ZOO_MIRROR") or ROOT.parent / "shared" / "mirror")

#: Exit codes of doit: 1 where a step failed, 2 where others were left out because of it.
FAILED = (1, 2)

#: What doit says when all is up to date.
NOTHING = "nothing to do"


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

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start doit in it, in a session of its own; all that it and its steps say comes through one pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "doit", "-v", "2", *arguments], cwd=self.root, env={**clean_env(), **(env or {})},
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
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


#: Finds out which code each step takes.
LOOK = """
from utils.graph import plan
from utils.recipe.load import load_recipes
for recipe in load_recipes().values():
    for step in plan.steps_of(recipe):
        step.code_digests()
"""


@functools.cache
def code_digests() -> Path:
    """What doit remembers of the code of this checkout; it holds in a copy, too, where it saves a second of CPU."""
    subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, env=clean_env(), check=True)
    return ROOT / "build/code-digests"


def copy_project(to: Path) -> Checkout:
    """What git would clone, without anything built."""
    to.mkdir(parents=True)
    for name in ("utils", "recipes", "docker"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dodo.py", to)
    if code_digests().is_dir():  # build/ may be read-only
        shutil.copytree(code_digests(), to / "build/code-digests")
    return Checkout(to)


def make_small(project: Checkout) -> Checkout:
    """Make the demo train for seconds on few digits, with a gate that lets it pass."""
    for old, new in (
        ("count = 8000", "count = 2400"),  # with less it learns nothing, and answers all inputs alike
        ("count = 1000", "count = 200"),
        ("count = 500", "count = 50"),
        ("warmup_steps = 200", "warmup_steps = 60"),
        ("learning_rate = 0.005", "learning_rate = 0.003"),  # more, and 300 steps do not settle
        ("float32 = 90\n", "float32 = 0\n"),
        ("int8 = 90", "int8 = 0"),
        ("loss = 1.0", "loss = 100.0"),
    ):
        project.change("recipes/demo/recipe.toml", old, new)
    return project


def ran(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Names of the steps that doit ran."""
    return set(re.findall(r"^\[ *[0-9]+/[0-9]+\] (\S+)", done.stdout, re.MULTILINE))
