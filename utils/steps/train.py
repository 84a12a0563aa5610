"""train: train the recipe's network from scratch, the same bytes each time."""

from __future__ import annotations

from typing import Any

import numpy as np

from utils import environment, files
from utils.errors import BuildError
from utils.graph import record
from utils.graph.step import Step
from utils.model import datasets, network, preprocess
from utils.recipe.schema import Recipe
from utils.recipe.tables import Train
from utils.steps import main, say, show_progress

#: Training steps that TensorFlow runs between two looks at Python: a third less time an epoch.
BLOCK = 50


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Train; write the weights and ``history.json``: loss and accuracy for each block of steps."""
    assert recipe.train is not None  # plan.steps_of asked
    tf = environment.pin_tensorflow(recipe.train.seed)
    weights, history = step.writes
    examples = datasets.load(recipe, recipe.train.dataset)
    inputs = preprocess.tensor_of(examples.inputs, recipe.input)
    targets = tf.keras.utils.to_categorical(examples.labels, recipe.classes)
    model = network.build(recipe)
    curve = _fit(tf, model, recipe, recipe.train, inputs, targets)
    if not np.isfinite(curve["loss"]).all():
        raise BuildError(
            "the training diverged: the loss is not a number",
            where=f"{recipe.where}: train.learning_rate",
            hint="lower it",
        )
    network.save_weights(model, outputs.new(weights))
    outputs.new(history).write_text(files.dump_json(curve), encoding="utf-8")


def _fit(tf: Any, model: Any, recipe: Recipe, how: Train, inputs: Any, targets: Any) -> dict[str, list[float]]:
    steps = len(inputs) // how.batch_size * how.epochs
    if not steps:
        raise BuildError(
            f"a batch of {how.batch_size} inputs, but the training set has {len(inputs)}",
            where=f"{recipe.where}: train.batch_size",
            hint="lower it",
        )
    if steps <= how.warmup_steps:
        raise BuildError(
            f"{steps} training steps are not more than {how.warmup_steps} of warm-up",
            where=f"{recipe.where}: train.warmup_steps",
            hint="lower it, or train for more epochs",
        )
    rate = tf.keras.optimizers.schedules.CosineDecay(
        how.learning_rate / 10,
        steps - how.warmup_steps,
        warmup_target=how.learning_rate,
        warmup_steps=how.warmup_steps,
    )
    model.compile(
        optimizer=tf.keras.optimizers.Adam(rate),
        loss=tf.keras.losses.CategoricalCrossentropy(label_smoothing=how.label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=BLOCK,
    )
    whole = len(inputs) // how.batch_size * how.batch_size  # a short last batch would trace a second graph
    curve = _curve(tf, how.epochs, whole // how.batch_size)
    model.fit(
        inputs[:whole], targets[:whole], batch_size=how.batch_size, epochs=how.epochs, verbose=0, callbacks=[curve]
    )
    return curve.points  # type: ignore[no-any-return]  # keras is untyped


def _curve(tf: Any, epochs: int, steps: int) -> Any:
    class Curve(tf.keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
        """Keeps the mean loss and accuracy of each block, and tells the user how far it is."""

        points: dict[str, list[float]]

        def __init__(self) -> None:
            super().__init__()
            self.points = {"epoch": [], "loss": [], "accuracy": []}

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch, self.seen, self.sums = epoch, 0, {"loss": 0.0, "accuracy": 0.0}

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            done = min(batch + 1, steps)  # an epoch's last block may be a short one
            count = done - self.seen  # keras gives the mean since the epoch began: take the block's own out of it
            self.points["epoch"].append(round(self.epoch + done / steps, 4))
            for key in self.sums:
                total = float(logs[key]) * done
                self.points[key].append(round((total - self.sums[key]) / count, 5))
                self.sums[key] = total
            self.seen = done
            whole = self.epoch * steps + done
            show_progress(whole, epochs * steps, f"epoch {self.epoch + 1}/{epochs}, loss {logs['loss']:.4f}")
            if (10 * self.seen) // steps != (10 * (self.seen - count)) // steps and self.seen < steps:
                say(f"epoch {self.epoch + 1}/{epochs} {100 * self.seen // steps:3d} %  loss {logs['loss']:.4f}")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            say(f"epoch {epoch + 1}/{epochs}: {100 * logs['accuracy']:.2f} % right, loss {logs['loss']:.4f}")

    return Curve()


if __name__ == "__main__":
    main(work)
