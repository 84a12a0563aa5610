"""The TFLite runtimes of old BSPs, each in a venv of the Python that it was built for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: Old runtimes with x86-64 wheels, and the Python that each was built for.
OLD_RUNTIMES = {"2.7.0": "3.8", "2.10.0": "3.9", "2.13.0": "3.10", "2.14.0": "3.11"}


def install_runtime(runtime: str, tmp_path: Path) -> Path:
    """A venv with this old runtime; the test is skipped where its Python is not installed."""
    python = _python(OLD_RUNTIMES[runtime])
    if python is None:
        pytest.skip(f"no Python {OLD_RUNTIMES[runtime]} on this machine for tflite-runtime {runtime}")
    venv = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    install = [str(venv / "bin/python"), "-m", "pip", "install", "-q", "--only-binary", ":all:"]
    done = subprocess.run([*install, f"tflite-runtime=={runtime}", "numpy<2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return venv


def _python(version: str) -> str | None:
    """An interpreter of that version that runs: from PATH, from pyenv, or this one."""
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        candidates.append(sys.executable)
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys, ensurepip; print(sys.version)"], capture_output=True, text=True
        )
        if asked.returncode == 0 and asked.stdout.startswith(f"{version}."):
            return os.path.realpath(candidate)
    return None
