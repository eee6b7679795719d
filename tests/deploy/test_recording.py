"""A recording that comes in pieces gets the probabilities that its model gives for all of it at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf import LearnableLog, MelSpectrogram, clip_classifier
from loglearn_tf.deploy import recording
from loglearn_tf.deploy.recording import Classifier, Recording, TooLong
from loglearn_tf.layers import MeanOverPatches

FRONT_END = {"sample_rate": 8000, "n_fft": 256, "hop_length": 256, "n_mels": 8}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(recording, "_BLOCK_SAMPLES", 1 << 12)


def network(patch_frames: int = 16) -> keras.Model:
    mel = keras.Input((patch_frames, 8))
    weights = keras.initializers.RandomNormal(stddev=0.05, seed=1)
    x = keras.layers.Flatten()(LearnableLog()(mel))
    return keras.Model(mel, keras.layers.Dense(3, kernel_initializer=weights)(x))


def noise(n_samples: int) -> np.ndarray:
    """Which grows: its patches differ, and so do their probabilities."""
    quiet = np.random.default_rng(0).normal(0, 0.1, n_samples)
    return np.float32(quiet * np.linspace(1e-3, 1, n_samples))


def in_pieces(classifier: Classifier, waveform: np.ndarray, size: int) -> np.ndarray:
    heard = Recording(classifier)
    for start in range(0, len(waveform), size):
        heard.add(waveform[start : start + size])
    return heard.finish()


@pytest.mark.parametrize(
    ("front_end", "patch_frames", "patch_hop", "mean"),
    [
        pytest.param({}, 16, 1, "arithmetic", marks=pytest.mark.long),
        ({"hop_length": 100, "pad_mode": "constant"}, 16, 7, "geometric"),  # no divisor of the FFT size
        ({"hop_length": 512}, 4, 3, "arithmetic"),  # with gaps between frames
        pytest.param({"hop_length": 64, "n_fft": 512}, 40, 50, "geometric", marks=pytest.mark.long),  # between patches
        ({}, 300, 1, "arithmetic"),  # a patch is longer than many blocks, or than the recording
        pytest.param(
            {"fft_dtype": "float32", "hop_length": 77, "n_fft": 64}, 16, 5, "arithmetic", marks=pytest.mark.long
        ),
    ],
)
def test_as_the_whole_recording(front_end, patch_frames, patch_hop, mean):
    model = clip_classifier(
        network(patch_frames),
        class_names=list("abc"),
        front_end={**FRONT_END, **front_end},
        patch_hop=patch_hop,
        mean=mean,
    )
    by = Classifier(model)
    assert not by.needs_waveform and not by.needs_mel
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None), tf.float32)])
    for n_samples in (1, by.reach, by.reach + 1, by.reach + by.hop // 2, 2 * by.block, 3 * by.block + by.hop - 1):
        waveform = noise(n_samples)
        found = in_pieces(by, waveform, by.block if n_samples % 2 else 1000)
        assert found.dtype == np.float32 and found.shape == (3,)
        # Of float32's last digit, once for each block.
        np.testing.assert_allclose(found, compiled(waveform[np.newaxis])[0], rtol=0, atol=5e-7)


def test_up_to_a_block_to_the_last_bit():
    model = clip_classifier(network(), class_names=list("abc"), front_end=FRONT_END)
    by = Classifier(model)
    for n_samples in (200, by.reach):
        waveform = noise(n_samples)
        np.testing.assert_array_equal(in_pieces(by, waveform, 999), np.asarray(by.whole(waveform[np.newaxis]))[0])


def test_what_is_held_does_not_grow():
    by = Classifier(clip_classifier(network(), class_names=list("abc"), front_end=FRONT_END))
    heard = Recording(by)
    for _ in range(20):
        heard.add(noise(by.block))
        assert sum(map(len, heard._samples)) <= by.reach and sum(map(len, heard._mel)) < 16
    heard.finish()


def test_blocks_are_bounded_whatever_the_front_end(monkeypatch):
    monkeypatch.undo()
    for n_fft, hop_length in ((1024, 1024), (1 << 16, 1 << 10), (64, 1 << 16), (1024, 1)):
        front_end = {**FRONT_END, "sample_rate": 44_100, "n_fft": n_fft, "hop_length": hop_length}
        by = Classifier(clip_classifier(network(), class_names=list("abc"), front_end=front_end))
        assert by.block <= 1 << 21 and by.block // hop_length * n_fft <= 1 << 21


class TestOtherModels:
    WAVEFORM = noise(20_000)

    def check(self, model, *, needs_waveform, needs_mel=None):
        by = Classifier(model)
        assert by.needs_waveform == needs_waveform and getattr(by, "needs_mel", None) == needs_mel
        whole = np.asarray(model(self.WAVEFORM[np.newaxis]))[0]
        np.testing.assert_allclose(in_pieces(by, self.WAVEFORM, 3000), whole, rtol=0, atol=5e-7)

    def layers(self):
        return MelSpectrogram(**FRONT_END), MeanOverPatches(network(), class_names=list("abc"), patch_hop=3)

    @pytest.mark.parametrize(("compression", "needs_mel"), [("log", False), ("pcen", True)])
    def test_a_compression_of_features(self, compression, needs_mel):
        model = clip_classifier(
            network(), class_names=list("abc"), front_end=FRONT_END, features_compression=compression, patch_hop=3
        )
        self.check(model, needs_waveform=False, needs_mel=needs_mel)

    def test_one_that_is_derived_from_a_pointwise_compression_may_do_anything(self):
        class Louder(LearnableLog):
            def compress(self, mel):
                return mel / keras.ops.max(mel)

        front, head = self.layers()
        waveform = keras.Input((None,))
        self.check(keras.Model(waveform, head(Louder()(front(waveform)))), needs_waveform=False, needs_mel=True)

    def test_a_sequential_model(self):
        self.check(keras.Sequential([keras.Input((None,)), *self.layers()]), needs_waveform=False, needs_mel=False)

    def test_a_layer_before_the_front_end(self):
        front, head = self.layers()
        waveform = keras.Input((None,))
        loudest = keras.ops.max(waveform, axis=1, keepdims=True)
        self.check(keras.Model(waveform, head(front(waveform / loudest))), needs_waveform=True)

    def test_a_branch(self):
        front, head = self.layers()
        waveform = keras.Input((None,))
        mel = front(waveform)
        self.check(keras.Model(waveform, head(mel + keras.ops.max(mel))), needs_waveform=True)

    def test_a_model_that_does_something_else_when_it_is_called(self):
        @keras.saving.register_keras_serializable(package="tests")
        class Halved(keras.Model):
            def call(self, inputs, training=None, mask=None):
                return super().call(inputs / keras.ops.max(inputs), training=training, mask=mask)

        front, head = self.layers()
        waveform = keras.Input((None,))
        self.check(Halved(waveform, head(front(waveform))), needs_waveform=True)

    def test_what_must_be_held_whole_and_is_too_long(self, monkeypatch):
        monkeypatch.setattr(recording, "_MOST_VALUES", 10_000)
        front, head = self.layers()
        waveform = keras.Input((None,))
        by = Classifier(keras.Model(waveform, head(front(waveform * 2))))
        with pytest.raises(
            TooLong, match="it has at least 12,000 samples, .* needs them all at once; the limit is 10,000"
        ):
            in_pieces(by, self.WAVEFORM, 3000)
        monkeypatch.setattr(recording, "_MOST_VALUES", 300)
        pcen = clip_classifier(network(), class_names=list("abc"), front_end=FRONT_END, features_compression="pcen")
        with pytest.raises(
            TooLong,
            match="it has at least 424 values of mel power, and this model needs them all at once; the limit is 300",
        ):
            in_pieces(Classifier(pcen), self.WAVEFORM, 3000)
