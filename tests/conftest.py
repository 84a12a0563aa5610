"""Fixtures: a checkout of its own for each test that builds, and a small bundle that is built once."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pretrained
from tests.support.checkouts import MIRROR, Checkout, copy_project, make_small
from tests.support.servers import Server, serving
from tests.support.shared import make_once

# Tests send Ctrl-C to what they start, also where the shell that started this in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Fixtures that build a model or an environment, convert a model with TensorFlow, or are there to build in.
BUILDING = {
    "project", "built_once", "loaded_once", "ready_once", "peculiar", "zoo", "real", "upstream_files", "board_root",
    "segmentation", "spotter_once", "zoo_once", "whole_on_npu", "raw", "network", "tiny",
}  # fmt: skip

#: Markers of tests that take longer or need more than the checkout and its packages.
DEMANDING = {
    "heavy", "slow", "docker", "qemu", "runtimes", "registry", "bench", "campaign", "docs", "browser", "cluster",
}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """The campaign's options (tests/campaign)."""
    today = f"{dt.datetime.now(dt.UTC):%Y%m%d}"
    parser.addoption("--minutes", default="3", help="campaign: for how long, all areas together (default: 3)")
    parser.addoption("--seed", default=today, help="campaign: what the cases are made from (default: the date)")
    parser.addoption("--case", metavar="AREA[:N]", help="campaign: one area, or one case of it, alone")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the campaign did."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, text in report.user_properties:
            if name == "campaign":
                terminalreporter.section("campaign")
                terminalreporter.write_line(text)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than cores, for many tests wait; at most four. None where a person looks on (-s), measures, runs the
    campaign, or tests the image: its name is one for the machine, and some of those tests give it to another one."""
    alone = config.getoption("capture") == "no" or config.getoption("markexpr") in ("bench", "campaign", "docker")
    return 0 if alone else min(4, len(os.sched_getaffinity(0)) + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as fast what builds nothing, has no marker of its own, and is in a module without TensorFlow."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        markers = {mark.name for mark in item.iter_markers()}
        module = vars(getattr(item, "module", None) or item)
        if not (fixtures & BUILDING or markers & DEMANDING or {"tf", "keras"} & module.keys()):
            item.add_marker(pytest.mark.fast)


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    """A fresh checkout."""
    return copy_project(tmp_path / "zoo")


@pytest.fixture
def small(project: Checkout) -> Checkout:
    """A fresh checkout whose demo builds in seconds."""
    return make_small(project)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the small demo is built: look, do not touch."""

    def make(folder: Path) -> None:
        done = make_small(copy_project(folder / "zoo")).doit("demo")
        assert done.returncode == 0, done.stdout + done.stderr

    return Checkout(make_once(tmp_path_factory, "built", make) / "zoo")


@pytest.fixture
def built(built_once: Checkout, tmp_path: Path) -> Checkout:
    """A copy of it that a test may damage."""
    shutil.copytree(built_once.root, tmp_path / "zoo", symlinks=True)
    return Checkout(tmp_path / "zoo")


@pytest.fixture
def mirror() -> Path:
    """The mirror with the real MNIST files; tests that need it are skipped where it is not."""
    if not MIRROR.is_dir():
        pytest.skip("no mirror beside the checkout: real MNIST is not here")
    return MIRROR


@pytest.fixture(scope="session")
def peculiar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small int8 models, one of each of ``tests/support/models.py``."""
    from tests.support import models

    return make_once(tmp_path_factory, "peculiar", models.make)


@pytest.fixture(scope="session")
def upstream() -> Iterator[Server]:
    """A web server that has what the tests publish."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def loaded_once(tmp_path_factory: pytest.TempPathFactory, upstream: Server) -> pretrained.Loaded:
    """A checkout in which the small loaded models of tests/support/pretrained.py are built: look, do not touch."""
    checkout = copy_project(tmp_path_factory.mktemp("loaded") / "zoo")
    return pretrained.build(checkout, upstream, tmp_path_factory.mktemp("upstream"))


@pytest.fixture
def loaded(loaded_once: pretrained.Loaded, tmp_path: Path) -> Checkout:
    """A copy of it that a test may damage; its server is there still."""
    shutil.copytree(loaded_once.checkout.root, tmp_path / "zoo", symlinks=True)
    return Checkout(tmp_path / "zoo")
