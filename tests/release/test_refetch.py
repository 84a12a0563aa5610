"""refetch: the recorded hash of an unpinned source is forgotten, and no other."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.checkouts import Checkout


def test_a_record_is_forgotten_by_its_file_name(project: Checkout, tmp_path: Path) -> None:
    records = {f"url-{name}": {"name": name, "sha256": "1" * 64, "size": 1} for name in ("a.tgz", "b.h5")}
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "unpinned.json").write_text(json.dumps(records))
    env = {"ZOO_CACHE": str(cache)}
    done = project.doit("refetch", "source=a.tgz", env=env)
    assert done.returncode == 0, done.stderr
    assert "1 recorded hash of a.tgz forgotten: the next doit fetches it again\n" in done.stdout
    assert json.loads((cache / "unpinned.json").read_text()) == {"url-b.h5": records["url-b.h5"]}
    for given, said in (("source=b.h", "no source named 'b.h' is recorded (did you mean 'b.h5'?)"), ("", "named ''")):
        done = project.doit("refetch", *([given] if given else []), env=env)
        assert done.returncode != 0
        assert said in done.stderr
        assert "-> source= takes a file name: b.h5" in done.stderr
        assert "Traceback" not in done.stderr
