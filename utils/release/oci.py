"""Publishing to an OCI registry, or to an OCI layout folder: one artifact a model, in the ModelPack layout.

https://github.com/modelpack/model-spec: every file is a raw layer, so a layer's digest is the file's sha256, and
whatever speaks OCI can pull it. A registry is spoken to over https; over http only on this machine.

A client of our own, for three reasons: a blob is asked for before it is sent, so that what is there is not sent again;
what goes wrong is said in words for people, without the credentials that were used; and it writes layout folders with
the same code. It is the part of https://github.com/opencontainers/distribution-spec that a push needs.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from utils.errors import STORAGE, PublishError, storage_error
from utils.release.sbom import stamp

__all__ = ["Artifact", "Layout", "Registry", "artifact", "push"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
_LAYER = "application/vnd.cncf.model.{}.v1.raw"

#: Seconds: to connect, and for a registry's silence.
_TIMEOUT = (10, 60)

#: Times that a request is tried when the registry does not answer, or answers that it is busy.
_TRIES = 4

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True)
class Artifact:
    """What is pushed: blobs by digest, the config's among them, and the manifest that names them."""

    blobs: dict[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return _digest(self.manifest)


@dataclass
class Tally:
    """What a push did, or would do."""

    sent: list[str] = field(default_factory=list)  # digests
    there: list[str] = field(default_factory=list)  # digests
    bytes: int = 0  # sent


class Store(Protocol):
    """Where blobs and tagged manifests go."""

    def has(self, digest: str) -> bool:
        """Whether the blob is there, whole."""

    def put(self, digest: str, data: bytes) -> None:
        """Leave a blob there."""

    def tagged(self, tag: str) -> str | None:
        """Digest of the manifest with that tag."""

    def tag(self, tag: str, manifest: bytes) -> None:
        """Leave a manifest there under a tag."""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def artifact(model: str, facts: dict[str, Any], contents: dict[str, bytes], release: dict[str, Any]) -> Artifact:
    """One model as ModelPack: ``contents`` are its files by name, ``release`` and ``facts`` what release.json says."""
    created = stamp(release["time"])
    digests = {name: _digest(data) for name, data in contents.items()}
    config = _json(
        {
            "descriptor": {
                "name": model,
                "title": facts["title"],
                "version": release["version"],
                "revision": release["commit"],
                "createdAt": created,
                "licenses": [facts["licence"]],
            },
            "config": {"format": "tflite"},
            "modelfs": {"type": "layers", "diffIds": [digests[name] for name in contents]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": TYPE,
            "config": {"mediaType": CONFIG, "digest": _digest(config), "size": len(config)},
            "layers": [
                {
                    "mediaType": _LAYER.format(_kind(name)),
                    "digest": digests[name],
                    "size": len(data),
                    "annotations": {"org.opencontainers.image.title": name, "org.cncf.model.filepath": name},
                }
                for name, data in contents.items()
            ],
            "annotations": {
                "org.opencontainers.image.created": created,
                "org.opencontainers.image.licenses": facts["licence"],
                "org.opencontainers.image.revision": release["commit"],
                "org.opencontainers.image.title": facts["title"],
                "org.opencontainers.image.version": release["version"],
            },
        }
    )
    return Artifact({_digest(config): config, **{digests[name]: data for name, data in contents.items()}}, manifest)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _kind(name: str) -> str:
    if name.endswith(".tflite"):
        return "weight"
    if name.endswith(".py"):
        return "code"
    return "dataset" if name.endswith(".npz") else "doc"


def push(store: Store, what: Artifact, version: str, *, dry_run: bool) -> Tally:
    """Bring an artifact to a store: blobs first, then the manifest under each tag, so that no tag lacks a blob.

    Raises:
        PublishError: the version is there with other content, the store cannot be reached, or refuses.
    """
    tally = Tally()
    if store.tagged(version) not in (None, what.digest):
        hint = "a published version does not change: publish a new one"
        raise PublishError("this version is there, with other files", where=f"{store}:{version}", hint=hint)
    for digest, data in what.blobs.items():
        if store.has(digest):
            tally.there.append(digest)
            continue
        tally.sent.append(digest)
        tally.bytes += len(data)
        if not dry_run:
            store.put(digest, data)
    for tag in (version,) if "-" in version else (version, "latest"):  # 1.0.0-rc.1 is not the latest
        if store.tagged(tag) != what.digest:
            tally.sent.append(f"{tag} = {what.digest}")
            if not dry_run:
                store.tag(tag, what.manifest)
    return tally


class Layout:
    """An OCI image layout folder: no registry, no network; `skopeo copy oci:FOLDER:TAG ...` takes it on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return f"oci:{self.folder}"

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def has(self, digest: str) -> bool:
        """Whether the blob is there, whole."""
        file = self._blob(digest)
        return file.is_file() and _digest(file.read_bytes()) == digest

    def put(self, digest: str, data: bytes) -> None:
        """Leave a blob there."""
        self._write(self._blob(digest), data)

    def _index(self) -> dict[str, Any]:
        file = self.folder / "index.json"
        try:
            index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if index["schemaVersion"] != 2 or not isinstance(index["manifests"], list):
                raise ValueError("no image index")
            return index
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        except (KeyError, TypeError, ValueError) as error:
            raise PublishError(f"is no OCI layout ({error})", where=str(file), hint="name another folder") from None

    def tagged(self, tag: str) -> str | None:
        """Digest of the manifest with that tag."""
        found = [entry["digest"] for entry in self._index()["manifests"] if _tag_of(entry) == tag]
        return str(found[0]) if found else None

    def tag(self, tag: str, manifest: bytes) -> None:
        """Leave a manifest there under a tag."""
        self.put(_digest(manifest), manifest)
        index = self._index()
        entry = {
            "mediaType": MANIFEST,
            "artifactType": TYPE,
            "digest": _digest(manifest),
            "size": len(manifest),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }
        index["manifests"] = sorted([e for e in index["manifests"] if _tag_of(e) != tag] + [entry], key=_tag_of)
        self._write(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._write(self.folder / "index.json", _json(index))

    def _write(self, file: Path, data: bytes) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            new = file.with_name(f".{file.name}.new")
            with new.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(file)
        except OSError as error:
            if error.errno not in (*STORAGE, 17, 20):  # a file where a folder should be
                raise
            raise storage_error(error) from error


def _tag_of(entry: dict[str, Any]) -> str:
    return str(entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""))


class Registry:
    """One repository of a registry."""

    def __init__(self, host: str, repository: str) -> None:
        if not _NAME.fullmatch(repository):
            hint = "to=oci://HOST/REPO, in lower case"
            raise PublishError(f"{repository!r} is no name of a repository", where=f"oci://{host}", hint=hint)
        import requests

        self.host, self.repository = host, repository
        self._base = f"{'http' if is_loopback(host) else 'https'}://{host}/v2/{repository}"
        self._session = requests.Session()
        self._session.trust_env = True  # proxies and CA bundles of the site
        self._session.auth = _NoNetrc()
        self._token = ""

    def __str__(self) -> str:
        return f"oci://{self.host}/{self.repository}"

    def has(self, digest: str) -> bool:
        """Whether the blob is there, whole."""
        return bool(self._ask("HEAD", f"{self._base}/blobs/{digest}", allowed=(200, 404)).status_code == 200)

    def put(self, digest: str, data: bytes) -> None:
        """Leave a blob there."""
        begun = self._ask("POST", f"{self._base}/blobs/uploads/", allowed=(202,))
        place = urlsplit(urljoin(begun.url, begun.headers.get("Location", "")))
        if place.netloc != urlsplit(begun.url).netloc and place.scheme != "https":
            raise self._problem("it sends uploads to an unprotected address")
        query = urlencode([*parse_qsl(place.query, keep_blank_values=True), ("digest", digest)])
        headers = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", place._replace(query=query).geturl(), data=data, headers=headers, allowed=(201,))

    def tagged(self, tag: str) -> str | None:
        """Digest of the manifest with that tag."""
        headers = {"Accept": MANIFEST}
        found = self._ask("GET", f"{self._base}/manifests/{tag}", headers=headers, allowed=(200, 404))
        return _digest(found.content) if found.status_code == 200 else None

    def tag(self, tag: str, manifest: bytes) -> None:
        """Leave a manifest there under a tag."""
        headers = {"Content-Type": MANIFEST}
        self._ask("PUT", f"{self._base}/manifests/{tag}", data=manifest, headers=headers, allowed=(201,))

    def _ask(self, method: str, url: str, *, allowed: tuple[int, ...], **more: Any) -> Any:
        """One request, with the credentials that the registry asks for, tried again where that may help."""
        import requests

        headers = more.pop("headers", {})
        asked = False
        for tried in range(1, _TRIES + 2):
            ours = urlsplit(url).netloc == self.host
            authorised = {"Authorization": self._token} if self._token and ours else {}
            try:
                answer = self._session.request(method, url, headers=headers | authorised, timeout=_TIMEOUT, **more)
            except requests.exceptions.SSLError:
                raise self._problem(
                    "its TLS certificate is not trusted (REQUESTS_CA_BUNDLE names a site's own CA)"
                ) from None
            except requests.RequestException as error:
                if tried >= _TRIES:
                    raise self._problem(f"cannot be reached ({_why(error)}, {tried} tries)") from None
                time.sleep(0.25 * 2**tried)
                continue
            if answer.status_code in allowed:
                return answer
            if answer.status_code == 401 and not asked and ours:
                asked, self._token = True, self._authorise(answer.headers.get("WWW-Authenticate", ""))
                continue
            if answer.status_code in (429, 500, 502, 503, 504) and tried < _TRIES:
                time.sleep(0.25 * 2**tried)
                continue
            raise self._refused(answer)
        raise self._problem("cannot be reached")

    def _authorise(self, challenge: str) -> str:
        """The Authorization header that answers a challenge."""
        import requests

        known = _credentials(self.host)
        basic = f"Basic {base64.b64encode(known.encode()).decode()}" if known else ""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return basic
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.pop("realm", "")
        if scheme.lower() != "bearer" or not (realm.startswith("https://") or is_loopback(urlsplit(realm).netloc)):
            return ""
        fields["scope"] = f"repository:{self.repository}:pull,push"
        try:
            headers = {"Authorization": basic} if basic else {}
            answer = self._session.get(realm, params=fields, headers=headers, timeout=_TIMEOUT)
            token = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError):
            raise self._problem("its token service does not answer") from None
        found = token.get("token") or token.get("access_token") or ""
        return f"Bearer {found}" if found else ""

    def _refused(self, answer: Any) -> PublishError:
        if answer.status_code in (401, 403):
            known = "the credentials for it are not accepted" if _credentials(self.host) else "no credentials for it"
            return PublishError(
                f"not authorised (HTTP {answer.status_code}): {known}",
                where=str(self),
                hint=f"docker login {self.host} (or DOCKER_CONFIG=FOLDER), with the right to push",
            )
        try:
            said = "; ".join(str(error.get("code")) for error in answer.json()["errors"])
        except (AttributeError, KeyError, TypeError, ValueError):
            said = ""
        return self._problem(f"answers HTTP {answer.status_code} {said}".rstrip())

    def _problem(self, what: str) -> PublishError:
        hint = "what has arrived stays there: the same command goes on from it"
        return PublishError(what, where=str(self), hint=hint)


class _NoNetrc:
    """Keeps requests from sending what ~/.netrc has: the one place for these credentials is Docker's."""

    def __call__(self, request: Any) -> Any:
        return request


def is_loopback(host: str) -> bool:
    """Whether a host (with or without a port) is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _why(error: Exception) -> str:
    text = str(error)
    for found, why in (("refused", "connection refused"), ("resolve", "unknown host"), ("timed out", "no answer")):
        if found in text:
            return why
    return "the connection was cut"


def _credentials(host: str) -> str:
    """``user:password`` as ``docker login`` left it: in its config.json, or with the helper that it names."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        helper = config.get("credHelpers", {}).get(host) or config.get("credsStore")
        stored = config.get("auths", {}).get(host, {})
        if stored.get("auth"):
            return base64.b64decode(stored["auth"]).decode()
        if helper:
            command = [f"docker-credential-{helper}", "get"]
            done = subprocess.run(command, input=host, capture_output=True, text=True, timeout=30)
            answer = json.loads(done.stdout) if done.returncode == 0 else {}
            return f"{answer['Username']}:{answer['Secret']}" if answer else ""
    except (OSError, ValueError, KeyError, AttributeError, subprocess.TimeoutExpired):
        pass
    return ""
