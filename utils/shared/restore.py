"""Restore: take a step's result from the step cache instead of running the step, and give away that of one that ran.

Everything that arrives is checked in a staging folder before it counts. It gets its place through the step's own record
and lock, as a step's program does it: what a step leaves is the same, whether it was run or restored. Whatever goes
wrong here only means that the step is run: the first failure of the server is told, and it is not asked again.
"""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import files, limits, paths
from utils.errors import CorruptError, SourceError, UsageError, ZooError, storage_error
from utils.graph import record
from utils.graph.step import Step
from utils.shared.action import ActionResult, Digest, action_key, compare_files, parse_result
from utils.shared.http import Progress, ServerError, Store
from utils.shared.settings import Settings
from utils.shared.trust import Signer, Trusted, digest_of
from utils.sources.cache import cached
from utils.sources.fetch import fetch_all
from utils.sources.http import Limits
from utils.untrusted import parse_json, read_bounded

__all__ = ["Cache", "Pushed", "Restored", "find_reason_to_keep"]

#: Files in which two results differ, in a message.
_SHOWN = 3


@dataclass(frozen=True)
class Restored:
    """A step that did not have to run.

    Attributes:
        action: the key of its result.
        signer: fingerprint of the key that signed it; empty: signatures were not checked.
        worker: who made it, as it says itself.
        size: of all its files, in bytes.
    """

    action: str
    signer: str
    worker: str
    size: int


@dataclass(frozen=True)
class Pushed:
    """A step whose result the cache has now.

    Attributes:
        action: the key of its result.
        sent: how many files the server did not have.
        differs: where the result that the server had differs from ours, a line a file; empty: nowhere.
    """

    action: str
    sent: int
    differs: tuple[str, ...] = ()


def _ignore(_done: int, _total: int) -> None:
    pass


class Cache:
    """The step cache of one process; threads may share it.

    Attributes:
        settings: of it.
        failure: why it is not asked any more, for reading or for writing; empty: it is.

    Args:
        settings: of it; without a server every call does nothing.
        warn: told of what a user should know, a message of one or more lines.

    Raises:
        UsageError: a key or certificate cannot be used, or our own results would not be trusted.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], object]) -> None:
        self.settings, self._warn, self.failure = settings, warn, ""
        self.store = Store(settings) if settings.server else None
        self._signer = Signer(settings.key) if settings.key else None
        self._trusted = Trusted(settings.public) if settings.public else None
        if self._signer and self._trusted and self._signer.fingerprint not in self._trusted:
            what = f"does not hold the public half of ZOO_STEPS_KEY ({self._signer.fingerprint[:16]}...)"
            hint = "add it to the file: openssl ec -in KEY -pubout >>PUBKEY"
            raise UsageError(what, where=f"ZOO_STEPS_PUBKEY={settings.public}", hint=hint)
        self._lock = threading.Lock()
        self._reads, self._writes = self.store is not None, settings.writes

    @property
    def is_read(self) -> bool:
        """Whether results are taken from it: there is one, and it has not failed."""
        return self._reads

    def find_action(self, step: Step) -> str | None:
        """The key of a step's result; None where it is not shared, or something that it reads is not there."""
        locks = step.made_from()
        if self.store is None or locks is None or find_reason_to_keep(step, self.settings):
            return None
        try:
            return action_key(step.key(), locks)
        except (OSError, ZooError):  # a step before it has not run: its program will say so
            return None

    def restore(self, step: Step, progress: Progress = _ignore) -> Restored | None:
        """Put a step's files and its record in their places, if the cache has them; None: the step has to be run.

        Args:
            step: a step that is not current.
            progress: told of bytes that have arrived, and of how many there are.
        """
        if not self._reads:
            return None
        try:
            with record.trying(step.record) as is_ours:
                action = self.find_action(step)
                if not is_ours or action is None or step.is_current():
                    return None
                return self._restore(step, action, progress)
        except ServerError as error:
            self._give_up(error, reading=True)
        except ZooError as error:
            self._warn(f"{step!r} is not restored, and runs here: {error}")
        except OSError as error:
            self._warn(f"{step!r} is not restored, and runs here: {storage_error(error)}")
        return None

    def push(self, step: Step) -> Pushed | None:
        """Give the cache the result of a step that has run here; None: it was not given.

        The first result under a key stays. If ours has other bytes, the user is told: one of the two machines breaks
        the promise of identical bytes.
        """
        if not self._writes:
            return None
        try:
            return self._push(step)
        except ServerError as error:
            if error.is_down:
                self._give_up(error, reading=False)
            else:
                self._warn(f"{step!r} is not shared: {_say(error)}")
        except ZooError as error:
            self._warn(f"{step!r} is not shared: {error}")
        except OSError as error:
            self._warn(f"{step!r} is not shared: {storage_error(error)}")
        return None

    def _restore(self, step: Step, action: str, progress: Progress) -> Restored | None:
        assert self.store is not None
        where = self.store.place("ac", action)
        found = self._read(step, action, where)
        if found is None or not _fetch_sources(step):
            return None
        signer = self._check(found, action, where)
        size = sum(digest.size for digest in found.files.values())
        origin = {"action": action, "signer": signer, "worker": found.worker, "server": self.settings.label}
        with record.replacing(step.record, step.key(), step.writes, step.folder, origin) as outputs:
            at_hand = {files.sha256(file): file for file in step.reads}
            done = 0
            for number, final in enumerate(step.writes):
                digest = found.files[paths.relative(final)]
                self._take(digest, outputs.new(final, f"{number}"), at_hand.get(digest.sha256))
                progress(done := done + digest.size, size)
        step.message.unlink(missing_ok=True)
        return Restored(action, signer, found.worker, size)

    def _read(self, step: Step, action: str, where: str) -> ActionResult | None:
        assert self.store is not None
        data = self.store.read_result(action)
        return None if data is None else parse_result(data, [paths.relative(file) for file in step.writes], where)

    def _check(self, found: ActionResult, action: str, where: str) -> str:
        """Whose signature it has; empty where nobody asks."""
        if self._trusted is None:
            return ""
        if found.signature is None:
            raise Trusted.refuse_unsigned(where)
        assert self.store is not None
        return self._trusted.check(self.store.read_small(found.signature), action, found.files, where)

    def _take(self, digest: Digest, to: Path, at_hand: Path | None) -> None:
        """Copy a file that is here, or read it from the server."""
        to.parent.mkdir(parents=True, exist_ok=True)
        if at_hand is not None:
            shutil.copyfile(at_hand, to)
            if files.describe_file(to) == {"size": digest.size, "sha256": digest.sha256}:
                return
        assert self.store is not None
        self.store.read_blob(digest, to)

    def _push(self, step: Step) -> Pushed | None:
        left = record.load(step.record)
        locks = step.made_from()
        if self.store is None or left is None or locks is None or find_reason_to_keep(step, self.settings):
            return None
        if left.key != step.key() or step.origin() is not None:  # it is of another checkout by now, or was restored
            return None
        action = action_key(left.key, locks)
        ours = {path: Digest(entry.sha256, entry.size) for path, entry in left.writes.items()}
        theirs = self._find_other(step, action)
        if theirs is not None and theirs.files != ours:
            return self._report_difference(step, action, ours, theirs)
        sent = self._send_sources(step)
        for path, digest in ours.items():  # also those that a server has lost since it got the result
            sent += self.store.write_blob(digest, paths.ROOT / path)
        if theirs is None:
            sent += self._send_result(action, ours)
            # Another machine may have been faster, and a server may overwrite: what it has now is what counts.
            theirs = self._find_other(step, action)
        if theirs is not None and theirs.files != ours:
            return self._report_difference(step, action, ours, theirs)
        return Pushed(action, sent)

    def _send_result(self, action: str, ours: dict[str, Digest]) -> int:
        assert self.store is not None
        sent, signature = 0, None
        if self._signer:
            content = self._signer.sign(action, ours)
            signature = digest_of(content)
            sent += self.store.write_small(signature, content)
        result = ActionResult(ours, signature, socket.gethostname())
        return sent + self.store.write_result(action, result.dump())

    def _find_other(self, step: Step, action: str) -> ActionResult | None:
        """What the server has under our key, if that is a result that we would take."""
        assert self.store is not None
        where = self.store.place("ac", action)
        found = self._read(step, action, where)
        if found is not None:
            self._check(found, action, where)
        return found

    def _report_difference(self, step: Step, action: str, ours: dict[str, Digest], theirs: ActionResult) -> Pushed:
        """Tell that one of two machines breaks the promise of identical bytes."""
        differs = compare_files(ours, theirs.files)
        more = [f"and {len(differs) - _SHOWN} more files"] if len(differs) > _SHOWN else []
        maker = f" (made by {theirs.worker})" if theirs.worker else ""
        lines = "\n  ".join([*differs[:_SHOWN], *more])
        self._warn(
            f"{step!r}: this build differs from the one in the step cache{maker}, which stays:\n  {lines}\n"
            "  -> one of the two machines breaks the promise of identical bytes: run `doit verify` on both"
        )
        return Pushed(action, 0, tuple(differs))

    def _send_sources(self, step: Step) -> int:
        """Store the sources that a step fetched: the same addresses serve as a mirror."""
        assert self.store is not None
        sent = 0
        for source in step.fetches:
            file = cached(source)
            if file is not None and source.sha256 and file.stat().st_size <= limits.STEP_FILE_BYTES:
                sent += self.store.write_blob(Digest(source.sha256, file.stat().st_size), file)
        return sent

    def _give_up(self, error: ServerError, *, reading: bool) -> None:
        """Tell of a server that fails, once; from then on steps run here. One that is gone cannot be read either."""
        reading = reading or error.is_silent
        with self._lock:
            was = self._reads if reading else self._writes
            if reading:
                self._reads = False
            self._writes = False
            self.failure = f"step cache {self.settings.label}: {_say(error)}"
        if was:
            what = "steps run here from now on" if reading else "results of this machine are not shared from now on"
            self._warn(f"{self.failure}; {what}")


def _say(error: ServerError) -> str:
    return f"{error.why} ({error.hint})" if error.hint else error.why


def find_reason_to_keep(step: Step, settings: Settings) -> str:
    """Why a step is neither taken from others nor given to them; empty where it is shared."""
    if any(file.parent == paths.work(step.model) / "board" for file in step.reads):
        return "it shows what boards have measured"
    if not settings.own and (step.own is not None or _is_of_own_weights(step)):
        return "it is made of user-supplied weights (ZOO_STEPS_OWN=1 shares it)"
    if any(source.unpinned for source in step.fetches):
        return "its recipe does not pin the sha256 of what it fetches"
    return ""


def _is_of_own_weights(step: Step) -> bool:
    """Whether it reads a finished bundle that is made of user-supplied weights, or does not say of what."""
    bundle = paths.bundle(step.model)
    if not any(file.is_relative_to(bundle) for file in step.reads):
        return False
    try:
        text = read_bounded(bundle / "model.json", limits.JSON_BYTES)
        found: Any = parse_json(text, where=paths.relative(bundle), error=CorruptError)
    except (OSError, ZooError):
        return True
    return not isinstance(found, dict) or found.get("weights") not in ("as published", "trained here")


def _fetch_sources(step: Step) -> bool:
    """Bring a step's sources into the cache of this machine, from the mirror only; whether all are there.

    The step's own program asks the origins, and tells what is missing.
    """
    if step.own is not None and step.name == "download":
        step.own.keep()
    missing = [source for source in step.fetches if cached(source) is None]
    try:
        fetch_all(missing, report=lambda _: None, limits=Limits(tries=2), mirror_only=True)
    except SourceError:
        return False
    return True
