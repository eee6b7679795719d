"""What a study can decide, before or after its runs, in words and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loglearn_tf._util.text import align
from loglearn_tf.analysis.planned import StudyPart, contrasts_of
from loglearn_tf.analysis.power import Needed, Power, Spread, needed, power, spreads
from loglearn_tf.analysis.results import with_score
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.settings import ContrastSettings, Settings

# Of paired differences on UrbanSound8K, where nothing else is known: 5.5 points between the runs of a fold, 2 between
# the folds. Networks that learn less surely vary more: 10 and more were seen with SB-CNN at n = 2.
RUN_STD, FOLD_STD = 0.055, 0.02
EFFECTS = (0.01, 0.02, 0.03, 0.05)
# How sure one wants to be of finding what is there.
CHANCE = 0.8

_HEAD = (
    *("runs", "half-width", *(f"{100 * effect:g} p." for effect in EFFECTS), "equivalent"),
    *("for 3 p.: runs", "or folds"),
)


@dataclass(frozen=True)
class Planned:
    """What is to be expected of one difference.

    Attributes:
        names: Of its row: network and n, or the contrast.
        runs: In every fold and n.
        power: Of it.
        needed: How many runs, or folds, find 3 points with a chance of 80 %, within the family.
    """

    names: tuple[str, ...]
    runs: int
    power: Power
    needed: Needed


@dataclass(frozen=True)
class PartPlan:
    """What one part of a study can decide of two compressions.

    Attributes:
        part: Its name; empty where there is one.
        compression: Whose difference; empty where all are alike, before any run.
        spread: By network, stated or estimated.
        estimated: Whether the runs told the spread.
        rows: For every network, each n and the average over all.
    """

    part: str
    compression: str
    spread: Mapping[str, Spread]
    estimated: bool
    rows: tuple[Planned, ...]


def stated(settings: Settings, spread: Spread, *, margin: float = 0.02) -> PartPlan:
    """What a study can decide before any run.

    Args:
        settings: Of it, or of a part.
        spread: Stated.
        margin: Of equivalence.
    """
    of_models = dict.fromkeys(settings.models, spread)
    return PartPlan(settings.part or "", "", of_models, False, _rows(settings, of_models, margin))


def estimated(
    part: StudyPart, *, baseline: str = "logeps", score: str = "published", margin: float = 0.02
) -> list[PartPlan]:
    """What a study can decide, as its runs tell how much they vary.

    Args:
        part: With runs.
        baseline: Whose accuracy is subtracted.
        score: See `results.with_score`.
        margin: Of equivalence.

    Returns:
        One for each compression of which something is known.

    Raises:
        DataError: As `statistics.compare`.
    """
    rows = with_score(part.rows, score)
    plans = []
    for compression in part.settings.compressions:
        if compression != baseline:
            found = {
                model: spread
                for (_, model), spread in spreads(rows, compression=compression, baseline=baseline).items()
            }
            shown = _rows(part.settings, found, margin)
            if shown:
                plans.append(PartPlan(part.settings.part or "", compression, found, True, shown))
    return plans


def _rows(settings: Settings, of_models: Mapping[str, Spread], margin: float) -> tuple[Planned, ...]:
    family = len(settings.models) * len(settings.n_shot) * max(len(settings.compressions) - 1, 1)
    rows = []
    for model, spread in of_models.items():
        cells: list[tuple[str, list[NShot], int]] = [(str(n), [n], family) for n in settings.n_shot]
        if len(settings.n_shot) > 1:
            # Of the averages there are as many as networks and compressions.
            cells.append(("average", list(settings.n_shot), family // len(settings.n_shot)))
        for title, n_shot, tests in cells:
            runs = _typical([settings.runs_for(n) for n in n_shot])
            size = {"folds": len(settings.folds), "runs": runs, "n_values": len(n_shot), "family": tests}
            try:
                expected = power(spread, **size, margin=margin, effects=EFFECTS)
                more = needed(spread, **size, effect=0.03, chance=CHANCE)
            except ConfigError:
                continue  # one run of one fold, from which nothing can be told
            rows.append(Planned((model, title), runs, expected, more))
    return tuple(rows)


def of_contrasts(parts: Sequence[StudyPart], spread: Spread) -> list[Planned]:
    """What each contrast of a study will be able to decide, before its runs.

    Runs of parts that share a data set draw the same clips: only different n, and data sets, average their noise out.
    Of averages over several data sets the numbers are close, no more.

    Args:
        parts: Of the study, with runs or without.
        spread: Stated. Of a score minus the other, whose weights are the same, it is too large.

    Raises:
        ConfigError: If parts hold different contrasts under the same name.
    """
    contrasts = contrasts_of(parts)
    studies = [part.settings for part in parts]
    found = []
    for name, contrast in contrasts.items():
        size = _size(contrast, studies)
        if size is None:
            continue
        expected = power(spread, **size, family=len(contrasts), margin=contrast.margin, effects=EFFECTS)
        more = needed(spread, **size, family=len(contrasts), effect=0.03, chance=CHANCE)
        found.append(Planned((name,), size["runs"], expected, more))
    return found


def _size(contrast: ContrastSettings, studies: Sequence[Settings]) -> dict[str, int] | None:
    cells = contrast.cells(studies)
    try:
        runs = _typical([cell.ours.runs_for(cell.n_shot) for cell in cells])
    except (KeyError, ZeroDivisionError):
        return None  # its cells are not in the grid that was asked for last
    data = [(cell.ours.data.name, cell.ours.data.root) for cell in cells]
    folds = {(one, fold) for one, cell in zip(data, cells, strict=True) for fold in cell.ours.folds}
    n_values = min(len({cell.n_shot for other, cell in zip(data, cells, strict=True) if other == one}) for one in data)
    # Each data set has a mean of its own, which costs a degree of freedom.
    return {"folds": len(folds) - (len(set(data)) - 1), "runs": runs, "n_values": n_values}


def _typical(runs: Sequence[int]) -> int:
    """Runs that leave as much noise in each n as these do in all, no more than there are."""
    return max(1, int(len(runs) / sum(1 / number for number in runs) + 1e-9))


def format_plan(plan: PartPlan, settings: Settings) -> str:
    """A part's plan as text."""
    n_folds = len(settings.folds)
    title = f"{settings.name}{f', part {plan.part}' if plan.part else ''}: {n_folds} fold{'' if n_folds == 1 else 's'}"
    if plan.estimated:
        varies = "; ".join(f"{model}: {describe(spread)}" for model, spread in plan.spread.items())
        title += f", {plan.compression} minus the baseline. Estimated: {varies}."
    else:
        title += f". Stated: {describe(next(iter(plan.spread.values())))}."
    if not plan.rows:
        return f"{title}\nNothing can be decided: one run of one fold does not tell how much runs vary."
    return f"{title}\n{align([('network', 'n', *_HEAD), *_lines(plan.rows)], n_names=2)}"


def format_contrasts(planned: Sequence[Planned], spread: Spread) -> str:
    """What its contrasts will be able to decide, as text."""
    title = f"The contrasts that the study wrote down. Stated: {describe(spread)}."
    return f"{title}\n{align([('contrast', *_HEAD), *_lines(planned)])}"


def how_to_read(margin: float) -> str:
    """What the columns are."""
    return (
        "Half-width: of the 95 % interval over folds, in points. 1, 2, 3, 5 p.: how often a true difference of so many "
        "points is called better or worse, were it the only test. Equivalent: how often no difference is called "
        f"equivalent, with a margin of {100 * margin:g} points (of a contrast, its own). Last: runs in each fold, or "
        f"folds, that find 3 points with a chance of {100 * CHANCE:g} % among all tests of the study (Holm). By "
        "Student's t; single cells are judged more strictly, and decide a little less."
    )


def _lines(planned: Sequence[Planned]) -> list[tuple[str, ...]]:
    return [
        (
            *one.names,
            f"{one.runs:,}",
            f"±{100 * one.power.half_width:.1f}",
            *(f"{100 * share:.0f} %" for share in one.power.power),
            f"{100 * one.power.equivalent_at_zero:.0f} %",
            _number(one.needed.runs),
            _number(one.needed.folds),
        )
        for one in planned
    ]


def _number(fewest: int | None) -> str:
    return "never" if fewest is None else f"{fewest:,}"


def describe(spread: Spread) -> str:
    """`5.5 points between the runs of a fold, 2 between folds`."""
    text = f"{100 * spread.run:.1f} points between the runs of a fold, {100 * spread.fold:.1f} between folds"
    return f"{text}, {100 * spread.recording:.1f} between recordings" if spread.recording else text


# ---- What would decide --------------------------------------------------------------------------------------------


def what_would_decide(
    spread: Spread, mean: float, *, folds: int, runs: int, n_values: int = 1, family: int = 1, margin: float = 0.02
) -> str:
    """How many more runs or folds would end an "undecided", in words.

    A difference beyond the margin is taken for the true one, which then is to be called better or worse; of a smaller
    one, its absence is to be called equivalent. Differences that were found are, on average, larger than the true ones
    where they were looked for: the numbers are no promise.

    Args:
        spread: Of the differences.
        mean: What was found.
        folds, runs, n_values, family: See `power.power`.
        margin: Of equivalence.

    Example:
        >>> what_would_decide(Spread(run=0.055, fold=0.01), 0.05, folds=4, runs=4)
        'To decide, with a chance of 80 %, were the true difference +5.0 points: 3 more runs a fold, or 1 more fold.'
    """
    size = {"folds": folds, "runs": runs, "n_values": n_values}
    by_effect = abs(mean) > margin
    more = (
        needed(spread, **size, effect=min(abs(mean), 0.99), chance=CHANCE, family=family)
        if by_effect
        else needed(spread, **size, equivalent=margin, chance=CHANCE)
    )
    goal = "were there no difference, by a margin of " + f"{100 * margin:g} points"
    if by_effect:
        goal = "were the true difference " + f"{100 * mean:+.1f} points".replace("-", "−")
    ways = [
        f"{number:,} more {noun}{'' if number == 1 else 's'}{place}"
        for number, noun, place in ((more.more_runs, "run", " a fold"), (more.more_folds, "fold", ""))
        if number is not None
    ]
    if not ways:
        return f"To decide, {goal}: no number of runs or folds up to 10,000 would do."
    only = "" if more.more_runs is not None else "; no number of runs would do on these"
    return f"To decide, with a chance of {100 * CHANCE:g} %, {goal}: {', or '.join(ways)}{only}."
