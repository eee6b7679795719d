"""How mel power is distributed in a data set, and what a knee leaves of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loglearn_tf._util.files import write_text
from loglearn_tf.errors import DataError

# Loglearn's values at the start, exp(7) and softplus(1), and log-EPS' constant: the layers' defaults, for what must not
# load Keras.
START_ALPHA, START_BETA = float(np.exp(7.0)), float(np.log1p(np.e))
LOG_EPS = 2.220446049250313e-16
# Ten bins to a factor of ten, from far below log-EPS' constant to above a full-scale sine; the first begins at 0.
_BINS_PER_DECADE, _FIRST_EXPONENT, _LAST_EXPONENT = 10, -20, 6
_EXPONENTS = np.arange(_BINS_PER_DECADE * _FIRST_EXPONENT, _BINS_PER_DECADE * _LAST_EXPONENT + 1) / _BINS_PER_DECADE
EDGES: npt.NDArray[np.float64] = np.concatenate([[0.0], 10.0**_EXPONENTS])


@dataclass(frozen=True)
class MelHistogram:
    """Histogram of mel power, per class.

    Attributes:
        dataset: Its name.
        classes: Names, in the data set's own order.
        counts: `(n_classes, len(EDGES) - 1)` time-frequency bins with a power between two of `EDGES`.
        clip_dbfs: Level of every clip that is not silent, see `clip_level`; empty where it was not counted.
    """

    dataset: str
    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    clip_dbfs: tuple[float, ...] = ()

    @property
    def silent(self) -> float:
        """Share of bins without any power, of digital silence: below 1e-20, where no recording is."""
        counts = self._counts(None)
        return float(counts[0] / counts.sum())

    def clip_level_quantiles(self) -> tuple[float, float, float] | None:
        """5, 50 and 95 % quantile of `clip_dbfs`; `None` where it was not counted."""
        if not self.clip_dbfs:
            return None
        low, middle, high = np.quantile(self.clip_dbfs, (0.05, 0.5, 0.95))
        return float(low), float(middle), float(high)

    def share_below(self, power: float, label: int | None = None) -> float:
        """Share of bins with less mel power; of one class, or of all. Within a bin of the histogram, interpolated.

        Raises:
            DataError: If the class has no clips.
        """
        return share_below(power, EDGES, self._counts(label))

    def quantile(self, share: float, label: int | None = None) -> float:
        """The mel power below which a share of bins lies, right to a bin of the histogram (26 %)."""
        counts = self._counts(label)
        at = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return float(EDGES[min(at, len(counts) - 1) + 1])

    def range_db(self, knee: float, label: int | None = None) -> float:
        """From the 5 % to the 95 % quantile of `log(X + knee)`, in dB: what is left of the dynamic range."""
        low, high = (self.quantile(share, label) + knee for share in (0.05, 0.95))
        return float(10 * np.log10(high / low))

    def _counts(self, label: int | None) -> npt.NDArray[np.int64]:
        counts: npt.NDArray[np.int64] = self.counts.sum(axis=0) if label is None else self.counts[label]
        if not counts.sum():
            raise DataError(f"No clip of class {self.classes[label or 0]} of {self.dataset} was counted.")
        return counts


def count_mel_histogram(
    store: Any,
    clips: Sequence[Any],
    *,
    dataset: str,
    classes: Sequence[str],
    front_end: Mapping[str, Any] | None = None,
) -> MelHistogram:
    """Counts every bin of every clip.

    Args:
        store: Mel power (`features.MelStore`), not logarithms.
        clips: Of the store.
        dataset, classes: Names.
        front_end: Arguments of the `MelSpectrogram` that it is of (`FeatureSettings.front_end`): with these the levels
            of clips are counted, too.
    """
    counts = np.zeros((len(classes), len(EDGES) - 1), np.int64)
    levels = []
    for clip in clips:
        mel = store.mel(clip)
        if front_end is not None and mel.any():
            # Tenths of a decibel are enough.
            levels.append(round(clip_level(mel, **front_end), 1))
        # 0 has no logarithm; it lies in the first bin, with everything below 1e-20.
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
    """RMS of a clip in dB below full scale, by its mel power: a sine of full scale has -3.

    Each band of `MelSpectrogram` is a triangle of area 1 over its frequencies; times half its width it has a peak of 1,
    and neighbours add up to 1. So the sum is the power of all frequencies between the centres of the first and the
    last band, of what the Hann window leaves of a frame; by Parseval's theorem that is the waveform's.

    Args:
        mel: `(frames, n_mels)` mel power, not all 0.
        sample_rate, n_fft, n_mels, f_min, f_max: Of the front end; its other arguments do not matter.
    """
    top = _slaney(np.array([f_min, sample_rate / 2 if f_max is None else f_max]))
    mels = np.linspace(top[0], top[1], n_mels + 2)
    # Slaney's scale: linear up to 1 kHz, 15 mel; above, 27 steps make a factor of 6.4.
    hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    power = np.asarray(mel, np.float64).mean(axis=0) @ (hz[2:] - hz[:-2]) / 2
    return float(10 * np.log10(2 * power / (0.375 * n_fft**2)))


def _slaney(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


def write_mel_histogram(study_dir: Path, histogram: MelHistogram, *, store: str = "") -> None:
    """Saves it in a study's folder, for the report.

    Args:
        study_dir: The study's folder.
        histogram: What was counted.
        store: Name of the store that it was counted in.
    """
    content = {
        "dataset": histogram.dataset,
        "store": store,
        "counts": dict(zip(histogram.classes, histogram.counts.tolist(), strict=True)),
        **({"clip_dbfs": list(histogram.clip_dbfs)} if histogram.clip_dbfs else {}),
    }
    write_text(_path(study_dir, histogram.dataset), json.dumps(content) + "\n")


def read_mel_histogram(study_dir: Path, dataset: str, *, store: str | None = None) -> MelHistogram | None:
    """What `write_mel_histogram` saved; `None` if nothing was saved.

    Args:
        study_dir: The study's folder.
        dataset: Name of the data set.
        store: Where given, what was counted in another store counts as none.

    Raises:
        DataError: If the file is not what it should be.
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
        raise DataError(f"{path} cannot be read: {error}. Remove it; `loglearn run` writes it again.") from error


def store_of_histogram(study_dir: Path, dataset: str) -> str:
    """Name of the store that `write_mel_histogram` was told of: of the study's runs. Empty where nothing is known."""
    try:
        content = json.loads(_path(study_dir, dataset).read_text(encoding="utf-8"))
        return str(content.get("store") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _path(study_dir: Path, dataset: str) -> Path:
    return study_dir / f"mel_power-{dataset}.json"


def explain(histogram: MelHistogram, *, alpha: float, beta: float) -> list[str]:
    """Why only the knee can matter, with this data set's numbers: sentences of a paragraph."""
    knee = beta / alpha
    below, range_db, full_db = histogram.share_below(knee), histogram.range_db(knee), histogram.range_db(LOG_EPS)
    low, high = histogram.quantile(0.05), histogram.quantile(0.95)
    return [
        "Batch normalisation follows the compression and takes away any constant, and ln(alpha X + beta) = ln(alpha) + "
        "ln(X + beta / alpha): of alpha and beta only their ratio, the knee beta / alpha, can matter in training. At "
        "test moving averages stand in for the batch's own: after few updates, when n is small, they hold some of what "
        "they began with, and ln(alpha) shifts what the network sees.",
        "Mel power X well below the knee becomes one constant; well above it, the curve is a plain logarithm.",
        f"Here 90 % of all bins lie between {low:.1e} and {high:.1e}, {full_db:.0f} dB apart after log-EPS.",
        f"With alpha = {alpha:.6g} and beta = {beta:.6g} the knee is {knee:.3g}: {100 * below:.0f} % of all bins lie "
        f"below it, and of the {full_db:.0f} dB {range_db:.0f} are left. Log-EPS has its knee at {LOG_EPS:.2g}, below "
        f"which {100 * histogram.share_below(LOG_EPS):.1f} % lie.",
    ]


def per_class(histogram: MelHistogram, *, knee: float) -> list[tuple[str, ...]]:
    """Rows of `PER_CLASS_HEAD`: every class that has clips, then all together."""
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
    """Of finished loglearn runs, by network: how many, and the knee at the end over that at the start."""
    start = START_BETA / START_ALPHA
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["status"] == "done" and row["compression"] == "loglearn" and row.get("knee"):
            found.setdefault(row["model"], []).append(row["knee"] / start)
    return [
        (model, str(len(ratios)), *(f"{value:.3f}" for value in (min(ratios), float(np.median(ratios)), max(ratios))))
        for model, ratios in sorted(found.items())
    ]


KNEES_HEAD = ("Network", "Runs", "Knee at the end / start: least", "median", "most")


def share_below(power: float, edges: npt.NDArray[np.float64], counts: npt.NDArray[Any]) -> float:
    """Share of what a histogram counted that lies below `power`; within a bin, interpolated."""
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    return float(np.interp(power, edges, below))
