"""No compression at all."""

from typing import Any

import keras

from loglearn_tf.layers.compression.base import Compression


@keras.saving.register_keras_serializable(package="loglearn_tf")
class NoCompression(Compression):
    """The identity: for mel spectrograms that are compressed already, or as a control.

    Input shape:
        Any.

    Output shape:
        As the input, float32.
    """

    pointwise = True

    def compress(self, mel: Any) -> Any:
        return mel
