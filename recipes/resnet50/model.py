"""ResNet50V2 as Keras builds it."""

from __future__ import annotations

from typing import Any


def build(parameters: dict[str, Any], shape: tuple[int, int, int]) -> Any:
    """The keras.Model from float32 (N, *shape) to probabilities, float32 (N, 1000); no weights are fetched."""
    import keras

    return keras.applications.ResNet50V2(input_shape=shape, weights=None, **parameters)
