"""``python -m utils.front WORD...``: doit without its program, for ``doit help`` of ``docker/run``."""

from __future__ import annotations

import sys

from utils import program
from utils.front import main

if __name__ == "__main__":
    program.prepare(dies_of_closed_pipe=True)
    sys.exit(main.run(sys.argv[1:]))
