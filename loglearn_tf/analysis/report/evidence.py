"""Additions to the verdicts: intervals by recordings and runs, what would decide, and network inputs at test."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from loglearn_tf._util.text import first_few
from loglearn_tf.analysis.answers import StudyAnswers, by_recordings
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.planning import what_would_decide
from loglearn_tf.analysis.power import Spread, spreads
from loglearn_tf.analysis.recordings import FEWEST_RECORDINGS, TwoWay, by_class, two_way
from loglearn_tf.analysis.report.document import Block, Grid, Paragraph
from loglearn_tf.analysis.report.table import points_interval
from loglearn_tf.analysis.statistics import Comparison
from loglearn_tf.datasets.n_shot import NShot, in_order, size_of
from loglearn_tf.errors import DataError
from loglearn_tf.study.run_folder import Row

# Dataset, model, n, compression, baseline.
Key = tuple[str, str, NShot, str, str]
# A larger share of initial values in moving averages visibly shifts the network's input at test.
MOST_RESIDUE = 0.05


def key_of(one: Comparison) -> Key:
    return one.dataset, one.model, one.n_shot, one.compression, one.baseline


class Recordings:
    """The intervals by source recordings and runs for all comparisons of a study.

    Args:
        study_dir: Its folder.
        done: Its finished runs.
        score: Whose predictions are read.
    """

    def __init__(self, study_dir: Path, done: Sequence[Row], comparisons: Iterable[Comparison], *, score: str) -> None:
        self._answers = StudyAnswers(study_dir, done)
        self._score = score
        self._few: dict[str, list[str]] = {}
        self.found: dict[Key, TwoWay | str] = {key_of(one): self._of(one) for one in comparisons}

    def _of(self, one: Comparison) -> TwoWay | str:
        cell = (one.dataset, one.model, one.n_shot, one.compression, one.baseline)
        try:
            known = self._answers.recordings(one.dataset)
            if not known:
                return "the recordings of its clips are unknown, since its runs are of an earlier version"
            clips = by_recordings(self._answers.pairs(*cell, score=self._score), known)
            if clips is None:
                return "the recording of a clip is unknown"
            # Fails for a cell with a single run, which says nothing about classes.
            crossed = two_way(clips)
            if one.dataset not in self._few:
                # Test clips are the same in all cells.
                self._few[one.dataset] = [
                    f"{name} ({reason})"
                    for name, of in by_class(clips).items()
                    if (reason := of if isinstance(of, str) else of.too_few) is not None
                ]
            return crossed
        except DataError as error:
            return str(error)

    def interval(self, one: Comparison, confidence: float) -> str:
        """The interval of one comparison as text, or empty."""
        found = self.found.get(key_of(one))
        return points_interval(*found.interval(confidence)) if isinstance(found, TwoWay) else ""

    def remarks(self, dataset: str) -> list[str]:
        """Reasons for missing intervals, and classes with too few recordings for one."""
        found = [of for key, of in self.found.items() if key[0] == dataset]
        lacking = sorted({of if isinstance(of, str) else of.too_few or "" for of in found} - {""})
        sentences = (
            [
                f"{dataset_name(dataset)}: {len(lacking)} reason{'s' * (len(lacking) > 1)} for missing intervals by "
                f"recordings: {'; '.join(first_few(lacking, most=3))}."
            ]
            if lacking
            else []
        )
        few = self._few.get(dataset, [])
        if few:
            sentences.append(
                f"{dataset_name(dataset)}: these classes have fewer than {FEWEST_RECORDINGS} effective test "
                f"recordings, or only one run, so results for them reflect only these: {', '.join(few)}."
            )
        return sentences


def spread_of_comparisons(done: Sequence[Row], comparisons: Iterable[Comparison]) -> dict[tuple[str, ...], Spread]:
    """How much the differences of every (data set, model, compression, baseline) vary, where it can be estimated."""
    found: dict[tuple[str, ...], Spread] = {}
    for compression, baseline in sorted({(one.compression, one.baseline) for one in comparisons}):
        for (dataset, model), spread in spreads(done, compression=compression, baseline=baseline).items():
            found[dataset, model, compression, baseline] = spread
    return found


def to_decide(one: Comparison, spread: Mapping[tuple[str, ...], Spread]) -> str:
    """What it takes to decide an undecided comparison; empty for others, or if unknown."""
    own = spread.get((one.dataset, one.model, one.compression, one.baseline))
    if one.verdict != "undecided" or own is None:
        return ""
    return what_would_decide(
        own,
        one.mean,
        folds=len(one.folds),
        runs=max(one.n_pairs // len(one.folds), 1),
        family=one.n_corrected or 1,
        margin=one.margin,
    )


def undecided(comparisons: Sequence[Comparison], spread: Mapping[tuple[str, ...], Spread]) -> list[Block]:
    """What would decide each of a table's comparisons that are undecided."""
    body = tuple(
        (model_name(one.model), compression_name(one.compression), str(one.n_shot), remedy)
        for one in comparisons
        if (remedy := to_decide(one, spread))
    )
    summary = f"What would decide {len(body)} undecided comparison{'' if len(body) == 1 else 's'}"
    return [Grid(("Network", "Compression", "n", "What it takes"), body, summary, n_names=4)] if body else []


def at_test(done: Sequence[Row]) -> list[Block]:
    """The effect of unsettled batch normalisation on the networks' inputs at test, from the results of runs."""
    rows = [row for row in done if row.get("norm_residue") is not None]
    blocks: list[Block] = []
    for dataset in datasets_in_order(rows):
        ours = [row for row in rows if row["dataset"] == dataset]
        cells: dict[tuple[str, str, NShot], list[Row]] = {}
        for row in ours:
            cells.setdefault((row["model"], row["compression"], row["n_shot"]), []).append(row)
        models, compressions = (
            models_in_order(cell[0] for cell in cells),
            compressions_in_order(cell[1] for cell in cells),
        )
        order = sorted(cells, key=lambda cell: (models.index(cell[0]), size_of(cell[2]), compressions.index(cell[1])))
        residue = {cell: median(row["norm_residue"] for row in of) for cell, of in cells.items()}
        unsettled = [cell for cell in order if residue[cell] > MOST_RESIDUE]
        if unsettled:
            of_n = {model: in_order(n for name, _, n in unsettled if name == model) for model, *_ in unsettled}
            where = "; ".join(f"{model_name(model)} at n = {', '.join(map(str, n))}" for model, n in of_n.items())
            blocks.append(
                Paragraph(
                    f"{dataset_name(dataset)}: the moving averages still contain more than {100 * MOST_RESIDUE:g} % of "
                    f"their initial values at test: {where}. By the published score, compressions there also differ in "
                    "constants that have no effect in training. The settled score removes this: loglearn report "
                    "--score settled.",
                    warning=True,
                )
            )
        body = tuple(
            (
                model_name(model),
                compression_name(compression),
                str(n_shot),
                f"{len(of):,}",
                f"{100 * residue[model, compression, n_shot]:.1f} %",
                f"{median(row['norm_scale'] for row in of):.2f}",
                f"{median(row['norm_shift'] for row in of):+.2f}",
            )
            for model, compression, n_shot in order
            for of in [cells[model, compression, n_shot]]
        )
        head = ("Network", "Compression", "n", "Runs", "r", "Scale", "Shift")
        blocks.append(
            Grid(head, body, f"{dataset_name(dataset)}: initial values left, by network, compression and n", n_names=2)
        )
    if not blocks:
        return []
    explained = Paragraph(
        "Medians over runs. r is the share of the initial values, mean 0 and variance 1, left in the moving averages "
        "of the first batch normalisation: its momentum to the power of the number of updates. An input with mean 0 "
        "and standard deviation 1 in training has mean Shift and standard deviation Scale at test, before the layer's "
        "own gain and bias; after settling these are 0 and 1."
    )
    return [explained, *blocks]
