"""Mel power relative to the level of its clip."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="loglearn_tf")
class ClipLevel(keras.layers.Layer):  # type: ignore[misc]
    """Divides the mel power of a clip by its level, the mean over all frames and bands.

    Compressions with `relative` expect this input. Afterwards the mean is 1, however loud the recording was. A clip
    without any power is unchanged. `clip_classifier` adds this layer before the patches of such a network; for training
    on a mel store, patches are divided by the level of their whole clip.

    Args:
        **kwargs: `name`, `dtype`, for the base layer.

    Input shape:
        `(batch, frames, n_mels)`, mel power, >= 0; all frames of each clip.

    Output shape:
        As the input, float32.

    Raises:
        ValueError: If the input has fewer axes.

    Example:
        >>> import numpy as np
        >>> np.asarray(ClipLevel()(np.float32([[[1, 3], [0, 4]], [[0, 0], [0, 0]]]))).tolist()
        [[[0.5, 1.5], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]]
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # mel power exceeds the range of half precision

    def call(self, mel: Any) -> Any:
        _check_shape(mel.shape)
        mel = ops.cast(mel, "float32")
        level = ops.mean(mel, axis=(1, 2), keepdims=True)
        return mel / ops.where(level > 0, level, 1.0)

    def compute_output_spec(self, mel: Any) -> keras.KerasTensor:
        _check_shape(mel.shape)
        return keras.KerasTensor(mel.shape, dtype="float32")


def _check_shape(shape: Any) -> None:
    if getattr(shape, "rank", 0) is None:
        return  # TensorFlow does not know it yet
    if len(shape) < 3:
        raise ValueError(
            "The input of `ClipLevel` must have the shape (batch, frames, n_mels), with all frames of each clip. "
            f"Received: {tuple(shape)}. Add the missing axes, such as the batch: `mel[None]`."
        )


def needs_clip_level(network: Any) -> bool:
    """Whether a network expects patches relative to their clip's level: one of its compressions is `relative`."""
    return any(
        needs_clip_level(layer) if isinstance(layer, keras.Model) else getattr(layer, "relative", False) is True
        for layer in network.layers
    )
