"""The report of your own study: its answer first, and tables named after the study."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from loglearn_tf.analysis.advice import Answer, Recommendation
from loglearn_tf.analysis.advice_words import headline
from loglearn_tf.analysis.names import compression_name, compressions_in_order, dataset_title, model_name, table_numbers
from loglearn_tf.analysis.planned import StudyPart
from loglearn_tf.analysis.recommend import Part, by_simplicity, of_parts
from loglearn_tf.analysis.report.document import Block, Bullets, Grid, Heading, Listing, Paragraph, Section
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.table import DatasetResults, ReportTable, Table, points
from loglearn_tf.analysis.results import SCORES
from loglearn_tf.analysis.statistics import Comparison
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.run_folder import Row
from loglearn_tf.study.settings import Settings
from loglearn_tf.study.status import remembered_settings

_PUBLISHED = {"loglearn", "logeps"}


def settings_of(study_dir: Path) -> Settings | None:
    """The settings of the study; `None` for runs merged without them."""
    try:
        return remembered_settings(study_dir)
    except ConfigError:
        return None


def is_published(rows: Sequence[Row], settings: Settings | None) -> bool:
    """Whether a study is, or contains, the published comparison: loglearn and log-EPS on a data set of the source.

    The recordings must be unmodified: with another level or other bands, its numbers test no published finding.
    """
    if settings is not None:
        features = settings.features
        if features.gain_db or features.f_max is not None or settings.training.gain_db is not None:
            return False
    for dataset in {row["dataset"] for row in rows}:
        compressions = {row["compression"] for row in rows if row["dataset"] == dataset}
        # A single compression may be the start of it.
        if table_numbers(dataset) is not None and (len(compressions) < 2 or compressions >= _PUBLISHED):
            return True
    return False


def best_known_score(rows: Sequence[Row]) -> str:
    """The settled score if every finished run has it."""
    done = [row for row in rows if row["status"] == "done"]
    return "settled" if done and all(row.get(SCORES["settled"]) is not None for row in done) else "published"


def baseline_of(rows: Sequence[Row], settings: Settings | None) -> str:
    """The compression that the others are compared with: log-EPS, or else the simplest."""
    names = {row["compression"] for row in rows}
    return "logeps" if "logeps" in names else by_simplicity(names, settings.variants if settings else {})[0]


def title(rows: Sequence[Row], baseline: str, name: str) -> str:
    """`5 compressions against log-EPS: mine`; for two compressions, both names."""
    others = [one for one in compressions_in_order(row["compression"] for row in rows) if one != baseline]
    if not others:
        return f"{compression_name(baseline)}: {name}"
    what = compression_name(others[0]) if len(others) == 1 else f"{len(others)} compressions"
    return f"{what} against {compression_name(baseline)}: {name}"


def lead(rows: Sequence[Row], found: Recommendation | None, score: str) -> list[Block]:
    """The introduction."""
    blocks: list[Block] = []
    if any(row["synthetic"] for row in rows):
        words = "SYNTHETIC DATA: these sounds are computed, not recorded. The report says nothing about recordings."
        blocks.append(Paragraph(words, warning=True))
    names = ", ".join(map(compression_name, compressions_in_order(row["compression"] for row in rows)))
    done = sum(row["status"] == "done" for row in rows)
    text = f"Which compression of the mel spectrogram? {done:,} of {len(rows):,} runs compare {names}."
    if score == "settled":
        text += (
            " All accuracies are settled scores: with the same weights, but without the initial values that few "
            "updates leave in the moving averages of batch normalisation."
        )
    blocks.append(Paragraph(text))
    if found is not None:
        blocks.append(Paragraph(headline(found)))
    return blocks


def recommendation(
    study_dir: Path,
    rows: Sequence[Row],
    settings: Settings | None,
    *,
    score: str,
    margin: float,
    confidence: float,
) -> Recommendation | None:
    """The recommendation for a study or part; `None` if no run is done."""
    name = study_dir.resolve().name
    if settings is not None:
        name = f"{settings.name}, part {settings.part}" if settings.part else settings.name
    try:
        return of_parts(name, [Part("", study_dir, rows, settings)], score=score, margin=margin, confidence=confidence)
    except DataError:
        return None


def section(found: Recommendation | None) -> list[Section]:
    """The answer, in the words of `loglearn recommend`."""
    if found is None:
        return []
    blocks: list[Block] = []
    for passage in found.passages:
        blocks += [Heading(passage.heading), Bullets(passage.sentences)]
        if passage.yaml:
            blocks.append(Listing("\n".join(passage.yaml), "Lines to add to the YAML file"))
    answers = [one for part in found.parts for one in part.answers if len(one.standings) > 1]
    blocks += [_standings(one) for one in answers]
    return [Section("answer", "The answer", blocks)]


def _standings(one: Answer) -> Grid:
    head = (
        "Compression",
        "Accuracy, %",
        "Minus the highest",
        "Minus the best, interval",
        "Can be the best",
        "Near the best",
    )
    body = tuple(
        (
            compression_name(of.compression),
            f"{100 * of.accuracy:.1f}",
            "" if at == 0 else points(of.behind),
            f"{'' if of.low is None else points(of.low)} to {'' if of.high is None else points(of.high)}",
            "yes" if of.can_be_best else "no",
            "yes" if of.near else "not shown",
        )
        for at, of in enumerate(one.standings)
    )
    return Grid(head, body, f"All compressions, {dataset_title(one.dataset)} and {model_name(one.model)}")


def own_tables(
    kinds: Iterable[ReportTable], results: DatasetResults, comparisons: Sequence[Comparison], name: str, first: int
) -> list[Table]:
    """The tables of a data set, named after the study.

    Args:
        kinds: From `own_kinds`.
        results: Results of the data set.
        comparisons: Comparisons of all data sets and baselines.
        name: Name of the study.
        first: Number of the first table.
    """
    made = ((number, kind, kind.table(results, comparisons)) for number, kind in enumerate(kinds, first))
    return [
        replace(
            table,
            stem=file_stem(name, "table", f"{number}-{kind.name.rpartition(':')[2]}"),
            label=f"Table {number}",
            caption=f"{name}, {table.caption}",
        )
        for number, kind, table in made
    ]


def own_kinds(kinds: Iterable[ReportTable], results: DatasetResults) -> list[ReportTable]:
    """The tables useful for your own study: none that repeats differences or has only one compression."""
    n_compressions = len({row["compression"] for row in results.rows})
    kinds = [replace(kind, baseline=results.baseline) if kind.baseline == "logeps" else kind for kind in kinds]
    applying = [kind for kind in kinds if kind.applies(results) and kind.name != "published"]
    of_all = any(kind.name == "all-differences" for kind in applying)
    return [
        kind
        for kind in applying
        if not (kind.name == "differences" and (of_all or n_compressions < 2))
        and not (kind.name == "all-differences" and n_compressions < 2)
    ]


def of_all_parts(name: str, parts: Sequence[StudyPart], *, score: str | None, confidence: float) -> list[Section]:
    """The answer of a study in parts: what the parts have in common, and the answer of each."""
    try:
        found = of_parts(
            name,
            [Part(part.folder.name, part.folder, part.rows, part.settings) for part in parts],
            score=score,
            confidence=confidence,
        )
    except DataError:
        return []  # no run with this score
    blocks: list[Block] = [Paragraph(headline(found))]
    whole = [passage for passage in found.passages if not passage.part]
    blocks += [Bullets(passage.sentences[1:]) for passage in whole if len(passage.sentences) > 1]
    head = ("Part", "Network", "Score", "Recommended", "Can be the best", "Shown to be near the best")
    body = tuple(
        (
            part.part,
            model_name(one.model),
            part.score,
            compression_name(one.recommended),
            ", ".join(map(compression_name, one.can_be_best)),
            ", ".join(map(compression_name, one.near)) or "none",
        )
        for part in found.parts
        for one in part.answers
    )
    blocks.append(
        Paragraph("For full sentences with all reasons, see the report of each part, or run loglearn recommend.")
    )
    blocks.append(Grid(head, body, n_names=len(head)))
    return [Section("answer", "The answer, part by part", blocks)]
