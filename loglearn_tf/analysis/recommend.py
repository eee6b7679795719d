"""Recommends a compression from a study's finished runs, with its certainty and the effect of learning."""

import ast
import importlib.util
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.advice import (
    Answer,
    AtLevel,
    Learning,
    Level,
    More,
    Overall,
    PartAdvice,
    Recommendation,
)
from loglearn_tf.analysis.advice_words import passages
from loglearn_tf.analysis.answers import StudyAnswers
from loglearn_tf.analysis.best import Compared, Ordered, Pairs, common_folds, compared, mean_accuracies, order, pairs_of
from loglearn_tf.analysis.mixed import Estimate
from loglearn_tf.analysis.names import datasets_in_order, models_in_order
from loglearn_tf.analysis.planned import find_parts
from loglearn_tf.analysis.planning import CHANCE
from loglearn_tf.analysis.power import Spread, needed, spread_of
from loglearn_tf.analysis.recordings import ClipDifferences, two_way
from loglearn_tf.analysis.results import SCORES, Runs, check_score
from loglearn_tf.analysis.statistics import in_one_family
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.features.histogram import START_ALPHA, START_BETA, read_mel_histogram
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import Row, key_of, level_rows, read_runs, result_files
from loglearn_tf.study.settings import CompressionVariant, Settings

# Arguments of layers that control learning, not its starting point.
_NOT_OF_THE_START = ("trainable", "learning_rate_factor")


def recommend(
    study: str | Path,
    overrides: Sequence[str] = (),
    *,
    score: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
) -> Recommendation:
    """Recommends a compression from a study's finished runs.

    For every network, over all its n: which compressions can be the best, and which are shown to be within the margin
    of the best (`best.order`; all statements about a part hold jointly, over all its networks, with `confidence`); what
    learning adds; how loud the recordings are relative to a knee; and what it takes to decide more. One compression is
    recommended, with the reason: the best one if it is known, otherwise the simplest of those not ruled out. Fixed
    compressions count as simpler than learned ones, then the order of `COMPRESSIONS` decides.

    Args:
        study: The folder of a study or of a part, a YAML file, or the name of a built-in experiment.
        overrides: `key=value`, for a YAML file or an experiment.
        score: `"settled"` or `"published"`, see `results.with_score`; `None` for settled if runs have it.
        margin: Differences within it count as zero: 0.02 is 2 points.
        confidence: Joint confidence of the statements about which compressions can be the best.

    Raises:
        ConfigError: If there is no such study or score, or an argument is out of range.
        DataError: If no run has finished, or a result cannot be read.

    Example::

        print(recommend("runs/mine"))
    """
    _check(score, margin, confidence)
    name, parts = _found(study, overrides)
    return of_parts(name, parts, score=score, margin=margin, confidence=confidence)


@dataclass(frozen=True)
class Part:
    """Runs that are evaluated together: a part of a study, or a study without parts.

    Attributes:
        name: Empty for a study without parts.
        folder: Folder of its runs; `None` omits what needs files: recordings and their levels.
        rows: Its runs, from `read_runs`.
        settings: The settings; `None` omits notes on missing runs.
    """

    name: str
    folder: Path | None
    rows: Sequence[Row]
    settings: Settings | None = None


def of_parts(
    name: str,
    parts: Sequence[Part],
    *,
    score: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
) -> Recommendation:
    """`recommend` for runs that are already in memory.

    Args:
        name: Name of the study.
        parts: Parts of the study.
        score, margin, confidence: See `recommend`.

    Raises:
        ConfigError, DataError: As for `recommend`.
    """
    begun = [part for part in parts if any(map(_is_done, part.rows))]
    if not begun:
        folders = ", ".join(str(part.folder) for part in parts[:3])
        raise DataError(f"No run of {name} has finished in {folders}. Start them with `loglearn run`.")
    advised = tuple(advise(part, score=score, margin=margin, confidence=confidence) for part in begun)
    variants = {key: value for part in begun for key, value in _variants(part.settings, part.rows).items()}
    answers = [one for part in advised for one in part.answers]
    overall = _overall(answers, variants) if len(advised) > 1 else None
    waiting = tuple(part.name for part in parts if part not in begun)
    found = Recommendation(name, margin, confidence, advised, overall, waiting)
    return replace(found, passages=tuple(passages(found)))


def _found(study: str | Path, overrides: Sequence[str]) -> tuple[str, list[Part]]:
    folder = Path(study)
    if (
        folder.is_dir()
        and not overrides
        and not (folder / "study.yaml").is_file()
        and not any(folder.glob("*/study.yaml"))
        and any(result_files(folder))
    ):
        # Only runs, for example merged from several machines.
        return folder.resolve().name, [Part("", folder, read_runs(folder))]
    parts = find_parts(study, overrides)
    names = [part.settings.part or "" for part in parts]
    return parts[0].settings.name, [
        Part(name, part.folder, part.rows, part.settings) for name, part in zip(names, parts, strict=True)
    ]


def _check(score: str | None, margin: float, confidence: float) -> None:
    if score is not None:
        check_score(score)
    mixed.check_margin(margin)
    mixed.check_confidence(confidence)


def _is_done(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "done")


def advise(part: Part, *, score: str | None = None, margin: float = 0.02, confidence: float = 0.95) -> PartAdvice:
    """The recommendation for one part; see `recommend`.

    Args:
        part: Its rows need the columns that `statistics.compare` needs. An `identity`, as in `read_runs`, defines the
            variants of compressions.
        score, margin, confidence: See `recommend`.

    Raises:
        ConfigError: If an argument is out of range.
        DataError: If no run is done or none has this score.
    """
    _check(score, margin, confidence)
    rows, folder, settings = list(part.rows), part.folder, part.settings
    done = [row for row in rows if _is_done(row)]
    used = score or ("settled" if any(_has(row, "settled") for row in done) else "published")
    usable = [row for row in done if _has(row, used)]
    if not usable:
        raise DataError(
            f"No finished run has a {used} score. Received: {len(done):,} finished runs. "
            + ("Omit `--score`, or run the study again." if done else "Run the study first.")
        )
    variants = _variants(settings, rows)
    answers = _answers(usable, used, folder, variants, margin, confidence)
    other = next(name for name in SCORES if name != used)
    both = [row for row in usable if _has(row, other)]
    common = (folder, variants, margin, confidence)
    ours = answers if len(both) == len(usable) else _answers(both, used, *common)
    by_other = _that_differ(ours, _answers(both, other, *common)) if both else ()
    return PartAdvice(
        part=part.name,
        score=used,
        synthetic=any(row.get("synthetic") for row in rows),
        answers=answers,
        overall=_overall(answers, variants) if len(answers) > 1 else None,
        levels=tuple(_levels(usable, used, folder)),
        by_other_score=by_other,
        other_score_known=bool(both),
        notes=tuple(_notes(rows, usable, used, score, settings)),
        to_add=tuple(_to_add(answers, variants)),
    )


def _has(row: Mapping[str, Any], score: str) -> bool:
    value = row.get(SCORES[score])
    try:
        return value is not None and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


# ---- One network ------------------------------------------------------------------------------------------------


def _answers(
    rows: Sequence[Row],
    score: str,
    folder: Path | None,
    variants: Mapping[str, CompressionVariant],
    margin: float,
    confidence: float,
) -> tuple[Answer, ...]:
    runs = Runs(rows, score=score)
    accuracies = mean_accuracies(runs)
    names = {key: list(of) for key, of in accuracies.items()}
    networks = [
        (dataset, model)
        for dataset in datasets_in_order(rows)
        for model in models_in_order(name for of, name in names if of == dataset)
    ]
    # By pair of compressions, then network; read once for all networks.
    pairs: dict[tuple[str, str], dict[tuple[str, str], Pairs]] = {}

    def cells(network: tuple[str, str], one: str, other: str) -> Pairs:
        if (one, other) not in pairs:
            pairs[one, other] = dict(pairs_of(runs, one, other))
        return pairs[one, other].get(network, {})

    read = None if folder is None else StudyAnswers(folder, rows)
    found, learning = [], []
    for network in networks:
        ours = [row for row in rows if (row["dataset"], row["model"]) == network]
        folds = tuple(sorted({int(row["fold"]) for row in ours}))
        shots, of_all = _shots(runs, ours)
        differ, rests_on, because = _differences(network, cells, folds, shots, score, read)
        simple = by_simplicity(names[network], variants)
        ordered = order(
            {name: accuracies[network][name] for name in simple},
            differ,
            margin=margin,
            confidence=confidence,
            families=sum(len(names[one]) > 1 for one in networks) or 1,
        )
        chosen, reason = _choice(ordered, simple, margin)
        more = _more(ordered, chosen, margin, confidence, partial(cells, network), folds)
        found.append(
            Answer(
                *network,
                shots,
                of_all,
                folds,
                len(ours),
                rests_on,
                because,
                ordered,
                chosen,
                reason,
                learns(chosen, variants),
                (),
                more,
            )
        )
        for learned, fixed, same in learning_pairs(simple, variants):
            here = cells(network, learned, fixed)
            learning.append(_learning((*network, learned, fixed, same), differ(learned, fixed), here, margin))
    judged = in_one_family(learning)
    return tuple(
        replace(one, learning=tuple(of for of in judged if (of.dataset, of.model) == (one.dataset, one.model)))
        for one in found
    )


def _shots(runs: Runs, rows: Sequence[Row]) -> tuple[tuple[int | str, ...], tuple[int | str, ...]]:
    """The values of n in which two compressions are compared, and those that all have, in the order of all tables."""
    folds_of: dict[str, dict[int | str, set[int]]] = {}
    for row in rows:
        folds_of.setdefault(row["compression"], {}).setdefault(str(row["n_shot"]), set()).add(int(row["fold"]))
    pairs = itertools.combinations(folds_of.values(), 2)
    compared_n = {n for pair in pairs for n in common_folds(pair)} or {str(row["n_shot"]) for row in rows}
    of_all = common_folds(folds_of.values())
    everything = runs.levels["n_shot"]
    return tuple(n for n in everything if str(n) in compared_n), tuple(n for n in everything if str(n) in of_all)


def _differences(
    network: tuple[str, str],
    cells: Callable[[tuple[str, str], str, str], Pairs],
    folds: Sequence[int],
    shots: Sequence[int | str],
    score: str,
    read: StudyAnswers | None,
) -> tuple[Callable[[str, str], Compared], str, str]:
    """How two compressions are compared, the basis, and, for a single fold, why recordings are not used."""

    def over_clusters(one: str, other: str) -> Compared:
        return compared(cells(network, one, other), of_several_folds=len(folds) > 1)

    if len(folds) > 1:
        return over_clusters, "folds", ""
    if read is None:
        return over_clusters, "runs", "its predictions are not available"
    why_not: list[str] = []
    reader = read

    def by_recordings(one: str, other: str) -> Compared:
        here = cells(network, one, other)
        estimate = _by_recordings(reader, network, [n for n in shots if n in here], one, other, score)
        if isinstance(estimate, str):
            why_not.append(estimate)
            return over_clusters(one, other)
        # Runs and recordings together give more values than either; their number matters only if values do not vary.
        return Compared(estimate, estimate.mean, 2)

    names = sorted({str(row) for row in reader.compressions(*network)})
    for at, name in enumerate(names):
        for other in names[:at]:
            by_recordings(name, other)
    if why_not:
        return over_clusters, "runs", why_not[0]
    return by_recordings, "recordings and runs", ""


def _by_recordings(
    read: StudyAnswers, network: tuple[str, str], shots: Sequence[Any], one: str, other: str, score: str
) -> Estimate | str:
    """The mean over all n with recordings and runs as the sample, or the reason why it is not available."""
    dataset, model = network
    difference, run, recording, weight = [], [], [], []
    try:
        known = read.recordings(dataset)
        if not known:
            return "the recordings of its clips are unknown"
        number = 0
        for n in shots:
            pairs = read.pairs(dataset, model, n, one, other, score=score)
            for pair in pairs:
                if not all(clip in known for clip in pair.clips):
                    return "the recordings of its clips are unknown"
                difference.append(pair.difference)
                run.append(np.full(len(pair.clips), number))
                recording += [known[clip] for clip in pair.clips]
                weight.append(np.full(len(pair.clips), 1 / (len(shots) * len(pairs) * len(pair.clips))))
                number += 1
        if not difference:
            return "the two have no paired runs"
        clips = ClipDifferences(
            np.concatenate(difference), np.zeros(len(recording), np.int64), np.concatenate(run), recording
        )
        crossed = two_way(clips, weights=np.concatenate(weight))
    except DataError as error:
        return str(error)
    return crossed.estimate if crossed.too_few is None else crossed.too_few


def _choice(ordered: Ordered, simple: Sequence[str], margin: float) -> tuple[str, str]:
    """The recommended compression, and why."""
    standings = ordered.standings
    if len(standings) == 1:
        return standings[0].compression, "alone"
    can = [one.compression for one in standings if one.can_be_best]
    near = [one.compression for one in standings if one.near]
    if len(can) == 1 and near in ([], can):
        return can[0], "best"
    if near:
        return min(near, key=simple.index), "near"
    # By paired differences: in an unfinished study, mean accuracies may be of different n or folds.
    lead = next(one for one in standings if one.can_be_best)
    of_lead = 0.0 if lead is standings[0] else lead.behind
    close = [
        one.compression
        for one in standings
        # Without a pair, the difference is NaN: nothing shows that it is large.
        if one is lead or (one.can_be_best and not one.behind - of_lead < -margin)
    ]
    return min(close, key=simple.index), "open" if len(close) > 1 else "highest"


def _more(
    ordered: Ordered,
    chosen: str,
    margin: float,
    confidence: float,
    cells: Callable[[str, str], Pairs],
    folds: Sequence[int],
) -> More | None:
    """What it takes to distinguish the recommended one from those that may be better; `None` if that is known."""
    own = next(one for one in ordered.standings if one.compression == chosen)
    rivals = [one for one in ordered.standings if one.can_be_best and one is not own]
    if own.near or not rivals:
        return None
    rival = rivals[0].compression
    here = cells(chosen, rival)
    several = {n: cell for n, cell in here.items() if len(cell) > 1}
    mean = compared(here).mean
    nothing = More(chosen, rival, mean, abs(mean) > margin, None, None)
    if len(folds) < 2:
        return replace(nothing, unknown="one fold does not show how much folds differ")
    if not here:
        return replace(nothing, unknown="the two have no runs of the same n and fold", unfinished=True)
    if not several:
        return replace(nothing, unknown="no n has runs of both in two folds", unfinished=True)
    if not any(len(runs) > 1 for cell in several.values() for runs in cell.values()):
        return replace(nothing, unknown="one run per fold does not show how much runs differ")
    try:
        spread: Spread = spread_of(*(cell for cell in several.values() if any(len(runs) > 1 for runs in cell.values())))
        runs = sorted(len(runs) for cell in several.values() for runs in cell.values())
        size = {"folds": len({fold for cell in several.values() for fold in cell}), "n_values": len(several)}
        size |= {"runs": runs[len(runs) // 2]}
        asked: dict[str, float] = (
            {"effect": min(abs(mean), 0.99), "family": ordered.n_comparisons, "level": 1 - confidence}
            if nothing.as_found
            else {"equivalent": margin, "level": (1 - confidence) / ordered.n_comparisons / 2}
        )
        found = needed(spread, **size, **asked, margin=margin, chance=CHANCE)  # type: ignore[arg-type]
    except (ConfigError, DataError):
        return replace(nothing, unknown="the runs did not vary")
    return replace(nothing, runs=found.more_runs, folds=found.more_folds)


# ---- Learning ---------------------------------------------------------------------------------------------------


def _learning(names: tuple[str, str, str, str, bool], difference: Compared, cells: Pairs, margin: float) -> Learning:
    one = difference.estimate
    low, high = (None, None) if one is None else one.interval()
    low_90, high_90 = (None, None) if one is None else one.interval(0.9)
    return Learning(
        *names,
        n_pairs=sum(len(runs) for cell in cells.values() for runs in cell.values()),
        mean=difference.mean,
        low=low,
        high=high,
        low_90=low_90,
        high_90=high_90,
        p_value=None if one is None else one.p_value,
        p_holm=None,
        n_corrected=0,
        p_equivalence=None if one is None else one.p_within(margin),
        margin=margin,
        verdict="undecided",
    )


def learning_pairs(
    compressions: Sequence[str], variants: Mapping[str, CompressionVariant]
) -> list[tuple[str, str, bool]]:
    """Learned compressions, each with a fixed partner: (learned, fixed, whether both start alike).

    If there is no such pair: loglearn and the fixed `log`, which has another formula, if both are present.
    """
    found = [
        (learned, fixed, True)
        for learned in compressions
        if learns(learned, variants)
        for fixed in compressions
        if not learns(fixed, variants) and _start(fixed, variants) == _start(learned, variants)
    ]
    if not found and {"loglearn", "log"} <= set(compressions):
        return [("loglearn", "log", False)]
    return found


def learns(compression: str, variants: Mapping[str, CompressionVariant]) -> bool:
    """Whether training changes it; for layers from outside the package, whether it may."""
    layer, arguments = _layer(compression, variants)
    record = COMPRESSIONS.own(layer)
    can = record is None or record.learnable
    return can and arguments.get("trainable", True) is not False and arguments.get("learning_rate_factor", 1) != 0


def by_simplicity(compressions: Iterable[str], variants: Mapping[str, CompressionVariant]) -> list[str]:
    """Sorts by simplicity: fixed ones first, then the order of the menu; layers from outside the package last.

    Example:
        >>> by_simplicity(["power", "loglearn", "log", "logeps"], {})
        ['logeps', 'log', 'loglearn', 'power']
    """
    menu = [name for name in COMPRESSIONS if COMPRESSIONS.own(name)]

    def key(name: str) -> tuple[Any, ...]:
        layer, _ = _layer(name, variants)
        at = menu.index(layer) if layer in menu else len(menu)
        return learns(name, variants), at, name in variants, name

    return sorted(compressions, key=key)


def _layer(compression: str, variants: Mapping[str, CompressionVariant]) -> tuple[str, dict[str, Any]]:
    """Name of the layer and all arguments that differ from its defaults."""
    variant = variants.get(compression)
    layer, arguments = (compression, {}) if variant is None else (variant.layer, variant.args)
    record = COMPRESSIONS.own(layer)
    return layer, {**(record.arguments if record else {}), **arguments}


def _start(compression: str, variants: Mapping[str, CompressionVariant]) -> tuple[Any, ...]:
    """Identifies the starting point: the layer and the arguments that define where it starts."""
    layer, arguments = _layer(compression, variants)
    record = COMPRESSIONS.own(layer)
    # Several names of the menu share a layer.
    place = record.layer if record else layer
    defaults = _defaults(place) if isinstance(place, str) else {}
    own = {
        name: value
        for name, value in arguments.items()
        if name not in _NOT_OF_THE_START and not (name in defaults and defaults[name] == value)
    }
    return place, tuple(sorted((name, repr(value)) for name, value in own.items()))


@cache
def _defaults(place: str) -> Mapping[str, Any]:
    """The defaults of a layer of the package, read from its source, since importing it would load Keras."""
    module, _, name = place.partition(":")
    spec = importlib.util.find_spec(module) if module.startswith("loglearn_tf.layers.") else None
    if spec is None or spec.origin is None:
        return {}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = {}
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name):
        for function in (node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"):
            for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
                try:
                    found[argument.arg] = ast.literal_eval(default) if default is not None else ...
                except ValueError:
                    continue  # an expression
    return found


def _variants(settings: Settings | None, rows: Sequence[Row]) -> dict[str, CompressionVariant]:
    """From the settings, or from the saved identity of the runs if there are none."""
    found = {} if settings is None else dict(settings.variants)
    for row in rows:
        for name, variant in ((row.get("identity") or {}).get("variants") or {}).items():
            if name not in found:
                found[name] = CompressionVariant(layer=variant["layer"], args=variant.get("args", {}))
    return found


def _to_add(answers: Sequence[Answer], variants: Mapping[str, CompressionVariant]) -> list[str]:
    """What the study lacks to show what learning adds; empty if nothing."""
    names = by_simplicity({one.compression for answer in answers for one in answer.standings}, variants)
    if any(same for _, _, same in learning_pairs(names, variants)):
        return []
    menu = [name for name in COMPRESSIONS if COMPRESSIONS.own(name)]

    def partners(name: str, *, that_learn: bool) -> list[str]:
        """Compressions of the menu that start where this one does."""
        start = _start(name, variants)
        return [other for other in menu if learns(other, variants) == that_learn and _start(other, variants) == start]

    learned = next((name for name in names if learns(name, variants)), None)
    if learned is None:
        # One more compression is less work than two.
        learned = next((found for name in names for found in partners(name, that_learn=True)), "loglearn")
    layer, _ = _layer(learned, variants)
    start = _start(learned, variants)
    fixed = [name for name in names if not learns(name, variants) and _start(name, variants) == start]
    ready = fixed or partners(learned, that_learn=False)
    new = [name for name in (learned, ready[0] if ready else f"{learned}_fixed".replace(":", ".")) if name not in names]
    lines = [f"compressions: [{', '.join([*names, *new])}]"]
    if not ready:
        own = dict(variants[learned].args) if learned in variants else {}
        own |= {"trainable": False}
        shown = ", ".join(f"{name}: {_yaml(value)}" for name, value in own.items() if name != "learning_rate_factor")
        lines.insert(0, f"variants: {{{new[-1]}: {{layer: {layer}, args: {{{shown}}}}}}}")
    return lines


def _yaml(value: Any) -> str:
    return {True: "true", False: "false", None: "null"}[value] if value in (True, False, None) else repr(value)


# ---- What answers have in common --------------------------------------------------------------------------------


def _overall(answers: Sequence[Answer], variants: Mapping[str, CompressionVariant]) -> Overall | None:
    compared_ = [one for one in answers if len(one.standings) > 1]
    if not compared_:
        return None
    names = by_simplicity({name.compression for one in compared_ for name in one.standings}, variants)
    can = tuple(name for name in names if all(name in one.can_be_best for one in compared_))
    near = tuple(name for name in names if all(name in one.near for one in compared_))
    recommended = {one.recommended for one in compared_}
    agree = len(recommended) == 1
    chosen = recommended.pop() if agree else next(iter((*near, *can)), None)
    n_open = sum(one.reason in ("open", "highest") for one in compared_)
    return Overall(len(compared_), n_open, agree, can, near, chosen)


def _that_differ(ours: Sequence[Answer], theirs: Sequence[Answer]) -> tuple[Answer, ...]:
    return tuple(
        other
        for one, other in zip(ours, theirs, strict=True)
        if (set(one.can_be_best), one.recommended) != (set(other.can_be_best), other.recommended)
    )


# ---- The recordings -----------------------------------------------------------------------------------------------


def _levels(rows: Sequence[Row], score: str, folder: Path | None) -> Iterable[Level]:
    for dataset in datasets_in_order(rows):
        power = None if folder is None else read_mel_histogram(folder, dataset)
        knee = START_BETA / START_ALPHA
        ours = [row for row in rows if row["dataset"] == dataset]
        yield Level(
            dataset=dataset,
            knee=knee,
            below_knee=None if power is None else power.share_below(knee),
            silent=None if power is None else power.silent,
            clip_dbfs=None if power is None else power.clip_level_quantiles(),
            at_other_levels=tuple(_at_other_levels(ours, score)),
        )


def _at_other_levels(rows: Sequence[Row], score: str) -> Iterable[AtLevel]:
    """Change of accuracy for every network, compression and gain that the runs were scored at."""
    column = SCORES[score]
    at = [row for row in level_rows(rows) if row.get(column) is not None]
    own = {key_of(row): row[column] for row in rows}
    models = models_in_order(row["model"] for row in at)
    folds: dict[str, set[int]] = {}
    for row in at:
        folds.setdefault(row["model"], set()).add(row["fold"])

    def key(row: Row) -> tuple[Any, ...]:
        return models.index(row["model"]), row["gain_db"], row["compression"]

    for (model, gain, compression), group in groupby(sorted(at, key=key), key=key):
        found = list(group)
        cells: dict[Any, dict[int, list[float]]] = {}
        for row in found:
            change = row[column] - own[key_of(row)]
            cells.setdefault(row["n_shot"], {}).setdefault(row["fold"], []).append(change)
        one = compared(
            {n: {fold: np.array(runs) for fold, runs in cell.items()} for n, cell in cells.items()},
            of_several_folds=len(folds[models[model]]) > 1,
        )
        low, high = (None, None) if one.estimate is None else one.estimate.interval()
        yield AtLevel(found[0]["model"], compression, float(gain), one.mean, low, high)


# ---- What is missing ----------------------------------------------------------------------------------------------


def _notes(
    rows: Sequence[Row], usable: Sequence[Row], used: str, asked: str | None, settings: Settings | None
) -> Iterable[str]:
    failed = sum(row["status"] == "failed" for row in rows)
    done = sum(map(_is_done, rows))
    if failed:
        yield f"{failed:,} of {len(rows):,} runs failed and are not included; loglearn status shows why."
    if len(usable) < done:
        yield f"{done - len(usable):,} of {done:,} finished runs have no {used} score and are not included."
    if asked is None and used == "published":
        yield "No run has a settled score, since all are of an earlier version: the published score is used."
    if settings is None:
        return
    planned = {spec.key for spec in plan_runs(settings)}
    there = {key_of(row) for row in rows if _is_done(row)}
    to_do = len(planned - there)
    if to_do:
        yield (
            f"The study is not finished: {len(planned) - to_do:,} of {len(planned):,} runs are done. The remaining "
            "ones may change the answer."
        )
    lacking = [name for name in settings.compressions if name not in {row["compression"] for row in usable}]
    if lacking:
        yield f"Not compared, since they have no finished run: {', '.join(lacking)}."
