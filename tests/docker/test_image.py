"""How docker/run finds, builds and rebuilds its image; on a Dockerfile of a few lines, in a real Docker daemon."""

from __future__ import annotations

import json

import pytest

from tests.docker.conftest import INSIDE, Site, docker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(INSIDE, reason="inside the image: no daemon to drive"),
    pytest.mark.usefixtures("image"),
]


def test_an_image_is_found_again_without_base_image(site: Site) -> None:
    tags = docker("image", "ls", "--format", "{{.Tag}}", "nxp-model-zoo").stdout.split()
    assert site.run(BASE_IMAGE=site.base)[:2] == ("one", True)
    # `docker save nxp-model-zoo` saves one image: no other tag has come.
    assert docker("image", "ls", "--format", "{{.Tag}}", "nxp-model-zoo").stdout.split() == tags
    assert site.run(BASE_IMAGE=site.base)[:2] == ("one", False)
    assert site.run()[:2] == ("one", False)
    # Files that do not go into the image count for nothing.
    for name in ("run", "requirements-board.txt", "requirements-vela-5.0.0.txt", "requirements-docs.txt"):
        with (site.root / "docker" / name).open("a") as file:
            file.write("# more\n")
    assert site.run()[:2] == ("one", False)
    # What another site loads has one tag, and is found by it.
    for tag in json.loads(docker("image", "inspect", "nxp-model-zoo:latest").stdout)[0]["RepoTags"]:
        if tag != "nxp-model-zoo:latest":
            docker("rmi", tag)
    docker("rmi", site.base)
    assert site.run()[:2] == ("one", False)


def test_another_content_is_built_on_the_same_base(site: Site) -> None:
    site.dockerfile(f"RUN echo {site.root} >/made")  # an image is as new as its last layer
    assert site.run(BASE_IMAGE=site.base)[:2] == ("one", True)
    site.dockerfile(f"RUN echo more {site.root} >/made")
    out, built, said = site.run()
    assert (out, built) == ("one", True), said
    assert f"docker/run: the base is {site.base}, as that of the image before" in said


def test_a_base_that_changed_builds_again(site: Site) -> None:
    other = site.make_base(f"{site.base}-other", "other")
    assert site.run(BASE_IMAGE=site.base)[:2] == ("one", True)
    assert site.run(BASE_IMAGE=other)[:2] == ("other", True)
    site.make_base(site.base, "two")
    assert site.run(BASE_IMAGE=site.base)[:2] == ("two", True)
    assert site.run(BASE_IMAGE=site.base)[:2] == ("two", False)
    assert site.run(BASE_IMAGE=other)[:2] == ("other", False)


def test_rebuild_builds_without_the_cache(site: Site) -> None:
    site.dockerfile("RUN cat /proc/sys/kernel/random/uuid >/made")
    first = site.run("cat", "/made", BASE_IMAGE=site.base)[0]
    assert first
    out, built, said = site.run("--rebuild")
    assert (out, built) == ("", True), said
    second, built, _ = site.run("cat", "/made")
    assert (second != first, built) == (True, False)
    third, built, _ = site.run("--rebuild", "cat", "/made")
    assert (third != second, built) == (True, True)


def test_the_build_gets_the_proxy_and_the_image_does_not(site: Site) -> None:
    site.dockerfile("RUN echo proxy=$https_proxy,$HTTP_PROXY,$no_proxy >/made; echo from $https_proxy")
    proxies = {"https_proxy": "http://proxy.invalid:1", "HTTP_PROXY": "http://proxy.invalid:2", "no_proxy": "localhost"}
    out, _, said = site.run("sh", "-c", "cat /made; echo $https_proxy", BASE_IMAGE=site.base, **proxies)
    assert out.split() == ["proxy=http://proxy.invalid:1,http://proxy.invalid:2,localhost", "http://proxy.invalid:1"], (
        said
    )
    assert "proxy.invalid" not in docker("history", "--no-trunc", "nxp-model-zoo").stdout
    assert site.run("sh", "-c", "echo ${https_proxy-none}")[0] == "none"


@pytest.mark.parametrize(
    ("more", "build_args", "says"),
    [
        ("", None, "the base nonesuch.invalid/base:1 cannot be pulled -> sudo docker/make-base"),
        (
            "RUN apt-get update -qq; apt-get install -y -qq nonesuch",
            "--network none",
            'the build has no network -> ZOO_DOCKER_BUILD_ARGS="--network host" docker/run ...',
        ),
        ("RUN false", "--network none", "see above -> ZOO_DOCKER=0 docker/run ... works without Docker"),
    ],
)
def test_a_failed_build_says_what_to_do(site: Site, more: str, build_args: str | None, says: str) -> None:
    site.dockerfile(more)
    base = site.base if build_args else "nonesuch.invalid/base:1"
    settings = {"BASE_IMAGE": base, "ZOO_DOCKER_BUILD_ARGS": build_args}
    out, _, said = site.run(**settings)
    assert out == ""
    assert said.splitlines()[-1].startswith(f"docker/run: docker build failed: {says}"), said
