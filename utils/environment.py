"""The environment of a step: the pins that make its bytes reproducible, and the facts that a manifest records.

The same training gave five different hashes under one core, two cores, AVX2 and oneDNN on or off; with all of these
pins the bytes were equal on an AVX-512 machine and on emulated AVX2 ones. The promise is for x86-64 with AVX2.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import os
import platform
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from utils import paths, timing
from utils.errors import BuildError

__all__ = [
    "PINS",
    "STRAY",
    "cores",
    "describe",
    "find_stamp",
    "free_memory",
    "is_pinned",
    "lock_sha256",
    "pin_tensorflow",
    "pinned",
    "promised_lock",
    "require_lock",
    "versions",
]

#: Environment variables of every step. They must be there before the process starts.
PINS = {
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # set explicitly: the default depends on the CPU
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # an AVX-512 machine sums in another order
    "OMP_NUM_THREADS": "1",
    "TF2_BEHAVIOR": "1",  # what TensorFlow sets when it is imported: the children of a warm parent have it, too
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_CPP_MAX_VLOG_LEVEL": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "Agg",
    "MALLOC_MMAP_THRESHOLD_": "1048576",  # glibc frees large blocks at once: ResNet50 takes a third less memory
    "MALLOC_TRIM_THRESHOLD_": "1048576",
    "MALLOC_ARENA_MAX": "2",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}

#: Threads of TensorFlow, inside one operator and between operators. More would change the order of sums; models
#: are built side by side instead (`doit -n`).
THREADS = 1

#: The packages whose versions decide an artifact's bytes.
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "flatbuffers", "numpy", "pillow", "matplotlib", "jinja2")


def cores() -> int:
    """How many steps run side by side by default: the cores that this process may use, at most 4."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, 4)


#: Prefixes of variables that could change the numbers; those of the user's shell are dropped.
STRAY = ("MALLOC_", "TF_", "XLA_", "KERAS_", "ONEDNN_", "DNNL_", "NPY_", "OMP_", "MKL_", "OPENBLAS_", "PYTHON")


def pinned() -> dict[str, str]:
    """The environment of a step: this one, overridden by the pins."""
    return {key: value for key, value in os.environ.items() if not key.startswith(STRAY)} | PINS


def is_pinned() -> bool:
    """Whether this process was started with the pins."""
    return dict(os.environ) == pinned()


@timing.phase(timing.START)
def pin_tensorflow(seed: int) -> Any:
    """Import TensorFlow with one thread, deterministic kernels and all seeds set; returns the module."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns at length that SavedModels of TensorFlow 1 are old
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    tf.config.experimental.enable_op_determinism()
    tf.keras.config.set_floatx("float32")  # the user's ~/.keras/keras.json may set another one
    tf.keras.config.set_epsilon(1e-7)
    tf.keras.config.set_image_data_format("channels_last")
    tf.keras.utils.set_random_seed(seed)
    return tf


def free_memory() -> None:
    """Return unused memory to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def lock_sha256() -> str:
    """The sha256 of the locked requirements in the checkout."""
    return hashlib.sha256(paths.LOCK.read_bytes()).hexdigest()


def require_lock() -> None:
    """Refuse to build with packages from another lock than the checkout's.

    The image and the local venv keep the sha256 of their lock in ``zoo-lock.sha256``. Without that
    file (a developer's own environment) identical bytes are not promised, and the manifest says so.

    Raises:
        BuildError: this environment was made from another lock.
    """
    made_from = find_stamp(Path(sys.prefix))
    if made_from and not paths.LOCK.is_file():
        where = paths.relative(paths.LOCK)
        raise BuildError("the locked requirements are missing", where=where, hint=f"git checkout {where}")
    if made_from and made_from != lock_sha256():
        raise BuildError(
            "this environment was built from other locked requirements than the checkout's",
            where=paths.relative(paths.LOCK),
            hint="use docker/run, which rebuilds it, or run `docker build -t nxp-model-zoo -f docker/Dockerfile .`",
        )


def find_stamp(folder: Path) -> str | None:
    """The sha256 of the lock that an environment was made from, as who made it has noted; None: it is not known."""
    try:
        words = (folder / "zoo-lock.sha256").read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return None
    return words[0] if words else None


def promised_lock() -> str | None:
    """The sha256 of the lock of this environment, if it has the promise of identical bytes here; else None."""
    if platform.machine() != "x86_64" or not _has_avx2() or not paths.LOCK.is_file():
        return None
    stamp = find_stamp(Path(sys.prefix))
    return stamp if stamp == lock_sha256() else None


@lru_cache(maxsize=1)
def _has_avx2() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return {"avx2", "fma"} <= set(flags)


def versions() -> dict[str, str]:
    """Versions of the packages that decide an artifact's bytes."""
    found = {}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                found[package] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def describe() -> dict[str, Any]:
    """The facts about the environment for a manifest; they are equal on all x86-64 hosts."""
    return {
        "machine": platform.machine(),
        "bit_identical": promised_lock() is not None,  # no promise on aarch64 hosts or in a developer's own environment
        "pins": PINS,
        "threads": THREADS,
        "requirements_sha256": lock_sha256(),
        "tools": versions(),
    }
