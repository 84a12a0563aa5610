"""The demo notebook's procedure, for comparison: both networks one after the other, default threads, no pins.

Written anew from the notebook's facts: keras' UpSampling2D, 5 epochs of Adam, batches of 32, pixels / 255, 1000
training images for calibration, int8 inside with float32 input and output.

    python -m tests.bench.notebook_recipe IDX_FOLDER OUT_FOLDER

IDX_FOLDER holds the four gzipped idx files under their upstream names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from utils.model.datasets import read_idx


def network(interpolation: str, batch: int | None = None) -> keras.Model:
    conv, layers = keras.layers.Conv2D, keras.layers
    same = {"activation": "relu", "kernel_initializer": "he_uniform", "padding": "same"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), batch_size=batch),
            conv(32, 2, **same),
            layers.MaxPooling2D(2, padding="same"),
            conv(32, 2, **same),
            layers.MaxPooling2D(2, padding="same"),
            conv(32, 2, strides=2, **same),
            conv(8, 2, **same),
            layers.UpSampling2D(2, interpolation=interpolation),
            conv(32, 2, activation="relu"),
            layers.UpSampling2D(2, interpolation=interpolation),
            conv(32, 2, **same),
            layers.UpSampling2D(2, interpolation=interpolation),
            conv(1, 2, activation="sigmoid", padding="same"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def main(idx: Path, out: Path) -> None:
    images = read_idx(idx / "train-images-idx3-ubyte.gz")[..., None] / np.float32(255)
    labels = read_idx(idx / "train-labels-idx1-ubyte.gz")
    test = read_idx(idx / "t10k-images-idx3-ubyte.gz")[..., None] / np.float32(255)
    truth = read_idx(idx / "t10k-labels-idx1-ubyte.gz")
    for interpolation in ("nearest", "bilinear"):
        model = network(interpolation)
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(images, labels, epochs=5, batch_size=32, verbose=0)
        single = network(interpolation, batch=1)  # as the notebook does: no dynamic shapes in the file
        single.set_weights(model.get_weights())
        converter = tf.lite.TFLiteConverter.from_keras_model(single)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([images[i : i + 1]] for i in range(1000))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        (out / f"{interpolation}.tflite").write_bytes(converter.convert())
        accuracy = 100 * np.mean(model.predict(test, batch_size=500, verbose=0).argmax(1) == truth)
        print(f"notebook {interpolation}: {accuracy:.2f} % (float32)", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
