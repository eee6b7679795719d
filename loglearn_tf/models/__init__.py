"""The networks: mel power patches in, logits out, the compression inside."""

import numbers
from collections.abc import Callable
from typing import Any

import keras

from loglearn_tf.layers import build_compression
from loglearn_tf.models.prototypical import build_prototypical
from loglearn_tf.models.sb_cnn import build_sb_cnn
from loglearn_tf.models.timbre import build_timbre
from loglearn_tf.models.vgg import build_vgg

__all__ = ["MODELS", "build_model"]


# Name in settings, run folders and results -> builder.
MODELS: dict[str, Callable[..., keras.Model]] = {
    "sb_cnn": build_sb_cnn,
    "vgg": build_vgg,
    "timbre": build_timbre,
    "prototypical": build_prototypical,
}


def build_model(
    name: str,
    *,
    n_classes: int = 10,
    compression: "str | keras.layers.Layer" = "loglearn",
    seed: int = 0,
    **kwargs: Any,
) -> keras.Model:
    """Builds a network of the reference experiment.

    Two models that differ in `compression` alone start from identical weights everywhere else, and
    draw identical dropout masks.

    Args:
        name: `"sb_cnn"`, `"vgg"`, `"timbre"` or `"prototypical"`.
        n_classes: Number of logits.
        compression: A name in `COMPRESSIONS`, or any layer that maps `(batch, frames, n_mels)` mel
            power to the same shape.
        seed: Every initialiser and dropout takes its own seed from this one.
        **kwargs: For the builder: `patch_frames`, `n_mels`, `l2`; `n_filters` for VGG and
            prototypical networks; `protocol` for the latter.

    Returns:
        Functional model, `(batch, 128, 128)` mel power to `(batch, n_classes)` logits.

    Raises:
        ValueError: If there is no such network or compression, or `n_classes` is below 2.

    Reference:
        The paper, section 2; parameter counts: docs/fidelity.md, "Networks".

    Example:
        >>> build_model("timbre", n_classes=10, compression="logeps").output_shape
        (None, 10)
    """
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"`name` must be one of {sorted(MODELS)}. Received: name={name!r}.")
    if isinstance(n_classes, bool) or not isinstance(n_classes, numbers.Integral) or n_classes < 2:
        raise ValueError(f"`n_classes` must be an integer of at least 2. Received: n_classes={n_classes!r}.")
    return MODELS[name](n_classes=int(n_classes), compression=build_compression(compression), seed=seed, **kwargs)
