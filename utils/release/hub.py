"""Publishing to Hugging Face, or to what speaks its protocol (``HF_ENDPOINT``): one repository a model.

The token comes from where huggingface_hub looks for it (``HF_TOKEN``, ``hf auth login``), and nowhere else. Large files
go by git-lfs, of which the hub takes no file twice: a publish that was cut goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from utils.errors import PublishError
from utils.release import pack
from utils.release.http import is_loopback

__all__ = ["publish"]


def publish(release: Path, index: dict[str, Any], organisation: str, *, dry_run: bool) -> None:
    """Make every model's repository hold this release, and tag it with the version.

    Raises:
        PublishError: the hub cannot be reached, or refuses, or has other files under this version.
    """
    os.environ["HF_HUB_DISABLE_XET"] = "1"  # one way to upload: the one that is tested
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi()
    where = f"hf://{organisation}"
    parts = urlsplit(api.endpoint)
    if parts.scheme != "https" and not is_loopback(parts.netloc):
        raise PublishError("HF_ENDPOINT is not https", where=where, hint="http is for this machine only")
    going_on = "what has arrived stays there: the same command goes on from it"
    try:
        for model in index["models"]:
            contents = pack.published(release, index, model)
            _model(api, f"{organisation}/{model}", contents, index["version"], dry_run=dry_run)
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        code = error.response.status_code if isinstance(error, HfHubHTTPError) else 401
        if code in (401, 403):
            what = f"not authorised (HTTP {code})"
            hint = "hf auth login, or HF_TOKEN, with the right to write there"
            raise PublishError(what, where=where, hint=hint) from None
        raise PublishError(f"the hub answers HTTP {code}", where=where, hint=going_on) from None
    except HFValidationError:
        raise PublishError("is no name of an organisation", where=where, hint="to=hf://ORG") from None
    except OfflineModeIsEnabled:
        raise PublishError("HF_HUB_OFFLINE is set", where=where, hint="unset it to publish") from None
    except (httpx2.HTTPError, RuntimeError, OSError) as error:  # RuntimeError: the client's word for a failed upload
        raise PublishError(f"the hub cannot be reached ({type(error).__name__})", where=where, hint=going_on) from None


def _model(api: Any, repository: str, contents: dict[str, bytes], version: str, *, dry_run: bool) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    released = _files(api, repository, version)
    if released is not None and not _differ(contents, released):
        print(f"hf://{repository}:{version}: nothing to do", flush=True)
        return
    if released is not None:
        hint = "a published version does not change: publish a new one"
        raise PublishError("this version is there, with other files", where=f"hf://{repository}:{version}", hint=hint)
    there = _files(api, repository, "main")
    changed = _differ(contents, there or {})
    add = [name for name in changed if name in contents]
    size = sum(len(contents[name]) for name in add)
    if dry_run:
        print(f"hf://{repository}:{version}: {len(changed)} files would be changed ({size:,} bytes)", flush=True)
        return
    if there is None:
        api.create_repo(repository, exist_ok=True)
    operations: list[Any] = [CommitOperationAdd(name, contents[name]) for name in add]
    operations += [CommitOperationDelete(name) for name in changed if name not in contents]
    if operations:
        api.create_commit(repository, operations, commit_message=f"Release {version}")
    api.create_tag(repository, tag=version, exist_ok=True)
    print(f"hf://{repository}:{version}: {len(changed)} files changed ({size:,} bytes)", flush=True)


def _files(api: Any, repository: str, revision: str) -> dict[str, str] | None:
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


def _differ(contents: dict[str, bytes], there: dict[str, str]) -> list[str]:
    """Names that are missing, other, or too many in a repository."""
    same = {
        name
        for name, data in contents.items()
        if there.get(name)
        in (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())  # noqa: S324  # git's
    }
    return sorted((contents.keys() | there.keys()) - same)
