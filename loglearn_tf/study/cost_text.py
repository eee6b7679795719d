"""What a study costs, in words: where the time goes, memory, disk, and how to halve the time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from loglearn_tf._util.progress import format_bytes, format_seconds
from loglearn_tf._util.text import align
from loglearn_tf.datasets.n_shot import NShot, in_order, size_of
from loglearn_tf.study.cost import NEW_BESTS, Estimate, is_episodic

# Cells with a larger share of the time are named.
_MUCH = 0.3
_LONG_RUN_S = 3600.0
_MIB = 1 << 20


def format_estimate(estimate: Estimate, *, machine_mib: float | None = None) -> str:
    """The estimate in a few lines.

    Args:
        estimate: Estimate for a study or a part.
        machine_mib: Memory of the machine, or `None` if unknown.
    """
    if not estimate.seconds:
        n = f"{estimate.unknown:,} runs"
        return f"No time estimate for {n}: their networks could not be timed. {estimate.costs.basis}"
    lines = [_total(estimate), f"{estimate.costs.basis} Estimated {estimate.sounds.source}."]
    if estimate.n_timed:
        lines.append(f"{estimate.n_timed:,} runs: estimated from finished runs of the same model, compression and n.")
    if estimate.unknown:
        lines.append(f"{estimate.unknown:,} runs are not included: their networks could not be timed.")
    lines += ["", _table(estimate), "", _parts(estimate), _memory(estimate, machine_mib), _disk(estimate)]
    return "\n".join([*lines, *_remarks(estimate)])


def format_whole(estimates: Sequence[Estimate]) -> str:
    """The total of a study in parts, and the time of each part."""
    core_s = sum(one.core_s for one in estimates)
    wall_s = sum(one.wall_s for one in estimates)
    lines = [("part", "core time", "share")]
    for one in sorted(estimates, key=lambda one: -one.core_s):
        lines.append((str(one.settings.part), _time(one.core_s), _percent(one.core_s, core_s)))
    head = f"The whole study: about {_time(wall_s)} of wall time, {_time(core_s)} of core time."
    return "\n".join([head, "", align(lines)])


def _total(estimate: Estimate) -> str:
    workers = f"{estimate.workers} worker{'s' if estimate.workers > 1 else ''}"
    if estimate.settings.ray is not None:
        return (
            f"About {_time(estimate.core_s)} of core time on cores like this machine's. The wall time depends on how "
            "many cores the cluster has."
        )
    more = f" sharing {estimate.cores} cores" if estimate.workers > estimate.cores else ""
    return f"About {_time(estimate.wall_s)} of wall time with {workers}{more}, {_time(estimate.core_s)} of core time."


def _table(estimate: Estimate) -> str:
    """Core time by network and n."""
    n_shots = in_order(n for _, n in estimate.seconds)
    models: dict[str, float] = defaultdict(float)
    for (model, _), seconds in estimate.seconds.items():
        models[model] += seconds
    lines = [("core time", *(f"n = {n}" for n in n_shots), "all", "share")]
    for model in sorted(models, key=lambda one: -models[one]):
        cells = [estimate.seconds.get((model, n)) for n in n_shots]
        written = ["-" if cell is None else _time(cell) for cell in cells]
        lines.append((model, *written, _time(models[model]), _percent(models[model], estimate.core_s)))
    for part in ("features", "report"):
        if seconds := estimate.parts[part]:
            blank = [""] * len(n_shots)
            lines.append((part, *blank, _time(seconds), _percent(seconds, estimate.core_s)))
    return align(lines)


def _parts(estimate: Estimate) -> str:
    in_runs = {part: value for part, value in estimate.parts.items() if part not in ("features", "report") and value}
    total = sum(in_runs.values())
    named = [f"{part} {_percent(value, total)}" for part, value in sorted(in_runs.items(), key=lambda one: -one[1])]
    return f"Run time by stage: {', '.join(named)}."


def _memory(estimate: Estimate, machine_mib: float | None) -> str:
    worker, all_of_them = estimate.worker_mib, estimate.worker_mib * estimate.workers
    text = f"Memory: up to about {_size(worker)} per worker"
    if estimate.workers > 1:
        text += f", {_size(all_of_them)} for {estimate.workers}"
    if machine_mib is not None:
        text += f"; this machine has {_size(machine_mib)}"
        if all_of_them > 0.9 * machine_mib and estimate.settings.ray is None:
            fitting = max(1, int(0.9 * machine_mib / worker))
            return f"{text}. That is too little: set `workers={fitting}`."
    return text + "."


def _disk(estimate: Estimate) -> str:
    store = f"{format_bytes(estimate.store_bytes)} for mel power, " if estimate.store_bytes else ""
    return f"Disk: {store}{format_bytes(estimate.run_bytes)} for run folders."


def _remarks(estimate: Estimate) -> list[str]:
    found = []
    settings = estimate.settings
    cell, longest = max(estimate.a_run.items(), key=lambda one: one[1])
    if longest > _LONG_RUN_S:
        gpu = " A GPU is much faster." if is_episodic(cell[0]) else ""
        found.append(
            f"One run of {cell[0]} at n = {cell[1]} takes {_time(longest)} on one core, regardless of the number of "
            f"workers.{gpu}"
        )
    if any(is_episodic(model) and size_of(n) >= 3 for model, n in estimate.seconds):
        found.append(
            f"Prototypical networks stop training after {settings.episodic.patience} epochs without a new best "
            f"(`episodic.patience`); about {NEW_BESTS} new bests are assumed."
        )
    halving = _halving(estimate)
    if halving:
        found.append(halving)
    return found


def _halving(estimate: Estimate) -> str:
    """The most expensive cell, and settings that leave at most half of the time."""
    settings, total = estimate.settings, estimate.core_s
    (model, n), largest = max(estimate.seconds.items(), key=lambda one: one[1])
    lead = f"{model} at n = {n} takes {_percent(largest, total)} of the time. " if largest > _MUCH * total else ""
    if len(estimate.seconds) == 1:
        lead = ""
    ways = []
    for name, values, at in (("n_shot", settings.n_shot, 1), ("models", settings.models, 0)):
        if way := _narrowed(estimate.seconds, name, values, at, total):
            ways.append(way)
    scoring = estimate.parts["evaluation"] + estimate.parts["settled score"]
    n_levels = len(settings.evaluation.gains_db)
    without = total - scoring * n_levels / (1 + n_levels)
    if without <= total / 2:
        ways.append(f"without `evaluation.gains_db`: {_percent(without, total)}")
    if len(settings.folds) > 1:
        half = settings.folds[: len(settings.folds) // 2]
        ways.append(f"`folds=[{','.join(map(str, half))}]`: {_percent(len(half), len(settings.folds))}")
    elif len(settings.compressions) > 1 and not ways:
        ways.append(f"fewer `compressions`, {_percent(1, len(settings.compressions))} each")
    return f"{lead}To reduce the time: {'; '.join(ways)}." if ways else lead.strip()


def _narrowed(
    seconds: Mapping[tuple[str, NShot], float], name: str, values: Sequence[object], at: int, total: float
) -> str:
    """The fewest values of an axis to drop, the most costly first, so that at most half of the time is left."""

    def cost(value: object) -> float:
        return sum(s for cell, s in seconds.items() if cell[at] == value)

    left, kept = total, list(values)
    for value in sorted(values, key=lambda value: -cost(value)):
        if left <= total / 2 or len(kept) == 1:
            break
        kept.remove(value)
        left -= cost(value)
    if left > total / 2 or len(kept) == len(values):
        return ""
    return f"`{name}=[{','.join(map(str, kept))}]`: {_percent(left, total)}"


def _percent(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 1 or not share else "< 1 %"


def _size(mib: float) -> str:
    return format_bytes(round(mib * _MIB))


def _time(seconds: float) -> str:
    """Time with no more digits than an estimate deserves."""
    if seconds >= 10 * 3600:
        return f"{seconds / 3600:,.0f} h"
    return format_seconds(60 * round(seconds / 60) if seconds >= 600 else seconds)
