"""The distribution of mel power in a data set, and the effect of a knee on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loglearn_tf._util.files import write_text
from loglearn_tf.errors import DataError

# Initial values of loglearn, exp(7) and softplus(1), and the constant of log-EPS: the layers' defaults, repeated for
# code that must not load Keras.
START_ALPHA, START_BETA = float(np.exp(7.0)), float(np.log1p(np.e))
LOG_EPS = 2.220446049250313e-16
# Ten bins per factor of ten, from far below log-EPS' constant to above a full-scale sine; the first starts at 0.
_BINS_PER_DECADE, _FIRST_EXPONENT, _LAST_EXPONENT = 10, -20, 6
_EXPONENTS = np.arange(_BINS_PER_DECADE * _FIRST_EXPONENT, _BINS_PER_DECADE * _LAST_EXPONENT + 1) / _BINS_PER_DECADE
EDGES: npt.NDArray[np.float64] = np.concatenate([[0.0], 10.0**_EXPONENTS])


@dataclass(frozen=True)
class MelHistogram:
    """Histogram of mel power, per class.

    Attributes:
        dataset: Its name.
        classes: Class names, in the data set's order.
        counts: `(n_classes, len(EDGES) - 1)` time-frequency bins with a power between two of `EDGES`.
        clip_dbfs: Level of every clip that is not silent, see `clip_level`; empty if not recorded.
    """

    dataset: str
    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    clip_dbfs: tuple[float, ...] = ()

    @property
    def silent(self) -> float:
        """Share of bins with digital silence: below 1e-20, lower than in any recording."""
        counts = self._counts(None)
        return float(counts[0] / counts.sum())

    def clip_level_quantiles(self) -> tuple[float, float, float] | None:
        """5, 50 and 95 % quantiles of `clip_dbfs`; `None` if not recorded."""
        if not self.clip_dbfs:
            return None
        low, middle, high = np.quantile(self.clip_dbfs, (0.05, 0.5, 0.95))
        return float(low), float(middle), float(high)

    def share_below(self, power: float, label: int | None = None) -> float:
        """Share of bins with less mel power, for one class or all, interpolated within histogram bins.

        Raises:
            DataError: If the class has no clips.
        """
        return share_below(power, EDGES, self._counts(label))

    def quantile(self, share: float, label: int | None = None) -> float:
        """The mel power below which a share of bins lies, accurate to a histogram bin (26 %)."""
        counts = self._counts(label)
        at = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return float(EDGES[min(at, len(counts) - 1) + 1])

    def range_db(self, knee: float, label: int | None = None) -> float:
        """From the 5 % to the 95 % quantile of `log(X + knee)`, in dB: the remaining dynamic range."""
        low, high = (self.quantile(share, label) + knee for share in (0.05, 0.95))
        return float(10 * np.log10(high / low))

    def _counts(self, label: int | None) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = self.counts.sum(axis=0) if label is None else self.counts[label]
        if not counts.sum():
            raise DataError(f"The histogram has no clip of class {self.classes[label or 0]} of {self.dataset}.")
        return counts


def count_mel_histogram(
    store: Any,
    clips: Sequence[Any],
    *,
    dataset: str,
    classes: Sequence[str],
    front_end: Mapping[str, Any] | None = None,
) -> MelHistogram:
    """Counts all bins of all clips.

    Args:
        store: Mel power (`features.MelStore`), not logarithms.
        clips: Clips in the store.
        dataset, classes: Names.
        front_end: Arguments of the store's `MelSpectrogram` (`FeatureSettings.front_end`); if given, clip levels are
            also
            recorded.
    """
    counts = np.zeros((len(classes), len(EDGES) - 1), np.int64)
    levels = []
    for clip in clips:
        mel = store.mel(clip)
        if front_end is not None and mel.any():
            # Tenths of a decibel are enough.
            levels.append(round(clip_level(mel, **front_end), 1))
        # 0 has no logarithm; it is in the first bin, with everything below 1e-20.
        exponents = np.log10(np.maximum(mel.ravel(), np.float32(1e-30)))
        at = np.floor(_BINS_PER_DECADE * (exponents - _FIRST_EXPONENT)).astype(np.int64) + 1
        counts[clip.label] += np.bincount(np.clip(at, 0, len(EDGES) - 2), minlength=len(EDGES) - 1)
    return MelHistogram(dataset, tuple(classes), counts, tuple(levels))


def clip_level(
    mel: npt.NDArray[Any],
    *,
    sample_rate: float,
    n_fft: int,
    n_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    **_: Any,
) -> float:
    """RMS of a clip in dBFS, computed from its mel power: a full-scale sine has -3.

    Each band of `MelSpectrogram` is a triangle of area 1 over its frequencies; multiplied by half its width it has a
    peak of 1, and neighbours add up to 1. So the sum is the power of all frequencies between the centres of the first
    and last band, after the Hann window; by Parseval's theorem this is the power of the waveform.

    Args:
        mel: `(frames, n_mels)` mel power, not all 0.
        sample_rate, n_fft, n_mels, f_min, f_max: Arguments of the front end; the others do not matter.
    """
    top = _slaney(np.array([f_min, sample_rate / 2 if f_max is None else f_max]))
    mels = np.linspace(top[0], top[1], n_mels + 2)
    # Slaney's scale: linear up to 1 kHz, 15 mel; above it, 27 steps are a factor of 6.4.
    hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    power = np.asarray(mel, np.float64).mean(axis=0) @ (hz[2:] - hz[:-2]) / 2
    return float(10 * np.log10(2 * power / (0.375 * n_fft**2)))


def _slaney(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


def write_mel_histogram(study_dir: Path, histogram: MelHistogram, *, store: str = "") -> None:
    """Saves a histogram in a study's folder, for the report.

    Args:
        study_dir: The study's folder.
        histogram: The histogram.
        store: Name of its store.
    """
    content = {
        "dataset": histogram.dataset,
        "store": store,
        "counts": dict(zip(histogram.classes, histogram.counts.tolist(), strict=True)),
        **({"clip_dbfs": list(histogram.clip_dbfs)} if histogram.clip_dbfs else {}),
    }
    write_text(_path(study_dir, histogram.dataset), json.dumps(content) + "\n")


def read_mel_histogram(study_dir: Path, dataset: str, *, store: str | None = None) -> MelHistogram | None:
    """Reads the histogram saved by `write_mel_histogram`; `None` if there is none.

    Args:
        study_dir: The study's folder.
        dataset: Name of the data set.
        store: If given, histograms of other stores are ignored.

    Raises:
        DataError: If the file is invalid.
    """
    path = _path(study_dir, dataset)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array(list(content["counts"].values()), np.int64)
        if counts.shape != (len(content["counts"]), len(EDGES) - 1):
            raise ValueError(f"its counts have the shape {counts.shape}")
        if store is not None and content.get("store") != store:
            return None
        levels = tuple(map(float, content.get("clip_dbfs", ())))
        return MelHistogram(content["dataset"], tuple(content["counts"]), counts, levels)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Remove it; `loglearn run` then writes it again.") from error


def store_of_histogram(study_dir: Path, dataset: str) -> str:
    """Name of the store saved by `write_mel_histogram`, that of the study's runs; empty if unknown."""
    try:
        content = json.loads(_path(study_dir, dataset).read_text(encoding="utf-8"))
        return str(content.get("store") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _path(study_dir: Path, dataset: str) -> Path:
    return study_dir / f"mel_power-{dataset}.json"


def explain(histogram: MelHistogram, *, alpha: float, beta: float) -> list[str]:
    """Why only the knee can matter, with the numbers of this data set, as sentences of a paragraph."""
    knee = beta / alpha
    below, range_db, full_db = histogram.share_below(knee), histogram.range_db(knee), histogram.range_db(LOG_EPS)
    low, high = histogram.quantile(0.05), histogram.quantile(0.95)
    return [
        "Batch normalisation follows the compression and removes any constant, and ln(alpha X + beta) = ln(alpha) + "
        "ln(X + beta / alpha): of alpha and beta only their ratio, the knee beta / alpha, can matter in training. At "
        "test, moving averages replace the batch statistics: after few updates (small n), they still contain part of "
        "their initial values, and ln(alpha) shifts the network's input.",
        "Mel power X well below the knee becomes one constant; well above it, the curve is a plain logarithm.",
        f"Here 90 % of all bins lie between {low:.1e} and {high:.1e}, {full_db:.0f} dB apart after log-EPS.",
        f"With alpha = {alpha:.6g} and beta = {beta:.6g} the knee is {knee:.3g}: {100 * below:.0f} % of all bins are "
        f"below it, and {range_db:.0f} of the {full_db:.0f} dB are left. Log-EPS has its knee at {LOG_EPS:.2g}, with "
        f"{100 * histogram.share_below(LOG_EPS):.1f} % of the bins below it.",
    ]


def per_class(histogram: MelHistogram, *, knee: float) -> list[tuple[str, ...]]:
    """Rows under `PER_CLASS_HEAD`: every class with clips, then all together."""
    labels = [label for label in range(len(histogram.classes)) if histogram.counts[label].sum()]
    return [
        (
            "all" if label is None else histogram.classes[label],
            *(f"{histogram.quantile(share, label):.1e}" for share in (0.05, 0.5, 0.95)),
            f"{100 * histogram.share_below(knee, label):.0f}",
            f"{histogram.range_db(LOG_EPS, label):.0f}",
            f"{histogram.range_db(knee, label):.0f}",
        )
        for label in (*labels, None)
    ]


PER_CLASS_HEAD = ("Class", "5 %", "50 %", "95 %", "Below the knee (%)", "dB, log-EPS", "dB, with the knee")


def knees_moved(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """For finished loglearn runs, by network: their number, and the final knee divided by the initial one."""
    start = START_BETA / START_ALPHA
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["status"] == "done" and row["compression"] == "loglearn" and row.get("knee"):
            found.setdefault(row["model"], []).append(row["knee"] / start)
    return [
        (model, str(len(ratios)), *(f"{value:.3f}" for value in (min(ratios), float(np.median(ratios)), max(ratios))))
        for model, ratios in sorted(found.items())
    ]


KNEES_HEAD = ("Network", "Runs", "Knee at the end / start: minimum", "median", "maximum")


def share_below(power: float, edges: npt.NDArray[np.float64], counts: npt.NDArray[Any]) -> float:
    """Share of a histogram below `power`, interpolated within a bin."""
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return float(np.interp(power, edges, below))
