"""docs/how-to/ci.md: the examples are valid by the schemas that are published, and their commands do what it says.

The schemas are those of schemastore.org and of GitLab, as check-jsonschema brings them along.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.docs import pages
from tests.support.checkouts import ROOT, Checkout, clean_env, copy_project
from tests.support.shared import make_once
from tests.support.zoos import make_zoo

pytestmark = pytest.mark.heavy

PAGE = ROOT / "docs/how-to/ci.md"
EXAMPLES = {
    block.text.splitlines()[0].removeprefix("# "): block.text
    for block in pages.blocks(PAGE)
    if block.language == "yaml"
}
GITHUB, GITLAB, SHARD = ".github/workflows/models.yml", ".gitlab-ci.yml", "ci/shard.yml"
SCHEMAS = {GITHUB: "github-workflows", GITLAB: "gitlab-ci", SHARD: "gitlab-ci"}


def load(text: str) -> Any:
    return YAML(typ="safe").load(text)


def dump(value: Any) -> str:
    stream = io.StringIO()
    YAML(typ="safe").dump(value, stream)
    return stream.getvalue()


def check(text: str, schema: str, folder: Path) -> str:
    """What the schema finds wrong; empty if nothing is."""
    file = folder / "example.yml"
    file.write_text(text)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_env())
    assert done.returncode in (0, 1), done.stderr
    return done.stdout if done.returncode else ""


def seen(name: str) -> str:
    """An example as its schema looks at it: into jobs, and not into templates of jobs."""
    return re.sub(r"^\.shard:", "shard:", EXAMPLES[name], flags=re.MULTILINE)


def test_the_page_has_an_example_of_each() -> None:
    assert EXAMPLES.keys() == SCHEMAS.keys()


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_example_is_valid(tmp_path: Path, name: str) -> None:
    assert check(seen(name), SCHEMAS[name], tmp_path) == ""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (GITHUB, "runs-on: ubuntu-24.04", "run-on: ubuntu-24.04"),
        (GITHUB, "fail-fast: false", "failfast: false"),
        (GITHUB, "needs: plan", "needs: {job: plan}"),
        (GITLAB, "job: plan", "jobs: plan"),
        (GITLAB, "script:", "scripts:"),
        (SHARD, "paths: [artifacts/]", "path: [artifacts/]"),
    ],
)
def test_a_wrong_example_is_found(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert old in seen(name)
    assert check(seen(name).replace(old, new), SCHEMAS[name], tmp_path)


# What they run


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Six models that are up to date, and a docker/run that runs doit in the Python of this test."""

    def make(folder: Path) -> None:
        made = make_zoo(copy_project(folder / "zoo"), 6)
        start = f'[ "$1" = doit ] && shift && exec {shlex.quote(sys.executable)} -m utils.front "$@"'
        (made.root / "docker/run").write_text(f"#!/bin/sh\n{start}\n")

    return Checkout(make_once(tmp_path_factory, "in-ci", make) / "zoo")


def run(zoo: Checkout, script: str, env: dict[str, str]) -> str:
    """Run a script as a runner does: it ends at the first command that fails."""
    done = zoo.run("bash", "-eo", "pipefail", "-c", script, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def steps_of(said: str) -> int:
    found = re.findall(r"^nothing to do: ([0-9]+) steps up to date$", said, re.MULTILINE)
    return int(found[0])


def test_the_workflow_of_github_builds_each_model_once(zoo: Checkout, tmp_path: Path) -> None:
    jobs = load(EXAMPLES[GITHUB])["jobs"]
    plan = next(step for step in jobs["plan"]["steps"] if step.get("id") == "shards")
    run(zoo, plan["run"], {"GITHUB_OUTPUT": str(tmp_path / "output")})
    name, _, value = (tmp_path / "output").read_text().rstrip("\n").partition("=")
    assert jobs["plan"]["outputs"] == {name: "${{ steps.shards.outputs.matrix }}"}
    matrix = json.loads(value)
    build = jobs["build"]
    assert build["strategy"]["matrix"] == "${{ fromJSON(needs.plan.outputs.matrix) }}"
    (script,) = [step["run"] for step in build["steps"] if "run" in step]
    said = [run(zoo, script.replace("${{ matrix.shard }}", entry["shard"]), {}) for entry in matrix["include"]]
    assert (len(said), sum(map(steps_of, said))) == (4, 36)
    filled = EXAMPLES[GITHUB].replace("${{ fromJSON(needs.plan.outputs.matrix) }}", value)
    assert check(filled, "github-workflows", tmp_path) == ""


def test_the_pipelines_of_gitlab_build_each_model_once(zoo: Checkout, tmp_path: Path) -> None:
    parent = load(EXAMPLES[GITLAB])
    (script,) = parent["plan"]["script"]
    run(zoo, script, {})
    (made,) = parent["plan"]["artifacts"]["paths"]
    included = parent["models"]["trigger"]["include"]
    assert [entry.get("artifact") or entry["local"] for entry in included] == [SHARD, made]
    jobs = load((zoo.root / made).read_text())
    template = load(EXAMPLES[SHARD])
    child = template | jobs
    assert check(dump(child), "gitlab-ci", tmp_path) == ""
    (script,) = template[".shard"]["script"]
    said = []
    for job in jobs.values():
        assert job["extends"] in template
        said.append(run(zoo, script, job["variables"]))
    assert (len(said), sum(map(steps_of, said))) == (4, 36)
    models = [name for job in jobs.values() for name in job["variables"]["MODELS"].split(",")]
    assert len(models) == len(set(models)) == 6


def test_a_job_that_knows_its_number_needs_no_plan(zoo: Checkout) -> None:
    (script,) = re.findall(r"`(docker/run doit matrix shard=\$CI_NODE_INDEX/\$CI_NODE_TOTAL)`", PAGE.read_text())
    said = [run(zoo, script, {"CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": "4"}) for index in range(1, 5)]
    assert sum(map(steps_of, said)) == 36
