"""docker/run says what to type: tasks without doit, misspelt options and variables, programs that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.conftest import checkout, run, tiny_env, with_client

RECIPE = '[model.one_bilinear]\nx = 1\n[model."two"]\n'


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    found = checkout(tmp_path / "zoo")
    (found / "recipes/pair").mkdir(parents=True)
    (found / "recipes/alone").mkdir()
    (found / "recipes/pair/recipe.toml").write_text(RECIPE)
    (found / "recipes/alone/recipe.toml").write_text("")
    return found


@pytest.mark.parametrize(
    "line", ["demo", "list", "one_bilinear", "alone", "alone:train", "vela:alone", "publish version=1.0.0 dry_run=1"]
)
def test_a_task_is_run_by_doit(zoo: Path, client: Path, line: str) -> None:
    (client / "images").write_text("")
    done = run([zoo / "docker/run", *line.split()], **with_client(client))
    assert f"docker/run: running: doit {line}\n" in done.stderr
    assert done.stdout.splitlines()[-len(line.split()) - 1 :] == ["doit", *line.split()]


@pytest.mark.parametrize("line", ["pytest -m fast", "vela --version", "python demo", "sh -c list", "two"])
def test_a_program_is_run_as_it_is(zoo: Path, client: Path, line: str) -> None:
    done = run([zoo / "docker/run", *line.split()], **with_client(client))
    assert "running: doit" not in done.stderr
    assert done.stdout.splitlines()[-len(line.split()) :] == line.split()


@pytest.mark.parametrize(
    ("line", "env", "said"),
    [
        ("--rebuid", {}, "unknown option '--rebuid' (did you mean --rebuild?) -> docker/run --help"),
        ("--hepl", {}, "unknown option '--hepl' (did you mean --help?)"),
        ("--nothing-like-it", {}, "unknown option '--nothing-like-it' -> docker/run --help"),
        ("true", {"ZOO_DOKER": "0"}, "the variable 'ZOO_DOKER' is unknown (did you mean ZOO_DOCKER?)"),
        ("true", {"ZOO_OFLINE": "1"}, "the variable 'ZOO_OFLINE' is unknown (did you mean ZOO_OFFLINE?)"),
        ("true", {"ZOO_PLATFROM": "x"}, "the variable 'ZOO_PLATFROM' is unknown (did you mean ZOO_PLATFORM?)"),
    ],
)
def test_what_is_misspelt_is_refused_and_docker_hears_nothing(
    zoo: Path, client: Path, line: str, env: dict[str, str], said: str
) -> None:
    done = run([zoo / "docker/run", line], **with_client(client, **env))
    assert f"docker/run: {said}" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def test_a_variable_of_another_program_is_let_through(zoo: Path, client: Path) -> None:
    done = run([zoo / "docker/run", "true"], **with_client(client, ZOO_KEEPER_HOST="x"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("env", "wanted"), [({}, "ENGINE="), ({"ZOO_ENGINE": "tls://scheduler:8786"}, "ENGINE=1")])
def test_the_image_has_the_engine_only_where_a_cluster_is_named(
    zoo: Path, client: Path, env: dict[str, str], wanted: str
) -> None:
    done = run([zoo / "docker/run", "true"], **with_client(client, **env))
    assert done.returncode == 0, done.stderr
    assert wanted in (done.stdout + done.stderr).splitlines()


def test_what_is_no_program_says_where_the_tasks_are(tiny: Path) -> None:
    done = run([tiny / "docker/run", "dmeo"], tiny, **tiny_env(tiny))
    assert done.returncode == 127
    assert "docker/run: 'dmeo' is no program, and no task -> docker/run doit list shows the tasks" in done.stderr


def test_in_the_venv_our_doit_has_the_first_word(tiny: Path) -> None:
    front = tiny / "utils/front"
    front.mkdir(parents=True)
    (front / "__main__.py").write_text("import sys\nprint('ours', sys.argv[1:])\n")
    done = run([tiny / "docker/run", "doit", "help", "publish"], tiny, **tiny_env(tiny))
    assert done.stdout == "ours ['help', 'publish']\n", done.stderr
