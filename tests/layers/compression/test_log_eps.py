"""log-EPS equals its formula, with float64's eps, and refuses an eps that float32 cannot add."""

import re

import numpy as np
import pytest

from loglearn_tf.layers import LogEps

# Mel power from far below float64's eps to a very loud clip, and silence.
MEL = np.concatenate([[0.0], np.logspace(-25, 4, 119)]).astype("float32").reshape(2, 6, 10)
FLOAT64_EPS = 2.220446049250313e-16


def test_logeps_equals_the_formula_from_silence_to_loud():
    # atol: the logarithm crosses zero at X = 1, where only the rounding of X is left.
    np.testing.assert_allclose(
        LogEps()(MEL), np.log10(MEL.astype("float64") + 2.220446049250313e-16), rtol=1e-6, atol=1e-7
    )


def test_logeps_of_silence_is_float64_not_float32_eps():
    # log10(2.22e-16) = -15.65; float32's eps would give -6.92, a natural logarithm -36.04.
    np.testing.assert_allclose(LogEps()(np.zeros((1, 2, 3), "float32")), np.full((1, 2, 3), -15.65356), rtol=1e-6)


def test_logeps_with_another_eps():
    layer = LogEps(eps=1.19e-7)
    np.testing.assert_allclose(layer(MEL), np.log10(MEL.astype("float64") + 1.19e-7), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("eps", [0, 0.0, -1e-9, 1e-40])  # 1e-40 is zero to most float32 hardware
def test_eps_must_be_above_zero(eps):
    with pytest.raises(ValueError, match=rf"^`eps` must be .* Received: eps={re.escape(repr(eps))}\.$"):
        LogEps(eps=eps)


@pytest.mark.parametrize("eps", [float("nan"), float("inf"), "1e-9", None])
def test_eps_must_be_a_finite_number(eps):
    with pytest.raises(ValueError, match=re.escape(f"`eps` must be a finite number. Received: eps={eps!r}.")):
        LogEps(eps=eps)


def test_its_config_holds_eps():
    assert LogEps().get_config()["eps"] == FLOAT64_EPS
    assert LogEps.from_config(LogEps(eps=1e-10, name="other").get_config()).eps == 1e-10


def test_arguments_are_keyword_only():
    with pytest.raises(TypeError):
        LogEps(1e-9)
