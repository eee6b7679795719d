"""Checks the requirements of a study on an outside network before any work is done."""

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from loglearn_tf._util.text import printable

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)
# Tolerance for float32 sums in another order.
_RTOL, _ATOL = 1e-3, 1e-4
_SEEDS = (1, 2)


def try_out(
    name: str,
    build: "Callable[..., keras.Model]",
    *,
    compression: "Callable[[], keras.layers.Layer] | None",
    shape: tuple[int, int],
    saved: bool,
) -> None:
    """Implements `models.check_network`.

    Args:
        name: Name of the network.
        build: Function of `compression` and `seed` that builds it.
        compression, saved: See there.
        shape: Number of frames and mel bands of its input.
    """
    from loglearn_tf.layers import LearnableLog, LogEps

    first = build(compression=(compression or partial(LearnableLog, name="loglearn"))(), seed=_SEEDS[0])
    # Typical mel power of sounds, from 1e-8 to 100.
    patches = (10 ** np.random.default_rng(0).uniform(-8, 2, (4, *shape))).astype(np.float32)

    _check_compression(name, build, patches)
    _check_logits(name, first, patches)
    _check_memory(name, first, patches)
    own = {id(variable) for variable in _compression_variables(first)}
    other = build(compression=LogEps(name="another_compression"), seed=_SEEDS[0])
    _check_same(name, _variables(first, own), _variables(other, {id(v) for v in _compression_variables(other)}))
    reseeded = build(compression=LogEps(name="another_compression"), seed=_SEEDS[1])
    _check_seed(name, other, reseeded)
    fault = _fault_of_saving(first, patches)
    if fault:
        message = (
            f"Network {printable(name)} must be the same after saving and loading. Received: {fault}. Give "
            "its own layers a complete `get_config`, and register them: `@keras.saving.register_keras_serializable()`"
        )
        if saved:
            raise ValueError(f"{message}, or disable `save_models`.")
        _log.warning("%s; until then its runs cannot be saved (`save_models`).", message)


def _check_compression(name: str, build: Callable[..., Any], patches: npt.NDArray[np.float32]) -> None:
    probe = _probe()
    model = build(compression=probe, seed=_SEEDS[0])
    probe.n_calls = 0
    gradient = _gradient(model, probe, patches) if probe.built else None
    if probe.n_calls != 1:
        raise ValueError(
            f"Network {printable(name)} must call `compression` once on its input. Received: {probe.n_calls} calls for "
            "a batch. Apply the layer passed to the builder to the mel power, and use its output."
        )
    if gradient is None or not np.any(gradient):
        raise ValueError(
            f"Network {printable(name)} must let gradients reach `compression`. Received: none between it and the "
            "logits. Use the layer's output, without `stop_gradient`, argmax or NumPy after it."
        )


def _probe() -> Any:
    """A compression with one weight that counts its calls."""
    import keras
    from keras import ops

    from loglearn_tf.layers import Compression

    class Probe(Compression):
        n_calls = 0

        def build(self, input_shape: Any) -> None:
            self.gain = self.add_weight(shape=(), initializer=keras.initializers.Constant(3.0), name="gain")
            super().build(input_shape)

        def compress(self, mel: Any) -> Any:
            self.n_calls += 1
            return ops.log(1.0 + self.gain * mel)

    return Probe(name="compression")


def _gradient(model: Any, probe: Any, patches: npt.NDArray[np.float32]) -> Any:
    """Gradient of a weighted sum of the logits with respect to the probe's weight."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = model(patches, training=False)
        weights = np.random.default_rng(1).normal(size=tuple(logits.shape)).astype(np.float32)
        total = tf.reduce_sum(tf.cast(logits, tf.float32) * weights)
    gradient = tape.gradient(total, probe.gain.value)
    return None if gradient is None else np.asarray(gradient)


def _check_logits(name: str, model: Any, patches: npt.NDArray[np.float32]) -> None:
    from loglearn_tf.layers.clip_head import are_probabilities

    given = np.asarray(model(patches, training=False), np.float64)
    if not np.isfinite(given).all():
        raise ValueError(
            f"Network {printable(name)} must return finite logits for mel power from 1e-8 to 100. Received: "
            f"{given[~np.isfinite(given)][0]}. Normalise the output of the compression, e.g. with BatchNormalization."
        )
    if are_probabilities(given):
        raise ValueError(
            f"Network {printable(name)} must return logits. Received: outputs between 0 and 1 that sum to 1: "
            "probabilities. Remove the softmax from its last layer: training and scoring apply one."
        )
    if np.all((given >= 0) & (given <= 1)) and np.ptp(given) > 0:
        _log.warning(
            "Network %s returns only outputs between 0 and 1: if its last layer is a sigmoid, remove it. Training and "
            "scoring treat outputs as logits.",
            printable(name),
        )


def _check_memory(name: str, model: Any, patches: npt.NDArray[np.float32]) -> None:
    before = [np.array(variable) for variable in model.variables]
    first = np.asarray(model(patches, training=False))
    model(patches[::-1], training=False)
    again = np.asarray(model(patches, training=False))
    moved = [v.path for v, value in zip(model.variables, before, strict=True) if not np.array_equal(v, value)]
    if moved or not _close(first, again):
        what = (
            f"{moved[0]} changes when it is called" if moved else "the same patches give other logits in a second call"
        )
        raise ValueError(
            f"Network {printable(name)} must have no state between calls in inference mode. Received: "
            f"{what}. Avoid `stateful=True` and randomness outside training."
        )
    alone = np.concatenate([np.asarray(model(patches[at : at + 1], training=False)) for at in range(len(patches))])
    if not _close(first, alone):
        raise ValueError(
            f"Network {printable(name)} must return the same logits for a patch alone and in a batch. Received: other "
            "logits in a batch. Normalise within each patch, or with BatchNormalization."
        )


def _compression_variables(model: Any) -> list[Any]:
    from loglearn_tf.layers import Compression

    found: list[Any] = []
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, Compression) or layer.name == "another_compression":
            found += layer.variables
    return found


def _variables(model: Any, without: set[int]) -> list[Any]:
    return [variable for variable in model.variables if id(variable) not in without]


def _check_same(name: str, ours: list[Any], theirs: list[Any]) -> None:
    shapes = [[tuple(variable.shape) for variable in some] for some in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Network {printable(name)} must be the same for every compression. Received: {len(shapes[0])} and "
            f"{len(shapes[1])} variables, or other shapes, for two compressions. Nothing else may depend on it."
        )
    differing = [one.path for one, other in zip(ours, theirs, strict=True) if not np.array_equal(one, other)]
    if differing:
        raise ValueError(
            f"Network {printable(name)} must start with the same weights for every compression, given the same `seed`: "
            f"comparisons are paired. Received: {len(differing)} variables that differ, such as {differing[0]}. `seed` "
            "must reach every initialiser and dropout; `return loglearn_tf.models.seeded(model, seed)` at the "
            "end of the builder does this."
        )


def _check_seed(name: str, ours: Any, theirs: Any) -> None:
    if all(np.array_equal(one, other) for one, other in zip(ours.variables, theirs.variables, strict=True)):
        raise ValueError(
            f"Network {printable(name)} must start with other weights for another `seed`. Received: the same for "
            f"seeds {_SEEDS[0]} and {_SEEDS[1]}, so all runs would be equal. Derive the seeds of its initialisers from "
            "`seed`, or `return loglearn_tf.models.seeded(model, seed)`."
        )


def _fault_of_saving(model: Any, patches: npt.NDArray[np.float32]) -> str:
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        try:
            model.save(path)
            loaded = keras.saving.load_model(path)
            ours, theirs = (np.asarray(one(patches, training=False)) for one in (model, loaded))
        except Exception as error:  # layer code may raise anything
            return printable(f"{type(error).__name__}: {error}".splitlines()[0], longest=300)
    return "" if _close(ours, theirs) else "a loaded copy gives other logits"


def _close(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> bool:
    return np.allclose(ours, theirs, rtol=_RTOL, atol=_ATOL)
