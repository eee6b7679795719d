"""The mel front end equals librosa: its stored output of the reference pipeline, and today's."""

import inspect
import os
import re
import warnings
from pathlib import Path

import keras
import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from conftest import python
from scipy.signal import get_window

from loglearn_tf.layers import MelSpectrogram
from loglearn_tf.layers.mel_spectrogram import mel_filter_bank

RATE = 44100
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", "float64")


def shared_folder() -> Path:
    """Real clips and the reference pipeline's output for them; not part of the repository."""
    return Path(os.environ.get("LOGLEARN_SHARED", "../shared"))


def noise(*shape, seed=0, amplitude=0.1):
    return (amplitude * np.random.default_rng(seed).standard_normal(shape)).astype("float32")


def librosa_mel(waveform, **kwargs):
    """`(frames, n_mels)` by librosa; it transforms in the waveform's own precision, here float64."""
    settings = {"sr": RATE, "n_fft": 1024, "hop_length": 1024, "n_mels": 128, "pad_mode": "reflect", **kwargs}
    return librosa.feature.melspectrogram(y=waveform.astype("float64"), **settings).T


def numpy_mel(padded):
    """`(frames, 128)` from a waveform padded already: the textbook STFT in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)  # periodic Hann
    starts = range(0, len(padded) - 1023, 1024)
    spectrum = np.fft.rfft([padded[start : start + 1024] * window for start in starts])
    bank = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=128, htk=False, norm="slaney")
    return np.abs(spectrum) ** 2 @ bank.T


class TestParityWithTheReference:
    """librosa 0.6.2, as the reference pipeline called it, on real 44.1 kHz clips."""

    @pytest.fixture(params=["100032-3-0-0", "100648-1-0-0", "102853-8-0-0"])
    def clip(self, request):
        """Waveform and stored `(frames, 128)` mel power of one clip."""
        wav = shared_folder() / "data/raw-formats" / f"{request.param}.wav"
        mel = shared_folder() / "reference/mel" / f"{request.param}.npy"
        for path in (wav, mel):
            if not path.is_file():
                pytest.skip(f"{path} is missing; LOGLEARN_SHARED names the folder that holds reference/ and data/")
        waveform, rate = soundfile.read(wav, always_2d=True)
        assert rate == RATE
        return waveform.mean(axis=1).astype("float32"), np.load(mel)

    def test_power_and_logarithm(self, clip):
        waveform, reference = clip
        mel = MelSpectrogram()(waveform[None]).numpy()[0]
        assert mel.shape == reference.shape == (1 + len(waveform) // 1024, 128)
        # docs/fidelity.md, "Front end": at most 1e-4 of the clip's maximum, too much for log-EPS in quiet bands.
        np.testing.assert_allclose(mel, reference, rtol=0, atol=1e-4 * reference.max())
        # The transform is in float64, as the reference's was, so the quietest bin (3e-18, against
        # a maximum of 8.8) agrees as well as the loudest. A float32 transform misses this by up
        # to 2.7e-4 on these clips, by half a decade on band-limited ones.
        np.testing.assert_allclose(np.log10(mel), np.log10(reference), rtol=0, atol=1e-4)

    def test_single_precision_transform_meets_the_power_tolerance(self, clip):
        waveform, reference = clip
        mel = MelSpectrogram(fft_dtype="float32")(waveform[None]).numpy()[0]
        np.testing.assert_allclose(mel, reference, rtol=0, atol=1e-4 * reference.max())


class TestParityWithLibrosaToday:
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            pytest.param({}, {}, id="defaults"),
            pytest.param({"pad_mode": "constant"}, {"pad_mode": "constant"}, id="zero padding"),
            pytest.param({"f_min": 50.0}, {"fmin": 50.0}, id="f_min"),
            pytest.param({"f_max": 8000.0}, {"fmax": 8000.0}, id="f_max"),
            pytest.param({"f_min": 300, "f_max": 16000}, {"fmin": 300, "fmax": 16000}, id="both, as integers"),
            pytest.param({"hop_length": 441, "n_mels": 40}, {"hop_length": 441, "n_mels": 40}, id="hop and bands"),
            pytest.param({"hop_length": 1500, "n_mels": 2}, {"hop_length": 1500, "n_mels": 2}, id="gaps, two bands"),
            pytest.param(
                {"sample_rate": 16000, "n_fft": 512, "hop_length": 160, "n_mels": 64},
                {"sr": 16000, "n_fft": 512, "hop_length": 160, "n_mels": 64},
                id="speech settings",
            ),
            pytest.param({"win_length": 400}, {"win_length": 400}, id="short window"),
            pytest.param({"win_length": 401}, {"win_length": 401}, id="short window, odd"),
            pytest.param({"win_length": 1024}, {"win_length": 1024}, id="window as long as the FFT"),
            pytest.param({"window": "hamming"}, {"window": "hamming"}, id="Hamming"),
            pytest.param(
                {"window": "blackman", "win_length": 801}, {"window": "blackman", "win_length": 801}, id="Blackman"
            ),
            pytest.param({"window": "ones"}, {"window": "ones"}, id="no window"),
            pytest.param({"mel_scale": "htk"}, {"htk": True}, id="HTK"),
            pytest.param({"norm": None}, {"norm": None}, id="filters of height 1"),
            pytest.param(
                {"mel_scale": "htk", "norm": None, "f_min": 20, "f_max": 8000, "n_mels": 40},
                {"htk": True, "norm": None, "fmin": 20, "fmax": 8000, "n_mels": 40},
                id="HTK's own settings",
            ),
            pytest.param(
                {"sample_rate": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160, "window": "hamming"},
                {"sr": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160, "window": "hamming"},
                id="25 ms every 10 ms",
            ),
        ],
    )
    def test_equals_melspectrogram(self, ours, theirs):
        waveform = noise(6000)
        mel = MelSpectrogram(**ours)(waveform[None]).numpy()[0]
        # rtol: float64 up to the power, then float32: rounding once, and in the filter bank's sum.
        np.testing.assert_allclose(mel, librosa_mel(waveform, **theirs), rtol=2e-6)

    def test_single_precision_transform(self):
        waveform = noise(6000)
        mel = MelSpectrogram(fft_dtype="float32")(waveform[None]).numpy()[0]
        # rtol: a float32 FFT is off by about 1e-7 of the frame's largest bin, so by more of a small
        # one. The bands of white noise are all of a size.
        np.testing.assert_allclose(mel, librosa_mel(waveform), rtol=1e-4)

    def test_only_double_precision_keeps_quiet_bands_as_log_eps_shows_them(self):
        """A pure tone in a window that fits it: far bands hold 1e-16 of its power and less."""
        tone = (0.9 * np.sin(2 * np.pi * 60 / 1024 * np.arange(8192))).astype("float32")[None]
        # Without the first and last frame: a reflected edge is not a pure tone.
        expected, exact, coarse = (
            np.log10(mel[1:-1] + 2.220446049250313e-16)
            for mel in (
                librosa_mel(tone[0]),
                MelSpectrogram()(tone).numpy()[0],
                MelSpectrogram(fft_dtype="float32")(tone).numpy()[0],
            )
        )
        np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-4)
        assert np.abs(coarse - expected).max() > 1  # decade

    def test_white_noise_has_the_level_of_the_slaney_norm(self):
        """`tf.signal`'s HTK matrix, unnormalised, is over 100 times louder: alpha would mean something else."""
        waveform = noise(1, 40 * RATE)
        mel = MelSpectrogram()(waveform)
        level = float(tf.reduce_mean(mel))
        assert level == pytest.approx(librosa_mel(waveform[0]).mean(), rel=1e-5)
        # By hand: variance 0.01, times the window's sum of squares 384 (3/8 of 1024), times the
        # filters' unit area in Hz over bins 43.066 Hz apart. The lowest filters are narrower than
        # a bin and sample their triangles badly, hence 5 %.
        assert level == pytest.approx(0.01 * 384 / 43.066, rel=0.05)
        htk = tf.signal.linear_to_mel_weight_matrix(128, 513, RATE, 0.0, RATE / 2)
        assert float(tf.reduce_mean(0.01 * 384 * tf.reduce_sum(htk, axis=0))) / level > 100


class TestFilterBank:
    """librosa's, but without importing librosa, which compiles and writes to a cache."""

    @pytest.mark.parametrize("norm", ["slaney", None])
    @pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
    @pytest.mark.parametrize(
        ("f_min", "f_max"), [(0.0, None), (20, 3500.5), (300, 4000), (1000, 1200.0)], ids=lambda hz: str(hz)
    )
    def test_equals_librosa_to_the_last_bit(self, f_min, f_max, mel_scale, norm):
        for sample_rate, n_fft, n_mels in [
            (8000, 256, 16), (16_000, 512, 64), (22_050, 2048, 128), (44_100, 1024, 128), (44_100, 1000, 1),
            (48_000, 4096, 256), (96_000, 64, 40),
        ]:  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of empty filters, both
                theirs = librosa.filters.mel(
                    sr=sample_rate,
                    n_fft=n_fft,
                    n_mels=n_mels,
                    fmin=f_min,
                    fmax=f_max,
                    htk=mel_scale == "htk",
                    norm=norm,
                )
                ours = mel_filter_bank(
                    sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels, f_min=f_min, f_max=f_max,
                    mel_scale=mel_scale, norm=norm,
                )  # fmt: skip
            np.testing.assert_array_equal(ours, theirs.T)
            assert ours.dtype == theirs.dtype == np.float32

    @pytest.mark.parametrize(("n_fft", "n_mels"), [(256, 128), (1024, 128), (1024, 256), (64, 1), (2048, 128)])
    def test_warns_where_librosa_warns(self, n_fft, n_mels):
        with warnings.catch_warnings(record=True) as theirs:
            warnings.simplefilter("always")
            librosa.filters.mel(sr=44_100, n_fft=n_fft, n_mels=n_mels)
        with warnings.catch_warnings(record=True) as ours:
            warnings.simplefilter("always")
            mel_filter_bank(sample_rate=44_100, n_fft=n_fft, n_mels=n_mels, f_min=0.0, f_max=None)
        assert len(ours) == len(theirs)

    @pytest.mark.slow
    def test_the_layer_loads_no_librosa(self):
        program = """
import sys, numpy
from loglearn_tf import MelSpectrogram
MelSpectrogram()(numpy.ones((1, 2000), "float32"))
print(sorted({"librosa", "numba"} & set(sys.modules)))
"""
        assert python(program).strip() == "[]"


class TestWindows:
    @pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "ones"])
    @pytest.mark.parametrize("win_length", [1, 2, 3, 400, 401, 1023, 1024])
    def test_equals_scipy(self, window, win_length):
        """Seen from outside: a click at each place of the frame has the power of the window there."""
        layer = MelSpectrogram(
            n_fft=1024, win_length=win_length, window=window, hop_length=2048, n_mels=1, norm=None, pad_mode="constant"
        )
        before = (1024 - win_length) // 2
        at = np.unique(np.linspace(0, win_length - 1, 25).astype(int))
        # Frame 1 begins at sample 2048 - 512.
        clicks = np.zeros((len(at), 4096), "float32")
        clicks[np.arange(len(at)), 2048 - 512 + before + at] = 1
        power = layer(clicks).numpy()[:, 1, 0].astype("float64")
        total = mel_filter_bank(sample_rate=44_100, n_fft=1024, n_mels=1, f_min=0, f_max=None, norm=None).sum()
        expected = get_window("boxcar" if window == "ones" else window, win_length, fftbins=True)[at]
        # rtol: float32 of the power, and of a sum over 513 bins. atol: the window's ends are zero but for rounding.
        np.testing.assert_allclose(power / total, expected**2, rtol=1e-5, atol=1e-12)
        # Nothing outside the window.
        if win_length < 1024:
            outside = np.zeros((2, 4096), "float32")
            outside[0, 2048 - 512 + before - 1] = outside[1, 2048 - 512 + before + win_length] = 1
            np.testing.assert_array_equal(layer(outside).numpy()[:, 1], 0)


class TestOneWaveform:
    @pytest.mark.parametrize(("samples", "frames"), [(1, 1), (1023, 1), (1024, 2), (1025, 2), (5000, 5)])
    def test_is_a_batch_of_one_without_the_batch(self, samples, frames):
        layer, waveform = MelSpectrogram(), noise(samples)
        mel = layer(waveform)
        assert mel.shape == (frames, 128)
        assert layer.compute_output_shape((samples,)) == (frames, 128)
        np.testing.assert_array_equal(mel, MelSpectrogram()(waveform[None])[0])

    def test_one_layer_takes_both(self):
        layer, waveform = MelSpectrogram(), noise(3000)
        np.testing.assert_array_equal(layer(waveform), layer(waveform[None])[0])

    def test_in_a_data_set(self):
        waveforms = tf.data.Dataset.from_tensor_slices(noise(2, 3000)).map(MelSpectrogram())
        assert [mel.shape for mel in waveforms] == [(3, 128), (3, 128)]


class TestFrames:
    """frames = 1 + samples // hop_length, in literal numbers around the hop boundaries."""

    @pytest.mark.parametrize(
        ("samples", "frames"),
        [(1, 1), (1023, 1), (1024, 2), (1025, 2), (2047, 2), (2048, 3), (2049, 3), (176_399, 173), (176_400, 173),
         (177_151, 173), (177_152, 174), (441_000, 431)],
    )  # fmt: skip
    def test_hop_of_one_window(self, samples, frames):
        layer = MelSpectrogram()
        assert layer(np.zeros((1, samples), "float32")).shape == (1, frames, 128)
        assert layer.compute_output_shape((1, samples)) == (1, frames, 128)
        assert layer(keras.Input((samples,))).shape == (None, frames, 128)

    @pytest.mark.parametrize(
        ("hop_length", "samples", "frames"),
        [(512, 511, 1), (512, 512, 2), (512, 513, 2), (441, 440, 1), (441, 441, 2), (441, 442, 2), (441, 4410, 11),
         (3000, 2999, 1), (3000, 3000, 2), (3000, 3001, 2), (1, 5, 6)],
    )  # fmt: skip
    @pytest.mark.parametrize("win_length", [None, 400])
    def test_other_hops(self, hop_length, samples, frames, win_length):
        layer = MelSpectrogram(hop_length=hop_length, win_length=win_length)
        assert layer(noise(2, samples)).shape == (2, frames, 128)
        assert layer.compute_output_shape((2, samples)) == (2, frames, 128)

    def test_length_unknown_until_the_call(self):
        waveform = keras.Input((None,))
        model = keras.Model(waveform, MelSpectrogram()(waveform))
        assert model.output_shape == (None, None, 128)
        assert model(noise(2, 2048)).shape == (2, 3, 128)

    @pytest.mark.parametrize("samples", [1, 2, 3, 400, 512, 513, 1500])
    def test_reflection_as_in_numpy_also_where_it_must_go_back_and_forth(self, samples):
        waveform = noise(1, samples, seed=samples)
        expected = numpy_mel(np.pad(waveform[0].astype("float64"), 512, mode="reflect"))
        mel = MelSpectrogram()(waveform).numpy()[0]
        # atol: one sample repeated is a constant, whose upper bands are exactly zero but for rounding.
        np.testing.assert_allclose(mel, expected, rtol=2e-6, atol=1e-12 * expected.max())

    @pytest.mark.parametrize("samples", [1, 2, 513])
    def test_zeros_around_short_waveforms(self, samples):
        waveform = noise(1, samples)
        expected = numpy_mel(np.pad(waveform[0].astype("float64"), 512))
        np.testing.assert_allclose(MelSpectrogram(pad_mode="constant")(waveform)[0], expected, rtol=2e-6)


class TestKerasCitizen:
    def test_config_round_trip_keeps_every_argument(self):
        arguments = {
            "name": "mel",
            "sample_rate": 16000,
            "n_fft": 512,
            "win_length": 400,
            "hop_length": 160,
            "window": "hamming",
            "n_mels": 40,
            "f_min": 60.0,
            "f_max": 7000.0,
            "mel_scale": "htk",
            "norm": None,
            "pad_mode": "constant",
            "fft_dtype": "float32",
        }
        assert set(arguments) - {"name"} == set(inspect.signature(MelSpectrogram.__init__).parameters) - {
            "self",
            "kwargs",
        }
        layer = MelSpectrogram(**arguments)
        config = layer.get_config()
        assert arguments.items() <= config.items()
        copy = MelSpectrogram.from_config(config)
        assert copy.get_config() == config
        np.testing.assert_array_equal(copy(noise(1, 1000)), layer(noise(1, 1000)))

    def test_defaults_are_the_reference_settings(self):
        reference = {
            "sample_rate": 44100,
            "n_fft": 1024,
            "win_length": None,
            "hop_length": 1024,
            "window": "hann",
            "n_mels": 128,
            "f_min": 0.0,
            "f_max": None,
            "mel_scale": "slaney",
            "norm": "slaney",
            "pad_mode": "reflect",
            "fft_dtype": "float64",
        }
        assert reference.items() <= MelSpectrogram().get_config().items()

    def test_configurations_of_version_0_1_0_load(self):
        config = MelSpectrogram(name="front_end").get_config()
        old = {key: value for key, value in config.items() if key not in ("win_length", "window", "mel_scale", "norm")}
        assert MelSpectrogram.from_config(old).get_config() == config

    def test_save_and_load(self, tmp_path):
        waveform = keras.Input((2048,))
        model = keras.Model(waveform, MelSpectrogram(n_mels=16, f_max=8000.0)(waveform))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(noise(2, 2048)), model(noise(2, 2048)))

    def test_no_weights(self):
        layer = MelSpectrogram()
        layer(noise(1, 100))
        assert layer.weights == []

    def test_batch_of_two_is_two_of_one(self):
        layer = MelSpectrogram()
        waveform = noise(2, 5000) * np.array([[1.0], [1e-3]], "float32")  # a loud neighbour
        # rtol: the matrix product sums in another order for another batch size.
        apart = np.concatenate([layer(waveform[:1]), layer(waveform[1:])])
        np.testing.assert_allclose(layer(waveform), apart, rtol=1e-6)

    def test_eager_equals_dataset_map_and_function(self):
        waveform = noise(2, 5000)
        layer, expected = MelSpectrogram(), MelSpectrogram()(waveform)
        mapped = next(iter(tf.data.Dataset.from_tensors(waveform).map(layer)))
        # rtol: as above; the graph may split the product otherwise.
        np.testing.assert_allclose(mapped, expected, rtol=1e-6)
        np.testing.assert_allclose(tf.function(layer)(waveform), expected, rtol=1e-6)

    @pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
    def test_silence_is_exactly_zero(self, pad_mode):
        np.testing.assert_array_equal(MelSpectrogram(pad_mode=pad_mode)(np.zeros((1, 2000), "float32")), 0)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_float32_whatever_the_policy(self, policy):
        # A level that float16 could not hold: power up to about 1e5 before the filter bank.
        waveform = noise(1, 3000, amplitude=20.0)
        mel = MelSpectrogram(dtype=policy)(waveform)
        assert mel.dtype == "float32"
        np.testing.assert_array_equal(mel, MelSpectrogram(dtype="float32")(waveform))
        assert MelSpectrogram(dtype=policy)(keras.Input((3000,), dtype="float32")).dtype == "float32"

    def test_float64_waveform(self):
        waveform = noise(1, 3000)
        mel = MelSpectrogram()(waveform.astype("float64"))
        assert mel.dtype == "float32"
        np.testing.assert_array_equal(mel, MelSpectrogram()(waveform))


class TestErrors:
    @pytest.mark.parametrize("name", ["sample_rate", "n_fft", "hop_length", "n_mels"])
    @pytest.mark.parametrize("value", [0, -1, 1024.0, "1024", None, True])
    def test_counts_are_positive_integers(self, name, value):
        message = f"`{name}` must be a positive integer. Received: {name}={value!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            MelSpectrogram(**{name: value})

    @pytest.mark.parametrize(
        ("f_min", "f_max"),
        [(-1.0, None), (22050.0, None), (float("nan"), None), (8000.0, 8000.0), (9000.0, 8000.0), (0.0, 0.0),
         (0.0, 22051.0), (0.0, -5.0), (0.0, float("nan")), (0.0, float("inf"))],
    )  # fmt: skip
    def test_frequencies_lie_between_zero_and_half_the_sample_rate_in_order(self, f_min, f_max):
        message = (
            "`f_min` and `f_max` must satisfy 0 <= f_min < f_max <= sample_rate / 2 = 22050 Hz. "
            f"Received: f_min={f_min!r}, f_max={f_max!r}."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            MelSpectrogram(f_min=f_min, f_max=f_max)

    @pytest.mark.parametrize("wrong", [{"f_min": "0"}, {"f_min": None}, {"f_max": "8000"}, {"f_max": True}])
    def test_frequencies_are_numbers(self, wrong):
        ((name, value),) = wrong.items()
        with pytest.raises(ValueError, match=re.escape(f"`{name}` must be a number. Received: {name}={value!r}.")):
            MelSpectrogram(**wrong)

    @pytest.mark.parametrize("n_fft", [1, 1023])
    def test_fft_size_is_even(self, n_fft):
        # A centred frame of odd length would be one sample off, and so would the number of frames.
        with pytest.raises(ValueError, match=rf"^`n_fft` must be even\. Received: n_fft={n_fft}\.$"):
            MelSpectrogram(n_fft=n_fft)

    @pytest.mark.parametrize("shape", [(0,), (), (1, 0), (1, 4096, 1)])
    def test_input_is_a_batch_of_waveforms(self, shape):
        with pytest.raises(ValueError, match="must have the shape"):
            MelSpectrogram()(np.zeros(shape, np.float32))

    @pytest.mark.parametrize("shape", [(0,), (), (1, 0), (2, 4096, 2), (2, 2, 4096)])
    def test_also_after_the_first_call(self, shape):
        layer = MelSpectrogram()
        layer(np.zeros((1, 4096), np.float32))
        with pytest.raises(ValueError, match="must have the shape"):
            layer(np.zeros(shape, np.float32))

    def test_numpy_numbers_are_numbers(self):
        layer = MelSpectrogram(n_fft=np.int64(512), f_min=np.float32(20))
        assert layer.get_config()["n_fft"] == 512 and type(layer.get_config()["n_fft"]) is int

    def test_frequency_limit_follows_the_sample_rate(self):
        assert MelSpectrogram(sample_rate=16000, f_max=8000.0).f_max == 8000.0
        with pytest.raises(ValueError, match="sample_rate / 2 = 8000 Hz"):
            MelSpectrogram(sample_rate=16000, f_max=8001.0)

    @pytest.mark.parametrize("pad_mode", ["symmetric", "REFLECT", None])
    def test_pad_mode(self, pad_mode):
        message = f"`pad_mode` must be one of ('reflect', 'constant'). Received: pad_mode={pad_mode!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            MelSpectrogram(pad_mode=pad_mode)

    @pytest.mark.parametrize(
        ("name", "choices", "wrong"),
        [
            ("window", "('hann', 'hamming', 'blackman', 'ones')", "hanning"),
            ("window", "('hann', 'hamming', 'blackman', 'ones')", None),
            ("mel_scale", "('slaney', 'htk')", "kaldi"),
            ("norm", "('slaney', None)", 1),
        ],
    )
    def test_choices(self, name, choices, wrong):
        message = f"`{name}` must be one of {choices}. Received: {name}={wrong!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            MelSpectrogram(**{name: wrong})

    @pytest.mark.parametrize("win_length", [0, -4, 400.0, "400", True])
    def test_window_length_is_a_positive_integer(self, win_length):
        message = f"`win_length` must be a positive integer. Received: win_length={win_length!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            MelSpectrogram(win_length=win_length)

    def test_the_window_fits_into_the_frame(self):
        with pytest.raises(
            ValueError, match="^`win_length` must be at most `n_fft`. Received: win_length=513, n_fft=512"
        ):
            MelSpectrogram(n_fft=512, win_length=513)

    @pytest.mark.parametrize("fft_dtype", ["float16", "double", None])
    def test_fft_dtype(self, fft_dtype):
        message = f"`fft_dtype` must be 'float32' or 'float64'. Received: fft_dtype={fft_dtype!r}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            MelSpectrogram(fft_dtype=fft_dtype)

    def test_arguments_are_keyword_only(self):
        with pytest.raises(TypeError):
            MelSpectrogram(44100)

    def test_bands_without_an_fft_bin_are_warned_of(self):
        with pytest.warns(
            UserWarning, match="Empty filters: .* of 128 mel bands.*Use a larger `n_fft`, fewer `n_mels`"
        ):
            MelSpectrogram(n_fft=256)(noise(1, 1000))
