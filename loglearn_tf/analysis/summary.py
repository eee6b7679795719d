"""The tables that a command prints, and what every table says of its rows."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from loglearn_tf._util.text import align
from loglearn_tf.study.run_folder import KEY, Row

# With the number of folds, where it is always the same.
_TITLES = {"us8k": ("UrbanSound8K", 10), "tut": ("TUT Acoustic Scenes 2017", 1), "folder": ("Own recordings", None)}


def format_tables(rows: Sequence[Row]) -> str:
    """Per data set: mean accuracy, and every compression minus log-EPS over the pairs that both finished.

    Means over runs, then over folds, in percent; differences in points.
    """
    return "\n\n".join(
        _format_table(name, [row for row in rows if row["dataset"] == name])
        for name in sorted({row["dataset"] for row in rows})
    )


def _format_table(dataset: str, rows: Sequence[Row]) -> str:
    done = [row for row in rows if row["status"] == "done"]
    shots = sorted({row["n_shot"] for row in rows})
    accuracy = {tuple(row[column] for column in KEY[1:]): row["accuracy"] for row in done}

    lines = [["model", "compression", *(f"n={n}" for n in shots)]]
    for model in sorted({row["model"] for row in rows}):
        for compression in sorted({row["compression"] for row in rows if row["model"] == model}):
            cells = [
                _mean_over_folds(
                    (fold, value)
                    for (m, c, n, fold, _), value in accuracy.items()
                    if (m, c, n) == (model, compression, shot)
                )
                for shot in shots
            ]
            lines.append([model, compression, *("" if cell is None else f"{100 * cell:.1f}" for cell in cells)])
        for compression in sorted({row["compression"] for row in rows if row["model"] == model} - {"logeps"}):
            gains = [
                _mean_over_folds(
                    (fold, value - accuracy[model, "logeps", n, fold, run])
                    for (m, c, n, fold, run), value in accuracy.items()
                    if (m, c, n) == (model, compression, shot) and (model, "logeps", n, fold, run) in accuracy
                )
                for shot in shots
            ]
            if any(gain is not None for gain in gains):
                shown = ("" if gain is None else f"{100 * gain:+.1f}" for gain in gains)
                lines.append([model, f"{compression} - logeps", *shown])
    return "\n".join([table_title(dataset, rows), align(lines, n_names=2), *remarks(rows)])


def table_title(dataset: str, rows: Sequence[Row], what: str = "accuracy in %, mean over runs") -> str:
    """Says what a table is of: which folds, and whether its sounds are real.

    Args:
        dataset: Its name.
        rows: Its runs.
        what: Its numbers, down to the mean over the runs of a fold.
    """
    name, n_folds = _TITLES[dataset]
    folds = sorted({row["fold"] for row in rows})
    title = f"{name}: {what}"
    if n_folds is None:
        title += f", then over folds {', '.join(map(str, folds))}" if len(folds) > 1 else f", fold {folds[0]}"
    elif n_folds > 1:
        which = f"all {n_folds} folds" if len(folds) == n_folds else f"{len(folds)} of {n_folds} folds"
        title += f", then over {which}"
        if len(folds) < n_folds:
            title += f" ({', '.join(map(str, folds))})"
    return f"SYNTHETIC DATA, not {title}" if any(row["synthetic"] for row in rows) else title


def remarks(rows: Sequence[Row]) -> list[str]:
    """What must be said below a table: failed runs, missing clips."""
    found = []
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        found.append(f"{failed} of {len(rows)} runs failed and are in no mean; their result.json says why.")
    missing = max(row["missing_clips"] for row in rows)
    if missing:
        found.append(f"{missing:,} clips of the data set were missing and left out (data.allow_missing).")
    return found


def _mean_over_folds(values: "Iterator[tuple[int, float]]") -> float | None:
    by_fold: dict[int, list[float]] = defaultdict(list)
    for fold, value in values:
        by_fold[fold].append(value)
    if not by_fold:
        return None
    return sum(sum(runs) / len(runs) for runs in by_fold.values()) / len(by_fold)
