"""The paths that a user names mean the same in the venv as in the image, whatever folder docker/run is called from."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.docker.conftest import INSIDE, checkout, docker, run, tiny_env

SHOW = "import os, sys\nprint(*sys.argv[1:], sep='\\n')\nprint(os.environ.get('ZOO_KEY', 'no key'))\n"
WRITE = """import os, sys
from pathlib import Path
for word in sys.argv[1:]:
    name, _, value = word.partition("=")
    print(word)
    if name == "to":
        try:
            (Path(value.removeprefix("dir:").removeprefix("oci:")) / "made").write_text("made")
        except OSError as error:
            print(type(error).__name__)
    elif value and Path(value).is_file():
        print(Path(value).read_text(), os.access(value, os.W_OK))
print(os.environ.get("ZOO_KEY", "no key"))
"""


def zoo_module(zoo: Path, text: str) -> list[str]:
    """A module of the project that looks at its words: docker/run takes its paths as it does those of doit."""
    (zoo / "utils").mkdir(exist_ok=True)
    (zoo / "utils/show.py").write_text(text)
    return ["python", "-m", "utils.show"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder beside the checkout, with files that a user may name."""
    folder = tmp_path / "my, folder"
    for name in ("release", "old"):
        (folder / name).mkdir(parents=True)
    for name in ("own.h5", "release.key", "release.pub"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.slow
def test_words_mean_the_same_from_everywhere(tiny: Path, here: Path) -> None:
    (tiny / "release/1.0.0").mkdir(parents=True)
    (here / "link.key").symlink_to("release.key")
    (here / "inside").symlink_to(tiny / "release")
    show, env = zoo_module(tiny, SHOW), tiny_env(tiny)

    def shown(*words: str, **more: str) -> list[str]:
        done = run([tiny / "docker" / "run", *show, *words], here, **(env | more))
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    root = f"../{tiny.name}"
    assert shown("mirror", "to=../usb", "weights=own.h5") == [
        "mirror", f"to={here.parent}/usb", f"weights={here}/own.h5", "no key",
    ]  # fmt: skip
    assert not (here.parent / "usb").exists()  # the command makes it
    assert shown("vela", "file=own.h5", "to=../usb")[1:3] == [f"file={here}/own.h5", f"to={here.parent}/usb"]
    assert shown("catalogue", "to=../pages", "previous=old")[1:3] == [f"to={here.parent}/pages", f"previous={here}/old"]
    assert not (here.parent / "pages").exists()
    assert shown("publish", "to=dir:new/er", f"path={root}/release/1.0.0") == [
        "publish", f"to=dir:{here}/new/er", "path=release/1.0.0", "no key",
    ]  # fmt: skip
    assert shown("publish", f"to=oci:{root}", "path=inside/1.0.0")[1:3] == ["to=oci:.", "path=release/1.0.0"]
    assert shown("publish", "to=oci://host/own.h5", "to=hf://org")[1:3] == ["to=oci://host/own.h5", "to=hf://org"]
    # Three slashes are a path, two a host; what the command refuses it has to see as it was typed.
    assert shown("publish", f"to=dir://{here}/new")[1] == f"to=dir:{here}/new"
    for word in ("to=dir://host/new", "to=dir://"):
        assert shown("publish", word)[1] == word
    for word in ("to=dir:../usb", "to=oci:../usb", "to=oci://host/usb", f"to=dir://{here}/usb"):
        assert shown("mirror", word)[1] == word
    assert shown("release:check", "path=release", "with=old", "pubkey=release.pub")[1:4] == [
        f"path={here}/release", f"with={here}/old", f"pubkey={here}/release.pub",
    ]  # fmt: skip
    both = f"rebuilders={here}/release.pub,{here}/own.h5"
    assert shown("release:check", "rebuilders=release.pub,own.h5", "rebuilds=old")[1:3] == [
        both,
        f"rebuilds={here}/old",
    ]
    assert shown("verify", f"release={root}/release/1.0.0", "key=release.key", "to=new")[1:4] == [
        "release=release/1.0.0", f"key={here}/release.key", f"to={here}/new",
    ]  # fmt: skip
    assert shown("verify", "release=oci:old:1.0.0")[1] == f"release=oci:{here}/old:1.0.0"
    assert shown("verify", "release=oci://host:5000/old:1.0.0")[1] == "release=oci://host:5000/old:1.0.0"
    assert shown("publish", "to=dir:new", "pubkey=release.pub")[2] == f"pubkey={here}/release.pub"
    # A key is for the command that signs, and the shell leaves the ~ of key=~/ to us.
    assert shown("release", "key=link.key")[1] == f"key={here}/release.key"
    assert shown("release", "key=~/release.key", HOME=str(here))[1] == f"key={here}/release.key"
    assert shown("release", ZOO_KEY="release.key")[-1] == f"{here}/release.key"
    for command in ("mirror", "verify"):
        assert shown(command, ZOO_KEY="release.key")[-1] == "no key"
    # Another command's words are its own.
    assert run([tiny / "docker/run", "echo", "mirror", "to=../usb"], here, **env).stdout == "mirror to=../usb\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["weights=no.h5"], "weights=: no such file or folder: no.h5 (seen from "),
        (["doit", "release", "key=release"], "key=: release is a folder -> name a file"),
        (["doit", "mirror", "to=own.h5"], "to=: own.h5 is a file -> name a folder"),
        (["doit", "catalogue", "to=own.h5"], "to=: own.h5 is a file -> name a folder"),
        (["doit", "catalogue", "to=/pages"], "to=: /pages is too close to / -> name a folder in another"),
        (["doit", "catalogue", "previous=none"], "previous=: no such file or folder: none"),
        (["doit", "publish", "to=dir:no/../such"], "to=dir:: no such file or folder: no/../such"),
        (["doit", "release:check", "path=none"], "path=: no such file or folder: none"),
        (["doit", "verify", "release=none"], "release=: no such file or folder: none"),
        (["doit", "release:check", "rebuilders=own.h5,none"], "rebuilders=: no such file or folder: none"),
        (["doit", "release:check", "path=https://host/1.0.0"], "path=: no such file or folder: https://host/1.0.0"),
        (["doit", "demo", "weights=https://host/own.h5"], "weights=: no such file or folder: https://host/own.h5"),
    ],
)
def test_a_path_that_leads_nowhere(words: list[str], says: str, here: Path) -> None:
    done = run([checkout(here / "zoo") / "docker" / "run", *words], here, NXP_MODEL_ZOO_IMAGE=None)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_settings_alone_are_for_the_default(tiny: Path, here: Path) -> None:
    doit = tiny / "doit"
    doit.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m doit \"$@\"\n")
    doit.chmod(0o755)
    assert run([tiny / "docker/run", "true"], **tiny_env(tiny)).returncode == 0
    shutil.copy(doit, tiny / "build/venv/bin/doit")
    (tiny / "dodo.py").write_text(
        "from doit import get_var\nSAW = get_var('weights')\n"
        "def task_mark():\n    return {'actions': [lambda: print('weights', SAW)], 'verbosity': 2}\n"
    )
    done = run([tiny / "docker/run", "weights=own.h5"], here, **tiny_env(tiny) | {"PYTHONPATH": None})
    assert done.returncode == 0, done.stderr
    assert f"weights {here}/own.h5\n" in done.stdout


@pytest.mark.docker
@pytest.mark.skipif(INSIDE, reason="inside the image: no daemon to drive")
@pytest.mark.usefixtures("image")
def test_the_container_writes_where_the_user_says(tmp_path: Path, here: Path) -> None:
    zoo = checkout(tmp_path / "zoo")
    show = zoo_module(zoo, WRITE)

    def shown(*words: str, **more: str) -> list[str]:
        done = run([zoo / "docker" / "run", *show, *words], here, ZOO_DOCKER="1", **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert shown("mirror", "to=../usb-stick", ZOO_KEY="release.key") == ["mirror", f"to={tmp_path}/usb-stick", "no key"]
    assert (tmp_path / "usb-stick/made").read_text() == "made"
    # The same folder as mirror and as target: it can be written.
    assert shown("mirror", "to=.", ZOO_MIRROR=".")[1] == f"to={here}"
    assert (here / "made").is_file()
    for kind in ("dir", "oci"):
        shown("publish", f"to={kind}:new/{kind}", "path=release")
        assert (here / f"new/{kind}/made").is_file()
    shown("publish", f"to=dir://{here}/new/slashes")
    assert (here / "new/slashes/made").is_file()
    assert shown("publish", "to=dir:dry", "dry_run=1")[2] == "FileNotFoundError"
    assert not (here / "dry").exists()
    (zoo / "inside").mkdir()
    shown("publish", f"to=dir:{zoo}/inside")
    assert (zoo / "inside/made").is_file()
    # A site is replaced as a whole: it is made beside the old one.
    shown("catalogue", "to=new/pages/site")
    assert (here / "new/pages").is_dir()
    # What is made of a file of the user's own goes beside it; what only looks at it writes nothing there.
    assert shown("vela", "file=own.h5")[1:3] == [f"file={here}/own.h5", "own.h5 True"]
    assert shown("compat", "file=own.h5")[1:3] == [f"file={here}/own.h5", "own.h5 False"]
    # Statements are written beside a release, and read from there.
    shown("verify", "release=old", "to=old.rebuilds")
    assert (here / "old.rebuilds/made").is_file()
    seen = f"seen={here}/old.rebuilds/made"  # no word of ours: it shows what the container has there
    assert shown("release:check", "path=old", seen)[1:4] == [f"path={here}/old", seen, "made False"]
    # Keys are read, and only by what signs or checks.
    assert shown("release", "key=release.key")[1:3] == [f"key={here}/release.key", "release.key False"]
    assert shown("release", ZOO_KEY="release.key")[-1] == f"{here}/release.key"
    assert shown("release:check", "pubkey=release.pub")[2] == "release.pub False"
    done = run(
        [zoo / "docker/run", "sh", "-c", 'echo "${ZOO_KEY-no key}"'], here, ZOO_DOCKER="1", ZOO_KEY="release.key"
    )
    assert done.stdout == "no key\n"


@pytest.mark.docker
@pytest.mark.usefixtures("image")
def test_messages_name_paths_as_the_user_knows_them(tmp_path: Path) -> None:
    zoo = checkout(tmp_path / "zoo")
    if os.getuid() == 0:
        os.chown(zoo, 1234, 1234)
    zoo.chmod(0o500)
    done = run([zoo / "docker/run", "doit"], ZOO_DOCKER="1")
    assert done.returncode == 1
    assert f"cannot write to {zoo} -> mount it without :ro, and chmod u+w it" in done.stderr


@pytest.mark.docker
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another owner")
def test_without_capabilities_user_is_the_cure(image: str, tmp_path: Path) -> None:
    zoo = checkout(tmp_path)
    os.chown(zoo, 1234, 1235)
    zoo.chmod(0o755)
    more = os.environ.get("ZOO_DOCKER_ARGS", "").split()
    command = ["run", "--rm", *more, "--cap-drop", "ALL", "-v", f"{zoo}:/workspace"]
    done = docker(*command, image)
    assert done.returncode == 1
    assert "may not become uid 1234, which owns /workspace -> docker run --user 1234:1235 ..." in done.stderr
    assert docker(*command, "--user", "1234:1235", image).returncode == 0
    assert (zoo / "mark.txt").stat().st_uid == 1234
    wrong = docker(*command, "--user", "1236:1236", image)
    assert "-> docker run --user 1234:1235 ..., which owns it, or leave out --user" in wrong.stderr


@pytest.mark.parametrize("name", ["a\nzoo", "zoo\n", "zoo\x1b[2J", "a\rzoo", "a:zoo"])
def test_a_checkout_whose_path_breaks_tools_is_refused_at_once(tmp_path: Path, name: str) -> None:
    zoo = checkout(tmp_path / name)
    done = run([zoo / "docker/run", "true"], tmp_path, ZOO_DOCKER="0", NXP_MODEL_ZOO_IMAGE=None)  # a venv also there
    assert done.returncode == 1
    assert ("with a colon" if ":" in name else "control character") in done.stderr
    assert " -> " in done.stderr
    assert done.stderr.replace("\n", "").isprintable()
    assert not (zoo / "build").exists()


def test_a_path_with_a_newline_is_refused(tiny: Path, here: Path) -> None:
    odd = here / "a\nfile.h5"
    odd.touch()
    done = run([tiny / "docker/run", "doit", f"weights={odd}"], here, **tiny_env(tiny))
    assert done.returncode == 1
    assert "weights= has a newline" in done.stderr
