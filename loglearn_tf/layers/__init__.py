"""Keras layers: the mel front end and the compressions; usable in any model, alone.

A layer is imported when it is first used, and Keras with it.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from loglearn_tf.layers.compression import COMPRESSIONS, CompressionRecord, build_compression

if TYPE_CHECKING:
    from loglearn_tf.layers.clip_head import MeanOverPatches
    from loglearn_tf.layers.compression import (
        PCEN,
        Compression,
        LearnableKnee,
        LearnableLog,
        Log,
        Log1p,
        LogEps,
        NoCompression,
        Power,
    )
    from loglearn_tf.layers.mel_spectrogram import MelSpectrogram
    from loglearn_tf.layers.prototypes import Prototypes, negative_distance

__all__ = [
    "COMPRESSIONS",
    "PCEN",
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
    "build_compression",
    "negative_distance",
]

# Of the others in `__all__`, the compressions.
_HOMES = {
    "MeanOverPatches": "loglearn_tf.layers.clip_head",
    "MelSpectrogram": "loglearn_tf.layers.mel_spectrogram",
    "Prototypes": "loglearn_tf.layers.prototypes",
    "negative_distance": "loglearn_tf.layers.prototypes",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "loglearn_tf.layers.compression")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def register() -> None:
    """Imports every layer, so that Keras knows them all when it loads a model.

    May run while a module of a layer is being imported, when that is what imports Keras first. Such a module registers
    its layers itself, once complete. Others may need `base`: they wait, and this runs again after it. No module of a
    layer imports another one but `base` when it is loaded.
    """
    base = sys.modules.get("loglearn_tf.layers.compression.base")
    if base is None or hasattr(base, "Compression"):
        for name in __all__:
            getattr(sys.modules[__name__], name, None)
