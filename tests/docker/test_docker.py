"""docker/: the run script and the entrypoint by themselves, and (marked) the image in a real Docker daemon.

The marked tests take what `docker/run` takes: DOCKER_HOST, BASE_IMAGE, ZOO_CA, ZOO_DOCKER_BUILD_ARGS, ZOO_DOCKER_ARGS.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.docker.conftest import DOCKER, OTHER_UID, ROOT, checkout, docker, environment, in_image, run, tiny_env

# The locks


LOCKS = sorted(file.stem for file in DOCKER.glob("requirements*.in"))


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_complete_and_says_nothing_of_where_it_was_made(name: str) -> None:
    text = (DOCKER / f"{name}.txt").read_text()
    assert text.startswith(f"# Made by docker/lock from {name}.in:")
    entries = re.split(r"\n(?=[a-z])", text)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert not re.search(r"://|--(extra-)?index-url|--find-links|/(home|root|tmp)/", text)


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_all_that_was_asked_for(name: str) -> None:
    lines = (DOCKER / f"{name}.in").read_text().splitlines()
    asked = {found[0] for line in lines if (found := re.match(r"[a-z][a-z0-9-]*", line))}
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (DOCKER / f"{name}.txt").read_text(), re.MULTILINE))
    assert asked <= locked, "run docker/lock"


def test_lock_of_the_tests_agrees_with_the_pipelines() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (DOCKER / name).read_text(), re.MULTILINE))

    # three locks, one environment
    main, release, dev = (pins(f"requirements{part}.txt") for part in ("", "-release", "-dev"))
    for one, other in ((main, release), (main, dev), (release, dev)):
        assert {name: other[name] for name in one if name in other} == {n: one[n] for n in one if n in other}


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_scripts_pass_shellcheck() -> None:
    names = ("run", "entrypoint", "lock", "lock-debian", "fetch-debs", "install-debs", "settle", "pip-env",
             "make-base", "make-board", "make-site", "make-vela", "make-engine", "cluster/make-tls",
             "cluster/worker.sbatch")  # fmt: skip
    done = run(["shellcheck", "-x", *(f"docker/{name}" for name in names)], ROOT)
    assert done.returncode == 0, done.stdout
    parts = sorted((DOCKER / "run.d").glob("*.sh"))
    assert parts
    done = run(["shellcheck", *parts], ROOT)
    assert done.returncode == 0, done.stdout


# docker/run, without Docker


SCRIPTS = ["run", "lock", "lock-debian", "fetch-debs", "make-base", "make-vela", "make-engine", "cluster/make-tls"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    done = run([DOCKER / script, "--help"])
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: docker/{script}")


@pytest.mark.parametrize(
    ("args", "env", "says"),
    [
        (["--nonesuch"], {}, "unknown option '--nonesuch'"),
        (["true"], {"ZOO_DOCKER": "yes"}, "ZOO_DOCKER is 'yes': 0, 1 or unset"),
        (["true"], {"ZOO_MIRROR": "no/such"}, "ZOO_MIRROR: no such file or folder: no/such"),
        (["true"], {"ZOO_MIRROR": "dir:///no"}, "ZOO_MIRROR: no such file or folder: dir:///no"),
        (["true"], {"ZOO_WEIGHTS_RESNET50": "no.h5"}, "ZOO_WEIGHTS_RESNET50: no such file or folder: no.h5"),
        (["true"], {"ZOO_VELA": "3.0.0"}, "ZOO_VELA: no docker/requirements-vela-3.0.0.txt: write its .in file"),
        (["true"], {"ZOO_CA": "no.pem"}, "ZOO_CA: no such file: no.pem"),
        (["true"], {"ZOO_DOCKER": "1", "DOCKER_HOST": "unix:///no/such.sock"}, "no Docker daemon answers"),
        (["true"], {"ZOO_DOCKER": "0", "ZOO_PYTHON": "no-such-python"}, "needs Docker, or Python 3.11, 3.12 or 3.13"),
    ],
)
def test_run_refuses_in_one_line(args: list[str], env: dict[str, str], says: str, tmp_path: Path) -> None:
    done = run([checkout(tmp_path / "zoo") / "docker" / "run", *args], tmp_path, **env, NXP_MODEL_ZOO_IMAGE=None)
    assert done.returncode != 0
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_run_names_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\necho 3.9.2\n")
    old.chmod(0o755)
    zoo = checkout(tmp_path / "zoo")
    done = run([zoo / "docker" / "run"], ZOO_DOCKER="0", ZOO_PYTHON=str(old), NXP_MODEL_ZOO_IMAGE=None)
    assert done.returncode != 0
    assert f"{old} is 3.9.2" in done.stderr


@pytest.mark.slow
def test_venv_is_made_once_and_again_when_it_must(tiny: Path, tmp_path: Path) -> None:
    script, env = tiny / "docker" / "run", tiny_env(tiny)
    (tmp_path / "mirror").mkdir()
    show = ["sh", "-c", "pwd; echo $ZOO_MIRROR; echo ${PYTHONPATH-unset}; which python; vela; exit 7"]

    # A first use, by two at once: one sets up, the other waits for it.
    both = [
        subprocess.Popen(
            [script, *show],
            cwd=tmp_path,
            env=environment(**env, ZOO_MIRROR="mirror"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [7, 7], said
    for out, err in said:
        python = (tiny / "build/venv").resolve() / "bin/python"
        assert out.splitlines() == [str(tiny), str(tmp_path / "mirror"), "unset", str(python), "tiny 1.0"]
        assert "ZOO_DOCKER=0: using build/venv (same lock, Python 3.1" in err
    assert sorted("setting up build/venv with" in err for _, err in said) == [False, True]
    lock = hashlib.sha256((tiny / "docker/requirements.txt").read_bytes()).hexdigest()
    assert (tiny / "build/venv/zoo-lock.sha256").read_text().split()[0] == lock

    # Whole and unchanged: nothing is set up.
    start = time.monotonic()
    done = run([script, "true"], **env)
    assert done.returncode == 0
    assert "setting up" not in done.stderr
    assert time.monotonic() - start < 2

    # Half made, as a killed run leaves it; with a lock that no package fits; and mended.
    (tiny / "build/venv/stamp").unlink()
    (tiny / "build/vela/4.3.0/stamp").unlink()
    good = (tiny / "docker/requirements-vela-4.3.0.txt").read_text()
    (tiny / "docker/requirements-vela-4.3.0.txt").write_text(re.sub("sha256:.*", "sha256:" + "0" * 64, good))
    done = run([script, "true"], **env)
    assert done.returncode == 1
    assert "could not set up build/vela/4.3.0 (see above)" in done.stderr
    assert "HASH" in done.stderr.upper()
    assert not (tiny / "build/vela/4.3.0/stamp").exists()
    (tiny / "docker/requirements-vela-4.3.0.txt").write_text(good + "# another lock\n")
    done = run([script, "vela"], **env)
    assert (done.returncode, done.stdout) == (0, "tiny 1.0\n"), done.stderr
    assert "setting up build/vela/4.3.0" in done.stderr
    assert "setting up build/venv" not in done.stderr

    # One more version of Vela, beside the first and not in its place.
    shutil.copy(tiny / "docker/requirements-vela-4.3.0.txt", tiny / "docker/requirements-vela-5.0.0.txt")
    done = run([script, "sh", "-c", "vela; build/vela/5.0.0/bin/vela"], **env, ZOO_VELA="5.0.0")
    assert (done.returncode, done.stdout) == (0, "tiny 1.0\ntiny 1.0\n"), done.stderr
    assert "setting up build/vela/5.0.0" in done.stderr
    assert "setting up build/vela/4.3.0" not in done.stderr


@pytest.mark.slow
def test_a_new_venv_leaves_the_one_in_use_alone(tiny: Path) -> None:
    script, env = tiny / "docker" / "run", tiny_env(tiny)
    assert run([script, "true"], **env).returncode == 0
    old = (tiny / "build/venv").resolve()
    with subprocess.Popen(
        [script, "sh", "-c", "echo ready; read _; which python; vela; python -c 'import json, wave'"],
        env=environment(**env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdin
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        for text in ("# one more\n", "# two more\n"):
            (tiny / "docker/requirements-dev.txt").write_text(text)
            done = run([script, "which", "python"], **env)
            new = (tiny / "build/venv").resolve()
            assert (done.returncode, done.stdout) == (0, f"{new}/bin/python\n"), done.stderr
        assert new != old
        out, _ = running.communicate("\n", timeout=60)
        assert (running.returncode, out) == (0, f"{old}/bin/python\ntiny 1.0\n")
    (tiny / "docker/requirements-dev.txt").write_text("# three more\n")
    assert run([script, "true"], **env).returncode == 0
    kept = {(tiny / "build/venv").resolve(), new}  # nothing runs now: older ones go
    assert {path for path in (tiny / "build").glob("venv-*") if path.is_dir()} == kept


@pytest.mark.slow
def test_the_engine_is_set_up_only_where_a_cluster_is_named(tiny: Path) -> None:
    script, env, engine = tiny / "docker" / "run", tiny_env(tiny), tiny / "build/engine"
    assert run([script, "true"], **env).returncode == 0
    assert not engine.exists()
    venv = (tiny / "build/venv").resolve()

    def named() -> subprocess.CompletedProcess[str]:
        done = run([script, "build/engine/bin/dask"], tiny, **env, ZOO_ENGINE="tls://scheduler:8786")
        assert (done.returncode, done.stdout) == (0, "tiny 1.0\n"), done.stderr
        return done

    done = named()
    assert "setting up build/engine" in done.stderr
    assert "setting up build/venv" not in done.stderr
    assert (tiny / "build/venv").resolve() == venv
    assert not list(venv.glob("lib/python*/site-packages/dask*"))
    assert "setting up" not in named().stderr
    first = engine.resolve()
    (first / "stamp").unlink()  # half made, as a killed run leaves it
    assert "setting up build/engine" in named().stderr
    with (tiny / "docker/requirements-engine.txt").open("a") as lock:
        lock.write("# another lock\n")
    assert "setting up build/engine" in named().stderr
    assert engine.resolve() != first
    assert not first.exists()


@pytest.mark.slow
def test_the_folder_of_an_older_docker_run_is_left_alone(tiny: Path) -> None:
    script, env = tiny / "docker" / "run", tiny_env(tiny)
    (tiny / "build/venv/bin").mkdir(parents=True)
    (tiny / "build/venv/stamp").write_text("another lock\n")
    done = run([script, "which", "python"], **env)
    assert done.returncode == 0
    assert "-> when no build uses it: rm -r build/venv\n" in done.stderr
    assert (tiny / "build/venv/stamp").read_text() == "another lock\n"
    again = run([script, "which", "python"], **env)
    assert again.stdout == done.stdout
    assert "setting up" not in again.stderr


# The entrypoint, without Docker


@pytest.fixture
def entrypoint(tmp_path: Path) -> tuple[Path, Path]:
    """The entrypoint with /workspace elsewhere and a tini that only runs its command."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    script = tmp_path / "entrypoint"
    text = (DOCKER / "entrypoint").read_text()
    assert text.count("workspace=/workspace\n") == 1
    script.write_text(text.replace("workspace=/workspace\n", f"workspace={workspace}\n"))
    tini = tmp_path / "bin" / "tini"
    tini.parent.mkdir()
    tini.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    tini.chmod(0o755)
    return script, workspace


def enter(script: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = f"{script.parent / 'bin'}:{os.environ['PATH']}"
    return run(["sh", script, *command], PATH=path, NXP_MODEL_ZOO_CHECKOUT="")  # set where the tests run in the image


def test_entrypoint_without_a_checkout(entrypoint: tuple[Path, Path]) -> None:
    done = enter(entrypoint[0], "doit", "list")
    assert done.returncode == 1
    assert 'mount the checkout: docker run --rm -v "$PWD:/workspace" nxp-model-zoo' in done.stderr
    assert done.stderr.count("\n") == 1


def test_entrypoint_passes_other_commands_and_their_exit_code(entrypoint: tuple[Path, Path]) -> None:
    done = enter(entrypoint[0], "sh", "-c", "echo 'a  b' \"$1\"; exit 5", "-", "c d")
    assert (done.returncode, done.stdout) == (5, "a  b c d\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another owner")
def test_entrypoint_acts_as_the_owner(entrypoint: tuple[Path, Path]) -> None:
    script, workspace = entrypoint
    for folder in (workspace, *workspace.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    (workspace / "dodo.py").touch()
    os.chown(workspace, OTHER_UID, OTHER_UID + 1)
    assert enter(script, "sh", "-c", "id -u; id -g; id -G").stdout.split() == ["1234", "1235", "1235"]
    workspace.chmod(0o500)
    done = enter(script, "doit")
    assert done.returncode == 1
    assert f"uid 1234 cannot write to {workspace} -> mount it without :ro, and chmod u+w it" in done.stderr


# The image


@pytest.mark.docker
def test_image_size_and_label(image: str) -> None:
    facts = json.loads(docker("image", "inspect", image).stdout)[0]
    assert facts["Size"] <= 1.8e9
    assert facts["Config"]["Cmd"] == ["doit"]
    lock = hashlib.sha256((DOCKER / "requirements.txt").read_bytes()).hexdigest()
    assert facts["Config"]["Labels"]["nxp-model-zoo.requirements.sha256"] == lock
    assert in_image(image, "cat", "/opt/zoo/zoo-lock.sha256").stdout.split()[0] == lock


@pytest.mark.docker
def test_image_has_both_environments(image: str) -> None:
    assert in_image(image, "vela", "--version").stdout.strip() == "4.3.0"
    done = in_image(image, "python", "-c", "import ai_edge_litert.interpreter, PIL, pydantic, doit; print('ok')")
    assert done.stdout == "ok\n", done.stderr
    assert in_image(image, "pytest", "--version").returncode == 127  # what tests need is in an image of its own


@pytest.mark.docker
def test_image_keeps_nothing_of_the_building_site(image: str) -> None:
    script = "cat /etc/pip.conf /run/secrets/* 2>/dev/null; env; ls -A /var/lib/apt/lists /root/.cache/uv"
    found = in_image(image, "sh", "-c", script).stdout
    assert "CERT" not in found
    assert "index" not in found
    history = docker("history", "--no-trunc", image).stdout
    assert not re.search(r"https?://|BEGIN CERTIFICATE", history)


@pytest.mark.docker
@pytest.mark.usefixtures("image")
def test_second_build_is_quick(tmp_path: Path) -> None:
    # A comment gives the image a new name and the old layers: a whole build, out of the cache.
    zoo = checkout(tmp_path)
    with (zoo / "docker" / "Dockerfile").open("a") as file:
        file.write(f"# {tmp_path}\n")
    start = time.monotonic()
    done = run([zoo / "docker" / "run", "true"], ZOO_DOCKER="1")
    assert done.returncode == 0, done.stderr
    assert "building nxp-model-zoo-build:" in done.stderr
    assert time.monotonic() - start < 15
    name = re.search(r"building (nxp-model-zoo-build:\w+)", done.stderr)
    assert name
    docker("rmi", name[1])


@pytest.mark.docker
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another owner")
def test_files_belong_to_the_owner_of_the_checkout(image: str, tmp_path: Path) -> None:
    zoo = checkout(tmp_path)
    os.chown(zoo, OTHER_UID, OTHER_UID)
    done = in_image(image, options=("-v", f"{zoo}:/workspace"))
    assert done.returncode == 0, done.stderr
    made = zoo / "mark.txt"
    assert made.read_text() == f"{OTHER_UID}\n"
    assert (made.stat().st_uid, made.stat().st_gid) == (OTHER_UID, OTHER_UID)


@pytest.mark.docker
def test_exit_code_and_messages(image: str, tmp_path: Path) -> None:
    assert in_image(image, "sh", "-c", "exit 37").returncode == 37
    done = in_image(image)
    assert done.returncode == 1
    assert "mount the checkout" in done.stderr
    zoo = checkout(tmp_path)
    done = in_image(image, options=("-v", f"{zoo}:/workspace:ro"))
    assert done.returncode == 1
    assert "cannot write to /workspace" in done.stderr


@pytest.mark.docker
def test_stop_stops_at_once(image: str) -> None:
    more = os.environ.get("ZOO_DOCKER_ARGS", "").split()
    name = docker("run", "-d", *more, image, "python", "-c", "import time; time.sleep(100)").stdout.strip()
    try:
        start = time.monotonic()
        docker("stop", name)
        assert time.monotonic() - start < 5
    finally:
        docker("rm", "-f", name)


@pytest.mark.docker
@pytest.mark.usefixtures("image")
def test_run_shows_the_container_what_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "my mirror").mkdir()
    (tmp_path / "my mirror" / "file").write_text("from the mirror\n")
    (tmp_path / "own.h5").write_text("own weights\n")
    show = 'cat "$ZOO_MIRROR/file" "$ZOO_WEIGHTS_RESNET50"; echo "$ZOO_NOTE"; pwd'
    done = run(
        [DOCKER / "run", "sh", "-c", f'{show}; touch "$ZOO_CACHE/made" "$ZOO_MIRROR/no"'],
        tmp_path,
        ZOO_DOCKER="1",
        ZOO_MIRROR="my mirror",
        ZOO_CACHE="cache",
        ZOO_WEIGHTS_RESNET50="own.h5",
        ZOO_NOTE="a  $b",
    )
    assert done.stdout == "from the mirror\nown weights\na  $b\n/workspace\n", done.stderr
    assert (tmp_path / "cache" / "made").exists()
    assert not (tmp_path / "my mirror" / "no").exists()


@pytest.mark.docker
@pytest.mark.usefixtures("image")
def test_a_served_site_can_be_opened_from_this_machine(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [DOCKER / "run", "doit", "catalogue", "serve=0", "try=0", f"to={tmp_path}/site"],
        env={**os.environ, "ZOO_DOCKER": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = next((line for line in process.stdout if line.startswith("http://127.0.0.1:")), "")
        assert line, process.stderr.read()
        with urllib.request.urlopen(f"{line.split()[0]}catalogue.json", timeout=10) as answer:
            assert json.load(answer)["format"] == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode in (0, 130)  # ended by the server, or by doit
