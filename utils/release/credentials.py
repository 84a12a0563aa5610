"""Credentials for a registry, as ``docker login`` stored them: in config.json, or in the helper that it names."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

from pydantic import BaseModel, Field

from utils import limits
from utils.errors import PublishError
from utils.release.answers import AnswerError, within
from utils.untrusted import parse_as, read_untrusted

__all__ = ["find_credentials"]

#: Seconds for a helper, which may prompt the user.
_HELPER_S = 30.0


class _Auth(BaseModel):
    auth: str = ""


class _Config(BaseModel):
    """The keys of a config.json that are used; Docker stores many more."""

    auths: dict[str, _Auth] = Field(default_factory=dict)
    credHelpers: dict[str, str] = Field(default_factory=dict)  # noqa: N815  # its names
    credsStore: str = ""  # noqa: N815


class _Answer(BaseModel):
    Username: str
    Secret: str


def find_credentials(host: str) -> str:
    """Find ``user:password`` for a registry; empty without a login.

    Raises:
        PublishError: config.json or the helper's answer cannot be read.
    """
    file = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if not file.exists():
        return ""
    hint = f"correct it, or move it away and run `docker login {host}`"
    text = read_untrusted(file, where=str(file), error=PublishError, hint=hint)
    config = parse_as(_Config, text, where=str(file), error=PublishError, hint=hint)
    if stored := config.auths.get(host, _Auth()).auth:
        try:
            return base64.b64decode(stored, validate=True).decode()
        except ValueError:
            raise PublishError(f"auths.{host}.auth: is not base64 of text", where=str(file), hint=hint) from None
    helper = config.credHelpers.get(host) or config.credsStore
    if not helper:
        return ""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):  # it becomes the name of a program
        raise PublishError("has a malformed name of a credential helper", where=str(file), hint=hint)
    return _ask_helper(f"docker-credential-{helper}", host)


def _ask_helper(program: str, host: str) -> str:
    try:
        process = subprocess.Popen(
            [program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:  # not installed, or not a program
        return ""
    try:
        said = within(_HELPER_S, lambda: _talk(process, host))
    except AnswerError as error:
        raise PublishError(str(error), where=program, hint=f"run `{program} get`, and check its answer") from None
    finally:
        process.kill()
        failed = process.wait() != 0
    if failed:
        return ""
    answer = parse_as(_Answer, said, where=f"{program} get", error=PublishError, hint=f"docker login {host}")
    return f"{answer.Username}:{answer.Secret}"


def _talk(process: subprocess.Popen[bytes], host: str) -> bytes:
    assert process.stdin
    assert process.stdout
    with process.stdout:
        try:
            with process.stdin:
                process.stdin.write(host.encode())
        except BrokenPipeError:  # it does not read its input
            pass
        said = process.stdout.read(limits.CREDENTIALS_BYTES + 1)
    if len(said) > limits.CREDENTIALS_BYTES:
        process.kill()
        raise AnswerError(f"answers with more than {limits.CREDENTIALS_BYTES:,} bytes")
    process.wait()
    return said
