"""Worst-case regret: how far each compression is behind the best one in its worst cell."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loglearn_tf.analysis.results import FloatArray
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import ConfigError, DataError

_RESAMPLES = 1999


@dataclass(frozen=True)
class RegretCell:
    """A condition in which compressions were compared: a data set at a level, a network, an n.

    Attributes:
        name: Identifies the cell.
        data: Identifies the folds and their clips: cells with the same data share folds, whatever the level or network.
        n_shot: Cells with the same data and n share the clips that their runs draw.
        accuracy: Compression -> (fold, run) -> accuracy, a fraction.
    """

    name: tuple[str, ...]
    data: Hashable
    n_shot: NShot
    accuracy: Mapping[str, Mapping[tuple[int, int], float]]


@dataclass(frozen=True)
class Regret:
    """The regret of one compression, in fractions of accuracy.

    Attributes:
        compression: Its name.
        worst: Its largest difference from the best mean accuracy over all cells.
        where: Name of that cell.
        mean: Its mean difference over the cells.
        low, high: Interval of `worst`; `None` if there is only one run in total.
        smallest: Share of resamples in which no other worst regret is smaller.
        by_cell: Its difference in each cell, in their order.
    """

    compression: str
    worst: float
    where: tuple[str, ...]
    mean: float
    low: float | None
    high: float | None
    smallest: float
    by_cell: tuple[float, ...]


@dataclass(frozen=True)
class Regrets:
    """The regret of all compressions.

    Attributes:
        of: The smallest worst regret first.
        cells: Names of the cells, each with all of these compressions.
        left_out: Compressions with too few cells, and cells without one of the others.
    """

    of: tuple[Regret, ...]
    cells: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]


def worst_regrets(
    cells: Sequence[RegretCell],
    *,
    compressions: Sequence[str] | None = None,
    confidence: float = 0.95,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Regrets:
    """Finds the compression with the smallest worst-case regret when the condition is unknown.

    In a cell, means are over the runs that all compressions have done, then over folds; the regret of a compression is
    the best mean minus its own. Its worst regret is the largest over the cells: the possible cost of one choice for all
    conditions (Savage's minimax regret).

    The interval is a percentile bootstrap over what was sampled: the folds of each data set, with replacement, and the
    runs within each. Compressions, networks and levels that share folds or training clips are resampled together. In
    every resample the best compression and the worst cell are chosen again, as in another study.

    This is not an unbiased estimate. The best of several means is above the best true mean, and the maximum over cells
    is above the largest true regret, so worst regrets are too large, more so for noisier cells and more of them;
    resampling adds the same bias again, and the interval may start above the estimate. If several compressions are near
    the best in several cells, the bootstrap of a maximum is not consistent. A percentile interval with few folds is too
    narrow, by the factor sqrt((F - 1) / F) for the fold part and more. So the order of compressions and `smallest` are
    more reliable than the numbers.

    Args:
        cells: The conditions.
        compressions: Candidates; `None` for those that were run in more than half of the cells.
        confidence: Confidence of the intervals.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples: the same cells and seed give the same numbers.

    Raises:
        ConfigError: If `confidence` or `resamples` is out of range.
        DataError: If fewer than two compressions share a cell, or an accuracy is not between 0 and 1.

    Reference:
        Savage, *Journal of the American Statistical Association* 46, 1951, on minimax regret; Davison and Hinkley,
        *Bootstrap Methods and their Application*, 1997, section 3.8, on resampling in two stages; Hall and Miller,
        *Annals of Statistics* 37, 2009, on the bootstrap of ranks, and where it fails.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"`confidence` must be between 0 and 1. Received: {confidence!r}. Write 0.95 for 95 %.")
    if resamples < 1:
        raise ConfigError(f"`resamples` must be at least 1. Received: {resamples!r}.")
    names, used, left_out = _chosen(cells, compressions)
    tables = [_table(cell, names) for cell in used]
    observed = _regrets([_means(one, np.ones((1, one.shape[1])), np.ones((1, *one.shape[1:]))) for one in tables])[0]
    weights = _Resamples(used, resamples, seed)
    drawn = _regrets(
        [_means(table, *weights.of(cell, at)) for at, (cell, table) in enumerate(zip(used, tables, strict=True))]
    )
    worst = drawn.max(axis=2)  # (resamples, compressions)
    tail = (1 - confidence) / 2
    low, high = np.quantile(worst, [tail, 1 - tail], axis=0)
    smallest = (worst <= worst.min(axis=1, keepdims=True) + 1e-12).mean(axis=0)
    varies = weights.vary
    found = [
        Regret(
            compression=name,
            worst=float(observed[at].max()),
            where=used[int(observed[at].argmax())].name,
            mean=float(observed[at].mean()),
            low=float(low[at]) if varies else None,
            high=float(high[at]) if varies else None,
            smallest=float(smallest[at]),
            by_cell=tuple(map(float, observed[at])),
        )
        for at, name in enumerate(names)
    ]
    return Regrets(
        tuple(sorted(found, key=lambda one: (one.worst, one.compression))), tuple(cell.name for cell in used), left_out
    )


def _chosen(
    cells: Sequence[RegretCell], compressions: Sequence[str] | None
) -> tuple[list[str], list[RegretCell], tuple[str, ...]]:
    """Compressions, and the cells with common runs of all of them."""
    present = sorted({name for cell in cells for name, runs in cell.accuracy.items() if runs})
    if compressions is None:
        in_cells = {name: sum(bool(cell.accuracy.get(name)) for cell in cells) for name in present}
        names = [name for name in present if 2 * in_cells[name] > len(cells)]
    else:
        names = list(dict.fromkeys(compressions))
    used = [cell for cell in cells if names and _shared(cell, names)]
    if len(names) < 2 or not used:
        raise DataError(
            "Regret needs at least two compressions with runs in the same cells. Received: "
            f"{', '.join(names) or 'none'} in {len(used)} of {len(cells)} cells."
        )
    left_out = (
        *(name for name in present if name not in names),
        *(" ".join(one.name) for one in cells if one not in used),
    )
    return names, used, left_out


def _shared(cell: RegretCell, names: Sequence[str]) -> list[tuple[int, int]]:
    """The (fold, run) pairs that all have done."""
    return sorted(set.intersection(*(set(cell.accuracy.get(name, {})) for name in names)))


def _table(cell: RegretCell, names: Sequence[str]) -> FloatArray:
    """`(compressions, folds, runs)`, for all folds and runs of the cell; NaN for runs that are not shared."""
    shared = _shared(cell, names)
    folds, runs = _folds_and_runs(cell)
    table = np.full((len(names), len(folds), len(runs)), np.nan)
    for fold, run in shared:
        for at, name in enumerate(names):
            value = cell.accuracy[name][fold, run]
            if not 0 <= value <= 1:
                raise DataError(
                    f"`accuracy` must be between 0 and 1. Received: {value!r} for {' '.join(cell.name)} {name}."
                )
            table[at, folds.index(fold), runs.index(run)] = value
    return table


def _folds_and_runs(cell: RegretCell) -> tuple[list[int], list[int]]:
    pairs = {pair for of in cell.accuracy.values() for pair in of}
    return sorted({fold for fold, _ in pairs}), sorted({run for _, run in pairs})


def _means(table: FloatArray, of_folds: FloatArray, of_runs: FloatArray) -> FloatArray:
    """`(resamples, compressions)` means: over runs, then folds, weighted by the number of draws.

    Args:
        table: `(compressions, folds, runs)`.
        of_folds: `(resamples, folds)`.
        of_runs: `(resamples, folds, runs)`; another cell may have more runs, so they need not add up to a multiple of
            the fold's.
    """
    there = np.isfinite(table[0])
    of_run = _normalised(of_runs * there, there)
    has = there.any(axis=1)
    of_fold = _normalised(of_folds * has, has)
    means: FloatArray = np.einsum("bf,bfr,cfr->bc", of_fold, of_run, np.nan_to_num(table))
    return means


def _normalised(weights: FloatArray, there: npt.NDArray[np.bool_]) -> FloatArray:
    """Weights that add up to 1 on the last axis; equal if nothing present was drawn."""
    weights = np.where(weights.sum(axis=-1, keepdims=True) > 0, weights, there)
    total = weights.sum(axis=-1, keepdims=True)
    scaled: FloatArray = np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0)
    return scaled


def _regrets(means: Sequence[FloatArray]) -> FloatArray:
    """Regrets, `(resamples, compressions, cells)`."""
    by_cell = np.stack(means, axis=2)
    behind: FloatArray = by_cell.max(axis=1, keepdims=True) - by_cell
    return behind


class _Resamples:
    """Number of draws of each fold and run, the same for all cells that share them."""

    def __init__(self, cells: Sequence[RegretCell], resamples: int, seed: int) -> None:
        self._cells = [_folds_and_runs(cell) for cell in cells]
        folds_of: dict[Hashable, set[int]] = {}
        runs_of: dict[tuple[Hashable, NShot], set[int]] = {}
        for cell, (folds, runs) in zip(cells, self._cells, strict=True):
            folds_of.setdefault(cell.data, set()).update(folds)
            runs_of.setdefault((cell.data, cell.n_shot), set()).update(runs)
        rng = np.random.default_rng(seed)
        self._folds = {data: sorted(folds) for data, folds in folds_of.items()}
        self._runs = {key: sorted(runs) for key, runs in runs_of.items()}
        self._of_folds = {
            data: rng.multinomial(len(folds), np.full(len(folds), 1 / len(folds)), size=resamples)
            for data, folds in self._folds.items()
        }
        # If a fold was drawn k times, its runs are drawn k times, too.
        self._of_runs = {
            (data, n): rng.multinomial(self._of_folds[data] * len(runs), np.full(len(runs), 1 / len(runs)))
            for (data, n), runs in self._runs.items()
        }
        self.vary = any(len(of) > 1 for of in (*self._folds.values(), *self._runs.values()))

    def of(self, cell: RegretCell, at: int) -> tuple[FloatArray, FloatArray]:
        """Of a cell's folds, `(resamples, folds)`, and runs, `(resamples, folds, runs)`."""
        folds, runs = self._cells[at]
        which_folds = [self._folds[cell.data].index(fold) for fold in folds]
        which_runs = [self._runs[cell.data, cell.n_shot].index(run) for run in runs]
        of_runs = self._of_runs[cell.data, cell.n_shot][:, which_folds][..., which_runs]
        return self._of_folds[cell.data][:, which_folds].astype(np.float64), of_runs.astype(np.float64)
