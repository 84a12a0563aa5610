"""Every bound on what comes from outside, in one place, with the reason for its size.

A bound is far above everything that real models, boards and servers have needed, and far below what hurts a machine
with 2 GB of free memory. What exceeds one is refused with the bound in the message.
"""

from __future__ import annotations

__all__ = [
    "ANSWER_BYTES",
    "ANSWER_S",
    "ARCHIVE_BYTES",
    "ARCHIVE_FILES",
    "ARCHIVE_HEADERS_BYTES",
    "ARCHIVE_HEADER_BYTES",
    "ARCHIVE_MEMBERS",
    "BOARD_ANSWER_S",
    "BOARD_BYTES_PER_S",
    "BOARD_ENTRIES",
    "BOARD_OUTPUT_BYTES",
    "BOARD_REPORT_BYTES",
    "BOARD_RUN_S",
    "BOARD_SESSION_S",
    "BOARD_STALL_S",
    "BOARD_TEXT_CHARS",
    "BOM_COMPARISONS",
    "CREDENTIALS_BYTES",
    "IDX_BYTES",
    "JSON_BYTES",
    "JSON_DEPTH",
    "JSON_PARTS",
    "LIST_BYTES",
    "MASK_PIXELS",
    "MODEL_BYTES",
    "OPERATORS",
    "RECIPE_BYTES",
    "RECIPE_DEPTH",
    "RECIPE_FINDINGS",
    "RELEASE_BYTES",
    "RELEASE_FILES",
    "SHOWN_CHARS",
    "SHOWN_CODES",
    "SHOWN_LINES",
    "SOURCE_BYTES",
    "STALL_BYTES",
    "STALL_S",
    "UNPACKED_BYTES",
    "UPLOAD_BYTES_S",
    "VELA_BYTES",
    "VERSION_CHARS",
]

#: A JSON document; the largest of ours, ``release.json`` of the whole zoo, has 60 kB.
JSON_BYTES = 16 * 2**20

#: Brackets in brackets in a JSON document; ours have 9.
JSON_DEPTH = 64

#: Lists and objects of a JSON document: each takes up to 300 bytes of memory for two of the document. The bill of
#: materials of the whole zoo has some thousand.
JSON_PARTS = 500_000

#: Characters of a stranger's text in a message or a table.
SHOWN_CHARS = 500

#: Lines of one message that lists what is wrong.
SHOWN_LINES = 100

#: A recipe.toml; the largest has 10 kB.
RECIPE_BYTES = 2**20

#: Tables and lists in each other in a recipe.toml; ours have 4.
RECIPE_DEPTH = 16

#: Findings about one recipe in one message.
RECIPE_FINDINGS = 40

#: A list of images: 50,000 lines of 120 bytes have 6 MB.
LIST_BYTES = 32 * 2**20

#: An idx file when it is unpacked; EMNIST's largest, 697,932 images, has 547 MB.
IDX_BYTES = 2**30

#: Pixels of a segmentation's mask; the largest of PASCAL VOC have 250,000.
MASK_PIXELS = 64 * 2**20

#: A TFLite file that is read whole; the largest, ResNet50 in floats, has 102 MB.
MODEL_BYTES = 2**30

#: Operators of a TFLite file; the largest graphs that converters make have a few thousand.
OPERATORS = 20_000

#: A source whose size the recipe does not state; ResNet50's weights have 103 MB.
SOURCE_BYTES = 8 * 2**30

#: A download that brings fewer bytes than this in ``STALL_S`` seconds is given up for the next address; so is a server
#: that takes ``STALL_S`` seconds to connect, or to begin an answer.
STALL_BYTES = 16 * 1024
STALL_S = 60.0

#: All files of an archive together.
UNPACKED_BYTES = 8 * 2**30

#: Files and folders of an archive; a SavedModel has 10.
ARCHIVE_MEMBERS = 10_000

#: What an archive says about one member (its name, its links), and about all of them: it is read into memory.
ARCHIVE_HEADER_BYTES = 2**20
ARCHIVE_HEADERS_BYTES = 16 * 2**20

#: Each table of Vela's, and what it says: 500 operators have 200 kB.
VELA_BYTES = 64 * 2**20

#: What a board may say in one session: a report has 20 kB a model.
BOARD_OUTPUT_BYTES = 32 * 2**20

#: A board's report on one bundle, and what is stored of it.
BOARD_REPORT_BYTES = 2**20

#: One text in a board's report: what a runtime says of a model that it refuses has some hundred characters.
BOARD_TEXT_CHARS = 4000

#: Entries of a list or table in a board's report; a bundle has 2 models, an os-release 20 lines.
BOARD_ENTRIES = 1000

#: Seconds until a board has told its facts and the sha256 of the files it has: 100 MB take 5 s on a Cortex-A53.
BOARD_ANSWER_S = 300.0

#: Seconds that example.py may take for one bundle on a board: a delegate may compile for minutes.
BOARD_RUN_S = 1800.0

#: Copying may take ``BOARD_ANSWER_S`` and a second for each so many bytes.
BOARD_BYTES_PER_S = 64 * 1024

#: A board that takes no byte for so many seconds is given up; syncing 100 MB to a slow card takes 20 s.
BOARD_STALL_S = 120.0

#: Seconds that one bundle may take on one board, all new connections included.
BOARD_SESSION_S = 7200.0

#: The body of a registry's or a hub's answer that is no blob.
ANSWER_BYTES = 16 * 2**20

#: A version: tags of registries end at 128 characters, and the names in a tar at 155 with the model's 40 before it.
VERSION_CHARS = 64

#: One model's archive in a release, unpacked: ResNet50 in float32, int8 and compiled for five BSPs has 260 MB.
ARCHIVE_BYTES = 2**30

#: Files in it; a bundle has 40.
ARCHIVE_FILES = 2_000

#: All files of a release together, and their count; the whole zoo has 1 GB in 150.
RELEASE_BYTES = 16 * 2**30
RELEASE_FILES = 10_000

#: Pairs in the lists of a bill of materials, each of which CycloneDX's schema compares; the whole zoo has 500,000.
BOM_COMPARISONS = 8_000_000

#: One answer of a registry or a hub, from the request's first byte to the answer's last: a large commit keeps a hub
#: busy for minutes. What is sent along has time of its own.
ANSWER_S = 300.0
UPLOAD_BYTES_S = 32 * 1024

#: What a credential helper answers: a user, and a token of at most some kB.
CREDENTIALS_BYTES = 64 * 1024

#: Error codes of a registry that one message shows.
SHOWN_CODES = 5
