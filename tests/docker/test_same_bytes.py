"""The image and the local venv make the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, copy_project, make_small


@pytest.mark.docker
@pytest.mark.skipif("NXP_MODEL_ZOO_IMAGE" in os.environ, reason="inside the image: no daemon to drive")
def test_the_image_and_the_venv_make_the_same_bundles(built_once: Checkout, tmp_path: Path) -> None:
    checkout = make_small(copy_project(tmp_path / "zoo"))
    settings = {key: value for key, value in os.environ.items() if key.startswith("ZOO_DOCKER_")}
    done = checkout.run("docker/run", "doit", "demo", env={**settings, "ZOO_DOCKER": "1"}, timeout=900)
    if "no Docker daemon answers" in done.stderr:
        pytest.skip("no Docker daemon answers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.hashes("build/*/*.weights.h5") == built_once.hashes("build/*/*.weights.h5")
    assert checkout.hashes("artifacts/*/*") == built_once.hashes("artifacts/*/*")
