"""float32, int8: convert the trained network to one TFLite variant."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils import datasets, environment, network, plan, preprocess, record, tflite
from utils.errors import BuildError, GateError
from utils.recipe import Recipe
from utils.steps import main, say


def work(recipe: Recipe, step: plan.Step, outputs: record.Outputs) -> None:
    """Convert; write ``<model>_<variant>.tflite``, batch 1, signature and tensors named as in the recipe."""
    tf = environment.pin_tensorflow(seed=0)  # nothing here is left to chance, whatever the seed
    model = network.build(recipe)
    model.load_weights(next(file for file in step.reads if file.name.endswith(".weights.h5")))
    calibration = _calibration(recipe) if step.name == "int8" else None
    target = outputs.new(step.writes[0])
    target.write_bytes(tflite.tidy(_convert(tf, model, recipe, calibration)))
    _check(recipe, step.name, target)
    say(f"{target.stat().st_size:,} bytes")


def _calibration(recipe: Recipe) -> Any:
    examples = datasets.load(recipe, recipe.calibration.dataset)
    count = recipe.calibration.count
    if count > len(examples.images):
        raise BuildError(
            f"{count} calibration images wanted, the set has {len(examples.images)}",
            where=f"recipes/{recipe.folder}/recipe.toml: calibration.count",
            hint="lower it, or name a larger data set",
        )
    return preprocess.tensor_of(examples.images[:count], recipe.input)


def _convert(tf: Any, model: Any, recipe: Recipe, calibration: Any | None) -> bytes:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    signature = [tf.TensorSpec(recipe.input.shape, tf.float32, name=recipe.input.name)]
    # Frozen first: variables that reach the converter stay variables, and the calibrator cannot read them.
    whole = tf.function(lambda image: model(image, training=False), input_signature=signature)
    frozen = convert_variables_to_constants_v2(whole.get_concrete_function())
    module = tf.Module()
    module.serve = tf.function(lambda image: {recipe.output.name: frozen(image)[0]}, input_signature=signature)
    with tempfile.TemporaryDirectory() as folder, _quiet() as heard:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if calibration is not None:

            def representative() -> Iterator[list[Any]]:
                for image in calibration:
                    yield [image[None]]

            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
            # Per channel, dense layers come out as garbage on runtimes up to 2.7 and stay on the CPU with Vela up to
            # 3.12; per tensor, the accuracy was the same (measured).
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises what its C++ raised
            said = heard.getvalue().strip().splitlines()[-5:]
            raise BuildError(
                "TensorFlow cannot convert the network: " + "\n  ".join([str(error).strip()[:500], *said]),
                where=f"recipes/{recipe.folder}/{recipe.code}",
                hint="the message above names the operator",
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep the converter's chatter for the message of an error."""
    with contextlib.redirect_stdout(io.StringIO()) as heard, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield heard


def _check(recipe: Recipe, variant: str, file: Path) -> None:
    graph = tflite.read(file)
    expected, wrong = recipe.expected, []
    if graph.count() != dict(sorted(expected.operators.items())):
        wrong.append(f"operators: {graph.count()}, expected {expected.operators}")
    if _version(graph.min_runtime) > _version(expected.min_runtime):
        wrong.append(f"min_runtime: the file asks for {graph.min_runtime}, at most {expected.min_runtime} is expected")
    if variant == "int8" and file.stat().st_size > expected.int8_bytes:
        wrong.append(f"int8_bytes: {file.stat().st_size:,}, at most {expected.int8_bytes:,} expected")
    for name, shape in ((recipe.input.name, recipe.input.shape), (recipe.output.name, recipe.output.shape)):
        tensor = graph.tensors[graph.signature[name]]
        if list(tensor.shape) != list(shape) or tensor.dtype != variant.upper():
            wrong.append(f"{name}: {tensor.dtype}{list(tensor.shape)}, expected {variant.upper()}{list(shape)}")
    if wrong:
        raise GateError(
            f"the {variant} graph is not what the recipe expects:\n  " + "\n  ".join(wrong),
            where=f"recipes/{recipe.folder}/recipe.toml: expected",
            hint="mend the network, or the expectation if the change is wanted",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


if __name__ == "__main__":
    main(work)
