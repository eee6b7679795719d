"""The section on probabilities of worse, equivalent or better, next to the intervals used for the verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loglearn_tf.analysis import bayes
from loglearn_tf.analysis.contrasts import differences
from loglearn_tf.analysis.mixed import over_folds, pooled
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.report.document import Block, Grid, Paragraph
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.part import Finished, Part
from loglearn_tf.analysis.report.table import Cell, Table, points, points_interval
from loglearn_tf.analysis.results import FloatArray
from loglearn_tf.datasets.n_shot import NShot, in_order

_ASSUMED = (
    "The probability that the true difference is worse (below minus the margin), equivalent (within it) or better "
    "(above it), given these runs and the model: differences of all networks and n are normally distributed around a "
    "common mean, and so are those of folds and of runs, each with its own spread. The prior for the common mean is "
    "0 ± {mean:g} points; spreads of about {scale:g} points, and {run:g} for runs, are typical. Cells with few runs "
    "are shrunk towards the others, which replaces a correction for multiple comparisons. No verdict uses these "
    "probabilities."
)
_BASELINE = "logeps"  # not named in labels
# Value of R-hat above which sampling has not converged.
_UNSETTLED = 1.05
_COLUMNS = (
    *("data", "dataset", "model", "compression", "baseline", "n_shot", "n_averaged", "folds", "n_pairs"),
    *("worse_percent", "equivalent_percent", "better_percent", "expected_points", "low_probable_points"),
    *("high_probable_points", "difference_points", "low_points", "high_points", "low_mixed_points"),
    *("high_mixed_points", "margin_points", "r_hat"),
)

Folds = Mapping[int, FloatArray]


@dataclass(frozen=True)
class _Line:
    """One true difference: of a cell, a network, or all networks (no model)."""

    model: str | None
    n_shot: Any
    found: bayes.Probabilities
    cells: Sequence[Folds]


def make(finished: Finished) -> Part | None:
    """The section; `None` if nothing is compared."""
    pairs = {(one.dataset, one.compression, one.baseline) for one in finished.comparisons}
    if not pairs:
        return None
    blocks: list[Block] = [
        Paragraph(
            _ASSUMED.format(
                mean=100 * bayes.PRIOR_MEAN_STD, scale=100 * bayes.PRIOR_SCALE, run=100 * bayes.PRIOR_RUN_SCALE
            )
        )
    ]
    for dataset in datasets_in_order(finished.rows):
        ours = {(compression, baseline) for name, compression, baseline in pairs if name == dataset}
        blocks += _of_data_set(finished, dataset, ours)
    return Part("probabilities", "Probabilities", blocks)


def _of_data_set(finished: Finished, dataset: str, pairs: set[tuple[str, str]]) -> list[Block]:
    order = compressions_in_order(name for pair in pairs for name in pair)
    rows = [row for row in finished.done if row["dataset"] == dataset]
    labels = {"data": "synthetic" if any(row["synthetic"] for row in rows) else "real", "dataset": dataset}
    body, records, by_n, notes = [], [], [], []
    for compression, baseline in sorted(pairs, key=lambda pair: (order.index(pair[1]), order.index(pair[0]))):
        what = compression_name(compression)
        if baseline != _BASELINE:
            what += f" minus {compression_name(baseline)}"
        found = differences(rows, compression=compression, baseline=baseline)
        cells = {(model, n): folds for (_, model), of_n in found.items() for n, folds in of_n.items()}
        used = {key: folds for key, folds in cells.items() if len(folds) > 1}
        if not used:
            notes.append(f"{what}: all pairs are from one fold, which does not show how much folds vary.")
            continue
        if len(used) < len(cells):
            notes.append(f"{what}: {len(cells) - len(used)} of {len(cells)} cells have one fold and are not included.")
        lines, r_hat = _lines(used, finished)
        if r_hat > _UNSETTLED:
            notes.append(f"{what}: sampling has not converged (R-hat {r_hat:.2f}); the numbers are approximate.")
        for line in lines:
            record = _record(line, finished)
            names = {**labels, "compression": compression, "baseline": baseline, "r_hat": round(r_hat, 4)}
            records.append({**names, **record})
            if line.n_shot is None:
                body.append((_names(line, what), _cells(line, record)))
            else:
                by_n.append((*_names(line, what), str(line.n_shot), *_shares(line), points(line.found.mean)))
    if not body:
        return [
            Paragraph(f"{dataset_name(dataset)}: too few data for probabilities. {remark}")
            for remark in notes or ["No pair of runs has finished."]
        ]
    name = dataset_name(dataset) + " (SYNTHETIC DATA)" * (labels["data"] == "synthetic")
    margin = f"{100 * finished.margin:g}"
    table = Table(
        caption=f"{name}: probability in percent that the {finished.score} accuracy minus that of log-EPS, averaged "
        f"over n, is below −{margin} points (worse), within ±{margin} (equivalent), above (better)",
        head=(
            *("Network", "Compression"),
            *("Worse", "Equivalent", "Better", "Expected", "t over folds", "Mixed model"),
        ),
        body=tuple(_by_network(body)),
        notes=(
            "Expected: by the model; below it, its 95 % credible interval.",
            f"t over folds, mixed model: the mean with its {100 * finished.confidence:g} % interval, "
            "which uses no other networks; every n has the same weight. Without a second run in any fold "
            "there is no mixed model.",
            *notes,
        ),
        columns=_COLUMNS,
        records=tuple(records),
        stem=file_stem(dataset, "table", "probabilities"),
    )
    head = ("Network", "Compression", "n", "Worse", "Equivalent", "Better", "Expected")
    return [table, Grid(head, tuple(by_n), f"{dataset_name(dataset)}: probabilities by n", n_names=2)]


def _lines(cells: Mapping[tuple[str, Any], Folds], finished: Finished) -> tuple[list[_Line], float]:
    """Rows of networks and of all, then rows of cells; and R-hat."""
    models = models_in_order(model for model, _ in cells)
    shots = in_order(n for _, n in cells)
    # By index: the names of n are irrelevant.
    numbered: dict[tuple[str, NShot], Folds] = {
        (model, shots.index(n)): dict(folds) for (model, n), folds in cells.items()
    }
    posterior = bayes.probabilities(numbered, margin=finished.margin, seed=finished.seed)
    of_network = {found.model: found for found in posterior.networks}
    lines = [
        _Line(model, None, of_network[model], [folds for key, folds in cells.items() if key[0] == model])
        for model in models
    ]
    if len(models) > 1:
        lines.append(_Line(None, None, posterior.overall, list(cells.values())))
    of_cell = {(found.model, found.n_shot): found for found in posterior.cells}
    lines += [
        _Line(model, n, of_cell[model, at], [cells[model, n]])
        for model in models
        for at, n in enumerate(shots)
        if (model, at) in of_cell
    ]
    return lines, posterior.r_hat


def _record(line: _Line, finished: Finished) -> dict[str, Any]:
    folds = over_folds(*line.cells)
    low, high = folds.interval(finished.confidence)
    repeated = all(any(len(runs) > 1 for runs in cell.values()) for cell in line.cells)
    low_mixed, high_mixed = pooled(*line.cells).interval(finished.confidence) if repeated else (None, None)
    in_points = {
        **{"expected": line.found.mean, "low_probable": line.found.low, "high_probable": line.found.high},
        **{"difference": folds.mean, "low": low, "high": high, "low_mixed": low_mixed, "high_mixed": high_mixed},
        "margin": finished.margin,
    }
    return {
        "model": line.model,
        "n_shot": line.n_shot,
        "n_averaged": len(line.cells),
        "folds": " ".join(map(str, sorted({fold for cell in line.cells for fold in cell}))),
        "n_pairs": sum(len(runs) for cell in line.cells for runs in cell.values()),
        **{f"{name}_percent": _percent(getattr(line.found, name)) for name in ("worse", "equivalent", "better")},
        **{f"{name}_points": _percent(value) for name, value in in_points.items()},
    }


def _cells(line: _Line, record: Mapping[str, Any]) -> tuple[Cell, ...]:
    probable = points_interval(line.found.low, line.found.high)
    difference = points(record["difference_points"] / 100)
    by_folds, by_mixed = (
        "" if record[low] is None else points_interval(record[low] / 100, record[high] / 100)
        for low, high in (("low_points", "high_points"), ("low_mixed_points", "high_mixed_points"))
    )
    return (
        *map(Cell, _shares(line)),
        Cell(points(line.found.mean), interval=probable),
        Cell(difference, interval=by_folds),
        Cell(difference if by_mixed else "", interval=by_mixed),
    )


def _names(line: _Line, what: str) -> tuple[str, str]:
    return ("all networks" if line.model is None else model_name(line.model)), what


def _shares(line: _Line) -> tuple[str, ...]:
    return tuple(_share(getattr(line.found, name)) for name in ("worse", "equivalent", "better"))


def _share(probability: float) -> str:
    """Percent as text; draws cannot distinguish 0 and 100 from nearby values."""
    if probability < 0.005:
        return "< 1"
    return "> 99" if probability > 0.995 else f"{100 * probability:.0f}"


def _by_network(body: list[tuple[tuple[str, str], tuple[Cell, ...]]]) -> list[tuple[tuple[str, str], tuple[Cell, ...]]]:
    """Groups rows by network, in the order of the networks."""
    order = list(dict.fromkeys(names[0] for names, _ in body))
    return sorted(body, key=lambda row: order.index(row[0][0]))


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)
