"""The link to a scheduler: a program in the engine's environment, which has Dask and none of our packages.

``python -m utils.shared.link`` is started by ``utils/shared/engine.py``. Both talk in lines of JSON. First comes
``{"address", "certificate"}``, the latter the paths of the CA, the certificate and its key, or none; the answer is
``ready``, or ``lost``. Then each line asks for one program: ``{"id", "name", "command", "input", "avoid"}``, and the
answers come in any order:

    {"id", "kind": "done", "code", "out", "err"}   the program ended
    {"id", "kind": "failed", "why"}                no worker could run it to its end
    {"id", "kind": "nobody"}                       every worker is in ``avoid``
    {"kind": "waits"}                              there is no worker; it goes on waiting
    {"kind": "lost", "why"}                        the scheduler is gone; nothing follows

What travels is ``subprocess.run`` and strings: a worker needs no code of ours to take a task. It ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

#: Seconds to reach the scheduler.
_CONNECT_S = 20

#: Seconds between two looks at who is there.
_LOOK_S = 5.0


@dataclass(eq=False)
class _Asked:
    """One program that is to run.

    Attributes:
        words: the line that asked for it.
        future: Dask's; a new one each time it is sent.
        allowed: the addresses that may run it; none: all.
        sent: how often it was sent.
    """

    words: dict[str, Any]
    future: Any = None
    allowed: set[str] = field(default_factory=set)
    sent: int = 0


class _Link:
    """A client of the scheduler."""

    def __init__(self, client: Any, out: Any) -> None:
        self._client, self._out = client, out
        self._pending: dict[int, _Asked] = {}
        self._lock = threading.RLock()
        self._has_workers = True

    def tell(self, **answer: Any) -> None:
        """Write a line; the reader may be gone."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._out.write(json.dumps(answer) + "\n")
            self._out.flush()

    def ask(self, words: dict[str, Any]) -> None:
        """Have a program run on some worker."""
        self._send(_Asked(words))

    def _send(self, asked: _Asked) -> None:
        number, avoid = asked.words["id"], {*asked.words["avoid"]}
        if avoid:
            asked.allowed = {address for address, name in self._workers().items() if name not in avoid}
            if not asked.allowed:
                self.tell(id=number, kind="nobody")
                return
        asked.sent += 1
        with self._lock:
            self._pending[number] = asked
            asked.future = self._client.submit(
                subprocess.run, asked.words["command"], input=asked.words["input"], capture_output=True, text=True,
                encoding="utf-8", errors="backslashreplace", pure=False, workers=sorted(asked.allowed) or None,
                key=f"{asked.words['name']}-{self._client.id[-8:]}{number}.{asked.sent}",
            )  # fmt: skip
        asked.future.add_done_callback(partial(self._end, number))

    def _end(self, number: int, future: Any) -> None:
        """Say how a program ended; Dask calls it in a thread of its own."""
        with self._lock:
            asked = self._pending.get(number)
            if asked is None or asked.future is not future:  # it was sent again
                return
            del self._pending[number]
        if future.status == "finished":
            try:
                done = future.result(timeout=_CONNECT_S)
                self.tell(id=number, kind="done", code=done.returncode, out=done.stdout, err=done.stderr)
            except Exception as error:  # the worker died before it had sent its result
                self.tell(id=number, kind="failed", why=_describe(error))
        elif future.status == "error":
            self.tell(id=number, kind="failed", why=_describe(future.exception()))
        else:
            self.lose("the connection to the scheduler was lost")

    def lose(self, why: str) -> NoReturn:
        """Say that the scheduler is gone, and end."""
        self.tell(kind="lost", why=why)
        os._exit(0)  # from any thread: nothing here has to be kept

    def look(self) -> None:
        """Say once when there is no worker; send again what only workers may run that are gone."""
        if self._client.status != "running":
            self.lose("the connection to the scheduler was lost")
        with self._lock:
            pending = [*self._pending.values()]
        if not pending:
            return
        there = self._workers()
        if not there and self._has_workers:
            self.tell(kind="waits")
        self._has_workers = bool(there)
        for asked in pending:
            if asked.allowed and not asked.allowed & there.keys():
                gone, asked.future = asked.future, None
                gone.cancel()
                self._send(asked)

    def _workers(self) -> dict[str, str]:
        """The name of each worker, by its address."""
        found = self._client.scheduler_info(n_workers=-1)["workers"]
        return {address: str(worker["name"]) for address, worker in found.items()}


def _describe(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _watch(link: _Link, done: threading.Event) -> None:
    while not done.wait(_LOOK_S):
        try:
            link.look()
        except Exception as error:  # whatever Dask raises where the scheduler does not answer
            link.lose(_describe(error))


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group: doit ends, and this with it
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    given = json.loads(sys.stdin.readline())
    logging.disable(logging.ERROR)  # in doit's words, once
    from distributed import Client, Security

    security = None
    if given["certificate"]:
        ca, certificate, key = given["certificate"]
        security = Security(tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)
    try:
        client = Client(given["address"], security=security, timeout=_CONNECT_S, set_as_default=False)
    except Exception as error:  # no list of what it may be is documented
        out.write(json.dumps({"kind": "lost", "why": _describe(error)}) + "\n")
        out.flush()
        return
    link, done = _Link(client, out), threading.Event()
    link.tell(kind="ready")
    threading.Thread(target=_watch, args=(link, done), daemon=True).start()
    for line in sys.stdin:
        link.ask(json.loads(line))
    done.set()
    os._exit(0)  # the scheduler sees the connection close, and forgets what was asked for


if __name__ == "__main__":
    main()
