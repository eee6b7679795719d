"""Keras callbacks: trajectories of the compression, and the end of a run that went wrong."""

import math
from typing import Any

import keras


class NonFiniteError(ArithmeticError):
    """A loss, or a value of the compression, is no longer a finite number."""


class Trajectory(keras.callbacks.Callback):  # type: ignore[misc]
    """Records loss, accuracy, alpha, beta and knee: before training (epoch 0) and after every epoch.

    Attributes:
        rows: One dictionary an epoch; `None` where there is nothing to record (loss before
            training, alpha of a compression without one).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float | int | None]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.rows = [{"epoch": 0, "loss": None, "accuracy": None, **compression_values(self.model)}]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        row = {"epoch": epoch + 1, "loss": logs.get("loss"), "accuracy": logs.get("accuracy")}
        self.rows.append({**row, **compression_values(self.model)})


class StopOnNonFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training with a `NonFiniteError` that names the step and the value.

    The loss is looked at after every step, alpha, beta and knee after every epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._step = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        self._check("loss", (logs or {}).get("loss"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, value in compression_values(self.model).items():
            self._check(name, value)

    def _check(self, name: str, value: float | None) -> None:
        if value is not None and not math.isfinite(value):
            raise NonFiniteError(f"{name} is {value} at step {self._step}. Lower `training.learning_rate`.")


def compression_values(model: keras.Model) -> dict[str, float | None]:
    """Alpha, beta and knee of a model's compression: `None` where it has none, the mean where per band."""
    for layer in model.layers:
        if hasattr(layer, "knee"):
            return {
                name: float(keras.ops.mean(keras.ops.convert_to_tensor(getattr(layer, name))))
                for name in ("alpha", "beta", "knee")
            }
    return {"alpha": None, "beta": None, "knee": None}
