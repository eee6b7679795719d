"""The section on learning curves: training loss and accuracy, epoch by epoch."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loglearn_tf._util.text import first_few
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.report.document import Block, Bullets
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.figures import in_style, look_of
from loglearn_tf.analysis.report.part import Drawing, Finished, Part
from loglearn_tf.analysis.results import FloatArray, IntArray
from loglearn_tf.datasets.n_shot import in_order
from loglearn_tf.errors import DataError
from loglearn_tf.study.run_folder import Row, folder_of

# Columns of history.csv -> their names in the report; studies with validation have validation columns.
MEASURES = {
    "loss": "loss",
    "accuracy": "accuracy (%)",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy (%)",
}
# Quantiles of the band.
LOW, HIGH = 0.1, 0.9
# More points per line would not be visible and would double the page; the CSV file has every epoch.
_DRAWN_EPOCHS = 60
_COLUMNS = (
    *("data", "dataset", "model", "compression", "n_shot", "measure", "epoch", "n_runs", "n_training"),
    *("mean", "low", "high"),
)


@dataclass(frozen=True)
class History:
    """The learning curves in `history.csv` of one run.

    Attributes:
        epochs: `(n,)`, rising.
        values: Measure -> `(n,)`, NaN where missing.
    """

    epochs: FloatArray
    values: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Curve:
    """A measure, summarised over the runs of one cell.

    Attributes:
        epochs, mean, low, high: `(n,)`: mean and quantiles over runs.
        n_training: `(n,)` number of runs that reach the epoch; the others count with their last value.
        n_runs: Number of runs with the measure.
    """

    epochs: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n_training: IntArray
    n_runs: int


def make(finished: Finished) -> Part | None:
    """The section; `None` if no run has finished."""
    if not finished.done:
        return None
    blocks: list[Block | Drawing] = []
    for dataset in datasets_in_order(finished.done):
        rows = [row for row in finished.done if row["dataset"] == dataset]
        histories, remarks = _read(finished, rows)
        for model in models_in_order(key[0] for key in histories):
            ours = {key[1:]: runs for key, runs in histories.items() if key[0] == model}
            blocks.append(_draw(dataset, model, ours, synthetic=any(row["synthetic"] for row in rows)))
        if remarks:
            blocks.append(Bullets(tuple(f"{dataset_name(dataset)}: {remark}" for remark in remarks)))
    return Part("learning", "Learning curves", blocks)


def _read(finished: Finished, rows: Sequence[Row]) -> tuple[dict[tuple[str, str, Any], list[History]], list[str]]:
    found: dict[tuple[str, str, Any], list[History]] = {}
    n_missing, broken = 0, []
    for row in rows:
        path = finished.study_dir / folder_of(row) / "history.csv"
        if not path.is_file():
            n_missing += 1
            continue
        try:
            history = read_history(path)
        except DataError as error:
            broken.append(str(error))
            continue
        if history.values:
            found.setdefault((row["model"], row["compression"], row["n_shot"]), []).append(history)
    remarks = []
    if not found:
        remarks.append("no finished run has a history of its loss, so there are no learning curves.")
    elif n_missing:
        remarks.append(f"{n_missing:,} of {len(rows):,} finished runs have no history.csv.")
    if broken:
        remarks.append(f"{len(broken):,} histories are not included: {' '.join(first_few(broken, most=1))}")
    return found, remarks


def read_history(path: Path) -> History:
    """Reads `history.csv` of a run, without missing or empty columns.

    Raises:
        DataError: If it is not in the form written by a run.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *body = csv.reader(file, strict=True)
        if not body:
            raise ValueError("it is empty")
        numbers = np.array([[float(cell or "nan") for cell in line] for line in body], np.float64)
        epochs = numbers[:, head.index("epoch")]
        if not (np.diff(epochs) > 0).all():
            raise ValueError("its epochs do not increase")
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"Cannot read the history {path}: {error}. Remove the run's folder; the run is then repeated."
        ) from error
    values = {name: numbers[:, head.index(name)] for name in MEASURES if name in head}
    return History(epochs, {name: of for name, of in values.items() if np.isfinite(of).any()})


def curve_of(runs: Sequence[History], measure: str) -> Curve | None:
    """Mean and band over the runs that have a measure; `None` if none has.

    A run keeps its last value between measured epochs, and after an early end.
    """
    with_it = [run for run in runs if measure in run.values]
    if not with_it:
        return None
    epochs = np.unique(np.concatenate([run.epochs for run in with_it]))
    table = np.full((len(with_it), len(epochs)), np.nan)
    for line, run in zip(table, with_it, strict=True):
        known = np.isfinite(run.values[measure])
        at = np.searchsorted(run.epochs[known], epochs, side="right") - 1
        line[at >= 0] = run.values[measure][known][at[at >= 0]]
    there = np.isfinite(table).any(axis=0)
    epochs, table = epochs[there], table[:, there]
    low, high = np.nanquantile(table, [LOW, HIGH], axis=0)
    n_training = np.array([sum(run.epochs[-1] >= epoch for run in with_it) for epoch in epochs])
    return Curve(epochs, np.nanmean(table, axis=0), low, high, n_training, len(with_it))


def _draw(
    dataset: str, model: str, histories: Mapping[tuple[str, Any], Sequence[History]], *, synthetic: bool
) -> Drawing:
    curves = {
        (measure, *key): curve
        for measure in MEASURES
        for key, runs in histories.items()
        if (curve := curve_of(runs, measure)) is not None
    }
    early = sum(run.epochs[-1] < max(one.epochs[-1] for one in runs) for runs in histories.values() for run in runs)
    n_runs = sum(map(len, histories.values()))
    caption = (
        f"{dataset_name(dataset)}{' (SYNTHETIC DATA)' * synthetic}, {model_name(model)}: loss and accuracy on the "
        f"training patches at the end of each epoch, mean of the {n_runs:,} runs; band: {100 * LOW:g} % to "
        f"{100 * HIGH:g} % quantile of the runs. The loss has a logarithmic axis."
    )
    if any(measure.startswith("val_") for measure, *_ in curves):
        caption += " Validation uses clips that are not used for training."
    if early:
        caption += f" {early:,} run{' that' if early == 1 else 's that'} ended earlier than others of its cell " + (
            "keeps its last value." if early == 1 else "keep their last value."
        )
    records = tuple(
        {
            "data": "synthetic" if synthetic else "real",
            **{"dataset": dataset, "model": model, "compression": compression, "n_shot": n_shot, "measure": measure},
            **{"epoch": int(epoch), "n_runs": curve.n_runs, "n_training": int(training)},
            **{name: float(f"{value:.6g}") for name, value in (("mean", mean), ("low", low), ("high", high))},
        }
        for (measure, compression, n_shot), curve in curves.items()
        for epoch, training, mean, low, high in zip(
            curve.epochs, curve.n_training, curve.mean, curve.low, curve.high, strict=True
        )
    )
    return Drawing(file_stem(dataset, model, "learning"), draw_curves(curves), caption, _COLUMNS, records)


@in_style
def draw_curves(curves: Mapping[tuple[str, str, Any], Curve]) -> Figure:
    """One row of panels per measure, one column per n, one line with a band per compression.

    Args:
        curves: (measure, compression, n) -> curve.
    """
    measures = [name for name in MEASURES if any(key[0] == name for key in curves)]
    compressions = compressions_in_order(key[1] for key in curves)
    shots = in_order(key[2] for key in curves)
    figure = Figure(figsize=(max(4.2, 0.7 + 1.9 * len(shots)), 0.5 + 1.9 * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), len(shots), squeeze=False, sharex=True, sharey="row")
    for line, measure in zip(grid, measures, strict=True):
        factor = 100.0 if measure.endswith("accuracy") else 1.0
        for panel, n_shot in zip(line, shots, strict=True):
            for compression in compressions:
                curve = curves.get((measure, compression, n_shot))
                if curve is None:
                    continue
                shown = np.unique(np.linspace(0, len(curve.epochs) - 1, _DRAWN_EPOCHS).round().astype(int))
                look = look_of(compression, compressions)
                epochs = curve.epochs[shown]
                band = (factor * curve.low[shown], factor * curve.high[shown])
                panel.fill_between(epochs, *band, color=look["color"], alpha=0.15, linewidth=0, zorder=2)
                # Three markers, for greyscale print.
                marks = sorted({0, len(shown) // 2, len(shown) - 1})
                style = {"label": compression_name(compression), "markevery": marks, "markersize": 4.5, **look}
                panel.plot(epochs, factor * curve.mean[shown], linewidth=1.5, zorder=3, **style)
        if measure.endswith("loss"):
            if all((curve.low > 0).all() for key, curve in curves.items() if key[0] == measure):
                line[0].set_yscale("log")
                line[0].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                line[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                line[0].yaxis.set_minor_formatter(NullFormatter())
        else:
            line[0].set_ylim(0, 100)
        line[0].set_ylabel(MEASURES[measure])
    for panel, n_shot in zip(grid[0], shots, strict=True):
        panel.set_title(f"n = {n_shot}")
    for panel in grid[-1]:
        panel.set_xlabel("epoch")
    labelled = {
        label: handle for panel in grid.flat for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    columns = max(2, min(len(labelled), len(shots) + 1))
    figure.legend(labelled.values(), labelled.keys(), loc="outside upper left", ncols=columns)
    return figure
