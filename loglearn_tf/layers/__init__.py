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
from loglearn_tf.layers.prototypes import Prototypes, minus_distance
from loglearn_tf.training.accelerated.convolution import Conv2D
from loglearn_tf.training.accelerated.normalization import BatchNormalization
from loglearn_tf.training.accelerated.pooling import GlobalMaxPooling2D, MaxPooling2D

__all__ = [
    "COMPRESSIONS",
    "PCEN",
    "BatchNormalization",
    "Compression",
    "Conv2D",
    "GlobalMaxPooling2D",
    "LearnableKnee",
    "LearnableLog",
    "Log",
    "Log1p",
    "LogEps",
    "MaxPooling2D",
    "MeanOverPatches",
    "MelSpectrogram",
    "NoCompression",
    "Power",
    "Prototypes",
    "build_compression",
    "minus_distance",
]
