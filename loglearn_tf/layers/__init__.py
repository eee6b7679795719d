"""Keras layers: the mel front end and the compressions; usable in any model, alone."""

from loglearn_tf.layers.clip_head import MeanOverPatches
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
from loglearn_tf.layers.mel_spectrogram import MelSpectrogram
from loglearn_tf.layers.prototypes import Prototypes, negative_distance

__all__ = [
    "COMPRESSIONS",
    "PCEN",
    "Compression",
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
