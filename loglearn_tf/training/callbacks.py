"""Keras callbacks: trajectories of the compression, and early ends of training."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf.layers import Compression

_log = logging.getLogger(__name__)


class NonFiniteError(ArithmeticError):
    """A loss or a value of the compression is no longer finite."""


class CompressionTrajectory(keras.callbacks.Callback):  # type: ignore[misc]
    """Records alpha, beta and knee of every learned compression, before training and after every epoch.

    For any `model.fit`, with or without TensorBoard. The event files contain the scalars `compression/alpha`,
    `compression/beta` and `compression/knee`, what `fit` logs as `training/loss` and so on, and, before and after
    training, the curve of the compression and, for a sample, the histogram of its output.

    A warning is logged if the optimiser's weight decay affects the compression; see `LearnableLog`.

    One callback can be used for several calls of `fit`. A call that starts at epoch 0 restarts `rows`, even with
    another model; one with `initial_epoch` continues after the rows of earlier epochs, in the same TensorBoard folder.

    Args:
        layers: Suffix -> layer with `alpha`, `beta` and `knee`. `""` gives the columns `alpha`, `beta`, `knee` and the
            tags `compression/alpha` ..., `"_support"` the columns `alpha_support` ... and the tags
            `compression_support/alpha` ... By default every layer of the model with a knee, wherever it is: in nested
            models, in wrappers such as `TimeDistributed`, in attributes of layers. A single one has the suffix `""`,
            several have `_` and their names.
        log_dir: Folder of TensorBoard's event files; `None` for none.
        sample: `(batch, frames, n_mels)` mel power, for the histogram.
        validation: Whether `fit` gets validation data, whose loss and accuracy are then included in the rows.

    Attributes:
        rows: One dictionary per epoch, starting with the state before training: `epoch` (0 before training, then
            counted from 1), `loss`, `accuracy`, with `validation` also `val_loss` and `val_accuracy`, then `alpha`,
            `beta` and `knee` of each layer. `None` if there is nothing to record: the loss before training, or alpha of
            a compression without one. For a layer with one value per band, the median over bands, which is robust to
            the few bands without sound; or a value that is not finite, if a band has one.
        best_epoch: With validation, the epoch whose weights were kept, set by the trainers of this package.

    Raises:
        ValueError: When training starts, if the model has no layer with a knee and none was given.

    Example:
        >>> import numpy as np
        >>> from loglearn_tf.layers import LearnableLog
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([LearnableLog(), keras.layers.Flatten(), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> trajectory = CompressionTrajectory()
        >>> mel, targets = np.ones((2, 3, 4)), np.zeros(2)
        >>> _ = model.fit(mel, targets, epochs=2, verbose=0, callbacks=[trajectory])
        >>> [row["epoch"] for row in trajectory.rows], round(trajectory.rows[0]["alpha"], 3)
        ([0, 1, 2], 1096.633)
    """

    def __init__(
        self,
        layers: Mapping[str, keras.layers.Layer] | None = None,
        *,
        log_dir: str | Path | None = None,
        sample: Any = None,
        validation: bool = False,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.log_dir = log_dir
        self.sample = sample
        self.validation = validation
        self.rows: list[dict[str, float | int | None]] = []
        self.best_epoch: int | None = None
        self._watched: Mapping[str, keras.layers.Layer] = layers or {}
        self._started = False
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        _warn_of_weight_decay(self.model, (self.layers or {}).values())
        self._watched = _layers_with_knee(self.model) if self.layers is None else self.layers
        self._started = False
        if self.log_dir is not None:
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(str(self.log_dir))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # The first epoch of training is only known now.
        if not self._started:
            self._start(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._record(epoch + 1, logs or {})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self.rows:  # zero epochs
            self._start(0)
        if self._writer is not None:
            self._show_curves(int(self.rows[-1]["epoch"] or 0))
            self._writer.close()
            self._writer = None

    def _start(self, epoch: int) -> None:
        self._started = True
        self.rows = [row for row in self.rows if epoch and (row["epoch"] or 0) <= epoch]
        if not self.rows or self.rows[-1]["epoch"] != epoch:
            self._record(epoch, {})
            self._show_curves(epoch)

    def values(self) -> dict[str, float | None]:
        """The current values, one for each column."""
        return {
            f"{name}{suffix}": value
            for suffix, layer in self._watched.items()
            for name, value in compression_values(layer).items()
        }

    def _record(self, epoch: int, logs: Mapping[str, Any]) -> None:
        logged = ("loss", "accuracy", *(("val_loss", "val_accuracy") if self.validation else ()))
        row = {"epoch": epoch, **{name: logs.get(name) for name in logged}, **self.values()}
        self.rows.append(row)
        if self._writer is not None:
            scalars = {f"training/{name}": value for name, value in logs.items()}
            for suffix, layer in self._watched.items():
                scalars |= {f"compression{suffix}/{name}": x for name, x in compression_values(layer).items()}
            self._write(epoch, scalar={name: value for name, value in scalars.items() if value is not None})

    def _show_curves(self, epoch: int) -> None:
        if self._writer is None:
            return
        histograms, images = {}, {}
        for suffix, layer in self._watched.items():
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


def _warn_of_weight_decay(model: keras.Model, watched: Iterable[keras.layers.Layer]) -> None:
    """Warns if weight decay affects compressions, whether watched or anywhere in the model."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # inside a loss-scaling optimiser
    # Not public, but used by every Keras 3 optimiser.
    decays = getattr(optimizer, "_use_weight_decay", None)
    rate = getattr(optimizer, "weight_decay", None)
    if decays is None or not rate:
        return
    inside = [layer for layer in layers_inside(model, {id(model)}) if isinstance(layer, Compression)]
    weights = {id(weight): weight for layer in (*watched, *inside) for weight in layer.trainable_weights}
    decayed = [weight.path for weight in weights.values() if decays(weight)]
    if decayed:
        _log.warning(
            "The optimiser's weight decay (%s, %g) pulls %s to zero regardless of the loss, so the knee drifts. "
            "Before training, call `exclude_compressions(optimizer, model)` of `loglearn_tf.training.optimizers`, "
            "or `optimizer.exclude_from_weight_decay(var_list=layer.trainable_weights)`.",
            type(optimizer).__name__,
            float(rate),
            " and ".join(decayed),
        )


class StopOnNonFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training with a `NonFiniteError` that names the step and the value.

    The loss is checked after every step, alpha, beta and knee after every epoch.

    Args:
        trajectory: Provides alpha, beta and knee.
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
            raise NonFiniteError(f"{name} is {value} at step {self._step}. Reduce `training.learning_rate`.")


class StopWithoutProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends training after too many epochs without a new best training accuracy.

    Args:
        epochs: Number of such epochs that end training.
        in_a_row: Whether a new best resets the count. In the reference code it never does.

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
    found = [layer for layer in layers_inside(model, {id(model)}) if hasattr(layer, "knee")]
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no layer with a knee, such as LearnableLog. Received: layers=None. Pass the "
            "layers to watch: `CompressionTrajectory({'': layer})`."
        )
    if len(found) == 1:
        return {"": found[0]}
    named: dict[str, keras.layers.Layer] = {}
    for layer in found:
        same = sum(other.name == layer.name for other in named.values())  # in nested models
        named[f"_{layer.name}_{same}" if same else f"_{layer.name}"] = layer
    return named


def layers_inside(holder: Any, seen: set[int]) -> Iterator[keras.layers.Layer]:
    """All distinct layers of a model at any depth: its own, and those in nested models, wrappers and attributes."""
    if isinstance(holder, keras.layers.Layer):
        # A model's layers first, to keep their order.
        held: Iterable[Any] = [*getattr(holder, "layers", ()), *vars(holder).values()]
    elif isinstance(holder, Mapping):
        held = list(holder.values())
    else:
        held = holder
    for one in held:
        if isinstance(one, (keras.layers.Layer, Mapping, list, tuple)) and id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, keras.layers.Layer):
                yield one
            yield from layers_inside(one, seen)


def curve_image(layer: keras.layers.Layer) -> npt.NDArray[np.uint8]:
    """Plots the output of a compression for mel power from 1e-16 to 1e4: `(1, height, width, 3)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    power = np.logspace(-16, 4, 200, dtype=np.float32)
    if hasattr(layer, "curve"):
        compressed = layer.curve(power)
    else:  # a custom layer with a knee; with one per band it needs as many bands
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
    axes.set_xlabel("mel power / clip level" if getattr(layer, "relative", False) is True else "mel power")
    axes.set_ylabel("compressed")
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[np.newaxis, ..., :3]  # type: ignore[no-untyped-call]


def compression_values(layer: keras.layers.Layer | None) -> dict[str, float | None]:
    """Alpha, beta and knee of a compression: `None` if it has none; the median over bands if per band.

    A non-finite value takes precedence, so that it is not hidden by finite bands.
    """
    if not hasattr(layer, "knee"):
        return {"alpha": None, "beta": None, "knee": None}
    return {name: _median(keras.ops.convert_to_numpy(getattr(layer, name))) for name in ("alpha", "beta", "knee")}


def _median(values: Any) -> float:
    values = np.ravel(values)
    wrong = values[~np.isfinite(values)]
    return float(wrong[0] if wrong.size else np.median(values))
