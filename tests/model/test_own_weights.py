"""A user's own weights: how they are named, and that bundle, manifest and card say whose they are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support import pretrained
from tests.support.checkouts import FAILED, NOTHING, Checkout, ran
from tests.support.pretrained import ENV, Loaded
from utils.errors import BuildError, DataError, SourceError, ZooError
from utils.graph import plan
from utils.model import own_weights
from utils.model.weights_saved_model import saved_model_parts
from utils.recipe.load import load_recipes

RECIPES = load_recipes()


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is put back after each test, with all that choose() wrote into it."""
    monkeypatch.setattr(os, "environ", {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.h5").write_bytes(b"weights")
    return tmp_path / "mine.h5"


def test_chosen_on_the_command_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    own_weights.choose(RECIPES, "mine.h5", "CC0-1.0", ["-n", "1", "mobilenet_v2:load", "weights=mine.h5"])
    own = own_weights.resolve_own_weights(RECIPES["mobilenet_v2"])
    assert own is not None
    assert own.path == file  # absolute: steps run elsewhere
    assert own.facts == {
        "name": "mine.h5",
        "size": 7,
        "sha256": pretrained.sha256(b"weights"),
        "licence": "CC0-1.0",
    }
    assert own_weights.resolve_own_weights(RECIPES["resnet50"]) is None


@pytest.mark.parametrize(
    "words",
    [
        ["release", "version=1.0.0", "models=mobilenet_v2"],
        ["lock", "models=mobilenet_v2"],
        ["verify", "models=mobilenet_v2", "mobilenet_v2"],
        ["vela:mobilenet_v2"],
        ["board:mobilenet_v2", "target=virtual"],
    ],
)
def test_chosen_where_a_command_names_the_model(file: Path, words: list[str]) -> None:
    own_weights.choose(RECIPES, str(file), None, [*words, f"weights={file}"])
    own = own_weights.resolve_own_weights(RECIPES["mobilenet_v2"])
    assert own is not None
    assert (own.path, own.licence) == (file, "")


def test_chosen_in_the_environment(file: Path) -> None:
    os.environ |= {
        "ZOO_WEIGHTS_RESNET50": str(file),
        "ZOO_WEIGHTS_MNASNET": str(file.parent),
        "ZOO_WEIGHTS_DEEPLABV3": "",
    }
    own_weights.choose(RECIPES, None, None, ["resnet50", "mnasnet"])
    assert own_weights.resolve_own_weights(RECIPES["resnet50"]).sha256 == pretrained.sha256(b"weights")
    assert own_weights.resolve_own_weights(RECIPES["mnasnet"]).is_folder
    assert own_weights.resolve_own_weights(RECIPES["deeplabv3"]) is None


@pytest.mark.parametrize(
    ("path", "licence", "words", "env", "said"),
    [
        ("mine.h5", None, [], {}, "weights= needs exactly one model beside it\n  -> doit mobilenet_v2 weights=FILE"),
        ("mine.h5", None, ["list"], {}, "weights= needs exactly one model"),
        ("mine.h5", None, ["mobilenet_v2", "resnet50"], {}, "weights= needs exactly one model"),
        ("mine.h5", None, ["weights=mobilenet_v2"], {}, "weights= needs exactly one model"),
        ("mine.h5", None, ["release", "models=mobilenet_v2,resnet50"], {}, "weights= needs exactly one model"),
        ("mine.h5", None, ["mnasnet", "models=resnet50"], {}, "weights= needs exactly one model"),
        (None, "MIT", ["mobilenet_v2"], {}, "weights= needs exactly one model"),
        ("none.h5", None, ["mobilenet_v2"], {}, "ZOO_WEIGHTS_MOBILENET_V2: no such file or folder: "),
        (
            "mine.h5",
            None,
            ["mnist_nearest"],
            {},
            "mnist_nearest takes no weights: it is trained by the zoo\n  -> leave",
        ),
        ("mine.h5", None, ["deeplabv3"], {}, "deeplabv3 takes no weights: it is published as a finished TFLite file"),
        (None, None, [], {"ZOO_WEIGHTS_DEMO_NEAREST": "mine.h5"}, "demo_nearest takes no weights: it is trained"),
        (None, None, [], {"ZOO_WEIGHTS_RESNET50": "none.h5"}, "ZOO_WEIGHTS_RESNET50: no such file or folder: none.h5"),
        (
            None,
            None,
            [],
            {"ZOO_WEIGHTS_RESNET": "mine.h5"},
            "ZOO_WEIGHTS_RESNET names an unknown model (did you mean 'ZOO_WEIGHTS_RESNET50'?)\n",
        ),
        (None, None, [], {"ZOO_WEIGHTS_resnet50": "mine.h5"}, "ZOO_WEIGHTS_resnet50 names an unknown model"),
    ],
)
def test_wrongly_chosen(
    file: Path, monkeypatch: pytest.MonkeyPatch, path: str | None, licence: str | None, words: list[str],
    env: dict[str, str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(file.parent)
    os.environ |= env
    with pytest.raises(SourceError) as caught:
        own_weights.choose(RECIPES, path, licence, words)
    assert said in str(caught.value)
    assert "  -> " in str(caught.value)


def test_a_folder_with_a_link_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").symlink_to("/etc/hostname")
    os.environ["ZOO_WEIGHTS_MNASNET"] = str(tmp_path / "saved")
    with pytest.raises(DataError, match="is a symbolic link"):
        own_weights.choose(RECIPES, None, None, [])


def resolved(path: Path) -> own_weights.OwnWeights:
    os.environ["ZOO_WEIGHTS_MNASNET"] = str(path)
    own = own_weights.resolve_own_weights(RECIPES["mnasnet"])
    assert own is not None
    return own


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_was_checked_is_what_is_read(tmp_path: Path, is_folder: bool) -> None:
    """The user's file may change or vanish once it is in the cache; a changed copy is refused, and made anew."""
    os.environ["ZOO_CACHE"] = str(tmp_path / "cache")
    mine = tmp_path / "mine"
    content = {"saved_model.pb": b"graph", "variables/variables.index": b"index"} if is_folder else {"": b"weights"}

    def write(more: bytes = b"") -> None:
        for name, data in content.items():
            (mine / name).parent.mkdir(parents=True, exist_ok=True)
            (mine / name).write_bytes(data + more)

    write()
    own = resolved(mine)
    assert not own.is_kept()
    with pytest.raises(BuildError, match="missing or damaged"):
        own.take(tmp_path / "early")
    own.keep()
    assert own.is_kept()
    for kept in (tmp_path / "cache").glob("*[0-9a-f]"):
        if kept.is_file():
            assert kept.name == pretrained.sha256(kept.read_bytes())
    write(b" of another network")
    home = own.take(tmp_path / "out")
    assert {name: (home / name).read_bytes() for name in content} == content
    assert home.name == "mine"
    assert not list((tmp_path / "cache/partial").iterdir())

    damaged = tmp_path / "cache" / pretrained.sha256(next(iter(content.values())))
    damaged.write_bytes(b"something else")
    assert not own.is_kept()
    with pytest.raises(BuildError, match="missing or damaged"):
        own.take(tmp_path / "again")
    with pytest.raises(BuildError, match="changed while the build ran"):  # the user's is another one by now
        own.keep()
    write()
    own.keep()
    assert own.is_kept()


def test_weights_that_change_before_they_are_kept(file: Path, tmp_path: Path) -> None:
    os.environ["ZOO_CACHE"] = str(tmp_path / "cache")
    own = resolved(file)
    file.write_bytes(b"others.")
    with pytest.raises(BuildError, match="the weights changed while the build ran"):
        own.keep()
    file.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        own.keep()


@pytest.mark.parametrize("is_member", [False, True])
def test_weights_whose_disk_fails_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_member: bool
) -> None:
    """The kernel answers EIO to whoever reads a process's memory from address 0, as a network drive may."""
    os.environ["ZOO_CACHE"] = str(tmp_path / "cache")
    broken = Path("/proc/self/mem")
    home = tmp_path if is_member else broken
    if is_member:
        monkeypatch.setattr(own_weights, "list_members", lambda _folder: {"saved_model.pb": broken})
    own = own_weights.OwnWeights(home, is_folder=is_member, name="mine", size=1, sha256="5" * 64, licence="")
    with pytest.raises(DataError) as caught:
        own.keep()
    assert str(caught.value).startswith(
        "/proc/self/mem: cannot be read: Input/output error\n  -> copy it to a local disk"
    )
    assert list((tmp_path / "cache/partial").iterdir()) == []


def test_an_empty_folder_is_taken_as_a_folder(tmp_path: Path) -> None:
    """So the reader says what it is: no SavedModel."""
    os.environ["ZOO_CACHE"] = str(tmp_path / "cache")
    (tmp_path / "mine").mkdir()
    own = resolved(tmp_path / "mine")
    own.keep()
    home = own.take(tmp_path / "out")
    assert list(home.iterdir()) == []
    with pytest.raises(DataError, match="is a folder, but not a SavedModel"):
        next(saved_model_parts(None, home))


def test_each_step_has_the_weights_of_one_resolution(file: Path, tmp_path: Path) -> None:
    os.environ |= {"ZOO_CACHE": str(tmp_path / "cache"), "ZOO_WEIGHTS_MOBILENET_V2": str(file)}
    steps = plan.steps_of(RECIPES["mobilenet_v2"])
    assert len({id(step.own) for step in steps}) == 1
    assert steps[0].own is not None
    assert steps[0].own.sha256 == pretrained.sha256(b"weights")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list", "weights=none.h5"], SourceError.exit_code),
        (["mobilenet_v2", "weights=none.h5"], SourceError.exit_code),
        (["demo_nearest", "weights=dodo.py"], SourceError.exit_code),
    ],
)
def test_doit_says_it_without_a_traceback(project: Checkout, arguments: list[str], code: int) -> None:
    done = project.doit(*arguments)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr + done.stdout


def test_doit_names_a_wrong_variable(project: Checkout) -> None:
    done = project.doit("list", env={"ZOO_WEIGHTS_MOBILENETV2": "x"})
    assert done.returncode == SourceError.exit_code
    assert done.stderr.startswith("error: ZOO_WEIGHTS_MOBILENETV2 names an unknown model")
    assert issubclass(SourceError, ZooError)


STEPS = ("download", "load", "float32", "int8", "evaluate", "validate", "card")


def fine_tuned(loaded_once: Loaded, file: Path, turn: int) -> Path:
    """The published weights with other names for the colours: red is green, ..."""
    file.write_bytes(loaded_once.files["/colours.h5"])
    with h5py.File(file, "r+") as h5:
        data = h5["dense/dense/kernel:0"]
        data[...] = np.roll(data[()], turn, axis=1)
    return file


@pytest.mark.slow
def test_a_build_with_own_weights(loaded: Checkout, loaded_once: Loaded, tmp_path: Path) -> None:
    """It says whose they are; another file rebuilds, the same does not; without them the published ones are back."""
    published = loaded.hashes("artifacts/colours/*")
    shutil.copy(loaded.root / "artifacts/colours/README.md", tmp_path)
    kept = loaded.root / "build/cache" / pretrained.sha256(loaded_once.files["/colours.h5"])
    kept.unlink()  # own weights need no published ones
    mine = fine_tuned(loaded_once, tmp_path / "mine.h5", 1)
    before = len(loaded_once.server.requests)
    done = loaded.doit("colours", f"weights={mine}", "weights_licence=CC0-1.0", env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == {f"colours:{step}" for step in STEPS}
    assert len(loaded_once.server.requests) == before
    home = loaded.root / "artifacts/colours"
    facts = json.loads((home / "manifest.json").read_text())
    digest = pretrained.sha256(mine.read_bytes())
    assert facts["sources"]["weights"] == {
        "name": "mine.h5",
        "size": mine.stat().st_size,
        "sha256": digest,
        "licence": "CC0-1.0",
        "own": True,
        "pinned": True,
    }
    card = (home / "README.md").read_text()
    assert "**User-supplied weights.** These are not the published ones: `mine.h5`" in card
    assert digest in card
    assert "licence CC0-1.0" in card
    assert "The weights are user-supplied: how they were trained is not known." in card
    assert "colours.h5" not in card
    assert json.loads((home / "model.json").read_text())["weights"] == "user-supplied"
    assert facts["evaluation"]["variants"]["int8"]["accuracy"] < 50  # the gate asks for 90 of the published ones
    assert str(tmp_path) not in card + json.dumps(facts)

    # the same file, however it is named to doit
    assert (
        NOTHING
        in loaded.doit(
            "colours", env={**ENV, "ZOO_WEIGHTS_COLOURS": str(mine), "ZOO_LICENCE_COLOURS": "CC0-1.0"}
        ).stdout
    )
    own = loaded.hashes("artifacts/colours/*.tflite")
    # other weights in the same place
    fine_tuned(loaded_once, mine, 2)
    done = loaded.doit("colours", f"weights={mine}", env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == {f"colours:{step}" for step in STEPS}
    assert set(loaded.hashes("artifacts/colours/*.tflite").values()).isdisjoint(own.values())
    assert "licence not stated" in (home / "README.md").read_text()

    # and without them
    done = loaded.doit("colours", env=ENV)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [request.path for request in loaded_once.server.requests[before:]] == ["/colours.h5"]
    assert loaded.hashes("artifacts/colours/*") == published
    assert (home / "README.md").read_text() == (tmp_path / "README.md").read_text()


def test_own_weights_of_another_network(loaded: Checkout, loaded_once: Loaded, tmp_path: Path) -> None:
    """The first layer that does not fit is named, and the bundle that was there stays."""
    before = loaded.hashes("artifacts/colours/*")
    (tmp_path / "mine.h5").write_bytes(loaded_once.files["/same.h5"])
    done = loaded.doit("colours", f"weights={tmp_path}/mine.h5", env=ENV)
    assert done.returncode in FAILED
    assert 'error: colours:load: mine.h5: layer "conv" (Conv2D): ' in done.stderr
    assert "Traceback" not in done.stderr
    assert loaded.hashes("artifacts/colours/*") == before
