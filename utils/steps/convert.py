"""float32, int8: convert the network to one TFLite variant."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from utils import environment, example, files, tflite_edit, timing
from utils.errors import BuildError, GateError
from utils.graph import layout, record
from utils.graph.step import Step
from utils.model import datasets, expectations, network, preprocess, ranges, saved_model
from utils.recipe.schema import Recipe
from utils.recipe.tables import LoadSavedModel, LoadTflite
from utils.steps import main, say, show_progress

#: Calibration inputs, evenly spread, that ranges are fitted to.
FITTED = 100


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Convert; write ``<model>_<variant>.tflite``, batch 1, input and output named as in the recipe.

    With float32 comes ``parity.json``: how far the file is from the network that it was made from.
    """
    target = outputs.new(step.writes[0])
    if isinstance(recipe.load, LoadTflite):
        published = layout.model_file(recipe.name, recipe.variants[0])
        target.write_bytes(tflite_edit.integer_io(published.read_bytes()))
    else:
        tf = environment.pin_tensorflow(seed=0)  # nothing here is left to chance, whatever the seed
        inputs = _calibration(recipe) if step.name == "int8" else None
        with tempfile.TemporaryDirectory() as folder:
            _save(tf, recipe, folder)
            environment.free_memory()  # the converter needs ten times the weights: nothing else may hold them
            converted = _convert(tf, folder, recipe, inputs)
        environment.free_memory()
        if inputs is not None:
            converted = _quantise(tf, recipe, _fit(recipe, converted, inputs))
        target.write_bytes(tflite_edit.tidy(converted))
        if step.name == "float32":
            environment.free_memory()
            outputs.new(step.writes[1]).write_text(files.dump_json(_parity(tf, recipe, target)))
    variant = next(variant for variant in recipe.variants if variant == step.name)
    expectations.check_graph(recipe, variant, target)
    say(f"{target.stat().st_size:,} bytes")


def _calibration(recipe: Recipe) -> Any:
    """The calibration inputs as they are read, shape (N, ...), of images uint8 pixels; each is read once."""
    assert recipe.calibration is not None  # the schema asks for it
    count = recipe.calibration.count
    inputs = datasets.load(recipe, recipe.calibration.dataset, count).inputs
    if count > len(inputs):
        raise BuildError(
            f"{count} calibration inputs wanted, the set has {len(inputs)}",
            where=f"{recipe.where}: calibration.count",
            hint="lower it, or name a larger data set",
        )
    return inputs


def _inputs(recipe: Recipe, inputs: Any) -> Iterator[Any]:
    """The calibration inputs one by one, float32, shape as ``input.shape``."""
    begin = time.monotonic()
    with timing.phase("calibrate"):  # the converter asks for the next input when it has run the one before
        for number, value in enumerate(inputs):
            done = f"calibrated on {number} of {len(inputs)} inputs"
            if time.monotonic() - begin > 10:
                say(done)
                begin = time.monotonic()
            show_progress(number, len(inputs), done)
            yield preprocess.tensor_of(value[np.newaxis], recipe.input)


def _network(tf: Any, recipe: Recipe) -> Any:
    """The trained or loaded network as a function without variables, which the calibrator could not read.

    Returns:
        A function of one float32 tensor, shape as ``input.shape``, that returns the output tensor.
    """
    if isinstance(recipe.load, LoadSavedModel):
        return _reference(tf, recipe)
    graph, start, end = _frozen(tf, recipe)
    tf.keras.backend.clear_session()
    environment.free_memory()
    return lambda image: tf.graph_util.import_graph_def(graph, {start: image}, [end], name="")[0]


def _reference(tf: Any, recipe: Recipe) -> Any:
    """The same as Keras, or the frozen graph, computes it: less memory, but with variables."""
    file = layout.network_file(recipe)
    assert file is not None  # a published file is not converted
    if isinstance(recipe.load, LoadSavedModel):
        return saved_model.function(tf, file.read_bytes(), recipe)
    model = network.build(recipe)
    model.load_weights(file)
    return functools.partial(model, training=False)


def _frozen(tf: Any, recipe: Recipe) -> tuple[Any, str, str]:
    """The network as a GraphDef, its variables as constants, and the names of the input and output tensors in it.

    The public function makes a ConcreteFunction of it, which holds all weights twice more.
    """
    from tensorflow.python.framework import convert_to_constants

    signature = [tf.TensorSpec(recipe.input.shape, tf.float32, name=recipe.input.name)]
    whole = tf.function(_reference(tf, recipe), input_signature=signature).get_concrete_function()
    data = convert_to_constants._FunctionConverterDataInEager(
        func=whole, lower_control_flow=True, aggressive_inlining=False
    )
    graph, _ = convert_to_constants._replace_variables_by_constants(data)
    return graph, whole.inputs[0].name, whole.outputs[0].name


def _save(tf: Any, recipe: Recipe, folder: str) -> None:
    """Save the network, without variables, as a SavedModel; none of it is left in memory."""
    function = _network(tf, recipe)
    module = tf.Module()
    signature = [tf.TensorSpec(recipe.input.shape, tf.float32, name=recipe.input.name)]
    module.serve = tf.function(lambda image: {recipe.outputs[0].name: function(image)}, input_signature=signature)
    with _quiet():
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})


def _convert(tf: Any, folder: str, recipe: Recipe, inputs: Any | None) -> bytes:
    """Convert to float32; with calibration inputs, to a file that also has the range of each tensor."""
    with _quiet() as heard, _explained(heard, recipe):
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter._trackable_obj = None  # the loaded network: it is read from the folder once more
        environment.free_memory()
        if inputs is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image] for image in _inputs(recipe, inputs))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
            converter._experimental_calibrate_only = True
        return bytes(converter.convert())


@timing.phase("calibrate")
def _fit(recipe: Recipe, calibrated: bytes, inputs: Any) -> bytes:
    """The calibrated file with the ranges that the recipe asks for."""
    assert recipe.calibration is not None  # the schema asks for it
    if recipe.calibration.ranges == "seen":
        return calibrated
    spread = inputs[:: -(-len(inputs) // FITTED)]
    return ranges.fit_ranges(calibrated, (preprocess.tensor_of(value[np.newaxis], recipe.input) for value in spread))


def _quantise(tf: Any, recipe: Recipe, calibrated: bytes) -> bytes:
    """Quantise a file with ranges, as the converter itself would."""
    from tensorflow.lite.python.convert import mlir_quantize

    with _quiet() as heard, _explained(heard, recipe):
        return bytes(
            mlir_quantize(
                calibrated,
                input_data_type=tf.int8,
                output_data_type=tf.int8,
                # Per channel, dense layers come out as garbage on runtimes up to 2.7 and stay on the CPU with Vela up
                # to 3.12; per tensor, the accuracy was the same (measured).
                disable_per_channel_for_dense_layers=True,
            )
        )


@contextlib.contextmanager
def _explained(heard: io.StringIO, recipe: Recipe) -> Iterator[None]:
    """Tell an error of the converter, with the last of what it ``heard``, as one of the network."""
    try:
        yield
    except Exception as error:  # the converter raises what its C++ raised
        said = heard.getvalue().strip().splitlines()[-5:]
        raise BuildError(
            "TensorFlow cannot convert the network: " + "\n  ".join([str(error).strip()[:500], *said]),
            where=f"recipes/{recipe.folder}/{recipe.code or 'recipe.toml: load'}",
            hint="the message above names the operator",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep the converter's chatter for the message of an error."""
    with contextlib.redirect_stdout(io.StringIO()) as heard, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield heard


def _parity(tf: Any, recipe: Recipe, file: Path) -> dict[str, Any]:
    """Compare the converted file with the network on the example inputs.

    Returns:
        ``inputs``, ``allowed``, and ``max_error``: absolute, rounded up to a power of ten, since the last bits differ
        from one CPU to the next.

    Raises:
        GateError: it is further off than ``tolerance.conversion``.
    """
    inputs = preprocess.tensor_of(datasets.examples(recipe).inputs, recipe.input)
    function = _reference(tf, recipe)
    model = example.Model(str(file), example.load_runtime())
    model.bind(recipe.input.name, recipe.outputs[0].name)
    pairs = [(model.run(image[np.newaxis]), function(tf.constant(image[np.newaxis])).numpy()) for image in inputs]
    error = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    if not error <= recipe.tolerance.conversion:
        raise GateError(
            f"the float32 file is up to {error:.3g} from the network, {recipe.tolerance.conversion:g} is allowed",
            where=f"{recipe.where}: tolerance.conversion",
            hint="the conversion changed the network: look at the operators, or allow more",
        )
    rounded = float(f"1e{math.ceil(math.log10(error))}") if error else 0.0
    return {"inputs": len(inputs), "max_error": rounded, "allowed": recipe.tolerance.conversion}


if __name__ == "__main__":
    main(work)
