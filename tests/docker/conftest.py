"""A checkout to run docker/run in, a venv of tiny packages, and the image in a real Docker daemon."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
INSIDE = "NXP_MODEL_ZOO_IMAGE" in os.environ
OTHER_UID = 1234  # an owner that is neither root nor anybody in the image


def checkout(folder: Path) -> Path:
    """A checkout with docker/ as it is and a task graph of one task."""
    shutil.copytree(DOCKER, folder / "docker")
    shutil.copy(ROOT / ".dockerignore", folder)
    (folder / "dodo.py").write_text(
        "def task_mark():\n    return {'actions': ['id -u > mark.txt'], 'targets': ['mark.txt'], 'uptodate': [True]}\n"
    )
    return folder


def environment(**env: str | None) -> dict[str, str]:
    """The environment with changes; a variable that is None is taken away."""
    return {key: value for key, value in {**os.environ, **env}.items() if value is not None}


def run(command: list[str | Path], cwd: Path | None = None, /, **env: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="session")
def tools() -> Path:
    """The uv that made this environment; another environment than docker/run's has none."""
    for build in (Path(sys.prefix).resolve().parent, ROOT / "build"):
        for folder in build.glob("uv-*"):
            if (folder / "stamp").exists():
                return folder
    pytest.skip("this environment was not made by docker/run")


@pytest.fixture
def tiny(tmp_path: Path, tools: Path) -> Path:
    """A checkout whose locks hold packages of our own making: nothing is fetched."""
    zoo = checkout(tmp_path / "a zoo")
    (zoo / "build").mkdir()
    shutil.copytree(tools, zoo / "build" / tools.name)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    names = ("requirements", "requirements-release", "requirements-dev")
    programs = {"requirements-vela-4.3.0": ("ethos_u_vela", "vela"), "requirements-engine": ("dask", "dask")}
    for name in (*names, *programs):
        (zoo / "docker" / f"{name}.txt").write_text("# nothing\n")
        if name in programs:
            text, program = programs[name]
            wheel = wheels / f"{text}-1.0-py3-none-any.whl"
            info = f"{text}-1.0.dist-info"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(f"tiny_{program}.py", "def main():\n    print('tiny 1.0')\n")
                archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {text}\nVersion: 1.0\n")
                archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                points = f"[console_scripts]\n{program} = tiny_{program}:main\n"
                archive.writestr(f"{info}/entry_points.txt", points)
                archive.writestr(f"{info}/RECORD", "")
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            (zoo / "docker" / f"{name}.txt").write_text(f"{text}==1.0 --hash=sha256:{digest}\n")
    return zoo


def tiny_env(zoo: Path) -> dict[str, str | None]:
    return {
        "ZOO_DOCKER": "0",
        "ZOO_PYTHON": getattr(sys, "_base_executable", sys.executable),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(zoo.parent / "wheels"),
        "PYTHONPATH": "/no/such/leak",
        "NXP_MODEL_ZOO_IMAGE": None,
    }


def docker(*args: str) -> subprocess.CompletedProcess[str]:
    return run(["docker", *args])


@pytest.fixture(scope="module")
def image() -> str:
    """The image of this docker/, built if it has to be; a name that only this tree has."""
    if INSIDE:
        pytest.skip("this runs in the image already")
    if not shutil.which("docker") or docker("version").returncode != 0:
        pytest.skip("no Docker daemon answers")
    done = run([DOCKER / "run", "true"], ZOO_DOCKER="1")
    assert done.returncode == 0, done.stderr
    return "nxp-model-zoo:latest"


#: A client whose daemon has the images of a list, a line each: content, id, id of the base, name of the base. Its words
#: for a build and for a run go to stdout, a line each.
CLIENT = """#!/bin/sh
list={folder}/images
case "$1 $2" in
    'version --format') case $3 in *Server*) echo amd64 ;; *) echo 20.10.0 ;; esac ;;
    'image ls')
        for word; do
            case $word in
                label=nxp-model-zoo.content=*) grep "^${{word##*=}} " "$list" | cut -d ' ' -f 2 ;;
                label=nxp-model-zoo.content) cut -d ' ' -f 2 "$list" ;;
            esac
        done ;;
    'image inspect')
        format=$4
        shift 4
        for id; do
            case $format in
                *base.name*) sed -n "s/^[^ ]* $id /$id /p" "$list" ;;
                *) cut -d ' ' -f 3,4 "$list" | grep " $id$" | head -n 1 | cut -d ' ' -f 1 ;;
            esac
        done ;;
    'build '* | 'run '*) printf '%s\\n' "$@" ;;
esac
exit 0
"""


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """The folder of a client for PATH: for what docker/run asks of Docker, where no daemon is."""
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "docker").write_text(CLIENT.format(folder=folder))
    (folder / "docker").chmod(0o755)
    (folder / "images").write_text("")
    return folder


def with_client(client: Path, **env: str | None) -> dict[str, str | None]:
    path = f"{client}:{os.environ['PATH']}"
    return {"PATH": path, "ZOO_DOCKER": "1", "NXP_MODEL_ZOO_IMAGE": None, "BASE_IMAGE": None, **env}


def in_image(image: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    more = os.environ.get("ZOO_DOCKER_ARGS", "").split()
    return docker("run", "--rm", *more, *options, image, *command)


DOCKERFILE = """\
# {unique}
ARG BASE_IMAGE=nonesuch.invalid/base:1
FROM ${{BASE_IMAGE}}
{more}
ARG BASE_IMAGE
LABEL org.opencontainers.image.base.name="${{BASE_IMAGE}}"
"""


class Site:
    """A checkout with a Dockerfile of its own, and bases that are only here."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.base = checkout(root), f"zoo-test-base:{name}"
        self.dockerfile("")

    def dockerfile(self, more: str) -> None:
        text = DOCKERFILE.format(unique=self.root, more=more)
        (self.root / "docker/Dockerfile").write_text(text)

    def make_base(self, tag: str, text: str) -> str:
        """A base with a file of its own; what it was before keeps no name."""
        folder = self.root.parent / "base"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(f"FROM nxp-model-zoo:latest\nLABEL text={text}\nENV TEXT={text}\n")
        done = docker("build", "-q", "-t", tag, str(folder))
        assert done.returncode == 0, done.stderr
        return tag

    def run(self, *words: str, **env: str | None) -> tuple[str, bool, str]:
        """What the command said, whether the image was built, and all that was said besides."""
        command = [self.root / "docker" / "run", *(words or ("sh", "-c", "echo $TEXT"))]
        done = run(command, ZOO_DOCKER="1", **{"BASE_IMAGE": None, **env})
        return done.stdout.strip(), "docker/run: building " in done.stderr, done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = docker("image", "inspect", "-f", "{{.Id}}", "nxp-model-zoo:latest").stdout.strip()
    known = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())
    found = Site(tmp_path / "zoo", re.sub(r"[^a-z0-9]", "-", tmp_path.name.lower()))
    found.make_base(found.base, "one")
    yield found
    docker("tag", before, "nxp-model-zoo:latest")
    now = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split())
    docker("rmi", "-f", *sorted(now - known))
