"""`adapt` puts the knee at the asked quantile of the mel power, in one pass, whatever form the data come in."""

import numpy as np
import pytest
import tensorflow as tf

from loglearn_tf.audio import load_waveform
from loglearn_tf.layers import LearnableKnee, LearnableLog, MelSpectrogram
from loglearn_tf.layers.compression.power_counts import PowerCounts

ADAPTABLE = (LearnableLog, LearnableKnee)


def random_mel(*shape, seed=0):
    return (10 ** np.random.default_rng(seed).uniform(-15, 3, shape)).astype("float32")


def below(mel, knee):
    return float(np.mean(mel < knee))


@pytest.mark.parametrize("kind", ADAPTABLE)
@pytest.mark.parametrize("quantile", [0.001, 0.1, 0.5, 0.99])
def test_the_asked_share_lies_below_the_knee(kind, quantile):
    layer, mel = kind(), random_mel(20, 128, 64)
    layer.adapt(mel, quantile=quantile)
    assert below(mel, float(layer.knee)) == pytest.approx(quantile, abs=0.01)


@pytest.mark.parametrize("kind", ADAPTABLE)
def test_per_band_each_band_has_its_share(kind):
    layer = kind(per_band=True)
    mel = random_mel(50, 40, 8) * np.float32(10.0) ** np.arange(8, dtype="float32")
    layer.adapt(mel, quantile=0.3)
    for band, knee in enumerate(np.array(layer.knee)):
        assert below(mel[..., band], knee) == pytest.approx(0.3, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("quantile", [0.1, 0.54, 0.9])
def test_on_real_clips(shared, quantile):
    paths = sorted((shared / "data" / "UrbanSound8K-subset" / "audio" / "fold1").glob("*.wav"))[::5]
    front = MelSpectrogram(f_max=11_025.0)
    mels = [np.array(front(load_waveform(path, sample_rate=44_100)[np.newaxis]))[0] for path in paths]
    assert len(mels) == 40
    layer = LearnableLog()
    layer.adapt((mel for mel in mels), quantile=quantile)
    assert below(np.concatenate(mels), float(layer.knee)) == pytest.approx(quantile, abs=0.01)


def test_beta_stays_and_alpha_is_moved():
    layer = LearnableLog()
    layer.adapt(random_mel(4, 100, 8), quantile=0.2)
    assert float(layer.beta) == pytest.approx(1.31326, rel=1e-5)


def test_every_form_of_data_gives_the_same():
    mel = random_mel(6, 30, 5)
    labels = np.arange(6)
    forms = {
        "array": mel,
        "list": list(mel),
        "generator": (clip for clip in mel),
        "tensor": tf.constant(mel),
        "data set": tf.data.Dataset.from_tensor_slices(mel).batch(4),
        "pairs": tf.data.Dataset.from_tensor_slices((mel, labels)).batch(4),
    }
    knees = set()
    for data in forms.values():
        layer = LearnableLog(quantile=0.4)
        layer.adapt(data)
        knees.add(float(layer.knee))
    assert len(knees) == 1


def test_channels_may_follow_the_bands():
    mel = random_mel(3, 50, 4)
    first, second = LearnableLog(per_band=True, axis=-2), LearnableLog(per_band=True)
    first.adapt(np.stack([mel, mel], axis=-1), quantile=0.5)
    second.adapt(mel, quantile=0.5)
    np.testing.assert_array_equal(first.knee, second.knee)


def test_memory_does_not_grow_with_the_data():
    counts = PowerCounts(4)
    counts.add(random_mel(10, 4))
    held = counts._counts.nbytes
    for seed in range(20):
        counts.add(random_mel(1000, 4, seed=seed))
    assert counts._counts.nbytes == held == 4 * 0x7F80 * 8
    assert counts.n == 4 * 20_010


def test_the_quantile_is_right_over_the_whole_range_of_float32():
    mel = np.float32(10.0) ** np.random.default_rng(0).uniform(-37, 38, (1000, 4)).astype("float32")
    for share in (0.01, 0.5, 0.999):
        counts = PowerCounts(None)
        counts.add(mel)
        # An interval is less than 1 % wide; so is the gap between two of 4,000 values, more or less.
        assert below(mel, counts.quantile(share)) == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("n_zeros", [0, 50, 500, 900])
@pytest.mark.parametrize("per_band", [False, True])
def test_digital_silence_does_not_count(n_zeros, per_band):
    """Half a data set may be silence between its sounds; the knee is about the sounds."""
    mel = random_mel(100, 4)
    silence = np.zeros((n_zeros, 4), "float32")
    silence[::2] *= -1  # the other zero
    knees = []
    for data in (mel, np.concatenate([mel, silence])):
        layer = LearnableLog(per_band=per_band)
        layer.adapt(data, quantile=0.1)
        knees.append(np.array(layer.knee))
    np.testing.assert_array_equal(*knees)
    assert below(mel, knees[0].max()) == pytest.approx(0.1, abs=0.05)


def test_adapted_layers_are_saved_with_their_knee(tmp_path):
    import keras

    mel = keras.Input((8, 5))
    layer = LearnableLog(quantile=0.25, per_band=True)
    model = keras.Model(mel, layer(mel))
    layer.adapt(random_mel(30, 8, 5))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[1]
    np.testing.assert_array_equal(loaded.knee, layer.knee)
    assert loaded.quantile == 0.25


class TestBadInput:
    def check(self, message, data, **arguments):
        layer = LearnableLog(**arguments)
        with pytest.raises(ValueError, match=message):
            layer.adapt(data)
        assert not layer.built or float(np.mean(layer.alpha)) == pytest.approx(1096.633, rel=1e-5), "left as it was"

    @pytest.mark.parametrize("data", [[], np.zeros((0, 128), "float32"), iter(())])
    def test_no_data(self, data):
        self.check("`data` of `adapt` must contain mel power. Received: nothing", data, quantile=0.1)

    @pytest.mark.parametrize(
        ("data", "received"),
        [
            (3, "int 3"),
            ("mel.npy", "str 'mel.npy'"),
            (["mel.npy"], "str 'mel.npy'"),
            ([{"mel": random_mel(4, 3)}], "dict"),
            ([([[1.0, 2.0], [3.0]], 0)], "list"),
            (None, "NoneType None"),
        ],
    )
    def test_no_arrays(self, data, received):
        self.check(f"`data` of `adapt` must be an array of mel power, .*Received: {received}", data, quantile=0.1)

    def test_a_data_set_of_dictionaries(self):
        data = tf.data.Dataset.from_tensors({"mel": random_mel(4, 3)})
        self.check("must be an array of mel power.*Received: dict", data, quantile=0.1)
        LearnableLog().adapt(data.map(lambda element: element["mel"]), quantile=0.1)

    def test_silence(self):
        self.check(
            r"A knee needs mel power above zero. Received: 36 values, all of them zero \(digital silence\)",
            np.zeros((9, 4)),
            quantile=0.1,
        )

    def test_a_silent_band(self):
        mel = random_mel(100, 4)
        mel[:, 2] = 0
        self.check(r"Received: 100 values of band 2, all of them zero", mel, quantile=0.1, per_band=True)

    @pytest.mark.parametrize("value", [-1e-3, np.nan, np.inf])
    def test_no_mel_power(self, value):
        mel = random_mel(10, 4)
        mel[3, 1] = value
        self.check(r"must be finite and >= 0, not a logarithm. Received: .* at \(3, 1\)", mel, quantile=0.1)

    def test_another_number_of_bands(self):
        layer = LearnableLog(per_band=True, quantile=0.5)
        layer.build((None, 10, 8))
        with pytest.raises(ValueError, match="must have 8 mel bands|must be that of `build`: 8"):
            layer.adapt(random_mel(10, 4))
        with pytest.raises(ValueError, match="All data must have 4 mel bands. Received: 5"):
            LearnableLog(per_band=True, quantile=0.5).adapt([random_mel(10, 4), random_mel(10, 5)])

    def test_one_axis(self):
        self.check(r"must have the shape \(..., n_mels\). Received: shape \(4,\)", [random_mel(4)], quantile=0.5)

    def test_no_quantile(self):
        self.check("`quantile` must be given to `adapt`, or to layer", random_mel(10, 4))

    @pytest.mark.parametrize("quantile", [0, 1, -0.1, 10, np.nan])
    def test_no_share(self, quantile):
        with pytest.raises(ValueError, match="`quantile` must be"):
            LearnableLog().adapt(random_mel(10, 4), quantile=quantile)
        with pytest.raises(ValueError, match="`quantile` must be"):
            LearnableLog(quantile=quantile)
