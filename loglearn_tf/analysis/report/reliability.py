"""The section on the networks' probabilities: likelihood, Brier score and calibration, by both scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from loglearn_tf._util.text import first_few
from loglearn_tf.analysis.answers import PREDICTIONS
from loglearn_tf.analysis.calibration import (
    BINS,
    Reliability,
    brier_scores,
    largest_zero,
    n_zero,
    negative_log_likelihood,
    read_predictions,
)
from loglearn_tf.analysis.mixed import over_folds
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.report.document import Block, Bullets, Grid, Paragraph
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.figures import in_style, panels_of
from loglearn_tf.analysis.report.part import Drawing, Finished, Part, by_folds, mean_by_folds
from loglearn_tf.analysis.report.table import Cell, Table
from loglearn_tf.datasets.n_shot import in_order
from loglearn_tf.errors import DataError
from loglearn_tf.study.run_folder import Row, decimals_of, folder_of

_BASELINE = "logeps"
# Bins with fewer clips are not drawn: their share is meaningless.
_FEWEST_DRAWN = 10
_EXPLAINED = (
    "Accuracy counts correct classes; these scores measure the predicted probabilities. Negative log-likelihood (NLL): "
    "minus the natural logarithm of the probability of the clip's true class, in nats; uniform guessing among ten "
    "classes gives 2.30. Brier score: squared differences from the truth, summed over classes, 0 to 2. Both are means "
    f"over clips, runs, then folds. Expected calibration error (ECE): |share correct − confidence| over {BINS} bins of "
    "equal width, over all test clips of all runs. Lower is better for all three."
)
_COLUMNS = (
    *("data", "dataset", "model", "compression", "n_shot", "score", "n_runs", "folds", "nll_nats", "brier"),
    *("ece_percent", "overconfidence_percent", "n_predictions", "n_zero", "baseline", "n_pairs"),
    *("nll_difference_nats", "low_nats", "high_nats", "interval_over"),
)
_FIGURE_COLUMNS = (
    *("dataset", "model", "compression", "n_shot", "score", "bin_low", "bin_high", "n_clips"),
    *("mean_confidence", "share_right"),
)
# Model, compression, n, score.
_Key = tuple[str, str, Any, str]


@dataclass
class _Measured:
    """The scores of the runs of one cell, by (fold, run)."""

    nll: dict[tuple[int, int], float] = field(default_factory=dict)
    brier: dict[tuple[int, int], float] = field(default_factory=dict)
    bins: Reliability = field(default_factory=Reliability)
    n_zero: int = 0


def make(finished: Finished) -> Part | None:
    """The section; `None` if no run has finished."""
    if not finished.done:
        return None
    blocks: list[Block | Drawing] = [Paragraph(_EXPLAINED)]
    for dataset in datasets_in_order(finished.done):
        blocks += _of_data_set(finished, dataset)
    return Part("calibration", "Quality of the probabilities", blocks)


def _of_data_set(finished: Finished, dataset: str) -> list[Block | Drawing]:
    rows = [row for row in finished.all_rows if row["dataset"] == dataset and row["status"] == "done"]
    measured, remarks = _measure(finished, rows)
    remarks = [f"{dataset_name(dataset)}: {remark}" for remark in remarks]
    if not measured:
        reason = (
            f"{dataset_name(dataset)}: no finished run has predictions, so their probabilities cannot be evaluated."
        )
        return [Paragraph(reason), *([Bullets(tuple(remarks))] if remarks else [])]
    records = [_record(finished, dataset, rows, measured, key) for key in _in_order(finished, measured)]
    table = _table(finished, dataset, measured, records)
    drawn = [_draw(finished, dataset, model, measured) for model in models_in_order(key[0] for key in measured)]
    found: list[Block | Drawing] = [table, _all_numbers(dataset, records)]
    return [*found, *([Bullets(tuple(remarks))] if remarks else []), *drawn]


def _measure(finished: Finished, rows: list[Row]) -> tuple[dict[_Key, _Measured], list[str]]:
    measured: dict[_Key, _Measured] = {}
    missing: dict[str, int] = {}
    broken: list[str] = []
    decimals = {decimals_of(row) for row in rows}
    # All by the fewest: else what an archive has rounded to 0 would cost less than the same in a run beside it.
    fewest = min(decimals)
    for row in rows:
        for score, name in PREDICTIONS.items():
            path = finished.study_dir / folder_of(row) / name
            if not path.is_file():
                missing[score] = missing.get(score, 0) + 1
                continue
            try:
                found = replace(read_predictions(path, decimals=decimals_of(row)), decimals=fewest)
            except DataError as error:
                broken.append(str(error))
                continue
            cell = measured.setdefault((row["model"], row["compression"], row["n_shot"], score), _Measured())
            at = row["fold"], row["run"]
            cell.nll[at] = float(negative_log_likelihood(found).mean())
            cell.brier[at] = float(brier_scores(found).mean())
            cell.n_zero += n_zero(found)
            cell.bins.add(found)
    remarks = [
        f"{n:,} of {len(rows):,} finished runs have no {score} predictions"
        + (", since earlier versions wrote none." if score == "settled" else ".")
        for score, n in missing.items()
    ]
    if broken:
        remarks.append(f"{len(broken):,} tables of predictions are not included: {' '.join(first_few(broken, most=1))}")
    zeros, clips = sum(cell.n_zero for cell in measured.values()), sum(cell.bins.n.sum() for cell in measured.values())
    if zeros:
        floor = largest_zero(fewest)
        alike = f", or would be with {_of(fewest)}, as in runs from an archive" if len(decimals) > 1 else ""
        remarks.append(
            f"In {zeros:,} of {clips:,.0f} predictions the probability of the true class is stored as 0{alike}. With "
            f"{_of(fewest)}, the upper limit {floor:.{fewest + 1}f} is used instead: the true NLL of these is at least "
            f"{-np.log(floor):.1f} nats."
        )
    return measured, remarks


def _of(decimals: int) -> str:
    return f"{decimals} decimal{'' if decimals == 1 else 's'}"


def _in_order(finished: Finished, measured: Mapping[_Key, _Measured]) -> Iterator[_Key]:
    """By network, compression, score (the report's first), n."""
    models = models_in_order(key[0] for key in measured)
    compressions = compressions_in_order(key[1] for key in measured)
    shots = in_order(key[2] for key in measured)
    for model in models:
        for compression in compressions:
            for score in (finished.score, finished.other_score):
                for n in shots:
                    if (model, compression, n, score) in measured:
                        yield model, compression, n, score


def _record(
    finished: Finished, dataset: str, rows: list[Row], measured: Mapping[_Key, _Measured], key: _Key
) -> dict[str, Any]:
    model, compression, n_shot, score = key
    cell = measured[key]
    record = {
        "data": "synthetic" if any(row["synthetic"] for row in rows) else "real",
        **{"dataset": dataset, "model": model, "compression": compression, "n_shot": n_shot, "score": score},
        "n_runs": len(cell.nll),
        "folds": " ".join(map(str, by_folds(cell.nll))),
        "nll_nats": round(mean_by_folds(cell.nll), 6),
        "brier": round(mean_by_folds(cell.brier), 6),
        "ece_percent": round(100 * cell.bins.error, 4),
        "overconfidence_percent": round(100 * cell.bins.overconfidence, 4),
        "n_predictions": int(cell.bins.n.sum()),
        "n_zero": cell.n_zero,
    }
    theirs = measured.get((model, _BASELINE, n_shot, score))
    if compression != _BASELINE and theirs is not None and (pairs := cell.nll.keys() & theirs.nll.keys()):
        folds = by_folds({at: cell.nll[at] - theirs.nll[at] for at in pairs})
        low, high, over = _interval(folds, finished.confidence)
        record |= {
            **{"baseline": _BASELINE, "n_pairs": len(pairs)},
            "nll_difference_nats": round(float(np.mean([np.mean(runs) for runs in folds.values()])), 6),
            **{"low_nats": low, "high_nats": high, "interval_over": over},
        }
    return record


def _interval(folds: dict[int, list[float]], confidence: float) -> tuple[float | None, float | None, str]:
    """Interval by Student's t over folds, or over the runs of a single fold."""
    # With a single fold, runs take the place of folds.
    units: dict[int, list[float]] = folds
    if len(folds) == 1:
        units = {at: [value] for at, value in enumerate(next(iter(folds.values())))}
    if len(units) < 2:
        return None, None, ""
    low, high = over_folds(units).interval(confidence)
    if low is None or high is None:
        return None, None, ""
    return round(low, 6), round(high, 6), "folds" if len(folds) > 1 else "runs of one fold"


def _table(
    finished: Finished, dataset: str, measured: Mapping[_Key, _Measured], records: list[dict[str, Any]]
) -> Table:
    shots = in_order(key[2] for key in measured)
    by_key = {tuple(one[name] for name in ("model", "compression", "n_shot", "score")): one for one in records}
    lines = dict.fromkeys((model, compression, score) for model, compression, _, score in by_key)
    body = tuple(
        (
            (model_name(model), compression_name(compression), score),
            tuple(_cell(by_key.get((model, compression, n, score))) for n in shots),
        )
        for model, compression, score in lines
    )
    synthetic = records[0]["data"] == "synthetic"
    notes = []
    if any("nll_difference_nats" in one for one in records):
        notes.append("Below each number: the difference from log-EPS in the same runs; negative is better.")
        notes.append(
            f"It is followed by its {100 * finished.confidence:g} % interval by Student's t over folds, uncorrected."
            if any(one.get("low_nats") is not None for one in records)
            else "No intervals: each cell has only one pair of runs, or nothing varied."
        )
    else:
        notes.append("No pair of runs with log-EPS, so no differences.")
    if any(one.get("interval_over") == "runs of one fold" for one in records):
        notes.append("With a single fold, intervals are over its runs and say nothing about other folds.")
    return Table(
        caption=f"{dataset_name(dataset)}{' (SYNTHETIC DATA)' * synthetic}: negative log-likelihood in nats, by both "
        "scores",
        head=("Network", "Compression", "Score", *(f"n = {n}" for n in shots)),
        body=body,
        notes=tuple(notes),
        columns=_COLUMNS,
        records=tuple(records),
        stem=file_stem(dataset, "table", "calibration"),
    )


def _cell(record: Mapping[str, Any] | None) -> Cell:
    if record is None:
        return Cell()
    below = ""
    if record.get("nll_difference_nats") is not None:
        below = _signed(record["nll_difference_nats"])
        if record["low_nats"] is not None:
            below += f": {_signed(record['low_nats'])} to {_signed(record['high_nats'])}"
    return Cell(f"{record['nll_nats']:.2f}", interval=below)


def _signed(value: float) -> str:
    rounded = round(value, 2)
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "0.00"


def _all_numbers(dataset: str, records: list[dict[str, Any]]) -> Grid:
    head = ("Network", "Compression", "n", "Score", "Runs", "NLL", "Brier", "ECE (%)", "Confidence − accuracy (%)")
    body = tuple(
        (
            model_name(one["model"]),
            compression_name(one["compression"]),
            str(one["n_shot"]),
            one["score"],
            f"{one['n_runs']:,}",
            f"{one['nll_nats']:.3f}",
            f"{one['brier']:.3f}",
            f"{one['ece_percent']:.1f}",
            f"{one['overconfidence_percent']:+.1f}".replace("-", "−"),
        )
        for one in records
    )
    return Grid(head, body, f"{dataset_name(dataset)}: NLL, Brier score and calibration of every cell", n_names=4)


# ---- The figure --------------------------------------------------------------------------------------------------


def _draw(finished: Finished, dataset: str, model: str, measured: Mapping[_Key, _Measured]) -> Drawing:
    ours = {key: cell.bins for key, cell in measured.items() if key[0] == model}
    scores = {key[3] for key in ours}
    score = finished.score if finished.score in scores else finished.other_score
    shots = in_order(key[2] for key in ours if key[3] == score)
    shown = shots if len(shots) < 2 else [shots[0], shots[-1]]
    panels = {
        compression: {n: ours[model, compression, n, score] for n in shown if (model, compression, n, score) in ours}
        for compression in compressions_in_order(key[1] for key in ours if key[3] == score)
    }
    name = dataset_name(dataset)
    n_text = f"n = {shown[0]}" if len(shown) == 1 else f"the smallest and the largest n, {shown[0]} and {shown[-1]}"
    caption = (
        f"{name}, {model_name(model)}: reliability by the {score} score, {n_text}: share of correct clips "
        f"against the probability of the predicted class, in {BINS} bins; bins with fewer than {_FEWEST_DRAWN} clips "
        "are not drawn. On the diagonal, probabilities are calibrated; below it, networks are overconfident."
    )
    records = tuple(
        {
            **{"dataset": dataset, "model": model, "compression": key[1], "n_shot": key[2], "score": key[3]},
            **{"bin_low": round(at / BINS, 6), "bin_high": round((at + 1) / BINS, 6), "n_clips": int(bins.n[at])},
            "mean_confidence": round(float(bins.confidence[at] / bins.n[at]), 6) if bins.n[at] else None,
            "share_right": round(float(bins.correct[at] / bins.n[at]), 6) if bins.n[at] else None,
        }
        for key in _in_order(finished, {key: measured[key] for key in ours})
        for bins in [ours[key]]
        for at in range(BINS)
    )
    figure = draw_reliability(panels)
    return Drawing(file_stem(dataset, model, "reliability"), figure, caption, _FIGURE_COLUMNS, records)


@in_style
def draw_reliability(panels: Mapping[str, Mapping[Any, Reliability]]) -> Figure:
    """Share correct against confidence, one panel per compression, one line per n.

    Args:
        panels: Compression -> one n or two -> bins.
    """
    figure, axes = panels_of(len(panels), width=2.45, height=2.6)
    shots = in_order(n for lines in panels.values() for n in lines)
    # At most two, distinguished by marker and shade.
    looks: list[dict[str, Any]] = [
        {"color": "#22386E", "marker": "o", "linestyle": "-"},
        {"color": "#B59B00", "marker": "s", "linestyle": "--"},
    ]
    for panel, (compression, lines) in zip(axes, panels.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="#888888", linewidth=1, zorder=1)
        for n, bins in lines.items():
            there = bins.n >= _FEWEST_DRAWN
            confidence, share = (values[there] / bins.n[there] for values in (bins.confidence, bins.correct))
            panel.plot(confidence, share, label=f"n = {n}", markersize=4, linewidth=1.4, **looks[shots.index(n) % 2])
        panel.set_title(compression_name(compression))
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1)
        panel.set_aspect("equal")
        panel.set_xlabel("confidence")
    axes[0].set_ylabel("share correct")
    labelled = {
        label: handle for panel in axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(labelled.values(), labelled.keys(), loc="outside upper left", ncols=max(2, len(labelled)))
    return figure
