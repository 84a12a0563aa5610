"""What docker/run tells Docker: which base it builds on, and what a publish gets to see; with a client of our own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docker.conftest import checkout, run, with_client


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return checkout(tmp_path / "zoo")


def default_base(zoo: Path) -> str:
    found = re.search(r"^ARG BASE_IMAGE=(.+)$", (zoo / "docker/Dockerfile").read_text(), re.MULTILINE)
    assert found
    return found[1]


# The base


def build(zoo: Path, client: Path, images: str, **env: str | None) -> tuple[str, str]:
    """The base of the build, and what was said, where these images are here."""
    (client / "images").write_text(images)
    done = run([zoo / "docker/run", "true"], **with_client(client, **env))
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^BASE_IMAGE=(.*)$", done.stderr, re.MULTILINE)  # a build's output is for people
    assert len(found) == 1, done.stderr
    return found[0], done.stderr


def test_another_content_is_built_on_the_base_of_the_newest_image(zoo: Path, client: Path) -> None:
    images = "other i2 b2 site-base:2\nolder i1 b1 site-base:1\n"
    base, said = build(zoo, client, images)
    assert base == "site-base:2"
    assert "docker/run: the base is site-base:2, as that of the image before -> BASE_IMAGE=NAME for another" in said
    assert build(zoo, client, images, BASE_IMAGE="site-base:1")[0] == "site-base:1"


@pytest.mark.parametrize("images", ["", "other i1 - -\n", "other i1 - {default}\nolder i2 b2 site-base:1\n"])
def test_without_a_base_of_before_it_is_the_default_one(zoo: Path, client: Path, images: str) -> None:
    base, said = build(zoo, client, images.format(default=default_base(zoo)))
    assert base == default_base(zoo)
    assert "the base is" not in said


def test_a_base_that_is_gone_is_not_asked_for(zoo: Path, client: Path) -> None:
    assert build(zoo, client, "other i1  site-base:1\n")[0] == default_base(zoo)


# What a release is published with


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home/.docker").mkdir(parents=True)
    return tmp_path / "home"


def words(zoo: Path, client: Path, home: Path, *command: str, **env: str | None) -> tuple[list[str], str]:
    """The words of ``docker run``, and what was said beside the build."""
    nothing = dict.fromkeys(("HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "DOCKER_CONFIG"))
    done = run([zoo / "docker/run", *command], **with_client(client, **{**nothing, "HOME": str(home), **env}))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if re.match("docker/run: (?!building )", line)]
    return done.stdout.splitlines(), "\n".join(said)


@pytest.mark.parametrize(
    ("variable", "value", "file"),
    [
        ("HF_TOKEN_PATH", "{home}/a, token", "a, token"),
        ("HF_HOME", "{home}/hf", "hf/token"),
        ("XDG_CACHE_HOME", "{home}/xdg", "xdg/huggingface/token"),
        ("HOME", "{home}", ".cache/huggingface/token"),
    ],
)
def test_publish_sees_the_token_of_hf_auth_login(
    zoo: Path, client: Path, home: Path, variable: str, value: str, file: str
) -> None:
    env = {variable: value.format(home=home)}
    publish = ("doit", "publish", "to=hf://org")
    mount, setting = f'type=bind,"source={home}/{file}","target=/mnt/hf-token",readonly', "HF_TOKEN_PATH=/mnt/hf-token"
    assert setting not in words(zoo, client, home, *publish, **env)[0]  # nobody has logged in
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text("hf_secret")
    found = words(zoo, client, home, *publish, **env)[0]
    assert {mount, setting} <= set(found)
    assert "hf_secret" not in "".join(found)
    assert not {mount, setting} & set(words(zoo, client, home, *publish, **env, HF_TOKEN="hf_other")[0])
    assert not {mount, setting} & set(words(zoo, client, home, "doit", "demo", **env)[0])


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"credsStore": "secretservice"}, True),
        ({"credHelpers": {"host": "test"}}, True),
        ({"auths": {"host": {"auth": "Zm9vOmJhcg=="}}, "credsStore": "", "credHelpers": {}}, False),
    ],
)
def test_a_credential_helper_is_not_in_the_image(
    zoo: Path, client: Path, home: Path, config: dict[str, object], says: bool
) -> None:
    file = home / ".docker/config.json"
    file.write_text(json.dumps(config, indent=2))
    found, said = words(zoo, client, home, "doit", "publish", "to=oci://host/zoo")
    assert f'type=bind,"source={file}","target=/tmp/.docker/config.json",readonly' in found
    line = f"docker/run: the container has no credential helper, and {file} names one -> ZOO_DOCKER=0 docker/run ..."
    assert said == (line if says else "")
    assert words(zoo, client, home, "doit", "publish", "to=hf://org")[1] == ""


def test_the_password_of_a_step_cache_is_in_no_word(zoo: Path, client: Path, home: Path) -> None:
    env = {"ZOO_STEPS": "https://ci:hidden@steps.example", "ZOO_STEPS_TOKEN": "hidden", "ZOO_STEPS_WRITE": "1"}
    found = words(zoo, client, home, "doit", "demo", **env)[0]
    assert {"ZOO_STEPS", "ZOO_STEPS_TOKEN", "ZOO_STEPS_WRITE=1"} <= {*found}
    assert not [word for word in found if "hidden" in word]


def test_what_serves_others_is_on_the_network_of_this_machine(zoo: Path, client: Path, home: Path) -> None:
    def networks(*command: str, **env: str | None) -> list[str]:
        found = words(zoo, client, home, *command, **env)[0]
        return [found[place + 1] for place, word in enumerate(found) if word in ("--network", "--net")]

    assert networks("doit", "catalogue", "serve=8000") == ["host"]
    assert networks("catalogue", "serve=8000") == ["host"]
    assert networks("doit", "catalogue", "serve=8000", ZOO_DOCKER_ARGS="--network host") == ["host"]
    assert networks("doit", "catalogue", "serve=8000", ZOO_DOCKER_ARGS="--net mine") == ["mine"]
    assert networks("doit", "catalogue") == []
    assert networks("doit", "worker", "steps=2") == networks("scheduler") == ["host"]
    assert networks("doit", "worker", ZOO_DOCKER_ARGS="--network=mine") == []
    assert networks("doit", "demo", "serve=8000") == []


@pytest.mark.parametrize("command", ["catalogue", "mirror", "release"])
def test_the_container_gets_the_registry_of_npm(zoo: Path, client: Path, home: Path, command: str) -> None:
    def registries(*command: str, **env: str | None) -> list[str]:
        return [word for word in words(zoo, client, home, *command, **env)[0] if word.startswith("ZOO_NPM=")]

    npm = client / "npm"
    npm.write_text('#!/bin/sh\n[ "$*" = "config get registry" ] && echo https://npm.invalid/\n')
    npm.chmod(0o755)
    assert registries("doit", command) == ["ZOO_NPM=https://npm.invalid/"]
    assert registries("doit", command, ZOO_NPM="https://own.invalid") == ["ZOO_NPM=https://own.invalid"]
    assert registries("doit", "demo") == []
    npm.write_text("#!/bin/sh\necho undefined\n")
    assert registries("doit", command) == []
