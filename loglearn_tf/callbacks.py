"""Keras callbacks: trajectories of the compression, and the end of a run that went wrong."""

import math
from collections.abc import Mapping
from typing import Any

import keras


class NonFiniteError(ArithmeticError):
    """A loss, or a value of the compression, is no longer a finite number."""


class Trajectory(keras.callbacks.Callback):  # type: ignore[misc]
    """Records loss, accuracy, alpha, beta and knee: before training (epoch 0) and after every epoch.

    Args:
        compressions: Suffix of the columns (`""` for plain `alpha`, `beta`, `knee`) -> the layer to read.

    Attributes:
        rows: One dictionary an epoch; `None` where there is nothing to record (loss before
            training, alpha of a compression without one).
    """

    def __init__(self, compressions: Mapping[str, keras.layers.Layer]) -> None:
        super().__init__()
        self.compressions = compressions
        self.rows: list[dict[str, float | int | None]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.rows = [{"epoch": 0, "loss": None, "accuracy": None, **self.values()}]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        row = {"epoch": epoch + 1, "loss": logs.get("loss"), "accuracy": logs.get("accuracy")}
        self.rows.append({**row, **self.values()})

    def values(self) -> dict[str, float | None]:
        """The present values, one for each column."""
        return {
            f"{name}{suffix}": value
            for suffix, layer in self.compressions.items()
            for name, value in compression_values(layer).items()
        }


class StopOnNonFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training with a `NonFiniteError` that names the step and the value.

    The loss is looked at after every step, alpha, beta and knee after every epoch.

    Args:
        trajectory: Reads alpha, beta and knee.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        super().__init__()
        self._trajectory = trajectory
        self._step = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        self._check("loss", (logs or {}).get("loss"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, value in self._trajectory.values().items():
            self._check(name, value)

    def _check(self, name: str, value: float | None) -> None:
        if value is not None and not math.isfinite(value):
            raise NonFiniteError(f"{name} is {value} at step {self._step}. Lower `training.learning_rate`.")


class StopWithoutProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training after too many epochs without a new best training accuracy.

    Args:
        epochs: How many such epochs end it.
        in_a_row: Whether a new best starts the count again. In the reference code it never does.

    Reference:
        Reference code, `src/pn_train.py`; FIDELITY, "Prototypical training".
    """

    def __init__(self, *, epochs: int, in_a_row: bool) -> None:
        super().__init__()
        self.epochs = epochs
        self.in_a_row = in_a_row

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._best = -math.inf
        self._without = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        accuracy = (logs or {})["accuracy"]
        if accuracy > self._best:
            self._best = accuracy
            self._without = 0 if self.in_a_row else self._without
        else:
            self._without += 1
        if self._without >= self.epochs:
            self.model.stop_training = True


def find_compression(model: keras.Model) -> keras.layers.Layer | None:
    """The layer of a network that has a knee; `None` where the compression learns nothing."""
    return next((layer for layer in model.layers if hasattr(layer, "knee")), None)


def compression_values(layer: keras.layers.Layer | None) -> dict[str, float | None]:
    """Alpha, beta and knee of a compression: `None` where it has none, the mean where per band."""
    if not hasattr(layer, "knee"):
        return {"alpha": None, "beta": None, "knee": None}
    return {
        name: float(keras.ops.mean(keras.ops.convert_to_tensor(getattr(layer, name))))
        for name in ("alpha", "beta", "knee")
    }
