"""A registry in memory that knows what refers to what (OCI 1.1), or an older one that does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.support.rogues import http, rogue
from utils.release.oci import INDEX, digest_of

__all__ = ["Referring", "referring"]

_PATH = re.compile(r"/v2/(.+)/(blobs|manifests|referrers)/(.+)")


@dataclass
class Referring:
    """What it holds, of one repository or several, and what arrived."""

    lists: bool = True  # whether it has the referrers API
    address: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)  # digest -> content
    manifests: dict[str, bytes] = field(default_factory=dict)  # tag or digest -> content
    puts: list[str] = field(default_factory=list)  # digests of blobs, tags or digests of manifests

    def answer(self, method: str, path: str, body: bytes) -> list[bytes]:
        place, _, query = path.partition("?")
        found = _PATH.fullmatch(place)
        if found is None:
            return http(404)
        _, kind, name = found.groups()
        if kind == "blobs":
            return self._blob(method, place, name, unquote(query).removeprefix("digest="), body)
        if kind == "referrers":
            return self._list(name) if self.lists else http(404)
        return self._manifest(method, name, body)

    def _blob(self, method: str, place: str, name: str, digest: str, body: bytes) -> list[bytes]:
        if method == "POST":
            return http(202, b"", f"Location: {place}one")
        if method == "PUT":
            if digest_of(body) != digest:
                return http(400)
            self.blobs[digest] = body
            self.puts.append(digest)
            return http(201)
        if name not in self.blobs:
            return http(404)
        return http(200, self.blobs[name] if method == "GET" else b"")

    def _manifest(self, method: str, name: str, body: bytes) -> list[bytes]:
        if method == "PUT":
            found = json.loads(body)
            named = [entry["digest"] for entry in (found.get("config"), *found.get("layers", [])) if entry]
            if not self.blobs.keys() >= set(named):
                return http(400)
            self.manifests[name] = self.manifests[digest_of(body)] = body
            self.puts.append(name)
            subject = found.get("subject")
            return http(201, b"", *([f"OCI-Subject: {subject['digest']}"] if subject and self.lists else []))
        if name not in self.manifests:
            return http(404)
        return http(200, self.manifests[name] if method == "GET" else b"")

    def _list(self, subject: str) -> list[bytes]:
        found = [
            {"digest": name}
            for name, text in self.manifests.items()
            if name.startswith("sha256:") and json.loads(text).get("subject", {}).get("digest") == subject
        ]
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).encode()
        return http(200, text, f"Content-Type: {INDEX}")


@contextmanager
def referring(*, lists: bool = True) -> Iterator[Referring]:
    """Run it on a free port."""
    owner = Referring(lists)
    with rogue(owner.answer) as address:
        owner.address = address
        yield owner
