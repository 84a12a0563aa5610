""".ci/run: its stages alone and together, in a checkout whose docker/run does nothing else but end as it is told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env

STAGES = [
    *("packages", "tests", "demo", "style", "docs", "browser", "pythons"),
    *("long", "cluster", "campaign", "docker", "image"),
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "docker").mkdir()
    return tmp_path


def docker_run(checkout: Path, script: str) -> None:
    (checkout / "docker/run").write_text(f"#!/bin/sh\n{script}\n")
    (checkout / "docker/run").chmod(0o755)


def program(checkout: Path, name: str, script: str) -> None:
    """A program of the machine that would change it, and here does as it is told."""
    (checkout / "bin").mkdir(exist_ok=True)
    (checkout / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (checkout / "bin" / name).chmod(0o755)


def start(checkout: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """Start it where every package counts as installed: no test changes the machine."""
    if not (checkout / "bin/dpkg-query").exists():
        program(checkout, "dpkg-query", "printf installed")
    env = {**clean_env(), "PATH": f"{checkout}/bin:{os.environ['PATH']}", "TMPDIR": str(checkout), **more}
    return subprocess.Popen(
        [checkout / ".ci/run", *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(checkout: Path, *words: str, **more: str) -> tuple[int, str, str]:
    process = start(checkout, *words, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_list_names_every_stage(checkout: Path) -> None:
    code, out, _ = run(checkout, "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == STAGES
    assert re.findall(r"^stage_(\w+)\(\)", (ROOT / ".ci/run").read_text(), re.MULTILINE) == STAGES


def test_an_unknown_stage_is_refused_before_any_stage_runs(checkout: Path) -> None:
    code, out, err = run(checkout, "tests", "slow")
    assert (code, out) == (2, "")
    assert err.startswith("ci: there is no stage 'slow'\n  -> name one of: packages tests demo ")


def test_one_stage_runs_alone_and_reports_its_time(checkout: Path) -> None:
    docker_run(checkout, 'echo "docker/run $*"')
    code, out, err = run(checkout, "tests")
    assert code == 0, err
    assert out.count("docker/run ") == 2  # the title's and ours
    assert "\ndocker/run pytest\n" in out  # as the README has it
    assert re.search(r"\n=== tests: passed, \d+ s\n", out)
    assert re.search(r"\ntests +\d+ s  passed\ntotal +\d+ s\n$", out)


def test_a_failed_stage_is_named_and_the_next_one_still_runs(checkout: Path) -> None:
    docker_run(checkout, 'case "$*" in pytest) exit 3;; esac; echo "docker/run $*"')
    code, out, err = run(checkout, "tests", "campaign")
    assert code == 1
    assert re.search(r"\ntests +\d+ s  FAILED \(3\)\ncampaign +\d+ s  passed\n", out)
    assert "ci: failed: tests\n  -> run one alone: .ci/run tests\n" in err


def test_a_stage_ends_at_its_first_failure(checkout: Path) -> None:
    docker_run(checkout, 'echo "ran $*"; case "$*" in "ruff format"*) exit 1;; esac')
    code, out, _ = run(checkout, "style")
    assert code == 1
    assert "ran ruff check ." in out
    assert "ran mypy" not in out


def interrupt(checkout: Path, *words: str) -> None:
    """Start it, and interrupt it once something has written its process id to ``pid``."""
    process = start(checkout, *words)
    deadline = time.monotonic() + 30
    while not (checkout / "pid").exists() or not (checkout / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 1


def test_an_interrupted_run_leaves_no_process_and_no_folder(checkout: Path) -> None:
    docker_run(checkout, "echo $$ >pid; exec sleep 300")
    interrupt(checkout, "tests")
    assert not Path(f"/proc/{(checkout / 'pid').read_text().strip()}").exists()
    assert not list(checkout.glob("tmp.*"))


def test_settings_of_the_caller_do_not_change_what_is_tested(checkout: Path) -> None:
    docker_run(checkout, "env | grep -E '^(ZOO_|NXP_|PYTEST)'")
    changing = {"ZOO_DOCKER": "0", "ZOO_VELA": "5.0.0", "NXP_MODEL_ZOO_IMAGE": "sha256:0", "PYTEST_ADDOPTS": "--co"}
    sources = {"ZOO_MIRROR": "/mirror", "ZOO_CACHE": "/cache", "ZOO_CA": "/ca.pem"}
    code, out, err = run(checkout, "tests", **changing, **sources)
    assert code == 0, err
    found = [line for line in out.splitlines() if line.startswith(("ZOO_", "NXP_", "PYTEST"))]
    assert sorted(found) == sorted(f"{name}={value}" for name, value in sources.items())


def with_daemon(checkout: Path, docker: str = "exit 0") -> None:
    """A daemon that is no more than a process, and a client that does as it is told."""
    program(checkout, "dockerd", "exec sleep 300")
    program(checkout, "docker", docker)


@pytest.mark.parametrize("stage", ["docker", "image"])
def test_a_stage_of_the_image_never_falls_back_to_the_venv(checkout: Path, stage: str) -> None:
    with_daemon(checkout)
    docker_run(checkout, 'mkdir -p artifacts/demo_a; echo >artifacts/demo_a/x; echo "ran $* with ${ZOO_DOCKER-unset}"')
    _, out, err = run(checkout, stage, ZOO_DOCKER="0")
    wanted = {"docker": "ran pytest with 1", "image": "ran true with 1"}[stage]
    assert wanted in out.splitlines(), out + err


#: A build as doit does it: nothing where the bundle is.
BUILD = """if [ -e artifacts/demo_a ]; then echo "nothing to do"; exit; fi
mkdir -p artifacts/demo_a build/demo_a
echo {text} >artifacts/demo_a/model
(cd artifacts/demo_a && sha256sum model >SHA256SUMS)"""


@pytest.mark.parametrize(
    ("docker", "passes"),
    [
        (BUILD.format(text="same"), True),
        (BUILD.format(text="other"), False),
        (BUILD.format(text="same") + "\necho >artifacts/demo_a/more", False),
    ],
)
def test_the_image_is_compared_with_a_venv_that_built(checkout: Path, docker: str, passes: bool) -> None:
    with_daemon(checkout, f'[ "$1" = run ] || exit 0\ncase "$*" in *list) exit;; esac\n{docker}')
    docker_run(checkout, f'[ "$*" = "doit demo" ] || exit 0\n{BUILD.format(text="same")}')
    for _ in range(2):  # the second one finds what the image of the first has made
        code, out, err = run(checkout, "image")
        assert (code == 0) == passes, out + err


def test_the_demo_is_built_even_where_one_is(checkout: Path) -> None:
    docker_run(checkout, '[ "$*" = "doit demo" ] || exit 0\n' + BUILD.format(text="new"))
    (checkout / "artifacts/demo_a").mkdir(parents=True)
    (checkout / "artifacts/demo_a/model").write_text("old\n")
    code, out, err = run(checkout, "demo")
    assert code == 0, out + err
    assert (checkout / "artifacts/demo_a/model").read_text() == "new\n"


@pytest.fixture
def policy(checkout: Path) -> Path:
    """Where the copy of .ci/run keeps the servers of packages from starting: a file of the test's own."""
    text, file = (checkout / ".ci/run").read_text(), checkout / "policy-rc.d"
    assert text.count("policy=/usr/sbin/policy-rc.d\n") == 1
    (checkout / ".ci/run").write_text(text.replace("policy=/usr/sbin/policy-rc.d\n", f"policy={file}\n"))
    program(checkout, "dpkg-query", "exit 1")
    return file


@pytest.mark.parametrize("code", [0, 100])
def test_servers_may_start_again_after_an_install(checkout: Path, policy: Path, code: int) -> None:
    program(checkout, "apt-get", f'[ "$1" = install ] || exit 0\ncat {policy} >seen\nexit {code}')
    docker_run(checkout, "exit 0")
    assert run(checkout, "tests")[0] == bool(code)
    assert (checkout / "seen").read_text() == "#!/bin/sh\nexit 101\n"
    assert not policy.exists()


def test_servers_may_start_again_after_an_interrupted_install(checkout: Path, policy: Path) -> None:
    program(checkout, "apt-get", '[ "$1" = install ] || exit 0\necho $$ >pid\nexec sleep 300')
    interrupt(checkout, "tests")
    assert not policy.exists()


def test_a_policy_of_the_machine_stays(checkout: Path, policy: Path) -> None:
    program(checkout, "apt-get", '[ "$1" != install ]')
    policy.write_text("the machine's\n")
    assert run(checkout, "tests")[0] == 1
    assert policy.read_text() == "the machine's\n"


def test_the_image_is_made_while_the_campaign_runs_where_a_stage_needs_it(checkout: Path) -> None:
    wait = "for _ in $(seq 50); do grep -q true log || sleep 0.1; done"
    docker_run(checkout, f'echo "${{ZOO_DOCKER-none}} $*" >>log; case $* in *campaign*) {wait} ;; esac')
    with_daemon(checkout)
    code, out, err = run(checkout, "campaign", "docker")
    assert code == 0, out + err
    assert {*(checkout / "log").read_text().splitlines()} == {
        "none pytest -m campaign --minutes 3", "1 pytest --version", "1 pytest"
    }  # fmt: skip
    (checkout / "log").write_text("true\n")
    program(checkout, "dockerd", "touch started; exec sleep 60")
    code, out, err = run(checkout, "campaign")
    assert code == 0, out + err
    assert (checkout / "log").read_text().splitlines() == ["true", "none pytest -m campaign --minutes 3"]
    assert not (checkout / "started").exists()
