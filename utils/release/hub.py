"""Publishing to Hugging Face, or to what speaks its protocol (``HF_ENDPOINT``): one repository a model.

The token comes from where huggingface_hub looks for it (``HF_TOKEN``, ``hf auth login``), and goes to the hub only.
Large files go by git-lfs, of which the hub takes no file twice: a publish that was cut goes on where it was.
``main`` holds the latest release; an older one, or a pre-release, is committed beside it and tagged.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import PublishError
from utils.release import pack
from utils.release.http import AddressError, Origin, origin_of, refuse_unprotected
from utils.release.versions import precedence_of, why_not_latest

if TYPE_CHECKING:
    import httpx2

__all__ = ["publish_to_hub"]

#: Seconds of silence; a large commit keeps a hub busy.
_TIMEOUT_S = 300


def publish_to_hub(organisation: str, release: Path, index: dict[str, Any], dry_run: bool) -> None:
    """Make every model's repository hold this release, and tag it with the version.

    Raises:
        PublishError: the hub cannot be reached, or refuses, or has other files under this version.
    """
    os.environ["HF_HUB_DISABLE_XET"] = "1"  # one way to upload: the one that is tested
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import httpx2
    from huggingface_hub import HfApi, is_offline_mode, set_client_factory
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    where = f"hf://{organisation}"
    if is_offline_mode():
        raise PublishError("HF_HUB_OFFLINE is set", where=where, hint="unset it to publish")
    try:
        hub = origin_of(api.endpoint)
        refuse_unprotected(api.endpoint, hub)
    except AddressError:
        raise PublishError("HF_ENDPOINT is not https", where=where, hint="http is for this machine only") from None
    set_client_factory(lambda: _make_client(hub))
    going_on = "what has arrived stays there: the same command goes on from it"
    try:
        for model in index["models"]:
            contents = pack.published(release, index, model)
            _publish_model(api, f"{organisation}/{model}", contents, index["version"], dry_run=dry_run)
    except AddressError as error:
        raise _misdirected(error, where) from None
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        code = error.response.status_code if isinstance(error, HfHubHTTPError) else 401
        if code in (401, 403):
            what = f"not authorised (HTTP {code})"
            hint = "hf auth login, or HF_TOKEN, with the right to write there"
            raise PublishError(what, where=where, hint=hint) from None
        raise PublishError(f"the hub answers HTTP {code}", where=where, hint=going_on) from None
    except HFValidationError:
        raise PublishError("is no name of an organisation", where=where, hint="to=hf://ORG") from None
    except (httpx2.HTTPError, RuntimeError, OSError) as error:  # RuntimeError: the client's word for a failed upload
        if isinstance(error.__cause__, AddressError):
            raise _misdirected(error.__cause__, where) from None
        raise PublishError(f"the hub cannot be reached ({type(error).__name__})", where=where, hint=going_on) from None


def _make_client(hub: Origin) -> httpx2.Client:
    """The client of huggingface_hub, which passes every request and redirect through a check."""
    import httpx2

    def check_hop(request: httpx2.Request) -> None:
        if refuse_unprotected(str(request.url), hub) != hub:
            request.headers.pop("Authorization", None)

    return httpx2.Client(
        event_hooks={"request": [check_hop]},
        follow_redirects=True,
        timeout=httpx2.Timeout(_TIMEOUT_S, connect=10),
        mounts={"http://": None},  # it stays on this machine: no proxy gets the token
    )


def _misdirected(error: Exception, where: str) -> PublishError:
    return PublishError(f"the hub {error}", where=where, hint="ask those who run it for one that stays on https")


def _publish_model(api: Any, repository: str, contents: dict[str, bytes], version: str, *, dry_run: bool) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    place = f"hf://{repository}:{version}"
    released = _find_files(api, repository, version)
    if released is not None and not _find_differences(contents, released):
        print(f"{place}: nothing to do", flush=True)
        return
    if released is not None:
        hint = "a published version does not change: publish a new one"
        raise PublishError("this version is there, with other files", where=place, hint=hint)
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


def _find_latest(api: Any, repository: str) -> str | None:
    """The newest release among a repository's tags, pre-releases apart."""
    tags = [tag.name for tag in api.list_repo_refs(repository).tags]
    ranked = [(rank, tag) for tag in tags if "-" not in tag and (rank := precedence_of(tag))]
    return max(ranked)[1] if ranked else None


def _find_files(api: Any, repository: str, revision: str) -> dict[str, str] | None:
    """File name -> sha256 (large files) or git's sha1 of what a repository holds; None where there is no such tag."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = api.repo_info(repository, revision=revision, files_metadata=True)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None
    return {
        file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id
        for file in found.siblings
        if file.rfilename != ".gitattributes"
    }


def _find_differences(contents: dict[str, bytes], there: dict[str, str]) -> list[str]:
    """Names that are missing, other, or too many in a repository."""
    same = {
        name
        for name, data in contents.items()
        if there.get(name)
        in (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())  # noqa: S324  # git's
    }
    return sorted((contents.keys() | there.keys()) - same)
