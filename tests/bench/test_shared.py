"""What a step cache saves: the seconds of a second checkout against those of the first, and the CPU of one step.

ZOO_MIRROR=/path/to/mirror docker/run pytest -m bench -s tests/bench/test_shared.py
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout, copy_project
from tests.support.nginx import Nginx, running_nginx
from tests.support.releases import Keys, make_keys
from tests.support.shared_builds import require_promise
from tests.support.step_caches import Machine
from utils.shared.restore import Cache
from utils.shared.settings import Settings

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

#: Small files of a step: those of a bundle have a median of 4 kB.
FILES, SIZE, STEPS = 5, 4_000, 50


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    require_promise()
    with running_nginx(tmp_path / "nginx") as found:
        yield found


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "keys")


def bundles(checkout: Checkout) -> dict[str, str]:
    return {
        file.relative_to(checkout.root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted((checkout.root / "artifacts").rglob("*"))
        if file.is_file()
    }


def build(checkout: Checkout, models: tuple[str, ...], env: dict[str, str]) -> tuple[float, str]:
    begin = time.monotonic()
    done = checkout.doit(*models, env=env, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begin, next(line for line in done.stdout.splitlines() if line.startswith("done: "))


@pytest.mark.parametrize("models", [("demo_nearest", "demo_bilinear"), ("mnist_nearest", "mnist_bilinear")])
def test_the_second_checkout(models: tuple[str, ...], nginx: Nginx, keys: Keys, mirror: Path, tmp_path: Path) -> None:
    env = {
        "ZOO_STEPS": nginx.address, "ZOO_STEPS_PUBKEY": str(keys.public), "ZOO_MIRROR": str(mirror.resolve()),
        "ZOO_TLS": str(nginx.tls),
    }  # fmt: skip
    first, second = copy_project(tmp_path / "first/zoo"), copy_project(tmp_path / "second/zoo")
    writes = {"ZOO_STEPS_WRITE": "1", "ZOO_STEPS_KEY": str(keys.private)}
    built, said = build(first, models, env | writes)
    print(f"\nfirst: {built:.1f} s, {said}")
    restored, said = build(second, models, env)
    print(f"second: {restored:.1f} s, {said}; ratio {restored / built:.3f}")
    assert "0 steps run" in said
    assert bundles(first) == bundles(second) != {}


def test_the_cpu_of_a_step(nginx: Nginx, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path / "machine", monkeypatch)
    folder = machine.root / "build/tiny"
    steps = [
        machine.step(name=f"step{number}", writes=tuple(folder / f"{number}/{name}" for name in range(FILES)))
        for number in range(STEPS)
    ]
    said: list[str] = []
    writes = Settings(nginx.address, writes=True, key=keys.private, public=keys.public, tls=nginx.tls)
    giver, taker = Cache(writes, said.append), Cache(Settings(nginx.address, public=keys.public, tls=nginx.tls), print)
    for number, step in enumerate(steps):
        machine.run(step, tuple(f"{number} {name}".encode() * (SIZE // 4) for name in range(FILES)))
        begin = time.process_time()
        assert giver.push(step), said
        print(f"given: {1000 * (time.process_time() - begin):.1f} ms of CPU") if number == STEPS - 1 else None
        step.clean()
    begin, wall = time.process_time(), time.monotonic()
    for step in steps:
        assert taker.restore(step)
    spent, wall = time.process_time() - begin, time.monotonic() - wall
    print(f"restored: {1000 * spent / STEPS:.1f} ms of CPU, {1000 * wall / STEPS:.1f} ms, {FILES} files a step")
    assert said == []
