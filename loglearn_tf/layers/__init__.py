"""Keras layers: the mel front end and the compressions, usable in any model.

A layer is imported when it is first used, and Keras with it.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from loglearn_tf.layers.compression import COMPRESSIONS, CompressionRecord, build_compression

if TYPE_CHECKING:
    from loglearn_tf.layers.clip_head import ClipClassifier, MeanOverPatches
    from loglearn_tf.layers.clip_level import ClipLevel
    from loglearn_tf.layers.compression.base import Compression
    from loglearn_tf.layers.compression.identity import NoCompression
    from loglearn_tf.layers.compression.learnable_knee import LearnableKnee
    from loglearn_tf.layers.compression.learnable_log import LearnableLog
    from loglearn_tf.layers.compression.log import Log
    from loglearn_tf.layers.compression.log1p import Log1p
    from loglearn_tf.layers.compression.log_eps import LogEps
    from loglearn_tf.layers.compression.pcen import PCEN
    from loglearn_tf.layers.compression.power import Power
    from loglearn_tf.layers.compression.relative_knee import RelativeKnee
    from loglearn_tf.layers.compression.relative_log_eps import RelativeLogEps
    from loglearn_tf.layers.mel_spectrogram import MelSpectrogram
    from loglearn_tf.layers.prototypes import Prototypes, negative_distance

__all__ = [
    "COMPRESSIONS",
    "PCEN",
    "ClipClassifier",
    "ClipLevel",
    "Compression",
    "CompressionRecord",
    "LearnableKnee",
    "LearnableLog",
    "Log",
    "Log1p",
    "LogEps",
    "MeanOverPatches",
    "MelSpectrogram",
    "NoCompression",
    "Power",
    "Prototypes",
    "RelativeKnee",
    "RelativeLogEps",
    "build_compression",
    "negative_distance",
]

_HOMES = {
    "ClipLevel": "loglearn_tf.layers.clip_level",
    "Compression": "loglearn_tf.layers.compression.base",
    "LearnableKnee": "loglearn_tf.layers.compression.learnable_knee",
    "LearnableLog": "loglearn_tf.layers.compression.learnable_log",
    "Log": "loglearn_tf.layers.compression.log",
    "Log1p": "loglearn_tf.layers.compression.log1p",
    "LogEps": "loglearn_tf.layers.compression.log_eps",
    "NoCompression": "loglearn_tf.layers.compression.identity",
    "PCEN": "loglearn_tf.layers.compression.pcen",
    "Power": "loglearn_tf.layers.compression.power",
    "RelativeKnee": "loglearn_tf.layers.compression.relative_knee",
    "RelativeLogEps": "loglearn_tf.layers.compression.relative_log_eps",
    "ClipClassifier": "loglearn_tf.layers.clip_head",
    "MeanOverPatches": "loglearn_tf.layers.clip_head",
    "MelSpectrogram": "loglearn_tf.layers.mel_spectrogram",
    "Prototypes": "loglearn_tf.layers.prototypes",
    "negative_distance": "loglearn_tf.layers.prototypes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def register() -> None:
    """Imports every layer, so that Keras knows them all when it loads a model.

    May run while the module of a layer is being imported, if that import loads Keras first. Such a module registers its
    own layers when it is complete. Others may need `base`: they wait, and this runs again after it. Modules of layers
    import no other module of a layer except `base` when they are loaded.
    """
    base = sys.modules.get("loglearn_tf.layers.compression.base")
    if base is None or hasattr(base, "Compression"):
        for name in _HOMES:
            getattr(sys.modules[__name__], name, None)
