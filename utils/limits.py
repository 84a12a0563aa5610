"""Every bound on untrusted data, in one place, with the reason for its size.

A bound is far above what real models, boards and servers have needed, and far below what harms a machine with 2 GB of
free memory. Data above a bound is refused, and the message names the bound.
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
    "BOXES_BYTES",
    "CATALOGUE_CELLS",
    "CATALOGUE_MODELS",
    "CATALOGUE_TEXT_CHARS",
    "CREDENTIALS_BYTES",
    "HASHES_BYTES",
    "IDX_BYTES",
    "JSON_BYTES",
    "JSON_DEPTH",
    "JSON_PARTS",
    "LIST_BYTES",
    "MASK_PIXELS",
    "MATRIX_JOBS",
    "MODEL_BYTES",
    "NAME_CHARS",
    "OPERATORS",
    "REBUILDS",
    "REBUILD_BYTES",
    "RECIPE_BYTES",
    "RECIPE_DEPTH",
    "RECIPE_FINDINGS",
    "RELEASE_BYTES",
    "RELEASE_FILES",
    "RUNTIME_BYTES",
    "SAID_BYTES",
    "SHOWN_CHARS",
    "SHOWN_CODES",
    "SHOWN_LINES",
    "SOURCE_BYTES",
    "STALL_BYTES",
    "STALL_S",
    "STEP_FILES",
    "STEP_FILE_BYTES",
    "STEP_RESULT_BYTES",
    "UNPACKED_BYTES",
    "UPLOAD_BYTES_S",
    "VELA_BYTES",
    "VERSION_CHARS",
]

#: A JSON document; the zoo's largest, ``release.json``, has 60 kB.
JSON_BYTES = 16 * 2**20

#: The index of hashes: 200 models have 10,000 lines of 200 bytes.
HASHES_BYTES = 256 * 2**20

#: Jobs of one matrix: GitHub runs no more.
MATRIX_JOBS = 256

#: Nested brackets in a JSON document; the zoo's have 9.
JSON_DEPTH = 64

#: Lists and objects of a JSON document: each takes up to 300 bytes of memory for two of the document. The bill of
#: materials of the whole zoo has some thousand.
JSON_PARTS = 500_000

#: Characters of untrusted text in a message or a table.
SHOWN_CHARS = 500

#: Lines of a message that lists errors.
SHOWN_LINES = 100

#: A recipe.toml; the largest has 10 kB.
RECIPE_BYTES = 2**20

#: Nested tables and lists in a recipe.toml; the zoo's have 4.
RECIPE_DEPTH = 16

#: The name of a model, which names its task, its files and its folders.
NAME_CHARS = 40

#: Findings about one recipe in one message.
RECIPE_FINDINGS = 40

#: A list of images: 50,000 lines of 120 bytes have 6 MB.
LIST_BYTES = 32 * 2**20

#: An unpacked idx file; EMNIST's largest, 697,932 images, has 547 MB.
IDX_BYTES = 2**30

#: Pixels of a mask; the largest of PASCAL VOC have 250,000.
MASK_PIXELS = 64 * 2**20

#: A text file of the boxes in one picture; COCO's longest has 93 lines of 40 bytes.
BOXES_BYTES = 2**20

#: A TFLite file, which is read whole; the largest, ResNet50 in float32, has 102 MB.
MODEL_BYTES = 2**30

#: Operators of a TFLite file; the largest graphs that converters make have a few thousand.
OPERATORS = 20_000

#: A source whose size the recipe does not state; ResNet50's weights have 103 MB.
SOURCE_BYTES = 8 * 2**30

#: A download that receives fewer bytes than this in ``STALL_S`` seconds moves on to the next address. So does one whose
#: server takes ``STALL_S`` seconds to connect, or to begin an answer.
STALL_BYTES = 16 * 1024
STALL_S = 60.0

#: All files of an archive together, in bytes.
UNPACKED_BYTES = 8 * 2**30

#: LiteRT.js, unpacked: four builds of its WebAssembly have 39 MB.
RUNTIME_BYTES = 256 * 2**20

#: Files and folders of an archive; a SavedModel has 10.
ARCHIVE_MEMBERS = 10_000

#: Metadata (names, links) of one member of an archive, and of all of them: it is read into memory.
ARCHIVE_HEADER_BYTES = 2**20
ARCHIVE_HEADERS_BYTES = 16 * 2**20

#: Each table that Vela writes, and its output: 500 operators have 200 kB.
VELA_BYTES = 64 * 2**20

#: Output of a board in one session: a report has 20 kB for each model.
BOARD_OUTPUT_BYTES = 32 * 2**20

#: A board's report on one bundle, and its stored form.
BOARD_REPORT_BYTES = 2**20

#: One text in a board's report: a runtime's reason for refusing a model has some hundred characters.
BOARD_TEXT_CHARS = 4000

#: Entries of a list or table in a board's report; a bundle has 2 models, an os-release 20 lines.
BOARD_ENTRIES = 1000

#: Seconds until a board has sent its facts and the sha256 of its files: 100 MB take 5 s on a Cortex-A53.
BOARD_ANSWER_S = 300.0

#: Seconds that example.py may take for one bundle on a board: a delegate may compile for minutes.
BOARD_RUN_S = 1800.0

#: Bytes a second: copying may take ``BOARD_ANSWER_S``, plus the bytes divided by this.
BOARD_BYTES_PER_S = 64 * 1024

#: Seconds without a byte after which a board is given up; syncing 100 MB to a slow card takes 20 s.
BOARD_STALL_S = 120.0

#: Seconds that one bundle may take on one board, including all reconnections.
BOARD_SESSION_S = 7200.0

#: The body of a registry's or hub's answer that is not a blob.
ANSWER_BYTES = 16 * 2**20

#: A version: a registry's tags have at most 128 characters; names in a tar at most 155, 40 of them the model's.
VERSION_CHARS = 64

#: One model's archive in a release, unpacked: ResNet50 in float32, int8 and compiled for five BSPs has 260 MB.
ARCHIVE_BYTES = 2**30

#: Files in it; a bundle has 40.
ARCHIVE_FILES = 2_000

#: All files of a release together, and their number; the whole zoo has 1 GB in 150 files.
RELEASE_BYTES = 16 * 2**30
RELEASE_FILES = 10_000

#: A signed statement of a rebuild, and how many of them one model may have: one has 4 kB, and each key makes one.
REBUILD_BYTES = 2**18
REBUILDS = 1_000

#: Pairs in the lists of a bill of materials: CycloneDX's schema compares each pair; the whole zoo has 500,000.
BOM_COMPARISONS = 8_000_000

#: Seconds for one answer of a registry or hub, from the request's first byte to the answer's last: a large commit keeps
#: a hub busy for minutes. An upload has additional time.
ANSWER_S = 300.0
UPLOAD_BYTES_S = 32 * 1024

#: The answer of a credential helper: a user, and a token of at most some kB.
CREDENTIALS_BYTES = 64 * 1024

#: The end of what a failed step said on a worker; a message has some hundred bytes.
SAID_BYTES = 64 * 1024

#: Error codes of a registry that one message shows.
SHOWN_CODES = 5

#: Folders in ``artifacts/`` that a catalogue looks into; the zoo has 15, and the site is tested with 200.
CATALOGUE_MODELS = 2_000

#: One text of a bundle in the catalogue; the longest introduction has 700 characters.
CATALOGUE_TEXT_CHARS = 20_000

#: Classes whose confusion the catalogue shows: a table of 100 x 100 is more than anybody reads.
CATALOGUE_CELLS = 100

#: One step's result in a step cache, its signature, and the files that it names: a bundle has 40, in 8 kB.
STEP_RESULT_BYTES = 2**20
STEP_FILES = 2_000

#: One file that a step wrote; the largest, ResNet50's weights, has 103 MB.
STEP_FILE_BYTES = 4 * 2**30
