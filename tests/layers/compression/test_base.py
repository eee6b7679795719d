"""What every compression has from its base, also one of a user's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.layers import Compression, LearnableLog

# Mel power from far below float64's eps to a very loud clip, and silence.
MEL = np.concatenate([[0.0], np.logspace(-25, 4, 119)]).astype("float32").reshape(2, 6, 10)


def random_mel(*shape):
    return (10 ** np.random.default_rng(0).uniform(-8, 2, shape)).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class CubeRoot(Compression):
    """The least that a compression of one's own must say."""

    def compress(self, mel):
        return keras.ops.power(mel, 1 / 3)


class TestAnOwnCompression:
    def test_computes_in_float32_under_any_policy(self):
        expected = np.cbrt(MEL.astype("float64"))
        for policy in ("float32", "mixed_float16", "float64"):
            out = CubeRoot(dtype=policy)(MEL)
            assert out.dtype == "float32"
            # rtol: float32's nearest to a third, times the logarithm of the smallest power, 58.
            np.testing.assert_allclose(out, expected, rtol=2e-6)

    def test_curve(self):
        np.testing.assert_allclose(CubeRoot().curve([1e-6, 1e-3, 8.0]), [0.01, 0.1, 2.0], rtol=1e-6)

    def test_saved_and_loaded(self, tmp_path):
        mel = keras.Input((None, 10))
        keras.Model(mel, CubeRoot(check_input=True, name="root")(mel)).save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(MEL), CubeRoot()(MEL))
        assert loaded.get_layer("root").check_input

    def test_is_not_taken_for_pointwise_unless_its_class_says_so(self):
        assert not CubeRoot.pointwise and not Compression.pointwise

    def test_the_base_alone_compresses_nothing(self):
        with pytest.raises(NotImplementedError):
            Compression()(MEL)


class TestCheckedInput:
    BAD = [(-0.5, "-0.5"), (float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf")]

    @pytest.mark.parametrize(("bad", "shown"), BAD)
    def test_names_the_first_bad_value(self, bad, shown):
        mel = random_mel(2, 6, 10)
        mel[1, 2, 3] = mel[1, 5, 0] = bad
        layer = LearnableLog(check_input=True, name="checked")
        message = rf"layer `checked` must be mel power.* Received: {shown} at index \(1, 2, 3\), the first of 2"
        with pytest.raises(ValueError, match=message):
            layer(mel)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"layer `checked` must be mel power(.|\n)*1 2 3"):
            tf.function(layer)(mel)

    def test_says_nothing_of_mel_power(self):
        layer, plain = LearnableLog(check_input=True), LearnableLog()
        np.testing.assert_array_equal(layer(MEL), plain(MEL))
        np.testing.assert_allclose(tf.function(layer)(MEL), plain(MEL), rtol=3e-7, atol=1e-7)
        mel = keras.Input((None, 10))
        np.testing.assert_allclose(
            keras.Model(mel, layer(mel)).predict(MEL, verbose=0), plain(MEL), rtol=3e-7, atol=1e-7
        )

    def test_without_it_bad_values_pass_as_described(self):
        negative = LearnableLog()(np.array([[[-1e-4, -3.0, np.nan, np.inf]]], "float32")).numpy()[0, 0]
        assert negative[0] < np.log(1.31326) and np.isnan(negative[1:3]).all() and negative[3] == np.inf
