"""How cost grows: features with hours of audio, a study with its runs and clips, tables and report with their rows.

Linear growth is a cost per unit that stays; flat memory a peak that does. Hours of audio are simulated by reading a few
clips again and again, under other names; finished runs by folders that nothing was trained for.

Run: python experiments/benchmarks/growth.py               (8 GB of disk for 100 hours)
     python experiments/benchmarks/growth.py --hours 1 10 --runs 100 1000 --rows 10000 100000
"""

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from workers import make_work

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf._util.tensorflow_runtime import be_quiet
from loglearn_tf.datasets.clips import Clip
from loglearn_tf.experiment.run import PeakMemory, Worker
from loglearn_tf.study.grid import RunSpec, plan_runs
from loglearn_tf.study.run_folder import write_results, write_run
from loglearn_tf.study.settings import Settings, load_settings

US8K = Path(__file__).parent.parent / "us8k.yaml"
NETWORKS = ("timbre", "sb_cnn", "vgg", "prototypical")
CLASSES = ("siren", "dog_bark")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a task of some size took, in a process of its own."""

    task: str
    size: float
    unit: str
    seconds: float
    peak_mib: int

    @property
    def milliseconds_each(self) -> float:
        return 1e3 * self.seconds / self.size


def features(hours: float, home: Path) -> float:
    from stages import sound_files

    from loglearn_tf.features.build import build_store

    files, _ = sound_files()
    n_clips = round(hours * 900)  # of 4 s
    clips = [Clip(f"clip{number:07d}", files[number % len(files)], 0, 1) for number in range(n_clips)]
    front_end = load_settings(US8K, [f"data.root={home}"]).features.front_end
    return _seconds(lambda: build_store(clips, name="growth", front_end=front_end, store_dir=home, workers=1))


def runs(n_runs: float, home: Path) -> float:
    """Small trainings one after another in one worker process."""
    work = make_work(home, "models=[timbre]", f"runs={-(-n_runs // 2)}", "training.epochs=20", "evaluation.hop=20")
    worker = Worker(work)
    specs = plan_runs(work.settings)
    worker.perform(specs[0])  # compiles
    worker.perform(specs[1])
    return _seconds(lambda: [worker.perform(spec) for spec in specs[: int(n_runs)]])


def evaluation(network: str) -> Callable[[float, Path], float]:
    """Scoring TUT's 10 s clips: at hop 1, or 42 of a prototypical network."""

    def score(n_clips: float, home: Path) -> float:
        from loglearn_tf.models import build_model
        from loglearn_tf.training.evaluation import clip_probabilities

        mels = (10 ** np.random.default_rng(0).uniform(-8, 2, (int(n_clips), 431, 128))).astype("float32")
        clips = [Clip(str(number), home, 0, 1) for number in range(len(mels))]
        model = build_model(network, n_classes=15)
        episodic = network == "prototypical"
        how = {"hop": 42, "mean": "geometric"} if episodic else {"hop": 1}
        return _seconds(lambda: clip_probabilities(model, _Mels(mels), clips, **how))

    return score


@dataclasses.dataclass(frozen=True)
class _Mels:
    """Stands for a `MelStore`."""

    mels: Any

    def mel(self, clip: Clip) -> Any:
        return self.mels[int(clip.clip_id)]


def results(n_runs: float, home: Path) -> float:
    _run_folders(home / "study", int(n_runs))
    return _seconds(lambda: write_results(home / "study"))


def report(n_runs: float, home: Path) -> float:
    from loglearn_tf.analysis.report.writer import write_report

    _run_folders(home / "study", int(n_runs))
    return _seconds(lambda: write_report(home / "study"))


def statistics(n_rows: float, home: Path) -> float:
    from loglearn_tf.analysis.statistics import accuracies, compare

    rows = list(_rows(_specs(int(n_rows))))

    def both() -> None:
        accuracies(rows)
        compare(rows)

    return _seconds(both)


TASKS: dict[str, tuple[Callable[[float, Path], float], str]] = {
    "features": (features, "hours"),
    **{f"evaluation on TUT, {name}": (evaluation(name), "clips") for name in NETWORKS},
    "runs in a worker": (runs, "runs"),
    "results.csv from run folders": (results, "runs"),
    "report.html and all beside it": (report, "runs"),
    "statistics of a table": (statistics, "rows"),
}


def _specs(n_runs: int) -> list[RunSpec]:
    settings: Settings = load_settings(
        US8K, [f"data.root={tempfile.gettempdir()}", "models=[timbre]", "n_shot=[1,10]", f"runs={-(-n_runs // 40)}"]
    )
    return plan_runs(settings)[:n_runs]


def _rows(specs: list[RunSpec]) -> Any:
    for number, spec in enumerate(specs):
        cell = {name: getattr(spec, name) for name in ("dataset", "model", "compression", "n_shot", "fold", "run")}
        yield {
            **cell,
            "format": 1,
            "identity": {},
            "seed": spec.seed,
            "accuracy": 0.3 + number * 0.618 % 0.2,
            "status": "done",
            "synthetic": False,
            "missing_clips": 0,
            **dict.fromkeys(("alpha", "beta", "knee"), 1.0 if spec.compression == "loglearn" else None),
            "train_seconds": 1.0,
            "eval_seconds": 1.0,
            "versions": {"git_commit": None},
            "host": "simulated",
        }


def _run_folders(study_dir: Path, n_runs: int) -> None:
    """Run folders as of 199 epochs and 100 test clips."""
    specs = _specs(n_runs)
    for spec, row in zip(specs, _rows(specs), strict=True):
        history = [
            {"epoch": epoch, "loss": 1.0, "accuracy": 0.5, **{name: row[name] for name in ("alpha", "beta", "knee")}}
            for epoch in range(200)
        ]
        predictions = [
            {"clip_id": f"clip{clip}", "class": CLASSES[clip % 2], "predicted": CLASSES[(clip + spec.run) % 2]}
            for clip in range(100)
        ]
        files = {
            "history.csv": csv_bytes(tuple(history[0]), history),
            "predictions.csv": csv_bytes(tuple(predictions[0]), predictions),
        }
        write_run(study_dir, spec, files, row)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        work()
    return time.process_time() - began


def _measure(task: str, size: float) -> Cost:
    work, unit = TASKS[task]
    with tempfile.TemporaryDirectory() as folder:
        peak = PeakMemory()
        seconds = work(size, Path(folder))
        return Cost(task, size, unit, seconds, peak.mib())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", nargs="+", type=float, default=[1, 10, 100], help="of audio")
    parser.add_argument("--clips", nargs="+", type=int, default=[4, 40], help="scored")
    parser.add_argument("--runs", nargs="+", type=int, default=[100, 1000, 10_000], help="finished, in run folders")
    parser.add_argument("--trained", nargs="+", type=int, default=[10, 50], help="runs of a worker")
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], help="of a table")
    parser.add_argument("--output", type=Path, help="a JSON file")
    options = parser.parse_args()
    asked = [options.hours, *[options.clips] * len(NETWORKS), options.trained, options.runs, options.runs, options.rows]
    be_quiet()
    costs = []
    for task, sizes in zip(TASKS, asked, strict=True):
        for size in sizes:
            # Each in a process of its own: a peak of memory is never given back.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                cost = pool.apply(_measure, (task, size))
            costs.append(cost)
            print(
                f"{cost.task:<30} {cost.size:>11,g} {cost.unit:<5} {cost.seconds:8.1f} CPU s "
                f"{cost.milliseconds_each:10.3f} ms each {cost.peak_mib:7,} MiB",
                flush=True,
            )
    if options.output:
        options.output.write_text(json.dumps([dataclasses.asdict(cost) for cost in costs], indent=1) + "\n")


if __name__ == "__main__":
    main()
