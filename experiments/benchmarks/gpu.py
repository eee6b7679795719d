"""What a GPU does for the study: steps of the networks, runs with several workers to a GPU, a prototypical run.

For a machine with a GPU. Without one it measures the CPU, which only shows that the script works. It takes wall-clock
time, since a process's CPU time does not contain the GPU's work: let nothing else run.

Run:    python experiments/benchmarks/gpu.py                 (some ten minutes; writes gpu-latest.md here)
        python experiments/benchmarks/gpu.py --workers 1 2   (which numbers of workers to try)

What to send back: gpu-latest.md. What to look at first:
  - "the same run twice" must say yes: operations are deterministic on a GPU, too.
  - Runs per minute should rise with the workers until the GPU, or the cores that feed it, are busy.
  - The memory of a worker, times the workers, must fit the GPU: TensorFlow takes what it needs as it goes.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
from workers import make_work, runs_per_minute

from loglearn_tf._util.tensorflow_runtime import tensorflow
from loglearn_tf._util.text import align
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.study.grid import plan_runs

HERE = Path(__file__).parent
BATCHES = (10, 100, 256)
Line = tuple[str, str]


def power(*shape: int) -> Any:
    return (10 ** np.random.default_rng(0).uniform(-8, 2, shape)).astype("float32")


def seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    call()  # compiled
    times = []
    for _ in range(repeats):
        began = time.monotonic()
        call()
        times.append(time.monotonic() - began)
    return statistics.median(times)


def workers_side_by_side(home: Path, numbers: list[int], runs: int) -> Iterator[Line]:
    """Before this process has anything to do with the GPU."""
    work = make_work(home, "models=[vgg]", f"runs={runs}", "training.epochs=100", "evaluation.patch_hop=4")
    for number in numbers:
        rate = runs_per_minute(work, f"w{number}", number)
        yield f"VGG, n = 1, 100 epochs: runs per minute, {number} at a time", f"{rate:.1f}"


def steps(tf: Any, batches: tuple[int, ...]) -> Iterator[Line]:
    from loglearn_tf import build_model
    from loglearn_tf.study.settings import TrainingSettings
    from loglearn_tf.training.accelerated import accelerate
    from loglearn_tf.training.supervised import compile_as_published

    for name in ("timbre", "sb_cnn", "vgg"):
        for batch in batches:
            # On a GPU `accelerate` leaves a network as it is.
            model = accelerate(build_model(name, seed=1)).network
            compile_as_published(model, TrainingSettings())
            data = tf.data.Dataset.from_tensors((power(batch, 128, 128), np.arange(batch) % 10)).repeat()
            n = max(2, 200 // batch)
            taken = seconds(
                lambda model=model, data=data, n=n: model.fit(data, steps_per_epoch=n, verbose=0, shuffle=False)
            )
            yield f"{name}, batch {batch}: training, ms a patch", f"{1e3 * taken / n / batch:.3f}"


def whole_runs(home: Path) -> Iterator[Line]:
    """A run of each kind, twice, each time by a worker that has compiled nothing yet."""
    for model, n_shot, epochs in (("vgg", 2, 100), ("prototypical", 2, 20)):
        work = make_work(
            home / model,
            f"models=[{model}]",
            f"n_shot=[{n_shot}]",
            "runs=1",
            "compressions=[loglearn]",
            f"training.epochs={epochs}",
            f"episodic.patience={epochs}",
        )
        (spec,) = plan_runs(work.settings)
        first, again = perform(work, spec), perform(work, spec)
        yield f"{model}, n = {n_shot}, {epochs} epochs: training, s", f"{first.result['train_seconds']:.1f}"
        yield f"{model}, n = {n_shot}: scoring, s", f"{first.result['eval_seconds']:.1f}"
        same = all(first.files[name] == again.files[name] for name in ("predictions.csv", "history.csv"))
        yield f"{model}, n = {n_shot}: the same run twice gives the same bytes", "yes" if same else "NO"


def perform(work: Work, spec: Any) -> Any:
    record = Worker(work).perform(spec)
    if record.result["status"] != "done":
        raise SystemExit(record.result["error"])
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8], help="numbers of workers to try")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), help="of training steps")
    parser.add_argument("--runs", type=int, default=30, help="of each compression, for each number of workers")
    parser.add_argument("--output", type=Path, default=HERE / "gpu-latest.md")
    options = parser.parse_args()
    lines: list[Line] = []

    def show(found: Iterator[Line]) -> None:
        for line in found:
            print(f"{line[0]:<64} {line[1]:>10}", flush=True)
            lines.append(line)

    with tempfile.TemporaryDirectory() as folder:
        show(workers_side_by_side(Path(folder), options.workers, options.runs))
        tf = tensorflow()
        gpus = tf.config.list_physical_devices("GPU")
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "no GPU"
        show(steps(tf, tuple(options.batches)))
        show(whole_runs(Path(folder)))
        if gpus:
            peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
            show(iter([("memory of the GPU that one process took at most, MiB", f"{peak / 2**20:.0f}")]))
    title = f"{name}, {os.cpu_count()} cores, {platform.machine()}; TensorFlow {tf.__version__}"
    options.output.write_text(f"{title}\n\n{align([('measured', 'value'), *lines])}\n", encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main()
