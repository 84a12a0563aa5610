#!/usr/bin/env python3
"""Run a model of this bundle on the board, and say whether its answers are right.

    python3 example.py                                   check every model here against its golden tensors
    python3 example.py -m MODEL.tflite -i IMAGE          what is in the picture?
    python3 example.py -m MODEL.tflite --samples         accuracy on samples.npz
    python3 example.py -m MODEL.tflite --check --json    the check, for a program

Needs Python 3.8, numpy and one of ai_edge_litert, tflite_runtime or tensorflow; Pillow for image files (an .npy file
of pixels works without it). It imports nothing else, opens no socket and writes no file.

Exit codes: 0 all is well; 2 wrong use, or a model or input file that cannot be read; 3 no runtime here can run the
model; 4 the verdict is not PASS.

The verdict compares the outputs for the golden inputs with those of the reference kernels at build time:
    PASS          within the tolerance that model.json states, with the same answers (but for ties)
    FIXED_OUTPUT  the output does not change with the input
    NAN           the output holds numbers that are none
    SATURATED     every output value is the lowest or the highest that there is
    MISMATCH      further off than the tolerance

--json prints one object: {"format": 1, "runtime": {"name", "version"}, "models": [{"file", "variant", "delegate",
"first_ms", "steady_ms": {"min", "median", "p90", "runs"}, "check": {"verdict", "inputs", "top1_agreement",
"max_error", "mean_error", "tolerance", "unit", "remedy"}, "samples": {"count", "correct", "accuracy"},
"predictions": [{"input", "top": [{"label", "score"}]}]}]}. Times are in milliseconds; errors are in quantisation steps
for integer outputs ("unit": "steps"), else in the output's own unit ("unit": "absolute"); an error or a score that is
no number is null. "remedy" is there when the verdict is not PASS; other absent parts were not asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Tuple

try:
    import numpy as np
except ImportError:  # said in main(), after --help
    np = None  # type: ignore[assignment]

USAGE, RUNTIME, VERDICT = 2, 3, 4

HERE = os.path.dirname(os.path.abspath(__file__))


class Problem(Exception):
    """Something a person has to mend; carries the exit code."""

    def __init__(self, message: str, remedy: str = "", code: int = USAGE) -> None:
        super().__init__(message + ("\n  -> " + remedy if remedy else ""))
        self.code = code


# --- one preprocessing: calibration and evaluation of the build call these very functions --------------------------


def read_image(path: str, spec: Dict[str, Any]) -> np.ndarray:
    """Read an image file of any size and mode as the pixels that the graph takes.

    Args:
        path: anything Pillow reads, or an .npy file of pixel values 0..255.
        spec: "input" of model.json: shape (1, H, W, C), colour, resize, fit.

    Returns:
        uint8, shape (H, W, C).
    """
    if not os.path.isfile(path):
        what = "%s is a folder" if os.path.isdir(path) else "there is no file %s"
        raise Problem(what % path, "give the path of an image with -i")
    if path.endswith(".npy"):
        return _read_npy(path, spec)
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Problem(
            "Pillow is not installed, so %s cannot be read" % path, "pip install pillow, or give an .npy file of pixels"
        ) from None
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened) or opened
            image.load()
        return fit_image(image, spec)
    except Exception as error:  # Pillow raises what its codecs raise: OSError, ValueError, SyntaxError, ...
        reason, remedy = str(error), "give a whole JPEG, PNG or BMP file"
        if "cannot identify" in reason:
            reason = "not an image"
        elif "bomb" in reason:
            reason, remedy = "more pixels than Pillow opens", "make it smaller"
        raise Problem("%s cannot be read: %s" % (path, reason), remedy) from None


def _read_npy(path: str, spec: Dict[str, Any]) -> np.ndarray:
    height, width, channels = spec["shape"][1:]
    try:
        with open(path, "rb") as stream:
            pixels = np.load(stream, allow_pickle=False)
        scaled = np.issubdtype(np.asarray(pixels).dtype, np.floating) and 0 < np.max(pixels) <= 1
        pixels = np.asarray(pixels).reshape(height, width, channels).astype(np.float64, casting="same_kind")
        if not np.isfinite(pixels).all():
            raise ValueError("it holds numbers that are none")
        if scaled:
            raise ValueError("it holds values up to 1, not up to 255: model.json says how pixels are scaled")
    except Exception as error:  # OSError, ValueError, TypeError, EOFError, and BadZipFile for an .npz in disguise
        raise Problem(
            "%s cannot be read: %s" % (path, error),
            "give pixel values 0..255 of shape (%d, %d, %d)" % (height, width, channels),
        ) from None
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def fit_image(image: Any, spec: Dict[str, Any]) -> np.ndarray:
    """Bring a Pillow image to the graph's colours and size: uint8, shape (H, W, C)."""
    from PIL import Image

    height, width, channels = spec["shape"][1:]
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a pixel, or more: to 8, by value and not by clipping
        values = np.nan_to_num(np.asarray(image, np.float64))
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(np.rint(values * (255.0 / top)), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:  # what is transparent is black
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    image = image.convert("L" if channels == 1 else "RGB")
    kernel = getattr(getattr(Image, "Resampling", Image), spec["resize"].upper())  # Pillow < 9.1 has them in Image
    if image.size != (width, height):
        box = (0.0, 0.0, float(image.width), float(image.height))
        if spec["fit"] == "crop":  # the largest centred part with the graph's proportions
            scale = min(image.width / width, image.height / height)
            part = (min(width * scale, image.width), min(height * scale, image.height))  # rounding may leave the image
            left, upper = (image.width - part[0]) / 2, (image.height - part[1]) / 2
            box = (left, upper, left + part[0], upper + part[1])
        image = image.resize((width, height), kernel, box=box)
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def normalise(pixels: np.ndarray, spec: Dict[str, Any]) -> np.ndarray:
    """(pixel - mean) / std per channel: uint8 (..., C) to float32 of the same shape."""
    mean = np.asarray(spec["mean"], np.float32)
    std = np.asarray(spec["std"], np.float32)
    return np.asarray((pixels.astype(np.float32) - mean) / std, np.float32)


def quantise(values: np.ndarray, scale: float, zero_point: int, dtype: Any) -> np.ndarray:
    """Real numbers to the tensor's integers: rounded and clipped, never wrapped."""
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values / np.float32(scale)) + zero_point, limits.min, limits.max), dtype)


def dequantise(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """The tensor's integers to real numbers: float32."""
    return np.asarray((values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale), np.float32)


# --- the runtime ---------------------------------------------------------------------------------------------------


class Runtime(NamedTuple):
    """The first runtime that this machine has."""

    name: str
    version: str
    module: Any


def load_runtime() -> Runtime:
    """ai_edge_litert, else tflite_runtime, else tensorflow (slow to import: the last resort)."""
    broken = ""
    for package, module in (
        ("ai_edge_litert", "ai_edge_litert.interpreter"),
        ("tflite_runtime", "tflite_runtime.interpreter"),
        ("tensorflow", "tensorflow"),
    ):
        try:
            found: Any = importlib.import_module(module)
            if package == "tensorflow":
                found = found.lite  # loaded late: no module that could be imported by its name
        except ImportError as error:
            if getattr(error, "name", None) not in (package, module):
                broken += "; %s is here, but: %s" % (package, error)
            continue
        return Runtime(package, _version(package), found)
    raise Problem(
        "no TFLite runtime is installed" + broken,
        "NXP's BSPs ship tflite_runtime; elsewhere: pip install ai-edge-litert (or tflite-runtime on Python <= 3.11)",
        RUNTIME,
    )


def _version(package: str) -> str:
    from importlib import metadata

    for name in (package.replace("_", "-"), package, package + "-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return str(getattr(importlib.import_module(package), "__version__", "unknown"))


class Model:
    """A TFLite model, ready to run.

    Args:
        path: the .tflite file.
        runtime: from load_runtime().
        threads: CPU threads; None leaves it to the runtime.
        reference: run the slow reference kernels, the oracle of the golden tensors (ai_edge_litert, tensorflow).
        keep_all: keep what is between input and output, for look().
        delegates: loaded delegates, for an NPU.
    """

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        threads: Optional[int] = None,
        reference: bool = False,
        keep_all: bool = False,
        delegates: Sequence[Any] = (),
    ) -> None:
        options: Dict[str, Any] = {"model_path": path}
        if threads:
            options["num_threads"] = threads
        if delegates:
            options["experimental_delegates"] = list(delegates)
        if keep_all:
            options["experimental_preserve_all_tensors"] = True
        if reference:
            kernels = getattr(runtime.module, "OpResolverType", None) or runtime.module.experimental.OpResolverType
            options["experimental_op_resolver_type"] = kernels.BUILTIN_REF
        try:
            self._interpreter = runtime.module.Interpreter(**options)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError, ImportError, AttributeError, TypeError) as error:
            reason = str(error.__cause__ or error).strip().split("\n")[0]
            remedy = "is it a whole .tflite file, and not newer than the runtime?"
            if not isinstance(error, (ValueError, RuntimeError)) and np.__version__ >= "2":
                remedy = "the runtime may be older than this numpy %s: pip install 'numpy<2'" % np.__version__
            problem = "%s %s cannot run %s: %s" % (runtime.name, runtime.version, path, reason)
            raise Problem(problem, remedy, RUNTIME) from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs, self.outputs = inputs, outputs
        self.input, self.output = inputs[0], outputs[0]

    def bind(self, input_name: str, output_name: str) -> None:
        """Choose the input and the output by name; their order in the file means nothing."""
        self.input, self.output = _named(self.inputs, input_name), _named(self.outputs, output_name)

    def quantise(self, values: np.ndarray) -> np.ndarray:
        """float32 (1, H, W, C) as the graph's input tensor wants it."""
        dtype = self.input["dtype"]
        if not np.issubdtype(dtype, np.integer):
            return values.astype(dtype)
        scale, zero_point = self.input["quantization"]
        return quantise(values, scale, zero_point, dtype)

    def dequantise(self, raw: np.ndarray) -> np.ndarray:
        """The output tensor's values as real numbers, float32."""
        if not np.issubdtype(raw.dtype, np.integer):
            return raw.astype(np.float32)
        return dequantise(raw, *self.output["quantization"])

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The raw output for a raw input tensor."""
        self._interpreter.set_tensor(self.input["index"], tensor)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self.output["index"]))

    def look(self, index: int, tensor: np.ndarray) -> np.ndarray:
        """The real values, float32, of the tensor ``index`` inside the graph for a raw input tensor."""
        self.run(tensor)
        detail = next(d for d in self._interpreter.get_tensor_details() if d["index"] == index)
        raw = np.asarray(self._interpreter.get_tensor(index))
        return dequantise(raw, *detail["quantization"]) if np.issubdtype(raw.dtype, np.integer) else raw


def _named(details: List[Dict[str, Any]], name: str) -> Dict[str, Any]:
    for detail in details:
        if detail["name"] == name:
            return detail
    raise Problem(
        "the model has no tensor %r (it has %s)" % (name, ", ".join(repr(d["name"]) for d in details)),
        "model.json belongs to another model: copy the whole bundle again",
    )


# --- the verdict ---------------------------------------------------------------------------------------------------


def judge(
    outputs: np.ndarray,
    golden: np.ndarray,
    tolerance: float,
    body: Optional[Dict[str, Any]] = None,
    delegate: str = "cpu",
) -> Dict[str, Any]:
    """Compare raw outputs with the golden ones.

    Args:
        outputs: shape (N, ...), of the runtime under test.
        golden: the same shape and dtype, of the reference kernels.
        tolerance: the largest difference that is right: quantisation steps for integers, else absolute.
        body: "body" of model.json, for the remedy.
        delegate: what ran the model, for the remedy.

    Returns:
        the "check" object of --json.
    """
    count = len(golden)
    ours, theirs = outputs.reshape(count, -1).astype(np.float64), golden.reshape(count, -1).astype(np.float64)
    unit = "steps" if np.issubdtype(golden.dtype, np.integer) else "absolute"
    broken = not np.isfinite(ours).all()
    errors = np.abs(np.nan_to_num(ours, nan=np.inf, posinf=np.inf, neginf=np.inf) - theirs)
    same = np.nan_to_num(ours).argmax(1) == theirs.argmax(1)
    noise = 1.0 if unit == "steps" else tolerance  # what rounding alone may move one value by
    best = np.sort(theirs, 1)
    clear = best[:, -1] - best[:, -2:].min(1) > 2 * noise  # golden answers that rounding alone cannot turn
    fixed = count > 1 and not broken and _spread(ours) <= noise < _spread(theirs)
    if unit == "steps":
        limits = np.iinfo(golden.dtype)
        ends = (float(limits.min), float(limits.max))
    else:
        ends = (0.0, 1.0)
    saturated = bool(np.isin(ours, ends).all()) and not bool(np.isin(theirs, ends).all())
    if broken:
        verdict = "NAN"
    elif errors.max() <= tolerance and same[clear].all():
        verdict = "PASS"
    elif fixed:
        verdict = "FIXED_OUTPUT"
    elif saturated:
        verdict = "SATURATED"
    else:
        verdict = "MISMATCH"
    check = {
        "verdict": verdict,
        "inputs": count,
        "top1_agreement": float(same.mean()),
        "max_error": float(errors.max()) if not broken else None,
        "mean_error": float(errors.mean()) if not broken else None,
        "tolerance": float(tolerance),
        "unit": unit,
    }
    if verdict != "PASS":
        check["remedy"] = _remedy(verdict, body or {}, delegate)
    return check


def _spread(values: np.ndarray) -> float:
    """How much the outputs, shape (N, values), change with the input."""
    return float(np.abs(values - values[0]).max())


def _remedy(verdict: str, body: Dict[str, Any], delegate: str) -> str:
    if verdict == "NAN":
        return "the weights or the input are damaged: copy the bundle again (sha256sum -c SHA256SUMS)"
    if delegate == "cpu":
        return "this runtime computes something else than the reference kernels: update it (pip install ai-edge-litert)"
    if verdict == "FIXED_OUTPUT" and body.get("upsampling") == "nearest":
        return (
            "the accelerator does not compute RESIZE_NEAREST_NEIGHBOR with half-pixel centres, as i.MX 8M Plus's VX "
            "delegate does not: use the bilinear model"
        )
    return {
        "FIXED_OUTPUT": "the part of the graph that decides is not computed: run on the CPU, and report the operator",
        "SATURATED": "the accelerator does not understand the quantisation: update its driver, or run on the CPU",
        "MISMATCH": "the accelerator computes something else: update its driver, or run on the CPU",
    }[verdict]


# --- the program ---------------------------------------------------------------------------------------------------


#: What the program takes from model.json.
FACTS = {
    "input": ("name", "shape", "colour", "resize", "fit", "mean", "std"),
    "output": ("name", "shape"),
    "tolerance": ("int8_steps", "float32"),
}


class Bundle:
    """model.json and the files that it names."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = os.path.join(folder, "model.json")
        try:
            with open(path, encoding="utf-8") as stream:
                self.facts = json.load(stream)
            self.files = {entry["file"]: (variant, entry) for variant, entry in self.facts["variants"].items()}
            whole = [self.facts[key] for key in ("labels", "samples")]
            whole += [self.facts[table][key] for table, keys in FACTS.items() for key in keys]
            whole += [entry[key] for _, entry in self.files.values() for key in ("size", "sha256", "golden")]
            if self.facts["format"] != 1 or not self.files:
                raise ValueError
        except FileNotFoundError:
            raise Problem(
                "there is no model.json in %s" % folder, "copy the whole bundle, not the model alone"
            ) from None
        except OSError as error:
            raise Problem("%s cannot be read: %s" % (path, error.strerror), "make it readable for this user") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Problem("%s is damaged" % path, "copy the whole bundle again") from None

    def open(self, path: str, runtime: Runtime, threads: Optional[int]) -> Tuple[str, Model]:
        """The variant's name and the model, its bytes checked first: a runtime may crash on half a file."""
        if not os.path.isfile(path):
            known = ", ".join(sorted(self.files))
            raise Problem("there is no file %s" % path, "give the path of a .tflite file with -m; here are %s" % known)
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except OSError as error:
            raise Problem("%s cannot be read: %s" % (path, error.strerror), "make it readable for this user") from None
        name = os.path.basename(path)
        if not data:
            raise Problem("%s is empty" % path, "copy it again")
        if data[4:8] != b"TFL3":
            raise Problem("%s is not a TFLite model" % path, "give a .tflite file with -m")
        if name not in self.files:
            raise Problem(
                "%s is not a model of this bundle (%s)" % (path, ", ".join(sorted(self.files))),
                "each model has its own model.json beside it: run the example.py of its bundle",
            )
        variant, entry = self.files[name]
        if len(data) != entry["size"]:
            raise Problem("%s is %d bytes, not %d: truncated?" % (path, len(data), entry["size"]), "copy it again")
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise Problem("%s is damaged: its sha256 is not that of model.json" % path, "copy it again")
        model = Model(path, runtime, threads)
        model.bind(self.facts["input"]["name"], self.facts["output"]["name"])
        return variant, model

    def arrays(self, name: str, *keys: str) -> List[np.ndarray]:
        """The named arrays, equally long, of an .npz file of the bundle."""
        try:
            with open(os.path.join(self.folder, name), "rb") as stream:
                file = np.load(stream, allow_pickle=False)
                found = [np.asarray(file[key]) for key in keys]
            if not len(found[0]) or any(len(array) != len(found[0]) for array in found):
                raise ValueError("its arrays are not equally long")
            return found
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise Problem("%s cannot be read: %s" % (name, error), "copy the whole bundle again") from None
        except Exception as error:  # zipfile.BadZipFile has no common base with the others
            raise Problem("%s is damaged: %s" % (name, error), "copy the whole bundle again") from None


def time_runs(model: Model, tensor: np.ndarray, runs: int) -> Tuple[float, Dict[str, Any]]:
    """The first run in ms (a delegate compiles in it) and the steady state over ``runs`` further ones, in ms."""
    spent = []
    for _ in range(1 + runs):
        begin = time.perf_counter()
        model.run(tensor)
        spent.append((time.perf_counter() - begin) * 1000.0)
    steady = np.asarray(spent[1:])
    return spent[0], {
        "min": float(steady.min()),
        "median": float(np.median(steady)),
        "p90": float(np.percentile(steady, 90)),
        "runs": runs,
    }


def _labels(bundle: Bundle, path: Optional[str]) -> List[str]:
    path = path or os.path.join(bundle.folder, bundle.facts["labels"])
    try:
        with open(path, encoding="utf-8") as stream:
            labels = stream.read().splitlines()
    except (OSError, ValueError) as error:
        raise Problem("%s cannot be read: %s" % (path, error), "give a text file of labels with --labels") from None
    wanted = bundle.facts["output"]["shape"][-1]
    if len(labels) != wanted:
        raise Problem("%s has %d labels, the model %d outputs" % (path, len(labels), wanted), "one label a line")
    return labels


def run_model(bundle: Bundle, path: str, runtime: Runtime, options: argparse.Namespace) -> Dict[str, Any]:
    """Everything that was asked of one model: an entry of "models" in --json."""
    variant, model = bundle.open(path, runtime, options.threads)
    spec, tolerance = bundle.facts["input"], bundle.facts["tolerance"]
    entry = bundle.facts["variants"][variant]
    golden, wanted = bundle.arrays(entry["golden"], "input", "output")
    for array, tensor in ((golden, model.input), (wanted, model.output)):
        if array.dtype != tensor["dtype"] or array.shape[1:] != tuple(tensor["shape"]):
            raise Problem("%s belongs to another model than %s" % (entry["golden"], path), "copy the bundle again")
    report: Dict[str, Any] = {"file": os.path.basename(path), "variant": variant, "delegate": "cpu"}
    report["first_ms"], report["steady_ms"] = time_runs(model, golden[0], options.runs)
    if options.check or not (options.input or options.samples):
        outputs = np.stack([model.run(tensor) for tensor in golden])
        limit = tolerance["int8_steps"] if np.issubdtype(outputs.dtype, np.integer) else tolerance["float32"]
        report["check"] = judge(outputs, wanted, limit, bundle.facts.get("body"), report["delegate"])
    if options.samples:
        images, truth = bundle.arrays(bundle.facts["samples"], "images", "labels")
        if images.shape[1:] != tuple(spec["shape"][1:]):
            raise Problem("samples.npz belongs to another model than %s" % path, "copy the bundle again")
        answers = [int(model.run(model.quantise(normalise(image, spec)[np.newaxis])).argmax()) for image in images]
        correct = int(np.sum(np.asarray(answers) == truth))
        report["samples"] = {"count": len(answers), "correct": correct, "accuracy": correct / len(answers)}
    if options.input:
        labels = _labels(bundle, options.labels)
        report["predictions"] = []
        for name in options.input:
            tensor = model.quantise(normalise(read_image(name, spec), spec)[np.newaxis])
            scores = model.dequantise(model.run(tensor)).reshape(-1)
            best = np.argsort(-scores, kind="stable")[: options.top]
            top = [{"label": labels[i], "score": float(scores[i]) if np.isfinite(scores[i]) else None} for i in best]
            report["predictions"].append({"input": name, "top": top})
    return report


def show(report: Dict[str, Any], runtime: Runtime) -> None:
    """The report of one model, for people."""
    steady = report["steady_ms"]
    print("%s on %s (%s %s)" % (report["file"], report["delegate"], runtime.name, runtime.version))
    print(
        "  time      first run %.2f ms, then %.2f ms (median of %d; min %.2f, p90 %.2f)"
        % (report["first_ms"], steady["median"], steady["runs"], steady["min"], steady["p90"])
    )
    if "check" in report:
        check = report["check"]
        error = "not a number" if check["max_error"] is None else "%.3g" % check["max_error"]
        print(
            "  golden    %s: %d inputs, top-1 agrees on %.0f %%, largest error %s (%s, %g allowed)"
            % (
                check["verdict"],
                check["inputs"],
                100 * check["top1_agreement"],
                error,
                check["unit"],
                check["tolerance"],
            )
        )
        if "remedy" in check:
            print("            -> %s" % check["remedy"])
    if "samples" in report:
        samples = report["samples"]
        print(
            "  samples   %d of %d right (%.1f %%)" % (samples["correct"], samples["count"], 100 * samples["accuracy"])
        )
    for prediction in report.get("predictions", []):
        print("  %s" % prediction["input"])
        for line in prediction["top"]:
            if line["score"] is None:
                print("    %-20s not a number" % line["label"])
                continue
            print("    %-20s %5.1f %%  %s" % (line["label"], 100 * line["score"], "#" * round(30 * line["score"])))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="example.py",
        description=(__doc__ or "").split("\n\n")[0],
        epilog="The file itself tells more: less example.py",
    )
    parser.add_argument("-m", "--model", help="a .tflite file of this bundle (default: all of them)")
    parser.add_argument("-i", "--input", nargs="+", action="extend", help="image files, or .npy files of pixels")
    parser.add_argument("-q", action="store_true", help="the model is quantised (kept for old scripts; the file tells)")
    parser.add_argument("--check", action="store_true", help="compare with the golden tensors, also when -i is given")
    parser.add_argument("--samples", action="store_true", help="measure the accuracy on samples.npz")
    parser.add_argument("--labels", help="a file of labels, one a line (default: labels.txt)")
    parser.add_argument("--top", type=_positive, default=3, help="how many answers to show (default: 3)")
    parser.add_argument("-n", "--runs", type=_positive, default=20, help="timed runs after the first (default: 20)")
    parser.add_argument("-t", "--threads", type=_positive, help="CPU threads (default: the runtime's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10000:
        raise argparse.ArgumentTypeError("%r is not a whole number from 1 to 10000" % text)
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Run the program; returns the exit code."""
    options = parse(arguments)
    if np is None:
        raise Problem("numpy is not installed", "NXP's BSPs ship it; elsewhere: pip install numpy", RUNTIME)
    folder = os.path.dirname(os.path.abspath(options.model)) if options.model else HERE
    if not os.path.isfile(os.path.join(folder, "model.json")):
        folder = HERE
    bundle = Bundle(folder)
    models = [options.model] if options.model else [os.path.join(folder, name) for name in sorted(bundle.files)]
    runtime = load_runtime()
    reports = [run_model(bundle, path, runtime, options) for path in models]
    if options.json:
        everything = {"format": 1, "runtime": {"name": runtime.name, "version": runtime.version}, "models": reports}
        print(json.dumps(everything, indent=2, sort_keys=True))
    else:
        for report in reports:
            show(report, runtime)
    wrong = [report for report in reports if report.get("check", {}).get("verdict", "PASS") != "PASS"]
    return VERDICT if wrong else 0


def _stop(problem: Problem) -> NoReturn:
    sys.stderr.write("example.py: %s\n" % problem)
    sys.exit(problem.code)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        _stop(problem)
    except KeyboardInterrupt:
        sys.exit(130)
