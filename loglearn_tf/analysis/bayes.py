"""Probabilities that a compression is worse, equivalent or better: a hierarchical model of all n and networks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.mixed import Differences
from loglearn_tf.analysis.results import FloatArray, IntArray
from loglearn_tf.datasets.n_shot import NShot, size_of

# ---- Priors: half-t with 4 degrees of freedom for standard deviations, normal for the mean; fractions of accuracy ----

PRIOR_DOF = 4
# Scale of the mean over all networks and n.
PRIOR_MEAN_STD = 0.1
# Scales: between networks, n and folds, 3 points are typical and 10 possible; between runs, twice as much.
PRIOR_SCALE = 0.03
PRIOR_RUN_SCALE = 0.06

# If all differences are equal, as for two compressions with the same answers, a standard deviation would be drawn ever
# closer to 0; it is kept above a thousandth of a point.
_LEAST_STD = 1e-5

_CHAINS, _BURN_IN, _KEPT = 4, 500, 2000


@dataclass(frozen=True)
class Probabilities:
    """The posterior of one true difference.

    Attributes:
        model, n_shot: Both for a cell; only the model for a network's average over n; neither for the average over
            networks.
        worse, equivalent, better: Probabilities that it is below minus the margin, within it, above it; their sum is 1.
        mean: Its expectation, a fraction of accuracy.
        low, high: Its 95 % credible interval.
    """

    model: str | None
    n_shot: NShot | None
    worse: float
    equivalent: float
    better: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Posterior:
    """The posterior of a study.

    Attributes:
        cells: For every (network, n), in the order of networks, then of n.
        networks: For every network, averaged over its n.
        overall: Averaged over the networks.
        margin: Margin of equivalence.
        std: Name of a standard deviation -> its median, a fraction of accuracy. `"network"`, `"n"`: of the true
                differences; `"fold"`, `"network x fold"`, `"cell x fold"`: of the fold effects; `"run MODEL"`: of the
                runs.
        r_hat: The largest Gelman-Rubin ratio over all true differences; up to 1.01 is good.
    """

    cells: tuple[Probabilities, ...]
    networks: tuple[Probabilities, ...]
    overall: Probabilities
    margin: float
    std: Mapping[str, float]
    r_hat: float


def probabilities(cells: Mapping[tuple[str, NShot], Differences], *, margin: float = 0.02, seed: int = 0) -> Posterior:
    """Samples the posterior distribution of the true differences, by Gibbs sampling.

    `difference[g, n, fold, run] = mean + network[g] + cell[g, n] + fold effect + run effect`, all normal. The fold
    effect is the sum of one for all cells, one for the cells of a network, and one for the single cell, since test
    clips are the same for all. Each has its own standard deviation, and so have the runs of each network.

    A test asks how the data would look without a difference; this asks where the difference is, and so covers
    "equivalent" and "undecided" on one scale. Cells share information: an extreme one is shrunk towards the others,
    which replaces a correction for multiple comparisons. In return the answer depends on priors, especially with few
    folds: the priors assume that folds differ by a few points, whatever three folds show.

    Runs of different networks share their training clips, but their noise is treated as independent, so `overall` is
    slightly overconfident.

    Args:
        cells: (network, n) -> its paired differences.
        margin: Margin of equivalence.
        seed: Seed of the draws.

    Raises:
        ConfigError: If `margin` is out of range.
        DataError: As for `mixed.over_folds`.

    Reference:
        Corani and Benavoli, *Machine Learning* 100, 2015; Benavoli, Corani, Demsar and Zaffalon, *JMLR* 18, 2017, on
        the region of practical equivalence and the hierarchical model; Gelman, *Bayesian Analysis* 1, 2006, and Wand
        et al., *Bayesian Analysis* 6, 2011, on half-t priors and how to draw from them.
    """
    mixed.check_margin(margin)
    names = sorted(cells, key=lambda cell: (cell[0], size_of(cell[1])))
    folded = mixed.checked([cells[name] for name in names])
    design = design_of(names, [list(cell) for cell in folded], [list(map(len, cell.values())) for cell in folded])
    means = np.array([runs.mean() for cell in folded for runs in cell.values()])
    about = np.array([((runs - runs.mean()) ** 2).sum() for cell in folded for runs in cell.values()])
    squares = np.bincount(design.network, about)
    rng = np.random.default_rng(seed)
    true, std = sample(
        design, np.tile(means, (_CHAINS, 1)), np.tile(squares, (_CHAINS, 1)), rng, burn_in=_BURN_IN, kept=_KEPT
    )
    models = [model for model, _ in names]
    networks = list(dict.fromkeys(models))
    of_network = np.stack(
        [true[..., [at for at, one in enumerate(models) if one == model]].mean(axis=-1) for model in networks], axis=-1
    )
    everything = np.concatenate([true, of_network, of_network.mean(axis=-1, keepdims=True)], axis=-1)
    keys = [*names, *((model, None) for model in networks), (None, None)]
    found = [_probabilities(*key, everything[..., at], margin) for at, key in enumerate(keys)]
    std_names = ["network", "n", "fold", "network x fold", "cell x fold", *(f"run {model}" for model in networks)]
    return Posterior(
        cells=tuple(found[: len(names)]),
        networks=tuple(found[len(names) : -1]),
        overall=found[-1],
        margin=float(margin),
        std={
            name: float(np.median(std[..., at]))
            for at, name in enumerate(std_names)
            if len(networks) > 1 or "network" not in name
        },
        r_hat=max(_r_hat(everything[..., at]) for at in range(len(keys))),
    )


# ---- The sampler: any number of chains, each with data of its own --------------------------------------------------


@dataclass(frozen=True)
class Design:
    """The structure of the fold means.

    Attributes:
        network: `(means,)` index of the network of each (cell, fold).
        n_runs: `(means,)` number of runs in each.
        columns: `(means, 1 + parts)`: the mean, then an indicator for each network, cell, fold and (network, fold).
        group: `(parts,)` index of a part's standard deviation, 0 to 3.
        cell_of: `(cells, 1 + parts)`: the parts that add up to the true difference of each cell.
        run_dof: `(networks,)` degrees of freedom of the runs within their folds.
    """

    network: IntArray
    n_runs: IntArray
    columns: FloatArray
    group: IntArray
    cell_of: FloatArray
    run_dof: IntArray


def design_of(
    cells: Sequence[tuple[str, NShot]], folds: Sequence[Sequence[int]], n_runs: Sequence[Sequence[int]]
) -> Design:
    """The design of a study: its cells, the folds of each, and the runs in each of these."""
    networks = sorted({model for model, _ in cells})
    means = [(at, fold) for at, of_cell in enumerate(folds) for fold in of_cell]
    network = np.array([networks.index(cells[at][0]) for at, _ in means])
    of_cell = np.array([networks.index(model) for model, _ in cells])
    fold = np.unique([fold for _, fold in means], return_inverse=True)[1]
    cell = np.array([at for at, _ in means])
    runs = np.array([number for of in n_runs for number in of])
    # A single network has no variation between networks, and no effect shared by only its cells.
    several = len(networks) > 1
    blocks = [
        _indicators(network)[:, : len(networks) * several],
        _indicators(cell),
        _indicators(fold),
        _indicators(network * (fold.max() + 1) + fold)[:, : None if several else 0],
    ]
    none = np.zeros((len(cells), sum(block.shape[1] for block in blocks[2:])))
    one = np.ones((len(cells), 1))
    return Design(
        network=network,
        n_runs=runs,
        columns=np.concatenate([np.ones((len(means), 1)), *blocks], axis=1),
        group=np.repeat(np.arange(4), [block.shape[1] for block in blocks]),
        cell_of=np.concatenate([one, _indicators(of_cell)[:, : blocks[0].shape[1]], np.eye(len(cells)), none], axis=1),
        run_dof=np.bincount(network, runs - 1).astype(np.int64),
    )


def sample(
    design: Design, means: FloatArray, squares: FloatArray, rng: np.random.Generator, *, burn_in: int, kept: int
) -> tuple[FloatArray, FloatArray]:
    """Gibbs sampling. All means are drawn together, given the variances; then each variance, given the means.

    Args:
        design: See `Design`.
        means: `(chains, means)` means of the runs of every (cell, fold).
        squares: `(chains, networks)` sums of squares of the runs around these means.
        rng: Random generator.
        burn_in, kept: Number of discarded and of returned draws.

    Returns:
        True differences `(chains, kept, cells)`; standard deviations `(chains, kept, 5 + networks)`: between networks,
        between n, of folds, of (network, fold), of (cell, fold), then of the runs of each network.
    """
    n_chains, n_networks = squares.shape
    columns, of_network = design.columns, _indicators(design.network)
    n_levels = np.concatenate(
        [np.bincount(design.group, minlength=4), [len(design.network)], design.run_dof + of_network.sum(axis=0)]
    )
    scale = np.repeat([PRIOR_SCALE, PRIOR_RUN_SCALE], [5, n_networks])
    # A half-t is a mixture of inverse gammas.
    variance = scale**2 * np.exp(rng.normal(size=(n_chains, 5 + n_networks)))
    mixture = scale**2 * np.ones_like(variance)
    precision_of = _precision(columns, n_chains)
    true = np.empty((n_chains, kept, len(design.cell_of)))
    std = np.empty((n_chains, kept, variance.shape[1]))
    for at in range(-burn_in, kept):
        of_runs = variance[:, 5:][:, design.network] / design.n_runs
        noise = variance[:, 4:5] + of_runs
        precision = precision_of(noise)
        diagonal = np.einsum("cii->ci", precision)
        diagonal[:, 0] += PRIOR_MEAN_STD**-2
        diagonal[:, 1:] += 1 / variance[:, design.group]
        normal = rng.normal(size=(n_chains, columns.shape[1], 1))
        right = ((means / noise) @ columns)[..., np.newaxis] + np.linalg.cholesky(precision) @ normal
        parts = np.linalg.solve(precision, right)[..., 0]
        residual = means - parts @ columns.T
        own = residual * variance[:, 4:5] / noise
        own += np.sqrt(variance[:, 4:5] * of_runs / noise) * rng.normal(size=own.shape)
        sums = np.concatenate(
            [
                np.stack([(parts[:, 1:][:, design.group == group] ** 2).sum(axis=1) for group in range(4)], axis=1),
                (own**2).sum(axis=1, keepdims=True),
                squares + (design.n_runs * (residual - own) ** 2) @ of_network,
            ],
            axis=1,
        )
        variance = (PRIOR_DOF / mixture + sums / 2) / rng.standard_gamma((PRIOR_DOF + n_levels) / 2, variance.shape)
        variance = np.maximum(variance, _LEAST_STD**2)
        mixture = (PRIOR_DOF / variance + scale**-2) / rng.standard_gamma((PRIOR_DOF + 1) / 2, variance.shape)
        if at >= 0:
            true[:, at] = parts @ design.cell_of.T
            std[:, at] = np.sqrt(variance)
    return true, std


def _precision(columns: FloatArray, n_chains: int) -> Callable[[FloatArray], FloatArray]:
    """Computes `columns.T @ diag(1 / noise) @ columns` for every chain, using only the non-zero columns.

    With four networks, seven n and ten folds this is a fiftieth of the products.
    """
    n_means, width = columns.shape
    own = np.nonzero(columns)[1].reshape(n_means, -1)  # every mean has the same number of parts
    square = (own[:, :, np.newaxis] * width + own[:, np.newaxis]).reshape(n_means, -1)
    place = (np.arange(n_chains)[:, np.newaxis, np.newaxis] * width**2 + square).ravel()

    def precision(noise: FloatArray) -> FloatArray:
        weights = np.repeat(1 / noise, square.shape[1])
        added = np.bincount(place, weights, n_chains * width**2)
        return np.asarray(added.reshape(n_chains, width, width), np.float64)

    return precision


def _indicators(codes: npt.NDArray[Any]) -> FloatArray:
    """`(values, levels)`: 1 if the value has the level; unused levels have no column."""
    levels = np.unique(codes)
    return np.asarray(codes[:, np.newaxis] == levels, np.float64)


def _probabilities(model: str | None, n_shot: NShot | None, draws: FloatArray, margin: float) -> Probabilities:
    low, high = np.quantile(draws, [0.025, 0.975])
    worse, better = float((draws < -margin).mean()), float((draws > margin).mean())
    return Probabilities(
        *(model, n_shot),
        worse=worse,
        equivalent=max(1 - worse - better, 0.0),
        better=better,
        mean=float(draws.mean()),
        low=float(low),
        high=float(high),
    )


def _r_hat(draws: FloatArray) -> float:
    """The Gelman-Rubin ratio of chains split in halves."""
    halves = draws.reshape(2 * len(draws), -1)
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    return math.sqrt(1 - 1 / halves.shape[1] + between / within)
