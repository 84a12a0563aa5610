"""HTTP: GET, HEAD and PUT at ``/ac/<sha256>`` and ``/cas/<sha256>`` of a step cache, Bazel's protocol.

The server is not trusted: what it sends is bounded, and a blob counts only with the size and sha256 that were promised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from utils import limits
from utils.errors import CorruptError
from utils.shared.action import Digest
from utils.shared.settings import Settings
from utils.shared.wire import CHUNK_BYTES, ServerError, Wire
from utils.sources.part import TryError

__all__ = ["Progress", "ServerError", "Store"]

#: A file up to this size is sent from memory.
_SMALL_BYTES = 1 << 20

_DONE, _EXISTS, _ABSENT = (200, 201, 202, 204), (409, 412), (404, 410)

_CHANGED = "has changed since the step wrote it"

#: Told of bytes that have arrived, and of how many there are.
Progress = Callable[[int, int], object]


class Store:
    """A step cache; threads may share it.

    Args:
        settings: which, and as whom.
        anonymous: send no credentials at all.

    Raises:
        UsageError: a file in the folder of ``ZOO_TLS`` is not what its name says.
    """

    def __init__(self, settings: Settings, *, anonymous: bool = False) -> None:
        self._server, self._label, self._wire = settings.server, settings.label, Wire(settings, anonymous=anonymous)

    def address(self, kind: str, name: str) -> str:
        """The address of an entry, ``kind`` ``ac`` or ``cas``."""
        return f"{self._server}/{kind}/{name}"

    def place(self, kind: str, name: str) -> str:
        """The same for a message, without credentials."""
        return f"{self._label}/{kind}/{name}"

    def read_result(self, key: str) -> bytes | None:
        """Read the result that is stored under a key; None: there is none.

        Raises:
            CorruptError: it is too large.
            ServerError: the server cannot be used.
        """
        return self._wire.retry(lambda: self._read_whole("ac", key, limits.STEP_RESULT_BYTES))

    def read_small(self, digest: Digest) -> bytes:
        """Read a blob into memory; raises what ``read_blob`` raises."""
        if digest.size > limits.STEP_RESULT_BYTES:
            raise CorruptError(f"promises {digest.size:,} bytes; at most {limits.STEP_RESULT_BYTES:,} are allowed")
        where = self.place("cas", digest.sha256)
        found = self._wire.retry(lambda: self._read_whole("cas", digest.sha256, digest.size))
        if found is None:
            raise CorruptError("is missing on the server", where=where)
        if (got := hashlib.sha256(found).hexdigest()) != digest.sha256 or len(found) != digest.size:
            raise CorruptError(f"has other bytes under its hash: sha256 {got}, {len(found):,} bytes", where=where)
        return found

    def read_blob(self, digest: Digest, to: Path, progress: Progress = lambda _done, _total: None) -> None:
        """Write a blob to a new file.

        Args:
            digest: its sha256 and size.
            to: the file; it is not complete when this raises.
            progress: told of bytes, and of how many there are.

        Raises:
            CorruptError: it is missing, truncated, larger than promised, or has other bytes under its hash.
            ServerError: the server cannot be used.
            OSError: the file cannot be written.
        """
        self._wire.retry(lambda: self._read_into(digest, to, progress))

    def find_size(self, sha256: str) -> int | None:
        """The size in bytes of a blob on the server; None: it has none of this name, -1: it does not say.

        Raises:
            ServerError: the server cannot be used.
        """

        def ask() -> int | None:
            with self._wire.sent("HEAD", self.address("cas", sha256)) as answer:
                if answer.code in _ABSENT:
                    return None
                answer.require(200)
                return -1 if answer.length is None else answer.length

        return self._wire.retry(ask)

    def write_blob(self, digest: Digest, file: Path) -> bool:
        """Store a file under its hash; False: the server has it already.

        Raises:
            CorruptError: the file has other bytes by now, or the server has a blob of another size under this name.
            ServerError: the server does not take it.
            OSError: the file cannot be read.
        """
        if digest.size <= _SMALL_BYTES:
            with file.open("rb") as stream:
                content = stream.read(_SMALL_BYTES + 1)
            if hashlib.sha256(content).hexdigest() != digest.sha256:
                raise CorruptError(_CHANGED, where=str(file))
            return self.write_small(digest, content)
        return not self._has(digest) and self._wire.retry(lambda: self._send_file(digest, file))

    def write_small(self, digest: Digest, content: bytes) -> bool:
        """Store bytes under their hash; as ``write_blob``."""
        return not self._has(digest) and self._wire.retry(lambda: self._put("cas", digest.sha256, content))

    def write_result(self, key: str, content: bytes) -> bool:
        """Store a result under a key; False: the server has one already, and keeps it.

        Raises:
            ServerError: the server does not take it.
        """
        # A server that would overwrite it is asked not to, in the way that S3's gateways understand.
        headers = {"Content-Type": "application/json", "If-None-Match": "*"}
        return self._wire.retry(lambda: self._put("ac", key, content, headers))

    def put_blob(self, digest: Digest, content: bytes) -> bool:
        """Store bytes without asking for them first, under a hash that may not be theirs: to see what the server does.

        Raises:
            ServerError: the server does not take it.
        """
        return self._wire.retry(lambda: self._put("cas", digest.sha256, content))

    def _has(self, digest: Digest) -> bool:
        size = self.find_size(digest.sha256)
        if size not in (None, -1, digest.size):
            what = f"the server has {size:,} bytes under the hash of {digest.size:,} bytes"
            raise CorruptError(what, where=self.place("cas", digest.sha256), hint="remove it on the server")
        return size is not None

    def _read_whole(self, kind: str, name: str, most: int) -> bytes | None:
        where = self.place(kind, name)
        # bazel-remote stores results as protobuf, and sends JSON to who asks for exactly this.
        headers = {"Accept": "application/json"} if kind == "ac" else {}
        with self._wire.sent("GET", self.address(kind, name), headers=headers) as answer:
            if answer.code in _ABSENT:
                return None
            answer.require(200)
            data = bytearray()
            for chunk in answer.chunks():
                data += chunk
                if len(data) > most:
                    raise CorruptError(f"has more than {most:,} bytes", where=where)
            answer.require_whole(len(data))
            return bytes(data)

    def _read_into(self, digest: Digest, to: Path, progress: Progress) -> None:
        where, have, hashed = self.place("cas", digest.sha256), 0, hashlib.sha256()
        with self._wire.sent("GET", self.address("cas", digest.sha256)) as answer, to.open("wb") as file:
            if answer.code in _ABSENT:
                raise CorruptError("is missing on the server", where=where)
            answer.require(200)
            for chunk in answer.chunks():
                have += len(chunk)
                if have > digest.size:
                    raise CorruptError(f"has more than the {digest.size:,} bytes that are promised", where=where)
                hashed.update(chunk)
                file.write(chunk)
                progress(have, digest.size)
            answer.require_whole(have)
        if (have, hashed.hexdigest()) != (digest.size, digest.sha256):
            what = f"has other bytes under its hash: {have:,} of {digest.size:,} bytes, sha256 {hashed.hexdigest()}"
            raise CorruptError(what, where=where)

    def _put(self, kind: str, name: str, content: Any, headers: Mapping[str, str] | None = None) -> bool:
        with self._wire.sent("PUT", self.address(kind, name), headers=headers, data=content) as answer:
            if answer.code in _EXISTS:
                return False
            answer.require(*_DONE)
            return True

    def _send_file(self, digest: Digest, file: Path) -> bool:
        with file.open("rb") as stream:
            sent = _Sent(stream, digest)
            try:
                return self._put("cas", digest.sha256, sent)
            except TryError:
                if sent.has_changed:
                    raise CorruptError(_CHANGED, where=str(file)) from None
                raise


class _Sent:
    """A file that is sent: the last bytes only if all of them have the promised hash.

    Without them the request is incomplete, and no server stores it.

    Attributes:
        has_changed: whether it has other bytes than those that were promised.
    """

    def __init__(self, stream: BinaryIO, digest: Digest) -> None:
        self._stream, self._digest = stream, digest
        self._left, self._hashed = digest.size, hashlib.sha256()
        self.has_changed = False

    def __len__(self) -> int:
        return self._digest.size

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK_BYTES):
            yield chunk

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes."""
        chunk = self._stream.read(min(size, self._left))
        self._hashed.update(chunk)
        self._left -= len(chunk)
        if (not chunk and self._left) or (not self._left and self._hashed.hexdigest() != self._digest.sha256):
            self.has_changed = True
            raise OSError(_CHANGED)  # whatever ends the request
        return chunk
