"""Every bundle that is built, on old runtimes and on today's: an old one can load a file and compute garbage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from tests.support.runtimes import OLD_RUNTIMES, install_runtime

pytestmark = [pytest.mark.runtimes, pytest.mark.timeout(2400)]

#: The bundles of this checkout, whichever they are; tests/builds/test_mnist.py builds some of its own.
BUNDLES = sorted(file.parent for file in ROOT.glob("artifacts/*/SHA256SUMS"))


@pytest.mark.parametrize("runtime", [*OLD_RUNTIMES, "today"])
def test_every_bundle_matches_its_golden_tensors(runtime: str, tmp_path: Path) -> None:
    if not BUNDLES:
        pytest.skip("nothing is built here: doit demo")
    python = sys.executable if runtime == "today" else str(install_runtime(runtime, tmp_path) / "bin" / "python")
    wrong = []
    for bundle in BUNDLES:
        done = subprocess.run(
            [python, "example.py", "--check", "--json", "-n", "1"],
            cwd=bundle, capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
        if not done.stdout:
            wrong.append(f"{bundle.name}: {done.stderr}")
            continue
        report = json.loads(done.stdout)
        if runtime != "today":
            assert report["runtime"] == {"name": "tflite_runtime", "version": runtime}
        for entry in report["models"]:
            check = entry.get("check") or {"verdict": entry["failure"]["what"], "max_error": "?"}
            verdict, error = check["verdict"], check["max_error"]
            print(f"{report['runtime']['name']} {report['runtime']['version']}: {entry['file']}: {verdict}, {error}")
            if verdict != "PASS":
                wrong.append(f"{entry['file']}: {entry}")
    assert not wrong, "\n".join(wrong)
