"""One difference per network, averaged over all n, which a study may decide even if single cells are undecided."""

from dataclasses import dataclass

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.results import FloatArray, Rows, Runs
from loglearn_tf.analysis.statistics import in_one_family
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import ConfigError


@dataclass(frozen=True)
class Contrast:
    """The accuracy of `compression` minus that of `baseline`, averaged over n with equal weights.

    All differences are fractions of accuracy: 0.02 is 2 points.

    Attributes:
        dataset, model, compression, baseline: What is compared.
        n_shot: The n that are averaged: those with pairs in at least two folds.
        left_out: The other n with pairs.
        folds: All test folds.
        n_pairs: Number of (n, fold, run) with both runs done.
        mean: Mean over runs, then folds, then n.
        error, dof: Standard error and degrees of freedom over folds.
        low, high: Interval from these; `None` if nothing varied.
        low_90, high_90: Its 90 % interval, on which equivalence rests.
        low_pooled, high_pooled: Interval of `mixed.pooled`; `None` if no fold has a second run, or nothing varied.
            No verdict uses it.
        p_value: By Student's t over folds, two-sided.
        p_holm: The same, corrected by Holm's method.
        n_corrected: Number of tests in the correction.
        p_equivalence: Two one-sided tests against `margin`; the larger p.
        margin: Differences within it count as zero.
        verdict: As in `Comparison`.
    """

    dataset: str
    model: str
    compression: str
    baseline: str
    n_shot: tuple[NShot, ...]
    left_out: tuple[NShot, ...]
    folds: tuple[int, ...]
    n_pairs: int
    mean: float
    error: float
    dof: float
    low: float | None
    high: float | None
    low_90: float | None
    high_90: float | None
    low_pooled: float | None
    high_pooled: float | None
    p_value: float | None
    p_holm: float | None
    n_corrected: int
    p_equivalence: float | None
    margin: float
    verdict: str


def contrasts(
    rows: Rows,
    *,
    compression: str = "loglearn",
    baseline: str = "logeps",
    margin: float = 0.02,
    confidence: float = 0.95,
) -> list[Contrast]:
    """Compares two compressions once per network, over all n together.

    The noise of runs is independent for different n and averages out. The noise of folds does not, since the test clips
    are the same: it is kept, see `mixed.over_folds`. A network has one test instead of one per n, so Holm's correction,
    here over all networks and data sets, costs less. The question is also a different one: an average of zero can hide
    a gain at one n and a loss at another.

    Args:
        rows: As for `statistics.compare`.
        compression: The compression being tested.
        baseline: The compression whose accuracy is subtracted.
        margin: Margin of equivalence, a fraction of accuracy: 0.02 is 2 points.
        confidence: Confidence of the intervals.

    Returns:
        One per (data set, model) with pairs in at least two folds, in that order. A data set with one fold (TUT) has
        none, since the variation of folds is unknown.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: As for `statistics.compare`.
    """
    if compression == baseline:
        raise ConfigError(f"`compression` and `baseline` must differ. Received: {compression!r} for both.")
    mixed.check_margin(margin)
    mixed.check_confidence(confidence)
    found = []
    for (dataset, model), cells in differences(rows, compression=compression, baseline=baseline).items():
        used = {n: cell for n, cell in cells.items() if len(cell) > 1}
        if used:
            left_out = tuple(n for n in cells if n not in used)
            names = (dataset, model, compression, baseline, tuple(used), left_out)
            found.append(_contrast(names, list(used.values()), margin, confidence))
    return in_one_family(found)


def differences(
    rows: Rows, *, compression: str = "loglearn", baseline: str = "logeps"
) -> dict[tuple[str, str], dict[NShot, dict[int, FloatArray]]]:
    """Paired differences by (data set, model), then n, then fold: an array over runs.

    Args:
        rows, compression, baseline: See `contrasts`.

    Raises:
        DataError: As for `statistics.compare`.
    """
    found: dict[tuple[str, str], dict[NShot, dict[int, FloatArray]]] = {}
    for (dataset, model, n_shot), folds, per_fold in Runs(rows).pairs(compression, baseline):
        found.setdefault((dataset, model), {})[n_shot] = dict(zip(folds, per_fold, strict=True))
    return found


def _contrast(
    names: tuple[str, str, str, str, tuple[NShot, ...], tuple[NShot, ...]],
    cells: list[dict[int, FloatArray]],
    margin: float,
    confidence: float,
) -> Contrast:
    estimate = mixed.over_folds(*cells)
    low, high = estimate.interval(confidence)
    low_90, high_90 = estimate.interval(0.9)
    repeated = all(any(len(runs) > 1 for runs in cell.values()) for cell in cells)
    low_pooled, high_pooled = mixed.pooled(*cells).interval(confidence) if repeated else (None, None)
    return Contrast(
        *names,
        folds=tuple(sorted({fold for cell in cells for fold in cell})),
        n_pairs=sum(len(runs) for cell in cells for runs in cell.values()),
        mean=estimate.mean,
        error=estimate.error,
        dof=estimate.dof,
        low=low,
        high=high,
        low_90=low_90,
        high_90=high_90,
        low_pooled=low_pooled,
        high_pooled=high_pooled,
        p_value=estimate.p_value,
        p_holm=None,
        n_corrected=0,
        p_equivalence=estimate.p_within(margin),
        margin=float(margin),
        verdict="undecided",
    )
