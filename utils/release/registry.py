"""One repository of an OCI registry: the part of the distribution specification that a push needs.

https://github.com/opencontainers/distribution-spec. Credentials are those of ``docker login``. They go to the registry,
and to the token service that it names, over https; over http only on this machine.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import requests
from pydantic import BaseModel, Field

from utils import limits
from utils.errors import PublishError
from utils.release.answers import AnswerError
from utils.release.credentials import find_credentials
from utils.release.http import AddressError, Answer, Client, is_loopback, join_address, origin_of
from utils.release.oci import (
    INDEX,
    MANIFEST,
    Referrer,
    Tagged,
    as_json,
    digest_of,
    new_index,
    parse_index,
    version_of,
)
from utils.untrusted import as_text, parse_as

__all__ = ["Registry"]

#: Attempts of a request when the registry does not answer, or is busy.
_TRIES = 4

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")

#: A token goes into a header.
_Token = Annotated[str, Field(pattern=r"^[!-~]*$", max_length=limits.CREDENTIALS_BYTES)]


class _Tokens(BaseModel):
    """The keys of a token service's answer that are used."""

    token: _Token | None = None
    access_token: _Token | None = None


class _Error(BaseModel):
    code: str


class _Errors(BaseModel):
    """The keys of a registry's refusal that are used."""

    errors: list[_Error]


class Registry:
    """One repository of a registry.

    Args:
        host: with its port, if it has one.
        repository: its name.
        access: what the token service is asked for; some give nothing where they would not give all.
    """

    def __init__(self, host: str, repository: str, access: Literal["pull", "pull,push"] = "pull,push") -> None:
        place = "to=oci://HOST/REPO"
        if "@" in f"{host}/{repository}":  # the part before it may be a password: not printed
            hint = f"{place}, and run `docker login HOST`"
            raise PublishError("HOST has a user in it", where="to=", hint=hint)
        if not _NAME.fullmatch(repository):
            hint = f"{place}, in lower case"
            raise PublishError(
                f"'{as_text(repository, 200)}' is not the name of a repository",
                where=f"oci://{as_text(host, 200)}",
                hint=hint,
            )
        scheme = "http" if is_loopback(host) else "https"
        try:
            self._origin = origin_of(f"{scheme}://{host}")
        except AddressError:
            raise PublishError(f"'{as_text(host, 200)}' is not the name of a host", where="to=", hint=place) from None
        self.host, self.repository, self.access = host, repository, access
        self.base = f"{scheme}://{host}/v2/{repository}"
        self._client = Client(self._origin)
        self._authorization = ""

    def __str__(self) -> str:
        return f"oci://{self.host}/{self.repository}"

    def has_blob(self, digest: str) -> bool:
        """Whether the blob exists and is complete."""
        return self._ask("HEAD", f"{self.base}/blobs/{digest}", allowed=(200, 404)).code == 200

    def put_blob(self, digest: str, data: bytes) -> None:
        """Store a blob."""
        begun = self._ask("POST", f"{self.base}/blobs/uploads/", allowed=(202,))
        try:
            place = join_address(begun)
        except AddressError as error:
            raise self._misdirected(error) from None
        place += f"{'&' if '?' in place else '?'}{urlencode({'digest': digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", place, data=data, headers=headers, allowed=(201,))

    def find_tag(self, tag: str) -> Tagged | None:
        """Get the manifest with that tag."""
        found = self.get_manifest(tag)
        return Tagged(digest_of(found), version_of(found)) if found is not None else None

    def get_manifest(self, tag: str) -> bytes | None:
        """Get the bytes of the manifest with that tag."""
        return self._get_tagged(tag, MANIFEST)

    def _get_tagged(self, tag: str, kind: str) -> bytes | None:
        found = self._ask("GET", f"{self.base}/manifests/{tag}", headers={"Accept": kind}, allowed=(200, 404))
        return found.body if found.code == 200 else None

    def get_blob(self, digest: str) -> bytes:
        """Get a small blob, and check its bytes.

        Raises:
            PublishError: it is missing, too large, or has other bytes.
        """
        found = self._ask("GET", f"{self.base}/blobs/{digest}", allowed=(200,))
        if digest_of(found.body) != digest:
            raise self._problem(f"serves other bytes than {digest}")
        return found.body

    def setting_tags(self) -> AbstractContextManager[None]:
        """Do nothing: a registry has no lock, so another client may set a tag between its check and its change."""
        return nullcontext()

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        """Store a manifest under a tag."""
        headers = {"Content-Type": MANIFEST}
        self._ask("PUT", f"{self.base}/manifests/{tag}", data=manifest, headers=headers, allowed=(201,))

    def find_referrers(self, subject: str, digests: Collection[str]) -> set[str]:
        """Find which of these manifests are attached to a subject already."""
        if self._lists_referrers(subject):  # its list may have pages: each is asked for by its digest
            return {digest for digest in digests if self._has_manifest(digest)}
        listed = {str(entry["digest"]) for entry in self._fallback(subject)["manifests"]}
        return listed & {*digests}

    def put_referrers(self, subject: str, referrers: Sequence[Referrer]) -> None:
        """Attach manifests; where the registry keeps no list of them, a tag does, as the specification says."""
        unlisted = []
        for each in referrers:
            url, headers = f"{self.base}/manifests/{each.digest}", {"Content-Type": MANIFEST}
            answer = self._ask("PUT", url, data=each.manifest, headers=headers, allowed=(201,))
            if answer.headers.get("OCI-Subject") != subject:
                unlisted.append(each)
        if not unlisted:
            return
        index = self._fallback(subject)  # other tools' entries stay; another client may write it at the same time
        named = {str(entry["digest"]) for entry in index["manifests"]}
        index["manifests"] += [each.entry for each in unlisted if each.digest not in named]
        url, headers = f"{self.base}/manifests/{_fallback_tag(subject)}", {"Content-Type": INDEX}
        self._ask("PUT", url, data=as_json(index), headers=headers, allowed=(201,))

    def _lists_referrers(self, subject: str) -> bool:
        """Whether the registry has the referrers API: then it has a list for every digest, even an empty one."""
        url = f"{self.base}/referrers/{subject}"
        answer = self._ask("GET", url, headers={"Accept": INDEX}, allowed=(200, 404, 405))
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return answer.code == 200 and kind == INDEX

    def _has_manifest(self, digest: str) -> bool:
        headers = {"Accept": MANIFEST}
        return self._ask("HEAD", f"{self.base}/manifests/{digest}", headers=headers, allowed=(200, 404)).code == 200

    def _fallback(self, subject: str) -> dict[str, Any]:
        tag = _fallback_tag(subject)
        text = self._get_tagged(tag, INDEX)
        hint = "it should be an index of what is attached: ask who wrote this tag"
        return parse_index(text, f"{self}:{tag}", hint) if text is not None else new_index()

    def _ask(
        self,
        method: str,
        url: str,
        *,
        allowed: tuple[int, ...],
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """Send a request with the credentials that the registry asks for, and retry where that may help."""
        has_asked = False
        for tried in range(1, _TRIES + 2):
            try:
                answer = self._client.send(method, url, headers=headers, data=data, authorization=self._authorization)
            except AddressError as error:
                raise self._misdirected(error) from None
            except AnswerError as error:
                raise self._problem(str(error)) from None
            except requests.exceptions.SSLError:
                what = "its TLS certificate is not trusted (REQUESTS_CA_BUNDLE names a site's own CA)"
                raise self._problem(what) from None
            except requests.RequestException as error:
                if tried >= _TRIES:
                    raise self._problem(f"cannot be reached ({_why(error)}, {tried} tries)") from None
                time.sleep(0.25 * 2**tried)
                continue
            if answer.code in allowed:
                return answer
            if answer.code == 401 and not has_asked and origin_of(answer.url) == self._origin:
                has_asked = True
                self._authorization = self._authorise(answer.headers.get("WWW-Authenticate", ""))
                continue
            if answer.code in (429, 500, 502, 503, 504) and tried < _TRIES:
                time.sleep(0.25 * 2**tried)
                continue
            raise self._refused(answer)
        raise self._problem("cannot be reached")

    def _authorise(self, challenge: str) -> str:
        """Make the Authorization header for a challenge."""
        known = find_credentials(self.host)
        basic = f"Basic {base64.b64encode(known.encode()).decode()}" if known else ""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return basic
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.pop("realm", "")
        if scheme.lower() != "bearer" or not realm:
            return ""
        fields["scope"] = f"repository:{self.repository}:{self.access}"
        try:
            url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}"
            answer = self._client.send("GET", url, authorization=basic, owner=origin_of(realm))
        except AddressError as error:
            raise self._misdirected(error) from None
        except AnswerError as error:
            raise self._problem(f"its token service {error}") from None
        except requests.RequestException:
            raise self._problem("its token service does not answer") from None
        if not 200 <= answer.code < 300:
            return ""
        tokens = parse_as(_Tokens, answer.body, where=f"{self}: its token service's answer", error=PublishError)
        found = tokens.token or tokens.access_token or ""
        return f"Bearer {found}" if found else ""

    def _refused(self, answer: Answer) -> PublishError:
        elsewhere = origin_of(answer.url)
        if elsewhere != self._origin:  # its text is for that server's operators
            return self._problem(f"redirects to {elsewhere}, which answers HTTP {answer.code}")
        if answer.code in (401, 403):
            access = self.access.rpartition(",")[2]
            known = "it refused the credentials" if find_credentials(self.host) else "there are no credentials for it"
            return PublishError(
                f"not authorised (HTTP {answer.code}): {known}",
                where=str(self),
                hint=f"run docker login {self.host} (or set DOCKER_CONFIG=FOLDER) with {access} access",
            )
        try:
            errors = parse_as(_Errors, answer.body, where="", error=PublishError).errors[: limits.SHOWN_CODES]
            said = "; ".join(as_text(error.code, 100) for error in errors)
        except PublishError:  # no text, or not in the form of a registry
            said = ""
        return self._problem(f"answers HTTP {answer.code} {said}".rstrip())

    def _problem(self, what: str) -> PublishError:
        hint = "run the same command again: it resumes, what has arrived stays there"
        return PublishError(what, where=str(self), hint=hint)

    def _misdirected(self, error: AddressError) -> PublishError:
        hint = "ask the operators of the registry for https without redirects to http"
        return PublishError(str(error), where=str(self), hint=hint)


def _fallback_tag(subject: str) -> str:
    """The tag of the index of what is attached to a digest: the "referrers tag schema" of the specification."""
    return subject.replace(":", "-")


def _why(error: Exception) -> str:
    text = str(error)
    for found, why in (("refused", "connection refused"), ("resolve", "unknown host"), ("timed out", "no answer")):
        if found in text:
            return why
    return "the connection was cut"
