"""Fetch: every missing source once, from the mirror or its origin.

``ZOO_MIRROR`` (a folder, or an http(s) base) is asked first, as ``<mirror>/<sha256>``: the cache of
another machine is such a folder. Its ``unpinned.json`` serves sources that nobody has pinned yet.
``ZOO_OFFLINE=1`` leaves the mirror and the cache. An http(s) mirror counts as the mirror: whoever sets it
has named the one host to talk to, so no redirect is followed there and no other address is opened.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from utils.errors import CorruptError, OfflineError, SourceError, StorageError
from utils.sources import cache, http
from utils.sources.http import Limits
from utils.sources.part import Part, StoppedError, TryError
from utils.sources.progress import Event, Report, Terminal
from utils.sources.source import Address, Source, is_offline, redact_url
from utils.untrusted import as_text

__all__ = ["fetch", "fetch_all"]

#: Seconds without any answer after which people hear of it.
_PATIENCE_S = 12.0

#: Seconds after which a host that does not answer is not tried again.
_SILENCE_S = 8.0

#: How many missing sources, or hosts, a message names.
_SHOWN = 3


def fetch(source: Source, *, report: Report | None = None, limits: Limits | None = None) -> Path:
    """Return the source's file in the cache, fetched if need be; raises what ``fetch_all`` raises."""
    return fetch_all([source], report=report, limits=limits)[source]


def fetch_all(
    sources: Iterable[Source],
    *,
    jobs: int = 8,
    report: Report | None = None,
    limits: Limits | None = None,
    mirror_only: bool = False,
) -> dict[Source, Path]:
    """Fetch what the cache does not hold, several files at a time; size and hashes are checked.

    Args:
        sources: what to fetch; two recipes may have one name for two files.
        jobs: how many files at a time.
        report: takes the progress events; a ``Terminal`` on stderr if None.
        limits: timeouts and tries.
        mirror_only: open no address but the mirror's, as ``ZOO_OFFLINE`` has it.

    Returns:
        The file of each source, in their order.

    Raises:
        OfflineError: ``ZOO_OFFLINE`` is set and sources are missing; ``details`` lists all of them.
        CorruptError: every source that failed was offered with a wrong size, hash or format somewhere.
        SourceError: sources cannot be had (``details`` lists all, with every address and its failure), or
            ``ZOO_MIRROR`` is no mirror.
        StorageError: the cache cannot be written.
    """
    wanted = list(dict.fromkeys(sources))
    if not wanted:
        return {}
    fetcher = _Fetcher(report or Terminal(), limits or Limits(), mirror_only=mirror_only)
    fetcher.begin([source for source in wanted if cache.cached(source) is None])
    found: dict[Source, Path] = {}
    missing: list[_MissingError] = []
    try:
        with ThreadPoolExecutor(max(1, min(jobs, len(wanted)))) as pool:
            running = {pool.submit(fetcher.fetch, source): source for source in wanted}
            try:
                for future in as_completed(running):
                    try:
                        found[running[future]] = future.result()
                    except _MissingError as error:
                        missing.append(error)
            except BaseException:  # Ctrl-C, a full disk: the other threads must not go on for minutes
                fetcher.abort()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        fetcher.close()
    if missing:
        order = {source: number for number, source in enumerate(wanted)}
        raise _summary(sorted(missing, key=lambda one: order[one.source]), fetcher)
    return {source: found[source] for source in wanted}


@dataclass(eq=False)
class _MissingError(Exception):
    """Every address failed."""

    source: Source
    sha256: str | None
    failures: list[tuple[Address, TryError]] = field(default_factory=list)


class _Fetcher:
    """One ``fetch_all``: its settings and its connections."""

    def __init__(self, report: Report, limits: Limits, *, mirror_only: bool) -> None:
        self._tell, self.limits = report, limits
        self.offline = mirror_only or is_offline()
        self._client = http.Client(limits, follow_redirects=not self.offline)
        self._stop = threading.Event()
        self._mirror_is_dead = False  # it does not answer
        self.dead: dict[str, str] = {}  # hosts that do not answer, and why
        self.has_answer = False  # a host has answered, or a file is a copy
        self._asked: dict[str, None] = {}  # hosts, in their order
        self._warn = threading.Timer(_PATIENCE_S, self._say_nothing_answers)
        self._warn.daemon = True

    def begin(self, missing: list[Source]) -> None:
        """Say how much there is to fetch, and watch for the first answer."""
        if missing:
            sizes = [source.size for source in missing]
            total = None if None in sizes else sum(size for size in sizes if size is not None)
            self.report(Event("plan", total=total, count=len(missing)))
            self._warn.start()

    def report(self, event: Event) -> None:
        """Pass an event on."""
        self.has_answer = self.has_answer or event.kind in ("start", "bytes", "done")
        self._tell(event)

    def abort(self) -> None:
        """End every running thread soon, also one that waits for bytes."""
        self._stop.set()
        self._client.abort()

    def close(self) -> None:
        self._warn.cancel()
        self._client.close()

    def _say_nothing_answers(self) -> None:
        if not self.has_answer and self._asked:
            asked = ", ".join(as_text(host) for host in [*self._asked][:_SHOWN])
            self._say(f"warning: nothing has answered for {_PATIENCE_S:g} s (asked {asked}): is there a network?")

    def fetch(self, source: Source) -> Path:
        if path := cache.cached(source, verify=True):
            return path  # before any lock: a full cache may be read-only
        mirror = _find_mirror()
        with cache.lock_key(source.key, lambda waited: self._wait(waited, source.name)) as alone:
            if path := cache.cached(source, verify=True):
                return path  # whoever held the lock has fetched it
            known = cache.with_recorded_hash(source)
            self._drop_damaged(known)
            mirrored = self._recorded_by(mirror, source) if mirror and not known.sha256 else known
            missing = _MissingError(source, mirrored.sha256)
            for address in self._addresses(mirrored, mirror):
                if not address.is_mirror and (why := self.dead.get(address.host)):
                    missing.failures.append((address, TryError(f"{why}; not asked again", is_silent=True)))
                    continue
                try:
                    return self._fetch_from(address, source, mirrored if address.is_mirror else known, alone=alone)
                except TryError as error:
                    missing.failures.append((address, error))
                    self.has_answer = self.has_answer or not error.is_silent
                    if error.is_silent and not address.is_mirror:
                        self._note_dead(address, error.why)
                    if address.is_mirror and not error.is_absent:
                        self._say(f"warning: {source.name}: {address}: {error.why}; not used")
                        # A dead mirror would cost each of hundreds of files all its tries.
                        silent = error.can_retry and not error.is_corrupt
                        self._mirror_is_dead = self._mirror_is_dead or (silent and not self.offline)
            self.report(Event("failed", source.name, key=source.key))
            raise missing

    def _note_dead(self, address: Address, why: str) -> None:
        """Remember a host that does not answer: it would cost each of hundreds of files all its tries."""
        if address.host not in self.dead:
            self.dead[address.host] = why
            self._say(f"warning: {as_text(address.label)}: {why}; it is not asked again")

    def _drop_damaged(self, known: Source) -> None:
        if known.sha256 and (file := cache.whole_path(known.sha256)).exists():
            self._say(f"warning: {known.name} in the cache {cache.find_fault(file, known)}; fetching it again")
            with cache.storing(file):
                file.unlink()

    def _addresses(self, known: Source, mirror: Path | str | None) -> Iterator[Address]:
        if mirror and known.sha256 and not self._mirror_is_dead:
            in_folder = isinstance(mirror, Path)
            place = Path(mirror, known.sha256) if in_folder else f"{mirror}/{known.sha256}"
            yield Address(place, is_mirror=True)
        if not self.offline:
            yield from map(Address, known.urls)

    def _fetch_from(self, address: Address, source: Source, known: Source, *, alone: bool) -> Path:
        """Fetch from one address; ``known`` is ``source`` with its recorded hash, where there is one."""
        part = Part(source, known, self.report, self._stop, alone=alone)
        try:
            self._fill(part, address, source)
            path = cache.install_part(part.path, source, known, lambda waited: self._wait(waited, cache.RECORDS))
        finally:
            if not alone:
                part.discard()
        size = path.stat().st_size
        self.report(Event("done", source.name, size, size, address.label, source.key))
        if source.unpinned and not source.md5 and not known.sha256:
            self._say(f"recorded {source.name}, sha256 {path.name}: nobody else vouches for it; {_forget(source)}")
        return path

    def _fill(self, part: Part, address: Address, source: Source) -> None:
        tries, begin = self.limits.tries, time.monotonic()
        for tried in range(1, tries + 1):
            try:
                if isinstance(address.place, Path):
                    part.copy_from(address.place)
                else:
                    self._asked.setdefault(address.label if not address.is_mirror else "the mirror")
                    self._client.download(address, address.place, part)
                return
            except TryError as error:
                if error.is_corrupt and source.unpinned and part.known.sha256:
                    error.why += f"; {_forget(source)}"
                gives_up = error.is_silent and time.monotonic() - begin >= _SILENCE_S
                if not error.can_retry or (gives_up and tried == 1):
                    raise
                if gives_up or tried == tries:
                    raise replace(error, why=f"{error.why} ({tried} tries)") from None
                self._sleep(self.limits.backoff_s * 2 ** (tried - 1) if error.wait_s is None else error.wait_s)

    def _recorded_by(self, mirror: Path | str, source: Source) -> Source:
        """Return ``source`` with the hash that the mirror's own unpinned.json has for it."""
        try:
            if isinstance(mirror, Path):
                return cache.with_record(source, cache.load_records(mirror))
            place = f"{mirror}/{cache.RECORDS}"
            if (text := self._client.read_small(place)) is not None:  # a mirror need not have the file
                return cache.with_record(source, cache.parse_records(text, redact_url(place)))
        except (SourceError, StorageError) as error:
            self._say(f"warning: {error}")
        return source

    def _wait(self, waited: int, name: str) -> None:
        if waited == 10:  # half a second: no line for each of many small images
            self._say(f"waiting for {name}: another fetch of it is running")
        self._sleep(0.05)

    def _say(self, text: str) -> None:
        self.report(Event("say", "", text=text))

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(min(seconds, self.limits.longest_s)):
            raise StoppedError


def _forget(source: Source) -> str:
    return f"`doit refetch source={source.name}` forgets it, and takes what is there next time"


def _summary(missing: list[_MissingError], fetcher: _Fetcher) -> SourceError:
    """The error for what is missing: the first few in full, and ``details`` with all of them."""
    entries = [_describe(one, offline=fetcher.offline) for one in missing]
    number = f"{len(missing)} source{'s' if len(missing) > 1 else ''}"
    more = f"\n  and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    text = "\n".join(entries[:_SHOWN]) + more
    hint = "put each file in a folder, named by its sha256, and set ZOO_MIRROR to that folder"
    if not all(one.sha256 for one in missing):
        hint += "; where no sha256 is known, set ZOO_MIRROR to the cache of a machine that has fetched it"
    if fetcher.offline:
        error: SourceError = OfflineError(
            f"{OfflineError.BEGINS}and cache and mirror lack {number}:\n{text}", hint=hint
        )
    else:
        corrupt = all(any(error.is_corrupt for _, error in one.failures) for one in missing)
        kind = CorruptError if corrupt else SourceError
        silent = fetcher.dead and not fetcher.has_answer
        what = f"{number} cannot be had" + (", for nothing answers" if silent else "")
        hint = (
            f"check the network and its proxy, or {hint}"
            if silent
            else f"try again (what has arrived is kept), or {hint}"
        )
        error = kind(f"{what}:\n{text}", hint=hint)
    error.details = "\n".join(entries)
    return error


def _describe(one: _MissingError, *, offline: bool) -> str:
    size = "size unknown" if one.source.size is None else f"{one.source.size} bytes"
    known = f"sha256 {one.sha256}" if one.sha256 else "no sha256 published"
    md5 = f", md5 {one.source.md5}" if one.source.md5 else ""
    lines = [f"  {one.source.name}: {size}, {known}{md5}"]
    lines += [f"    {address}: {error.why}" for address, error in one.failures]
    lines += [f"    {redact_url(url)}" for url in one.source.urls if offline]
    lines += ["    it has no address"] if not one.failures and not offline else []
    return "\n".join(lines)


def _find_mirror() -> Path | str | None:
    value = os.environ.get("ZOO_MIRROR", "")
    if not value or value.lower().startswith(("http://", "https://")):
        return value.rstrip("/") or None
    if not Path(value).is_dir():
        what = f"ZOO_MIRROR is neither a folder nor an http(s) address: {redact_url(value)}"
        raise SourceError(what, hint="correct it, or unset it to do without a mirror")
    return Path(value).absolute()
