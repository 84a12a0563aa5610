"""The image and the local venv make the same release, but for who made it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout
from tests.support.releases import DEMO, Keys, copy
from utils.release import check


@pytest.mark.docker
@pytest.mark.skipif("NXP_MODEL_ZOO_IMAGE" in os.environ, reason="inside the image: no daemon to drive")
def test_the_image_and_the_venv_make_the_same_release(
    ready_once: Checkout, release_once: Path, keys: Keys, tmp_path: Path
) -> None:
    checkout = copy(ready_once, tmp_path / "zoo")
    settings = {key: value for key, value in os.environ.items() if key.startswith("ZOO_DOCKER_")}
    image = {**settings, "ZOO_DOCKER": "1", "ZOO_KEY": str(keys.private)}
    done = checkout.run("docker/run", "doit", "release", "version=1.0.0", DEMO, env=image, timeout=900)
    if "no Docker daemon answers" in done.stderr:
        pytest.skip("no Docker daemon answers")
    assert done.returncode == 0, done.stdout + done.stderr
    ours = checkout.root / "release/1.0.0"
    lines = check.compare(ours, release_once)
    assert "but for the provenance's builder: urn:nxp-model-zoo:builder:docker and " in lines[0]
    assert "signature: of this key, over all files" in check.check(ours, keys.public)
