"""Writes report.html, report.md, tables/ and figures/ from run folders."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from loglearn_tf._util.files import write_text
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    is_relative,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.planned import StudyPart
from loglearn_tf.analysis.power import Spread
from loglearn_tf.analysis.report import answer, evidence, figures, sections
from loglearn_tf.analysis.report.document import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Picture,
    Section,
    markdown,
    page,
)
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.files import write_drawings, write_tables
from loglearn_tf.analysis.report.overview import contrasts_section, write_overview
from loglearn_tf.analysis.report.part import Drawing, Finished
from loglearn_tf.analysis.report.parts import make_parts
from loglearn_tf.analysis.report.run_files import Kind, Scores, Trace, Unreadable, read_scores, read_traces
from loglearn_tf.analysis.report.sizes import size_found, to_csv
from loglearn_tf.analysis.report.table import DatasetResults, Table
from loglearn_tf.analysis.report.tables import TABLES
from loglearn_tf.analysis.report.verdicts import PUBLISHED_FINDINGS, judge, load_published
from loglearn_tf.analysis.results import check_score, with_score
from loglearn_tf.analysis.statistics import Accuracy, accuracies, compare_all, rank
from loglearn_tf.datasets.n_shot import size_of
from loglearn_tf.errors import DataError
from loglearn_tf.features.histogram import EDGES, START_ALPHA, START_BETA, MelHistogram, read_mel_histogram
from loglearn_tf.study.run_folder import Row, read_runs
from loglearn_tf.study.settings import Settings


def write_report(
    study_dir: Path,
    *,
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int = 0,
    findings: Path = PUBLISHED_FINDINGS,
    tables: Sequence[str] | None = None,
    extra: Sequence[Section] = (),
    score: str | None = None,
) -> Path:
    """Writes the report of a study to its folder, replacing an earlier one.

    Args:
        study_dir: The study's folder, or that of one of its parts. The report of a study in parts covers the whole: its
            contrasts and the tables across parts; `margin`, `findings` and `extra` apply only to the reports of the
            parts.
        margin: Smaller differences of accuracy count as zero: 0.02 is 2 points.
        confidence: Confidence of the intervals.
        seed: Seed of the bootstrap; the same study and seed give the same report.
        findings: File of the published findings to test.
        tables: Names of the tables, from `report.tables.TABLES` or as `module:attribute`. By default all listed tables,
            including those of installed packages (entry-point group `loglearn_tf.tables`).
        extra: Further sections, placed after the figures.
        score: The accuracy to use, except for contrasts, which name their own; see `results.with_score`. `None`: for
            your own study, settled if all runs have it; otherwise published.

    Returns:
        Path of report.html; report.md, tables/ and figures/ are next to it.

    Raises:
        DataError: If no run has finished, or none has this score, or a `result.json` cannot be read.
        ConfigError: If `findings` cannot be read, `tables` contains an unknown name, or there is no such score.
        StorageError: If the report cannot be written.
    """
    if score is not None:
        check_score(score)
    kinds = [TABLES[name] for name in (TABLES if tables is None else tables)]
    if any(study_dir.glob("*/study.yaml")):
        return write_overview(study_dir, tables=kinds, confidence=confidence, seed=seed, score=score)
    published = load_published(findings)
    kinds = [kind for kind in kinds if kind.scope == "data set"]
    all_rows = [_checked(row) for row in read_runs(study_dir)]
    settings = answer.settings_of(study_dir)
    is_published = answer.is_published(all_rows, settings)
    score = score or ("published" if is_published else answer.best_known_score(all_rows))
    rows = with_score(all_rows, score)
    if not rows:
        raise DataError(
            f"No run in {study_dir} has a {score} score, since all are of an earlier version. Run the study again."
        )
    done = [row for row in rows if row["status"] == "done"]
    baseline = "logeps" if is_published else answer.baseline_of(done or rows, settings)
    means = accuracies(done, confidence=confidence, seed=seed)
    all_results = [
        DatasetResults(
            dataset,
            [row for row in rows if row["dataset"] == dataset],
            [one for one in means if one.dataset == dataset],
            confidence,
            published.published_accuracy.get(dataset),
            score,
            baseline,
        )
        for dataset in datasets_in_order(rows)
    ]
    chosen = [
        (
            results,
            [kind for kind in kinds if kind.applies(results)] if is_published else answer.own_kinds(kinds, results),
        )
        for results in all_results
    ]
    # All comparisons in the report, including those of the published findings, are corrected together, once.
    baselines = [baseline, *(kind.baseline for _, group in chosen for kind in group if kind.baseline is not None)]
    comparisons = compare_all(done, baseline=baselines, margin=margin, confidence=confidence, seed=seed)
    name = study_dir.resolve().name
    made_tables: list[list[Table]] = []
    for results, group in chosen:
        n_before = sum(map(len, made_tables))
        made_tables.append(
            [kind.table(results, comparisons) for kind in group]
            if is_published
            else answer.own_tables(group, results, comparisons, name, n_before + 1)
        )
    synthetic = {row["dataset"] for row in rows if row["synthetic"]}
    published_cells = [one for one in comparisons if (one.compression, one.baseline) == ("loglearn", "logeps")]
    verdicts = judge(published.findings, published_cells, synthetic=synthetic)
    found = {verdict.finding.id: size_found(verdict, done, confidence=confidence) for verdict in verdicts}

    unreadable = Unreadable()
    datasets = [results.dataset for results in all_results]
    scores = read_scores(study_dir, done, unreadable, score=score)
    relative = {row["compression"] for row in rows if is_relative(row)}
    pictures = _pictures(datasets, means, read_traces(study_dir, done, unreadable), scores, score, relative)
    recordings = evidence.Recordings(study_dir, done, comparisons, score=score)
    spread = evidence.spread_of_comparisons(done, comparisons)
    normalised = evidence.at_test(done)
    powers = [power for dataset in datasets if (power := read_mel_histogram(study_dir, dataset)) is not None]
    for power in powers:
        pictures.append(_curves(power, done))
    pictures += _ranks(done)
    if not is_published:
        # Statements about loglearn and log-EPS are useless if they were not run.
        pictures = [one for one in pictures if one[2] is not None or baseline == "logeps"]
    finished = Finished(
        *(study_dir, all_rows, rows, comparisons, score), margin, confidence, seed, unreadable=unreadable
    )
    parts = make_parts(finished)
    write_tables(
        study_dir / "tables",
        [*(table for group in made_tables for table in group), *(table for part in parts for table in part.tables)],
        {
            **({"study-table-findings": to_csv(verdicts, found)} if is_published else {}),
            **{stem: content for part in parts for stem, content in part.files.items()},
        },
    )
    drawn = [Drawing(stem, figure, caption) for _, stem, figure, caption in pictures if figure]
    svgs = write_drawings(study_dir / "figures", [*drawn, *(one for part in parts for one in part.drawings)])

    # The published comparison has its own answer, unless other compressions were run.
    asked = not is_published or len({row["compression"] for row in done}) > 2
    advice = (
        answer.recommendation(study_dir, all_rows, settings, score=score, margin=margin, confidence=confidence)
        if asked
        else None
    )
    answered = answer.section(advice)
    judged = sections.findings(published.source, verdicts, margin, spread, found)
    document = Document(
        title=f"loglearn against log-EPS: {name}" if is_published else answer.title(rows, baseline, name),
        lead=sections.summary(rows, verdicts, synthetic, score) if is_published else answer.lead(rows, advice, score),
        sections=[
            *([] if is_published else answered),
            Section("run", "What was run", sections.what_was_run(study_dir, rows)),
            *_contrasts(settings, study_dir, all_rows),
            *([Section("verdicts", "The published findings", judged), *answered] if is_published else []),
            Section("tables", "Tables", _table_blocks(made_tables, confidence, recordings, spread)),
            Section("figures", "Figures", _figure_blocks(pictures, svgs)),
            *(part.section(svgs) for part in parts),
            *([Section("norm", "What the network sees at test", normalised)] if normalised else []),
            *([Section("why", "Why only the knee can matter", sections.why(powers, done))] if powers else []),
            *extra,
            Section("reading", "How to read it", sections.how_to_read(margin, confidence, published=is_published)),
            Section(
                "missing",
                "What is missing",
                sections.what_is_missing(
                    study_dir, all_rows, comparisons, unreadable, None if is_published else baseline
                ),
            ),
        ],
    )
    write_text(study_dir / "report.md", markdown(document))
    path = study_dir / "report.html"
    write_text(path, page(document))
    return path


def _checked(row: Row) -> Row:
    """A finished run without a valid accuracy counts as failed, so that it enters no mean."""
    accuracy = row["accuracy"]
    if row["status"] == "done" and not (isinstance(accuracy, (int, float)) and math.isfinite(accuracy)):
        error = f"its accuracy is {accuracy}, not a finite number"
        return {**row, "status": "failed", "accuracy": None, "error": error}
    return row


# ---- Tables -----------------------------------------------------------------------------------------------------


def _contrasts(settings: Settings | None, study_dir: Path, rows: Sequence[Row]) -> list[Section]:
    """The contrasts of a study without parts; those of a study in parts are in the report of the whole study."""
    # None if the folder was not made by `loglearn run`.
    if settings is None or settings.part is not None:
        return []
    return contrasts_section([StudyPart(settings, study_dir, rows)])


def _table_blocks(
    made: Sequence[Sequence[Table]],
    confidence: float,
    recordings: evidence.Recordings,
    spread: Mapping[tuple[str, ...], Spread],
) -> list[Block]:
    """The tables of each data set, followed by the numbers of their comparisons."""
    blocks: list[Block] = []
    for group in made:
        blocks += group
        for table in group:
            if table.comparisons:
                name = f"All numbers of {table.label or table.caption}"
                blocks.append(sections.all_numbers(name, table.comparisons, confidence, recordings))
                blocks += evidence.undecided(table.comparisons, spread)
        compared = [one for table in group for one in table.comparisons]
        remarks = recordings.remarks(compared[0].dataset) if compared else []
        blocks += [Bullets(tuple(remarks))] if remarks else []
    blocks.append(Paragraph("Also available as files: tables/*.md, *.tex (booktabs), and *.csv with full precision."))
    return blocks


# ---- Figures ----------------------------------------------------------------------------------------------------

# Heading, stem, figure (`None` if there is nothing to draw), caption or what is missing.
_Drawn = tuple[str, str, Figure | None, str]


def _pictures(
    datasets: Iterable[str],
    means: Sequence[Accuracy],
    traces: Mapping[Kind, Sequence[Trace]],
    scores: Mapping[Kind, Scores],
    score: str,
    relative: Collection[str],
) -> list[_Drawn]:
    drawn: list[_Drawn] = []
    for dataset in datasets:
        name = dataset_name(dataset) + ("" if score == "published" else f" ({score} score)")
        if any(one.dataset == dataset for one in means):
            caption = (
                f"{name}: accuracy against n, the number of training clips per class (logarithmic axis), with its "
                "intervals. Squares, dashed: log-EPS; circles, solid: loglearn; dotted: others."
            )
            figure = figures.draw_accuracy(dataset, means)
            drawn.append((f"{name}: accuracy against n", file_stem(dataset, "accuracy"), figure, caption))
        drawn += _trajectories(dataset, traces, relative)
        heading = f"{name}: classes"
        classes = figures.draw_class_differences(scores, dataset)
        caption = (
            f"{name}: recall of each class, loglearn minus log-EPS in points, mean over paired runs, then over folds. "
            "Orange: loglearn has the higher recall; blue: log-EPS has. Single classes are noisy and are not "
            "tested."
        )
        if classes is None:
            caption = f"{name}: no pair of runs has predictions, so classes are not compared."
        drawn.append((heading, file_stem(dataset, "classes"), classes, caption))
        drawn += _confusions(dataset, scores)
    return drawn


def _trajectories(dataset: str, traces: Mapping[Kind, Sequence[Trace]], relative: Collection[str]) -> Iterable[_Drawn]:
    name = dataset_name(dataset)
    heading = f"{name}: what was learned"
    ours = {
        kind: runs
        for kind, runs in traces.items()
        if kind[0] == dataset and (kind[2] == "loglearn" or any(map(_moves, runs)))
    }
    if not any(kind[2] == "loglearn" for kind in ours):
        yield heading, "", None, f"{name}: no history of a loglearn run, so alpha, beta and knee are not drawn."
    for model in models_in_order(kind[1] for kind in ours):
        for compression in compressions_in_order(kind[2] for kind in ours if kind[1] == model):
            runs = {kind[3]: ours[kind] for kind in ours if kind[1:3] == (model, compression)}
            n_runs = sum(map(len, runs.values()))
            caption = (
                f"{name}, {model_name(model)}: alpha, beta and knee of {compression_name(compression)} over the "
                f"epochs, from their start at epoch 0. Thin: each of {n_runs:,} {'run' if n_runs == 1 else 'runs'}; "
                "thick: the median of each n."
            )
            if compression in relative:
                caption += " Its knee is a fraction of the clip's level, not a mel power."
            which = () if compression == "loglearn" else (compression,)
            figure = figures.draw_trajectories(runs, relative=compression in relative)
            yield heading, file_stem(dataset, model, *which, "trajectories"), figure, caption


def _moves(trace: Trace) -> bool:
    """Whether anything is learned; fixed compressions also have a knee."""
    return any(values.size and (values != values[0]).any() for values in trace.values.values())


def _ranks(done: Sequence[Row]) -> Iterable[_Drawn]:
    rankings = {ranking.dataset: ranking for ranking in rank(done)}
    for dataset in datasets_in_order(done):
        heading = f"{dataset_name(dataset)}: ranks of all compressions"
        compressions = {row["compression"] for row in done if row["dataset"] == dataset}
        if dataset in rankings:
            ranking = rankings[dataset]
            yield heading, file_stem(dataset, "ranks"), figures.draw_ranks(ranking), sections.ranks(ranking)
        elif len(compressions) > 2:
            caption = (
                f"{dataset_name(dataset)}: no three of the {len(compressions)} compressions have two or more common "
                "cells of network, n and fold, so they are not ranked."
            )
            yield heading, "", None, caption


def _confusions(dataset: str, scores: Mapping[Kind, Scores]) -> Iterable[_Drawn]:
    name = dataset_name(dataset)
    ours = {kind: found for kind, found in scores.items() if kind[0] == dataset and kind[2] in ("loglearn", "logeps")}
    for model in models_in_order(kind[1] for kind in ours):
        n_shot = max((kind[3] for kind in ours if kind[1] == model), key=size_of)
        shown = {kind[2]: found for kind, found in ours.items() if (kind[1], kind[3]) == (model, n_shot)}
        parts = ", ".join(f"{compression_name(key)} {len(found.recall):,}" for key, found in sorted(shown.items()))
        caption = (
            f"{name}, {model_name(model)}, n = {n_shot}: the share in percent of the test clips of each true class "
            f"(rows) predicted as each class (columns), over all runs: {parts}."
        )
        yield (
            f"{name}: confusion matrices",
            file_stem(dataset, model, "confusion"),
            figures.draw_confusion(shown),
            caption,
        )


def _curves(power: MelHistogram, done: Sequence[Row]) -> _Drawn:
    """The curves at the start, and at the end with the medians of each network's runs."""
    name = dataset_name(power.dataset)
    ends: dict[str, tuple[float, float]] = {}
    rows = [row for row in done if row["dataset"] == power.dataset and row["compression"] == "loglearn"]
    for model in models_in_order(row["model"] for row in rows):
        values = [(row["alpha"], row["beta"]) for row in rows if row["model"] == model]
        alpha, beta = (median(one) for one in zip(*values, strict=True))
        ends[f"end, {model_name(model)}"] = (alpha, beta)
    labelled = {"start": (START_ALPHA, START_BETA), **ends}
    figure = figures.draw_compression_curves(
        edges=EDGES,
        counts=power.counts.sum(axis=0),
        alphas={label: alpha for label, (alpha, _) in labelled.items()},
        betas={label: beta for label, (_, beta) in labelled.items()},
    )
    caption = (
        f"{name}: the compression at the start and, with the medians of each network's runs, at the end, over the "
        "histogram of the mel power of all clips. Left of a knee the curve is flat."
    )
    return f"{name}: what the compression flattens", file_stem(power.dataset, "curves"), figure, caption


def _figure_blocks(pictures: Sequence[_Drawn], svgs: Mapping[str, str]) -> list[Block]:
    blocks: list[Block] = []
    previous = ""
    for heading, stem, _, caption in pictures:
        if heading != previous:
            blocks.append(Heading(heading))
            previous = heading
        blocks.append(Picture(stem, svgs[stem], caption) if stem in svgs else Paragraph(caption))
    blocks.append(Paragraph("Also available as files: figures/*.svg and *.pdf."))
    return blocks
