"""The text of a report: what was run, the published findings, how to read the report, and what is missing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from loglearn_tf._util.progress import format_seconds
from loglearn_tf._util.text import first_few
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    model_name,
    models_in_order,
)
from loglearn_tf.analysis.power import Spread
from loglearn_tf.analysis.report.document import Block, Bullets, Facts, Grid, Heading, Judgement, Listing, Paragraph
from loglearn_tf.analysis.report.evidence import Recordings, to_decide
from loglearn_tf.analysis.report.run_files import Unreadable, read_config
from loglearn_tf.analysis.report.sizes import Size
from loglearn_tf.analysis.report.table import MARKS, p_text, points, points_interval, verdict_interval
from loglearn_tf.analysis.report.verdicts import Source, Verdict, how_checked
from loglearn_tf.analysis.statistics import Comparison, Ranking
from loglearn_tf.analysis.summary import remarks, table_title
from loglearn_tf.datasets.n_shot import ALL, NShot, in_order, size_of
from loglearn_tf.errors import ConfigError
from loglearn_tf.features.histogram import (
    KNEES_HEAD,
    PER_CLASS_HEAD,
    START_ALPHA,
    START_BETA,
    MelHistogram,
    explain,
    knees_moved,
    per_class,
)
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import Row, folder_of, key_of
from loglearn_tf.study.status import last_line, remembered_settings

_MOST_REASONS = 10


def summary(
    rows: Sequence[Row], verdicts: Sequence[Verdict], synthetic: Iterable[str], score: str = "published"
) -> list[Block]:
    """The introduction."""
    blocks: list[Block] = []
    names = ", ".join(dataset_name(dataset) for dataset in sorted(synthetic))
    if names:
        blocks.append(
            Paragraph(
                f"SYNTHETIC DATA, not {names}: these sounds are computed, not recorded. The report shows that the "
                "software works; it says nothing about real sounds.",
                warning=True,
            )
        )
    done = sum(row["status"] == "done" for row in rows)
    text = (
        f"Does it help to learn the logarithm of the mel spectrogram? {done:,} of {len(rows):,} runs compare loglearn, "
        "ln(alpha X + beta) with trained alpha and beta, with log-EPS, log10(X + 2.2e-16), which is fixed."
    )
    run = [verdict for verdict in verdicts if verdict.state != "not run"]
    if run:
        states = Counter(verdict.state for verdict in run)
        counts = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
        text += f" Of {len(verdicts)} published findings, this study tests {len(run)}: {counts}."
    else:
        text += f" It tests none of the {len(verdicts)} published findings."
    if score == "settled":
        text += (
            " All accuracies are settled scores: with the same weights, but without the initial values that few "
            "updates leave in the averages of batch normalisation. The published results use the other score."
        )
    return [*blocks, Paragraph(text)]


def what_was_run(study_dir: Path, rows: Sequence[Row]) -> list[Block]:
    """Data, grid, settings, software, machines, time."""
    done = [row for row in rows if row["status"] == "done"]
    facts = [
        (
            dataset_name(dataset),
            table_title(dataset, [row for row in rows if row["dataset"] == dataset], "means over runs"),
        )
        for dataset in datasets_in_order(rows)
    ]
    models = models_in_order(row["model"] for row in rows)
    compressions = compressions_in_order(row["compression"] for row in rows)
    facts += [
        ("Networks", ", ".join(map(model_name, models))),
        ("Compressions", ", ".join(map(compression_name, compressions))),
        ("n, clips per class", ", ".join(map(str, in_order(row["n_shot"] for row in rows)))),
        ("Runs", f"{len(done):,} done, {len(rows) - len(done):,} failed"),
    ]
    config = read_config(study_dir, done or rows)
    facts += _settings(config)
    if done:
        train, evaluation = (
            format_seconds(sum(row.get(name) or 0.0 for row in done)) for name in ("train_seconds", "eval_seconds")
        )
        facts.append(("Work", f"{train} of training, {evaluation} of evaluation"))
    versions = [row.get("versions") or {} for row in rows]
    facts += _counted("Machine", [row.get("host") for row in rows])
    facts += _counted("Software", map(_software, versions))
    facts += _counted("Commit", map(_commit, versions))
    blocks: list[Block] = [Facts(tuple(facts))]
    if config is not None:
        blocks.append(Listing(config, "All settings of a run (its config.yaml)"))
    return blocks


def findings(
    source: Source,
    verdicts: Sequence[Verdict],
    margin: float,
    spread: Mapping[tuple[str, ...], Spread],
    sizes: Mapping[str, Size | None],
) -> list[Block]:
    """Every published finding with its verdict and the underlying cells.

    Args:
        source: Source of the findings.
        verdicts: Verdict on each finding.
        margin: Margin of equivalence.
        spread: From `evidence.spread_of_comparisons`, to show what would decide.
        sizes: Id of a finding -> the size found, if it was run.
    """
    blocks: list[Block] = [
        Paragraph(
            "The source states its findings in words; how each is checked here is our interpretation. Stated by "
            f"{source.author} in “{source.title}”,",
            link=source.url,
        )
    ]
    head = ("Network", "n", "Difference (points)", "Interval", "Comparison", "Evidence")
    speaks = {"for": "for it", "against": "against it", "neither": "neither"}
    for verdict in verdicts:
        body = tuple(
            (
                model_name(cell.model),
                str(cell.n_shot),
                points(cell.mean),
                verdict_interval(cell),
                f"{MARKS[cell.verdict]} {cell.verdict}",
                speaks[one.speaks],
            )
            for one in verdict.evidence
            for cell in [one.comparison]
        )
        evidence = Grid(head, body, f"The {_count(len(body), 'cell')} behind it") if body else None
        size = sizes.get(verdict.finding.id)
        lines = [f"Checked as: {how_checked(verdict.finding, margin)}."]
        lines += [] if size is None else [size.sentence]
        lines.append(f"{verdict.reason.capitalize()}.")
        if verdict.state == "undecided":
            remedies = [
                f"{model_name(one.comparison.model)}, n = {one.comparison.n_shot}: {remedy}"
                for one in verdict.evidence
                if (remedy := to_decide(one.comparison, spread))
            ]
            lines += first_few(remedies, most=3, noun="undecided cells, below the tables")
        label = verdict.label if size is None else f"{verdict.label}, {size.short}"
        blocks.append(Judgement(verdict.finding.statement, label, verdict.state, tuple(lines), evidence))
    return blocks


def all_numbers(summary: str, comparisons: Sequence[Comparison], confidence: float, recordings: Recordings) -> Grid:
    """All numbers of each comparison."""
    order = {model: at for at, model in enumerate(models_in_order(one.model for one in comparisons))}
    names = ("Network", "Compression", "n")
    numbers = ("Pairs", "Folds", "Mean", "Std", f"{100 * confidence:g} % interval", "90 % interval")
    tests = ("On these\u00a0folds", "By\u00a0recordings and\u00a0runs", "p", "p (Holm)", "p (equiv.)", "Verdict")
    body = tuple(
        (
            model_name(one.model),
            compression_name(one.compression),
            str(one.n_shot),
            f"{one.n_pairs:,}",
            ", ".join(map(str, one.folds)),
            points(one.mean),
            "" if one.std is None else f"{100 * one.std:.1f}",
            points_interval(one.low, one.high),
            points_interval(one.low_90, one.high_90),
            points_interval(one.low_within, one.high_within),
            recordings.interval(one, confidence),
            *map(p_text, (one.p_value, one.p_holm, one.p_equivalence)),
            one.verdict,
        )
        for one in sorted(comparisons, key=lambda one: (order[one.model], size_of(one.n_shot), one.compression))
    )
    return Grid((*names, *numbers, *tests), body, summary, n_names=2)


def ranks(ranking: Ranking) -> str:
    """Explains the figure of mean ranks and its limits."""
    p = "below 0.001" if ranking.p_value < 0.001 else f"{ranking.p_value:.3f}"
    left_out = ""
    if ranking.left_out:
        names = ", ".join(map(compression_name, compressions_in_order(ranking.left_out)))
        left_out = f" Not ranked, since they have runs in too few of these cells: {names}."
    return (
        f"{dataset_name(ranking.dataset)}: mean rank of each compression (1 is the most accurate) over "
        f"{ranking.n_blocks} cells of network, n and fold (or run, with a single fold). A bar joins compressions "
        f"whose ranks differ by less than the critical difference, {ranking.critical_difference:.2f} (Nemenyi, 5 %): "
        f"they do not differ significantly. Friedman's test of no difference at all: p {p}. Cells of one fold share "
        f"test clips, so this is descriptive rather than a proof.{left_out}"
    )


def why(powers: Sequence[MelHistogram], done: Sequence[Row]) -> list[Block]:
    """How much of each data set the initial knee flattens, and how far training moved it."""
    blocks: list[Block] = []
    for power in powers:
        rows = [row for row in done if row["dataset"] == power.dataset]
        blocks.append(Heading(dataset_name(power.dataset)))
        blocks.append(Paragraph(" ".join(explain(power, alpha=START_ALPHA, beta=START_BETA))))
        moved = [(model_name(model), *more) for model, *more in knees_moved(rows)]
        if moved:
            blocks += [
                Paragraph("How far training moved the knee, as a multiple of its initial value:"),
                Grid(KNEES_HEAD, tuple(moved)),
            ]
        classes = tuple(per_class(power, knee=START_BETA / START_ALPHA))
        blocks.append(Grid(PER_CLASS_HEAD, classes, "Mel power by class, and the effect of the initial knee"))
    return blocks


def how_to_read(margin: float, confidence: float, *, published: bool = True) -> list[Block]:
    """Explains the numbers and marks; `published`: also the published findings."""
    percent, points_ = f"{100 * confidence:g} %", f"{100 * margin:g} points"
    compared = "loglearn and log-EPS" if published else "the compressions"
    state = (
        "“Supported, as far as run” and similar: this holds for the cells that were run; the other cells could change "
        "it."
    )
    own = (
        "The answer is about the best of all compressions, over all n together; the table of differences shows for "
        "each compression, network and n how it differs from the baseline. Each is corrected for its own number of "
        "comparisons."
    )
    return [
        Bullets(
            (
                "Accuracy is the share of test clips that are classified correctly: the mean over the runs of a fold, "
                "then over folds. n is the number of training clips per class.",
                f"Runs are paired: for the same network, n, fold and run, {compared} share the training clips, the "
                "initial weights and the patches. Differences use only pairs in which both runs have finished.",
                f"Intervals are {percent} intervals of the mean over folds, since runs of one fold share its test "
                "clips: a bootstrap of whole folds, Student's t below 8 folds. With two or three folds they are "
                "wide, as they must be. With a single fold they are over its runs and say nothing about other folds. "
                "Results on only some of the folds are a preview and must not be compared with results over all "
                "folds.",
                "Intervals “on these folds” treat the folds as fixed: they show the uncertainty that more runs would "
                "reduce. If the other interval is much wider, more folds are needed. No verdict uses them.",
                "Intervals “by recordings and runs” show the uncertainty from other recordings and other runs: clips "
                "of one recording tend to be correct or wrong together. They treat folds as mere partitions of the "
                "recordings, and are too narrow if folds differ in other ways. No verdict uses them.",
                f"≈ equivalent: two one-sided tests find the difference smaller than {points_}, whether or not it is "
                "significant: its 90 % interval, which is then the one shown, is inside the margin. ↑ better, ↓ worse: "
                "a signed-rank test over the pairs finds a difference, after Holm's correction for all comparisons of "
                "the data set in this report, and the interval excludes zero. ? "
                "undecided: neither was shown. Undecided does not mean equal: there were too few folds or "
                "runs to decide.",
                "The knee, beta / alpha, is the mel power below which loglearn is flat. Batch normalisation follows "
                "the compression and removes any constant, and ln(alpha X + beta) = ln(alpha) + ln(X + beta / "
                "alpha): so only the knee can matter, once the moving averages used at test have settled. "
                "Relative compressions use mel power divided by the level of its clip; their knee is a fraction of "
                "that level.",
                state if published else own,
            )
        )
    ]


def what_is_missing(
    study_dir: Path,
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    unreadable: Unreadable,
    baseline: str | None = None,
) -> list[Block]:
    """Missing and failed runs with reasons, runs without a partner, unreadable files.

    Args:
        study_dir: The study's folder.
        rows: Its runs.
        comparisons: Comparisons in the report.
        unreadable: Unreadable files.
        baseline: The compression that all others are compared with; `None` for loglearn against log-EPS.
    """
    blocks: list[Block] = []
    lines = []
    planned = _planned(study_dir)
    if planned is None:
        lines.append(
            "Runs that were never started are not counted: study.yaml, in which `loglearn run` saves its grid, is "
            "missing or unreadable."
        )
    grid = _grid(rows, planned or set())
    if not grid:
        lines.append("Every planned run is done." if planned is not None else "No run failed.")
    alone = _without_partner(rows, baseline)
    if alone:
        lines.append(f"Not in any difference, since they have no finished partner: {_count(alone, 'finished run')}.")
    unsure = sum(one.low is None for one in comparisons)
    if unsure:
        lines.append(f"Without an interval, because of too few pairs or folds: {_count(unsure, 'difference')}.")
    for dataset in datasets_in_order(rows):
        lacking = max(row["missing_clips"] for row in rows if row["dataset"] == dataset)
        # Failures have their own table below.
        lines += [
            f"{dataset_name(dataset)}: {remark}" for remark in remarks([{"status": "", "missing_clips": lacking}])
        ]
    if unreadable.missing:
        example = unreadable.missing[0].relative_to(study_dir)
        n_missing = _count(len(unreadable.missing), "file")
        lines.append(f"Missing, and so not in the figures: {n_missing} of finished runs, for example {example}.")
    if unreadable.broken:
        path, reason = unreadable.broken[0]
        n_broken = _count(len(unreadable.broken), "file")
        lines.append(
            f"Malformed, and so not in the figures: {n_broken} of finished runs, for example "
            f"{path.relative_to(study_dir)} ({reason})."
        )
    if lines:
        blocks.append(Bullets(tuple(lines)))
    if grid:
        blocks += [
            Heading("Cells with missing runs"),
            Grid(("Network", "Compression", "n", "Done", "Failed", "Not run"), grid, n_names=2),
        ]
    failures = _failures(rows)
    if failures:
        blocks += [Heading("Why runs failed"), Grid(("Reason", "An example", "Runs"), failures, n_names=2)]
    return blocks


def _settings(config: str | None) -> list[tuple[str, str]]:
    """The most important settings; the whole file follows below."""
    try:
        found = yaml.safe_load(config) if config is not None else None
    except yaml.YAMLError:
        return [("Settings", "config.yaml is not valid YAML")]
    if not isinstance(found, Mapping):
        return []
    evaluation = found.get("evaluation")
    if isinstance(evaluation, Mapping) and "hop" in evaluation:  # its name in earlier versions
        found = {**found, "evaluation": {"patch_hop": evaluation["hop"], **evaluation}}
    shown = {
        "Protocol": ("protocol",),
        "Epochs": ("training", "epochs"),
        "Batch size": ("training", "batch_size"),
        "Learning rate": ("training", "learning_rate"),
        "Hop of evaluation": ("evaluation", "patch_hop"),
        "Seed": ("seed",),
        "Highest frequency, Hz": ("features", "f_max"),
        "Gain, dB": ("features", "gain_db"),
    }
    items = []
    for name, keys in shown.items():
        value: object = found
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        # A gain of 0 is not listed.
        if value not in (None, 0.0) or keys == ("seed",):
            items.append(
                (name, f"{value} {'frame' if value == 1 else 'frames'}" if keys[-1] == "patch_hop" else str(value))
            )
    return items


def _counted(name: str, values: Iterable[str | None]) -> list[tuple[str, str]]:
    """One line if all values are the same, otherwise one per value with its number of runs."""
    counts = Counter(value for value in values if value)
    if len(counts) == 1:
        return [(name, next(iter(counts)))]
    return [(name, f"{value} ({count:,} runs)") for value, count in counts.most_common()]


def _software(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version and name != "git_commit")


def _commit(versions: Mapping[str, str | None]) -> str:
    commit = versions.get("git_commit") or ""
    return f"{commit[:-1]}, with uncommitted changes" if commit.endswith("+") else commit


def _planned(study_dir: Path) -> set[tuple[Any, ...]] | None:
    try:
        specs = plan_runs(remembered_settings(study_dir))
    except ConfigError:
        return None
    return {spec.key for spec in specs}


def _grid(rows: Sequence[Row], planned: set[tuple[Any, ...]]) -> tuple[tuple[str, ...], ...]:
    """Cells of the tables with missing runs: done, failed, not run."""
    found = {key_of(row): row["status"] for row in rows}
    counts: dict[tuple[str, str, NShot], Counter[str]] = defaultdict(Counter)
    for key in (*found, *(planned - found.keys())):
        counts[key[1:4]][found.get(key, "not run")] += 1
    models, compressions = (
        models_in_order(kind[0] for kind in counts),
        compressions_in_order(kind[1] for kind in counts),
    )
    order = sorted(counts, key=lambda kind: (models.index(kind[0]), size_of(kind[2]), compressions.index(kind[1])))
    return tuple(
        (
            model_name(kind[0]),
            compression_name(kind[1]),
            kind[2] if kind[2] == ALL else f"{kind[2]:,}",
            *(f"{counts[kind][state]:,}" for state in ("done", "failed", "not run")),
        )
        for kind in order
        if counts[kind]["failed"] or counts[kind]["not run"]
    )


def _without_partner(rows: Iterable[Row], baseline: str | None) -> int:
    sides: dict[tuple[object, ...], set[str]] = {}
    for row in rows:
        if row["status"] == "done" and (baseline or row["compression"] in ("loglearn", "logeps")):
            dataset, model, compression, *rest = key_of(row)
            sides.setdefault((dataset, model, *rest), set()).add(str(compression))
    if baseline is None:
        return sum(len(found) == 1 for found in sides.values())
    return sum(len(found) if baseline not in found else len(found) == 1 for found in sides.values())


def _failures(rows: Iterable[Row]) -> tuple[tuple[str, ...], ...]:
    """Reason, example, number of runs; the most frequent first."""
    failed: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == "failed":
            failed.setdefault(last_line(row.get("error") or "unknown"), []).append(row)
    reasons = sorted(failed.items(), key=lambda item: -len(item[1]))
    names = first_few([reason for reason, _ in reasons], most=_MOST_REASONS, noun="reasons")
    shown, others = reasons[:_MOST_REASONS], reasons[_MOST_REASONS:]
    examples = [*(f"{folder_of(group[0])}" for _, group in shown), ""]
    counts = [*(len(group) for _, group in shown), sum(len(group) for _, group in others)]
    return tuple((name, example, f"{n:,}") for name, example, n in zip(names, examples, counts, strict=False))


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
