"""Mean of paired differences with folds and runs as random parts, in one cell or averaged over several n."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from loglearn_tf._util.text import shown
from loglearn_tf.analysis.results import FloatArray
from loglearn_tf.errors import ConfigError, DataError

# The paired differences of one cell: by fold, those of its runs. A sequence is of folds 0, 1, 2, ...
Differences = Mapping[int, npt.ArrayLike] | Sequence[npt.ArrayLike] | FloatArray
# A standard error below 1e-10 is rounding.
_ROUNDING = 1e-20


@dataclass(frozen=True)
class Estimate:
    """A mean difference whose error, divided by its estimate, has Student's t distribution.

    Attributes:
        mean: Of the differences: fractions of accuracy, 0.02 is 2 points.
        error: Standard error of it; 0 where nothing varied, and then there is no interval and no test.
        dof: Degrees of freedom.
        method: How error and degrees of freedom were come by.
    """

    mean: float
    error: float
    dof: float
    method: str

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | tuple[None, None]:
        """Lower and upper end.

        Raises:
            ConfigError: If `confidence` is not above 0 and below 1.
        """
        if not 0 < confidence < 1:
            raise ConfigError(
                f"`confidence` must be above 0 and below 1. Received: {confidence!r}. Write 0.95 for 95 %."
            )
        if not self.error:
            return None, None
        half_width = float(special.stdtrit(self.dof, (1 + confidence) / 2)) * self.error
        return self.mean - half_width, self.mean + half_width

    @property
    def p_value(self) -> float | None:
        """Two-sided, of "no difference"."""
        return None if not self.error else float(2 * special.stdtr(self.dof, -abs(self.mean) / self.error))

    def p_within(self, margin: float) -> float | None:
        """Two one-sided tests (Schuirmann 1987) that the true mean is within the margin; the larger p.

        Raises:
            ConfigError: If `margin` is not above 0.
        """
        check_margin(margin)
        return None if not self.error else float(special.stdtr(self.dof, (abs(self.mean) - margin) / self.error))


@dataclass(frozen=True)
class Components:
    """Where paired differences come from: `difference = mean + fold part + run part`.

    Attributes:
        run_std: Of the runs within a fold, pooled; fraction of accuracy.
        fold_std: Of the folds' own means, runs' noise taken away; 0 where fold means vary less than the runs imply.
        fold_variance: Its square before it is cut at 0: unbiased, and below 0 about every second time where folds do
            not differ.
        shared: Share of the folds' variance that several n have in common, 0 to 1; 1 where it cannot be told.
        run_dof, fold_dof: What the two rest on.
    """

    run_std: float
    fold_std: float
    fold_variance: float
    shared: float
    run_dof: int
    fold_dof: int


def over_folds(*cells: Differences) -> Estimate:
    """The mean by Student's t over folds: what verdicts rest on.

    Of one cell: the t interval of its fold means. Exact for normal differences with as many runs in every fold,
    however little or much folds differ. Of several, usually the n of a network: the mean of their means, each n with
    the same weight. Test clips are the same for all n, so their fold means are correlated; summed by fold, any
    correlation is in the variance.

    Where all n have the same F folds this is the t interval of the F fold averages. Else it is the cluster-robust
    variance CR2 with the degrees of freedom of Bell and McCaffrey, for a linear model with one mean per n and folds as
    clusters; an n occurs in a fold once, so that the correction of a residual is 1 / sqrt(1 - 1 / folds of its n).

    Args:
        *cells: The differences of each n.

    Raises:
        DataError: If a cell has fewer than two folds, a fold no runs, or a difference is not finite.

    Reference:
        Bell and McCaffrey, *Survey Methodology* 28, 2002; Imbens and Kolesar, *Review of Economics and Statistics* 98,
        2016.
    """
    mean, variance, dof = _clustered(checked(cells))
    return Estimate(mean, math.sqrt(variance), dof, "t over folds")


def pooled(*cells: Differences) -> Estimate:
    """The same mean by a mixed model: folds and runs are random, and no variance is negative.

    `difference[n, fold, run] = mean[n] + fold part + run part`. The variance of the mean is estimated twice: by
    `over_folds`, and from the runs within folds as if folds had no part. Where the first is at least the second, the
    moment estimate of the folds' variance is not below zero, and the interval is that of `over_folds`. Else it is set
    to zero, as REML does, the two are averaged by their degrees of freedom, and these are added.

    In one cell with as many runs in every fold, this is REML with Satterthwaite's degrees of freedom: mean squares
    between and within folds are independent, and Kenward and Roger's correction is nil for a balanced one-way design.
    With unequal runs each fold keeps the same weight, so the mean is that of `over_folds`.

    Nearer to the truth where folds do not differ, and too sure where they differ by less than can be seen: with three
    folds a 95 % interval covers 93 %, and at the levels to which Holm's method sends a test, errors are up to five
    times as many as they should be (experiments/benchmarks/calibration.py). No verdict rests on it.

    Args:
        *cells: The differences of each n.

    Raises:
        DataError: As `over_folds`; also if no fold of a cell has a second run: then there is no noise to compare with.

    Reference:
        Searle, Casella and McCulloch, *Variance Components*, 1992, chapters 3 and 4; Satterthwaite, *Biometrics
        Bulletin* 2, 1946; Kenward and Roger, *Biometrics* 53, 1997.
    """
    found = checked(cells)
    return pool(*_clustered(found), *_run_noise(found))


def pool(mean: float, variance: float, dof: float, noise: float, noise_dof: float) -> Estimate:
    """`pooled`, from the two variances of the mean: over folds, and by noise within them."""
    if variance >= noise:
        return Estimate(mean, math.sqrt(variance), dof, "mixed model, folds differ")
    both = (dof * variance + noise_dof * noise) / (dof + noise_dof)
    return Estimate(mean, math.sqrt(both), dof + noise_dof, "mixed model, pooled")


def components(*cells: Differences) -> Components:
    """How much runs vary, and how much folds differ beyond that, by moments, over all cells given.

    The variance of a cell's fold means is that of the folds plus the runs' noise; the noise is taken away, and the rest
    averaged over cells. What different n have in common is the covariance of their fold means: their noise is
    independent, as every n draws its own clips.

    Args:
        *cells: The differences of each n.

    Raises:
        DataError: As `pooled`.
    """
    found = checked(cells)
    _run_noise(found)
    squares = sum(float(((runs - runs.mean()) ** 2).sum()) for cell in found for runs in cell.values())
    run_dof = sum(len(runs) - 1 for cell in found for runs in cell.values())
    run_variance = squares / run_dof
    means = [{fold: float(runs.mean()) for fold, runs in cell.items()} for cell in found]
    own = [
        float(np.var(list(of.values()), ddof=1))
        - run_variance * float(np.mean([1 / len(runs) for runs in cell.values()]))
        for of, cell in zip(means, found, strict=True)
    ]
    fold_variance = float(np.mean(own))
    common = [
        float(np.cov([one[fold] for fold in folds], [other[fold] for fold in folds])[0, 1])
        for at, one in enumerate(means)
        for other in means[:at]
        if len(folds := sorted(one.keys() & other.keys())) > 1
    ]
    shared = min(max(float(np.mean(common)) / fold_variance, 0.0), 1.0) if common and fold_variance > 0 else 1.0
    return Components(
        run_std=math.sqrt(run_variance),
        fold_std=math.sqrt(max(fold_variance, 0.0)),
        fold_variance=fold_variance,
        shared=shared,
        run_dof=run_dof,
        fold_dof=sum(len(cell) - 1 for cell in found),
    )


def check_margin(margin: float) -> None:
    """Raises ConfigError: If it is no fraction of accuracy above 0."""
    if not 0 < margin < 1:
        raise ConfigError(
            f"`margin` must be above 0 and below 1. Received: margin={margin!r}. It is a fraction of accuracy: write "
            "0.02 for 2 points."
        )


def checked(cells: Sequence[Differences], *, fewest_folds: int = 2) -> list[dict[int, FloatArray]]:
    """The cells as arrays by fold.

    Raises:
        DataError: If there is no cell, one has too few folds, a fold has no runs, or a difference is not finite.
    """
    if not cells:
        raise DataError("No differences to average. Give the differences of at least one n.")
    found = []
    for cell in cells:
        by_fold = dict(cell if isinstance(cell, Mapping) else enumerate(cell))
        arrays = {}
        for fold, runs in by_fold.items():
            try:
                arrays[fold] = np.asarray(runs, np.float64)
            except (TypeError, ValueError) as error:
                raise DataError(f"The differences of fold {fold} must be numbers. Received: {shown(runs)}.") from error
            if arrays[fold].ndim != 1 or not arrays[fold].size:
                raise DataError(
                    f"The differences of fold {fold} must be one for each run, and one run or more. Received: an array "
                    f"of shape {arrays[fold].shape}. Leave a fold without runs out."
                )
            wrong = arrays[fold][~np.isfinite(arrays[fold])]
            if wrong.size:
                raise DataError(
                    f"The differences must be finite numbers. Received: {wrong[0]} in fold {fold}. Leave pairs out of "
                    "which a run is missing."
                )
        if len(arrays) < fewest_folds:
            raise DataError(
                f"Differences must be of {fewest_folds} folds or more. Received: {len(arrays)}. How much folds differ "
                "cannot be told from one; `statistics.compare` gives the interval within it."
            )
        found.append(arrays)
    return found


def _clustered(cells: Sequence[Mapping[int, FloatArray]]) -> tuple[float, float, float]:
    """Mean over cells of the means over folds; its variance with folds as clusters, and degrees of freedom."""
    folds = sorted({fold for cell in cells for fold in cell})
    has = np.array([[fold in cell for fold in folds] for cell in cells])
    means = np.array([[cell[fold].mean() if fold in cell else 0.0 for fold in folds] for cell in cells])
    n_folds = has.sum(axis=1, keepdims=True)
    of_cell = means.sum(axis=1, keepdims=True) / n_folds
    # What a fold's mean adds to the result, and the correction of its residual.
    weight = has / (len(cells) * n_folds)
    scaled = weight / np.sqrt(1 - 1 / n_folds)
    variance = float(((scaled * (means - of_cell)).sum(axis=0) ** 2).sum())
    # Bell and McCaffrey: the variance is a quadratic form; `product` has its eigenvalues, up to a factor. For
    # residuals (I - H), the columns of two folds have in common what their cells share.
    product = np.diag((scaled**2).sum(axis=0)) - (scaled / n_folds).T @ scaled
    dof = float(np.trace(product) ** 2 / (product**2).sum())
    return float(of_cell.mean()), variance if variance > _ROUNDING else 0.0, dof


def _run_noise(cells: Sequence[Mapping[int, FloatArray]]) -> tuple[float, float]:
    """Variance of the same mean by the runs' noise alone, and its degrees of freedom."""
    parts, dofs = [], []
    for cell in cells:
        n_runs = np.array([len(runs) for runs in cell.values()])
        dof = int((n_runs - 1).sum())
        if not dof:
            raise DataError(
                "At least one fold must have two runs or more: how much runs vary cannot be told from one. Received: "
                f"one run in each of {len(cell)} folds. Use `over_folds`, which needs no second run."
            )
        squares = sum(float(((runs - runs.mean()) ** 2).sum()) for runs in cell.values())
        parts.append(squares / dof * float((1 / n_runs).sum()) / (len(cells) * len(cell)) ** 2)
        dofs.append(dof)
    noise = sum(parts)
    if noise <= _ROUNDING:
        return 0.0, float(sum(dofs))
    return noise, noise**2 / sum(part**2 / dof for part, dof in zip(parts, dofs, strict=True))
