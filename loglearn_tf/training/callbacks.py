"""Keras callbacks: trajectories of the compression, and the end of a run that went wrong."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt


class NonFiniteError(ArithmeticError):
    """A loss, or a value of the compression, is no longer a finite number."""


class CompressionTrajectory(keras.callbacks.Callback):  # type: ignore[misc]
    """Records the path of every learned compression, before training (epoch 0) and after every epoch.

    For any `model.fit`: `callbacks=[CompressionTrajectory(log_dir="logs")]` shows in TensorBoard the scalars
    `compression/alpha`, `compression/beta` and `compression/knee`, what `fit` logs as `training/loss` and so on,
    and before and after training the curve and, of a sample, the histogram of what comes out.

    Args:
        layers: Suffix -> layer. `""` makes the columns `alpha`, `beta`, `knee` and the tags `compression/alpha` ...,
            `"_support"` the columns `alpha_support` ... and the tags `compression_support/alpha` ... By default every
            layer of the model that has a knee, nested models included: one as `""`, more as `_` and their names.
        log_dir: Folder of TensorBoard's event files; `None` for none.
        sample: `(batch, frames, n_mels)` mel power, for the histogram.

    Attributes:
        rows: One dictionary an epoch: `epoch`, `loss`, `accuracy`, then every column; `None` where there is nothing to
            record (loss before training, alpha of a compression without one). Of layers with a pair per band, the mean
            over bands.

    Raises:
        ValueError: When training begins, if the model has no layer with a knee and none was named.
    """

    def __init__(
        self,
        layers: Mapping[str, keras.layers.Layer] | None = None,
        *,
        log_dir: str | Path | None = None,
        sample: Any = None,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.log_dir = log_dir
        self.sample = sample
        self.rows: list[dict[str, float | int | None]] = []
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.layers is None:
            self.layers = _layers_with_knee(self.model)
        if self.log_dir is not None:
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(str(self.log_dir))
        self._record(0, {})
        self._show_curves(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._record(epoch + 1, logs or {})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._show_curves(int(self.rows[-1]["epoch"] or 0))
            self._writer.close()
            self._writer = None

    def values(self) -> dict[str, float | None]:
        """The present values, one for each column."""
        return {
            f"{name}{suffix}": value
            for suffix, layer in (self.layers or {}).items()
            for name, value in compression_values(layer).items()
        }

    def _record(self, epoch: int, logs: Mapping[str, Any]) -> None:
        row = {"epoch": epoch, "loss": logs.get("loss"), "accuracy": logs.get("accuracy"), **self.values()}
        if epoch == 0:
            self.rows = []
        self.rows.append(row)
        if self._writer is not None:
            scalars = {f"training/{name}": value for name, value in logs.items()}
            for suffix, layer in (self.layers or {}).items():
                scalars |= {f"compression{suffix}/{name}": x for name, x in compression_values(layer).items()}
            self._write(epoch, scalar={name: value for name, value in scalars.items() if value is not None})

    def _show_curves(self, epoch: int) -> None:
        if self._writer is None:
            return
        histograms, images = {}, {}
        for suffix, layer in (self.layers or {}).items():
            images[f"compression{suffix}/curve"] = curve_image(layer)
            if self.sample is not None:
                histograms[f"compression{suffix}/log_mel"] = keras.ops.convert_to_numpy(layer(self.sample))
        self._write(epoch, image=images, histogram=histograms)

    def _write(self, epoch: int, **summaries: Mapping[str, Any]) -> None:
        import tensorflow as tf

        with self._writer.as_default():
            for kind, values in summaries.items():
                for name, value in values.items():
                    getattr(tf.summary, kind)(name, value, step=epoch)


class StopOnNonFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training with a `NonFiniteError` that names the step and the value.

    The loss is looked at after every step, alpha, beta and knee after every epoch.

    Args:
        trajectory: Reads alpha, beta and knee.
    """

    def __init__(self, trajectory: CompressionTrajectory) -> None:
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
        Reference code, `src/proto.py`; docs/fidelity.md, "Prototypical training".
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


def compression_of(model: keras.Model) -> keras.layers.Layer:
    """The compression of a network of this package: its first layer after the input."""
    return model.layers[1]


def _layers_with_knee(model: keras.Model) -> dict[str, keras.layers.Layer]:
    found = list(dict.fromkeys(_walk(model)))  # a shared layer counts once
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no layer with a knee, as LearnableLog has. Received: layers=None. Name the "
            "layers to watch: `CompressionTrajectory({'': layer})`."
        )
    return {"": found[0]} if len(found) == 1 else {f"_{layer.name}": layer for layer in found}


def _walk(layer: Any) -> Iterator[keras.layers.Layer]:
    for one in getattr(layer, "layers", ()):
        if hasattr(one, "knee"):
            yield one
        yield from _walk(one)


def curve_image(layer: keras.layers.Layer) -> npt.NDArray[np.uint8]:
    """Plots what a compression makes of mel power from 1e-16 to 1e4: `(1, height, width, 3)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    power = np.logspace(-16, 4, 200, dtype=np.float32)
    if hasattr(layer, "curve"):
        compressed = layer.curve(power)
    else:  # a layer of someone's own, with a knee; one a band needs as many bands
        n_mels = int(np.size(keras.ops.convert_to_numpy(layer.knee))) if hasattr(layer, "knee") else 1
        steady = np.repeat(power[:, np.newaxis], n_mels, axis=1)[np.newaxis]
        compressed = np.median(keras.ops.convert_to_numpy(layer(steady))[0], axis=1)
    figure = Figure(figsize=(5, 3.5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.semilogx(power, compressed, color="#0072B2")
    knee = compression_values(layer)["knee"]
    if knee is not None:
        axes.axvline(knee, color="#D55E00", linestyle="--", label=f"knee {knee:.3g}")
        axes.legend(frameon=False)
    axes.set_xlabel("mel power")
    axes.set_ylabel("compressed")
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[np.newaxis, ..., :3]  # type: ignore[no-untyped-call]


def compression_values(layer: keras.layers.Layer | None) -> dict[str, float | None]:
    """Alpha, beta and knee of a compression: `None` where it has none, the mean where per band."""
    if not hasattr(layer, "knee"):
        return {"alpha": None, "beta": None, "knee": None}
    return {
        name: float(keras.ops.mean(keras.ops.convert_to_tensor(getattr(layer, name))))
        for name in ("alpha", "beta", "knee")
    }
