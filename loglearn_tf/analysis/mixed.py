"""Mean of paired differences with random effects of folds and runs, in one cell or averaged over several n."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loglearn_tf._util.text import shown
from loglearn_tf.analysis.results import FloatArray
from loglearn_tf.errors import ConfigError, DataError

# The paired differences of one cell: fold -> differences of its runs. A sequence stands for folds 0, 1, 2, ...
Differences = Mapping[int, npt.ArrayLike] | Sequence[npt.ArrayLike] | FloatArray
# A standard error below 1e-10 is rounding.
_ROUNDING = 1e-20


@dataclass(frozen=True)
class Estimate:
    """A mean difference whose error, divided by its estimate, has Student's t distribution.

    Attributes:
        mean: Mean difference, a fraction of accuracy: 0.02 is 2 points.
        error: Its standard error; 0 if nothing varied, and then there is no interval and no test.
        dof: Degrees of freedom.
        method: Method used for error and degrees of freedom.
    """

    mean: float
    error: float
    dof: float
    method: str

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | tuple[None, None]:
        """Lower and upper limit.

        Raises:
            ConfigError: If `confidence` is not between 0 and 1.
        """
        check_confidence(confidence)
        if not self.error:
            return None, None
        half_width = float(distributions().stdtrit(self.dof, (1 + confidence) / 2)) * self.error
        return self.mean - half_width, self.mean + half_width

    @property
    def p_value(self) -> float | None:
        """Two-sided p of "no difference"."""
        return None if not self.error else float(2 * distributions().stdtr(self.dof, -abs(self.mean) / self.error))

    def p_within(self, margin: float) -> float | None:
        """Two one-sided tests (Schuirmann 1987) that the true mean is within the margin; the larger p.

        Raises:
            ConfigError: If `margin` is not above 0.
        """
        check_margin(margin)
        return (
            None if not self.error else float(distributions().stdtr(self.dof, (abs(self.mean) - margin) / self.error))
        )


@dataclass(frozen=True)
class Components:
    """Variance components of paired differences: `difference = mean + fold effect + run effect`.

    Attributes:
        run_std: Standard deviation of the runs within a fold, pooled; a fraction of accuracy.
        fold_std: Standard deviation of the true fold means, without the noise of runs; 0 if the observed fold means
            vary less than the runs imply.
        fold_variance: Its square before truncation at 0: unbiased, and negative about half of the time if folds do not
            differ.
        shared: Share of the fold variance common to several n, 0 to 1; 1 if unknown.
        run_dof, fold_dof: Degrees of freedom of the two.
    """

    run_std: float
    fold_std: float
    fold_variance: float
    shared: float
    run_dof: int
    fold_dof: int


def over_folds(*cells: Differences) -> Estimate:
    """Estimates the mean by Student's t over folds. Verdicts of `contrasts` use it as it is.

    `statistics.compare` uses the same fold means, but from 8 folds on with a bootstrap, which allows for skewness.

    For one cell it is the t interval of the fold means: exact for normal differences with the same number of runs in
    every fold, however much folds differ. For several cells, usually the n of a network, it is the mean of their means,
    with equal weights. Test clips are the same for all n, so their fold means are correlated; summing by fold includes
    any correlation in the variance.

    If all n have the same F folds, this is the t interval of the F fold averages. Otherwise it is the cluster-robust
    variance CR2 with the degrees of freedom of Bell and McCaffrey, for a linear model with one mean per n and folds as
    clusters; an n occurs once per fold, so the correction of a residual is 1 / sqrt(1 - 1 / folds of its n).

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
    """Estimates the same mean by a mixed model: folds and runs are random, and no variance is negative.

    `difference[n, fold, run] = mean[n] + fold effect + run effect`. The variance of the mean is estimated twice: by
    `over_folds`, and from the runs within folds as if there were no fold effect. If the first is at least as large as
    the second, the moment estimate of the fold variance is not negative, and the interval is that of `over_folds`.
    Otherwise the fold variance is set to zero, as in REML, the two estimates are averaged by their degrees of freedom,
    and these are added.

    In one cell with the same number of runs in every fold, this is REML with Satterthwaite's degrees of freedom: mean
    squares between and within folds are independent, and if there is a fold effect, the method of Kenward and Roger
    gives the same. With unequal numbers of runs, folds keep equal weights, so the mean is that of `over_folds`.

    It is more accurate if folds do not differ, and overconfident if they differ too little to be detected: with three
    folds a 95 % interval covers 92 to 93 %, and at 1 %, a level typical for Holm's method, there are up to four times
    as many errors as there should be (experiments/benchmarks/calibration.py). No verdict uses it.

    Args:
        *cells: The differences of each n.

    Raises:
        DataError: As for `over_folds`; also if no fold of a cell has a second run, so the noise is unknown.

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
    """Estimates by moments how much runs vary, and how much folds differ beyond that, over all given cells.

    The variance of a cell's fold means is that of the folds plus the noise of the runs; the noise is subtracted, and
    the rest is averaged over cells. The variance common to different n is the covariance of their fold means: their
    noise is independent, since every n draws its own clips.

    Args:
        *cells: The differences of each n.

    Raises:
        DataError: As for `pooled`.
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


def distributions() -> Any:
    """Student's t of scipy; imported when needed, so that the command line starts quickly."""
    from scipy import special

    return special


def check_margin(margin: float) -> None:
    """Raises ConfigError: If it is not a positive fraction of accuracy."""
    if not 0 < margin < 1:
        raise ConfigError(
            f"`margin` must be between 0 and 1. Received: margin={margin!r}. It is a fraction of accuracy: write "
            "0.02 for 2 points."
        )


def check_confidence(confidence: float) -> None:
    """Raises ConfigError: If it is not a fraction between 0 and 1."""
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must be between 0 and 1. Received: {confidence!r}. Write 0.95 for 95 %.")


def checked(cells: Sequence[Differences], *, fewest_folds: int = 2) -> list[dict[int, FloatArray]]:
    """The cells as arrays by fold.

    Raises:
        DataError: If there is no cell, one has too few folds, a fold has no runs, or a difference is not finite.
    """
    if not cells:
        raise DataError("No differences to average. Pass the differences of at least one n.")
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
                    f"The differences of fold {fold} must have one value per run, at least one. Received: an array "
                    f"of shape {arrays[fold].shape}. Omit folds without runs."
                )
            wrong = arrays[fold][~np.isfinite(arrays[fold])]
            if wrong.size:
                raise DataError(
                    f"The differences must be finite numbers. Received: {wrong[0]} in fold {fold}. Omit pairs with a "
                    "missing run."
                )
        if len(arrays) < fewest_folds:
            raise DataError(
                f"Differences must come from at least {fewest_folds} folds. Received: {len(arrays)}. One fold does not "
                "show how much folds differ; `statistics.compare` gives the interval within a fold."
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
    # Weight of a fold's mean in the result, and the correction of its residual.
    weight = has / (len(cells) * n_folds)
    scaled = weight / np.sqrt(1 - 1 / n_folds)
    variance = float(((scaled * (means - of_cell)).sum(axis=0) ** 2).sum())
    # Bell and McCaffrey: the variance is a quadratic form; `product` has its eigenvalues, up to a factor. In the
    # residuals (I - H), the columns of two folds share what their cells share.
    product = np.diag((scaled**2).sum(axis=0)) - (scaled / n_folds).T @ scaled
    dof = float(np.trace(product) ** 2 / (product**2).sum())
    return float(of_cell.mean()), variance if variance > _ROUNDING else 0.0, dof


def _run_noise(cells: Sequence[Mapping[int, FloatArray]]) -> tuple[float, float]:
    """Variance of the same mean from the noise of runs only, and its degrees of freedom."""
    parts, dofs = [], []
    for cell in cells:
        n_runs = np.array([len(runs) for runs in cell.values()])
        dof = int((n_runs - 1).sum())
        if not dof:
            raise DataError(
                "At least one fold must have two runs, to show how much runs vary. Received: "
                f"one run in each of {len(cell)} folds. Use `over_folds`, which needs no second run."
            )
        squares = sum(float(((runs - runs.mean()) ** 2).sum()) for runs in cell.values())
        parts.append(squares / dof * float((1 / n_runs).sum()) / (len(cells) * len(cell)) ** 2)
        dofs.append(dof)
    noise = sum(parts)
    if noise <= _ROUNDING:
        return 0.0, float(sum(dofs))
    return noise, noise**2 / sum(part**2 / dof for part, dof in zip(parts, dofs, strict=True))
