"""The estimate before any run: what it is made of, and what it leaves alone."""

import logging
import queue
import sys
from types import SimpleNamespace

import pytest
from conftest import short_settings

from loglearn_tf.errors import ConfigError
from loglearn_tf.experiment import estimate
from loglearn_tf.experiment.estimate import estimate_study
from loglearn_tf.features.build import n_to_compute, seconds_of
from loglearn_tf.study.cost import Estimate
from loglearn_tf.study.settings import load_settings
from loglearn_tf.study.status import survey


def of(settings, workers=1):
    return settings, survey(settings, settings.study_dir, workers=workers)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_without_measuring_from_the_table_and_the_data_on_disk(us8k_root, tmp_path):
    settings = short_settings(us8k_root, tmp_path, "models=[timbre,vgg]")
    before = files(us8k_root)
    (found,) = estimate_study([of(settings)], measure=False)
    assert isinstance(found, Estimate)
    assert found.sounds.n_clips == found.sounds.to_compute == 60 and found.sounds.clips[1] == 20
    assert (
        found.costs.basis.endswith("not of this machine (--no-measure).")
        and found.sounds.source == "for the data on disk"
    )
    assert set(found.seconds) == {("timbre", 1), ("vgg", 1)} and found.wall_s > 0
    assert files(us8k_root) == before and not list(tmp_path.iterdir())


def test_where_nothing_is_known_it_says_so(tmp_path):
    settings = load_settings("folder", [f"data.root={tmp_path / 'absent'}", "name=x", f"runs_dir={tmp_path}"])
    (found,) = estimate_study([of(settings)])
    assert found.startswith("No time estimate without the data: ") and "absent" in found


def test_what_would_stop_the_study_is_a_warning(us8k_root, tmp_path, caplog):
    settings = short_settings(us8k_root, tmp_path, "n_shot=[1,50]")
    with caplog.at_level(logging.WARNING, "loglearn_tf"):
        estimate_study([of(settings)], measure=False)
    assert "`n_shot` is larger than the smallest class" in caplog.text


def test_lengths_and_what_a_store_lacks(us8k, us8k_store, us8k_root, tmp_path):
    for clip in us8k.clips[:4]:
        frames = len(us8k_store.mel(clip))
        assert frames == pytest.approx(1 + seconds_of(clip) * 44_100 // 1024, abs=1)
    settings = load_settings("us8k")
    arguments = {"name": "us8k", "front_end": settings.features.front_end}
    assert n_to_compute(us8k.clips, store_dir=us8k_store.folder.parent, **arguments) == 0
    assert n_to_compute(us8k.clips, store_dir=tmp_path, **arguments) == len(us8k.clips)
    broken = us8k.clips[0].path.with_name("not_a_sound.txt")
    assert seconds_of(us8k.clips[0].__class__("x", broken, 0, 1)) is None


def test_without_tensorflow_the_table_serves(us8k_root, tmp_path, monkeypatch):
    (tmp_path / "hiding").mkdir()
    (tmp_path / "hiding" / "tensorflow.py").write_text("raise ImportError('no TensorFlow here')")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "hiding"), *sys.path])
    settings = short_settings(us8k_root, tmp_path, "models=[timbre]")
    (found,) = estimate_study([of(settings)])
    assert "TensorFlow cannot be imported (no TensorFlow here)" in found.costs.basis and found.core_s > 0


@pytest.fixture
def started(monkeypatch):
    """The processes that are started."""
    found = []

    class Watched(estimate.Process):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            found.append(self)

    monkeypatch.setattr(estimate, "Process", Watched)
    return found


def test_time_that_is_over_ends_it(us8k_root, tmp_path, monkeypatch, started):
    monkeypatch.setattr(estimate, "LIMIT_S", 0.5)
    (found,) = estimate_study([of(short_settings(us8k_root, tmp_path, "models=[timbre]"))])
    assert started and all(process.exitcode is not None for process in started)
    assert "nothing could be timed in 0.5 s" in found.costs.basis


def test_an_interruption_leaves_no_process(us8k_root, tmp_path, monkeypatch, started):
    class Interrupted:
        def get(self, timeout):
            raise KeyboardInterrupt

        def put(self, message):
            pass

    monkeypatch.setattr(estimate, "queue", SimpleNamespace(SimpleQueue=Interrupted, Empty=queue.Empty))
    with pytest.raises(KeyboardInterrupt):
        estimate_study([of(short_settings(us8k_root, tmp_path, "models=[timbre]"))])
    assert started and all(process.exitcode is not None for process in started)


@pytest.mark.slow
def test_a_network_is_timed_and_its_time_is_plausible(us8k_root, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "LIMIT_S", 120.0)
    settings = short_settings(
        us8k_root, tmp_path, "models=[timbre]", "training.epochs=100", "compressions=[pcen,logeps]"
    )
    told = []
    (found,) = estimate_study([of(settings)], on_progress=told.append)
    assert found.costs.basis.startswith("Timed on this machine: timbre.")
    assert {step.work for step in told} == {"Timing"} and {"features", "timbre", "timbre pcen"} <= {
        step.text for step in told
    }
    pcen, other = (found.costs.networks["timbre", name] for name in ("pcen", "logeps"))
    # Orders of magnitude: a machine that is busy with other tests may need several times as long.
    assert all(1e-5 < one.patch_s < 1 and one.frame_s < 1e-2 for one in (pcen, other))
    assert 0.5 < found.costs.start_s < 60 and 0 < found.costs.clip_s < 1


@pytest.mark.slow
def test_a_network_from_outside_is_checked_first(us8k_root, tmp_path, monkeypatch):
    (tmp_path / "my_lab_of_softmax.py").write_text(
        "import keras\n"
        "def build(n_classes, compression, seed):\n"
        "    mel = keras.Input((128, 128))\n"
        "    x = keras.layers.GlobalAveragePooling1D()(compression(mel))\n"
        "    return keras.Model(mel, keras.layers.Dense(n_classes, activation='softmax')(x))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(estimate, "LIMIT_S", 120.0)
    settings = short_settings(us8k_root, tmp_path, "models=[my_lab_of_softmax:build]")
    with pytest.raises(ConfigError, match="`models`: Network my_lab_of_softmax:build must return logits"):
        estimate_study([of(settings)])
