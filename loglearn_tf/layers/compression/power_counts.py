"""Quantiles of mel power from counts, in one pass with bounded memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

# The bits of positive floats increase with their value. The upper half (sign, exponent and 7 bits of the mantissa)
# divides the range of float32 into intervals less than 1 % wide.
_SHIFT = 16
_N_INTERVALS = 0x7F80  # up to infinity


class PowerCounts:
    """Counts values of mel power, for all bands together or for each band.

    Args:
        n_bands: Number of mel bands on the last axis; `None` to count all together.
    """

    def __init__(self, n_bands: int | None) -> None:
        self._n_bands = n_bands
        self._counts = np.zeros((n_bands or 1, _N_INTERVALS), np.int64)

    @property
    def n(self) -> int:
        """Number of counted values."""
        return int(self._counts.sum())

    def add(self, mel: npt.NDArray[np.float32]) -> None:
        """Adds values.

        Args:
            mel: `(..., n_mels)`, >= 0.

        Raises:
            ValueError: If a value is negative or not finite, or the number of bands changes.
        """
        if self._n_bands not in (None, mel.shape[-1]):
            raise ValueError(f"All data must have {self._n_bands} mel bands. Received: {mel.shape[-1]} bands.")
        wrong = ~((mel >= 0) & (mel < np.inf))
        if wrong.any():
            index = tuple(int(at) for at in np.argwhere(wrong)[0])
            raise ValueError(f"Mel power must be finite and >= 0, not a logarithm. Received: {mel[index]} at {index}.")
        # abs: -0.0 has the sign bit set.
        intervals = np.abs(np.ascontiguousarray(mel)).view(np.uint32) >> _SHIFT
        rows: Any = np.arange(self._n_bands) if self._n_bands else 0
        np.add.at(self._counts, (np.broadcast_to(rows, intervals.shape), intervals), 1)

    def quantile(self, share: float) -> Any:
        """The quantile with `share` of the values above zero below it: a number, or `(n_bands,)`.

        Digital silence is left out: it has no level, and recordings differ in how much they have of it.

        Raises:
            ValueError: If all values are zero, or all of a band.
        """
        found = []
        for band, counts in enumerate(self._counts):
            if not counts[1:].any():
                whose = f" of band {band}" if self._n_bands else ""
                raise ValueError(
                    f"A knee needs mel power above zero. Received: {counts[0]:,} values{whose}, all of them zero "
                    "(digital silence). Use other data, or set the knee: `LearnableLog.from_values`."
                )
            found.append(_quantile(counts[1:], share))
        return np.array(found) if self._n_bands else found[0]


def _quantile(counts: npt.NDArray[np.int64], share: float) -> float:
    """Of the counts of all intervals but the first, which starts at zero."""
    up_to = np.cumsum(counts)
    target = share * up_to[-1]
    index = int(np.searchsorted(up_to, target))
    low, high = (np.array([index + 1, index + 2], np.uint32) << _SHIFT).view(np.float32).astype(np.float64)
    return float(low + (high - low) * (1 - (up_to[index] - target) / counts[index]))
