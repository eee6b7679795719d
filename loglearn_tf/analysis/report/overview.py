"""The report of a whole study in parts: its contrasts, comparisons across parts, and links to their reports."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loglearn_tf._util.files import write_text
from loglearn_tf.analysis.planned import StudyPart, evaluate, read_parts
from loglearn_tf.analysis.planning import FOLD_STD, RUN_STD
from loglearn_tf.analysis.power import Spread
from loglearn_tf.analysis.report import answer, contrasts, levels
from loglearn_tf.analysis.report.document import Block, Document, Grid, Paragraph, Section, markdown, page
from loglearn_tf.analysis.report.files import write_drawings, write_tables
from loglearn_tf.analysis.report.table import ReportTable, StudyResults
from loglearn_tf.analysis.results import with_score
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.grid import plan_runs


def write_overview(
    study_dir: Path, *, tables: Sequence[ReportTable], confidence: float, seed: int, score: str | None
) -> Path:
    """Writes report.html, report.md, tables/ and figures/ of a study in parts; see `writer.write_report`."""
    parts = read_parts(study_dir)
    answered = answer.of_all_parts(study_dir.resolve().name, parts, score=score, confidence=confidence)
    score = score or "published"
    scored = [replace(part, rows=with_score(part.rows, score)) for part in parts]
    results = StudyResults(scored, confidence=confidence, seed=seed, score=score)
    made = [one.of_study(results) for one in tables if one.scope == "study" and one.applies(results)]
    across = levels.overview(scored, confidence=confidence, seed=seed, score=score)
    write_tables(study_dir / "tables", [*made, *(across.tables if across else [])])
    svgs = write_drawings(study_dir / "figures", across.drawings if across else [])
    synthetic = any(row["synthetic"] for part in parts for row in part.rows)
    lead: list[Block] = [
        Paragraph("SYNTHETIC DATA: these sounds are computed, not recorded.", warning=True)
    ] * synthetic
    n_done = sum(row["status"] == "done" for part in parts for row in part.rows)
    lead.append(
        Paragraph(f"A study in {len(parts)} parts with {n_done:,} finished runs. Each part has its own report.")
    )
    document = Document(
        title=f"The whole study: {study_dir.resolve().name}",
        lead=lead,
        sections=[
            *answered,
            *contrasts_section(parts),
            *([Section("tables", f"Across parts, {score} score", made)] if made else []),
            *([across.section(svgs)] if across else []),
            Section("parts", "The parts", _parts(parts)),
        ],
    )
    write_text(study_dir / "report.md", markdown(document))
    path = study_dir / "report.html"
    write_text(path, page(document))
    return path


def contrasts_section(parts: Sequence[StudyPart]) -> list[Section]:
    """The section on a study's contrasts, if it has any."""
    if not any(part.settings.contrasts for part in parts):
        return []
    try:
        found = contrasts.blocks(parts, evaluate(parts), Spread(RUN_STD, FOLD_STD))
    except ConfigError as error:
        found = [Paragraph(f"The contrasts are not shown: {error}", warning=True)]
    return [Section("contrasts", "Planned contrasts", found)]


def _parts(parts: Sequence[StudyPart]) -> list[Block]:
    head = ("Part", "Data", "Gain, dB", "Highest frequency, Hz", "Done", "Failed", "Planned")
    body = []
    for part in parts:
        settings = part.settings
        states = [row["status"] for row in part.rows]
        body.append(
            (
                part.folder.name,
                settings.data.name,
                f"{settings.features.gain_db:g}",
                "all" if settings.features.f_max is None else f"{settings.features.f_max:g}",
                f"{states.count('done'):,}",
                f"{states.count('failed'):,}",
                f"{len(plan_runs(settings)):,}",
            )
        )
    links: list[Block] = [
        Paragraph(f"{part.folder.name}:", link=f"{part.folder.name}/report.html")
        for part in parts
        if (part.folder / "report.html").is_file()
    ]
    return [Grid(head, tuple(body), n_names=2), *links]
