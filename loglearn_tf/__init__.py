"""Learning the logarithmic compression of mel spectrograms: a reproduction in Keras 3.

Public names are imported when first used, so that `import loglearn_tf` does not load TensorFlow.
The layers register with Keras as soon as anything imports it, so a model saved with them loads after
`import loglearn_tf`, without `custom_objects`.
"""

import importlib
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from loglearn_tf.analysis.recommend import recommend
    from loglearn_tf.analysis.statistics import compare
    from loglearn_tf.datasets import load_dataset
    from loglearn_tf.deploy.clip_classifier import clip_classifier
    from loglearn_tf.experiment.study import run_study
    from loglearn_tf.layers import COMPRESSIONS, Compression, LearnableLog, LogEps, MelSpectrogram
    from loglearn_tf.models import MODELS, build_model
    from loglearn_tf.study.settings import load_settings
    from loglearn_tf.training.callbacks import CompressionTrajectory

__version__ = "0.2.0"
__all__ = [
    "COMPRESSIONS",
    "MODELS",
    "Compression",
    "CompressionTrajectory",
    "LearnableLog",
    "LogEps",
    "MelSpectrogram",
    "build_model",
    "clip_classifier",
    "compare",
    "load_dataset",
    "load_settings",
    "recommend",
    "run_study",
]

_HOMES = {
    "COMPRESSIONS": "loglearn_tf.layers",
    "Compression": "loglearn_tf.layers",
    "CompressionTrajectory": "loglearn_tf.training.callbacks",
    "LearnableLog": "loglearn_tf.layers",
    "LogEps": "loglearn_tf.layers",
    "MelSpectrogram": "loglearn_tf.layers",
    "MODELS": "loglearn_tf.models",
    "build_model": "loglearn_tf.models",
    "clip_classifier": "loglearn_tf.deploy.clip_classifier",
    "compare": "loglearn_tf.analysis.statistics",
    "load_dataset": "loglearn_tf.datasets",
    "load_settings": "loglearn_tf.study.settings",
    "recommend": "loglearn_tf.analysis.recommend",
    "run_study": "loglearn_tf.experiment.study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Runs at once if Keras is already loaded. The command line answers `--help` in a fraction of a second because nothing
# here imports Keras itself.
@wrapt.when_imported("loglearn_tf.layers.compression.base")  # see `register`
@wrapt.when_imported("keras")
def _register_layers(_module: Any) -> None:
    importlib.import_module("loglearn_tf.layers").register()
