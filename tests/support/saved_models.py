"""Small SavedModels, good, broken and hostile, and what ``freeze`` makes of each: a program, in a process of its own.

python -m tests.support.saved_models FOLDER [CASE]   prints {case: {"error"} or {"count", "difference", "sha256", ...}}

Every network is ``softmax(dense(mean(image / 255 - 0.5)))`` of a 4x4 RGB image, 3 classes: 9 + 3 parameters.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from utils import environment
from utils.errors import ZooError
from utils.model import saved_model
from utils.recipe.load import find_recipe
from utils.recipe.tables import LoadSavedModel

CASES: dict[str, Callable[[Any, Path], None]] = {}


def case(make: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
    CASES[make.__name__] = make
    return make


def write(
    tf: Any, home: Path, *, resource: bool = False, batch: Any = None, dtype: str = "float32", side: int = 4,
    signature: str = "classify", names: tuple[str, ...] = ("classes", "probabilities"), tag: str = "serve",
    more: Callable[[Any, Any], dict[str, Any]] = lambda *_: {}, output: Any = None,
) -> None:  # fmt: skip
    """One SavedModel; ``more`` adds to the graph and gives further arguments of the builder."""
    v1 = tf.compat.v1
    (v1.enable_resource_variables if resource else v1.disable_resource_variables)()
    with v1.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(dtype, [batch, side, side, 3], name="input_image")
        weights = v1.get_variable("dense/kernel", [3, 3], initializer=v1.random_normal_initializer(seed=1))
        bias = v1.get_variable("dense/bias", [3], initializer=v1.random_normal_initializer(seed=2))
        v1.get_variable("global_step", [], tf.int64, initializer=v1.zeros_initializer())  # trained, but not needed
        pooled = tf.reduce_mean(tf.cast(image, tf.float32) / 255.0 - 0.5, [1, 2])
        scores = tf.nn.softmax(tf.matmul(pooled, weights) + bias)
        outputs = {"classes": tf.argmax(scores, 1), "probabilities": scores}
        if output is not None:
            outputs["probabilities"] = output(tf, scores)
        extra = more(tf, scores)
        session.run(v1.global_variables_initializer())
        outputs = {name: outputs[name] for name in names}
        call = v1.saved_model.predict_signature_def({"image": image}, outputs)
        builder = v1.saved_model.Builder(str(home))
        builder.add_meta_graph_and_variables(session, [tag], {signature: call}, **extra)
        builder.save()
        pixels = np.random.default_rng(1).integers(0, 256, (batch or 1, side, side, 3)).astype(dtype)
        if output is None:
            np.save(home.parent / f"{home.name}.npy", session.run(scores, {image: pixels}))


@case
def ref_variables(tf: Any, home: Path) -> None:
    write(tf, home)


@case
def resource_variables(tf: Any, home: Path) -> None:
    write(tf, home, resource=True)


@case
def fixed_batch(tf: Any, home: Path) -> None:
    write(tf, home, batch=1)


@case
def bytes_in(tf: Any, home: Path) -> None:
    write(tf, home, dtype="uint8")


@case
def other_order(tf: Any, home: Path) -> None:
    write(tf, home, names=("probabilities", "classes"))


@case
def deep_in_a_folder(tf: Any, home: Path) -> None:
    write(tf, home / "a" / "b")
    (home / "a" / "b.npy").rename(home.parent / f"{home.name}.npy")


@case
def functions(tf: Any, home: Path) -> None:
    """As TensorFlow 2 saves them: all of it in functions, also the saving, which never runs here."""
    tf.compat.v1.enable_resource_variables()
    module = tf.Module()
    rng = np.random.default_rng(1)
    module.weights = tf.Variable(rng.normal(size=(3, 3)).astype(np.float32))
    module.bias = tf.Variable(rng.normal(size=3).astype(np.float32))

    def call(image: Any) -> Any:
        pooled = tf.reduce_mean(image / 255.0 - 0.5, [1, 2])
        return {"probabilities": tf.nn.softmax(tf.matmul(pooled, module.weights) + module.bias)}

    module.call = tf.function(call, input_signature=[tf.TensorSpec([None, 4, 4, 3], tf.float32, "image")])
    tf.saved_model.save(module, str(home), signatures={"classify": module.call})
    pixels = np.random.default_rng(1).integers(0, 256, (1, 4, 4, 3)).astype(np.float32)
    np.save(home.parent / f"{home.name}.npy", module.call(pixels)["probabilities"].numpy())


# --- broken


@case
def no_signature(tf: Any, home: Path) -> None:
    write(tf, home, signature="serving_default")


@case
def no_output(tf: Any, home: Path) -> None:
    write(tf, home, names=("classes",))


@case
def other_size(tf: Any, home: Path) -> None:
    write(tf, home, side=5)


@case
def other_batch(tf: Any, home: Path) -> None:
    write(tf, home, batch=8)


@case
def other_dtype(tf: Any, home: Path) -> None:
    write(tf, home, dtype="float64")


@case
def other_output(tf: Any, home: Path) -> None:
    write(tf, home, output=lambda _, scores: scores[:, :2])


@case
def not_for_serving(tf: Any, home: Path) -> None:
    write(tf, home, tag="train")


@case
def damaged(tf: Any, home: Path) -> None:
    write(tf, home)
    data = (home / "saved_model.pb").read_bytes()
    (home / "saved_model.pb").write_bytes(data[: len(data) // 2])


@case
def without_variables(tf: Any, home: Path) -> None:
    write(tf, home)
    for file in (home / "variables").iterdir():
        file.unlink()


@case
def damaged_variables(tf: Any, home: Path) -> None:
    write(tf, home)
    (file,) = (home / "variables").glob("*.data-*")
    file.write_bytes(bytes(5))


@case
def two(tf: Any, home: Path) -> None:
    write(tf, home / "1")
    write(tf, home / "2")


@case
def none(_: Any, home: Path) -> None:
    (home / "variables").mkdir(parents=True)


# --- hostile: each would leave a file beside the SavedModel


def _target(home: Path) -> str:
    return str(home.parent / f"{home.name}.written")


@case
def writes_when_it_is_loaded(tf: Any, home: Path) -> None:
    write(tf, home, more=lambda tf, _: {"main_op": tf.raw_ops.WriteFile(filename=_target(home), contents="x")})


@case
def writes_a_checkpoint_when_it_is_loaded(tf: Any, home: Path) -> None:
    def more(tf: Any, _: Any) -> dict[str, Any]:
        save = tf.raw_ops.SaveV2(prefix=_target(home), tensor_names=["x"], shape_and_slices=[""], tensors=[[1.0]])
        return {"main_op": save}

    write(tf, home, more=more)


@case
def writes_in_a_function_when_it_is_loaded(tf: Any, home: Path) -> None:
    def more(tf: Any, _: Any) -> dict[str, Any]:
        @tf.function(input_signature=[])
        def inner() -> Any:
            tf.raw_ops.WriteFile(filename=_target(home), contents="x")
            return tf.constant(1.0)

        @tf.function(input_signature=[])
        def outer() -> Any:
            return inner() + 1.0

        return {"main_op": tf.group(outer())}

    write(tf, home, resource=True, more=more)


@case
def writes_when_it_is_called(tf: Any, home: Path) -> None:
    def output(tf: Any, scores: Any) -> Any:
        with tf.control_dependencies([tf.raw_ops.WriteFile(filename=_target(home), contents="x")]):
            return tf.identity(scores)

    write(tf, home, output=output)


@case
def reads_a_file(tf: Any, home: Path) -> None:
    def output(tf: Any, scores: Any) -> Any:
        text = tf.raw_ops.ReadFile(filename="/etc/hostname")
        return scores + tf.cast(tf.size(tf.raw_ops.DecodeRaw(bytes=text, out_type=tf.uint8)), tf.float32)

    write(tf, home, output=output)


@case
def calls_python(tf: Any, home: Path) -> None:
    def output(tf: Any, scores: Any) -> Any:
        out = tf.compat.v1.py_func(lambda x: Path(_target(home)).write_text("x") and x, [scores], tf.float32)
        return tf.ensure_shape(out, [None, 3])

    write(tf, home, output=output)


@case
def a_function_with_the_name_of_an_operator(tf: Any, home: Path) -> None:
    """The init op is a WriteFile; the library has a harmless function of that name to hide it behind."""
    writes_when_it_is_loaded(tf, home)
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel.FromString((home / "saved_model.pb").read_bytes())
    function = model.meta_graphs[0].graph_def.library.function.add()
    function.signature.name = "WriteFile"
    for name in ("filename", "contents"):
        argument = function.signature.input_arg.add()
        argument.name, argument.type = name, tf.string.as_datatype_enum
    (home / "saved_model.pb").write_bytes(model.SerializeToString())


@case
def never_runs(tf: Any, home: Path) -> None:
    """The same operators where neither loading nor the signature reaches them: no obstacle, and left out."""

    def more(tf: Any, _: Any) -> dict[str, Any]:
        tf.raw_ops.WriteFile(filename=_target(home), contents="x")
        tf.raw_ops.DecodeJpeg(contents=tf.raw_ops.ReadFile(filename=_target(home)))
        return {}

    write(tf, home, more=more)


def freeze(tf: Any, home: Path) -> dict[str, Any]:
    """What becomes of one SavedModel."""
    found = find_recipe("mnasnet")
    facts = {
        "input": found.input.model_copy(update={"shape": [1, 4, 4, 3]}),
        "output": found.outputs[0].model_copy(update={"shape": [1, 3]}),
    }
    found = found.model_copy(update=facts)
    load = found.load
    assert isinstance(load, LoadSavedModel)
    try:
        graph, count = saved_model.freeze(tf, home, found, load, "model.tgz")
    except ZooError as error:
        return {"error": str(error), "kind": type(error).__name__}
    pixels = np.random.default_rng(1).integers(0, 256, (1, 4, 4, 3)).astype(np.float32)
    function = saved_model.function(tf, graph, found)
    ours = function(tf.constant(pixels)).numpy()
    theirs = np.load(home.parent / f"{home.name}.npy")
    return {
        "count": count,
        "difference": float(np.abs(ours - theirs).max()),
        "operators": sorted({node.op for node in tf.compat.v1.GraphDef.FromString(graph).node}),
        "sha256": hashlib.sha256(graph).hexdigest(),
        "shape": list(ours.shape),
    }


def main(folder: Path, *names: str) -> None:
    tf = environment.pin_tensorflow(1)
    results = {}
    for name in names or CASES:
        home = folder / name
        if not home.exists():
            CASES[name](tf, home)
        before = {file.name for file in folder.iterdir()}
        results[name] = freeze(tf, home)
        results[name]["written"] = sorted({file.name for file in folder.iterdir()} - before)
        results[name]["written"] += sorted(file.name for file in folder.glob(f"{name}.written*"))
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
