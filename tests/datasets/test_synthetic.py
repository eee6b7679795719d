"""The synthetic sets follow the official layouts, are the same everywhere, and never touch real data."""

import csv
import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from loglearn_tf.datasets import synthetic
from loglearn_tf.datasets.clips import SYNTHETIC_MARKER
from loglearn_tf.datasets.synthetic import IN_PROGRESS_MARKER, make_tut, make_us8k
from loglearn_tf.errors import DataError

US8K_CLASSES = [
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
]
TUT_CLASSES = [
    "beach",
    "bus",
    "cafe/restaurant",
    "car",
    "city_center",
    "forest_path",
    "grocery_store",
    "home",
    "library",
    "metro_station",
    "office",
    "park",
    "residential_area",
    "train",
    "tram",
]
DEVELOPMENT, EVALUATION = "TUT-acoustic-scenes-2017-development", "TUT-acoustic-scenes-2017-evaluation"
SMALL = {"clips_per_class": 1, "folds": (3,), "duration_s": 0.25}


@pytest.fixture(scope="module")
def us8k(tmp_path_factory):
    return make_us8k(tmp_path_factory.mktemp("us8k"), clips_per_class=4, folds=(1, 10))


@pytest.fixture(scope="module")
def us8k_rows(us8k):
    with (us8k / "metadata" / "UrbanSound8K.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def us8k_mels(us8k, us8k_rows):
    """Mel power, `(frames, 128)`, with the settings of the experiment."""
    mels = []
    for row in us8k_rows:
        channels, rate = soundfile.read(us8k_path(us8k, row), always_2d=True)
        waveform = librosa.resample(channels.mean(axis=1), orig_sr=rate, target_sr=44_100)
        mel = librosa.feature.melspectrogram(y=waveform, sr=44_100, n_fft=1024, hop_length=1024, n_mels=128)
        mels.append(mel.T)
    return mels


@pytest.fixture(scope="module")
def tut(tmp_path_factory):
    root = make_tut(tmp_path_factory.mktemp("tut"), clips_per_class=(1, 1))
    yield root
    shutil.rmtree(root)  # 80 MB


def us8k_path(root, row):
    return root / "audio" / f"fold{row['fold']}" / row["slice_file_name"]


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def read_table(path):
    """Rows of a tab-separated list."""
    text = path.read_bytes().decode()
    assert text.endswith("\r\n")
    return [line.split("\t") for line in text.splitlines()]


# ---- US8K --------------------------------------------------------------------------------------------------


def test_us8k_metadata_has_the_official_columns_and_classes(us8k, us8k_rows):
    columns = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    assert list(us8k_rows[0]) == columns
    assert Counter((row["fold"], row["class"]) for row in us8k_rows) == {
        (fold, name): 4 for fold in ("1", "10") for name in US8K_CLASSES
    }
    assert all(row["class"] == US8K_CLASSES[int(row["classID"])] for row in us8k_rows)
    assert {row["salience"] for row in us8k_rows} == {"1", "2"}


def test_us8k_rows_and_files_agree(us8k, us8k_rows):
    on_disk = {path for path in us8k.rglob("*") if path.suffix == ".wav"}
    assert on_disk == {us8k_path(us8k, row) for row in us8k_rows}
    for row in us8k_rows:
        source, class_id, _, slice_id = row["slice_file_name"].removesuffix(".wav").split("-")
        assert (source, class_id) == (row["fsID"], row["classID"])
        assert float(row["start"]) == int(slice_id) / 2
        duration_s = soundfile.info(us8k_path(us8k, row)).duration
        assert float(row["end"]) - float(row["start"]) == pytest.approx(duration_s, abs=2e-6)


def test_us8k_source_recording_stays_in_one_fold_and_class(us8k_rows):
    homes = {(row["fsID"], row["fold"], row["class"]) for row in us8k_rows}
    assert len(homes) == len({row["fsID"] for row in us8k_rows}) == 2 * 10 * 2


def test_us8k_formats_mix(us8k, us8k_rows):
    infos = [soundfile.info(us8k_path(us8k, row)) for row in us8k_rows]
    assert {info.subtype for info in infos} == {"PCM_16", "PCM_24"}
    assert {info.samplerate for info in infos} == {22_050, 44_100, 48_000}
    assert {info.channels for info in infos} == {1, 2}
    assert {info.format for info in infos} == {"WAV", "WAVEX"}


def test_us8k_one_clip_in_seven_is_shorter_than_a_patch(us8k_rows):
    durations_s = np.array([float(row["end"]) - float(row["start"]) for row in us8k_rows])
    short = durations_s < 128 * 1024 / 44_100
    assert np.mean(short) == pytest.approx(1 / 7, abs=0.03)
    assert np.all(durations_s[~short] == 4.0)
    assert np.all((durations_s[short] >= 0.3) & (durations_s[short] <= 2.5))


def test_us8k_nothing_clips_and_nothing_is_silent(us8k, us8k_rows):
    peaks = [np.max(np.abs(soundfile.read(us8k_path(us8k, row))[0])) for row in us8k_rows]
    assert 0.001 < min(peaks) < 0.03
    assert 0.4 < max(peaks) < 0.75


def test_us8k_mel_power_spans_eight_orders_of_magnitude(us8k_mels):
    low, high = np.quantile(np.concatenate(us8k_mels), [0.01, 0.99])
    assert high / low > 1e8


@pytest.mark.parametrize(
    "compress",
    [lambda mel: np.log10(mel + 2.2e-16), lambda mel: np.log(1096.63 * mel + 1.31)],
    ids=["log-EPS", "loglearn at its start"],
)
def test_us8k_is_neither_trivial_nor_hopeless(us8k_rows, us8k_mels, compress):
    """Mean and deviation per band, a linear classifier, an unseen fold; chance is 0.1."""
    log_mels = [compress(mel) for mel in us8k_mels]
    features = np.array([np.concatenate([log_mel.mean(0), log_mel.std(0)]) for log_mel in log_mels])
    labels = np.array([row["class"] for row in us8k_rows])
    test = np.array([row["fold"] == "1" for row in us8k_rows])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    accuracy = classifier.fit(features[~test], labels[~test]).score(features[test], labels[test])
    assert 0.25 < accuracy < 0.85


# ---- TUT ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [DEVELOPMENT, EVALUATION])
def test_tut_lists_every_file_with_one_of_the_fifteen_scenes(tut, part):
    rows = read_table(tut / part / "meta.txt")
    assert sorted(scene for _, scene, _ in rows) == TUT_CLASSES
    assert {name for name, _, _ in rows} == {f"audio/{path.name}" for path in (tut / part / "audio").iterdir()}


@pytest.mark.parametrize("part", [DEVELOPMENT, EVALUATION])
def test_tut_files_are_24_bit_stereo_of_ten_seconds_and_do_not_clip(tut, part):
    for path in (tut / part / "audio").iterdir():
        info = soundfile.info(path)
        assert (info.subtype, info.channels, info.samplerate, info.frames) == ("PCM_24", 2, 44_100, 441_000)
        waveform, _ = soundfile.read(path, dtype="float32")
        assert 0.001 < np.max(np.abs(waveform)) < 0.75


def test_tut_names_and_locations_are_in_the_official_form(tmp_path):
    make_tut(tmp_path, clips_per_class=(5, 4), duration_s=0.2)
    development, evaluation = (read_table(tmp_path / part / "meta.txt") for part in (DEVELOPMENT, EVALUATION))
    assert ["audio/a001_10_20.wav", "beach", "a001"] in development
    assert sorted(int(Path(name).stem) for name, _, _ in evaluation) == list(range(60))
    locations = [{(scene, location) for _, scene, location in rows} for rows in (development, evaluation)]
    assert [len(pairs) for pairs in locations] == [30, 30]
    assert not {location for _, location in locations[0]} & {location for _, location in locations[1]}


def test_tut_evaluation_setup_splits_by_location(tmp_path):
    make_tut(tmp_path, clips_per_class=(6, 1), duration_s=0.2)
    setup = tmp_path / DEVELOPMENT / "evaluation_setup"
    location = {name: place for name, _, place in read_table(tmp_path / DEVELOPMENT / "meta.txt")}
    train, evaluate = read_table(setup / "fold1_train.txt"), read_table(setup / "fold1_evaluate.txt")
    assert [name for name, _ in evaluate] == [name for (name,) in read_table(setup / "fold1_test.txt")]
    assert len(train) == len(evaluate) == 45
    assert not {location[name] for name, _ in train} & {location[name] for name, _ in evaluate}
    labels = read_table(tmp_path / EVALUATION / "evaluation_setup" / "evaluate.txt")
    assert labels == [row[:2] for row in read_table(tmp_path / EVALUATION / "meta.txt")]


# ---- Determinism -------------------------------------------------------------------------------------------


def test_same_parameters_give_the_same_bytes(tmp_path):
    for make, parameters in [
        (make_us8k, {"clips_per_class": 1, "folds": (1,), "duration_s": 1.0}),
        (make_tut, {"clips_per_class": (1, 1), "duration_s": 0.5}),
    ]:
        first, second = tmp_path / f"{make.__name__} 1", tmp_path / f"{make.__name__} 2"
        assert digests(make(first, **parameters)) == digests(make(second, **parameters))


def test_a_clip_does_not_depend_on_the_others(tmp_path):
    alone = digests(make_us8k(tmp_path / "alone", **SMALL) / "audio")
    among = digests(make_us8k(tmp_path / "among", **{**SMALL, "clips_per_class": 2, "folds": (5, 3)}) / "audio")
    assert alone.items() <= among.items()


def test_seeds_and_clips_differ(tmp_path):
    roots = [make_us8k(tmp_path / str(seed), **SMALL, seed=seed) for seed in (0, 1)]
    assert len({md5 for root in roots for md5 in digests(root / "audio").values()}) == 20


# ---- Safety ------------------------------------------------------------------------------------------------


def test_marker_says_synthetic_and_with_which_parameters(tmp_path):
    make_us8k(tmp_path, **SMALL)
    sentence, parameters = (tmp_path / SYNTHETIC_MARKER).read_text().splitlines()
    assert sentence.startswith("Synthetic")
    assert json.loads(parameters) == {
        "generator_version": synthetic.GENERATOR_VERSION,
        "layout": "us8k",
        "clips_per_class": 1,
        "folds": [3],
        "seed": 0,
        "duration_s": 0.25,
    }


def test_second_call_does_nothing(tmp_path, monkeypatch):
    make_us8k(tmp_path, **SMALL)
    monkeypatch.setattr(synthetic, "_write", lambda path, content: pytest.fail(f"wrote {path}"))
    assert make_us8k(tmp_path, **SMALL) == tmp_path


@pytest.mark.parametrize("make", [lambda root: make_us8k(root, **SMALL, seed=1), make_tut], ids=["seed", "layout"])
def test_other_parameters_are_refused(tmp_path, make):
    make_us8k(tmp_path, **SMALL)
    before = digests(tmp_path)
    with pytest.raises(DataError, match=r"contains synthetic data made with .* Delete that folder or choose another"):
        make(tmp_path)
    assert digests(tmp_path) == before


@pytest.mark.parametrize("make", [make_us8k, make_tut])
def test_real_data_is_never_touched(tmp_path, make):
    metadata = tmp_path / "metadata" / "UrbanSound8K.csv"
    metadata.parent.mkdir()
    metadata.write_text("real")
    with pytest.raises(DataError, match="may be real data") as caught:
        make(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert list(digests(tmp_path)) == [str(metadata.relative_to(tmp_path))]


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match="contains data, which is not synthetic"):
        make_us8k(tmp_path / "data", **SMALL)


def test_interrupted_generation_is_resumed(tmp_path, monkeypatch):
    complete = digests(make_us8k(tmp_path / "complete", **SMALL))
    root, encode = tmp_path / "interrupted", synthetic._encode

    def fail_on_the_second_clip(*arguments):
        if list(root.rglob("*.wav")):
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(synthetic, "_encode", fail_on_the_second_clip)
    with pytest.raises(KeyboardInterrupt):
        make_us8k(root, **SMALL)
    assert (root / IN_PROGRESS_MARKER).is_file()
    # Neither the marker nor the metadata: no reader takes this for a data set.
    assert not (root / SYNTHETIC_MARKER).exists() and not (root / "metadata").exists()
    (root / "audio" / "fold3" / ".half.wav.k3xq_1z9.part").write_bytes(b"killed while writing")

    monkeypatch.undo()
    with pytest.raises(DataError, match="Delete that folder"):
        make_us8k(root, **SMALL, seed=1)
    assert digests(make_us8k(root, **SMALL)) == complete


def test_real_data_unpacked_over_an_interrupted_set_is_not_touched(tmp_path):
    make_us8k(tmp_path, **SMALL)
    (tmp_path / SYNTHETIC_MARKER).rename(tmp_path / IN_PROGRESS_MARKER)
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_text("real")
    (tmp_path / "audio" / "fold3" / "100263-2-0-117.wav").write_bytes(b"real")
    before = digests(tmp_path)
    with pytest.raises(DataError, match="contains 100263-2-0-117.wav, which is not synthetic"):
        make_us8k(tmp_path, **SMALL)
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (make_us8k, {"folds": (0,)}, r"`folds` must be .* Received: folds=\(0,\)"),
        (make_us8k, {"folds": (1, 1)}, "`folds` must be distinct"),
        (make_us8k, {"folds": ()}, "`folds`"),
        (make_us8k, {"clips_per_class": 0}, "`clips_per_class` must be 1 to 1000. Received: 0"),
        (make_us8k, {"seed": -1}, "`seed` must be .* Received: seed=-1"),
        (make_us8k, {"duration_s": 0.0}, "`duration_s` must be .* Received: duration_s=0.0"),
        (make_tut, {"clips_per_class": 3}, r"`clips_per_class` must be \(development, evaluation\). Received: 3"),
        (make_tut, {"clips_per_class": (1, 0)}, "`clips_per_class`"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(tmp_path, make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()
