"""Puts a study's recommendation into plain sentences that claim no more than the numbers show."""

import math
from collections.abc import Iterable, Sequence

from loglearn_tf.analysis.advice import Answer, AtLevel, Learning, Level, Overall, PartAdvice, Passage, Recommendation
from loglearn_tf.analysis.best import Standing
from loglearn_tf.analysis.names import compression_name, dataset_title, model_name
from loglearn_tf.analysis.planning import CHANCE

# With fewer, an interval reflects the small number of folds more than the recordings.
_FEW_FOLDS = 5
_NO_PAIR = "no runs of the same n and fold"


def passages(found: Recommendation) -> list[Passage]:
    """All sentences, the answer first."""
    said = []
    if found.overall is not None or found.waiting:
        title = f"The whole study, {_count(len(found.parts), 'part')}"
        said.append(Passage("", title, tuple(_of_all_parts(found))))
    for part in found.parts:
        said += _of_part(found, part)
    return said


def headline(found: Recommendation) -> str:
    """The answer in one sentence."""
    answers = [one for part in found.parts for one in part.answers]
    if len(answers) == 1:
        return _recommended(answers[0], found.margin)
    overall = found.overall or found.parts[0].overall
    if overall is None:
        return "Nothing to compare."
    return _in_common(overall, found.margin, parts=found.overall is not None)


def _of_all_parts(found: Recommendation) -> Iterable[str]:
    if found.overall is not None:
        yield _in_common(found.overall, found.margin, parts=True)
        yield (
            "Parts differ in data, level or training: the statements below hold for each part separately, with the "
            "confidence given there."
        )
    if found.waiting:
        yield f"Not included, since they have no finished run: {_list(found.waiting)}."


def _in_common(overall: Overall, margin: float, *, parts: bool = False) -> str:
    what = "answers (parts and networks)" if parts else "networks"
    number = f"{overall.n_answers} {what}"
    if overall.recommended is None:
        return f"No single compression is recommended for all {number}: each is ruled out as the best in at least one."
    name = compression_name(overall.recommended)
    if overall.agree:
        open_ = str(overall.n_open) if overall.n_open < overall.n_answers else "all"
        choice = f" The runs do not decide {open_} of them." * bool(overall.n_open)
        number = f"both {what}" if overall.n_answers == 2 else f"all {number}"
        return f"Recommended for {number}: {name}.{choice}"
    if overall.recommended in overall.near:
        return (
            f"The {number} differ in their answers. {name} is shown to be within "
            f"{_points(margin)} of the best in all of them."
        )
    return (
        f"The {number} differ in their answers. {name} is not ruled out in any of them, and it is "
        "the simplest such compression."
    )


def _of_part(found: Recommendation, part: PartAdvice) -> Iterable[Passage]:
    first: list[str] = []
    if part.synthetic:
        first.append("SYNTHETIC DATA: these sounds are computed. The results say nothing about recordings.")
    if part.overall is not None:
        yield Passage(part.part, "All networks", (*first, _in_common(part.overall, found.margin)))
        first = []
    n_networks = sum(len(one.standings) > 1 for one in part.answers)
    for one in part.answers:
        title = f"Compression for {dataset_title(one.dataset)} and {model_name(one.model)}"
        yield Passage(part.part, title, (*first, *_which(one, found, n_networks)))
        first = []
    yield Passage(part.part, "What learning adds", tuple(_learning(part)), part.to_add)
    levels = [sentence for level in part.levels for sentence in _level(level, part)]
    if levels:
        yield Passage(part.part, "How loud the recordings are", tuple(levels))
    if n_networks:
        yield Passage(part.part, "What it takes to know more", tuple(_more(part, found)))
    yield Passage(part.part, "Basis", tuple(_rests_on(part)))


# ---- Which --------------------------------------------------------------------------------------------------------


def _which(one: Answer, found: Recommendation, n_networks: int) -> Iterable[str]:
    yield _recommended(one, found.margin)
    standings = one.standings
    if len(standings) == 1:
        return
    names = len(standings)
    together = f", for all {n_networks} networks together" if n_networks > 1 else ""
    certainty = f"With {100 * found.confidence:g} % certainty{together}"
    can, near = one.can_be_best, one.near
    margin = _points(found.margin)
    if len(near) == names:
        yield (
            f"{certainty}, the choice hardly matters: none of the {names} compressions is more than {margin} behind "
            "the best."
        )
    elif len(can) == 1:
        yield f"{certainty}, {compression_name(can[0])} is the best of the {names} compressions."
    elif len(can) == names:
        yield (
            f"No difference was found: none of the {names} compressions can be ruled out as the best. "
            f"{_how_far(standings)}"
        )
    else:
        yield f"{certainty}, the best of the {names} compressions is one of these: {_names(can)}."
    if len(can) > 1 and 0 < len(near) < names:
        yield f"Shown, with the same certainty, to be no more than {margin} behind the best: {_names(near)}."
    elif len(can) > 1 and not near:
        yield f"No compression is shown to be within {margin} of the best."
    yield _first(standings)
    yield "Behind it: " + "; ".join(_behind(other) for other in standings[1:]) + "."


def _first(standings: Sequence[Standing]) -> str:
    first, second = standings[0], standings[1]
    name, next_one = compression_name(first.compression), compression_name(second.compression)
    # In an unfinished study, means are over the runs that all have, and differences over those that two have.
    if first.accuracy >= max(one.accuracy for one in standings) and not math.isnan(first.behind):
        return (
            f"{name} has the highest mean accuracy, {100 * first.accuracy:.1f} %, {_points(first.behind)} ahead of "
            f"{next_one}."
        )
    if math.isnan(first.behind):
        return f"{name} is named first; it and {next_one} have {_NO_PAIR}."
    return f"{name} is ahead in the runs that two compressions share, {_points(first.behind)} ahead of {next_one}."


def _how_far(standings: Sequence[Standing]) -> str:
    lows = [one.low for one in standings if one.low is not None]
    if len(lows) < len(standings):
        return "This does not mean that they are equal: how far they differ is unknown."
    return f"This does not mean that they are equal: one may be {_points(-min(lows))} behind another."


def _recommended(one: Answer, margin: float) -> str:
    name = compression_name(one.recommended)
    if one.reason == "alone":
        return f"Only {name} has finished runs, so there is nothing to compare."
    learns = "" if one.learns else " (it learns nothing)"
    if one.reason == "best":
        why = "it is the only one that can be the best"
    elif one.reason == "near":
        alone = len(one.near) == 1
        of = "the only one" if alone else f"the simplest{learns} of the {len(one.near)} compressions"
        why = f"it is {of} shown to be no more than {_points(margin)} behind the best"
    elif one.reason == "highest":
        why = f"its mean is highest by more than {_points(margin)}, but the runs do not decide whether it is the best"
    else:
        unknown = any(math.isnan(other.behind) for other in one.standings if other.can_be_best)
        within = "not known to be more than {} below" if unknown else "within {} of"
        why = (
            f"of those that can be the best and are {within.format(_points(margin))} the highest mean, it is the "
            f"simplest{learns}; this is a choice, since the runs do not decide"
        )
    return f"Recommended: {name}, because {why}."


def _behind(one: Standing) -> str:
    if math.isnan(one.behind):
        return f"{compression_name(one.compression)} unknown ({_NO_PAIR})"
    text = f"{compression_name(one.compression)} {_points(abs(one.behind))}"
    if one.behind > 0:  # its pairs are of other runs than those of the others
        text += " ahead in the runs they share"
    at_most = "" if one.low is None else f", at most {_points(-one.low)}"
    if not one.can_be_best:
        least = -(one.high or 0.0)
        if round(100 * least, 1) > 0:
            return f"{text} (worse than the best by at least {_points(least)}{at_most})"
        # Of equal compressions, one may be excluded from those that can be the best.
        bound = f"behind by{at_most.removeprefix(',')}" if at_most else "not bounded"
        return f"{text} (not better than those that can be the best; {bound})"
    if one.low is None:
        return f"{text} (not bounded)"
    return f"{text} (at most {_points(-one.low)} behind the best)"


# ---- Learning -----------------------------------------------------------------------------------------------------


def _learning(part: PartAdvice) -> Iterable[str]:
    found = [of for one in part.answers for of in one.learning]
    for one in found:
        yield _gain(one, part)
    if any(not one.same_start for one in found):
        yield "These two also differ in their formula, not only in learning."
    if part.to_add:
        cannot = "" if found else "These runs do not show what learning adds. "
        yield (
            f"{cannot}This needs a learned compression and a fixed one that stays where the first starts. With these "
            "lines in its YAML file, the study adds the missing runs and keeps the finished ones."
        )


def _gain(one: Learning, part: PartAdvice) -> str:
    names = f"{_where(one, part)}{compression_name(one.learned)} minus {compression_name(one.fixed)}"
    if math.isnan(one.mean):
        return f"{names}: unknown, since no pair of runs has finished."
    subject, object_ = ("learning", "learning") if one.same_start else (compression_name(one.learned), "it")
    what = {
        "better": f"{subject} helps",
        "worse": f"{subject} hurts",
        "equivalent": f"{subject} makes no difference of {_points(one.margin)} or more",
        "undecided": f"it is not known whether {object_} helps",
    }[one.verdict]
    interval = _interval(one.low, one.high, 95)
    if one.verdict == "equivalent":
        interval = _interval(one.low_90, one.high_90, 90)
    corrected = f", p {_p(one.p_holm)}" + (
        f" after Holm's correction over {one.n_corrected} such differences" if one.n_corrected > 1 else ""
    )
    test = "" if one.p_holm is None or one.verdict == "equivalent" else corrected
    return f"{names}: {_signed(one.mean)} points{interval}{test}: {what}."


# ---- Level --------------------------------------------------------------------------------------------------------


def _level(level: Level, part: PartAdvice) -> Iterable[str]:
    title = f"{dataset_title(level.dataset)}: " if len(part.levels) > 1 else ""
    if level.below_knee is not None and level.silent is not None:
        yield (
            f"{title}{100 * level.below_knee:.0f} % of all mel bins are below loglearn's initial knee of "
            f"{level.knee:.2g}. loglearn maps them to nearly one constant; log-EPS spreads them out. "
            f"{100 * level.silent:.1f} % have zero power, as in digital silence."
        )
    if level.clip_dbfs is not None:
        low, middle, high = level.clip_dbfs
        yield (
            f"{title}The median clip level is {_db(middle)} dBFS, and 90 % of clips are between {_db(low)} and "
            f"{_db(high)} (RMS; a full-scale sine is −3). For recordings 10 dB quieter, a knee acts like one ten times "
            "higher."
        )
    for gain in dict.fromkeys(one.gain_db for one in level.at_other_levels):
        for model in dict.fromkeys(one.model for one in level.at_other_levels):
            at = [one for one in level.at_other_levels if (one.gain_db, one.model) == (gain, model)]
            if at:
                yield (
                    f"{title}{model_name(model)}, scored {_db(abs(gain))} dB {'quieter' if gain < 0 else 'louder'} "
                    f"than trained: accuracy changes by {'; '.join(map(_change, at))}. The intervals are 95 % each, "
                    "uncorrected."
                )
    if level.below_knee is None and not level.at_other_levels:
        yield (
            f"{title}Unknown: the study's folder has no histogram of mel power. Run loglearn explain with the study's "
            "settings to see what a knee flattens."
        )
    elif not level.at_other_levels:
        yield (
            f"{title}The effect of other levels on these networks is unknown. To score every network at other levels, "
            "too, set evaluation.gains_db: [-20, 20] in the YAML file of a new study."
        )


def _change(one: AtLevel) -> str:
    interval = "" if one.low is None or one.high is None else f" ({_signed(one.low)} to {_signed(one.high)})"
    return f"{compression_name(one.compression)} {_signed(one.change)} points{interval}"


# ---- More, and what it rests on -----------------------------------------------------------------------------------


def _more(part: PartAdvice, found: Recommendation) -> Iterable[str]:
    reckoned = False
    for one in part.answers:
        where = _where(one, part)
        if len(one.standings) < 2:
            continue
        if one.more is None:
            yield (
                f"{where}Nothing is left to decide, unless differences below {_points(found.margin)} or other "
                "recordings, networks or n matter."
            )
            continue
        more = one.more
        names = f"{compression_name(more.other)} from {compression_name(more.compression)}"
        if more.unknown:
            if more.unfinished:
                remedy = "more of the study's runs"
            elif "runs differ" in more.unknown:
                remedy = "at least two runs of each (setting `runs`)"
            else:
                remedy = "more folds"
            yield f"{where}To distinguish {names} takes {remedy}: {more.unknown}."
            continue
        if more.as_found:
            goal = f"if the true difference is the {_points(abs(more.mean))} found here"
        else:
            goal = f"if there is no difference, with a margin of {_points(found.margin)}"
        ways = [
            f"{number:,} more {noun}{'' if number == 1 else 's'}{place}"
            for number, noun, place in ((more.runs, "run", " in each fold"), (more.folds, "fold", ""))
            if number is not None
        ]
        needs = " or ".join(ways) or "more than 10,000 runs or folds"
        only = "; more runs on these folds would not be enough" if more.runs is None and more.folds is not None else ""
        yield f"{where}To distinguish {names} with a power of {100 * CHANCE:g} %, {goal}: {needs}{only}."
        reckoned = reckoned or bool(ways)
    if reckoned:
        yield "These numbers are estimated from the variation of these runs; they are no guarantee."


def _rests_on(part: PartAdvice) -> Iterable[str]:
    what = {
        "settled": "the settled score: each network with settled batch normalisation, as after more updates",
        "published": "the published score: each network as it is after training",
    }[part.score]
    yield f"All results use {what}."
    yield from _scores(part)
    for one in part.answers:
        where = _where(one, part)
        n = ", ".join(map(str, one.n_shot))
        same = ", with equal weights" if len(one.n_shot) > 1 else ""
        yield (
            f"{where}{_count(one.n_runs, 'finished run')} in {_count(len(one.folds), 'fold')} "
            f"({', '.join(map(str, one.folds))}), n = {n}{same}."
        )
        if not one.n_of_all:
            yield f"{where}No n and fold were run with all compressions: mean accuracies are over what each has run."
        elif one.n_of_all != one.n_shot:
            common = ", ".join(map(str, one.n_of_all))
            yield f"{where}Mean accuracies are over n = {common}, which was run with all compressions."
        width = one.ordered.half_width
        if len(one.standings) > 1:
            yield where + _precision(one, width)
    yield from part.notes


def _precision(one: Answer, width: float | None) -> str:
    n_comparisons = one.ordered.n_comparisons
    corrected = f", corrected for {n_comparisons} comparisons:" if n_comparisons > 1 else ""
    n_folds = len(one.folds)
    if width is None:
        return f"The precision of the differences is unknown: {_why_unknown(one)}."
    text = (
        f"Differences between two compressions are known to about ±{_points(width)}{corrected or ':'} smaller ones are "
        "not detected."
    )
    if n_folds == 1:
        also = (
            "from its recordings and runs"
            if one.rests_on == "recordings and runs"
            else f"from its runs alone ({one.rests_on_because}); other recordings may give another answer"
        )
        return f"{text} There is only one fold, so this is estimated {also}. Nothing is known about other folds."
    if n_folds < _FEW_FOLDS:
        return (
            f"{text} {n_folds} folds are few: the effect of other recordings is estimated from only {n_folds} values, "
            "however many runs there are."
        )
    return text


def _why_unknown(one: Answer) -> str:
    if all(math.isnan(other.behind) for other in one.standings):
        return f"two compressions have {_NO_PAIR}"
    if len(one.folds) == 1 and one.n_runs > len(one.standings) * len(one.n_shot):
        return "there is a single fold, and in it one run of an n, or no difference between runs"
    if len(one.folds) == 1:
        return "two compressions have only a single fold with one run each"
    if one.more is not None and one.more.unknown and not one.more.unfinished:
        return one.more.unknown
    return "two compressions have only a single fold in common"


def _scores(part: PartAdvice) -> Iterable[str]:
    other = "published" if part.score == "settled" else "settled"
    for one in part.by_other_score:
        yield (
            f"WARNING, {_where(one, part)}the {other} score gives another answer: it recommends "
            f"{compression_name(one.recommended)}; the best may be any of: {_names(one.can_be_best)}. Use --score "
            f"{other} for the details."
        )
    if part.other_score_known and not part.by_other_score:
        yield f"The {other} score gives the same answer."


def _where(one: Answer | Learning, part: PartAdvice) -> str:
    """Names the data set and network, if there are several."""
    of = [dataset_title(one.dataset)] if len({answer.dataset for answer in part.answers}) > 1 else []
    of += [model_name(one.model)] if len({answer.model for answer in part.answers}) > 1 else []
    return f"{', '.join(of)}: " if of else ""


# ---- Numbers as text ----------------------------------------------------------------------------------------------


def _points(fraction: float) -> str:
    number = f"{100 * fraction:.1f}".removesuffix(".0").replace("-", "−")
    number = "0" if number == "−0" else number
    return f"{number} point{'' if number == '1' else 's'}"


def _signed(fraction: float) -> str:
    rounded = round(100 * fraction, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _db(decibels: float) -> str:
    return f"{decibels:.0f}".replace("-", "−")


def _interval(low: float | None, high: float | None, percent: int) -> str:
    return "" if low is None or high is None else f" ({percent} % interval {_signed(low)} to {_signed(high)})"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _names(names: Sequence[str]) -> str:
    return _list([compression_name(name) for name in names])


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
