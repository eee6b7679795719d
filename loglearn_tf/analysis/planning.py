"""Shows what a study can decide, before or after its runs, in words and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loglearn_tf._util.text import align
from loglearn_tf.analysis.planned import StudyPart, contrasts_of
from loglearn_tf.analysis.power import Needed, Power, Spread, needed, power, spreads
from loglearn_tf.analysis.results import with_score
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.settings import ContrastSettings, Settings

# Standard deviations of paired differences on UrbanSound8K, used if nothing else is known: 5.5 points between the runs
# of a fold, 2 between folds. Networks that train less reliably vary more: 10 and more for SB-CNN at n = 2.
RUN_STD, FOLD_STD = 0.055, 0.02
EFFECTS = (0.01, 0.02, 0.03, 0.05)
# Desired power.
CHANCE = 0.8
ONE_RUN = "Nothing can be decided: a single run of a single fold does not show how much runs vary."

_HEAD = (
    *("runs", "half-width", *(f"{100 * effect:g} p." for effect in EFFECTS), "equivalent"),
    *("for 3 p.: runs", "or folds"),
)


@dataclass(frozen=True)
class Planned:
    """The expected precision of one difference.

    Attributes:
        names: Labels of its row: network and n, or the contrast.
        runs: Runs in each fold and n.
        power: Its power.
        needed: Runs, or folds, needed to call 3 points better or worse with a power of 80 %, corrected for the family.
    """

    names: tuple[str, ...]
    runs: int
    power: Power
    needed: Needed


@dataclass(frozen=True)
class PartPlan:
    """What one part of a study can decide about two compressions.

    Attributes:
        part: Its name; empty for a study without parts.
        compression: The compression compared with the baseline; empty before any run, when all are alike.
        spread: By network, assumed or estimated.
        estimated: Whether the spread was estimated from runs.
        rows: For each network, every n and the average over all.
    """

    part: str
    compression: str
    spread: Mapping[str, Spread]
    estimated: bool
    rows: tuple[Planned, ...]


def stated(settings: Settings, spread: Spread, *, margin: float = 0.02) -> PartPlan:
    """Computes what a study can decide before any run.

    Args:
        settings: Settings of the study or part.
        spread: Assumed spread.
        margin: Margin of equivalence.
    """
    of_models = dict.fromkeys(settings.models, spread)
    return PartPlan(settings.part or "", "", of_models, False, _rows(settings, of_models, margin))


def estimated(
    part: StudyPart, *, baseline: str = "logeps", score: str = "published", margin: float = 0.02
) -> list[PartPlan]:
    """Computes what a study can decide, given the variation of its runs.

    Args:
        part: A part with runs.
        baseline: The compression whose accuracy is subtracted.
        score: See `results.with_score`.
        margin: Margin of equivalence.

    Returns:
        One for each compression with usable runs.

    Raises:
        DataError: As for `statistics.compare`.
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
            # There are as many averages as pairs of network and compression.
            cells.append(("average", list(settings.n_shot), family // len(settings.n_shot)))
        for title, n_shot, tests in cells:
            runs = _typical([settings.runs_for(n) for n in n_shot])
            size = {"folds": len(settings.folds), "runs": runs, "n_values": len(n_shot), "family": tests}
            try:
                expected = power(spread, **size, margin=margin, effects=EFFECTS, contrast=False)
                more = needed(spread, **size, margin=margin, effect=0.03, chance=CHANCE, contrast=False)
            except ConfigError:
                continue  # one run of one fold: variation unknown
            rows.append(Planned((model, title), runs, expected, more))
    return tuple(rows)


def of_contrasts(parts: Sequence[StudyPart], spread: Spread) -> list[Planned]:
    """Computes what each contrast of a study can decide, before its runs.

    Runs of parts that share a data set and a `seed` draw the same clips: noise averages out only over different n,
    seeds and data sets. For averages over several data sets the numbers are approximate.

    Args:
        parts: Parts of the study, with or without runs.
        spread: Assumed spread. It is too large for one score minus the other, which share their weights.

    Returns:
        One for each contrast, except those whose cells are not in the last grid, and those of `of_one_run`.

    Raises:
        ConfigError: If parts have different contrasts of the same name.
    """
    contrasts = contrasts_of(parts)
    found = []
    for name, size in _sizes(parts).items():
        if _is_one_run(size):
            continue
        contrast = contrasts[name]
        family, margin = len(contrasts), contrast.margin
        expected = power(spread, **size, family=family, margin=margin, effects=EFFECTS, contrast=True)
        more = needed(spread, **size, family=family, margin=margin, effect=0.03, chance=CHANCE, contrast=True)
        found.append(Planned((name,), size["runs"], expected, more))
    return found


def of_one_run(parts: Sequence[StudyPart]) -> list[str]:
    """Names of the contrasts with a single run of a single fold, which cannot decide anything: see `ONE_RUN`.

    Args:
        parts: Parts of the study, with or without runs.

    Raises:
        ConfigError: If parts have different contrasts of the same name.
    """
    return [name for name, size in _sizes(parts).items() if _is_one_run(size)]


def _is_one_run(size: Mapping[str, int]) -> bool:
    return size["folds"] == 1 and size["runs"] == 1


def _sizes(parts: Sequence[StudyPart]) -> dict[str, dict[str, int]]:
    """The size of each contrast whose cells are in the last grid."""
    studies = [part.settings for part in parts]
    sizes = {name: _size(contrast, studies) for name, contrast in contrasts_of(parts).items()}
    return {name: size for name, size in sizes.items() if size is not None}


def _size(contrast: ContrastSettings, studies: Sequence[Settings]) -> dict[str, int] | None:
    cells = contrast.cells(studies)
    try:
        runs = _typical([cell.ours.runs_for(cell.n_shot) for cell in cells])
    except (KeyError, ZeroDivisionError):
        return None  # its cells are not in the last grid
    data = [(cell.ours.data.name, cell.ours.data.root) for cell in cells]
    folds = {(one, fold) for one, cell in zip(data, cells, strict=True) for fold in cell.ours.folds}
    # As in `planned.evaluate`, runs of another seed are other runs, unless one side of a cell has another seed.
    by_seed = all(cell.ours.seed == cell.theirs.seed for cell in cells)
    draws = [(one, cell.n_shot, cell.ours.seed if by_seed else None) for one, cell in zip(data, cells, strict=True)]
    n_values = min(len({draw for draw in draws if draw[0] == one}) for one in data)
    # Each data set has its own mean, which costs a degree of freedom.
    return {"folds": len(folds) - (len(set(data)) - 1), "runs": runs, "n_values": n_values}


def _typical(runs: Sequence[int]) -> int:
    """Equal number of runs per n with the same overall noise, rounded down."""
    return max(1, int(len(runs) / sum(1 / number for number in runs) + 1e-9))


def format_plan(plan: PartPlan, settings: Settings) -> str:
    """A part's plan as text."""
    n_folds = len(settings.folds)
    title = f"{settings.name}{f', part {plan.part}' if plan.part else ''}: {n_folds} fold{'' if n_folds == 1 else 's'}"
    if plan.estimated:
        varies = "; ".join(f"{model}: {describe(spread)}" for model, spread in plan.spread.items())
        title += f", {plan.compression} minus the baseline. Estimated: {varies}."
    else:
        title += f". Assumed: {describe(next(iter(plan.spread.values())))}."
    if not plan.rows:
        return f"{title}\n{ONE_RUN}"
    return f"{title}\n{align([('network', 'n', *_HEAD), *_lines(plan.rows)], n_names=2)}"


def format_contrasts(planned: Sequence[Planned], spread: Spread, one_run: Sequence[str] = ()) -> str:
    """The power of the contrasts as text, and the names of those that cannot decide anything, from `of_one_run`."""
    shown = [f"Planned contrasts. Assumed: {describe(spread)}."]
    if planned:
        shown.append(align([("contrast", *_HEAD), *_lines(planned)]))
    return "\n".join([*shown, *(f"{name}: {ONE_RUN}" for name in one_run)])


def how_to_read(margin: float) -> str:
    """Explains the columns."""
    return (
        "Half-width: of the 95 % interval over folds, in points. 1, 2, 3, 5 p.: how often a true difference of 1, 2, 3 "
        "or 5 points is called better or worse if it is the only test; a precise study calls differences below the "
        "margin equivalent instead. Equivalent: how often a true difference of 0 is called equivalent, with a margin "
        f"of {100 * margin:g} points (for a contrast, its own margin). Last columns: runs per fold, or folds, needed "
        f"to call 3 points better or worse with a power of {100 * CHANCE:g} % among all tests of the study (Holm); "
        '"never" if no number up to 10,000 is enough, or if the margin is more than 3 points, since a large study then '
        "calls them equivalent. Based on Student's t. Single cells are also tested by ranks: their power is up to 15 "
        "points lower with 7 folds or more, and can be far lower with fewer folds or among many tests. In one fold "
        "they need 6 runs to be called better or worse at all, and more among several tests."
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
    spread: Spread,
    mean: float,
    *,
    folds: int,
    runs: int,
    n_values: int = 1,
    family: int = 1,
    margin: float = 0.02,
    contrast: bool = False,
) -> str:
    """Describes how many more runs or folds would resolve an "undecided".

    A difference beyond the margin is assumed to be the true one and is to be called better or worse; for a smaller one,
    equivalence is to be shown. Observed differences that were selected for their size tend to overestimate the true
    ones, so the numbers are no guarantee.

    Args:
        spread: Spread of the differences.
        mean: Observed mean difference.
        folds, runs, n_values, family, contrast: See `power.power`.
        margin: Margin of equivalence.

    Example:
        >>> what_would_decide(Spread(run=0.055, fold=0.01), 0.05, folds=4, runs=4)
        'To decide with a power of 80 %, if the true difference is +5.0 points: 3 more runs per fold, or 1 more fold.'
    """
    size = {"folds": folds, "runs": runs, "n_values": n_values}
    by_effect = abs(mean) > margin
    effect = min(abs(mean), 0.99)
    more = (
        needed(spread, **size, effect=effect, chance=CHANCE, family=family, margin=margin, contrast=contrast)
        if by_effect
        else needed(spread, **size, equivalent=margin, chance=CHANCE, contrast=contrast)
    )
    goal = f"if there is no difference, with a margin of {100 * margin:g} points"
    if by_effect:
        goal = "if the true difference is " + f"{100 * mean:+.1f} points".replace("-", "−")
    if 0 in (more.more_runs, more.more_folds):
        return f"A study of this size decides with a power of {100 * CHANCE:g} % or more, {goal}; this one did not."
    ways = [
        f"{number:,} more {noun}{'' if number == 1 else 's'}{place}"
        for number, noun, place in ((more.more_runs, "run", " per fold"), (more.more_folds, "fold", ""))
        if number is not None
    ]
    if not ways:
        return f"To decide, {goal}: no number of runs or folds up to 10,000 is enough."
    only = "" if more.more_runs is not None else "; more runs on these folds would not be enough"
    return f"To decide with a power of {100 * CHANCE:g} %, {goal}: {', or '.join(ways)}{only}."
