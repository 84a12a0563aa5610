"""A misspelt word is refused with what was meant, and nothing is done."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env, copy_project
from utils.front import commands, words
from utils.npu import bsp

BSP = bsp.find_default_bsp().name

#: What is typed, and what was meant.
MISSPELT = [
    # tasks:
    ("dmeo", "demo"),
    ("mobilenetv2", "mobilenet_v2"),
    ("mobilenet-v2", "mobilenet_v2"),
    ("mnist_neerest", "mnist_nearest"),
    ("mnist", "mnist_bilinear' or 'mnist_nearest"),
    ("lsit", "list"),
    ("publsh version=1.0.0", "publish"),
    ("verfy", "verify"),
    ("forget demo_nearest", "clean"),
    ("demo_nearest:trian", "train"),
    ("vela:demo_neerest", "demo_nearest"),
    ("clean demo_neerest", "demo_nearest"),
    ("info demo_neerest", "demo_nearest"),
    ("list demo_neerest", "demo_nearest"),
    ("help pulish", "publish"),
    ("completion bahs", "bash"),
    ("matirx shards=2", "matrix"),
    ("matrix ci=gitlb", "gitlab"),
    # options
    ("--contineu demo", "--continue"),
    ("--chekc demo", "--check"),
    ("--verbosty 2 demo", "--verbosity"),
    ("list --statsu", "--status"),
    ("vela:demo_nearest --requre-npu", "--require-npu"),
    ("release version=1.0.0 --froce", "--force"),
    # variables of the line:
    ("publish version=1.0.0 to=dir:x dryrun=1", "dry_run"),
    ("publish version=1.0.0 to=dir:x dry-run=1", "dry_run"),
    ("publish version=1.0.0 ot=dir:x", "to"),
    ("mobilenet_v2 weight=x.h5", "weights"),
    ("mobilenet_v2 weights_license=MIT", "weights_licence"),
    ("release vesion=1.0.0", "version"),
    ("release version=1.0.0 force=1", "--force"),
    ("lock model=demo_nearest", "models"),
    ("verify relase=release/1.0.0", "release"),
    ("release:check rebuilder=a.pub", "rebuilders"),
    ("vela:demo_nearest bps=x", "bsp"),
    ("board targets=virtual", "target"),
    ("mirror to=x form=y", "from"),
    ("list weight=x.h5", "weights"),
    ("matrix shrads=2", "shards"),
    # BSPs, targets, places
    (f"vela:demo_nearest bsp={BSP[:-1]}9", BSP),
    ("board target=virtaul", "virtual"),
    ("publish version=1.0.0 to=dri:x", "dir"),
    # variables of the environment:
    ("ZOO_OFLINE=1 demo", "ZOO_OFFLINE"),
    ("ZOO_MIROR=/x demo", "ZOO_MIRROR"),
    ("ZOO_CAHE=/x demo", "ZOO_CACHE"),
    ("ZOO_WEIGHT_RESNET50=/x demo", "ZOO_WEIGHTS_RESNET50"),
    ("ZOO_WEIGHTS_RESNET5=/x demo", "ZOO_WEIGHTS_RESNET50"),
]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which nothing may happen."""
    return copy_project(tmp_path_factory.mktemp("words") / "zoo")


def made(zoo: Checkout) -> set[Path]:
    """What is there beside the checkout, and what Python and the task graph remember of code."""
    kept = {"code-digests", "hashes.txt", "__pycache__"}
    return {file for file in zoo.root.rglob("*") if not kept & {*file.parts} and not file.is_dir()}


def doit(zoo: Checkout, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run doit as docker/run does."""
    return zoo.run(sys.executable, "-m", "utils.front", *words, env=env)


@pytest.mark.parametrize(("line", "meant"), MISSPELT, ids=[line for line, _ in MISSPELT])
def test_a_misspelt_word_is_refused_with_what_was_meant(zoo: Checkout, line: str, meant: str) -> None:
    before = made(zoo)
    variable, _, rest = line.partition(" ")
    env = dict([variable.split("=")]) if line.startswith("ZOO_") else {}
    done = doit(zoo, *(rest if env else line).split(), env=env)
    assert f"(did you mean '{meant}'?)" in done.stderr
    assert "\n  -> " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in (2, 4, 6)  # 4 and 6: of weights and BSPs, as from everywhere else
    assert done.stdout == ""
    assert made(zoo) == before


def test_the_table_is_long_enough() -> None:
    assert len(MISSPELT) >= 30


def test_a_misspelt_key_of_a_recipe_is_refused_with_what_was_meant(project: Checkout) -> None:
    project.change("recipes/demo/recipe.toml", "\nepochs = ", "\nepoch = ")
    done = project.doit("demo_nearest")
    assert "train.epoch: unknown key (did you mean 'epochs'?)" in done.stderr + done.stdout
    assert done.returncode
    assert not (project.root / "artifacts").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lock models=demo_nearest models=demo_bilinear", "models= is given twice"),
        ("demo bsp=x", "doit demo takes no bsp="),
        ("demo models=demo_nearest", "doit demo takes no models="),
        ("completion fish", "no completion for 'fish'"),
        ("-v", "the option '-v' requires argument"),
        ("nothing_like_it", "the task 'nothing_like_it' is unknown\n"),
        ("info", "info is about one model or step"),
    ],
)
def test_what_is_wrong_without_a_near_word_is_refused_too(zoo: Checkout, line: str, said: str) -> None:
    done = doit(zoo, *line.split())
    assert f"error: {said}" in done.stderr or f": {said}" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def test_an_empty_word_is_refused(zoo: Checkout) -> None:
    assert "a word of the command line is empty" in doit(zoo, "demo", "").stderr


def test_a_host_that_is_no_virtual_board_is_let_through() -> None:
    words.check_targets("virtual,root@virtual1,virtual1.lab,imx8,board:22")


def test_the_other_doit_hands_over(zoo: Checkout) -> None:
    """`python -m doit`, and the program doit."""
    for command in ([sys.executable, "-m", "doit"], [str(Path(sys.executable).with_name("doit"))]):
        done = zoo.run(*command, "publish", "version=1.0.0", "to=dir:x", "dryrun=1")
        assert "(did you mean 'dry_run'?)" in done.stderr
        assert done.returncode == 2


def test_all_that_is_documented_is_taken() -> None:
    """And nothing that no program reads."""
    for name, command in commands.OURS.items():
        words.check_variables("run", [name], command.variables)
        assert {*command.variables} <= commands.VALUES.keys()
    said = {name for command in commands.OURS.values() for name in command.variables}
    assert said == commands.VALUES.keys()


def test_every_variable_that_code_reads_is_known() -> None:
    """``ZOO_`` names in the code of utils/, docker/ and dodo.py."""
    files = [*(ROOT / "utils").rglob("*.py"), *(ROOT / "docker").rglob("*"), ROOT / "dodo.py"]
    texts = [file.read_text() for file in files if file.is_file() and "requirements" not in file.name]
    named = {name for text in texts for name in re.findall(r"\bZOO_[A-Z]+(?:_[A-Z]+)*_?\b", text)}
    examples = {"ZOO_DOCKER_", "ZOO_WEIGHTS_RESNET"}
    assert named - examples - {f"{name}_" for name in commands.ENVIRONMENT} <= commands.ENVIRONMENT.keys()
    told = (ROOT / "docker/run").read_text()
    known = re.search(r"^known_variables='([^']*)'", told, re.MULTILINE)
    assert known
    short = {f"ZOO_{name}" for name in known[1].split()}
    assert short == {name for name in commands.ENVIRONMENT if not name.endswith("_")}


def test_docker_run_knows_every_word_of_doit() -> None:
    found = re.search(r"^zoo_words='([^']*)'", (ROOT / "docker/run").read_text(), re.MULTILINE)
    assert found
    bases = {name.partition(":")[0] for name in commands.OURS}
    assert {*found[1].split()} | {"vela"} == bases


def test_every_command_is_a_task_or_a_command() -> None:
    code = "import dodo, json; print(json.dumps([t['basename'] for t in dodo.task_release()]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_env(), capture_output=True, text=True)
    assert set(json.loads(done.stdout)) <= commands.OURS.keys()
