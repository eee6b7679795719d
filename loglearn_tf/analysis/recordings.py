"""Mean of paired differences with source recordings and runs as two crossed samples."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loglearn_tf._util.text import shown
from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.mixed import Estimate
from loglearn_tf.analysis.results import FloatArray, IntArray
from loglearn_tf.errors import ConfigError, DataError

Weights = Literal["folds", "clips"]
# (fold, run) -> clip -> whether it was classified correctly.
Correct = Mapping[tuple[int, int], Mapping[str, bool]]

# With fewer recordings the interval covers less often than stated, or is too wide to be useful.
FEWEST_RECORDINGS = 10


@dataclass(frozen=True)
class ClipDifferences:
    """For every test clip in every paired run: correct with one compression minus correct with the other.

    One entry for each clip of each run, in any order. Runs need not have the same clips.

    Attributes:
        difference: `(n,)`, from -1 to 1; for a single clip in a single run -1, 0 or 1.
        fold, run: `(n,)` integers. Runs are numbered within folds: run 0 of fold 1 and run 0 of fold 2 are two runs.
        recording: `(n,)` source recording of the clip. A recording may have clips in several folds.
        label: `(n,)` class of the clip; `None` if classes are not needed.

    Raises:
        DataError: If the arrays differ in length or are empty; a difference is outside [-1, 1]; or a clip
            has no recording or class.
    """

    difference: FloatArray
    fold: IntArray
    run: IntArray
    recording: Sequence[Hashable] | npt.NDArray[Any]
    label: Sequence[Hashable] | npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        columns: dict[str, Any] = {
            name: column for name, column in vars(self).items() if name != "label" or column is not None
        }
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1 or not lengths["difference"]:
            raise DataError(
                "Every difference must have a fold, run, recording and class, and there must be at least one. Received "
                f"lengths: {lengths}."
            )
        difference = np.asarray(self.difference, np.float64)
        wrong = difference[~(np.abs(difference) <= 1)]
        if len(wrong):
            raise DataError(f"The difference of a clip must be between -1 and 1. Received: {wrong[0]}.")
        object.__setattr__(self, "difference", difference)
        for name in ("fold", "run"):
            numbers = np.asarray(columns[name])
            if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
                raise DataError(
                    f"`{name}` must hold one integer per entry. Received: {numbers.dtype} of shape {numbers.shape}."
                )
            object.__setattr__(self, name, numbers.astype(np.int64))
        for name in columns.keys() & {"recording", "label"}:
            column = columns[name]
            values = column.tolist() if isinstance(column, np.ndarray) else list(column)
            if any(map(_is_gap, set(values))):
                raise DataError(
                    f"Every clip must have a {'class' if name == 'label' else name}. Missing for "
                    f"{sum(map(_is_gap, values))} of {len(values)} entries. A clip without a known source is its "
                    "own recording: use its own name."
                )
            object.__setattr__(self, name, values)

    def of_class(self, label: Hashable) -> "ClipDifferences":
        """Selects the clips of one class.

        Raises:
            DataError: If there are no classes, or no clip has this one.
        """
        if self.label is None:
            raise DataError("These differences have no classes. Pass `label`.")
        own = np.array([one == label for one in self.label])
        if not own.any():
            raise DataError(f"No clip has the class {shown(label)}. Known: {shown(_levels(self.label)[0])}.")
        recording = [one for one, its in zip(self.recording, own, strict=True) if its]
        return ClipDifferences(self.difference[own], self.fold[own], self.run[own], recording, [label] * len(recording))


def clip_differences(
    ours: Correct, theirs: Correct, recording_of: Mapping[str, Hashable], class_of: Mapping[str, Hashable] | None = None
) -> ClipDifferences:
    """Pairs the correct clips of two compressions, over the runs that both have finished.

    Args:
        ours, theirs: (fold, run) -> clip id -> whether the predicted class was correct.
        recording_of: Clip id -> source recording: fsID for UrbanSound8K.
        class_of: Clip id -> class; `None` if classes are not needed.

    Raises:
        DataError: If there is no pair of runs, the runs of a pair have different clips, or a clip has no
            recording or class.
    """
    pairs = sorted(ours.keys() & theirs.keys())
    if not pairs:
        raise DataError("The two compressions have no paired runs: pairs must have the same (fold, run).")
    entries = []
    for fold, run in pairs:
        mine, other = ours[fold, run], theirs[fold, run]
        if mine.keys() != other.keys():
            odd = min(mine.keys() ^ other.keys())
            raise DataError(
                f"Both runs of a pair must have the same test clips. Received: {len(mine)} and {len(other)} for fold "
                f"{fold}, run {run}; {odd} is in only one. Repeat these runs."
            )
        entries += [(fold, run, clip, float(mine[clip]) - float(other[clip])) for clip in sorted(mine)]
    for what, of in (("recording", recording_of), ("class", class_of)):
        if of is not None:
            without = sorted({clip for _, _, clip, _ in entries if _is_gap(of.get(clip))})
            if without:
                raise DataError(
                    f"Every clip must have a {what}. Missing for {len(without)} clips, such as {without[0]}."
                )
    return ClipDifferences(
        difference=np.array([entry[3] for entry in entries]),
        fold=np.array([entry[0] for entry in entries], np.int64),
        run=np.array([entry[1] for entry in entries], np.int64),
        recording=[recording_of[entry[2]] for entry in entries],
        label=None if class_of is None else [class_of[entry[2]] for entry in entries],
    )


@dataclass(frozen=True)
class TwoWay:
    """A mean difference with the uncertainty from recordings and runs.

    Attributes:
        estimate: Mean, standard error, degrees of freedom.
        n_recordings, n_runs: Sample sizes; runs of all folds together.
        effective_recordings: Number of equally weighted recordings whose sampling error would be known as exactly: the
            degrees of freedom of its variance, plus 1. The error itself may be that of more recordings: see
            `recordings_per_fold`.
        recording_std: Standard deviation of the recordings' true means, a fraction of accuracy; 0 if indistinguishable
            from noise, as where no recording is in two runs.
        recordings_per_fold: Number of equally weighted recordings with the same sampling error of a fold mean.
        too_few: Why there is no interval; `None` if there is one.
    """

    estimate: Estimate
    n_recordings: int
    n_runs: int
    effective_recordings: float
    recording_std: float
    recordings_per_fold: float
    too_few: str | None

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | tuple[None, None]:
        """The interval of `estimate`, or no limits if there are too few recordings."""
        ends = self.estimate.interval(confidence)
        return ends if self.too_few is None else (None, None)


def two_way(clips: ClipDifferences, *, weights: Weights | FloatArray = "folds") -> TwoWay:
    """Estimates the mean difference, with recordings and runs as two crossed samples.

    Clips of one recording are correlated in every run, and clips of one run in every recording. The variance is the
    variance by recordings plus the variance by runs minus that of their intersections, which both contain (Cameron,
    Gelbach and Miller), each with its factor G / (G - 1), and at least the larger of the first two. The interval uses
    Student's t with Satterthwaite's degrees of freedom, based on the effective numbers of recordings and runs minus 1.

    Folds are treated as mere partitions of the recordings: other shared effects, such as training clips, are not in
    the variance. If folds do differ, the interval is too narrow; it complements that of `mixed.over_folds` and does not
    replace it.

    Args:
        clips: See `ClipDifferences`.
        weights: `"folds"`: equal weights for folds, for runs within a fold and for clips within a run, as in the
            tables. `"clips"`: equal weights for all clips of all runs. Or `(n,)` weights of the entries that add up to
            1, for a mean over several cells.

    Raises:
        ConfigError: If `weights` is neither.
        DataError: If there is only one run in total, or only one recording.

    Reference:
        Cameron, Gelbach and Miller, *Journal of Business & Economic Statistics* 29, 2011; Owen, *Annals of Applied
        Statistics* 1, 2007, on crossed samples of unequal sizes.
    """
    return _two_way(clips, weights_of(clips, weights))


def pooled(clips: ClipDifferences) -> Estimate:
    """Extends the mixed model of `mixed.pooled` by recordings: folds, runs and recordings are random.

    If fold means vary less than recordings and runs within the folds imply, the variance of folds is set to 0 and the
    error is that of recordings and runs; otherwise it is the error over folds.

    Args:
        clips: Differences of one cell. Folds have equal weights.

    Raises:
        DataError: If there is only one fold, or no fold has a second run or recording.
    """
    weight = weights_of(clips, "folds")
    folds, fold = np.unique(clips.fold, return_inverse=True)
    means = np.bincount(fold, weight * clips.difference) * len(folds)
    over = mixed.over_folds({int(number): [mean] for number, mean in zip(folds, means, strict=True)})
    # Relative to the fold means: the remaining variation is within folds.
    within = weight * (clips.difference - means[fold])
    groups = _groups(clips)
    noise, dof = _crossed(within, weight, groups, spent=len(folds))
    return mixed.pool(over.mean, over.error**2, over.dof, noise, dof)


def by_class(clips: ClipDifferences, *, weights: Weights = "folds") -> dict[Hashable, TwoWay | str]:
    """`two_way` for every class: the difference of its recall.

    Returns:
        Class -> result of `two_way`, with `too_few` if the interval is not reliable; or the reason why nothing can be
        computed.

    Raises:
        DataError: If there are no classes.
    """
    if clips.label is None:
        raise DataError("These differences have no classes. Give `label`.")
    found: dict[Hashable, TwoWay | str] = {}
    for label in _levels(clips.label)[0]:
        own = clips.of_class(label)
        if len(_levels(own.recording)[0]) == 1:
            found[label] = _too_few(1, 1.0) or ""
            continue
        try:
            found[label] = two_way(own, weights=weights)
        except DataError as error:  # clips in only one run
            found[label] = str(error)
    return found


def _two_way(clips: ClipDifferences, weight: FloatArray) -> TwoWay:
    mean = float(weight @ clips.difference)
    residual = weight * (clips.difference - mean)
    groups = _groups(clips)
    variance, dof = _crossed(residual, weight, groups, spent=1)
    of_recording = float((np.bincount(groups[0], weight) ** 2).sum())
    effective = _effective(weight, groups[0])
    n_recordings = int(groups[0].max()) + 1
    return TwoWay(
        estimate=Estimate(mean, math.sqrt(variance), dof, "recordings and runs"),
        n_recordings=n_recordings,
        n_runs=int(groups[1].max()) + 1,
        effective_recordings=effective,
        recording_std=_recording_std(residual, weight, groups),
        recordings_per_fold=1 / (len(np.unique(clips.fold)) * of_recording),
        too_few=_too_few(n_recordings, effective),
    )


def _recording_std(residual: FloatArray, weight: FloatArray, groups: tuple[IntArray, IntArray, IntArray]) -> float:
    """Standard deviation of the recordings' means beyond noise, from the recordings that are in several runs."""
    by_recording, by_both = (_variance(residual, group, spent=1) for group in (groups[0], groups[2]))
    # Both contain the recordings' variance, times the sum of their groups' squared weights.
    of_recording, of_both = (float((np.bincount(group, weight) ** 2).sum()) for group in (groups[0], groups[2]))
    # They are equal, up to rounding, if no recording is in two runs.
    if of_recording - of_both <= 1e-9 * of_recording:
        return 0.0
    return math.sqrt(max(by_recording - by_both, 0.0) / (of_recording - of_both))


def _too_few(n_recordings: int, effective: float) -> str | None:
    if effective >= FEWEST_RECORDINGS - 1e-9:
        return None
    like = (
        "" if n_recordings - effective < 0.5 else f", whose error is as uncertain as that of {effective:.1f} equal ones"
    )
    return f"{n_recordings} recording{'' if n_recordings == 1 else 's'}{like}: an interval needs {FEWEST_RECORDINGS}"


def weights_of(clips: ClipDifferences, weights: Weights | FloatArray) -> FloatArray:
    """Weights of the entries, which add up to 1. See `two_way`."""
    if isinstance(weights, np.ndarray):
        if weights.shape != clips.difference.shape or not math.isclose(weights.sum(), 1) or (weights < 0).any():
            raise ConfigError(
                "`weights` must be non-negative, one per difference, and add up to 1. Received: an array of shape "
                f"{weights.shape} that adds up to {weights.sum():g}."
            )
        return weights
    if weights == "clips":
        return np.full(len(clips.difference), 1 / len(clips.difference))
    if weights != "folds":
        raise ConfigError(f"`weights` must be 'folds' or 'clips'. Received: {shown(weights)}.")
    runs, run = np.unique(np.stack([clips.fold, clips.run]), axis=1, return_inverse=True)
    run = run.reshape(-1)
    _, fold = np.unique(runs[0], return_inverse=True)
    n_clips, n_runs = np.bincount(run), np.bincount(fold)
    weight: FloatArray = 1 / (len(n_runs) * n_runs[fold[run]] * n_clips[run])
    return weight


def _groups(clips: ClipDifferences) -> tuple[IntArray, IntArray, IntArray]:
    """Index of the recording, the run, and their combination, for every entry."""
    recordings, recording = _levels(clips.recording)
    run = np.unique(np.stack([clips.fold, clips.run]), axis=1, return_inverse=True)[1].reshape(-1)
    n_runs = int(run.max()) + 1
    for what, number in (("recordings", len(recordings)), ("runs", n_runs)):
        if number < 2:
            raise DataError(
                f"Differences must come from at least two {what}, to show how much {what} vary. Received: {number}."
            )
    both = np.unique(recording * n_runs + run, return_inverse=True)[1]
    return recording, run, both.reshape(-1)


def _levels(values: Sequence[Hashable] | npt.NDArray[Any]) -> tuple[list[Hashable], IntArray]:
    """The distinct values in order of first occurrence, and the index of each entry. Types may differ."""
    number = {value: at for at, value in enumerate(dict.fromkeys(values))}
    return list(number), np.fromiter(map(number.__getitem__, values), np.int64, len(values))


def _crossed(
    residual: FloatArray, weight: FloatArray, groups: tuple[IntArray, IntArray, IntArray], *, spent: int
) -> tuple[float, float]:
    """Variance of the sum of the residuals by recordings and runs, and its degrees of freedom."""
    parts = [_variance(residual, group, spent=spent) for group in groups]
    variance = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
    dofs = [max(_effective(weight, group) - spent, 1.0) for group in groups[:2]]
    if not variance:
        return 0.0, min(dofs)
    satterthwaite = variance**2 / (parts[0] ** 2 / dofs[0] + parts[1] ** 2 / dofs[1])
    return variance, max(satterthwaite, min(dofs))


def _variance(residual: FloatArray, group: IntArray, *, spent: int) -> float:
    """Variance of the sum of residuals that are dependent within groups; `spent`: number of subtracted means."""
    sums = np.bincount(group, residual)
    if len(sums) <= spent:
        raise DataError(
            "At least one fold must have a second run, and one a second recording, to show how much they vary. "
            f"Received: {len(sums)} in {spent} folds."
        )
    return float((sums**2).sum()) * len(sums) / (len(sums) - spent)


def _effective(weight: FloatArray, group: IntArray) -> float:
    """Satterthwaite's degrees of freedom of a sum of squares whose terms vary with the squared group weights."""
    squares = np.bincount(group, weight) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum())


def _is_gap(value: object) -> bool:
    return value is None or value == "" or value != value  # only NaN differs from itself
