"""A study's contrasts in words: what was expected, what was found, and what is still missing."""

from collections.abc import Iterable, Mapping, Sequence

from loglearn_tf._util.text import printable
from loglearn_tf.analysis.names import compression_name, model_name
from loglearn_tf.analysis.planned import Outcome, StudyPart
from loglearn_tf.analysis.planning import ONE_RUN, Planned, describe, of_contrasts, of_one_run, what_would_decide
from loglearn_tf.analysis.power import Spread, spread_of
from loglearn_tf.analysis.report.document import Block, Judgement, Paragraph
from loglearn_tf.analysis.report.table import MARKS, p_text, points, points_interval, verdict_interval
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.settings import ContrastSettings


def blocks(parts: Sequence[StudyPart], outcomes: Sequence[Outcome], spread: Spread) -> list[Block]:
    """The contrasts as shown in the report.

    Args:
        parts: Parts of the study.
        outcomes: From `planned.evaluate`.
        spread: Assumed spread, for contrasts without runs.
    """
    planned = _planned(parts, spread)
    shown: list[Block] = [
        Paragraph(
            "The planned contrasts of this study, from its settings. A contrast is evaluated when all its runs are "
            f"done; Holm's correction covers all {len(outcomes)} of them, run or not."
        )
    ]
    for one in outcomes:
        tone = "not run" if one.waiting else one.verdict
        shown.append(
            Judgement(
                f"{one.name}: {_line(one.contrast.title)}",
                _label(one),
                tone,
                tuple(_lines(one, parts, planned, spread)),
            )
        )
    return shown


def text(parts: Sequence[StudyPart], outcomes: Sequence[Outcome], spread: Spread) -> str:
    """The contrasts as text for a terminal."""
    planned = _planned(parts, spread)
    shown = []
    for one in outcomes:
        shown.append(f"{one.name}: {_line(one.contrast.title)}")
        shown += [f"  {line}" for line in (_label(one), *_lines(one, parts, planned, spread))]
        shown.append("")
    end = "1 contrast." if len(outcomes) == 1 else f"{len(outcomes)} contrasts; Holm's correction covers all of them."
    return "\n".join([*shown, end])


def _planned(parts: Sequence[StudyPart], spread: Spread) -> dict[str, Planned | None]:
    """What each contrast can decide, by name; `None` if it is nothing. Those outside the last grid are missing."""
    return {one.names[0]: one for one in of_contrasts(parts, spread)} | dict.fromkeys(of_one_run(parts))


def _label(one: Outcome) -> str:
    interval = verdict_interval(one) or "no interval: nothing varied"
    return one.waiting or f"{MARKS[one.verdict]} {one.verdict}, {points(one.mean)} points ({interval})"


def _line(words: str) -> str:
    """Text of a file as one line without control characters."""
    return printable(" ".join(words.split()), longest=3000)


def _lines(
    one: Outcome, parts: Sequence[StudyPart], of_name: Mapping[str, Planned | None], spread: Spread
) -> Iterable[str]:
    yield f"Compares {what_is_compared(one.contrast)}."
    yield f"Expected: {_line(one.contrast.expect)}"
    if one.waiting:
        planned = of_name.get(one.name)
        if planned is None and one.name in of_name:
            yield ONE_RUN
        if planned is not None:
            interval = f"Its interval {_over(one)}" if one.over_runs else "Its interval"
            yield (
                f"{interval} will be about ±{100 * planned.power.half_width:.1f} points; the power for a difference "
                f"of 3 points is {100 * planned.power.power[2]:.0f} %, and at least "
                f"{100 * planned.power.power_in_family[2]:.0f} % after correction. Assumed: {describe(spread)}."
                + (" Two scores of the same weights differ less." if one.contrast.minus_score is not None else "")
            )
    else:
        corrected = f"over {one.n_corrected} contrast{'' if one.n_corrected == 1 else 's'}"
        yield (
            f"Found: {points(one.mean)} points; 95 % interval {_over(one)} "
            f"{points_interval(one.low, one.high) or 'none'}, "
            f"90 % {points_interval(one.low_90, one.high_90) or 'none'}; p {p_text(one.p_value) or 'none'}, corrected "
            f"{corrected} {p_text(one.p_holm) or 'none'}; margin {100 * one.margin:g} points."
        )
        by_recordings = points_interval(one.low_recordings, one.high_recordings)
        no_interval = ", ".join(("no interval", *filter(None, [one.no_recordings])))
        yield f"By source recordings and runs, 95 %: {by_recordings or no_interval}."
        yield (
            f"Based on {one.n_pairs:,} pairs of runs in {one.n_folds} fold{'' if one.n_folds == 1 else 's'}"
            + ("; nothing is known about other folds" if one.over_runs else "")
            + (f"; {one.n_failed:,} of {one.n_runs:,} runs failed and are in no pair." if one.n_failed else ".")
        )
        if one.verdict == "undecided" and (remedy := _remedy(one, parts)):
            yield remedy
    if one.n_before:
        yield (
            f"{one.n_before:,} of its {one.n_done:,} finished runs were started before this contrast was written in "
            "its present form: for these it is an explanation, not a prediction."
        )
    if one.n_archived:
        yield (
            f"{one.n_archived:,} of its {one.n_done:,} finished runs come from an archive, which does not tell whether "
            "they were started before this contrast was written."
        )


def _over(one: Outcome) -> str:
    """What varies in its interval."""
    if not one.over_runs:
        return "over folds"
    return "over the runs of the single fold" if one.n_folds == 1 else "over the runs of single folds"


def what_is_compared(contrast: ContrastSettings) -> str:
    """`loglearn minus log-EPS (settled score), TIMBRE, n = 1, 2, in parts esc10, us8k`."""
    score = f"{contrast.score} score"
    if contrast.minus_score is not None:
        score = f"{contrast.score} score, minus the same by the {contrast.minus_score} score"
    models = "all networks" if contrast.models is None else ", ".join(map(model_name, contrast.models))
    n_shot = "all n" if contrast.n_shot is None else f"n = {', '.join(map(str, contrast.n_shot))}"
    parts = (
        ""
        if contrast.parts is None
        else f", part{'' if len(contrast.parts) == 1 else 's'} " + ", ".join(contrast.parts)
    )
    names = f"{compression_name(contrast.compression)} minus {compression_name(contrast.baseline)}"
    if contrast.baseline_parts is not None:
        names += f" of part{'' if len(contrast.baseline_parts) == 1 else 's'} {', '.join(contrast.baseline_parts)}"
    return f"{names} ({score}), {models}, {n_shot}{parts}"


def _remedy(one: Outcome, parts: Sequence[StudyPart]) -> str:
    planned = next(
        (found for found in of_contrasts(parts, Spread(run=0.05, fold=0)) if found.names == (one.name,)), None
    )
    try:
        spread = spread_of(*one.differences)
    except (ConfigError, DataError):  # one fold, one run per fold, or no variation
        return ""
    if planned is None:
        return ""
    size = planned.power
    return what_would_decide(
        spread,
        one.mean,
        folds=size.folds,
        runs=size.runs,
        n_values=size.n_values,
        family=one.n_corrected,
        margin=one.margin,
        contrast=True,
    )
