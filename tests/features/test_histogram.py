"""Mel power counted and a knee explained: against the plain values, and against what was measured of real clips."""

import json

import numpy as np
import pytest
from conftest import ROOT

from loglearn_tf import LearnableLog, MelSpectrogram
from loglearn_tf.cli import main
from loglearn_tf.errors import DataError
from loglearn_tf.features.histogram import (
    LOG_EPS,
    START_ALPHA,
    START_BETA,
    clip_level,
    count_mel_histogram,
    explain,
    knees_moved,
    per_class,
    read_mel_histogram,
    write_mel_histogram,
)
from loglearn_tf.study.settings import load_settings


@pytest.fixture
def mels():
    rng = np.random.default_rng(0)
    quiet, loud = rng.lognormal(-14, 4, (200, 128)), rng.lognormal(-4, 3, (300, 128))
    quiet[:20] = 0  # digital silence
    return [quiet.astype(np.float32), loud.astype(np.float32)]


@pytest.fixture
def power(mels, array_store):
    store = array_store(mels, labels=[0, 1])
    return count_mel_histogram(store, store.clips, dataset="us8k", classes=("park", "drilling"))


def test_the_start_is_loglearns():
    layer = LearnableLog()
    layer.build((None, 4))
    assert float(layer.alpha) == pytest.approx(START_ALPHA, rel=1e-6)
    assert float(layer.beta) == pytest.approx(START_BETA, rel=1e-6)


@pytest.mark.parametrize("threshold", [1e-12, 1e-6, START_BETA / START_ALPHA, 1.0])
def test_shares_are_those_of_the_plain_values(power, mels, threshold):
    for label, values in enumerate(mels):
        assert power.share_below(threshold, label) == pytest.approx(np.mean(values < threshold), abs=0.005)
    everything = np.concatenate([mel.ravel() for mel in mels])
    assert power.share_below(threshold) == pytest.approx(np.mean(everything < threshold), abs=0.005)


def test_every_bin_is_counted_zeros_and_extremes_included(array_store):
    values = np.array([[0, 1e-38, 1e-21, 1e-20, 1.0, 9e5, 1e7, 1e30]], np.float32)
    store = array_store([values], labels=[0])
    counts = count_mel_histogram(store, store.clips, dataset="us8k", classes=("park",)).counts[0]
    assert counts.sum() == 8 and counts[0] == 3 and counts[-1] == 3


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_quantiles_are_right_to_a_bin(power, mels, share):
    expected = np.quantile(mels[1], share)
    assert expected * 0.99 <= power.quantile(share, 1) <= expected * 10**0.11


def test_what_is_left_of_the_range(power, mels):
    knee = START_BETA / START_ALPHA
    low, high = np.quantile(mels[1].astype(np.float64), [0.05, 0.95])
    assert power.range_db(knee, 1) == pytest.approx(10 * np.log10((high + knee) / (low + knee)), abs=1.5)
    assert power.range_db(LOG_EPS, 1) == pytest.approx(10 * np.log10(high / low), abs=1.5)
    low, high = np.quantile(mels[0].astype(np.float64), [0.05, 0.95])
    assert power.range_db(knee, 0) == pytest.approx(10 * np.log10((high + knee) / (low + knee)), abs=1.5)


def test_it_is_said_in_words_and_by_class(power):
    text = " ".join(explain(power, alpha=START_ALPHA, beta=START_BETA))
    share = 100 * power.share_below(START_BETA / START_ALPHA)
    assert f"the knee is 0.0012: {share:.0f} % of all bins are below it" in text
    assert [row[0] for row in per_class(power, knee=1e-3)] == ["park", "drilling", "all"]


def test_classes_without_clips_are_left_out(mels, array_store):
    store = array_store(mels[:1], labels=[1])
    power = count_mel_histogram(store, store.clips, dataset="us8k", classes=("park", "drilling"))
    assert [row[0] for row in per_class(power, knee=1e-3)] == ["drilling", "all"]
    with pytest.raises(DataError, match="The histogram has no clip of class park of us8k"):
        power.share_below(1, 0)


def test_it_is_saved_with_the_study(power, tmp_path):
    assert read_mel_histogram(tmp_path, "us8k") is None
    write_mel_histogram(tmp_path, power)
    again = read_mel_histogram(tmp_path, "us8k")
    assert again.classes == power.classes and np.array_equal(again.counts, power.counts)
    path = tmp_path / "mel_power-us8k.json"
    for wrong in ("{", "[]", json.dumps({"dataset": "us8k", "counts": {"park": [1, 2]}})):
        path.write_text(wrong)
        with pytest.raises(DataError, match="cannot be read.*Remove it"):
            read_mel_histogram(tmp_path, "us8k")


def test_how_far_knees_moved():
    start = START_BETA / START_ALPHA
    row = {"status": "done", "compression": "loglearn", "model": "vgg"}
    rows = [{**row, "knee": start * factor} for factor in (0.9, 1.0, 1.2)]
    rows += [{**row, "status": "failed", "knee": None}, {**row, "compression": "logeps", "knee": None}]
    assert knees_moved(rows) == [("vgg", "3", "0.900", "1.000", "1.200")]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_alpha_and_beta_must_be_positive(capsys, us8k_root, value):
    assert main(["explain", str(ROOT / "experiments/us8k.yaml"), f"data.root={us8k_root}", "--alpha", value]) == 2
    assert "`--alpha` must be greater than 0" in capsys.readouterr().err


def test_half_of_the_bins_of_real_clips_lie_below_the_starting_knee(shared, capsys, tmp_path):
    """docs/fidelity.md, "Compression": 54 % on 300 random clips of US8K, 32 % for jackhammer, 74 % for siren."""
    root = shared / "data" / "UrbanSound8K-subset"
    overrides = [f"data.root={root}", f"features.store_dir={tmp_path}", f"runs_dir={tmp_path / 'runs'}"]
    assert main(["explain", str(ROOT / "experiments/us8k.yaml"), *overrides]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    below = {name: float(rows[name][4]) for name in ("all", "jackhammer", "siren")}
    assert 44 <= below["all"] <= 64
    assert below["jackhammer"] < below["all"] < below["siren"]


# ---- How loud clips are ---------------------------------------------------------------------------------------------

FRONT_END = load_settings(ROOT / "experiments" / "us8k.yaml").features.front_end


@pytest.mark.parametrize("front_end", [{}, {"sample_rate": 16_000, "n_fft": 512, "n_mels": 40}, {"f_max": 11_025.0}])
def test_the_level_of_a_clip_is_its_rms(front_end):
    front_end = {**FRONT_END, **front_end}
    rate = front_end["sample_rate"]
    seconds = np.arange(2 * rate) / rate
    rng = np.random.default_rng(0)
    # In bands of the front end: what lies above `f_max` is in no mel power.
    for waveform in (0.5 * np.sin(2 * np.pi * 1000 * seconds), 0.01 * np.sin(2 * np.pi * 3000 * seconds)):
        waveform = waveform + 1e-5 * rng.normal(size=len(seconds))
        mel = MelSpectrogram(**front_end)(waveform[np.newaxis].astype(np.float32)).numpy()[0]
        rms = 10 * np.log10(np.mean(waveform**2))
        assert clip_level(mel, **front_end) == pytest.approx(rms, abs=0.5)
    if front_end["f_max"] is None:
        noise = 0.1 * rng.normal(size=len(seconds))
        mel = MelSpectrogram(**front_end)(noise[np.newaxis].astype(np.float32)).numpy()[0]
        assert clip_level(mel, **front_end) == pytest.approx(-20, abs=0.5)


def test_levels_are_counted_and_kept(mels, array_store, tmp_path, power):
    store = array_store([*mels, np.zeros((4, 128), np.float32)], labels=[0, 1, 1])
    counted = count_mel_histogram(store, store.clips, dataset="us8k", classes=("park", "drilling"), front_end=FRONT_END)
    assert counted.clip_dbfs == pytest.approx([clip_level(mel, **FRONT_END) for mel in mels], abs=0.05)
    assert counted.silent == pytest.approx((20 + 4) / (200 + 300 + 4), abs=1e-6)
    write_mel_histogram(tmp_path, counted)
    assert read_mel_histogram(tmp_path, "us8k").clip_dbfs == counted.clip_dbfs
    low, middle, high = counted.clip_level_quantiles()
    assert low < middle < high
    assert power.clip_level_quantiles() is None and power.clip_dbfs == ()
