"""The delegate of C that the tests build and load as an NPU's."""

from __future__ import annotations

import shutil

from tests.support.checkouts import ROOT

CC = shutil.which("gcc") or shutil.which("cc")
SOURCE = ROOT / "tests/delegate/delegate.c"
