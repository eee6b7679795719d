"""The tables printed by commands, and the titles and remarks of all tables."""

from collections.abc import Sequence
from typing import Any

from loglearn_tf._util.text import align
from loglearn_tf.analysis.names import dataset_title, datasets_in_order, n_test_folds
from loglearn_tf.analysis.results import SCORES, Runs, check_score, independent, with_score
from loglearn_tf.datasets.n_shot import in_order
from loglearn_tf.study.run_folder import Row


def format_tables(rows: Sequence[Row], *, score: str = "published") -> str:
    """For each data set: mean accuracy, and every compression minus log-EPS over finished pairs.

    Means over runs, then over folds, in percent; differences in points.

    Args:
        rows: Rows of a study.
        score: The accuracy to use; see `results.with_score`.

    Raises:
        ConfigError: If there is no such score.
    """
    check_score(score)
    return "\n\n".join(
        _format_table(name, [row for row in rows if row["dataset"] == name], score) for name in datasets_in_order(rows)
    )


def _format_table(dataset: str, rows: Sequence[Row], score: str) -> str:
    with_it = [row for row in rows if row["status"] != "done" or row.get(SCORES[score]) is not None]
    runs = Runs(with_score(with_it, score))
    # By network, line and n.
    shown: dict[tuple[Any, ...], str] = {}
    for (_, model, n, compression), _, values in runs.cells():
        shown[model, compression, n] = f"{100 * independent(values).mean():.1f}"
    for compression in runs.levels["compression"]:
        for (_, model, n), _, values in runs.pairs(compression, "logeps"):
            shown[model, f"{compression} - logeps", n] = f"{100 * independent(values).mean():+.1f}"

    shots = in_order(row["n_shot"] for row in rows)
    lines = [["model", "compression", *(f"n={n}" for n in shots)]]
    for model in sorted({row["model"] for row in rows}):
        compressions = sorted({row["compression"] for row in rows if row["model"] == model})
        differences = [f"{name} - logeps" for name in compressions if name != "logeps"]
        for name in (*compressions, *differences):
            cells = [shown.get((model, name, n), "") for n in shots]
            if name in compressions or any(cells):
                lines.append([model, name, *cells])
    what = f"{'' if score == 'published' else f'{score} '}accuracy in %, mean over runs"
    without = len(rows) - len(with_it)
    remark = [f"{without:,} of {len(rows):,} runs have no {score} score, since they are of an earlier version."] * bool(
        without
    )
    return "\n".join([table_title(dataset, rows, what), align(lines, n_names=2), *remark, *remarks(rows)])


def table_title(dataset: str, rows: Sequence[Row], what: str = "accuracy in %, mean over runs") -> str:
    """The title of a table: its folds, and whether its sounds are real.

    Args:
        dataset: Its name.
        rows: Its runs.
        what: Description of its numbers, up to the mean over the runs of a fold.
    """
    n_folds = n_test_folds(dataset)
    folds = sorted({row["fold"] for row in rows})
    title = f"{dataset_title(dataset)}: {what}"
    if n_folds is None:
        title += f", then over folds {', '.join(map(str, folds))}" if len(folds) > 1 else f", fold {folds[0]}"
    elif n_folds > 1:
        which = f"all {n_folds} folds" if len(folds) == n_folds else f"{len(folds)} of {n_folds} folds"
        title += f", then over {which}"
        if len(folds) < n_folds:
            title += f" ({', '.join(map(str, folds))})"
    return f"SYNTHETIC DATA, not {title}" if any(row["synthetic"] for row in rows) else title


def remarks(rows: Sequence[Row]) -> list[str]:
    """Remarks below a table: failed runs, missing clips."""
    found = []
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        found.append(f"{failed} of {len(rows)} runs failed and are in no mean; see their result.json for the reason.")
    missing = max(row["missing_clips"] for row in rows)
    if missing:
        found.append(f"{missing:,} clips of the data set were missing and were skipped (data.allow_missing).")
    return found
