"""Progress of a study: which runs are done, which failed and why, how long the rest takes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from loglearn_tf._util.files import storage, write_text
from loglearn_tf._util.progress import format_seconds
from loglearn_tf._util.text import align, first_few
from loglearn_tf.datasets.n_shot import NShot, in_order
from loglearn_tf.errors import ConfigError
from loglearn_tf.study.grid import RunSpec, identity_differences, plan_runs, saved_identity
from loglearn_tf.study.run_folder import read_result, result_files
from loglearn_tf.study.settings import Settings, load_settings

# File in a study's folder.
_SETTINGS, _LOCK = "study.yaml", ".lock"
# `is_worked_on` also holds it for a moment.
_LOCK_S = 1.0

Kind = tuple[str, str, NShot]


@dataclass(frozen=True)
class Survey:
    """The grid of a study and the state of its runs.

    Attributes:
        study_dir: The study's folder.
        results: Run -> its `result.json`, in execution order; `None` if it does not exist yet or was made with other
            settings.
        n_other: Finished runs of this grid made with other settings.
        n_outside: Runs in the folder that are not in this grid.
        workers: Number of workers that share the remaining time.
    """

    study_dir: Path
    results: dict[RunSpec, dict[str, Any] | None]
    workers: int
    n_other: int = 0
    n_outside: int = 0

    def count(self, state: str) -> int:
        """Number of runs that are `done`, `failed` or `to do`."""
        return sum(_state(result) == state for result in self.results.values())

    @property
    def to_do(self) -> list[RunSpec]:
        """Remaining runs, in execution order, including failed ones, which are retried."""
        return [spec for spec, result in self.results.items() if _state(result) != "done"]

    def seconds_of(self, spec: RunSpec) -> float | None:
        """Mean time of finished runs of the same kind (model, compression, n); `None` if there are none."""
        return self._seconds_of_kinds.get(_kind(spec))

    def seconds_left(self, specs: Iterable[RunSpec]) -> tuple[float, int]:
        """Total time of the remaining runs on one worker, estimated from finished runs of the same kind.

        Returns:
            Seconds, and the number of runs whose kind (model, compression, n) has no finished run: these are not
            included.
        """
        seconds, unknown, known = 0.0, 0, self._seconds_of_kinds
        for spec in specs:
            if _state(self.results[spec]) != "done":
                kind = _kind(spec)
                unknown += kind not in known
                seconds += known.get(kind, 0.0)
        return seconds, unknown

    @cached_property
    def _seconds_of_kinds(self) -> dict[Kind, float]:
        found: dict[Kind, list[float]] = defaultdict(list)
        for spec, result in self.results.items():
            if result is not None and result["status"] == "done":
                found[_kind(spec)].append(result["train_seconds"] + result["eval_seconds"])
        return {kind: sum(seconds) / len(seconds) for kind, seconds in found.items()}


def survey(settings: Settings, study_dir: Path, *, workers: int) -> Survey:
    """Reads the state of every run of the grid; needs no data set."""
    results: dict[RunSpec, dict[str, Any] | None] = {}
    n_other = n_found = 0
    for spec in plan_runs(settings):
        result = read_result(study_dir, spec)
        n_found += result is not None
        if result is not None and result["status"] == "done":
            made = {key: value for key, value in saved_identity(result).items() if key != "clips"}
            if identity_differences(made, settings.result_settings()):
                n_other += 1
                result = None
        results[spec] = result
    n_there = sum(1 for _ in result_files(study_dir))
    return Survey(study_dir, results, workers, n_other, n_there - n_found)


def remember_settings(settings: Settings) -> None:
    """Saves the settings of `loglearn run`, so that `loglearn status` knows the grid."""
    write_text(settings.study_dir / _SETTINGS, yaml.safe_dump(settings.dump(), sort_keys=False))


def remembered_settings(study_dir: Path) -> Settings:
    """The settings of the last `loglearn run` in a study's folder.

    Raises:
        ConfigError: If it is not a study's folder.
    """
    path = study_dir / _SETTINGS
    if not path.is_file():
        raise ConfigError(
            f"{study_dir} is not a study folder: {path} does not exist. Name a folder made by `loglearn run`, such as "
            "runs/us8k, or pass the settings to `loglearn plan`."
        )
    return load_settings(path)


@contextmanager
def working_on(study_dir: Path) -> Iterator[None]:
    """Locks a study against other jobs; its folder is created if missing.

    Raises:
        ConfigError: If another job works on it.
        StorageError: If the folder cannot be written.
    """
    lock = FileLock(study_dir / _LOCK, timeout=_LOCK_S)
    with storage(study_dir):
        study_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise ConfigError(
                f"Another process is working on {study_dir}. Wait for it or give this study another name (`name=...`)."
            ) from None
    try:
        yield
    finally:
        lock.release()


def is_worked_on(study_dir: Path) -> bool:
    """Whether another job works on a study; false if its folder is read-only, where this cannot be seen."""
    if not (study_dir / _LOCK).exists():
        return False
    try:
        with FileLock(study_dir / _LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def format_grid(state: Survey, *, with_time_left: bool = True) -> str:
    """The grid by model, compression, n and fold: runs, done, failed, to do, and the remaining work."""
    axes: dict[str, Callable[[RunSpec], Any]] = {
        "model": lambda spec: spec.model,
        "compression": lambda spec: spec.compression,
        "n_shot": lambda spec: spec.n_shot,
        "fold": lambda spec: spec.fold,
    }
    specs = list(state.results)
    lines = [("", "runs", "done", "failed", "to do", "work left"), _line(state, "all", specs)]
    for title, value_of in axes.items():
        lines.append((title, "", "", "", "", ""))
        values = {value_of(spec) for spec in specs}
        for value in in_order(values) if title == "n_shot" else sorted(values):
            lines.append(_line(state, f"  {value}", [spec for spec in specs if value_of(spec) == value]))
    warning = (
        f"{state.n_other:,} runs of this grid were made with other settings: `loglearn run` requires another `name`."
        if state.n_other
        else ""
    )
    sentences = [*([warning] if warning else []), *([format_time_left(state)] if with_time_left else [])]
    return "\n".join([align(lines), *([""] if sentences else []), *sentences])


def format_time_left(state: Survey) -> str:
    """The estimated remaining time, as a sentence."""
    to_do = len(state.results) - state.count("done")
    if not to_do:
        return "Nothing left to do."
    seconds, unknown = state.seconds_left(state.results)
    if unknown == to_do:
        return "No estimate yet: no run with the same model, compression and n has finished."
    about = f"About {format_seconds(seconds / state.workers)} left with {state.workers} workers"
    basis = "estimated from finished runs with the same model, compression and n"
    without = f"; {unknown:,} of {to_do:,} runs have no such finished run and are not included" if unknown else ""
    return f"{about}, {basis}{without}."


def format_failures(state: Survey) -> str:
    """Why runs failed, the most frequent reason first, each with an example; empty if none did."""
    failed = {spec: result for spec, result in state.results.items() if result and result["status"] == "failed"}
    reasons = Counter(last_line(result["error"]) for result in failed.values())

    def show(reason_and_n: tuple[str, int]) -> str:
        reason, n = reason_and_n
        example = next(spec for spec, result in failed.items() if last_line(result["error"]) == reason)
        return f"{n:,} x {reason}\n      e.g. {state.study_dir / example.folder / 'result.json'}"

    lines = [f"  {line}" for line in first_few(reasons.most_common(), show=show, most=10, noun="reasons")]
    return "\n".join(["Failed:", *lines]) if lines else ""


def last_line(error: str) -> str:
    """The last line of an error, after the traceback."""
    return error.strip().splitlines()[-1]


def _state(result: dict[str, Any] | None) -> str:
    return "to do" if result is None else str(result["status"])


def _kind(spec: RunSpec) -> Kind:
    return spec.model, spec.compression, spec.n_shot


def _line(state: Survey, title: str, specs: Sequence[RunSpec]) -> tuple[str, ...]:
    states = Counter(_state(state.results[spec]) for spec in specs)
    seconds, unknown = state.seconds_left(specs)
    left = len(specs) - states["done"]
    work = "" if not left else "?" if unknown == left else ("> " if unknown else "") + format_seconds(seconds)
    return (title, f"{len(specs):,}", *(f"{states[name]:,}" for name in ("done", "failed", "to do")), work)
