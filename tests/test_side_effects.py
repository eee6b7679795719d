"""What is imported, or called as a library, leaves the process as it found it, and says nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PROGRAM = r"""
import io, logging, os, pickle, random, signal, sys, tempfile, threading, warnings
from pathlib import Path

# What others do when they are imported is theirs.
import absl.logging, filelock, librosa, matplotlib.backends.backend_pdf, matplotlib.backends.backend_svg, numpy as np
import pydantic
import scipy.stats, soundfile, soxr, tensorboard.plugins.hparams.api, yaml
import keras, tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import config
librosa.filters.mel(sr=22_050, n_fft=512)  # which loads lazily, and numba with it

root, home = map(Path, sys.argv[1:])
# TensorFlow, when it saves a model, sets absl's level to what it is: from here on, it is set.
absl.logging.set_verbosity(absl.logging.get_verbosity())
random.seed(1), np.random.seed(2), keras.utils.set_random_seed(3)
warnings.simplefilter("error")
logging.basicConfig(stream=io.StringIO())


def snapshot():
    loggers = {"": logging.root, **{name: logging.getLogger(name) for name in ("loglearn_tf", "tensorflow", "absl")}}
    return {
        "threads": (
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ),
        "determinism": config.is_op_determinism_enabled(),
        "devices": [device.name for device in tf.config.get_visible_devices()],
        "soft placement": tf.config.get_soft_device_placement(),
        "functions run eagerly": tf.config.functions_run_eagerly(),
        "jit": tf.config.optimizer.get_jit(),
        "tensorflow's seed": context.global_seed(),
        "keras": (keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy().name,
                  keras.config.epsilon(), keras.config.is_traceback_filtering_enabled()),
        "environment": dict(os.environ),
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "warning filters": list(warnings.filters),
        "random": random.getstate(),
        "numpy's random": pickle.dumps(np.random.get_state()),
        "numpy": (np.geterr(), np.get_printoptions()),
        "matplotlib": (matplotlib.get_backend(), dict(matplotlib.rcParams)),
        "folder": os.getcwd(),
        "temporary folder": tempfile.gettempdir(),
        "path": list(sys.path),
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.excepthook, threading.excepthook),
        "logging": {name: (one.level, one.propagate, list(one.handlers)) for name, one in loggers.items()},
        "python's threads": sorted(thread.name for thread in threading.enumerate()),
        "processes": children(),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "file mode": umask(),
    }


def children():
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            pass  # the thread has ended meanwhile
    return found


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check(name, function):
    before = snapshot()
    result = function()
    after = snapshot()
    changed = [key for key in before if before[key] != after[key]]
    assert not changed, f"{name} changes {[(key, before[key], after[key]) for key in changed]}"
    with open(home / "checked", "a") as names:
        print(name, file=names)
    return result


tf.constant(0.0) + 1  # the caller works with TensorFlow already
keras.layers.Dense(1)(np.zeros((1, 1)))
snapshot(), snapshot()

import importlib, pkgutil
def import_all():
    import loglearn_tf
    for module in pkgutil.walk_packages(loglearn_tf.__path__, "loglearn_tf."):
        if module.name != "loglearn_tf.__main__":
            importlib.import_module(module.name)
check("import", import_all)

import loglearn_tf
from loglearn_tf.analysis.report import write_report
from loglearn_tf.analysis.statistics import accuracies, compare_all, rank
from loglearn_tf.datasets import check as data_check
from loglearn_tf.deploy.export import export_model
from loglearn_tf.deploy.predict import predict
from loglearn_tf.deploy.saved_models import describe, load_model
from loglearn_tf.features import build_store
from loglearn_tf.layers import COMPRESSIONS, build_compression
from loglearn_tf.models import MODELS

settings = check("load_settings", lambda: loglearn_tf.load_settings(
    "SETTINGS", [f"data.root={root}", f"runs_dir={home}/runs", f"features.store_dir={home}/stores", "models=timbre",
    "n_shot=1", "folds=1", "runs=1", "training.epochs=1", "evaluation.hop=40", "workers=1", "save_models=true"]))
dataset = check("load_dataset", lambda: loglearn_tf.load_dataset("us8k", root))
check("check_data", lambda: data_check.check_data(root))
check("build_store", lambda: build_store(
    dataset.clips, name="us8k", front_end=settings.features.front_end, store_dir=home / "stores"))
result = check("run_study", lambda: loglearn_tf.run_study(settings, on_progress=lambda step: None))
assert not result.failed
for function in (loglearn_tf.compare, compare_all, accuracies, rank):
    check(function.__name__, lambda: function(result.rows))
check("write_report", lambda: write_report(result.study_dir))

mel = np.random.default_rng(0).random((1, 128, 128), np.float32)
for name in COMPRESSIONS:
    check(f"compression {name}", lambda: build_compression(name)(mel))
check("MelSpectrogram", lambda: loglearn_tf.MelSpectrogram()(np.zeros((1, 4000), np.float32)))
for name in MODELS:
    if name != "prototypical":
        check(f"build_model {name}", lambda: loglearn_tf.build_model(name)(mel, training=True))
network = loglearn_tf.build_model("timbre", n_classes=2)
classifier = check("clip_classifier", lambda: loglearn_tf.clip_classifier(network, class_names=["a", "b"], hop=40))
trained = check("load_model", lambda: load_model(result.folder(result.rows[0])))
check("describe", lambda: describe(trained))
check("export", lambda: export_model(network, home / "exported", to="savedmodel"))
check("predict", lambda: list(predict(trained, [clip.path for clip in dataset.clips[:2]])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_changed_and_nothing_said(us8k_root, tmp_path):
    program = PROGRAM.replace('"SETTINGS"', repr(str(ROOT / "experiments" / "us8k.yaml")))
    done = subprocess.run(
        [sys.executable, "-c", program, str(us8k_root), str(tmp_path)],
        capture_output=True,
        text=True,
        # TensorFlow's start-up notes are TensorFlow's, and the caller's to switch off.
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    checked = Path(tmp_path / "checked").read_text().split("\n") if (tmp_path / "checked").exists() else []
    assert done.returncode == 0, f"after {checked[-2:]}: {done.stderr}"
    assert (done.stdout, done.stderr) == ("", "")
    assert {"import", "load_settings", "load_dataset", "build_store", "run_study", "compare", "write_report"} < {
        *checked
    }
    assert {"build_model vgg", "clip_classifier", "export", "predict"} < {*checked}
