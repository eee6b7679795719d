"""The section on levels: how accuracy depends on the gain of test clips only, or of all clips of a part."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.planned import StudyPart
from loglearn_tf.analysis.report.document import Block, Paragraph
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.figures import in_style, look_of
from loglearn_tf.analysis.report.part import Drawing, Finished, Part
from loglearn_tf.analysis.report.table import Cell, Table, points, points_interval
from loglearn_tf.analysis.results import with_score
from loglearn_tf.analysis.statistics import Accuracy, Comparison, accuracies, compare_all
from loglearn_tf.datasets.n_shot import in_order
from loglearn_tf.study.run_folder import Row, key_of, level_rows

_BASELINE = "logeps"
_LABELS = ("data", "dataset", "model", "compression", "n_shot", "gain_db", "score")
_COLUMNS = (*_LABELS, "n_runs", "folds", "accuracy_percent", "low_percent", "high_percent")
_DIFFERENCES = (*_LABELS, "baseline", "n_pairs", "folds", "difference_points", "low_points", "high_points")


@dataclass(frozen=True)
class Levels:
    """Runs of one data set by the level at which they are scored.

    Attributes:
        dataset: Its name.
        what: For captions: what was made louder or quieter.
        stem: Prefix of file names.
        by_gain: Decibels -> distinct runs, with the score in `accuracy`.
        confidence, seed, score: Confidence and seed of the intervals; the score in `accuracy`.
    """

    dataset: str
    what: str
    stem: tuple[str, ...]
    by_gain: Mapping[float, Sequence[Row]]
    confidence: float
    seed: int
    score: str


def make(finished: Finished) -> Part | None:
    """The section on the levels at which runs were scored (`evaluation.gains_db`); `None` if there are none."""
    at_levels = level_rows([row for row in finished.all_rows if row["status"] == "done"])
    if not at_levels:
        return None
    blocks: list[Block | Drawing] = [
        Paragraph(
            "Every trained network was also scored at other levels: its test clips made louder or quieter, its "
            "training clips unchanged. 0 dB is the training level."
        )
    ]
    for dataset in datasets_in_order(at_levels):
        by_gain: dict[float, list[Row]] = {0.0: [row for row in finished.done if row["dataset"] == dataset]}
        scored = [row for row in at_levels if row["dataset"] == dataset and _has(row, finished.score)]
        if not scored:
            blocks.append(Paragraph(f"{dataset_name(dataset)}: no run has a {finished.score} score at other levels."))
            continue
        for row in with_score(scored, finished.score):
            # At 0 dB it is the score of the run itself.
            if row["gain_db"] != 0:
                by_gain.setdefault(float(row["gain_db"]), []).append(row)
        levels = Levels(
            *(dataset, "the gain of the test clips only", (dataset,), by_gain),
            *(finished.confidence, finished.seed, finished.score),
        )
        blocks += blocks_of(levels)
    return Part("levels", "Effect of the level", blocks)


def overview(parts: Sequence[StudyPart], *, confidence: float, seed: int, score: str) -> Part | None:
    """The section on parts that differ only in `features.gain_db` and their cells; `None` if no two do.

    Args:
        parts: Parts of the study, whose runs hold the accuracy of `score`.
        confidence, seed, score: As in the report.
    """
    families: dict[str, list[StudyPart]] = {}
    for part in parts:
        families.setdefault(_family(part), []).append(part)
    blocks: list[Block | Drawing] = []
    for family in families.values():
        gains = sorted({part.settings.features.gain_db for part in family})
        if len(gains) < 2:
            continue
        runs: dict[float, dict[Any, Row]] = {gain: {} for gain in gains}
        for part in family:
            for row in part.rows:
                if row["status"] == "done":
                    # If two parts with one level have the same run, the first one counts.
                    runs[part.settings.features.gain_db].setdefault(key_of(row), row)
        by_gain = {gain: list(of.values()) for gain, of in runs.items() if of}
        if len(by_gain) < 2:
            continue
        what = f"the gain of all clips, in training and test, of parts {', '.join(part.folder.name for part in family)}"
        stem = ("study", family[0].folder.name)
        levels = Levels(family[0].settings.data.name, what, stem, by_gain, confidence, seed, score)
        blocks += blocks_of(levels)
    if not blocks:
        return None
    explained = Paragraph(
        "Parts that differ only in their level: networks were trained and scored on clips made louder or quieter by "
        "this gain. Each point of a curve comes from different runs."
    )
    return Part("levels", "Effect of the level", [explained, *blocks])


def _family(part: StudyPart) -> str:
    """The settings shared by the parts of one curve: all but the level and the cells of the grid."""
    plain = part.settings.dump()
    of_features = {key: value for key, value in plain["features"].items() if key not in ("gain_db", "store_dir")}
    of_evaluation = {key: value for key, value in plain["evaluation"].items() if key != "gains_db"}
    same = {name: plain[name] for name in ("protocol", "seed", "data", "training", "episodic", "variants")}
    return json.dumps([of_features, of_evaluation, same], sort_keys=True, default=str)


def _has(row: Row, score: str) -> bool:
    return score == "published" or row.get("accuracy_settled") is not None


def blocks_of(levels: Levels) -> list[Block | Drawing]:
    """A figure, the accuracies, and the differences from log-EPS at each level."""
    means = {
        gain: accuracies(rows, confidence=levels.confidence, seed=levels.seed) for gain, rows in levels.by_gain.items()
    }
    n_levels: dict[tuple[str, Any, str], int] = {}
    for found in means.values():
        for one in found:
            key = (one.model, one.n_shot, one.compression)
            n_levels[key] = n_levels.get(key, 0) + 1
    # One level makes no curve.
    kept = {key for key, n in n_levels.items() if n > 1}
    if not kept:
        return [Paragraph(f"{dataset_name(levels.dataset)}: no cell has been scored at two levels yet.")]
    at: dict[tuple[str, Any, str], dict[float, Accuracy]] = {}
    for gain, found in means.items():
        for one in found:
            if (one.model, one.n_shot, one.compression) in kept:
                at.setdefault((one.model, one.n_shot, one.compression), {})[gain] = one
    differences: dict[tuple[str, Any, str], dict[float, Comparison]] = {}
    for gain, rows in levels.by_gain.items():
        for pair in compare_all(rows, baseline=_BASELINE, confidence=levels.confidence, seed=levels.seed):
            if (pair.model, pair.n_shot, pair.compression) in kept:
                differences.setdefault((pair.model, pair.n_shot, pair.compression), {})[gain] = pair
    synthetic = any(row["synthetic"] for rows in levels.by_gain.values() for row in rows)
    name = dataset_name(levels.dataset) + " (SYNTHETIC DATA)" * synthetic
    caption = (
        f"{name}: {levels.score} accuracy against {levels.what}, with {100 * levels.confidence:g} % intervals over "
        "folds, or over the runs of one fold. Squares, dashed: log-EPS; circles, solid: loglearn; dotted: others."
    )
    drawing = Drawing(file_stem(*levels.stem, "levels"), draw_levels(at), caption)
    blocks: list[Block | Drawing] = [drawing, _accuracies(levels, at, name)]
    return [*blocks, _differences(levels, differences, name)] if differences else blocks


def _accuracies(levels: Levels, at: Mapping[tuple[str, Any, str], Mapping[float, Accuracy]], name: str) -> Table:
    def cell(one: Accuracy) -> Cell:
        return Cell(f"{100 * one.mean:.1f}", interval=_interval(one.low, one.high))

    def record(one: Accuracy) -> dict[str, Any]:
        ends = {"accuracy": one.mean, "low": one.low, "high": one.high}
        return {"n_runs": one.n_runs, **{f"{key}_percent": _percent(value) for key, value in ends.items()}}

    return _table(
        levels,
        at,
        caption=f"{name}: {levels.score} accuracy in percent by gain in dB ({levels.what})",
        note=f"Below each number its {100 * levels.confidence:g} % interval over folds, or over the runs of one fold.",
        stem="levels",
        columns=_COLUMNS,
        makers=(cell, record),
    )


def _differences(levels: Levels, at: Mapping[tuple[str, Any, str], Mapping[float, Comparison]], name: str) -> Table:
    def cell(one: Comparison) -> Cell:
        return Cell(points(one.mean), interval=points_interval(one.low, one.high))

    def record(one: Comparison) -> dict[str, Any]:
        ends = {"difference": one.mean, "low": one.low, "high": one.high}
        named = {"baseline": one.baseline, "n_pairs": one.n_pairs}
        return {**named, **{f"{key}_points": _percent(value) for key, value in ends.items()}}

    return _table(
        levels,
        at,
        caption=f"{name}: minus log-EPS at the same gain in dB, points of {levels.score} accuracy",
        note=f"Below each number its {100 * levels.confidence:g} % interval, uncorrected; no "
        "verdict is based on these.",
        stem="level-differences",
        columns=_DIFFERENCES,
        makers=(cell, record),
    )


def _table(
    levels: Levels,
    at: Mapping[tuple[str, Any, str], Mapping[float, Any]],
    *,
    caption: str,
    note: str,
    stem: str,
    columns: tuple[str, ...],
    makers: tuple[Any, Any],
) -> Table:
    cell_of, record_of = makers
    gains = sorted(levels.by_gain)
    body, records = [], []
    for key in _in_order(at):
        model, n_shot, compression = key
        found = at[key]
        cells = tuple(cell_of(found[gain]) if gain in found else Cell() for gain in gains)
        body.append(((model_name(model), f"n = {n_shot}", compression_name(compression)), cells))
        data = "synthetic" if any(row["synthetic"] for row in levels.by_gain[gains[0]]) else "real"
        names = {"data": data, "dataset": levels.dataset, "model": model, "compression": compression}
        records += [
            {
                **names,
                **{"n_shot": n_shot, "gain_db": gain, "score": levels.score},
                **{"folds": " ".join(map(str, found[gain].folds)), **record_of(found[gain])},
            }
            for gain in gains
            if gain in found
        ]
    return Table(
        caption=caption,
        head=(
            "Network",
            "n",
            "Compression",
            *(f"{gain:+g} dB".replace("-", "−").replace("+0 ", "0 ") for gain in gains),
        ),
        body=tuple(body),
        notes=(note,),
        columns=columns,
        records=tuple(records),
        stem=file_stem(*levels.stem, "table", stem),
    )


@in_style
def draw_levels(at: Mapping[tuple[str, Any, str], Mapping[float, Accuracy]]) -> Figure:
    """One row of panels per network, one column per n; accuracy against gain with intervals.

    Args:
        at: (network, n, compression) -> decibels -> accuracy.
    """
    models = models_in_order(key[0] for key in at)
    shots = in_order(key[1] for key in at)
    compressions = compressions_in_order(key[2] for key in at)
    figure = Figure(figsize=(max(4.2, 0.7 + 2.0 * len(shots)), 0.6 + 2.2 * len(models)), layout="constrained")
    grid = figure.subplots(len(models), len(shots), squeeze=False, sharex=True, sharey=True)
    gains = sorted({gain for found in at.values() for gain in found})
    # Shifted, so that no interval hides another.
    aside = 0.008 * max(gains[-1] - gains[0], 1.0)
    for line, model in zip(grid, models, strict=True):
        for panel, n_shot in zip(line, shots, strict=True):
            for number, compression in enumerate(compressions):
                found = at.get((model, n_shot, compression))
                if found is None:
                    continue
                look = look_of(compression, compressions)
                shift = aside * (2 * number - len(compressions) + 1)
                known = sorted(found)
                x, y = [gain + shift for gain in known], [100 * found[gain].mean for gain in known]
                panel.plot(x, y, label=compression_name(compression), linewidth=1.6, markersize=5, zorder=3, **look)
                for place, one in zip(x, (found[gain] for gain in known), strict=True):
                    if one.low is not None and one.high is not None:
                        panel.vlines(place, 100 * one.low, 100 * one.high, color=look["color"], linewidth=1.2, zorder=2)
            panel.set_title(f"{model_name(model)}, n = {n_shot}")
            panel.set_xticks(gains, [f"{gain:g}".replace("-", "−") for gain in gains])
        line[0].set_ylabel("accuracy (%)")
    for panel in grid[-1]:
        panel.set_xlabel("gain (dB)")
    labelled = {
        label: handle for panel in grid.flat for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(labelled.values(), labelled.keys(), loc="outside upper left", ncols=max(2, min(len(labelled), 4)))
    return figure


def _in_order(at: Mapping[tuple[str, Any, str], Any]) -> list[tuple[str, Any, str]]:
    models, shots = models_in_order(key[0] for key in at), in_order(key[1] for key in at)
    compressions = compressions_in_order(key[2] for key in at)
    return sorted(at, key=lambda key: (models.index(key[0]), shots.index(key[1]), compressions.index(key[2])))


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)
