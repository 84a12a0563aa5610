"""How programs begin and end: closed and full outputs, odd environments, paths that no build can use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env, copy_project
from tests.support.releases import first_release

pytestmark = pytest.mark.slow

DOIT = [sys.executable, "-m", "doit"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which nothing is built: look, do not touch."""
    return copy_project(tmp_path_factory.mktemp("programs") / "zoo")


def said(done: subprocess.CompletedProcess[str]) -> str:
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    return text


@pytest.mark.parametrize(
    "command", ["doit list", "utils.steps.compat demo_nearest", "utils.steps.card demo_nearest card"]
)
def test_a_reader_that_goes_ends_it_quietly(zoo: Checkout, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=zoo.root, env=clean_env(), stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    if command == "doit list":
        assert done.returncode == 141
        assert not done.stderr
    assert "Broken" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_peer_that_goes_does_not_end_it(zoo: Checkout) -> None:
    """The step cache, the scheduler, a registry: the build goes on without them."""
    code = """if True:
        from utils import program
        program.prepare(dies_of_closed_pipe=True)
        import socket
        here, there = socket.socketpair()
        there.close()
        try:
            here.send(b"x")
        except BrokenPipeError:
            print("goes on")
        """
    done = zoo.run(sys.executable, "-c", code)
    assert (done.returncode, said(done)) == (0, "goes on\n")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_reader_that_goes_ends_every_thread(zoo: Checkout, name: str, buffered: bool) -> None:
    code = f"""if True:
        from utils import program
        program.prepare(dies_of_closed_pipe=True)
        import sys, threading, time
        def write():
            for _ in range(20):
                sys.{name}.write("x" * 8192)
        threading.Thread(target=write).start()
        time.sleep(60)
        """
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        words = [sys.executable, *([] if buffered else ["-u"]), "-c", code]
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, name: gone}
        done = subprocess.run(words, cwd=zoo.root, env=clean_env(), text=True, timeout=30, **outputs)
    assert done.returncode == 141
    assert (done.stdout or done.stderr or "") == ""


def test_an_output_that_is_full(zoo: Checkout) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*DOIT, "list"], cwd=zoo.root, env=clean_env(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 9
    assert done.stderr.startswith("error: ")
    assert "no space left on the disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_is_closed(zoo: Checkout) -> None:
    done = zoo.run("bash", "-c", '"$@" >&-', "bash", *DOIT, "list")
    assert done.returncode == 9
    assert said(done) == "error: the standard output is closed\n  -> send it somewhere: > /dev/null\n"


@pytest.mark.parametrize(
    "odd",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "xx_YY.nothing", "TERM": "\x1b", "COLUMNS": "x", "TZ": ":/dev/zero"},
        {"ZOO_CACHE": "/" + "x" * 5000, "ZOO_MIRROR": "\udcff\x1b", "ZOO_OFFLINE": "\n", "ZOO_NOTHING": "\x07"},
        {"HOME": "/none", "TMPDIR": "/none", "PWD": "/none"},
    ],
)
def test_an_odd_environment_is_no_matter(zoo: Checkout, odd: dict[str, str]) -> None:
    done = zoo.doit("list", env=odd)
    assert done.returncode == 0, said(done)
    assert "mobilenet_v2" in said(done)


def test_no_environment_at_all(zoo: Checkout) -> None:
    done = subprocess.run([*DOIT, "list"], cwd=zoo.root, env={}, capture_output=True, text=True)
    assert done.returncode == 0, said(done)


@pytest.mark.parametrize("value", ["/tmp/\udcff\x1b[2J", "x" * 5000, "\n"])
def test_weights_that_no_path_can_name(zoo: Checkout, value: str) -> None:
    done = zoo.doit("list", env={"ZOO_WEIGHTS_MOBILENET_V2": value})
    assert done.returncode == 4
    assert "ZOO_WEIGHTS_MOBILENET_V2: no such file or folder" in said(done)
    assert said(done).replace("\n", "").isprintable()


def test_what_it_writes_it_can_read(zoo: Checkout) -> None:
    """Whatever the umask says; root could read all files anyhow."""
    code = "from utils import program; program.prepare(); import os; print(oct(os.umask(0)))"
    done = zoo.run("bash", "-c", 'umask 777; "$@"', "bash", sys.executable, "-c", code)
    assert said(done) == "0o77\n"
    assert zoo.run("bash", "-c", 'umask 027; "$@"', "bash", sys.executable, "-c", code).stdout == "0o27\n"


@pytest.mark.parametrize("name", ["a\nzoo", "zoo\n", "zoo\x1b[2J", "zoo\udcff"])
def test_a_checkout_whose_path_no_build_can_use(tmp_path: Path, name: str) -> None:
    copied = copy_project(tmp_path / f"{name}-copy")
    done = subprocess.run([*DOIT, "list"], cwd=copied.root, env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 9
    assert "the checkout's path has a newline, another control character or bytes that are not UTF-8" in said(done)
    assert said(done).replace("\n", "").isprintable()


#: What a program refuses, with a name that acts on a terminal.
OTHERS = {"release": ["release:check", "path=/none\x1b[2J"], "board": ["run", "virtual", "none\x1b[2J"]}


@pytest.mark.parametrize("output", ["full", "left"])
def test_a_release_checked_into_nothing(tmp_path: Path, output: str) -> None:
    release = first_release(tmp_path)
    words = [sys.executable, "-m", "utils.release", "release:check", f"path={release}"]
    reader, left = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("w") as full, os.fdopen(left, "w") as gone:
        output_to = full if output == "full" else gone
        done = subprocess.run(words, cwd=ROOT, env=clean_env(), stdout=output_to, stderr=subprocess.PIPE, text=True)
    assert done.returncode == (9 if output == "full" else 141), done.stderr
    assert ("no space left on the disk" in done.stderr) == (output == "full")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", OTHERS)
def test_a_refusal_does_not_act_on_the_terminal(program: str) -> None:
    words = [sys.executable, "-m", f"utils.{program}", *OTHERS[program]]
    done = subprocess.run(words, cwd=ROOT, env=clean_env(), capture_output=True, text=True)
    assert done.returncode in (3, 10)
    assert f"\nerror: {program}" in done.stderr
    assert r"none\x1b[2J" in said(done)
    assert said(done).replace("\n", "").isprintable()
