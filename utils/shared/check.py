"""Check: whether a server is fit to be a step cache, and how to mend what is not (``doit steps:check``).

It stores two small entries of its own, named by chance, and leaves them there: the protocol removes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from utils.errors import CorruptError, SourceError, UsageError
from utils.shared.action import ActionResult, parse_result
from utils.shared.http import ServerError, Store
from utils.shared.settings import Settings
from utils.shared.trust import Signer, Trusted, digest_of

__all__ = ["Finding", "check_server", "find_problems"]


@dataclass(frozen=True)
class Finding:
    """What one test has shown.

    Attributes:
        state: ``ok``; ``note``: worth knowing; ``wrong``: to be mended.
        what: in one sentence.
        hint: how to mend it.
    """

    state: Literal["ok", "note", "wrong"]
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.state:<6}{self.what}" + (f"\n      -> {self.hint}" if self.hint else "")


def check_server(settings: Settings, say: Callable[[str], object]) -> None:
    """Test the server, and say what each test has shown.

    Raises:
        UsageError: no step cache is named, or a key cannot be used.
        SourceError: something is wrong with it.
    """
    if not settings.server:
        raise UsageError("no step cache is named", where="ZOO_STEPS", hint="set ZOO_STEPS=https://...")
    say(f"step cache {settings.label}")
    wrong = 0
    for finding in find_problems(settings):
        say(str(finding))
        wrong += finding.state == "wrong"
    if wrong:
        things = "one thing is" if wrong == 1 else f"{wrong} things are"
        raise SourceError(
            f"{things} to be mended", where=settings.label, hint="see above, and docs/how-to/share-steps.md"
        )


def find_problems(settings: Settings) -> Iterator[Finding]:
    """Test reading, then writing, overwriting and who may write, then the keys."""
    store, stranger = Store(settings), Store(settings, anonymous=True)
    entry = _Entry()
    found = _try(partial(store.read_result, entry.key))
    if isinstance(found, ServerError):
        yield Finding("wrong", f"it cannot be read: {found.why}", found.hint or "check the address, and the network")
        return
    if found is not None:
        hint = "set ZOO_STEPS to the folder above /ac and /cas"
        yield Finding("wrong", "it answers for an entry that nobody has stored: this is no step cache", hint)
        return
    yield Finding("ok", "it can be read")
    yield _check_stranger(stranger)
    if settings.writes:
        yield from _check_writing(store, entry, signs=settings.public is not None)
    else:
        yield Finding("note", "writing was not tested", "ZOO_STEPS_WRITE=1 doit steps:check tests it")
    yield from _check_keys(settings)


class _Entry:
    """A result and its one file, of which nobody has heard before."""

    def __init__(self) -> None:
        self.key, self.content = secrets.token_hex(32), secrets.token_bytes(64)
        self.digest = digest_of(self.content)
        self.result = ActionResult({"check": self.digest}, worker="doit steps:check").dump()


def _try(ask: Callable[[], object]) -> object:
    """The answer; or the error of the server."""
    try:
        return ask()
    except ServerError as error:
        return error


def _check_stranger(stranger: Store) -> Finding:
    """Without credentials nothing may be stored: neither a file, nor a result."""
    entry, refused = _Entry(), ServerError("")
    for kind, write in (
        ("cas", partial(stranger.put_blob, entry.digest, entry.content)),
        ("ac", partial(stranger.write_result, entry.key, entry.result)),
    ):
        found = _try(write)
        if not isinstance(found, ServerError):
            hint = "let it ask for a password or a certificate for PUT: docker/cluster/nginx.conf does"
            return Finding("wrong", f"anyone may write: no credentials were asked for, at /{kind}/", hint)
        if found.code not in (401, 403, 405, 407):
            return Finding("note", f"writing without credentials failed in another way: {found.why}", found.hint)
        refused = found
    return Finding("ok", f"it refuses writing without credentials: {refused.why}")


def _check_writing(store: Store, entry: _Entry, *, signs: bool) -> Iterator[Finding]:
    """An entry is stored, comes back as it was, and stays as it is."""
    for what, write in (
        ("a file", partial(store.write_small, entry.digest, entry.content)),
        ("a result", partial(store.write_result, entry.key, entry.result)),
    ):
        found = _try(write)
        if isinstance(found, ServerError):
            yield Finding("wrong", f"{what} cannot be written: {found.why}", found.hint)
            return
    if not _comes_back(store, entry):
        yield Finding("wrong", "what is written does not come back as it was", "look for a proxy or filter before it")
        return
    yield Finding("ok", "it can be written, and gives back what was written")
    other = ActionResult({"check": digest_of(b"other")}, worker="doit steps:check").dump()
    _try(partial(store.write_result, entry.key, other))
    if _comes_back(store, entry):
        yield Finding("ok", "it refuses overwriting")
    elif signs:
        hint = "signed results cannot be replaced by others, only made useless; a server that writes once is better"
        yield Finding("note", "it lets a result be overwritten", hint)
    else:
        hint = "let it answer PUT with 409 where there is an entry (docker/cluster/nginx.conf), or set ZOO_STEPS_PUBKEY"
        yield Finding("wrong", "it lets a result be overwritten", hint)
    if not isinstance(_try(partial(store.put_blob, digest_of(secrets.token_bytes(64)), b"other bytes")), ServerError):
        yield Finding("note", "it does not compare a file with its hash; every reader does")


def _comes_back(store: Store, entry: _Entry) -> bool:
    try:
        data = store.read_result(entry.key)
        if data is None or parse_result(data, ["check"], "").files != {"check": entry.digest}:
            return False
        return store.read_small(entry.digest) == entry.content
    except (CorruptError, ServerError):
        return False


def _check_keys(settings: Settings) -> Iterator[Finding]:
    """What this machine signs, it has to trust; and it has to trust something."""
    trusted = Trusted(settings.public) if settings.public else None
    if trusted is None:
        hint = "set ZOO_STEPS_PUBKEY=FILE: then only results count that a key in it has signed"
        yield Finding("note", "every result is taken, also an unsigned one", hint)
    if settings.key:
        signer = Signer(settings.key)
        if trusted is not None and signer.fingerprint not in trusted:
            hint = "openssl ec -in KEY -pubout >>PUBKEY"
            yield Finding("wrong", f"this machine signs with {signer.fingerprint}, which it does not trust", hint)
        else:
            yield Finding("ok", f"this machine signs with {signer.fingerprint}")
    elif settings.writes:
        yield Finding("note", "this machine does not sign what it writes", "set ZOO_STEPS_KEY=FILE")
