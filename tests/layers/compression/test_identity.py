"""The control: nothing is compressed."""

import numpy as np

from loglearn_tf.layers import NoCompression

# Mel power from far below float64's eps to a very loud clip, and silence.
MEL = np.concatenate([[0.0], np.logspace(-25, 4, 119)]).astype("float32").reshape(2, 6, 10)


def test_no_compression_is_the_identity():
    np.testing.assert_array_equal(NoCompression()(MEL), MEL)


def test_config_round_trip():
    layer = NoCompression(dtype="mixed_float16")
    copy = NoCompression.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy(MEL), MEL)
