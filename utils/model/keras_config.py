"""The config of a Keras model, read as JSON and never given to Keras: does it name code, and how is it built up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utils.errors import DataError
from utils.model.stored import ALONE, quote
from utils.untrusted import parse_json

__all__ = ["inner_layers", "layer_name", "read_config"]

#: What configs of Keras 2 and 3 name beside the public classes of today.
_CLASSES = {
    *("Functional", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "TensorShape", "Policy"),
    *("__tuple__", "__tensor__", "__keras_tensor__", "__numpy__", "__ellipsis__"),
}


def read_config(text: bytes | str) -> Any:
    """The JSON of a model's config; raises DataError if it names code, or anything that is not of Keras."""
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
                raise DataError("its config holds a Lambda layer, which is code", hint=ALONE)
            known = kind in (functions if function else classes)
            if not known or package not in ("keras", "tensorflow", "tf_keras", "builtins"):
                what = f"its config names {quote(kind)} of {quote(package)}, which is not of Keras"
                raise DataError(f"{what}: it may be code", hint=ALONE)
        todo += item.values() if isinstance(item, dict) else item if isinstance(item, list) else []
    return config


def _public(wanted: Callable[[Any], bool], *modules: Any) -> set[str]:
    names = ((module, name) for module in modules for name in dir(module) if not name.startswith("_"))
    return {name for module, name in names if wanted(getattr(module, name))}


def inner_layers(config: Any) -> list[Any]:
    """The configs of the layers of a model, in its order; none if it is a layer."""
    inner = config.get("config") if isinstance(config, dict) else None
    found = inner if isinstance(inner, list) else inner.get("layers") if isinstance(inner, dict) else None
    return found if isinstance(found, list) else []  # Keras 2.2 has the list itself as a Sequential's config


def layer_name(config: Any) -> str:
    """The name of a layer or model, from its config."""
    inner = config["config"]
    return str(inner["name"] if isinstance(inner, dict) else config.get("name", ""))
