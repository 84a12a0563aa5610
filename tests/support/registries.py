"""Where releases are published to in tests: Debian's docker-registry, a relay that watches it, and a small hub."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

from tests.support.servers import answering

__all__ = ["Hub", "Relay", "docker_registry", "hub", "relay"]

#: User "zoo" with the password "let me in", as htpasswd -B writes it.
HTPASSWD = "zoo:$2y$05$l8Yyfjsgp7EneE3ptZ1VweSwicXxGCTIVk9tX9vBS5zpLEM7humjm\n"
USER = "zoo:let me in"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def docker_registry(folder: Path, *, password: bool = False) -> Iterator[str]:
    """Run Debian's docker-registry on a free port; its ``host:port``."""
    folder.mkdir(parents=True)
    host = f"127.0.0.1:{free_port()}"
    config = f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{host}'}}\n"
    config += f"storage:\n  filesystem: {{rootdirectory: {folder / 'data'}}}\n"
    if password:
        (folder / "htpasswd").write_text(HTPASSWD)
        config += f"auth:\n  htpasswd: {{realm: zoo, path: {folder / 'htpasswd'}}}\n"
    (folder / "config.yml").write_text(config)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", int(host.rpartition(":")[2]))):
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield host
    finally:
        process.kill()
        process.wait()


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], owner: object) -> Iterator[str]:
    class Loopback(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Stay silent: clients are killed on purpose."""

    server = Loopback(("127.0.0.1", 0), handler)
    server.owner = owner  # type: ignore[attr-defined]
    with answering(server) as address:
        yield address


@dataclass
class Relay:
    """Stands before a registry, counts what is sent, and takes its time."""

    host: str  # of the registry
    address: str = ""  # its own
    pace: float = 0.0  # seconds before each answer
    fail: int = 0  # so many requests are answered with 503 first
    bearer: bool = False  # asks for a token, which /token gives to USER, as large registries do
    puts: list[str] = field(default_factory=list)  # what arrived whole: digests of blobs, paths of manifests
    headers: list[str] = field(default_factory=list)  # every Authorization


class _RelayHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        relay = cast("Relay", self.server.owner)  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        relay.headers.append(self.headers.get("Authorization", ""))
        if relay.fail:
            relay.fail -= 1
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if relay.bearer and not self._let_in(relay):
            return
        time.sleep(relay.pace)
        with closing(http.client.HTTPConnection(relay.host)) as upstream:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # with the client's Host, the registry sends it back to us
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            data = answer.read()
        if self.command == "PUT" and answer.status == 201:
            digest = re.search(r"digest=([^&]+)", self.path)
            relay.puts.append(digest[1].replace("%3A", ":") if digest else self.path)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") or "0" if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data)

    def _let_in(self, relay: Relay) -> bool:
        """Whether the request has the token; if not, it is answered."""
        said = self.headers.get("Authorization", "")
        if said == "Bearer t0ken":
            return True
        data = b"{}"
        if self.path.startswith("/token?"):
            known = said == f"Basic {base64.b64encode(USER.encode()).decode()}"
            data = b'{"token": "t0ken"}' if known and "scope=repository" in self.path else data
            self.send_response(200 if known else 401)
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="http://{relay.address}/token",service="zoo"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return False

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _pass  # noqa: N815  # the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def relay(host: str) -> Iterator[Relay]:
    owner = Relay(host)
    with _serving(_RelayHandler, owner) as address:
        owner.address = address
        yield owner


@dataclass
class Hub:
    """The endpoints of Hugging Face that an upload uses, on the loopback; repositories are dictionaries."""

    address: str = ""
    token: str = "hf_secret"
    pace: float = 0.0  # seconds before each answer
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)  # repo -> revision -> files
    large: dict[str, bytes] = field(default_factory=dict)  # sha256 -> bytes
    uploads: list[str] = field(default_factory=list)  # sha256 of each large file that arrived
    commits: list[str] = field(default_factory=list)  # repo of each commit
    requests: list[str] = field(default_factory=list)
    branches: set[tuple[str, str]] = field(default_factory=set)  # repo, name: revisions that are no tags
    storage: str = ""  # where large files go; empty: here
    verify: str = ""  # who is asked whether a large file arrived; empty: nobody


class _HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return cast("Hub", self.server.owner)  # type: ignore[attr-defined]

    def _answer(self, code: int, value: object = None, **headers: str) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        time.sleep(self.hub.pace)
        if path.startswith("/lfs/") and self.command == "PUT":  # a signed address: no token
            digest = hashlib.sha256(body).hexdigest()
            if path != f"/lfs/{digest}":
                self._answer(400)
                return
            self.hub.large[digest] = body
            self.hub.uploads.append(digest)
            self._answer(200)
            return
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._answer(401, {"error": "Invalid credentials"})
            return
        for pattern, act in _ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                act(self, body, *found.groups())
                return
        self._answer(404, {"error": f"unknown: {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any  # noqa: N815  # the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def create(self, body: bytes) -> None:
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        self.hub.repositories.setdefault(name, {"main": {".gitattributes": b"*.npz filter=lfs"}})
        self._answer(200, {"url": f"http://{self.hub.address}/{name}", "name": name, "id": name})

    def validate(self, body: bytes) -> None:
        assert json.loads(body)["content"].startswith("---\n")
        self._answer(200, {"errors": [], "warnings": []})

    def info(self, _: bytes, repo: str, revision: str) -> None:
        if repo not in self.hub.repositories:
            self._answer(404, {"error": "no"}, X_Error_Code="RepoNotFound")
            return
        files = self.hub.repositories[repo].get(revision)
        if files is None:
            self._answer(404, {"error": "no"}, X_Error_Code="RevisionNotFound")
            return
        siblings = []
        for name, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            lfs = {"lfs": {"sha256": digest, "size": len(data), "pointerSize": 130}} if digest in self.hub.large else {}
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            siblings.append({"rfilename": name, "size": len(data), "blobId": blob, **lfs})
        self._answer(200, {"id": repo, "modelId": repo, "sha": "0" * 40, "tags": [], "siblings": siblings})

    def resolve(self, _: bytes, repo: str, revision: str, name: str) -> None:
        data = self.hub.repositories[repo][revision][name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def preupload(self, body: bytes, repo: str, _revision: str) -> None:
        there = self.hub.repositories[repo]["main"]
        files = []
        for entry in json.loads(body)["files"]:
            large = entry["path"].endswith((".tflite", ".npz", ".png"))
            known = there.get(entry["path"])
            oid = {"oid": hashlib.sha1(b"blob %d\0" % len(known) + known).hexdigest()} if known and not large else {}
            mode = "lfs" if large else "regular"
            files.append({"path": entry["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
        self._answer(200, {"files": files})

    def batch(self, body: bytes, _repo: str) -> None:
        objects = []
        for entry in json.loads(body)["objects"]:
            storage = self.hub.storage or f"http://{self.hub.address}"
            upload = {"upload": {"href": f"{storage}/lfs/{entry['oid']}"}}
            upload |= {"verify": {"href": self.hub.verify}} if self.hub.verify else {}
            objects.append({**entry, **({} if entry["oid"] in self.hub.large else {"actions": upload})})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        files = dict(self.hub.repositories[repo][revision])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.repositories[repo][revision] = files
        self.hub.commits.append(repo)
        url = f"http://{self.hub.address}/{repo}/commit/{'0' * 40}"
        self._answer(200, {"success": True, "commitOid": "0" * 40, "commitUrl": url})

    def tag(self, body: bytes, repo: str, revision: str) -> None:
        revisions = self.hub.repositories[repo]
        name = json.loads(body)["tag"]
        if name in revisions:
            self._answer(409, {"error": "exists"})
            return
        revisions[name] = dict(revisions[revision])
        self._answer(200, {})

    def branch(self, _: bytes, repo: str, name: str) -> None:
        revisions = self.hub.repositories[repo]
        if name in revisions:
            self._answer(409, {"error": "exists"})
            return
        revisions[name] = dict(revisions["main"])
        self.hub.branches.add((repo, name))
        self._answer(200, {})

    def drop(self, _: bytes, repo: str, name: str) -> None:
        self.hub.branches.remove((repo, name))
        del self.hub.repositories[repo][name]
        self._answer(200)

    def refs(self, _: bytes, repo: str) -> None:
        tags = [
            {"name": name, "ref": f"refs/tags/{name}", "targetCommit": "0" * 40}
            for name in self.hub.repositories[repo]
            if name != "main" and (repo, name) not in self.hub.branches
        ]
        self._answer(200, {"branches": [], "converts": [], "tags": tags, "pullRequests": []})


_REPO = r"/api/models/([^/]+/[^/]+)"
_ROUTES = [
    (r"POST /api/repos/create", _HubHandler.create),
    (r"POST /api/validate-yaml", _HubHandler.validate),
    (rf"GET {_REPO}/revision/([^/]+)", _HubHandler.info),
    (r"GET /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _HubHandler.resolve),
    (rf"POST {_REPO}/preupload/([^/]+)", _HubHandler.preupload),
    (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", _HubHandler.batch),
    (rf"POST {_REPO}/commit/([^/]+)", _HubHandler.commit),
    (rf"POST {_REPO}/tag/([^/]+)", _HubHandler.tag),
    (rf"POST {_REPO}/branch/([^/]+)", _HubHandler.branch),
    (rf"DELETE {_REPO}/branch/([^/]+)", _HubHandler.drop),
    (rf"GET {_REPO}/refs", _HubHandler.refs),
]


@contextmanager
def hub() -> Iterator[Hub]:
    owner = Hub()
    with _serving(_HubHandler, owner) as address:
        owner.address = address
        yield owner
