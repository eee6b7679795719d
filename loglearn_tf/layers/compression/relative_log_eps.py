"""log-EPS for levelled clips: the control of `RelativeKnee`, which differs only in the knee."""

from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.compression.base import Compression, in_float32


@keras.saving.register_keras_serializable(package="loglearn_tf")
class RelativeLogEps(Compression):
    """Fixed logarithmic compression of mel power relative to the clip's level, `log10(mel / level + eps)`.

    It shows the effect of levelling alone when `RelativeKnee` is compared with `LogEps`. Its input is `mel / level`;
    see `RelativeKnee`.

    Args:
        eps: Float > 0, as a fraction of the clip's level. The default is that of `LogEps`.
        **kwargs: `check_input` (see `Compression`); `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(..., n_mels)`, mel power divided by the clip's level, >= 0.

    Output shape:
        Same as the input, float32; base-10 logarithm of power.

    Raises:
        ValueError: If `eps` is not a positive number in float32's range.

    Example:
        >>> import numpy as np
        >>> np.asarray(RelativeLogEps()(np.float32([[[0.01, 1.0, 100.0]]]))).tolist()
        [[[-2.0, 0.0, 2.0]]]
    """

    pointwise = True
    relative = True

    def __init__(self, *, eps: float = 2.220446049250313e-16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.eps = in_float32("eps", eps)

    def compress(self, mel: Any) -> Any:
        return ops.log10(mel + self.eps)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "eps": self.eps}
