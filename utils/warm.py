"""The warm parent: imports TensorFlow once, and forks into each step that computes with it.

``python -m utils.warm SOCKET`` is started by ``utils/front/running.py`` with the pins. Every step gets a copy of the
same memory, in which nothing but the import has happened: what a step writes depends on no step before it. It ends
when doit does, and takes its steps along.

A request is one packet: JSON ``{"module": ..., "words": [...]}`` and four descriptors: for stdout, stderr, events and
the answer. The answer is ``+`` when the step has started, then its exit code as a subprocess.Popen tells it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
from typing import Any, NoReturn

from utils import timing
from utils.events import PIPE, name_pipe
from utils.lifeline import die_with

#: How many descriptors come with a request, which is never longer than so many bytes.
_DESCRIPTORS, _REQUEST_BYTES = 4, 1 << 16


def _main() -> dict[str, Any]:
    """Serve until doit ends; returns only in a forked process, with the request that it is to carry out."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group: the steps end, and then doit
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for a process that has given its answer
    _import_tensorflow(control)
    timing.tell("warm parent")
    ours = str(os.getpid())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, _DESCRIPTORS)
        if not packet:
            sys.exit()
        if not os.fork():
            die_with(ours)
            control.close()
            return _become(json.loads(packet), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _import_tensorflow(control: socket.socket) -> None:
    """Import TensorFlow; ends the process as soon as doit is gone.

    Keras imports Matplotlib, whose settings of the user are not ours.
    """
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(control, done))
    watcher.start()
    os.environ["MPLCONFIGDIR"] = folder = tempfile.mkdtemp()
    try:
        importlib.import_module("tensorflow").keras  # noqa: B018  # it is imported when it is first asked for
    finally:
        del os.environ["MPLCONFIGDIR"]
        shutil.rmtree(folder, ignore_errors=True)
        done.set()
        watcher.join()  # only the forking thread lives on in a fork


def _watch(control: socket.socket, done: threading.Event) -> None:
    hung_up = select.poll()
    hung_up.register(control, 0)
    while not done.wait(0.1):
        if hung_up.poll(0):
            os._exit(0)


def _become(request: dict[str, Any], out: int, err: int, events: int, answer: int) -> dict[str, Any]:
    """Fork once more: this process waits and answers, the other returns and is the step."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    waits = str(os.getpid())
    step = os.fork()
    if step:
        for descriptor in (out, err, events):
            os.close(descriptor)
        _answer(step, answer)
    die_with(waits)  # whatever the step is, and before it has begun
    os.close(answer)
    for descriptor, standard in ((out, 1), (err, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    # The parent's streams were made for other files.
    said, complained = open(1, "w", encoding="utf-8"), open(2, "w", 1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    vars(sys).update(stdout=said, __stdout__=said, stderr=complained, __stderr__=complained)
    os.set_inheritable(events, True)  # the step may start anew, as another program
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["ZOO_PARENT"] = waits
    os.environ[PIPE] = name_pipe(events)
    return request


def _answer(step: int, answer: int) -> NoReturn:
    os.write(answer, b"+")
    code = os.waitstatus_to_exitcode(os.waitpid(step, 0)[1])
    with contextlib.suppress(OSError):  # doit is gone
        os.write(answer, str(code).encode())
    os._exit(0)


if __name__ == "__main__":
    wanted = _main()
    # Our code is read by the step itself: it may have changed since this parent started.
    for name in [name for name in sys.modules if name.split(".")[0] == "utils"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.argv = [wanted["module"], *wanted["words"]]
    runpy.run_module(wanted["module"], run_name="__main__", alter_sys=True)
