"""Reads the other files of run folders: histories, predictions, settings."""

import csv
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from loglearn_tf.analysis.answers import PREDICTIONS
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.study.run_folder import Row, folder_of

Array = npt.NDArray[np.float64]
# Data set, model, compression, n.
Kind = tuple[str, str, str, NShot]
_T = TypeVar("_T")
_PROBABILITY = "p_"
_TRACED = ("alpha", "beta", "knee")


@dataclass
class Unreadable:
    """Files missing from a figure.

    Attributes:
        missing: Missing files of finished runs.
        broken: Malformed files, with the reason.
    """

    missing: list[Path] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Trace:
    """Alpha, beta and knee of one run's learned compression, before training and after every epoch.

    Attributes:
        epochs: `(n,)`.
        values: `alpha`, `beta` or `knee`, with `_support` for a prototypical network's second pair -> `(n,)`.
    """

    epochs: Array
    values: Mapping[str, Array]


@dataclass(frozen=True)
class Scores:
    """Counts of the predictions of all runs of one kind.

    Attributes:
        classes: Classes, in the data set's order.
        counts: `(true class, predicted class)`: number of clips, over all runs.
        recall: (fold, run) -> `(n_classes,)`, recall of each class; NaN if a fold has no clips of it.
    """

    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    recall: dict[tuple[int, int], Array]


def read_traces(study_dir: Path, rows: Iterable[Row], unreadable: Unreadable) -> dict[Kind, list[Trace]]:
    """Reads `history.csv` of every finished run with a learned compression.

    Args:
        study_dir: The study's folder.
        rows: Finished runs.
        unreadable: Collects files that could not be read.
    """
    traces: dict[Kind, list[Trace]] = {}
    for row in rows:
        # A compression without a knee has no trajectory, so the file is not opened.
        if row.get("knee") is not None:
            trace = _parsed(study_dir / folder_of(row) / "history.csv", _trace, unreadable)
            if trace is not None and trace.values:
                traces.setdefault(_kind(row), []).append(trace)
    return traces


def read_scores(
    study_dir: Path, rows: Iterable[Row], unreadable: Unreadable, *, score: str = "published"
) -> dict[Kind, Scores]:
    """Reads the predictions of every finished run, for the published or the settled score.

    Args:
        study_dir: The study's folder.
        rows: Finished runs.
        unreadable: Collects files that could not be read, or have other classes than the first.
        score: Score to read.
    """
    scores: dict[Kind, Scores] = {}
    classes_of: dict[str, tuple[str, ...]] = {}
    for row in rows:
        path = study_dir / folder_of(row) / PREDICTIONS[score]
        parsed = _parsed(path, _confusion, unreadable)
        if parsed is None:
            continue
        classes, counts = parsed
        if classes_of.setdefault(row["dataset"], classes) != classes:
            unreadable.broken.append((path, "its classes differ from those of the data set's other runs"))
            continue
        found = scores.setdefault(_kind(row), Scores(classes, np.zeros_like(counts), {}))
        found.counts[...] += counts
        totals = counts.sum(axis=1)
        # A class without test clips in this fold has no recall.
        recall = np.divide(counts.diagonal(), totals, out=np.full(len(classes), np.nan), where=totals > 0)
        found.recall[row["fold"], row["run"]] = recall
    return scores


def read_clip_ids(study_dir: Path, row: Row, name: str) -> list[str]:
    """The test clips of a run, from its predictions; empty if these cannot be read."""
    try:
        with (study_dir / folder_of(row) / name).open(encoding="utf-8", newline="") as file:
            return [line["clip_id"] for line in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, csv.Error):
        return []


def recall_differences(scores: Mapping[Kind, Scores], dataset: str, model: str, n_shot: NShot) -> Array | None:
    """Per class, loglearn's recall minus that of log-EPS: mean over paired runs, then over folds.

    Returns:
        `(n_classes,)`, NaN if no fold has clips of a class; `None` if there is no pair.
    """
    ours = scores.get((dataset, model, "loglearn", n_shot))
    theirs = scores.get((dataset, model, "logeps", n_shot))
    if ours is None or theirs is None:
        return None
    by_fold: dict[int, list[Array]] = {}
    for pair in sorted(ours.recall.keys() & theirs.recall.keys()):
        by_fold.setdefault(pair[0], []).append(ours.recall[pair] - theirs.recall[pair])
    if not by_fold:
        return None
    return _mean([np.mean(runs, axis=0) for runs in by_fold.values()])


def read_config(study_dir: Path, rows: Iterable[Row]) -> str | None:
    """`config.yaml` of the first finished run that has one."""
    # Either all runs have it or none (older versions, tests): a few tries are enough.
    for row in itertools.islice(rows, 100):
        try:
            return (study_dir / folder_of(row) / "config.yaml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return None


def _mean(values: list[Array]) -> Array:
    """Mean of the values that are not NaN."""
    stacked = np.array(values)
    known = np.isfinite(stacked)
    n = known.sum(axis=0)
    return np.divide(np.where(known, stacked, 0).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)


def _trace(lines: list[list[str]]) -> Trace:
    head, *body = lines
    numbers = np.array([[float(cell or "nan") for cell in line] for line in body], np.float64)
    learned = {
        name: numbers[:, at]
        for at, name in enumerate(head)
        if name.removesuffix("_support") in _TRACED and np.isfinite(numbers[:, at]).any()
    }
    return Trace(numbers[:, head.index("epoch")], learned)


def _confusion(lines: list[list[str]]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    head, *body = lines
    classes = tuple(name[len(_PROBABILITY) :] for name in head if name.startswith(_PROBABILITY))
    numbers = {name: number for number, name in enumerate(classes)}
    true_at, predicted_at = head.index("class"), head.index("predicted")
    pairs = np.array([(numbers[line[true_at]], numbers[line[predicted_at]]) for line in body], np.int64)
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (pairs[:, 0], pairs[:, 1]), 1)
    return classes, counts


def _parsed(path: Path, parse: Callable[[list[list[str]]], _T], unreadable: Unreadable) -> _T | None:
    """Parses the file's lines; on errors, returns `None` and adds a note to `unreadable`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        if len(lines) < 2:
            raise ValueError("it is empty")
        return parse(lines)
    except FileNotFoundError:
        unreadable.missing.append(path)
    except (OSError, csv.Error, ValueError, KeyError, IndexError) as error:
        # A KeyError contains only a name.
        unreadable.broken.append((path, f"unknown class {error}" if isinstance(error, KeyError) else str(error)))
    return None


def _kind(row: Row) -> Kind:
    return row["dataset"], row["model"], row["compression"], row["n_shot"]
