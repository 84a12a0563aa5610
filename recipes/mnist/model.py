"""The network of the upsampling demo: a digit classifier with the body of a small segmentation network."""

from __future__ import annotations

from typing import Any


def build(parameters: dict[str, Any], shape: tuple[int, int, int]) -> Any:
    """Build the network with fresh weights.

    Args:
        parameters: ``upsampling``: ``nearest`` or ``bilinear``.
        shape: height, width, channels of the input.

    Returns:
        A keras.Model from float32 (N, *shape) to the probabilities of ten digits, float32 (N, 10).
    """
    import keras
    import tensorflow as tf

    layers = keras.layers
    upsampling = parameters["upsampling"]
    if upsampling not in ("nearest", "bilinear"):
        raise ValueError(f"upsampling is {upsampling!r}, not 'nearest' or 'bilinear'")

    class Double(keras.layers.Layer):  # type: ignore[misc]  # keras is untyped
        """Doubles height and width: Keras' UpSampling2D("nearest") becomes TILE, not a resize operator."""

        def call(self, values: Any) -> Any:
            size = (2 * values.shape[1], 2 * values.shape[2])
            return tf.image.resize(values, size, method=upsampling)

        def compute_output_shape(self, given: Any) -> Any:
            return (given[0], 2 * given[1], 2 * given[2], given[3])

    def conv(filters: int, **options: Any) -> Any:
        return layers.Conv2D(
            filters, 2, **{"activation": "relu", "kernel_initializer": "he_uniform", "padding": "same", **options}
        )

    return keras.Sequential(
        [
            keras.Input(shape, name="image"),
            conv(32),
            layers.MaxPooling2D(2, padding="same"),
            conv(32),
            layers.MaxPooling2D(2, padding="same"),
            conv(32, strides=2),
            conv(8),
            Double(),
            conv(32, padding="valid", kernel_initializer="glorot_uniform"),
            Double(),
            conv(32),
            Double(),
            conv(1, activation="sigmoid", kernel_initializer="glorot_uniform"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ],
        name="mnist_segmentation",
    )
