"""PCEN's smoother is the recursion of the paper, computed all at once; its formula stands in test_contract.py."""

import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.layers import PCEN

MEL = (10 ** np.random.default_rng(0).uniform(-8, 2, (2, 40, 6))).astype("float32")


@pytest.mark.parametrize("n_frames", [1, 2, 3, 64, 100, 431])
@pytest.mark.parametrize("smoothing", [0.01, 0.3, 1.0])
def test_the_smoother_equals_the_recursion_frame_by_frame(n_frames, smoothing):
    energy = np.random.default_rng(3).uniform(0, 1, (2, n_frames, 4)).astype("float32")
    expected, state = [], energy[:, 0].astype("float64")
    for at in range(n_frames):
        state = (1 - smoothing) * state + smoothing * energy[:, at]
        expected.append(state)
    smoothed = PCEN(smoothing=smoothing)._smoothed(tf.constant(energy))
    np.testing.assert_allclose(smoothed, np.stack(expected, axis=1), rtol=2e-6)


def test_bands_before_frames_are_refused():
    with pytest.raises(ValueError, match="Time must be on the axis before the mel bands"):
        PCEN(axis=1)(MEL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smoothing": 0.0}, "`smoothing` must be greater than 0 and at most 1. Received: smoothing=0.0"),
        ({"gain": -1.0}, "`gain` must be between 1.18e-38 and 3.4e38"),
        ({"eps": 0.0}, "`eps` must be between 1.18e-38 and 3.4e38"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PCEN(**arguments)


@pytest.mark.parametrize("name", ["time_constant_s", "sample_rate", "hop_length"])
@pytest.mark.parametrize("value", [0, -1.0, "0.4"])
def test_smoothing_for_needs_positive_numbers(name, value):
    arguments = {"time_constant_s": 0.4, "sample_rate": 44_100, "hop_length": 1024, name: value}
    with pytest.raises(ValueError, match=f"^`{name}` must be .*Received: {name}={value!r}"):
        PCEN.smoothing_for(**arguments)
