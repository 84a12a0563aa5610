"""Read the config of a Keras model as JSON, never through Keras: does it name code, and which layers does it have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utils.errors import DataError
from utils.model.stored import ALONE, quote
from utils.untrusted import parse_json

__all__ = ["inner_layers", "layer_name", "read_config"]

#: Packages that configs of Keras 2 and 3 name, beside today's public classes.
_CLASSES = {
    *("Functional", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "TensorShape", "Policy"),
    *("__tuple__", "__tensor__", "__keras_tensor__", "__numpy__", "__ellipsis__"),
}


def read_config(text: bytes | str) -> Any:
    """Parse the JSON of a model's config; raises DataError if it names code, or anything that is not part of Keras."""
    import keras

    functions = _public(lambda item: not isinstance(item, type), keras.activations, keras.losses, keras.metrics)
    classes = _CLASSES | _public(
        lambda item: isinstance(item, type),
        *(keras, keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.losses, keras.metrics),
        *(keras.optimizers, keras.optimizers.schedules, keras.dtype_policies),
    )
    try:
        config = parse_json(text, where="", error=DataError, hint=ALONE, takes_nan=True)
    except DataError as error:
        raise DataError(f"its config {error.what}", hint=error.hint) from None
    todo: list[Any] = [config]
    while todo:
        item = todo.pop()
        if isinstance(item, dict) and "class_name" in item:
            function = item["class_name"] == "function"
            kind = str(item.get("config") if function else item["class_name"])
            package = str(item.get("module") or "keras").split(".")[0]
            if kind in ("Lambda", "__lambda__"):
                raise DataError("its config has a Lambda layer, which is code", hint=ALONE)
            known = kind in (functions if function else classes)
            if not known or package not in ("keras", "tensorflow", "tf_keras", "builtins"):
                what = f"its config names {quote(kind)} of {quote(package)}, which is not part of Keras"
                raise DataError(f"{what}: it may be code", hint=ALONE)
        todo += item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
    return config


def _public(wanted: Callable[[Any], bool], *modules: Any) -> set[str]:
    names = ((module, name) for module in modules for name in dir(module) if not name.startswith("_"))
    return {name for module, name in names if wanted(getattr(module, name))}


def inner_layers(config: Any) -> list[Any]:
    """List the configs of a model's layers in its order; empty for a layer."""
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner if isinstance(inner, list) else inner.get("layers") if isinstance(inner, dict) else None
    return found if isinstance(found, list) else []  # in Keras 2.2, the config of a Sequential is the list itself


def layer_name(config: Any) -> str:
    """Get the name of a layer or model from its config."""
    inner = config["config"]
    return str(inner["name"] if isinstance(inner, dict) else config.get("name", ""))
