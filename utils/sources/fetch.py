"""Sources: every file that comes from outside, fetched once and known by its hash.

The cache (``paths.cache()``, moved by ``ZOO_CACHE``) holds::

    <sha256>              whole files; size and hash were checked before they got this name
    unpinned.json         hashes recorded at first fetch, for sources without a published sha256
    partial/<key>.part    what has arrived so far, kept for a resume (<key>.json: its ETag)
    locks/<key>.lock      one fetcher a file; the kernel frees the lock of a killed process

``ZOO_MIRROR`` (a folder, or an http(s) base) is asked first, as ``<mirror>/<sha256>``: the cache of
another machine is such a folder. Its ``unpinned.json`` serves sources that nobody has pinned yet.
``ZOO_OFFLINE=1`` leaves the mirror and the cache. An http(s) mirror counts as the mirror: whoever sets it
has named the one host to talk to, so no redirect is followed there and no other address is opened.
"""

from __future__ import annotations

import email.utils
import fcntl
import hashlib
import http
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, TextIO, cast
from urllib.parse import SplitResult, urlsplit

from utils import paths
from utils.errors import CorruptError, OfflineError, RecipeError, SourceError, storage_error

if TYPE_CHECKING:
    import requests

__all__ = ["Event", "Limits", "Report", "Source", "Terminal", "cached", "fetch", "fetch_all", "known_sha256"]

_CHUNK = 1 << 16  # bytes
_LARGE = 1_000_000  # bytes; without a tty, smaller files get no line at their start
_SECRET = re.compile(r"([^&=]*(?:token|key|sig|secret|pass|auth|cred)[^&=]*)=[^&]*", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """One file from outside: where it is, and how to tell that it is the right one."""

    name: str  # file name
    urls: tuple[str, ...]  # origin first, then its mirrors
    size: int | None  # bytes
    sha256: str | None  # lower-case hex
    md5: str | None  # upstream's own, where it publishes no sha256
    licence: str  # SPDX id or a plain name
    what: str

    @property
    def unpinned(self) -> bool:
        """True where no sha256 is published: the first fetch records one, a release refuses it."""
        return self.sha256 is None


@dataclass(frozen=True)
class Limits:
    """How long and how often to try; every wait is in seconds."""

    connect: float = 10.0
    read: float = 30.0  # the longest silence inside a body
    tries: int = 4  # for each address
    backoff: float = 1.0  # before the second try; doubles each time
    longest: float = 60.0  # the longest wait, whatever Retry-After asks for


@dataclass(frozen=True)
class Event:
    """One step of a fetch: ``say`` carries a sentence, the others the file and where it comes from."""

    kind: Literal["start", "bytes", "done", "failed", "say"]
    name: str
    have: int = 0  # bytes so far
    total: int | None = None  # bytes
    text: str = ""


class Report(Protocol):
    """Whatever is told about progress; it is called from several threads (``list.append`` will do)."""

    def __call__(self, event: Event, /) -> object:
        """Take note of one event."""


class Terminal:
    """Progress for a person: a bar for each running file on a tty, plain lines elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to ``stream`` (stderr if None)."""
        self._stream = stream or sys.stderr
        self._bars: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            tty = self._stream.isatty()
            if tty:
                self._bar(event)
            if event.kind == "say":
                self._line(event.text)
            elif event.kind == "done":
                self._line(f"fetched {event.name} {_human(event.have)} from {event.text}")
            elif event.kind == "start" and not tty and (event.total is None or event.total >= _LARGE):
                resumed = f", going on after {_human(event.have)}" if event.have else ""
                self._line(f"fetching {event.name} {_human(event.total)} from {event.text}{resumed}")

    def _bar(self, event: Event) -> None:
        from tqdm import tqdm

        if event.kind in ("done", "failed"):
            if bar := self._bars.pop(event.name, None):
                bar.close()
        elif event.kind == "bytes":
            if event.name not in self._bars:
                shape: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False}
                self._bars[event.name] = tqdm(total=event.total, desc=event.name, file=self._stream, **shape)
            self._bars[event.name].update(event.have - self._bars[event.name].n)

    def _line(self, text: str) -> None:
        if self._bars:
            from tqdm import tqdm

            tqdm.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)


def cached(source: Source, *, verify: bool = False) -> Path | None:
    """Return the source's file in the cache, or None; never touches the network, changes nothing.

    Args:
        source: what to look for.
        verify: hash the file too (about a second for each GB); otherwise only its size is looked at.

    Raises:
        SourceError: the cache's unpinned.json cannot be read.
        StorageError: the file cannot be read.
    """
    known = _known(source)
    if known.sha256 is None:
        return None
    path = paths.cache() / known.sha256
    try:
        size = path.stat().st_size
    except OSError:
        return None
    right = not _wrong(path, known) if verify else known.size in (None, size)
    return path if right else None


def known_sha256(source: Source) -> str | None:
    """Return the pinned sha256, else the one recorded at first fetch, else None."""
    return _known(source).sha256


def fetch(source: Source, *, report: Report | None = None, limits: Limits | None = None) -> Path:
    """Return the source's file in the cache, fetched if need be; raises what ``fetch_all`` raises."""
    return fetch_all([source], report=report, limits=limits)[source.name]


def fetch_all(
    sources: Iterable[Source], *, jobs: int = 8, report: Report | None = None, limits: Limits | None = None
) -> dict[str, Path]:
    """Fetch what the cache does not hold, several files at a time; size and hashes are checked.

    Args:
        sources: what to fetch; names must differ.
        jobs: how many files at a time.
        report: takes the progress events; a ``Terminal`` on stderr if None.
        limits: timeouts and tries.

    Returns:
        The file of each source, by ``Source.name``.

    Raises:
        OfflineError: ``ZOO_OFFLINE`` is set and sources are missing; lists all of them.
        CorruptError: every source that failed was offered with a wrong size or hash somewhere.
        SourceError: sources cannot be had (lists all, with every address and its failure), or
            ``ZOO_MIRROR`` is no mirror.
        RecipeError: two different sources have one name.
        StorageError: the cache cannot be written.
    """
    wanted: dict[str, Source] = {}
    for source in sources:
        if wanted.setdefault(source.name, source) != source:
            raise RecipeError("two different sources have this name", where=source.name, hint="rename one")
    if not wanted:
        return {}
    fetcher = _Fetcher(report or Terminal(), limits or Limits())
    found: dict[str, Path] = {}
    missing: list[_MissingError] = []
    try:
        with ThreadPoolExecutor(max(1, min(jobs, len(wanted)))) as pool:
            running = {pool.submit(fetcher.fetch, source): name for name, source in wanted.items()}
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
        raise _summary(sorted(missing, key=lambda one: list(wanted).index(one.source.name)), fetcher.offline)
    return {name: found[name] for name in wanted}


@dataclass(frozen=True)
class _Address:
    place: str | Path
    mirror: bool = False

    @property
    def label(self) -> str:
        return "mirror" if self.mirror else _split(str(self.place)).hostname or str(self)

    def __str__(self) -> str:
        shown = _redact(self.place) if isinstance(self.place, str) else str(self.place)
        return f"mirror {shown}" if self.mirror else shown


@dataclass(eq=False)
class _TryError(Exception):
    """One try at one address came to nothing; ``why`` never repeats text that may hold credentials."""

    why: str
    retry: bool = False
    wait: float | None = None  # seconds; None backs off
    corrupt: bool = False
    absent: bool = False  # the address does not have the file: nothing to warn about


@dataclass(eq=False)
class _MissingError(Exception):
    """Every address failed."""

    source: Source
    sha256: str | None
    failures: list[tuple[_Address, _TryError]] = field(default_factory=list)


class _StoppedError(Exception):
    """Another thread met an error that ends the whole fetch."""


class _Fetcher:
    """One ``fetch_all``: its settings, and a connection pool for each thread."""

    def __init__(self, report: Report, limits: Limits) -> None:
        self.report, self.limits = report, limits
        self.folder = paths.cache()
        self.offline = os.environ.get("ZOO_OFFLINE", "").lower() not in ("", "0", "no", "false")
        self.stop = threading.Event()
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._bodies: set[requests.Response] = set()
        self._dead = False  # the mirror does not answer

    def abort(self) -> None:
        """End every running thread soon, also one that waits for bytes."""
        self.stop.set()
        for response in list(self._bodies):
            with suppress(OSError, RuntimeError, ValueError):  # it may be closing at this moment
                response.raw.shutdown()

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def fetch(self, source: Source) -> Path:
        if path := cached(source, verify=True):
            return path  # before any lock: a full cache may be read-only
        mirror = _mirror()
        with self._locked(_key(source), source.name):
            if path := cached(source, verify=True):
                return path  # whoever held the lock has fetched it
            known = _known(source)
            if known.sha256 and (bad := self.folder / known.sha256).exists():
                self._say(f"warning: {source.name} in the cache {_wrong(bad, known)}; fetching it again")
                _storing(bad.unlink, bad)
            mirrored = self._recorded_by(mirror, source) if mirror and not known.sha256 else known
            missing = _MissingError(source, mirrored.sha256)
            for address in self._addresses(mirrored, mirror):
                try:
                    return self._fetch_from(address, source, mirrored if address.mirror else known)
                except _TryError as error:
                    missing.failures.append((address, error))
                    if address.mirror and not error.absent:
                        self._say(f"warning: {source.name}: {address}: {error.why}; not used")
                        # A dead mirror would cost each of hundreds of files all its tries.
                        self._dead = self._dead or (error.retry and not error.corrupt and not self.offline)
            self.report(Event("failed", source.name))
            raise missing

    def _addresses(self, known: Source, mirror: Path | str | None) -> Iterator[_Address]:
        if mirror and known.sha256 and not self._dead:
            folder = isinstance(mirror, Path)
            yield _Address(Path(mirror, known.sha256) if folder else f"{mirror}/{known.sha256}", mirror=True)
        if not self.offline:
            yield from map(_Address, known.urls)

    def _fetch_from(self, address: _Address, source: Source, known: Source) -> Path:
        """Fetch from one address; ``known`` is ``source`` with its recorded hash, where there is one."""
        part = self.folder / "partial" / f"{_key(source)}.part"
        _storing(lambda: part.parent.mkdir(parents=True, exist_ok=True), part.parent)
        tries = self.limits.tries
        for tried in range(1, tries + 1):
            try:
                if isinstance(address.place, Path):
                    self._copy(address.place, known, part)
                else:
                    self._download(address, address.place, known, part)
                break
            except _TryError as error:
                if error.corrupt and source.unpinned and known.sha256:
                    error.why += "; remove its entry in the cache's unpinned.json to accept new bytes"
                if not error.retry:
                    raise
                if tried == tries:
                    raise replace(error, why=f"{error.why} ({tries} tries)") from None
                self._sleep(self.limits.backoff * 2 ** (tried - 1) if error.wait is None else error.wait)
        path, size = self._keep(part, source, known)
        self.report(Event("done", source.name, size, size, address.label))
        return path

    def _copy(self, origin: Path, known: Source, part: Path) -> None:
        try:
            file = origin.open("rb")
        except FileNotFoundError:
            raise _TryError("no such file", absent=True) from None
        except OSError as error:
            raise _TryError(f"cannot be read: {error.strerror}") from None
        with file:
            if known.size not in (None, size := os.fstat(file.fileno()).st_size):
                raise _TryError(f"has {size} bytes, not {known.size}", corrupt=True)
            self._pour(_chunks(file), part, 0, known, size)
        _check(part, known)

    def _download(self, address: _Address, url: str, known: Source, part: Path) -> None:
        """Bring ``part`` to its full length over HTTP, going on from where it ends."""
        import requests
        import urllib3

        note = part.with_suffix(".json")
        have, tag = _resumable(part, note, known, url)
        if have and have == known.size:
            _check(part, known, resumed=True)
            return
        asked = {"Range": f"bytes={have}-"} if have else {}
        if have and tag:
            asked["If-Range"] = tag
        try:
            response = self._session().get(
                url,
                headers=asked,
                stream=True,
                timeout=(self.limits.connect, self.limits.read),
                allow_redirects=not self.offline,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _network(error, self.limits) from None
        with response:
            start, total = self._answer(response, url, have, known, part)
            tag = response.headers.get("ETag", "")
            # A weak ETag may stay while bytes change: it cannot vouch for a resume.
            kept = json.dumps({"url": _url_key(url), "etag": tag if tag.startswith('"') else ""})
            _storing(lambda: note.write_text(kept, encoding="utf-8"), note)
            whole = total if known.size is None else known.size
            self.report(Event("start", known.name, start, whole, address.label))
            self._bodies.add(response)
            try:
                length = self._pour(_body(response, self.limits), part, start, known, whole)
            finally:
                self._bodies.discard(response)
        if not length or (whole is not None and length < whole):
            of = "" if whole is None else f" of {whole}"
            raise _TryError(f"the body ended after {length}{of} bytes", retry=True)
        _check(part, known, resumed=start > 0)

    def _answer(
        self, response: requests.Response, url: str, have: int, known: Source, part: Path
    ) -> tuple[int, int | None]:
        """Return the byte that the body starts at, and the whole file's size in bytes if it is told."""
        status, headers = response.status_code, response.headers
        if url.lower().startswith("https:") and not response.url.lower().startswith("https:"):
            raise _TryError("it redirects from https to http")
        if response.is_redirect:
            raise _TryError("it redirects, which is not followed while ZOO_OFFLINE is set")
        if status not in (200, 206, 416):
            phrase = http.HTTPStatus(status).phrase if status in list(http.HTTPStatus) else ""
            retry = status in (408, 425, 429) or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
            wait = _retry_after(headers.get("Retry-After", ""), self.limits.longest)
            raise _TryError(f"HTTP {status} {phrase}".rstrip(), retry, wait, absent=status in (404, 410))
        ranged = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", headers.get("Content-Range", ""))
        first, told = ranged.groups() if ranged else (None, headers.get("Content-Length", ""))
        total = int(told) if told.isdecimal() else None
        if ranged and total is not None and known.size not in (None, total):
            _storing(lambda: part.unlink(missing_ok=True), part)
            raise _TryError(f"the server's file has {total} bytes, not {known.size}", corrupt=True)
        if status != http.HTTPStatus.OK and (status, first) != (206, str(have)):
            _storing(lambda: part.unlink(missing_ok=True), part)
            raise _TryError(f"HTTP {status} for a range that it does not have", retry=True, wait=0)
        if total is not None and known.size is not None and total > known.size:
            raise _TryError(f"the body has {total} bytes, not {known.size}", corrupt=True)
        return (have if status == http.HTTPStatus.PARTIAL_CONTENT else 0), total

    def _pour(self, chunks: Iterator[bytes], part: Path, start: int, known: Source, limit: int | None) -> int:
        """Write ``chunks`` to ``part`` from byte ``start`` on; return the length of ``part`` in bytes."""
        have = start
        try:
            with part.open("ab" if start else "wb") as file:
                for chunk in chunks:
                    if self.stop.is_set():
                        raise _StoppedError
                    have += len(chunk)
                    if limit is not None and have > limit:
                        part.unlink()
                        raise _TryError(f"it goes on after the {limit} bytes it should have", corrupt=True)
                    file.write(chunk)
                    self.report(Event("bytes", known.name, have, limit))
        except OSError as error:  # only the disk's: those of the network are _TryError by now
            raise storage_error(error, str(part)) from error
        return have

    def _keep(self, part: Path, source: Source, known: Source) -> tuple[Path, int]:
        """Give a checked file its final name, and record the hash that nobody has published."""
        try:
            with part.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                path = self.folder / (known.sha256 or hashlib.file_digest(file, "sha256").hexdigest())
                os.fsync(file.fileno())
            part.replace(path)
            part.with_suffix(".json").unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, str(part)) from error
        if source.unpinned:
            with self._locked("unpinned", "unpinned.json"):
                record = {"name": source.name, "sha256": path.name, "size": size}
                text = json.dumps({**_records(self.folder), _key(source): record}, indent=1, sort_keys=True)
                new = self.folder / "unpinned.json.new"
                _storing(lambda: new.write_text(text + "\n", encoding="utf-8"), new)
                _storing(lambda: new.replace(self.folder / "unpinned.json"), new)
        return path, size

    def _recorded_by(self, mirror: Path | str, source: Source) -> Source:
        """Return ``source`` with the hash that the mirror's own unpinned.json has for it."""
        try:
            if isinstance(mirror, Path):
                return _with(source, _records(mirror))
            place = f"{mirror}/unpinned.json"
            timeout = (self.limits.connect, self.limits.read)
            with self._session().get(place, timeout=timeout, allow_redirects=not self.offline) as response:
                if response.ok and not response.is_redirect:
                    return _with(source, _parse(response.text, _redact(place)))
        except SourceError as error:
            self._say(f"warning: {error}")
        except OSError:  # as are those of requests; a mirror need not have the file
            pass
        return source

    def _session(self) -> requests.Session:
        import requests

        if not hasattr(self._local, "session"):
            self._local.session = session = requests.Session()
            # Compressed on the way, a body would have neither the size nor the hash that is pinned.
            session.headers.update({"Accept-Encoding": "identity", "User-Agent": "nxp-model-zoo"})
            session.max_redirects = 10
            self._sessions.append(session)
        return cast("requests.Session", self._local.session)

    @contextmanager
    def _locked(self, key: str, name: str) -> Iterator[None]:
        path = self.folder / "locks" / f"{key}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as error:
            raise storage_error(error) from error
        with file:
            waited = 0
            while not _locks(file, path):
                if waited == 10:  # half a second: no line for each of many small images
                    self._say(f"waiting for {name}: another fetch of it is running")
                waited += 1
                self._sleep(0.05)
            yield

    def _say(self, text: str) -> None:
        self.report(Event("say", "", text=text))

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(min(seconds, self.limits.longest)):
            raise _StoppedError


def _summary(missing: list[_MissingError], offline: bool) -> SourceError:
    lines = []
    for one in missing:
        size = "size unknown" if one.source.size is None else f"{one.source.size} bytes"
        known = f"sha256 {one.sha256}" if one.sha256 else "no sha256 published"
        md5 = f", md5 {one.source.md5}" if one.source.md5 else ""
        lines.append(f"  {one.source.name}: {size}, {known}{md5}")
        lines += [f"    {address}: {error.why}" for address, error in one.failures]
        lines += [f"    {_redact(url)}" for url in one.source.urls if offline]
        lines += ["    it has no address"] if not one.failures and not offline else []
    text, number = "\n".join(lines), f"{len(missing)} source{'s' if len(missing) > 1 else ''}"
    hint = "put each file in a folder, named by its sha256, and set ZOO_MIRROR to that folder"
    if not all(one.sha256 for one in missing):
        hint += "; where no sha256 is known, set ZOO_MIRROR to the cache of a machine that has fetched it"
    if offline:
        return OfflineError(f"ZOO_OFFLINE is set, and cache and mirror lack {number}:\n{text}", hint=hint)
    corrupt = all(any(error.corrupt for _, error in one.failures) for one in missing)
    kind = CorruptError if corrupt else SourceError
    return kind(f"{number} cannot be had:\n{text}", hint=f"try again (what has arrived is kept), or {hint}")


def _mirror() -> Path | str | None:
    value = os.environ.get("ZOO_MIRROR", "")
    if not value or value.lower().startswith(("http://", "https://")):
        return value.rstrip("/") or None
    if not Path(value).is_dir():
        what = f"ZOO_MIRROR is neither a folder nor an http(s) address: {_redact(value)}"
        raise SourceError(what, hint="correct it, or unset it to do without a mirror")
    return Path(value).absolute()


def _known(source: Source) -> Source:
    return _with(source, _records(paths.cache())) if source.unpinned else source


def _with(source: Source, records: dict[str, Any]) -> Source:
    record = records.get(_key(source), {})
    size = record.get("size") if source.size is None else source.size
    return replace(source, sha256=record.get("sha256"), size=size)


def _records(folder: Path) -> dict[str, Any]:
    path = folder / "unpinned.json"
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, str(path)) from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        records = json.loads(text)
        if all(_SHA256.fullmatch(one["sha256"]) and one["size"] >= 0 for one in records.values()):
            return dict(records)
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    hint = "restore it, or remove it: the hashes are then recorded anew"
    raise SourceError("this is no record of hashes", where=where, hint=hint)


def _storing(act: Callable[[], object], where: Path) -> None:
    try:
        act()
    except OSError as error:
        raise storage_error(error, str(where)) from error


def _locks(file: TextIO, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise storage_error(error, str(path)) from error
    return True


def _wrong(path: Path, known: Source) -> str:
    """Say what is wrong with a file's size or hashes; an empty text if nothing is."""
    try:
        with path.open("rb") as file:
            if known.size not in (None, size := os.fstat(file.fileno()).st_size):
                return f"has {size} bytes, not {known.size}"
            for kind, want in (("sha256", known.sha256), ("md5", known.md5)):
                file.seek(0)
                if want and (got := hashlib.file_digest(file, kind).hexdigest()) != want:
                    return f"has {kind} {got}, not {want}"
    except OSError as error:
        raise storage_error(error, str(path)) from error
    return ""


def _check(part: Path, known: Source, *, resumed: bool = False) -> None:
    if wrong := _wrong(part, known):
        _storing(part.unlink, part)
        # The beginning of a resumed file may be another address's: that is not this one's fault.
        raise _TryError(wrong, retry=resumed, wait=0, corrupt=True)


def _resumable(part: Path, note: Path, known: Source, url: str) -> tuple[int, str]:
    """Return how many bytes of ``part`` are of use with ``url``, and the ETag that vouches for them."""
    try:
        kept = json.loads(note.read_text(encoding="utf-8"))
        tag = str(kept["etag"]) if kept["url"] == _url_key(url) else ""
    except (OSError, ValueError, KeyError, TypeError):
        tag = ""
    if not (tag or known.sha256 or known.md5):
        return 0, ""  # with no hash to check the result, a mixture would go unnoticed
    try:
        have = part.stat().st_size
    except FileNotFoundError:
        return 0, ""
    except OSError as error:
        raise storage_error(error, str(part)) from error
    return (0, "") if known.size is not None and have > known.size else (have, tag)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(_CHUNK):
            yield chunk
    except OSError as error:
        raise _TryError(f"cannot be read: {error.strerror}") from None


def _body(response: requests.Response, limits: Limits) -> Iterator[bytes]:
    import urllib3

    try:
        # As sent: a .gz served with "Content-Encoding: gzip" must stay a .gz.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise _network(error, limits) from None


def _network(error: Exception, limits: Limits) -> _TryError:
    """Put a failure of the network into words of our own: its text may hold credentials."""
    import requests
    import urllib3

    text, errors = str(error), requests.exceptions
    certificate = "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text
    address = isinstance(error, (ValueError, urllib3.exceptions.LocationParseError))
    silent = isinstance(error, (errors.Timeout, urllib3.exceptions.TimeoutError))
    for found, why, retry in (
        (isinstance(error, errors.TooManyRedirects), "its redirects go in a circle", False),
        (certificate, "its TLS certificate is not trusted (REQUESTS_CA_BUNDLE names a site's own CA)", False),
        (address, "this is no http(s) address", False),
        (isinstance(error, errors.ProxyError), "the proxy refused or cannot be reached", True),
        (isinstance(error, errors.ConnectTimeout), f"no connection within {limits.connect:g} s", True),
        (silent, f"no data for {limits.read:g} s", True),
        ("NameResolutionError" in text or "Failed to resolve" in text, "the host name is unknown", True),
        ("Connection refused" in text, "the connection was refused", True),
    ):
        if found:
            return _TryError(why, retry)
    return _TryError("the connection was cut", retry=True)


def _retry_after(value: str, longest: float) -> float | None:
    """Return the seconds that a Retry-After header (seconds, or a date) asks for, at most ``longest``."""
    if value.isdecimal():
        return min(float(value), longest)
    try:
        wait = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(wait, 0.0), longest)


def _key(source: Source) -> str:
    """Return the name of a source's lock, part and record: a hash that is known before its bytes are."""
    if source.sha256:
        return source.sha256
    return f"md5-{source.md5}" if source.md5 else _url_key(next(iter(source.urls), source.name))


def _url_key(url: str) -> str:
    parts = _split(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return f"url-{hashlib.sha256(bare.encode()).hexdigest()[:32]}"


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("unreadable-address")


def _redact(url: str) -> str:
    """Return ``url`` without the credentials in it."""
    parts = _split(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"***@{host}" if at and user else parts.netloc
    return parts._replace(netloc=netloc, query=_SECRET.sub(r"\1=***", parts.query)).geturl()


def _human(size: int | None) -> str:
    if size is None:
        return "of unknown size"
    for unit, name in ((1_000_000, "MB"), (1000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
