"""Networks in the formats that upstream publishes, with random weights: run as a program, in a process of its own.

python -m tests.support.networks mnasnet FOLDER [SIGNATURE]     FOLDER/mnasnet-a1-075.tgz, a TF1 SavedModel
python -m tests.support.networks resnet50 FOLDER    FOLDER/resnet50v2_weights_tf_dim_ordering_tf_kernels.h5, a legacy h5
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

#: The class that both answer when they see next to nothing: boxer.
FAVOURITE = 242

#: MNasNet-A1, blocks: kernel, stride, expansion, filters, repeats, squeeze-and-excitation (arXiv:1807.11626, figure 7).
BLOCKS = (
    (3, 1, 1, 16, 1, False),
    (3, 2, 6, 24, 2, False),
    (5, 2, 3, 40, 3, True),
    (3, 2, 6, 80, 4, False),
    (3, 1, 6, 112, 2, True),
    (5, 2, 6, 160, 3, True),
    (3, 1, 6, 320, 1, False),
)


def _width(filters: float) -> int:
    """``filters`` at width 0.75, rounded to a multiple of 8 as the original code does."""
    wide = max(8, int(filters * 0.75 + 4) // 8 * 8)
    return wide + 8 if wide < 0.9 * filters * 0.75 else wide


def mnasnet(tf: Any, image: Any) -> Any:
    """The TF1 graph of MNasNet-A1 0.75 with mean and standard deviation inside: logits for images 0..255."""
    v1 = tf.compat.v1
    count = iter(range(1000))

    def variable(name: str, shape: list[int], start: Any) -> Any:
        return v1.get_variable(f"{name}_{next(count)}", shape, initializer=start)

    def conv(x: Any, filters: int, kernel: int, stride: int, depthwise: bool = False) -> Any:
        inputs = x.shape[-1]
        fan = kernel * kernel * (1 if depthwise else inputs)
        start = v1.random_normal_initializer(stddev=(2.0 / fan) ** 0.5, seed=next(count))
        if depthwise:
            weights = variable("depthwise_kernel", [kernel, kernel, inputs, 1], start)
            return tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME")
        return tf.nn.conv2d(x, variable("kernel", [kernel, kernel, inputs, filters], start), stride, "SAME")

    def norm(x: Any, scale: float = 1.0) -> Any:
        size = [x.shape[-1]]
        gamma = variable("gamma", size, v1.constant_initializer(scale))
        moving = variable("moving_variance", size, v1.ones_initializer())
        beta, mean = (variable(name, size, v1.zeros_initializer()) for name in ("beta", "moving_mean"))
        return v1.nn.fused_batch_norm(x, gamma, beta, mean, moving, epsilon=1e-3, is_training=False)[0]

    def squeeze(x: Any, filters: int) -> Any:
        pooled = tf.reduce_mean(x, [1, 2], keepdims=True)
        for size, act in ((filters, tf.nn.relu), (x.shape[-1], tf.sigmoid)):
            pooled = act(0.1 * conv(pooled, size, 1, 1) + variable("bias", [size], v1.zeros_initializer()))
        return x * pooled

    x = (image - tf.constant([123.675, 116.28, 103.53])) / tf.constant([58.395, 57.12, 57.375])
    x = tf.nn.relu(norm(conv(x, _width(32), 3, 2)))
    for kernel, stride, expansion, filters, repeats, excite in BLOCKS:
        for repeat in range(repeats):
            before, step = x, stride if repeat == 0 else 1
            if expansion > 1:
                x = tf.nn.relu(norm(conv(x, before.shape[-1] * expansion, 1, 1)))
            x = tf.nn.relu(norm(conv(x, 0, kernel, step, depthwise=True)))
            if excite:
                x = squeeze(x, max(1, before.shape[-1] // 4))
            x = norm(conv(x, _width(filters), 1, 1), 0.5)  # so that what is added up does not grow without end
            if step == 1 and before.shape[-1] == x.shape[-1]:
                x = x + before
    x = tf.reduce_mean(tf.nn.relu(norm(conv(x, 1280, 1, 1))), [1, 2])
    weights = variable("dense", [1280, 1000], v1.random_normal_initializer(stddev=1.2, seed=7))
    favourite = v1.constant_initializer([8.0 * (number == FAVOURITE) for number in range(1000)])
    return tf.matmul(x, weights) + variable("bias", [1000], favourite)


def write_mnasnet(folder: Path, signature: str = "classify") -> Path:
    """A .tgz as upstream's: one folder with a TF1 SavedModel, signature ``classify``."""
    import tensorflow as tf

    v1 = tf.compat.v1
    home = folder / "mnasnet-a1-075"
    with v1.Graph().as_default(), v1.Session() as session:
        v1.disable_resource_variables()
        image = v1.placeholder(tf.float32, [None, 224, 224, 3], name="image")
        logits = mnasnet(tf, image)
        outputs = {"classes": tf.argmax(logits, axis=1), "probabilities": tf.nn.softmax(logits)}
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(home))
        call = v1.saved_model.predict_signature_def({"image": image}, outputs)
        builder.add_meta_graph_and_variables(session, ["serve"], {signature: call})
        builder.save()
    archive = folder / "mnasnet-a1-075.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(home, home.name)
    return archive


def write_legacy(model: Any, file: Path) -> Path:
    """An h5 as Keras publishes them: layer and weight names in attributes, in the order of the network."""
    import h5py

    with h5py.File(file, "w") as h5:
        h5.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        h5.attrs["backend"], h5.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer in model.layers:
            group = h5.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group.create_dataset(name, data=weight.numpy())
    return file


def write_resnet50(folder: Path) -> Path:
    """The weights of a ResNet50V2; the last bias makes class 242, boxer, the answer to everything."""
    import keras

    keras.utils.set_random_seed(1)
    model = keras.applications.ResNet50V2(weights=None)
    model.layers[-1].kernel.assign(64 * model.layers[-1].kernel)  # else all pictures are alike to it
    model.layers[-1].bias.assign([8.0 * (number == FAVOURITE) for number in range(1000)])
    return write_legacy(model, folder / "resnet50v2_weights_tf_dim_ordering_tf_kernels.h5")


if __name__ == "__main__":
    kind, where, *more = sys.argv[1:]
    {"mnasnet": write_mnasnet, "resnet50": write_resnet50}[kind](Path(where), *more)
