"""The versions of Vela that this machine has."""

from __future__ import annotations

import pytest

from utils.npu import vela
from utils.npu.bsp import Bsp


def require_vela(release: Bsp) -> None:
    """Skip the test where the Vela of this BSP is not installed."""
    if release.vela not in vela.installed():
        pytest.skip(f'no Vela {release.vela} here: ZOO_VELA="{release.vela}" docker/run pytest')
