"""Things of a module that the package has never heard of: from settings to a finished run, and to the files of it."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import soundfile

from loglearn_tf._util.registry import folder_name
from loglearn_tf.datasets import load_dataset
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.features.build import build_store
from loglearn_tf.features.store import MelStore
from loglearn_tf.models import build_model
from loglearn_tf.study.grid import check_grid, plan_runs, run_identity
from loglearn_tf.study.run_folder import read_runs, split_done, write_run
from loglearn_tf.study.settings import load_settings

MY_LAB = '''
"""Pure tones, and a network that hears which band is loudest."""

import json
from pathlib import Path

import keras

from loglearn_tf.analysis.report.table import Table
from loglearn_tf.datasets import Clip, DataSet
from loglearn_tf.layers import Compression

CLASSES = ("low", "high")


def load_tones(root):
    paths = sorted(Path(root).glob("*.wav"))
    clips = tuple(Clip(p.name, p, CLASSES.index(p.stem.split("-")[0]), int(p.stem.split("-")[1])) for p in paths)
    return DataSet("tones", Path(root), CLASSES, clips, train_folds={1: (2,), 2: (1,)})


def build_loudest(n_classes, compression, seed):
    mel = keras.Input((128, 128))
    x = keras.layers.LayerNormalization()(keras.layers.GlobalAveragePooling1D()(compression(mel)))
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Model(mel, keras.layers.Dense(n_classes, kernel_initializer=start, name="logits")(x))


@keras.saving.register_keras_serializable("my_lab_of_tones")
class CubeRoot(Compression):
    pointwise = True

    def compress(self, mel):
        return mel ** (1 / 3)


def count_runs(results, comparisons):
    count = str(sum(row["status"] == "done" for row in results.rows))
    return Table("Runs that are done", ("Count",), (((count,), ()),), columns=("runs",), records=({"runs": count},))


def to_json(model, path):
    path.write_text(json.dumps({"name": model.name, "outputs": model.output_shape[-1]}))
'''
SETTINGS = """\
name: tones
data: {name: "my_lab_of_tones:load_tones", root: ROOT}
features: {store_dir: ROOT/stores}
models: ["my_lab_of_tones:build_loudest"]
compressions: loglearn
n_shot: 2
folds: [1]
runs: 1
runs_dir: ROOT/runs
training: {epochs: 20}
evaluation: {patch_hop: 64}
save_models: true
tensorboard: none
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "my_lab_of_tones.py").write_text(MY_LAB)
    monkeypatch.syspath_prepend(tmp_path / "code")
    rng, time_s = np.random.default_rng(0), np.arange(4 * 44_100) / 44_100
    for fold in (1, 2):
        for label, pitch_hz in (("low", 300), ("high", 5000)):
            for number in range(3):
                wave = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + 0.01 * rng.standard_normal(len(time_s))
                soundfile.write(tmp_path / f"{label}-{fold}-{number}.wav", wave, 44_100)
    path = tmp_path / "tones.yaml"
    path.write_text(SETTINGS.replace("ROOT", str(tmp_path)))
    return load_settings(path)


def test_from_settings_to_finished_runs(settings, tmp_path):
    dataset = load_dataset(
        settings.data.name, settings.data.root, validation_fold=settings.data.validation_fold, allow_missing=False
    )
    check_grid(settings, dataset)
    specs = plan_runs(settings)
    assert len(specs) == 1
    model = build_model(settings.models[0], n_classes=2)
    assert model.output_shape == (None, 2)

    store = build_store(
        dataset.clips,
        name=folder_name(dataset.name),
        front_end=settings.features.front_end,
        store_dir=settings.features.store_dir,
    )
    assert isinstance(store, MelStore)
    worker = Worker(Work(settings, dataset, store.folder))
    for spec in specs:
        record = worker.perform(spec)
        assert record.result["status"] == "done", record.result.get("error")
        assert record.result["accuracy"] == 1.0  # 300 and 5000 Hz are easy to tell apart
        write_run(settings.study_dir, spec, record.files, record.result)

    identity = run_identity(settings, dataset)
    assert split_done(settings.study_dir, specs, identity) == (specs, [])
    # What its trainer, the supervised one, does not read does not matter.
    other = {**identity, "episodic": {"patience": 1}}
    assert split_done(settings.study_dir, specs, other) == (specs, [])
    rows = read_runs(settings.study_dir)
    assert {(row["dataset"], row["model"]) for row in rows} == {
        ("my_lab_of_tones:load_tones", "my_lab_of_tones:build_loudest")
    }
    saved = settings.study_dir / specs[0].folder / "model.keras"
    assert saved.is_relative_to(settings.study_dir / "my_lab_of_tones-load_tones" / "my_lab_of_tones-build_loudest")
    deployed = keras.saving.load_model(saved)
    sound, _ = soundfile.read(tmp_path / "high-1-0.wav", dtype="float32")
    assert np.argmax(deployed(sound[np.newaxis])) == dataset.classes.index("high")


def test_a_run_whose_network_cannot_be_imported_is_described(settings, us8k, us8k_store):
    """A node of a cluster may lack the module."""
    settings = settings.model_copy(update={"models": ("no_such_module_of_mine:build",)})
    worker = Worker(Work(settings, us8k, us8k_store.folder))
    spec = plan_runs(settings)[0]
    record = worker.perform(spec)
    assert record.result["status"] == "failed"
    assert "no_such_module_of_mine cannot be imported" in record.result["error"].replace(":build", "")
    write_run(settings.study_dir, spec, record.files, record.result)
    assert read_runs(settings.study_dir)[0]["status"] == "failed"


@pytest.mark.long
def test_all_five_kinds_on_the_command_line(settings, tmp_path):
    """A data set, a network, a compression, a report table and an export format, found in the current folder."""

    def python(*arguments):
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path / "code", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    study = [tmp_path / "tones.yaml", "compressions=[my_lab_of_tones:CubeRoot,logeps]", "runs=2", "workers=1"]
    ran = python("-m", "loglearn_tf", "run", *study)
    assert "my_lab_of_tones:CubeRoot - logeps" in ran

    # The others in one process: the module imports TensorFlow, which takes seconds.
    (trained,) = settings.study_dir.glob("*/*/my_lab_of_tones-CubeRoot/n002/fold01/run00/model.keras")
    commands = [
        ["plan", *study, "--no-measure"],
        ["report", settings.study_dir, "--table", "my_lab_of_tones:count_runs"],
        ["predict", trained, tmp_path / "high-1-0.wav", "--format", "jsonl", "--top", "1"],
        ["export", trained, "--to", "my_lab_of_tones:to_json", "--output", tmp_path / "model.json"],
    ]
    several = """
import json, sys
from loglearn_tf.cli import main
for command in json.loads(sys.argv[1]):
    print("####")
    assert main(command) == 0
    import my_lab_of_tones  # a file names its layer; whoever opens it imports the module that registers it
"""
    _, planned, _, predicted, _ = python("-c", several, json.dumps(commands, default=str)).split("####\n")
    assert "4 runs" in planned and "my_lab_of_tones:CubeRoot" in planned
    page = (settings.study_dir / "report.html").read_text()
    assert "Runs that are done" in page and "my_lab_of_tones:build_loudest" in page
    (counted,) = (settings.study_dir / "tables").glob("*count_runs.csv")
    assert counted.read_text() == "runs\n4\n"
    assert set(json.loads(predicted)["classes"]) <= {"low", "high"}
    assert json.loads((tmp_path / "model.json").read_text()) == {"name": "clip_classifier", "outputs": 2}
