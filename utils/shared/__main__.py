"""``python -m utils.shared COMMAND``: what doit's task ``steps:check`` runs; messages, exit codes."""

from __future__ import annotations

import sys

from utils import program
from utils.shared.settings import read_settings


def main() -> None:
    """Run the command that is named on the command line, and exit."""
    if sys.argv[1:] != ["steps:check"]:
        sys.exit("usage: python -m utils.shared steps:check (doit does this for you)")
    program.prepare()
    try:
        from utils.shared.check import check_server

        check_server(read_settings(), lambda line: print(line, flush=True))
    except BaseException as error:
        program.end(error, "steps:check")


if __name__ == "__main__":
    main()
