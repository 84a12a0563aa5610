"""train: train the recipe's network from scratch, the same bytes each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from utils import environment, files, timing
from utils.errors import BuildError
from utils.graph import record
from utils.graph.step import Step
from utils.model import augment, datasets, network, preprocess
from utils.recipe.schema import Recipe
from utils.recipe.tables import Train
from utils.steps import main, say, show_progress
from utils.tasks import Examples

__all__ = ["Curve", "fit", "work"]

#: Training steps that one call of TensorFlow runs: keras' own loop took a third longer for them.
BLOCK = 50


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Train; write the weights and ``history.json``: loss and accuracy for each block of steps."""
    assert recipe.train is not None  # plan.steps_of asked
    tf = environment.pin_tensorflow(recipe.train.seed)
    weights, history = step.writes
    model, curve = fit(tf, recipe, recipe.train, datasets.load(recipe, recipe.train.dataset))
    network.save_weights(model, outputs.new(weights))
    outputs.new(history).write_text(files.dump_json(curve.points), encoding="utf-8")


class Curve:
    """Loss and accuracy of each block of steps, which the user sees, too.

    Attributes:
        points: ``epoch``, ``loss`` and ``accuracy`` (0..1), one entry a block.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        self.points: dict[str, list[float]] = {"epoch": [], "loss": [], "accuracy": []}
        self._epochs, self._steps = epochs, steps
        self._sums = np.zeros(2)

    def add(self, epoch: int, done: int, count: int, loss: float, right: float) -> None:
        """Add a block.

        Args:
            epoch: in which it is, from 0.
            done: steps of this epoch, with those of the block.
            count: steps of the block.
            loss: the mean over the block.
            right: the share of right answers in it, 0..1.
        """
        self.points["epoch"].append(round(epoch + done / self._steps, 4))
        self.points["loss"].append(round(loss, 5))
        self.points["accuracy"].append(round(right, 5))
        self._sums = self._sums * (done > count) + count * np.asarray([loss, right])
        mean, accuracy = self._sums / done
        show_progress(
            epoch * self._steps + done, self._epochs * self._steps, f"epoch {epoch + 1}/{self._epochs}, loss {mean:.4f}"
        )
        tenths = 10 * done // self._steps
        if done == self._steps:
            say(f"epoch {epoch + 1}/{self._epochs}: {100 * accuracy:.2f} % right, loss {mean:.4f}")
        elif tenths != 10 * (done - count) // self._steps:
            say(f"epoch {epoch + 1}/{self._epochs} {10 * tenths:3d} %  loss {mean:.4f}")


def fit(tf: Any, recipe: Recipe, how: Train, examples: Examples) -> tuple[Any, Curve]:
    """Train the recipe's network on ``examples``; TensorFlow is pinned.

    Returns:
        The trained keras.Model, and its curve.

    Raises:
        BuildError: the training set is too small for the batch or the warm-up, or the loss is no number.
    """
    steps = _steps(recipe, how, len(examples.inputs))
    model = network.build(recipe)
    run = _compiled(tf, model, how, steps * how.epochs)
    targets = np.eye(recipe.classes, dtype=np.float32)[examples.labels]
    curve = Curve(how.epochs, steps)
    rng = np.random.default_rng(how.seed)
    for epoch in range(how.epochs):
        if how.shift or not epoch:
            with timing.phase("read"):
                images = augment.shift_images(examples.inputs, how.shift, rng) if how.shift else examples.inputs
                inputs = preprocess.tensor_of(images, recipe.input)
        order = rng.permutation(len(inputs))[: steps * how.batch_size].reshape(steps, how.batch_size)
        for begin in range(0, steps, BLOCK):
            chosen = order[begin : begin + BLOCK]
            loss, right = run(inputs[chosen], targets[chosen])
            curve.add(epoch, begin + len(chosen), len(chosen), float(loss), float(right))
            if not np.isfinite(loss):
                raise BuildError(
                    "the training diverged: the loss is not a number",
                    where=f"{recipe.where}: train.learning_rate",
                    hint="lower it",
                )
    return model, curve


def _steps(recipe: Recipe, how: Train, count: int) -> int:
    """The steps of an epoch; a short last batch is left out."""
    steps = count // how.batch_size
    if not steps:
        raise BuildError(
            f"a batch of {how.batch_size} inputs, but the training set has {count}",
            where=f"{recipe.where}: train.batch_size",
            hint="lower it",
        )
    if steps * how.epochs <= how.warmup_steps:
        raise BuildError(
            f"{steps * how.epochs} training steps are not more than {how.warmup_steps} of warm-up",
            where=f"{recipe.where}: train.warmup_steps",
            hint="lower it, or train for more epochs",
        )
    return steps


def _compiled(tf: Any, model: Any, how: Train, steps: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """A function of inputs (block, batch, ...) and one-hot targets that takes a step a batch.

    It returns the mean loss and the share of right answers. One graph runs the whole block: nothing goes back to Python
    between two steps.
    """
    rate = tf.keras.optimizers.schedules.CosineDecay(
        how.learning_rate / 10,
        steps - how.warmup_steps,
        warmup_target=how.learning_rate,
        warmup_steps=how.warmup_steps,
    )
    weights = model.trainable_variables
    update = _adam(tf, [weight.value for weight in weights], rate)
    measure = tf.keras.losses.CategoricalCrossentropy(label_smoothing=how.label_smoothing)
    shapes = [(None, how.batch_size, *tensor.shape[1:]) for tensor in (model.inputs[0], model.outputs[0])]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])  # type: ignore[untyped-decorator]
    def run(inputs: Any, targets: Any) -> tuple[Any, Any]:
        losses, right = 0.0, 0.0
        for number in tf.range(tf.shape(inputs)[0]):
            with tf.GradientTape() as tape:
                found = model(inputs[number], training=True)
                loss = tf.add_n([measure(targets[number], found), *model.losses])
            update(tape.gradient(loss, weights))
            same = tf.argmax(found, axis=-1) == tf.argmax(targets[number], axis=-1)
            losses += loss
            right += tf.reduce_mean(tf.cast(same, tf.float32))
        count = tf.cast(tf.shape(inputs)[0], tf.float32)
        return losses / count, right / count

    return run  # type: ignore[no-any-return]  # TensorFlow is untyped


def _adam(tf: Any, weights: list[Any], rate: Any) -> Callable[[list[Any]], None]:
    """A function of gradients that changes the weights as Adam does, with keras' constants.

    One kernel a weight: keras' own Adam is ten operators a weight, a tenth of the time of such a small network's step.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-7
    first, second = ([tf.Variable(tf.zeros_like(weight)) for weight in weights] for _ in range(2))
    done = tf.Variable(0, dtype=tf.int64)

    def update(gradients: list[Any]) -> None:
        learning_rate = rate(done)
        done.assign_add(1)
        count = tf.cast(done, tf.float32)
        for weight, m, v, gradient in zip(weights, first, second, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle, m=m.handle, v=v.handle, grad=gradient, lr=learning_rate, epsilon=epsilon,
                beta1=beta1, beta2=beta2, beta1_power=tf.pow(beta1, count), beta2_power=tf.pow(beta2, count),
            )  # fmt: skip

    return update


if __name__ == "__main__":
    main(work)
