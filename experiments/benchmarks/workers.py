"""What worker processes give and cost: runs per minute with one and two, memory after many runs.

Run: python experiments/benchmarks/workers.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from loglearn_tf._util.tensorflow_runtime import be_quiet, tensorflow
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.clips import DataSet
from loglearn_tf.datasets.synthetic import make_us8k
from loglearn_tf.experiment.local import LocalExecutor, run_all
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.features.build import build_store
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.settings import Settings, load_settings

US8K = Path(__file__).parent.parent / "us8k.yaml"


def make_work(home: Path, *overrides: str) -> Work:
    """Small runs on synthetic sounds: n = 1, one epoch, few test patches."""
    make_us8k(home / "us8k", clips_per_class=2, folds=(1, 2, 3))
    settings = load_settings(
        US8K, [f"runs_dir={home}/runs", f"data.root={home}/us8k", "n_shot=[1]", "folds=[1]", *overrides]
    )
    dataset: DataSet = load_dataset("us8k", home / "us8k")
    store = build_store(dataset.clips, name="us8k", front_end=settings.features.front_end, store_dir=home / "stores")
    return Work(settings, dataset, store.folder)


def runs_per_minute(work: Work, name: str, workers: int) -> float:
    """Steady rate: counted from the moment when every worker has finished its first run."""
    settings: Settings = work.settings.model_copy(update={"name": name})
    ends: list[float] = []
    specs = plan_runs(settings)
    run_all(
        specs,
        Work(settings, work.dataset, work.store_folder),
        LocalExecutor(work, workers),
        on_result=lambda spec, result: ends.append(time.monotonic()),
    )
    start = 2 * workers
    return 60 * (len(ends) - start) / (ends[-1] - ends[start - 1])


def resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS; this benchmark needs Linux")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of the comparison of one and two workers")
    options = parser.parse_args()
    be_quiet()
    tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        work = make_work(home, "models=[sb_cnn,vgg,timbre]", "runs=17", "training.epochs=1", "evaluation.hop=20")
        worker = Worker(work)
        memory = {}
        for number, spec in enumerate(plan_runs(work.settings)[:100], start=1):
            record = worker.perform(spec)
            assert record.result["status"] == "done", record.result
            if number in (10, 50, 100):
                memory[number] = resident_mib()
                print(f"resident memory after {number} runs: {memory[number]:.0f} MiB", flush=True)
        print(f"after 100 runs / after 10: {memory[100] / memory[10]:.2f}\n", flush=True)

        work = make_work(home, "models=[timbre]", "runs=12", "training.epochs=199", "evaluation.hop=20")
        ratios = []
        for repeat in range(options.repeats):
            one, two = (runs_per_minute(work, f"r{repeat}w{workers}", workers) for workers in (1, 2))
            ratios.append(two / one)
            print(f"runs per minute: {one:.1f} with one worker, {two:.1f} with two, {two / one:.2f} times", flush=True)
        print(f"median {statistics.median(ratios):.2f} times, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
