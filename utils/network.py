"""Networks: built by the recipe's own code, which says what TOML cannot, or loaded as ``load`` left them."""

from __future__ import annotations

import importlib.util
from typing import Any

from utils import paths, plan, saved_model
from utils.errors import BuildError
from utils.recipe import LoadSavedModel, Recipe

__all__ = ["build", "frozen"]


def build(recipe: Recipe) -> Any:
    """The keras.Model that ``build(parameters, shape)`` of the recipe's code makes, with fresh weights.

    Raises:
        BuildError: the code has no build(), or the model's shapes are not the recipe's.
    """
    if recipe.code_file is None:
        raise BuildError("has no code that builds a network", where=recipe.where, hint="name a Python file in `code`")
    where = paths.relative(recipe.code_file)
    spec = importlib.util.spec_from_file_location("recipe_code", recipe.code_file)
    if spec is None or spec.loader is None:
        raise BuildError("is not Python", where=where, hint="name a .py file in the recipe's `code`")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "build"):
        raise BuildError("has no build(parameters, shape)", where=where, hint="write one that returns a keras.Model")
    try:
        model = module.build(dict(recipe.parameters), tuple(recipe.input.shape[1:]))
    except Exception as error:  # whatever the recipe's code and Keras raise
        raise BuildError(
            f"build() fails: {type(error).__name__}: {str(error).strip()[:500]}",
            where=f"{where}, with parameters = {dict(recipe.parameters)}",
            hint=f"mend it, or parameters in {recipe.where}",
        ) from error
    for what, ours, wanted in (
        ("input", model.input_shape, recipe.input.shape),
        ("output", model.output_shape, recipe.output.shape),
    ):
        if list(ours[1:]) != list(wanted[1:]):
            raise BuildError(
                f"the network's {what} is {list(ours[1:])}, the recipe's {what}.shape says {wanted[1:]}",
                where=where,
                hint=f"mend the network or {recipe.where}",
            )
    return model


def frozen(tf: Any, recipe: Recipe) -> Any:
    """The trained or loaded network as a function without variables, which a converter could not read.

    Returns:
        A function of one float32 tensor, shape as ``input.shape``, that returns the output tensor.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    file = plan.network_file(recipe)
    assert file is not None  # the plan has no conversion of a published file
    if isinstance(recipe.load, LoadSavedModel):
        return saved_model.function(tf, file.read_bytes(), recipe)
    model = build(recipe)
    model.load_weights(file)
    signature = [tf.TensorSpec(recipe.input.shape, tf.float32, name=recipe.input.name)]
    whole = tf.function(lambda image: model(image, training=False), input_signature=signature)
    function = convert_variables_to_constants_v2(whole.get_concrete_function())
    return lambda image: function(image)[0]
