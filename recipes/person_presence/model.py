"""MobileNetV1 at a quarter of its width for 96x96 pixels, as MLPerf Tiny's visual wake words trains it."""

from __future__ import annotations

from typing import Any

#: Filters and stride of the pointwise convolution and the depthwise one before it, at the full width.
BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


def build(parameters: dict[str, Any], shape: tuple[int, int, int]) -> Any:
    """The keras.Model from float32 (N, *shape) to probabilities, float32 (N, 2).

    Unlike Keras' own MobileNet, its convolutions have a bias, ReLU is not cut at 6, and a dense layer answers.

    Args:
        parameters: ``width``, the share of the full width.
        shape: height, width and channels of the input.
    """
    from keras import Input, Model, layers

    width = float(parameters["width"])

    def activate(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(x))

    image = Input(shape)
    x = activate(layers.Conv2D(int(32 * width), 3, strides=2, padding="same")(image))
    for filters, stride in BLOCKS:
        x = activate(layers.DepthwiseConv2D(3, strides=stride, padding="same")(x))
        x = activate(layers.Conv2D(int(filters * width), 1, padding="same")(x))
    x = layers.AveragePooling2D(x.shape[1:3])(x)
    return Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
