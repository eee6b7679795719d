"""Mel power as needed by compressions and studies: relative to the clip's level, or with a gain."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.features.store import MelSource


@dataclass(frozen=True)
class Levelled:
    """Mel power divided by the mean power of its clip over frames and bands, like the layer `ClipLevel`.

    A patch is thus divided by the level of its clip, not by its own, and a whole clip gives the same result as its
    patches. A clip without any power is unchanged.

    Args:
        source: Mel power.
    """

    source: MelSource

    def mel(self, clip: Clip) -> npt.NDArray[np.float32]:
        mel = self.source.mel(clip)
        level = np.float32(np.mean(mel, dtype=np.float64))
        return mel / level if level > 0 else mel


@dataclass(frozen=True)
class Gained:
    """Mel power of clips made louder or quieter.

    Args:
        source: Mel power.
        gain_db: Decibels: 20 is ten times the amplitude, a hundred times the power.
    """

    source: MelSource
    gain_db: float

    def mel(self, clip: Clip) -> npt.NDArray[np.float32]:
        return self.source.mel(clip) * np.float32(10 ** (self.gain_db / 10))


def at_gain(source: MelSource, gain_db: float) -> MelSource:
    """The input for scoring at another level: the gain is applied first, as in a recording."""
    return Levelled(at_gain(source.source, gain_db)) if isinstance(source, Levelled) else Gained(source, gain_db)


def source_for(compression: keras.layers.Layer, source: MelSource) -> MelSource:
    """The input on which a compression's networks are trained and scored."""
    return Levelled(source) if is_relative(compression) else source


def is_relative(compression: Any) -> bool:
    """Whether a compression expects mel power relative to the clip's level."""
    return getattr(compression, "relative", False) is True
