"""However the arguments of the front end are written, one front end has one store."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loglearn_tf import MelSpectrogram
from loglearn_tf.errors import ConfigError
from loglearn_tf.features.build import build_store
from loglearn_tf.features.front_end import completed
from loglearn_tf.study.settings import FeatureSettings

SETTINGS = FeatureSettings().front_end


def test_those_of_settings_are_all_there_are():
    """Stores made by settings keep their names."""
    assert completed(SETTINGS) == SETTINGS == completed({})


@given(st.sets(st.sampled_from(sorted(SETTINGS))))
def test_defaults_given_and_left_out_are_the_same(given_names):
    assert completed({name: SETTINGS[name] for name in given_names}) == SETTINGS


@given(st.fixed_dictionaries({}, optional={"n_mels": st.integers(1, 64), "f_max": st.integers(9000, 22_050)}))
def test_all_the_layer_is_built_with_is_named(front_end):
    layer = MelSpectrogram(**front_end)
    assert completed(front_end) == {name: getattr(layer, name) for name in SETTINGS}
    assert isinstance(completed({**SETTINGS, "f_min": 0})["f_min"], float)  # 0 and 0.0 are one


LATER = {"window": "hamming", "mel_scale": "htk", "norm": None, "win_length": 400}


@given(st.sets(st.sampled_from(sorted(LATER)), min_size=1))
def test_what_the_layer_has_learned_since_is_named_where_it_is_used(names):
    used = {name: LATER[name] for name in names}
    assert completed(used) == {**SETTINGS, **used} == FeatureSettings(**used).front_end
    assert completed({**SETTINGS, **used}) == {**SETTINGS, **used}


def test_defaults_written_out_are_none_of_it():
    """A window as long as the frame is the default, too."""
    written_out = {"window": "hann", "mel_scale": "slaney", "norm": "slaney", "win_length": 1024}
    assert completed(written_out) == completed({**SETTINGS, **written_out}) == SETTINGS
    assert FeatureSettings(**written_out).front_end == SETTINGS
    assert FeatureSettings(n_fft=512, win_length=512).front_end == completed({"n_fft": 512})


@pytest.mark.parametrize("wrong", [{"window": "kaiser"}, {"win_length": 2048}, {"norm": 1}, {"mel_scale": "bark"}])
def test_later_values_out_of_their_range(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        completed({**SETTINGS, **wrong})


def test_settings_load_no_tensorflow():
    used = FeatureSettings(**LATER).front_end
    program = f"""
import sys
from loglearn_tf.features.front_end import completed
assert completed({used!r}) == {used!r}
print(sorted({{"tensorflow", "keras"}} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_one_store(us8k, tmp_path):
    clips = us8k.clips[:2]
    front_end = {"n_mels": 64, "f_min": 0, "n_fft": np.int64(1024)}
    store = build_store(clips, name="test", front_end=front_end, store_dir=tmp_path)
    assert store.mel(clips[0]).shape[1] == 64
    whole = build_store(clips, name="test", front_end={**SETTINGS, "n_mels": 64}, store_dir=tmp_path)
    assert whole.folder == store.folder and whole.settings["front_end"] == {**SETTINGS, "n_mels": 64}


@pytest.mark.parametrize(
    ("front_end", "message"),
    [
        ({"n_mel": 64}, r"must contain arguments of `MelSpectrogram`. Received: n_mel. Did you mean n_mels\?"),
        ({**SETTINGS, "loudness": 1}, r"Received: loudness. Known: sample_rate, n_fft, .*fft_dtype"),
        ({"name": "mine"}, "Received: name"),
    ],
)
def test_an_argument_that_the_layer_does_not_take(us8k, tmp_path, front_end, message):
    with pytest.raises(ConfigError, match=message):
        build_store(us8k.clips, name="test", front_end=front_end, store_dir=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_value_out_of_its_range(us8k, tmp_path):
    with pytest.raises(ValueError, match="`n_mels` must be a positive integer. Received: n_mels=0"):
        build_store(us8k.clips, name="test", front_end={"n_mels": 0}, store_dir=tmp_path)
