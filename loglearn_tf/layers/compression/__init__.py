"""Compressions of mel power: log-EPS, the baseline, loglearn, whose logarithm is learned, and their kin."""

from loglearn_tf.layers.compression.menu import (
    COMPRESSIONS,
    PCEN,
    Compression,
    LearnableKnee,
    LearnableLog,
    Log,
    Log1p,
    LogEps,
    NoCompression,
    Power,
    build_compression,
)

__all__ = [
    "COMPRESSIONS",
    "Compression",
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
