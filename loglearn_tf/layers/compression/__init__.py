"""Compressions of mel power: log-EPS, the baseline, loglearn, whose logarithm is learned, and their kin.

A layer is imported when it is first used, and Keras with it; `COMPRESSIONS`, the list of their names, needs neither.
"""

import importlib
from typing import TYPE_CHECKING, Any

from loglearn_tf.layers.compression.registry import COMPRESSIONS, CompressionRecord, build_compression

if TYPE_CHECKING:
    from loglearn_tf.layers.compression.base import Compression
    from loglearn_tf.layers.compression.identity import NoCompression
    from loglearn_tf.layers.compression.learnable_knee import LearnableKnee
    from loglearn_tf.layers.compression.learnable_log import LearnableLog
    from loglearn_tf.layers.compression.log import Log
    from loglearn_tf.layers.compression.log1p import Log1p
    from loglearn_tf.layers.compression.log_eps import LogEps
    from loglearn_tf.layers.compression.pcen import PCEN
    from loglearn_tf.layers.compression.power import Power

__all__ = [
    "COMPRESSIONS",
    "Compression",
    "CompressionRecord",
    "LearnableKnee",
    "LearnableLog",
    "Log",
    "Log1p",
    "LogEps",
    "NoCompression",
    "PCEN",
    "Power",
    "build_compression",
]

_HOMES = {
    "Compression": "base",
    "LearnableKnee": "learnable_knee",
    "LearnableLog": "learnable_log",
    "Log": "log",
    "Log1p": "log1p",
    "LogEps": "log_eps",
    "NoCompression": "identity",
    "PCEN": "pcen",
    "Power": "power",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
