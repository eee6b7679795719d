"""The fixed logarithm: one alpha and beta, or one a band."""

import numpy as np
import pytest

from loglearn_tf.layers import Log

# Mel power from far below float64's eps to a very loud clip, and silence.
MEL = np.concatenate([[0.0], np.logspace(-25, 4, 119)]).astype("float32").reshape(2, 6, 10)


def test_log_with_fixed_values():
    np.testing.assert_allclose(Log()(MEL), np.log(1e4 * MEL.astype("float64") + 1), rtol=1e-6, atol=2e-7)
    layer = Log(alpha=[1.0, 2.0, 3.0], beta=[0.5, 1.0, 4.0])
    mel = (10 ** np.random.default_rng(0).uniform(-8, 2, (2, 5, 3))).astype("float32")
    np.testing.assert_allclose(layer(mel), np.log([1, 2, 3] * mel + [0.5, 1, 4]), rtol=1e-5, atol=1e-6)
    assert float(Log().knee) == pytest.approx(1e-4)


def test_as_many_numbers_as_bands():
    with pytest.raises(ValueError, match=r"`alpha` must have one number per mel band. Received: 2 numbers"):
        Log(alpha=[1.0, 2.0])(MEL)


def test_its_axis_must_be_one_of_the_input():
    with pytest.raises(ValueError, match="Received: 2 numbers, axis=5"):
        Log(alpha=[1.0, 2.0], axis=5)(MEL)


@pytest.mark.parametrize("value", [0, -1, 1e-46, [1.0, 0.0], [], "1", float("inf")])
def test_values_must_be_above_zero(value):
    with pytest.raises(ValueError, match=r"^`beta` must (be|have) "):
        Log(beta=value)
