"""Publish to Hugging Face, or to a hub with the same protocol (``HF_ENDPOINT``): one repository for each model.

The token comes from the places of huggingface_hub (``HF_TOKEN``, ``hf auth login``), and goes only to the hub. Large
files use git-lfs, and the hub accepts no file twice: so an interrupted publish resumes.
``main`` holds the latest release; an older one, or a pre-release, is committed beside it and tagged.
Statements about rebuilds are in ``rebuilds/``. A tag does not move: those that come later are added to ``main``.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.attest.rebuilds import is_statement_name
from utils.errors import PublishError, ReleaseError
from utils.release import pack, provenance, rebuilds
from utils.release.answers import AnswerError, allowed_s, join_chunks, within
from utils.release.http import AddressError, Origin, origin_of, refuse_unprotected
from utils.release.rebuilds import Statement
from utils.release.versions import precedence_of, why_not_latest

if TYPE_CHECKING:
    import httpx2

__all__ = ["add_to_hub", "publish_to_hub"]

_GOING_ON = "run the same command again: it resumes, what has arrived stays there"

_DOUBT = "do not use it; ask who published it"
_REMOVE = "remove it, or name the release that it is about"

#: The folder of statements in a repository; what signs the other files does not cover it.
_REBUILDS = "rebuilds/"

#: Headers of a hub that are ignored: the wait is our choice, and warnings would be printed unescaped.
_UNHEARD = ("retry-after", "ratelimit", "ratelimit-policy", "x-hf-warning", "content-encoding", "content-length")

#: Most redirects of one request.
_HOPS = 5

#: Seconds of silence; a large commit keeps a hub busy.
_TIMEOUT_S = 300


def publish_to_hub(
    organisation: str,
    release: Path,
    index: dict[str, Any],
    dry_run: bool,
    statements: dict[str, list[Statement]] | None = None,
) -> None:
    """Put this release into every model's repository, with the statements about it, and tag it with the version.

    Raises:
        PublishError: the hub cannot be reached, or refuses, or has other files under this version.
    """
    with _connecting(organisation) as api:
        for model in index["models"]:
            contents = pack.published(release, index, model)
            added = (statements or {}).get(model, [])
            with _understanding(f"hf://{organisation}/{model}"):
                _publish_model(api, f"{organisation}/{model}", contents, added, index["version"], dry_run=dry_run)


def add_to_hub(organisation: str, model: str, version: str, statements: list[Statement], dry_run: bool) -> None:
    """Add statements about a published version to a model's repository.

    Raises:
        PublishError: the version is not published, is of another commit, has other files, or is not the one in
            ``main``; a statement takes back what its key has said there; or the hub refuses.
    """
    repository = f"{organisation}/{model}"
    place = f"hf://{repository}:{version}"
    with _connecting(organisation) as api, _understanding(f"hf://{repository}"):
        released = _find_files(api, repository, version)
        if released is None:
            raise PublishError("this version is not published", where=place, hint="publish it first, with version=")
        # git-lfs holds every .tflite file, so each sum is a sha256; what is in folders is compiled from these
        artifacts = {name: sha256 for name, sha256 in released.items() if _is_artifact(name)}
        for statement in statements:
            rebuilds.require_fit(statement, version, artifacts, where=place)
        texts = {file: _read_provenance(api, repository, version, released, file) for file in artifacts}
        digests = {f"provenance/{file}.json": hashlib.sha256(text).hexdigest() for file, text in texts.items()}
        for statement in statements:
            commit = statement.facts.commit
            for file, text in texts.items():
                if wrong := provenance.find_faults(provenance.check(text), file, artifacts[file], commit):
                    what = f"is about commit {commit[:12]}, and the provenance of {file} {wrong[0]}"
                    raise PublishError(what, where=f"{place}: {statement.name}", hint=_REMOVE)
            rebuilds.require_fit(statement, version, artifacts, provenance=digests, where=place)
        if reason := _add_rebuilds(api, repository, version, released, statements, dry_run=dry_run):
            hint = "a tag does not move: pass the statements on in another way, or publish to a registry"
            raise PublishError(reason, where=place, hint=hint)


def _is_artifact(name: str) -> bool:
    return name.lower().endswith(".tflite") and "/" not in name


def _read_provenance(api: Any, repository: str, version: str, released: dict[str, str], file: str) -> bytes:
    """Read the published provenance of an artifact, and check its form.

    Raises:
        PublishError: it is missing, has other bytes than the hub lists, or is malformed.
    """
    name = f"provenance/{file}.json"
    where = f"hf://{repository}:{version}: {name}"
    if name not in released:
        raise PublishError("is not published: nothing says which commit was built", where=where, hint=_DOUBT)
    text = _read_file(api, repository, version, name, released[name])
    try:
        provenance.check(text)
    except ReleaseError as error:
        raise PublishError(error.what, where=where, hint=_DOUBT) from None
    return text


def _read_file(api: Any, repository: str, revision: str, name: str, digest: str) -> bytes:
    """Read a small file of a repository, within the bounds of ``_make_client``, and compare it with its sum.

    Raises:
        PublishError: the sum is another one.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    address = hf_hub_url(repository, name, revision=revision, endpoint=api.endpoint)
    answer = get_session().get(address, headers=build_hf_headers())
    hf_raise_for_status(answer)
    data: bytes = answer.content
    if not _fits(data, digest):
        raise PublishError(
            "has other bytes than the hub lists", where=f"hf://{repository}:{revision}: {name}", hint=_GOING_ON
        )
    return data


@contextmanager
def _connecting(organisation: str) -> Iterator[Any]:
    """The hub's client, which talks to nobody else; its errors become ours.

    Raises:
        PublishError: the hub cannot be reached, or refuses.
    """
    os.environ["HF_HUB_DISABLE_XET"] = "1"  # only the tested way to upload
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import httpx2
    from huggingface_hub import HfApi, is_offline_mode, set_client_factory
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
    from huggingface_hub.utils import logging

    api = HfApi()
    where = f"hf://{organisation}"
    if is_offline_mode():
        raise PublishError("HF_HUB_OFFLINE is set", where=where, hint="unset it to publish")
    try:
        hub = origin_of(api.endpoint)
        refuse_unprotected(api.endpoint, hub)
    except AddressError:
        raise PublishError(
            "HF_ENDPOINT is not https", where=where, hint="use https; http is for this machine only"
        ) from None
    set_client_factory(lambda: _make_client(hub))
    logging.set_verbosity(logging.CRITICAL)  # it would print the hub's text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the hub's text, too
            yield api
    except AnswerError as error:
        raise _misbehaved(error, where) from None
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        code = error.response.status_code if isinstance(error, HfHubHTTPError) else 401
        if code in (401, 403):
            what = f"not authorised (HTTP {code})"
            hint = "run hf auth login, or set HF_TOKEN, with write access"
            raise PublishError(what, where=where, hint=hint) from None
        raise PublishError(f"the hub answers HTTP {code}", where=where, hint=_GOING_ON) from None
    except HFValidationError:
        raise PublishError("is not the name of an organisation", where=where, hint="to=hf://ORG") from None
    except (httpx2.HTTPError, RuntimeError, OSError) as error:  # RuntimeError: the client raises it for a failed upload
        if isinstance(error.__cause__, AnswerError):
            raise _misbehaved(error.__cause__, where) from None
        raise PublishError(f"the hub cannot be reached ({type(error).__name__})", where=where, hint=_GOING_ON) from None


def _make_client(hub: Origin) -> httpx2.Client:
    """The client of huggingface_hub, with a check of every request and redirect."""
    import httpx2

    def check_hop(request: httpx2.Request) -> None:
        if refuse_unprotected(str(request.url), hub) != hub:
            request.headers.pop("Authorization", None)

    class Bounded(httpx2.Client):  # type: ignore[misc]  # which is Any to mypy
        """Reads each answer completely, within bounds, before it is used."""

        def send(self, request: httpx2.Request, **named: Any) -> httpx2.Response:
            follows = named.get("follow_redirects", True) is not False
            for _ in range(_HOPS + 1):
                hop = partial(self._send_once, request, named | {"stream": True, "follow_redirects": False})
                answer = within(allowed_s(int(request.headers.get("Content-Length") or 0)), hop)
                if not follows or answer.next_request is None:
                    return answer
                request = answer.next_request
            raise AddressError(f"redirects more than {_HOPS} times")

        def _send_once(self, request: httpx2.Request, named: dict[str, Any]) -> httpx2.Response:
            answer = super().send(request, **named)
            try:
                body = join_chunks(answer.iter_raw())
            finally:
                answer.close()
            headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _UNHEARD]
            whole = httpx2.Response(answer.status_code, headers=headers, content=body, request=answer.request)
            whole.next_request = answer.next_request
            return whole

    return Bounded(
        headers={"Accept-Encoding": "identity"},  # compressed, a small body could become a large one
        event_hooks={"request": [check_hop]},
        timeout=httpx2.Timeout(_TIMEOUT_S, connect=10),
        mounts={"http://": None},  # on this machine: no proxy gets the token
    )


def _misbehaved(error: AnswerError, where: str) -> PublishError:
    hint = (
        "ask the operators of the hub for https without redirects to http"
        if isinstance(error, AddressError)
        else _GOING_ON
    )
    return PublishError(f"the hub {error}", where=where, hint=hint)


@contextmanager
def _understanding(where: str) -> Iterator[None]:
    """Report an answer of the hub whose keys or types are not the expected ones.

    Raises:
        PublishError: they are not.
    """
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError:  # our own text, and a ValueError
        raise
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        what = f"the hub's answer is not the expected one ({type(error).__name__})"
        raise PublishError(what, where=where, hint="ask the operators of the hub; HF_ENDPOINT names it") from None


def _publish_model(
    api: Any, repository: str, contents: dict[str, bytes], added: list[Statement], version: str, *, dry_run: bool
) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    place = f"hf://{repository}:{version}"
    released = _find_files(api, repository, version)
    if released is not None and not _find_differences(contents, _without_rebuilds(released)):
        print(f"{place}: nothing to do", flush=True)
        if added and (reason := _add_rebuilds(api, repository, version, released, added, dry_run=dry_run)):
            print(f"{place}: no rebuilds added: {reason}", flush=True)
        return
    if released is not None:
        hint = "publish a new version: a published one does not change"
        raise PublishError("this version is already published, with other files", where=place, hint=hint)
    contents = contents | {f"{_REBUILDS}{each.name}": each.text for each in added}
    there = _find_files(api, repository, "main")
    reason = why_not_latest(version, _find_latest(api, repository) if there is not None else None)
    main = f"main stays: {reason}" if reason else f"main {'would be' if dry_run else 'is'} {version}"
    changed = _find_differences(contents, there or {})
    if dry_run:
        size = sum(len(contents[name]) for name in changed if name in contents)
        print(f"{place}: {len(changed)} files would be changed ({size:,} bytes); {main}", flush=True)
        return
    if there is None:
        api.create_repo(repository, exist_ok=True)
    branch = f"release-{version}" if reason else "main"
    if reason:
        api.create_branch(repository, branch=branch, exist_ok=True)
        changed = _find_differences(contents, _find_files(api, repository, branch) or {})
    size = sum(len(contents[name]) for name in changed if name in contents)
    operations: list[Any] = [
        CommitOperationAdd(name, contents[name]) if name in contents else CommitOperationDelete(name)
        for name in changed
    ]
    if operations:
        api.create_commit(repository, operations, commit_message=f"Release {version}", revision=branch)
    api.create_tag(repository, tag=version, revision=branch, exist_ok=True)
    if reason:
        api.delete_branch(repository, branch=branch)  # the tag keeps its commit
    print(f"{place}: {len(changed)} files changed ({size:,} bytes); {main}", flush=True)


def _add_rebuilds(
    api: Any, repository: str, version: str, released: dict[str, str], statements: list[Statement], *, dry_run: bool
) -> str:
    """Add statements to ``main`` while it holds the version; returns why not, or nothing.

    Raises:
        PublishError: one must not replace what is there.
    """
    from huggingface_hub import CommitOperationAdd

    main = _find_files(api, repository, "main") or {}
    if _without_rebuilds(main) != _without_rebuilds(released):
        return "main holds another release"

    def read(statement: Statement) -> bytes | None:
        digest = main.get(name := f"{_REBUILDS}{statement.name}", "")
        if _fits(statement.text, digest):
            return statement.text
        return _read_file(api, repository, "main", name, digest) if digest else None

    new, older = rebuilds.select_new(statements, read, f"hf://{repository}:main/{_REBUILDS.rstrip('/')}")
    if new and not dry_run:
        operations = [CommitOperationAdd(f"{_REBUILDS}{each.name}", each.text) for each in new]
        api.create_commit(repository, operations, commit_message=f"Add rebuilds of {version}", revision="main")
    done = rebuilds.describe_added(len(new), older, dry_run=dry_run)
    print(f"hf://{repository}:{version}: rebuilds: {done}", flush=True)
    return ""


def _without_rebuilds(there: dict[str, str]) -> dict[str, str]:
    """Leave out the statements, and nothing else that somebody put into their folder."""
    return {
        name: digest
        for name, digest in there.items()
        if not (name.startswith(_REBUILDS) and is_statement_name(name.removeprefix(_REBUILDS)))
    }


def _find_latest(api: Any, repository: str) -> str | None:
    """Find the newest release among a repository's tags, without pre-releases."""
    tags = [tag.name for tag in api.list_repo_refs(repository).tags]
    ranked = [(rank, tag) for tag in tags if "-" not in tag and (rank := precedence_of(tag))]
    return max(ranked)[1] if ranked else None


def _find_files(api: Any, repository: str, revision: str) -> dict[str, str] | None:
    """List a repository: file name -> sha256 (large files) or git's sha1; None if the tag does not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = api.repo_info(repository, revision=revision, files_metadata=True)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None
    files = {
        file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id
        for file in found.siblings
        if file.rfilename != ".gitattributes"
    }
    if not all(isinstance(text, str) for pair in files.items() for text in pair):
        raise TypeError("names and sums are text")
    return files


def _find_differences(contents: dict[str, bytes], there: dict[str, str]) -> list[str]:
    """Find names that are missing, changed or surplus in a repository."""
    same = {name for name, data in contents.items() if _fits(data, there.get(name, ""))}
    return sorted((contents.keys() | there.keys()) - same)


def _fits(data: bytes, digest: str) -> bool:
    """Whether a file has the sum that a hub lists: sha256 of large files, or git's sha1."""
    git = hashlib.sha1(b"blob %d\0" % len(data) + data)  # noqa: S324  # git's
    return digest in (hashlib.sha256(data).hexdigest(), git.hexdigest())
