"""``python -m utils.catalogue``: make the site of all bundles in ``artifacts/``, and serve it for looking.

``--to FOLDER`` is the site's folder (default: ``site/``), ``--files 1`` copies the models into it, ``--previous
FOLDER`` compares with a release, ``--try 0`` leaves out what runs models in the browser, ``--serve PORT`` serves it on
127.0.0.1 until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from utils import paths, program
from utils.catalogue.collect import Options, load_previous
from utils.catalogue.serve import LOOPBACK, make_server
from utils.errors import BuildError, UsageError, storage_error


def _serve(folder: Path, port: int) -> None:
    """Serve a folder until Ctrl-C.

    Raises:
        BuildError: the port is taken, or not allowed.
    """
    try:
        server = make_server(folder, port)
    except OSError as error:
        what = f"cannot serve on port {port}: {error.strerror}"
        raise BuildError(what, where="serve=", hint="choose another port: serve=8001") from None
    with server:
        print(f"http://{LOOPBACK}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever(poll_interval=0.1)


def _port(text: str) -> int:
    """The port that ``serve=`` names; 0 lets the system choose.

    Raises:
        UsageError: it is none.
    """
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 65535):
        hint = "name a port from 1024 to 65535: serve=8000"
        raise UsageError(f"{text[:20]!r} is no port", where="serve=", hint=hint)
    return int(text)


def _run(asked: argparse.Namespace) -> None:
    from utils.catalogue.make import make_site  # jinja2 and numpy: not before the words are checked

    for name in ("to", "previous"):
        if getattr(asked, name) == "":  # as a shell leaves it of an unset variable
            raise UsageError(f"no {name} given", where=f"{name}=", hint=f"doit catalogue {name}=..., or leave it out")
    port = _port(asked.serve) if asked.serve is not None else None
    previous = load_previous(Path(asked.previous)) if asked.previous else None
    to = Path(asked.to) if asked.to else paths.SITE
    options = Options(
        with_files=asked.files not in ("", "0"), previous=previous, trials="if had" if asked.tries != "0" else "never"
    )
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        found = make_site(paths.ARTIFACTS, to, options, note=lambda words: print(words, file=sys.stderr, flush=True))
    except OSError as error:
        raise storage_error(error) from error
    count = len(found.content["models"])
    if not count:
        print("artifacts/ has no bundles yet: doit demo builds two", flush=True)
    print(f"{paths.relative(to)}/index.html: {count} model{'' if count == 1 else 's'}", flush=True)
    if port is not None:
        _serve(to, port)


def main() -> None:
    """Make the site, and exit."""
    parser = argparse.ArgumentParser(prog="python -m utils.catalogue", description="Make the site of all bundles.")
    parser.add_argument("--to", metavar="FOLDER", help="folder of the site; default: site/")
    parser.add_argument("--files", metavar="1", default="0", help="1: copy the models' files into it")
    parser.add_argument("--previous", metavar="FOLDER", help="a release to compare with")
    parser.add_argument("--try", metavar="0", default="1", dest="tries", help="0: no models in the browser")
    parser.add_argument("--serve", metavar="PORT", help="serve it on 127.0.0.1")
    asked = parser.parse_args()
    program.prepare()
    try:
        _run(asked)
    except BaseException as error:
        program.end(error, "catalogue")


if __name__ == "__main__":
    main()
