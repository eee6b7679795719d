"""No compression at all."""

from typing import Any

import keras

from loglearn_tf.layers.compression.base import Compression


@keras.saving.register_keras_serializable(package="loglearn_tf")
class NoCompression(Compression):
    """The identity, for mel spectrograms that are already compressed, or as a control.

    Input shape:
        Any.

    Output shape:
        Same as the input, float32.

    Example:
        >>> import numpy as np
        >>> NoCompression()(np.array([0.0, 0.5], "float32")).numpy().tolist()
        [0.0, 0.5]
    """

    pointwise = True

    def compress(self, mel: Any) -> Any:
        return mel
