"""Bytes for every reader of strangers' files, found by atheris: it keeps those that reach lines nothing reached before.

As a program, ``python -m tests.campaign.readers READER FOLDER [LIBFUZZER OPTION...]``, it does so for one reader.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.campaign.case import Case, Outcome
from tests.support.checkouts import ROOT, clean_env

#: Seconds that one reader gets.
_BUDGET_S = 10

#: What libFuzzer ends with (FuzzerOptions.h): an exception, a signal, too much memory, too much time.
_EXITS = {77: Outcome.TRACEBACK, 71: Outcome.WRONG, 70: Outcome.HANG}


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Every reader in turn, in another order each time."""
    from tests.support.readers import READERS, seeds

    for number, name in enumerate(READERS):
        corpus = folder / f"corpus{number}"
        for index, data in enumerate(seeds(name, folder / f"seeds{number}")):
            corpus.mkdir(exist_ok=True)
            (corpus / str(index)).write_bytes(data)
    names = list(READERS)
    while True:
        rng.shuffle(names)
        for name in names:
            seed = rng.randrange(1, 2**31)
            corpus = folder / f"corpus{list(READERS).index(name)}"
            yield Case("readers", f"bytes for {name}, seed {seed}", partial(_run, name, corpus, seed))


def _run(name: str, corpus: Path, seed: int) -> Outcome:
    own = Path(tempfile.mkdtemp())
    options = [
        f"-seed={seed}", f"-max_total_time={_BUDGET_S}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=60000",
        f"-artifact_prefix={own}/", "-verbosity=0", "-print_final_stats=1",
    ]  # fmt: skip
    (own / "found").mkdir()
    command = [sys.executable, "-m", "tests.campaign.readers", name, str(own), *options]
    done = subprocess.run([*command, str(own / "found"), str(corpus)], cwd=ROOT, env=clean_env(), check=False)
    for bytes_that_did_it in own.glob("*-*"):
        print(f"{bytes_that_did_it.name}: {bytes_that_did_it.read_bytes()[:2000]!r}")
    return Outcome.RIGHT if done.returncode == 0 else _EXITS.get(done.returncode, Outcome.TRACEBACK)


def _fuzz(name: str, folder: Path, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["utils"]):
        from tests.support.readers import READERS, is_refusal

    reader = READERS[name]
    (folder / "reads").mkdir()
    file = folder / "reads" / reader.name

    def read(data: bytes) -> None:
        file.write_bytes(data)
        try:
            reader.read(file)
        except Exception as error:
            if not is_refusal(error):
                raise

    atheris.Setup(["readers", *options], read)
    atheris.Fuzz()


if __name__ == "__main__":
    tempfile.tempdir = os.environ["TMPDIR"] = sys.argv[2]
    _fuzz(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
