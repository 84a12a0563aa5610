"""Every bound on what comes from outside, in one place, with the reason for its size.

A bound is far above everything that real models, boards and servers have needed, and far below what hurts a machine
with 2 GB of free memory. What exceeds one is refused with the bound in the message.
"""

from __future__ import annotations

__all__ = [
    "ANSWER_BYTES",
    "BOARD_OUTPUT_BYTES",
    "JSON_BYTES",
    "JSON_DEPTH",
    "LIST_BYTES",
    "MODEL_BYTES",
    "OPERATORS",
    "RECIPE_BYTES",
    "SHOWN_CHARS",
    "SOURCE_BYTES",
    "STALL_BYTES",
    "STALL_S",
    "UNPACKED_BYTES",
    "VELA_BYTES",
]

#: A JSON document; the largest of ours, ``release.json`` of the whole zoo, has 60 kB.
JSON_BYTES = 16 * 2**20

#: Brackets in brackets in a JSON document; ours have 9.
JSON_DEPTH = 64

#: Characters of a stranger's text in a message or a table.
SHOWN_CHARS = 500

#: A recipe.toml; the largest has 10 kB.
RECIPE_BYTES = 2**20

#: A list of images: 50,000 lines of 120 bytes have 6 MB.
LIST_BYTES = 32 * 2**20

#: A TFLite file that is read whole; the largest, ResNet50 in floats, has 102 MB.
MODEL_BYTES = 2**30

#: Operators of a TFLite file; the largest graphs that converters make have a few thousand.
OPERATORS = 20_000

#: A source whose size the recipe does not state; ResNet50's weights have 103 MB.
SOURCE_BYTES = 8 * 2**30

#: A download that brings fewer bytes than this in ``STALL_S`` seconds is given up for the next address.
STALL_BYTES = 16 * 1024
STALL_S = 60.0

#: All files of an archive together.
UNPACKED_BYTES = 8 * 2**30

#: Each table of Vela's, and what it says: 500 operators have 200 kB.
VELA_BYTES = 64 * 2**20

#: What a board may say in one session: a report has 20 kB a model.
BOARD_OUTPUT_BYTES = 32 * 2**20

#: The body of a registry's or a hub's answer that is no blob.
ANSWER_BYTES = 16 * 2**20
