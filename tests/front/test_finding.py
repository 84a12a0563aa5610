"""Finding things: `doit list`, `doit info`, `doit help`, and completion in real shells."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env
from utils.front import commands, main
from utils.recipe.load import load_recipes

pytestmark = pytest.mark.heavy

MODELS = sorted(load_recipes())


def front(*words: str, root: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "utils.front", *words], cwd=root, env=clean_env(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# list


def states(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\w+) +(built|stale|missing) ", text, re.MULTILINE))


def test_the_list_has_models_with_their_state_then_commands(built: Checkout) -> None:
    text = front("list", root=built.root)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert states(text) == dict.fromkeys(MODELS, "missing") | {"demo_nearest": "built", "demo_bilinear": "built"}
    assert text.index("Models") < text.index("  demo_nearest") < text.index("Commands:") < text.index("  publish ")
    for name in commands.OURS:
        assert re.search(rf"^  {name}\b", text, re.MULTILINE)
    built.change("recipes/demo/recipe.toml", 'limitations = """', 'limitations = """Changed. ')
    assert states(front("list", root=built.root))["demo_nearest"] == "stale"
    shutil.rmtree(built.root / "artifacts/demo_nearest")
    assert states(front("list", root=built.root))["demo_nearest"] == "missing"


def test_the_list_of_doit_is_there_still(built_once: Checkout) -> None:
    text = front("list", "--all", "--status", "demo_nearest", root=built_once.root)
    assert re.search(r"^U demo_nearest:train +train the network$", text, re.MULTILINE)
    assert "demo_nearest" in front("list", "-q", root=built_once.root).split()


# info


def test_info_says_what_is_known_in_words(built: Checkout) -> None:
    text = front("info", "demo_nearest", root=built.root)
    assert all(len(line) <= 80 for line in text.splitlines())
    for line in (
        r"state +built, and up to date",
        r"input +1x28x28x1",
        r"accuracy +float32 [\d.]+ %, int8 [\d.]+ % \(top-1 on 200 images\)",
        r"size +\d+\.\d kB, demo_nearest_int8.tflite",
        r"self-check +PASS on the machine that built it",
        r"bundle +artifacts/demo_nearest/",
        r"recipe +recipes/demo/recipe.toml",
    ):
        assert re.search(f"^  {line}$", text, re.MULTILINE), line
    built.change("recipes/demo/recipe.toml", 'limitations = """', 'limitations = """Changed. ')
    text = front("info", "demo_nearest", root=built.root)
    assert "state       built, but its recipe, code, packages or files changed since" in text
    assert "to do       1 of 6 steps: card" in text
    assert re.search(r"^  estimate +about \d+ s$", text, re.MULTILINE)  # from the build before
    assert "next        docker/run doit demo_nearest" in text


def test_info_of_a_step_and_of_a_command() -> None:
    text = front("info", "demo_nearest:train")
    assert "what        train the network" in text
    assert "build/demo_nearest/model.weights.h5" in text
    assert "-> doit help publish" in front("info", "publish")


# help


@pytest.mark.parametrize("words", [("help",), ("--help",), ("-h",), ("help", "publish"), ("publish", "--help")])
def test_help_is_ours_first(words: tuple[str, ...]) -> None:
    text = front(*words)
    assert "pydoit.org" not in text
    if len(words) == 1:
        assert text.startswith("doit builds TFLite models")
        assert all(f"  doit {command.usage}" in text for command in commands.OURS.values())
    else:
        assert "dry_run=" in text


@pytest.mark.parametrize("name", commands.OURS)
def test_each_command_has_a_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["help", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"doit {commands.OURS[name].usage}\n")
    assert all(f"  {key}=" in text for key in commands.OURS[name].variables)


def test_help_of_the_variables_names_all_but_those_between_programs() -> None:
    text = front("help", "variables")
    assert "  ZOO_WEIGHTS_<MODEL> " in text
    assert "  ZOO_OFFLINE " in text
    assert "ZOO_PARENT" not in text


# Completion

CASES = [
    ("doit mobilenet", {"mobilenet_v2"}),
    ("doit publ", {"publish"}),
    ("doit vela:mob", {"vela:mobilenet_v2"}),
    ("doit publish dry", {"dry_run="}),
    ("doit release --fo", {"--force"}),
    ("docker/run doit mnist_", {"mnist_bilinear", "mnist_nearest"}),
    ("docker/run do", {"doit"}),
]

_BASH = """
. {script}
COMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}}
# As readline splits: at blanks, and each : and = is a word.
read -ra COMP_WORDS <<<"$(sed 's/[:=]/ & /g' <<<"$COMP_LINE")"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ :; }}
_zoo
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(("line", "wanted"), CASES)
def test_completion_in_bash(tmp_path: Path, line: str, wanted: set[str]) -> None:
    script = tmp_path / "zoo.bash"
    script.write_text(front("completion", "bash"))
    done = subprocess.run(["bash", "-c", _BASH.format(script=script, line=line)], capture_output=True, text=True)
    assert done.stderr == ""
    # bash puts what it gets behind the last : or =
    behind = {word.rpartition(":")[2] if ":" in line else word for word in wanted}
    assert set(done.stdout.split()) == behind


def test_bash_completes_for_the_words_as_they_are_typed(tmp_path: Path) -> None:
    script = tmp_path / "zoo.bash"
    script.write_text(front("completion", "bash"))
    done = subprocess.run(["bash", "-c", f". {script}; complete -p docker/run doit"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count("-F _zoo") == 2


_ZSH = """
zmodload zsh/zpty
zpty z "zsh -f -i"
zpty -w z "PS1='> '; autoload -U compinit; compinit -u -d {dump}; . {script}; echo RE''ADY"
zpty -r z out '*READY*'
zpty -w -n z {line}$'\\t'
sleep 1
zpty -w z $'\\C-a'"echo GOT "
zpty -r z out '*GOT*'
print -r -- "$out"
zpty -d z
"""


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_completion_in_zsh(tmp_path: Path) -> None:
    """All shells side by side: each waits for most of its time."""
    script = tmp_path / "zoo.zsh"
    script.write_text(front("completion", "zsh"))
    cases = [(line, *wanted) for line, wanted in CASES if len(wanted) == 1]
    shells = []
    for number, (line, _) in enumerate(cases):
        program = _ZSH.format(dump=tmp_path / f"dump{number}", script=script, line=repr(line))
        env = clean_env() | {"TERM": "dumb"}
        shell = subprocess.Popen(["zsh", "-f", "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)
        shells.append(shell)
    for shell, (line, wanted) in zip(shells, cases, strict=True):
        said, _ = shell.communicate(timeout=60)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\b]", "", said)
        assert f"{line.rpartition(' ')[0]} {wanted}" in plain, plain


def test_a_recipe_that_does_not_load_breaks_its_own_models_only(project: Checkout) -> None:
    project.change("recipes/resnet50/recipe.toml", "format = 1", "format = 7")
    listed = project.doit("list")
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"^  resnet50 +broken +", listed.stdout, re.MULTILINE)
    assert re.search(r"^  mobilenet_v2 +missing +", listed.stdout, re.MULTILINE)
    assert project.doit("info", "demo_nearest").returncode == 0
    assert "format" in project.doit("resnet50").stderr
