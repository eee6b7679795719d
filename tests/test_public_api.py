"""What users import exists, importing it is cheap, and the examples in docstrings run."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from conftest import ROOT

import loglearn_tf
from loglearn_tf import layers

PACKAGE = Path(loglearn_tf.__file__).parent
MODULES_WITH_EXAMPLES = sorted(
    ".".join(("loglearn_tf", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_public_names():
    from loglearn_tf import (
        COMPRESSIONS,
        MODELS,
        Compression,
        CompressionTrajectory,
        LearnableLog,
        LogEps,
        MelSpectrogram,
        build_model,
        clip_classifier,
        compare,
        load_dataset,
        load_settings,
        recommend,
        run_study,
    )

    assert all(issubclass(layer, keras.layers.Layer) for layer in (Compression, LearnableLog, LogEps, MelSpectrogram))
    assert issubclass(CompressionTrajectory, keras.callbacks.Callback)
    assert all(callable(function) for function in (compare, load_dataset, load_settings, recommend, run_study))
    assert {"loglearn", "logeps"} <= set(COMPRESSIONS)
    assert {"sb_cnn", "vgg", "timbre"} <= set(MODELS)
    assert callable(build_model) and callable(clip_classifier)


def test_all_and_dir_list_the_public_names():
    names = ["COMPRESSIONS", "MODELS", "Compression", "CompressionTrajectory", "LearnableLog", "LogEps"]
    names += ["MelSpectrogram", "build_model", "clip_classifier", "compare", "load_dataset", "load_settings"]
    names += ["recommend", "run_study"]
    assert sorted(loglearn_tf.__all__) == sorted(names)
    assert {*names, "__version__"} <= set(dir(loglearn_tf))


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("LearnableLog", {"alpha_pre_gate": 7.0, "beta_pre_gate": 1.0, "per_band": False}),
        ("LogEps", {"eps": 2.220446049250313e-16}),
        (
            "MelSpectrogram",
            {
                "sample_rate": 44100,
                "n_fft": 1024,
                "hop_length": 1024,
                "n_mels": 128,
                "f_min": 0.0,
                "f_max": None,
                "pad_mode": "reflect",
            },
        ),
        ("build_model", {"n_classes": 10, "compression": "loglearn", "seed": 0}),
    ],
)
def test_published_arguments_are_keyword_only_with_their_defaults(name, defaults):
    parameters = inspect.signature(getattr(loglearn_tf, name)).parameters
    assert {argument: parameters[argument].default for argument in defaults} == defaults
    assert all(parameters[argument].kind is inspect.Parameter.KEYWORD_ONLY for argument in defaults)


def test_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+|\.dev\d+)?", loglearn_tf.__version__)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="^module 'loglearn_tf' has no attribute 'LearnableLogarithm'$"):
        _ = loglearn_tf.LearnableLogarithm
    with pytest.raises(ImportError):
        from loglearn_tf import LearnableLogarithm  # noqa: F401


def test_import_alone_loads_neither_tensorflow_nor_keras():
    """The command line answers `--help` at once, and a worker chooses its device before TensorFlow loads."""
    script = "import loglearn_tf, sys; print(sorted({'tensorflow', 'keras', 'librosa'} & sys.modules.keys()))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert ast.literal_eval(process.stdout) == []


@pytest.mark.parametrize("name", ["compare", "load_dataset", "load_settings", "recommend", "run_study"])
def test_what_needs_no_tensorflow_loads_none(name):
    script = f"from loglearn_tf import {name}; import sys; assert not {{'tensorflow', 'keras'}} & sys.modules.keys()"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_the_layers_and_the_models_have_examples():
    assert {
        "loglearn_tf.layers.compression.learnable_log",
        "loglearn_tf.layers.mel_spectrogram",
        "loglearn_tf.models",
    } <= set(MODULES_WITH_EXAMPLES)


@pytest.mark.parametrize("name", sorted({*loglearn_tf.__all__, *layers.__all__}))
def test_every_public_name_has_an_example_that_runs(name):
    thing = getattr(loglearn_tf, name, None) or getattr(layers, name)
    # Those of whole studies are in documents whose code the tests run.
    documents = (ROOT / "README.md").read_text(), (ROOT / "docs" / "tutorials" / "3_recordings.py").read_text()
    assert not callable(thing) or ">>>" in inspect.getdoc(thing) or any(f"{name}(" in text for text in documents)


@pytest.mark.parametrize("name", MODULES_WITH_EXAMPLES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)  # an example that writes a file leaves nothing behind
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0, "see the captured output"
