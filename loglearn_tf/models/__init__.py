"""The networks: from mel power patches to logits, including the compression."""

import logging
import numbers
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from loglearn_tf.models.base import N_MELS, PATCH_FRAMES
from loglearn_tf.models.check import try_out
from loglearn_tf.models.registry import MODELS, Network
from loglearn_tf.models.seeding import seeded

if TYPE_CHECKING:
    import keras

__all__ = ["MODELS", "Network", "build_model", "check_network", "seeded"]
_log = logging.getLogger(__name__)


def build_model(
    name: str,
    *,
    n_classes: int = 10,
    compression: "str | keras.layers.Layer" = "loglearn",
    seed: int = 0,
    **kwargs: Any,
) -> "keras.Model":
    """Builds a network of the reference experiment or your own.

    Two models that differ only in `compression` start with identical weights everywhere else and draw identical dropout
    masks.

    Args:
        name: `"sb_cnn"`, `"vgg"`, `"timbre"`, `"prototypical"`, or your own builder or
            `Network`: `"my_lab.nets:build_crnn"`.
        n_classes: Number of logits.
        compression: A name in `COMPRESSIONS`, or any layer that maps `(batch, frames, n_mels)` mel
            power to the same shape.
        seed: The seeds of all initialisers and dropouts are derived from it.
        **kwargs: Arguments of the builder: `patch_frames`, `n_mels`, `l2`; `n_filters` for VGG and
            prototypical networks; `protocol` for the latter.

    Returns:
        Functional model, `(batch, 128, 128)` mel power to `(batch, n_classes)` logits.

    Raises:
        ValueError: If there is no such network or compression, `n_classes` is below 2, your own builder returns
            something else, or weights with weight decay would not have the type `keras.config.floatx()`.

    Reference:
        The paper, section 2; parameter counts: docs/fidelity.md, "Networks".

    Example:
        >>> build_model("timbre", n_classes=10, compression="logeps").output_shape
        (None, 10)
    """
    # Imported here: the list of networks is also read without Keras.
    from loglearn_tf.layers import build_compression

    MODELS.check(name, setting="name")
    if isinstance(n_classes, bool) or not isinstance(n_classes, numbers.Integral) or n_classes < 2:
        raise ValueError(f"`n_classes` must be an integer of at least 2. Received: n_classes={n_classes!r}.")
    model = MODELS[name](n_classes=int(n_classes), compression=build_compression(compression), seed=seed, **kwargs)
    _check(model, name, n_classes=int(n_classes), **kwargs)
    _check_types(model)
    return model


def check_network(
    name: str,
    *,
    n_classes: int = 10,
    compression: "Callable[[], keras.layers.Layer] | None" = None,
    n_mels: int = N_MELS,
    patch_frames: int = PATCH_FRAMES,
    saved: bool = True,
) -> None:
    """Checks that a network can be used in a study, by building it a few times and calling it on noise.

    - It returns logits of the right shape, not probabilities.
    - It uses the compression exactly once, and gradients reach it.
    - With the same seed, networks with different compressions start with the same weights and dropout seeds; otherwise
      comparisons would not be paired. With another seed they start with other weights.
    - The logits of a patch depend only on that patch: not on earlier calls, nor on the rest of the batch.
    - After saving and loading it gives the same result.

    Args:
        name: As for `build_model`: `"my_lab.nets:build_crnn"`.
        n_classes: Number of logits.
        compression: Function that returns a new layer of the compression to use; default: loglearn.
        n_mels, patch_frames: Size of its input.
        saved: Whether saving must work; otherwise problems with saving are only warnings.

    Raises:
        ValueError: If a check fails; the message names the remedy.
    """
    build = partial(build_model, name, n_classes=n_classes, n_mels=n_mels, patch_frames=patch_frames)
    try_out(name, build, compression=compression, shape=(patch_frames, n_mels), saved=saved)


def _check_types(model: Any) -> None:
    """Raises a `ValueError` if `fit` would fail with Keras' settings, and warns if it would lose precision."""
    import keras

    floatx = keras.config.floatx()
    decayed = {w.dtype for w in model.trainable_weights if getattr(w, "regularizer", None) is not None} - {floatx}
    if decayed:
        raise ValueError(
            "Keras' dtype policy and `floatx` must agree: Keras cannot add the weight decay of weights in one type "
            f"to a loss in another. Received: weights in {decayed.pop()}, floatx={floatx!r}. Call "
            f"`keras.config.set_floatx({keras.config.dtype_policy().variable_dtype!r})` first, or use `l2=0` for no "
            "weight decay."
        )
    if floatx == "float16":
        _log.warning(
            "`keras.config.floatx()` is float16: `fit` and `predict` cast NumPy arrays to it, and mel power above "
            "65,504 becomes infinite, below 6e-8 zero. Use a tf.data.Dataset of float32, or set floatx to float32."
        )


def _check(
    model: Any, name: str, *, n_classes: int, patch_frames: int | None = None, n_mels: int | None = None, **_: Any
) -> None:
    """Raises a `ValueError` unless the model maps mel power patches to logits."""
    import keras

    if not isinstance(model, keras.Model):
        raise ValueError(f"Network {name} must return a keras.Model. Received: {type(model).__name__}.")
    try:
        taken, given = model.input_shape, model.output_shape
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"Network {name} must return a model with known shapes: a functional one, or one that was called on "
            f"a batch. Received: {type(model).__name__}."
        ) from error
    asked = (None, patch_frames, n_mels)
    if not isinstance(taken, tuple) or len(taken) != 3 or not all(map(_may_be, taken, asked)):
        raise ValueError(
            f"Network {name} must take mel power of shape (batch, {patch_frames or 'patch_frames'}, "
            f"{n_mels or 'n_mels'}). Received: input shape {taken}."
        )
    if given != (None, n_classes):
        raise ValueError(
            f"Network {name} must return logits of shape (batch, n_classes) = (None, {n_classes}). Received: output "
            f"shape {given}."
        )


def _may_be(size: Any, asked: int | None) -> bool:
    return size is None or asked is None or size == asked
