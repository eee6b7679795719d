"""What the README shows works as shown."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from conftest import ROOT

from loglearn_tf import LearnableLog, clip_classifier
from loglearn_tf.cli import main

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEPLOY = (ROOT / "docs" / "howto" / "deploy.md").read_text(encoding="utf-8")


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)


# That of a study runs in tests/experiment/test_study.py.
@pytest.mark.parametrize("example", [one for one in EXAMPLES if "run_study" not in one])
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    shown = re.search(r"print\(.*#\s+(.*)", example)
    if shown:
        for printed, promised in zip(capsys.readouterr().out.split(), shown[1].split(), strict=True):
            assert printed.startswith(promised.rstrip("."))


def test_commands_for_a_trained_model(tmp_path, monkeypatch, capsys):
    (block,) = (one for one in re.findall(r"```sh\n(.*?)```", DEPLOY, re.S) if "predict" in one)
    mel = keras.Input((8, 16))
    network = keras.Model(mel, keras.layers.Dense(2)(keras.layers.Flatten()(LearnableLog()(mel))))
    front_end = {"sample_rate": 8000, "n_fft": 256, "hop_length": 256, "n_mels": 16}
    clip_classifier(network, class_names=["dog", "siren"], front_end=front_end).save(tmp_path / "model.keras")
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "one.wav", np.zeros(8000), 8000)
    monkeypatch.chdir(tmp_path)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in block.splitlines():
        command = shlex.split(line, comments=True)
        assert command[0] == "loglearn"
        if ">" in command:
            done = subprocess.run(["bash", "-e", "-c", line], env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:  # here: another process would load TensorFlow again
            assert main(command[1:]) == 0
    said = capsys.readouterr().out
    assert "sounds/one.wav  dog" in said or "sounds/one.wav  siren" in said
    assert (tmp_path / "found.csv").read_text().startswith("file,class_1,p_1\nsounds/one.wav,")
    assert (tmp_path / "savedmodel" / "saved_model.pb").is_file() and (tmp_path / "model.tflite").is_file()


@pytest.mark.long
def test_commands_for_own_recordings(shared, tmp_path):
    """Real clips laid out as anyone's would be, and nothing but the README's commands, shortened to seconds."""
    (block,) = (one for one in re.findall(r"```sh\n(.*?)```", README, re.S) if "folder data.root=recordings" in one)
    for path in sorted((shared / "data" / "UrbanSound8K-subset" / "audio").glob("fold[123]/*-[138]-*-*.wav")):
        name = {"1": "horn", "3": "dog", "8": "siren"}[path.name.split("-")[1]]
        there = tmp_path / "recordings" / name / path.name
        there.parent.mkdir(parents=True, exist_ok=True)
        if len(list(there.parent.iterdir())) < 8:
            shutil.copy(path, there)
    short = block.replace("name=mine", "name=mine training.epochs=3 runs=1 folds=[1,2] n_shot=[2] workers=1")
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-e", "-c", short], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mine: 10 runs in runs/mine" in done.stdout
    assert "Own recordings: accuracy in %, mean over runs, then over folds 1, 2" in done.stdout
    page = (tmp_path / "runs" / "mine" / "report.html").read_text(encoding="utf-8")
    for expected in (
        "Own recordings: every compression minus log-EPS",
        "log1p (learned)",
        "loglearn (adapted)",
        "mean rank of each compression",
    ):
        assert expected in page


def test_targets_and_files_it_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z0-9-]+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for path in re.findall(r"(?:experiments|data)/[\w.]+\.(?:yaml|md)", README):
        assert (ROOT / path).is_file(), path
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"make test", "make test-long"} <= {*commands}  # together they are all tests


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Without what a `make test` around this test hands on.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, env=env)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("demo", "loglearn run demo"),
        ("us8k", "loglearn run us8k"),
        ("tut", "loglearn run tut"),
        ("quick", "tests/test_public_api.py"),
        ("test", '-m "not long"'),
        ("test-long", "-m long"),
        ("tensorboard", "tensorboard --logdir runs"),
        ("bench", "python experiments/benchmarks/stages.py"),
        ("fuzz", "python experiments/benchmarks/fuzz_audio.py"),
        ("test-matrix", "tests/matrix/run.py"),
        ("lint", "mypy"),
        ("docs", "sphinx -W"),
    ],
)
def test_make_does_what_it_says(target, last):
    done = make("-n", target)
    assert last in done.stdout.splitlines()[-1]
    assert not done.stderr  # as "overriding recipe for target"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_narrowing_by_make_is_narrowing_by_overrides():
    narrowed = ["DATA=/my data", "FOLDS=1 2", "N_SHOT=1,10", "RUNS=2", "MODELS=vgg", "WORKERS=3", "SET=threads=2"]
    done = make("-n", "us8k", *narrowed)
    overrides = [
        "data.root=/my data",
        "folds=[1,2]",
        "n_shot=[1,10]",
        "runs=2",
        "models=[vgg]",
        "workers=3",
        "threads=2",
    ]
    assert shlex.split(done.stdout.splitlines()[-1])[-len(overrides) :] == overrides
