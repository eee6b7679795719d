"""Estimates how long a study will take, by timing a few steps of each of its networks on this machine.

Reads the data set and the mel store if they exist, and writes nothing.
"""

import logging
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from loglearn_tf._util.process import ENDED, Inbox, Process
from loglearn_tf._util.progress import OnProgress, Progress
from loglearn_tf._util.registry import folder_name
from loglearn_tf._util.tensorflow_runtime import available_cores, tensorflow
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.registry import DATASETS
from loglearn_tf.errors import ConfigError, DataError, LoglearnError
from loglearn_tf.experiment.networks import check_networks, has_outside
from loglearn_tf.experiment.run import RUNS_PER_WORKER
from loglearn_tf.models.registry import MODELS
from loglearn_tf.study.cost import (
    TABLE,
    Estimate,
    Rates,
    Sounds,
    costs_of,
    estimate,
    expected_sounds,
    kind_of,
    sounds_of,
)
from loglearn_tf.study.grid import check_grid
from loglearn_tf.study.settings import Settings
from loglearn_tf.study.status import Survey

_log = logging.getLogger(__name__)

# Limit on the wall time of all timing.
LIMIT_S = 20.0
# More processes would compete for memory; two finish in time.
_MOST_PROCESSES = 2
# Number of clips whose features are timed, and of clips whose headers are read for their lengths.
_TIMED_CLIPS, _ASKED_CLIPS = 8, 40
# Default clip length if no header contains one.
_USUAL_S = 4.0
# Core seconds needed to time a network; `_UNKNOWN_S` for unknown ones. Number of patches trained on and scored
# meanwhile:
_UNKNOWN_S, _TIMED_PATCHES = 8.0, 110

# What determines a network's cost: its name, kind of compression, bands, frames between scored patches, precision.
_Like = tuple[str, str, int, int, str]


@dataclass(frozen=True)
class _Part:
    """A part of the study.

    Attributes:
        settings, state: From the caller.
        sounds: Amount of sound.
        clips: Sample of the clips on disk whose features are missing.
    """

    settings: Settings
    state: Survey
    sounds: Sounds
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class _Answer:
    """A measurement: a network's rates, the start time of a worker, the time per second of sound, or an error."""

    what: str = ""
    like: _Like | None = None
    rates: Rates | None = None
    start_s: float | None = None
    sound_s: float | None = None
    error: str = ""


def estimate_study(
    states: Sequence[tuple[Settings, Survey]], *, measure: bool = True, on_progress: OnProgress | None = None
) -> list[Estimate | str]:
    """Estimates the time of a study's remaining runs.

    Args:
        states: For each part, its settings and the state of its runs.
        measure: Whether steps of its networks are timed, in separate processes, for at most `LIMIT_S` seconds.
            Otherwise, or if TensorFlow is not installed, the rates are those of `study.cost.TABLE`.
        on_progress: Called after each measurement.

    Returns:
        For each part an estimate, or a sentence that explains why there is none.

    Raises:
        LoglearnError: If a network or compression from outside cannot be used; only if steps are timed.
    """
    parts = [_part(settings, state) for settings, state in states]
    known = [part for part in parts if isinstance(part, _Part) and part.state.to_do]
    answers = _time(known, on_progress) if measure and known else []
    return [part if isinstance(part, str) else _estimate(part, answers, measured=measure) for part in parts]


# ---- The data -------------------------------------------------------------------------------------------------


def _part(settings: Settings, state: Survey) -> _Part | str:
    data = settings.data
    dataset: DataSet | None = None
    why = f"{data.root} does not exist"
    if data.synthetic is None or Path(data.root).exists():
        try:
            dataset = load_dataset(
                data.name,
                data.root,
                validation_fold=data.validation_fold,
                n_folds=data.n_folds,
                allow_missing=data.allow_missing,
            )
        except DataError as error:
            why = str(error)
    if dataset is None:
        expected = expected_sounds(settings)
        return f"No time estimate without the data: {why}" if expected is None else _Part(settings, state, expected, ())
    try:
        check_grid(settings, dataset)
    except ConfigError as error:
        _log.warning("%s", error)  # `loglearn run` would stop here
    seconds = _lengths(settings, dataset)
    n_missing = _n_to_compute(settings, dataset)
    clips = _spread(dataset.clips, _TIMED_CLIPS) if n_missing else ()
    return _Part(settings, state, sounds_of(settings, dataset, seconds=seconds, to_compute=n_missing), clips)


def _lengths(settings: Settings, dataset: DataSet) -> list[float]:
    """Lengths of representative clips, seconds."""
    from loglearn_tf.features.build import seconds_of

    listed = DATASETS[settings.data.name].listed_seconds(dataset)
    known = [listed[clip.clip_id] for clip in dataset.clips if clip.clip_id in listed]
    if len(known) < len(dataset.clips) / 2:
        known = [seconds for clip in _spread(dataset.clips, _ASKED_CLIPS) if (seconds := seconds_of(clip)) is not None]
    return known or [_USUAL_S]


def _n_to_compute(settings: Settings, dataset: DataSet) -> int:
    # Imported here, since it loads the audio decoders.
    from loglearn_tf.features.build import n_to_compute

    features = settings.features
    return n_to_compute(
        dataset.clips,
        name=folder_name(dataset.name),
        front_end=features.front_end,
        store_dir=features.store_dir,
        compression=features.compression,
        gain_db=features.gain_db,
    )


def _spread(clips: Sequence[Clip], n: int) -> tuple[Clip, ...]:
    """A given number of elements, evenly spaced from first to last."""
    return tuple(clips[at * len(clips) // n] for at in range(n)) if len(clips) > n else tuple(clips)


# ---- The times --------------------------------------------------------------------------------------------------


def _like(settings: Settings, model: str, compression: str) -> _Like:
    patch_hop, precision = settings.patch_hop(MODELS[model]), settings.training.precision
    return model, kind_of(settings, compression), settings.features.n_mels, patch_hop, precision


def _time(parts: Sequence[_Part], on_progress: OnProgress | None) -> list[_Answer]:
    """Distributes the measurements to processes and collects results until the time is up."""
    tasks: list[tuple[float, float, Any]] = []  # weight, core seconds, task
    if outside := [(part.settings, part.sounds.n_classes) for part in parts if has_outside(part.settings)]:
        tasks.append((inf, _UNKNOWN_S, partial(_check, outside)))
    if timed := next((part for part in parts if part.clips), None):
        tasks.append((inf, 1.0, partial(_features, timed.settings, timed.clips, timed.sounds.mean_s(timed.settings))))
    found: dict[_Like, tuple[float, _Part, str]] = {}
    for part in parts:
        guessed = _estimate(part, [], measured=False)
        for spec in part.state.to_do:
            like = _like(part.settings, spec.model, spec.compression)
            weight, first, compression = found.get(like, (0.0, part, spec.compression))
            weight += guessed.a_run.get((spec.model, spec.n_shot), inf)
            found[like] = weight, first, compression
    for like, (weight, part, compression) in found.items():
        rates = TABLE.get(like[0])
        needed_s = _UNKNOWN_S if rates is None else rates.compile_s + _TIMED_PATCHES * rates.patch_s
        tasks.append((weight, needed_s, partial(_network, like, part.settings, compression, part.sounds)))
    tasks.sort(key=lambda task: -task[0])
    settings = parts[0].settings
    n_processes = min(_MOST_PROCESSES, available_cores(), parts[0].state.workers, len(tasks))
    shares: list[list[tuple[float, Any]]] = [[] for _ in range(n_processes)]
    for _, needed_s, task in tasks:
        min(shares, key=lambda share: sum(seconds for seconds, _ in share)).append((needed_s, task))
    progress = Progress(on_progress, "Timing", len(tasks))
    answers: list[_Answer] = []
    inbox: Inbox = queue.SimpleQueue()
    until = time.monotonic() + LIMIT_S
    processes = [Process(partial(_serve, share, settings.threads, LIMIT_S), inbox) for share in shares]
    working = set(processes)
    try:
        while working and (left_s := until - time.monotonic()) > 0:
            try:
                process, answer = inbox.get(timeout=left_s)
            except queue.Empty:
                break
            if answer is None or answer is ENDED:
                working.discard(process)
            elif isinstance(answer, LoglearnError):
                raise answer
            else:
                answers.append(answer)
                if answer.what:
                    progress.advance(answer.what)
    finally:
        for process in processes:
            process.end(at_once=True)
    return answers


def _estimate(part: _Part, answers: Sequence[_Answer], *, measured: bool) -> Estimate:
    settings, state = part.settings, part.state
    timed = {answer.like: answer.rates for answer in answers if answer.rates is not None}
    needed = {
        (model, compression): _like(settings, model, compression)
        for model, compression in dict.fromkeys((spec.model, spec.compression) for spec in state.to_do)
    }
    rates = {(model, like[1]): timed[like] for (model, _), like in needed.items() if like in timed}
    starts = [answer.start_s for answer in answers if answer.start_s is not None]
    sounds = [answer.sound_s for answer in answers if answer.sound_s is not None]
    errors = [answer.error for answer in answers if answer.error]
    costs = costs_of(
        settings,
        part.sounds,
        measured=rates,
        start_s=min(starts, default=None),
        sound_s=min(sounds, default=None),
    )
    of_table = sorted({model for model, compression in needed if (model, needed[model, compression][1]) not in rates})
    if not measured:
        basis = "Based on stored timings of a cloud server, not of this machine (--no-measure)."
    elif not rates:
        why = errors[0] if errors else f"nothing could be timed in {LIMIT_S:g} s"
        basis = f"Based on stored timings of a cloud server, not of this machine: {why}."
    else:
        basis = f"Timed on this machine: {', '.join(sorted({model for model, _ in rates}))}."
        if of_table:
            why = f" ({errors[0]})" if errors else f" (time limit of {LIMIT_S:g} s reached)"
            basis += f" From stored timings, scaled to this machine: {', '.join(of_table)}{why}."
    return estimate(
        settings,
        state.to_do,
        part.sounds,
        replace(costs, basis=basis),
        workers=state.workers,
        cores=available_cores(),
        runs_per_worker=RUNS_PER_WORKER,
        known=state.seconds_of,
    )


# ---- In the new processes ---------------------------------------------------------------------------------------


def _serve(
    tasks: Sequence[tuple[float, Callable[[], _Answer]]],
    threads: int,
    limit_s: float,
    receive: Callable[[], Any],
    send: Callable[[Any], None],
) -> None:
    """Runs as many measurements as time allows."""
    began = time.monotonic()
    try:
        tensorflow(threads=threads)
        import loglearn_tf.training.measure  # noqa: F401  workers load this, too
    except ImportError as error:
        send(_Answer(error=f"TensorFlow cannot be imported ({error})"))
        send(None)
        receive()
    start_s = time.process_time()
    send(_Answer(start_s=start_s))
    # On a shared machine, the wall time is longer.
    slowness = max(1.0, (time.monotonic() - began) / start_s)
    for needed_s, task in tasks:
        if time.monotonic() - began + slowness * needed_s > limit_s:
            continue
        try:
            send(task())
        except LoglearnError as error:
            send(error)
        except Exception as error:  # user code may raise anything
            what = getattr(task, "args", ("",))[0]
            named = what[0] if isinstance(what, tuple) else "features"
            send(_Answer(what=f"{named}: failed", error=f"{named}: {type(error).__name__}: {error}".splitlines()[0]))
    send(None)
    receive()


def _check(studies: Sequence[tuple[Settings, int]]) -> _Answer:
    check_networks(studies)
    return _Answer(what="networks from outside")


def _features(settings: Settings, clips: Sequence[Clip], mean_s: float) -> _Answer:
    from loglearn_tf.training.measure import seconds_of_features

    return _Answer(what="features", sound_s=seconds_of_features(settings, clips) / mean_s)


def _network(like: _Like, settings: Settings, compression: str, sounds: Sounds) -> _Answer:
    from loglearn_tf.training.measure import rates_of

    rates = rates_of(settings, like[0], compression, sounds)
    error = "" if rates else f"{like[0]} has its own trainer"
    return _Answer(what=f"{like[0]} {compression if like[1] else ''}".strip(), like=like, rates=rates, error=error)
