"""What a build shows: on a terminal of 80 or 120 columns, through a pipe, quietly, and in detail."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env

pytestmark = pytest.mark.heavy

STEPS = 12
LINE = re.compile(r"^\[ *([0-9]+)/12\] (demo_[a-z]+:[a-z0-9]+) +[0-9]+\.[0-9] s")


def lines_of_steps(text: str) -> list[str]:
    return [found[2] for line in text.splitlines() if (found := LINE.match(line))]


@pytest.mark.slow
def test_through_a_pipe_each_step_is_one_line(small: Checkout) -> None:
    done = small.run("sh", "-c", f"{sys.executable} -m doit -n 2 demo 2>&1 | cat")
    assert "\r" not in done.stdout
    assert "\x1b" not in done.stdout
    assert len(lines_of_steps(done.stdout)) == len(set(lines_of_steps(done.stdout))) == STEPS
    first, second, third, *_ = done.stdout.splitlines()
    assert first == "12 steps of 2 models to run"
    assert second == "nothing to download"
    assert third == "no estimate: these steps did not run here before"
    table = done.stdout[done.stdout.index("\nbundle ") :].strip().splitlines()
    for line in table[1:3]:
        assert re.fullmatch(r"artifacts/demo_\w+ +\d+\.\d\d % +\d+\.\d\d % +\d+\.\d kB +PASS +\d+\.\d", line)
    assert re.fullmatch(r"done: 12 steps run, 0 up to date, \d+ s", table[3])
    commands = re.findall(r"docker/run (python \S+|doit \S+ target=root@HOST)", "\n".join(table[4:]))
    assert len(commands) == 2
    assert all(len(line) <= 80 for line in table)
    # Nothing else: the head, a line a step, the table and what to type.
    assert len(done.stdout.splitlines()) == 3 + STEPS + 1 + len(table)
    # The command that it names does what it says.
    _, script = commands[0].split()
    checked = small.run(sys.executable, script)
    assert checked.returncode == 0, checked.stderr
    assert "PASS" in checked.stdout


@pytest.mark.slow
def test_the_next_build_has_an_estimate_and_may_say_less_or_more(built: Checkout) -> None:
    """What is up to date is not in the estimate."""
    built.change("recipes/demo/recipe.toml", "count = 200\n", "count = 210\n")
    again = built.doit("demo_nearest")
    head, *_ = re.split(r"^\[", again.stdout, flags=re.MULTILINE)
    assert re.fullmatch(
        r"4 steps of 1 model to run, 2 up to date\nnothing to download\nabout \d+ s, as before, .*\n", head
    )
    steps = re.findall(r"^\[(\d)/(\d)\] demo_nearest:(\S+)", again.stdout, re.MULTILINE)
    assert [step for *_, step in steps] == ["float32", "evaluate", "validate", "card"]

    # 0 says what counts; 2 also says what steps say.
    built.change("recipes/demo/recipe.toml", "count = 210\n", "count = 220\n")
    quiet = built.doit("-v", "0", "demo_nearest")
    assert re.fullmatch(r"done: \d steps run, \d up to date, \d+ s\n", quiet.stdout)
    built.change("recipes/demo/recipe.toml", "count = 220\n", "count = 230\n")
    loud = built.doit("-v", "2", "demo_nearest").stdout
    assert "\ndemo_nearest:evaluate ... measure the accuracy, hold it against the gate\n" in loud
    assert re.search(r"\ndemo_nearest:evaluate int8: [\d.]+ % top-1 on 230 images\n", loud)


@pytest.mark.slow
def test_a_failed_step_is_told_once_and_what_was_not_run_too(small: Checkout) -> None:
    small.change("recipes/demo/recipe.toml", "float32 = 0\n", "float32 = 100\n")
    done = small.doit("-n", "1", "demo_nearest")
    assert done.returncode == 2
    assert done.stderr.count("the accuracy is outside the gate") == 1
    assert re.search(r"^\[ *4/6\] demo_nearest:evaluate +[\d.]+ s  FAILED$", done.stdout, re.MULTILINE)
    assert re.search(r"^demo_nearest +- +- +- +FAILED: evaluate +[\d.]+$", done.stdout, re.MULTILINE)
    assert "FAILED demo_nearest:evaluate: exit code 7, its message is above\n" in done.stdout
    assert "not run, for want of it: demo_nearest:validate, demo_nearest:card\n" in done.stdout
    assert "when the cause is mended: docker/run doit demo_nearest\n" in done.stdout


# A terminal


def in_terminal(checkout: Checkout, *words: str, columns: int, **env: str) -> str:
    """All bytes that a command writes to a terminal of that width."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = subprocess.Popen(
        words, cwd=checkout.root, env={**clean_env(), "TERM": "xterm", **env}, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    seen = b""
    while True:
        ready, _, _ = select.select([parent], [], [], 0.2)
        if ready:
            try:
                chunk = os.read(parent, 1 << 16)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        elif process.poll() is not None:
            break
    os.close(parent)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


#: A build of one model of two steps, drawn as doit draws it.
PROGRAM = """
import sys, time
from utils.terminal import Row, Screen
screen = Screen()
screen.footer = lambda: f"step 1 of 2, about 5 s left"
screen.begin(Row("a_model_with_a_name:evaluate", 4.0))
screen.begin(Row("b:train"))
for n in range(4):
    time.sleep(0.15)
    screen.progress("b:train", n / 4, "epoch " + "x" * 200)
    screen.write(f"line {n} " + "y" * 200, fits=True)
screen.write_error("an error\\nof two lines")
screen.close()
print("the end")
"""


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_is_longer_than_the_terminal(columns: int) -> None:
    said = in_terminal(Checkout(ROOT), sys.executable, "-c", PROGRAM, columns=columns)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    lines = re.split(r"[\r\n]+", plain)
    assert max(len(line) for line in lines) <= columns
    assert [line[:6] for line in lines if line.startswith("line")] == [f"line {n}" for n in range(4)]
    assert "step 1 of 2, about 5 s left" in plain
    assert lines[lines.index("an error") + 1] == "of two lines"
    assert plain.endswith("the end\r\n")
    assert "\x1b[?25l" not in said[said.rindex("\x1b[?25h") :]  # a killed doit leaves the cursor


@pytest.mark.parametrize(("env", "drawn"), [({"TERM": "dumb"}, False), ({"TERM": ""}, False), ({}, True)])
def test_a_dumb_terminal_gets_plain_lines(env: dict[str, str], drawn: bool) -> None:
    said = in_terminal(Checkout(ROOT), sys.executable, "-c", PROGRAM, columns=80, **env)
    assert ("\x1b" in said) == drawn
    assert ("about 5 s left" in said) == drawn


def test_no_color_takes_the_colours_away() -> None:
    def colours(**env: str) -> list[str]:
        said = in_terminal(Checkout(ROOT), sys.executable, "-c", PROGRAM, columns=80, **env)
        return re.findall(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", said)

    assert colours()
    assert not colours(NO_COLOR="1")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_in_tmux_no_line_wraps_or_mixes(small: Checkout, columns: int, tmp_path: Path) -> None:
    if not shutil.which("tmux"):
        pytest.skip("needs tmux")
    server = ["tmux", "-S", str(tmp_path / "socket"), "-f", "/dev/null"]
    command = f"cd '{small.root}' && LC_ALL=C.UTF-8 '{sys.executable}' -m doit -n 2 demo; echo THE END; sleep 60"
    subprocess.run(
        [*server, "-u", "new-session", "-d", "-x", str(columns), "-y", "40", command], check=True, env=clean_env()
    )
    live = set()
    try:
        deadline = time.monotonic() + 240
        shown = ""
        while "THE END" not in shown and time.monotonic() < deadline:
            time.sleep(0.5)
            shown = subprocess.run([*server, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout
            rows = [line for line in shown.splitlines() if line]
            live |= {line for line in rows if re.match(r"step \d+ of 12, .* so far$", line)}
            for row in rows:
                known = r"\[ *\d+/12\] |demo_\w+:\w+ |step \d|12 steps|nothing to do|no estimate|bundle |artifacts/|"
                known += r"done:|next:|      docker|THE END"
                assert re.match(known, row), f"{row!r} in\n{shown}"
    finally:
        subprocess.run([*server, "kill-server"])
    assert len(live) >= 3
    assert lines_of_steps(shown) == list(dict.fromkeys(lines_of_steps(shown)))
    assert len(lines_of_steps(shown)) == STEPS


def test_who_draws_and_who_writes_never_wait_for_each_other() -> None:
    """Eight threads write and tell while a ninth draws all the time."""
    code = """
import faulthandler, threading
from utils import terminal
faulthandler.dump_traceback_later(60, exit=True)
terminal._FRAMES_PER_S = 200
screen = terminal.Screen()
screen.footer = lambda: f"{len(screen.rows)} steps"
def work(name):
    for n in range(60):
        screen.begin(terminal.Row(name, 3.0))
        screen.progress(name, n / 60, "x")
        screen.write(f"{name} {n}", fits=True)
        screen.end(name)
threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
screen.close()
print("the end")
"""
    said = in_terminal(Checkout(ROOT), sys.executable, "-c", code, columns=80)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    lines = [line for line in re.split(r"[\r\n]+", plain) if re.fullmatch(r"t\d \d+", line)]
    assert sorted(lines) == sorted(f"t{t} {n}" for t in range(8) for n in range(60))
