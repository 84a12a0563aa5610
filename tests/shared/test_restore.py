"""A step that another machine has run: what arrives, what is refused, and what is told."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.releases import Keys
from tests.support.step_caches import CONTENTS, Machine, StepServer, digest
from utils import environment, paths
from utils.errors import UsageError
from utils.graph import record
from utils.shared.http import Store
from utils.shared.trust import Signer
from utils.sources.source import Source

Machines = Callable[[str], Machine]


@pytest.fixture
def one(machine: Machines, server: StepServer) -> Machine:
    """A machine that has run the step and given it to the server."""
    found = machine("one")
    step = found.step()
    found.run(step)
    pushed = found.cache(server.settings()).push(step)
    assert pushed is not None
    assert not pushed.differs
    assert found.said == []
    return found


@pytest.fixture
def two(machine: Machines) -> Machine:
    """Another one, with nothing but what the step reads."""
    return machine("two")


def not_restored(two: Machine, server: StepServer, says: str, **settings: Any) -> None:
    """The step is to be run here, the user hears why, and nothing is left."""
    step, before = two.step(), two.files()
    assert two.cache(server.settings(user="", writes=False, **settings)).restore(step) is None
    assert len(two.said) == 1, two.said
    assert says in two.said[0]
    assert two.files() == before
    two.run(step)
    assert step.is_current()


@pytest.mark.usefixtures("one")
def test_it_is_the_same_as_a_run(one: Machine, two: Machine, server: StepServer) -> None:
    step = two.step()
    found = two.cache(server.settings(user="", writes=False)).restore(step)
    assert found is not None
    assert found.size == sum(map(len, CONTENTS))
    assert found.worker
    assert step.is_current()
    origin = step.origin()
    assert origin == {"action": found.action, "signer": "", "worker": found.worker, "server": server.base}
    files = two.files()
    del files["build/tiny/records/train.restored"]
    assert files == one.files()
    assert two.said == []


@pytest.mark.usefixtures("one")
def test_what_is_here_already_is_not_sent_again(two: Machine, server: StepServer) -> None:
    step = two.step()
    (two.root / "build/tiny/input").write_bytes(CONTENTS[0])
    two.store(server, step)
    before = server.count("GET")
    assert two.cache(server.settings()).restore(step)
    assert server.count("GET") - before == 3  # the result and two files


def test_a_run_after_it_is_a_run(one: Machine, two: Machine, server: StepServer) -> None:
    step = two.step()
    assert two.cache(server.settings()).restore(step)
    two.run(step)
    assert step.origin() is None
    assert step.is_current()
    assert two.files() == one.files()


@pytest.mark.usefixtures("one")
def test_a_step_that_is_restored_is_not_given_away(two: Machine, server: StepServer) -> None:
    step, cache = two.step(), two.cache(server.settings())
    assert cache.restore(step)
    assert cache.push(step) is None
    assert server.count("PUT") == 4  # by the first machine: three files and the result


@pytest.mark.usefixtures("one")
def test_cleaning_forgets_where_it_came_from(two: Machine, server: StepServer) -> None:
    step = two.step()
    assert two.cache(server.settings()).restore(step)
    step.clean()
    assert not record.origin_file(step.record).exists()


def test_nothing_there_is_no_news(two: Machine, server: StepServer) -> None:
    assert two.cache(server.settings()).restore(two.step()) is None
    assert two.said == []


@pytest.mark.usefixtures("one")
def test_another_input_is_another_step(two: Machine, server: StepServer) -> None:
    step = two.step()
    (two.root / "build/tiny/input").write_bytes(b"other")
    assert two.cache(server.settings()).restore(step) is None
    assert two.said == []


@pytest.mark.usefixtures("one")
def test_without_the_promise_nothing_is_asked(
    two: Machine, server: StepServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, cache, asked = two.step(), two.cache(server.settings()), len(server.asked)
    monkeypatch.setattr(environment, "promised_lock", lambda: None)
    assert cache.restore(step) is None
    two.run(step)
    monkeypatch.setattr(environment, "promised_lock", lambda: None)
    assert cache.push(step) is None
    assert len(server.asked) == asked


@pytest.mark.usefixtures("one")
def test_a_step_that_another_process_has_is_left_to_it(two: Machine, server: StepServer) -> None:
    step, cache = two.step(), two.cache(server.settings())
    with record.locked(step.record):
        assert cache.restore(step) is None
    assert two.said == []


# Blobs


def blob(server: StepServer, content: bytes = CONTENTS[0]) -> str:
    path = f"/cas/{digest(content).sha256}"
    assert path in server.entries
    return path


@pytest.mark.usefixtures("one")
def test_other_bytes_under_its_hash(two: Machine, server: StepServer) -> None:
    server.entries[blob(server)] = b"x" * len(CONTENTS[0])
    not_restored(two, server, "has other bytes under its hash")


@pytest.mark.usefixtures("one")
def test_a_truncated_blob(two: Machine, server: StepServer) -> None:
    server.entries[blob(server)] = CONTENTS[0][:-1]
    not_restored(two, server, "has other bytes under its hash: 6,999 of 7,000 bytes")


@pytest.mark.usefixtures("one")
def test_a_blob_that_is_larger_than_promised(two: Machine, server: StepServer) -> None:
    server.entries[blob(server)] = CONTENTS[0] + b"x"
    not_restored(two, server, "has more than the 7,000 bytes that are promised")


@pytest.mark.usefixtures("one")
def test_a_missing_blob(two: Machine, server: StepServer) -> None:
    del server.entries[blob(server)]
    not_restored(two, server, "is missing on the server")


@pytest.mark.usefixtures("one")
def test_a_blob_that_breaks_off(two: Machine, server: StepServer) -> None:
    def act(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "7000")
        handler.end_headers()
        handler.wfile.write(b"x" * 10)
        handler.close_connection = True

    server.acts[f"GET {blob(server)}"] = act
    not_restored(two, server, "steps run here from now on")


@pytest.mark.usefixtures("one")
def test_a_blob_that_the_server_lost_is_given_again(machine: Machines, server: StepServer) -> None:
    gone = blob(server)
    del server.entries[gone]
    third = machine("three")
    step = third.step()
    third.run(step)
    pushed = third.cache(server.settings()).push(step)
    assert pushed is not None
    assert pushed.sent == 1
    assert gone in server.entries


# Results


@pytest.mark.parametrize(
    "path", ["../../../etc/cron.d/x", "/etc/passwd", "build/tiny/other", "utils/files.py", ".git/hooks/pre-commit"]
)
@pytest.mark.usefixtures("one")
def test_a_result_that_names_other_files(two: Machine, server: StepServer, path: str) -> None:
    server.replace_result(lambda found: found["outputFiles"][0].update(path=path))  # type: ignore[index]
    not_restored(two, server, "names files that the step does not write")


@pytest.mark.usefixtures("one")
def test_a_result_with_symlinks(two: Machine, server: StepServer) -> None:
    link = {"path": "build/tiny/weights", "target": "/etc/passwd"}
    server.replace_result(lambda found: found.update(outputSymlinks=[link]))
    not_restored(two, server, "outputSymlinks")


@pytest.mark.usefixtures("one")
def test_a_result_that_is_too_large(two: Machine, server: StepServer) -> None:
    path, _ = server.result()
    server.entries[path] = b" " * (2**20 + 1)
    not_restored(two, server, "has more than 1,048,576 bytes")


@pytest.mark.usefixtures("one")
def test_a_result_that_is_a_page(two: Machine, server: StepServer) -> None:
    path, _ = server.result()
    server.entries[path] = b"<html>please log in</html>"
    not_restored(two, server, "is not JSON")


# Signatures


def share(machine: Machine, server: StepServer, keys: Keys, **settings: Any) -> None:
    step = machine.step()
    machine.run(step)
    assert machine.cache(server.settings(key=keys.private, **settings)).push(step)


def test_a_signed_result_is_taken(machine: Machines, server: StepServer, keys: Keys) -> None:
    share(machine("one"), server, keys, public=keys.public)
    two = machine("two")
    step = two.step()
    found = two.cache(server.settings(user="", writes=False, public=keys.public)).restore(step)
    assert found is not None
    assert found.signer == Signer(keys.private).fingerprint
    origin = step.origin()
    assert origin is not None
    assert origin["signer"] == found.signer
    assert not (two.root / ".signature").exists()


@pytest.mark.usefixtures("one")
def test_an_unsigned_result(two: Machine, server: StepServer, keys: Keys) -> None:
    not_restored(two, server, "is not signed", public=keys.public)


def test_a_result_of_a_stranger(machine: Machines, server: StepServer, keys: Keys, stranger: Keys) -> None:
    share(machine("one"), server, stranger)
    not_restored(machine("two"), server, "which is not trusted", public=keys.public)


def test_a_result_that_was_signed_for_another_step(machine: Machines, server: StepServer, keys: Keys) -> None:
    share(machine("one"), server, keys)
    path, _ = server.result()
    signed = server.entries.pop(path)
    two = machine("two")
    (two.root / "build/tiny/input").write_bytes(b"other")
    server.entries[f"/ac/{two.cache(server.settings()).find_action(two.step())}"] = signed
    not_restored(two, server, "for another step or other bytes", public=keys.public)


def test_a_signed_result_whose_bytes_were_changed(machine: Machines, server: StepServer, keys: Keys) -> None:
    share(machine("one"), server, keys)
    other = digest(b"poison")
    server.entries[f"/cas/{other.sha256}"] = b"poison"
    new = {"hash": other.sha256, "sizeBytes": str(other.size)}
    server.replace_result(lambda found: found["outputFiles"][1].update(digest=new))  # type: ignore[index]
    not_restored(machine("two"), server, "for another step or other bytes", public=keys.public)


def test_a_machine_that_would_not_trust_itself_is_refused(
    machine: Machines, server: StepServer, keys: Keys, stranger: Keys
) -> None:
    with pytest.raises(UsageError, match="does not hold the public half of ZOO_STEPS_KEY"):
        machine("one").cache(server.settings(key=keys.private, public=stranger.public))


# Disks


@pytest.mark.usefixtures("one")
def test_a_full_disk(two: Machine, server: StepServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_self: Store, _digest: object, to: Path, *_: object) -> None:
        to.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(to))

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read_blob", fill)
        step, before = two.step(), two.files()
        assert two.cache(server.settings()).restore(step) is None
    assert "no space left on the disk" in two.said[0]
    assert two.files() == before


@pytest.mark.usefixtures("one")
def test_what_was_there_before_stays_when_nothing_can_be_restored(two: Machine, server: StepServer) -> None:
    step = two.step()
    (two.root / "build/tiny/input").write_bytes(b"before")
    two.run(step)
    before = {name: text for name, text in two.files().items() if name != "build/tiny/input"}
    (two.root / "build/tiny/input").write_bytes(b"input")
    del server.entries[blob(server)]
    assert two.cache(server.settings()).restore(step) is None
    assert {name: text for name, text in two.files().items() if name != "build/tiny/input"} == before


# Two machines


def test_two_that_push_the_same_step_at_once(machine: Machines, server: StepServer) -> None:
    found = machine("one")
    step = found.step()
    found.run(step)
    caches = [found.cache(server.settings()) for _ in range(4)]
    barrier, pushed = threading.Barrier(len(caches)), []

    def push(cache: Any) -> None:
        barrier.wait()
        pushed.append(cache.push(step))

    threads = [threading.Thread(target=push, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pushed) == 4
    assert all(one is not None and not one.differs for one in pushed)
    assert found.said == []
    assert machine("two").cache(server.settings()).restore(machine("two").step())


@pytest.mark.parametrize("overwrites", [False, True])
@pytest.mark.usefixtures("one")
def test_two_that_push_different_bytes(two: Machine, server: StepServer, *, overwrites: bool) -> None:
    """The first stands, and the second hears of both hashes; also on a server that would replace an entry."""
    server.overwrites = overwrites
    before = dict(server.entries)
    step = two.step()
    two.run(step, (b"other", *CONTENTS[1:]))
    pushed = two.cache(server.settings()).push(step)
    assert pushed is not None
    assert len(pushed.differs) == 1
    assert server.entries == before
    (said,) = two.said
    assert "this build differs from the one in the step cache" in said
    assert digest(b"other").sha256 in said
    assert digest(CONTENTS[0]).sha256 in said
    assert "breaks the promise of identical bytes" in said


def test_a_difference_that_comes_between_two_requests(machine: Machines, server: StepServer) -> None:
    """Another machine stores its result between our look and our PUT."""
    one, two = machine("one"), machine("two")
    step = two.step()
    two.run(step, (b"other", *CONTENTS[1:]))
    stored: list[str] = []

    def act(handler: Any) -> None:
        if not stored:
            stored.append(one.store(server, one.step()))
            two.work_here()
        handler._serve()

    server.acts["PUT /ac"] = act
    pushed = two.cache(server.settings()).push(step)
    assert pushed is not None
    assert len(pushed.differs) == 1
    assert digest(CONTENTS[0]).sha256 in two.said[0]


def test_a_file_that_changed_since_is_not_given(machine: Machines, server: StepServer) -> None:
    one = machine("one")
    step = one.step()
    one.run(step)
    step.writes[0].write_bytes(b"changed")
    assert one.cache(server.settings()).push(step) is None
    assert "has changed since the step wrote it" in one.said[0]
    assert not any(path.startswith("/ac/") for path in server.entries)


def test_a_large_file_that_changes_while_it_is_sent(machine: Machines, server: StepServer) -> None:
    one = machine("one")
    step, large = one.step(), b"x" * (3 << 20)
    one.run(step, (large, *CONTENTS[1:]))
    assert one.cache(server.settings()).push(step)
    assert server.entries[f"/cas/{digest(large).sha256}"] == large
    server.entries.clear()
    step.writes[0].write_bytes(large[:-1] + b"y")
    assert one.cache(server.settings()).push(step) is None
    assert "has changed since the step wrote it" in one.said[0]
    assert not [path for path, content in server.entries.items() if not path.endswith(digest(content).sha256)]


# What stays on this machine


def own_bundle(machine: Machine, weights: str) -> Path:
    folder = machine.root / "artifacts/tiny"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(f'{{"weights": "{weights}"}}')
    (folder / "tiny_int8.tflite").write_bytes(b"model")
    return folder / "tiny_int8.tflite"


class Own:
    """Stands for a user's weights."""


@pytest.mark.parametrize("weights", ["user-supplied", "as published", "trained here", "of another kind"])
def test_what_is_made_of_own_weights_stays_here(machine: Machines, server: StepServer, weights: str) -> None:
    """Also what is compiled from a finished bundle, which only says of what it was made."""
    one = machine("one")
    step = one.step(reads=(own_bundle(one, weights),))
    one.run(step)
    is_own = weights not in ("as published", "trained here")
    assert (one.cache(server.settings()).push(step) is None) == is_own
    assert bool(server.asked) != is_own
    assert one.cache(server.settings(own=True)).push(step)


def test_a_step_of_own_weights_stays_here(machine: Machines, server: StepServer) -> None:
    one = machine("one")
    step = one.step(own=Own())
    one.run(step)
    cache = one.cache(server.settings())
    assert cache.push(step) is None
    assert cache.restore(step) is None
    assert server.asked == []
    assert one.cache(server.settings(own=True)).push(step)


def test_what_boards_measured_stays_here(machine: Machines, server: StepServer) -> None:
    one = machine("one")
    report = one.root / "build/tiny/board/host.json"
    report.parent.mkdir()
    report.write_text("{}")
    step = one.step(reads=(report,))
    one.run(step)
    assert one.cache(server.settings(own=True)).push(step) is None
    assert server.asked == []


def source(content: bytes, **changes: Any) -> Source:
    facts: dict[str, Any] = {
        "name": "images.gz", "urls": (), "size": len(content), "sha256": digest(content).sha256, "md5": None,
        "licence": "MIT", "what": "images",
    }  # fmt: skip
    return Source(**{**facts, **changes})


def test_a_source_without_a_pin_is_not_shared(machine: Machines, server: StepServer) -> None:
    """The step's key does not say which bytes came."""
    one = machine("one")
    step = one.step(fetches=(source(b"images", sha256=None),))
    one.run(step)
    assert one.cache(server.settings()).push(step) is None
    assert server.asked == []


def test_a_restored_download_has_its_sources(
    machine: Machines, server: StepServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are given along, and the same addresses serve as a mirror; without one, the step's program fetches them."""
    content = b"images" * 100
    wanted = source(content)
    one = machine("one")
    paths.cache().mkdir()
    (paths.cache() / digest(content).sha256).write_bytes(content)
    step = one.step(fetches=(wanted,))
    one.run(step)
    pushed = one.cache(server.settings()).push(step)
    assert pushed is not None
    assert pushed.sent == 5

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "other"))
    two = machine("two")
    step = two.step(fetches=(wanted,))
    assert two.cache(server.settings()).restore(step) is None
    assert two.said == []
    monkeypatch.setenv("ZOO_MIRROR", f"{server.base}/cas")
    assert two.cache(server.settings()).restore(step)
    assert step.is_current()
    assert (tmp_path / "other" / digest(content).sha256).read_bytes() == content
