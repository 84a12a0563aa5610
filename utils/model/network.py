"""Build a network with the recipe's own code."""

from __future__ import annotations

import importlib.util
from typing import Any

from utils import paths
from utils.errors import BuildError, GateError
from utils.recipe.schema import Recipe

__all__ = ["build", "check_parameters"]


def build(recipe: Recipe) -> Any:
    """Build the keras.Model with ``build(parameters, shape)`` of the recipe's code, with fresh weights.

    Raises:
        BuildError: the code has no build(), or the model's shapes are not the recipe's.
        GateError: it has more or fewer parameters than ``expected.parameters``.
    """
    if recipe.code_file is None:
        raise BuildError("has no code that builds a network", where=recipe.where, hint="name a Python file in `code`")
    where = paths.relative(recipe.code_file)
    spec = importlib.util.spec_from_file_location("recipe_code", recipe.code_file)
    if spec is None or spec.loader is None:
        raise BuildError("is not Python", where=where, hint="name a .py file in the recipe's `code`")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the recipe's code raises
        raise BuildError(
            f"cannot be imported: {type(error).__name__}: {str(error).strip()[:500]}",
            where=where,
            hint="correct the code",
        ) from error
    if not hasattr(module, "build"):
        raise BuildError("has no build(parameters, shape)", where=where, hint="write one that returns a keras.Model")
    try:
        model = module.build(dict(recipe.parameters), tuple(recipe.input.shape[1:]))
        shapes = [(name, list(getattr(model, f"{name}_shape"))) for name in ("input", "output")]
    except (Exception, SystemExit) as error:  # whatever the recipe's code and Keras raise
        raise BuildError(
            f"build() fails: {type(error).__name__}: {str(error).strip()[:500]}",
            where=f"{where}, with parameters = {dict(recipe.parameters)}",
            hint=f"correct the code, or parameters in {recipe.where}",
        ) from error
    for (what, ours), wanted in zip(shapes, (recipe.input.shape, recipe.outputs[0].shape), strict=True):
        if ours[1:] != wanted[1:]:
            raise BuildError(
                f"the network's {what} is {ours[1:]}, the recipe's {what}.shape says {wanted[1:]}",
                where=where,
                hint=f"correct the network or {recipe.where}",
            )
    check_parameters(recipe, model.count_params())
    return model


def check_parameters(recipe: Recipe, count: int) -> None:
    """Check a number of parameters against ``expected.parameters``; raises GateError."""
    if wrong := recipe.expected.misses("parameters", count):
        raise GateError(
            f"the network has {wrong}",
            where=f"{recipe.where}: expected.parameters",
            hint="correct the network, or expected.parameters if the change is intended",
        )
