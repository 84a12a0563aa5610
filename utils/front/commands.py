"""Every command, every ``name=value`` and every variable, once: for help, completion and the refusal of others."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENVIRONMENT", "MODEL_VARIABLES", "OURS", "VALUES", "Command", "find_command", "variables_of"]


@dataclass(frozen=True)
class Command:
    """A task that is no model, or a command of doit.

    Attributes:
        usage: what to type after ``doit``.
        summary: what it does.
        variables: the ``name=value`` that it takes.
        options: its own options.
    """

    usage: str
    summary: str
    variables: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


#: What a model, a step, and whatever builds or looks at models takes.
MODEL_VARIABLES = ("weights", "weights_licence")

#: By name, in the order of use.
OURS: dict[str, Command] = {
    "demo": Command("demo", "build both upsampling models on drawn digits: no download", MODEL_VARIABLES),
    "list": Command("list", "models and commands, with each model's state", ("bsp", *MODEL_VARIABLES),
                    ("--all", "--status", "--quiet")),
    "info": Command("info MODEL", "what doit knows about a model or a step", ("bsp", *MODEL_VARIABLES)),
    "help": Command("help [COMMAND]", "this page, or help on one command", ("bsp", *MODEL_VARIABLES)),
    "clean": Command("clean MODEL", "remove a model's built files", ("bsp", *MODEL_VARIABLES), ("--dry-run",)),
    "vela": Command("vela:MODEL [bsp=BSP,...]", "compile a built model, or a file=PATH, for the i.MX 93's NPU",
                    ("bsp", "file", "to", *MODEL_VARIABLES), ("--require-npu",)),
    "compat": Command("compat:MODEL [bsp=BSP,...]", "where a model, or a file=PATH, will run; what stands in the way",
                      ("bsp", "file", *MODEL_VARIABLES)),
    "explain": Command("explain:MODEL", "which layers lose in int8, and what to try", MODEL_VARIABLES),
    "board": Command("board:MODEL target=USER@HOST", "run a model on boards, or on target=virtual",
                     ("target", *MODEL_VARIABLES)),
    "matrix": Command("matrix [shards=N | shard=K/N]", "deal a build out to N jobs of a CI as JSON, or build one share",
                      ("shards", "shard", "models", "ci")),
    "catalogue": Command("catalogue [serve=PORT]", "make the site of all built models, in site/",
                         ("to", "files", "previous", "try", "serve")),
    "new": Command("new name=NAME like=MODEL", "start the recipe of a new model", ("name", "like")),
    "mirror": Command("mirror to=FOLDER", "copy the sources to a folder, for a site without a network",
                      ("to", "models", "list", "from", "site", "image", *MODEL_VARIABLES)),
    "refetch": Command("refetch source=FILE", "forget the recorded hash of an unpinned source", ("source",)),
    "lock": Command("lock [models=NAME,...]", "write what was built into artifacts.lock",
                    ("models", "restored", *MODEL_VARIABLES)),
    "verify": Command("verify [release=FOLDER] [key=FILE]", "build again, compare with artifacts.lock or a release",
                      ("models", "restored", "release", "key", "to", "image", *MODEL_VARIABLES)),
    "release": Command("release version=X.Y.Z [key=FILE]", "make release/X.Y.Z/",
                       ("version", "models", "key", "boards", "previous", "try", "restored", *MODEL_VARIABLES),
                       ("--force",)),
    "release:check": Command("release:check path=FOLDER", "check every file and signature of a release",
                             ("path", "pubkey", "with", "rebuilders", "threshold", "rebuilds")),
    "publish": Command("publish version=X.Y.Z to=PLACE", "publish a release, first with dry_run=1",
                       ("version", "path", "pubkey", "to", "dry_run", "rebuilds")),
    "worker": Command("worker [steps=N]", "run steps for the scheduler of ZOO_ENGINE", ("steps", "name")),
    "scheduler": Command("scheduler", "be the scheduler of ZOO_ENGINE: tell workers what to run", ("dashboard",)),
    "steps:check": Command("steps:check", "test the step cache: read, write once, refuse others"),
    "completion": Command("completion bash|zsh", "print the completion script of a shell"),
}  # fmt: skip

#: What each ``name=value`` means.
VALUES: dict[str, str] = {
    "weights": "your own weights, a file or a folder, for the one model that is named",
    "weights_licence": "their licence, for the card",
    "bsp": "BSPs of NXP, with commas; utils/npu/bsp.csv has them",
    "file": "a TFLite file of your own",
    "target": "boards, with commas: virtual, or [USER@]HOST[:PORT]",
    "models": "models, with commas; default: all",
    "shards": "into how many shares; default: one a model",
    "shard": "the share to build, K/N",
    "ci": "whose JSON: github (default), or gitlab",
    "name": "name of the new model, or of the worker",
    "like": "the model that the new one resembles",
    "version": "version of the release, X.Y.Z",
    "key": "private key that signs the release, or what verify found",
    "pubkey": "public key of the signer that you trust",
    "boards": "1: take the records of boards along",
    "path": "folder of a release",
    "release": "a release's folder, or oci:FOLDER/MODEL:VERSION",
    "rebuilders": "public keys, with commas, of who should have rebuilt it",
    "threshold": "how many of them; default: all",
    "rebuilds": "folder of signed rebuilds; default: beside the release",
    "previous": "folder of the release before, to say what moved",
    "files": "1: copy the models' files into the site",
    "site": "1: also what the catalogue runs models with",
    "image": "1: what the image is built from; verify builds it again",
    "try": "whether the site runs models in the browser: 0 or 1",
    "serve": "port of 127.0.0.1 on which you look at the site",
    "with": "folder of another release to compare with",
    "to": "a folder; publish also takes dir:, oci: and hf://",
    "list": "a list of missing files, build/missing.txt: only these",
    "from": "a folder of files that were downloaded by other means",
    "dry_run": "1: say what would be sent, and send nothing",
    "source": "file name of a source",
    "steps": "how many steps run side by side on this worker",
    "dashboard": "HOST:PORT of the page that shows what runs; default: 127.0.0.1:8787",
    "restored": "1: also what a step cache has built",
}

#: Variables of the environment; those that end in an underscore go on with a model's name.
ENVIRONMENT: dict[str, str] = {
    "ZOO_MIRROR": "a folder or an http(s) address that is asked for sources first",
    "ZOO_OFFLINE": "1: no network but the mirror and the step cache",
    "ZOO_NPM": "address of an npm registry, for the runtime of the catalogue",
    "ZOO_CACHE": "the folder of sources; default: build/cache",
    "ZOO_ENGINE": "tls://HOST:PORT of a scheduler, whose workers run the steps",
    "ZOO_STEPS": "address of a step cache, which has what other machines built",
    "ZOO_STEPS_WRITE": "1: give it what is built here",
    "ZOO_STEPS_KEY": "the key that signs what is given to it",
    "ZOO_STEPS_PUBKEY": "the keys whose results are taken; without it, all are",
    "ZOO_STEPS_TOKEN": "bearer token for it",
    "ZOO_STEPS_OWN": "1: also what is made of your own weights",
    "ZOO_TLS": "folder of ca.pem, cert.pem and key.pem",
    "ZOO_KEY": "the key that signs a release",
    "ZOO_SSH_OPTIONS": "more words for ssh",
    "ZOO_BOARD_FOLDER": "the folder on a board",
    "ZOO_BOARD_ROOT": "the folder of the virtual board's system",
    "ZOO_WEIGHTS_": "your own weights for a model",
    "ZOO_LICENCE_": "their licence",
    "ZOO_WEIGHTS": "your own weights for the one model that is named",
    "ZOO_DOCKER": "0: never Docker; 1: only Docker",
    "ZOO_DOCKER_ARGS": "more words for docker run",
    "ZOO_DOCKER_BUILD_ARGS": "more words for docker build",
    "ZOO_PLATFORM": "platform of the image",
    "ZOO_PYTHON": "interpreter for build/venv",
    "ZOO_VELA": "more versions of Vela",
    "ZOO_CA": "CA bundle for building and downloading",
    "ZOO_TIMES": "a file that gets a line a program: where its time went",
    "ZOO_PARENT": "",  # between programs of ours, as the next one
    "ZOO_EVENTS": "",
    "ZOO_WORKER": "",
}


def find_command(word: str) -> Command | None:
    """The command that a word names, also as a task of it (``vela:MODEL``); None if there is none."""
    return OURS.get(word) or OURS.get(word.partition(":")[0])


def variables_of(word: str) -> tuple[str, ...]:
    """The ``name=value`` that a word of the command line takes: a command, a task, a model or a step."""
    found = find_command(word)
    return found.variables if found else MODEL_VARIABLES
