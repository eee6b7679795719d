"""Whole runs by accelerated twins against whole runs by the plain networks: the accuracies must not differ.

Both train the same network from the same weights on the same clips and patches. Rounding alone tells them apart, and
199 epochs let it grow: single runs differ, their mean must not.

Run: python experiments/benchmarks/whole_runs.py    (real clips where LOGLEARN_SHARED has them; about 20 minutes)
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
from stages import NETWORKS, SHARED

from loglearn_tf.analysis.statistics import compare
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.few_shot import draw_clips
from loglearn_tf.datasets.synthetic import make_us8k
from loglearn_tf.features.build import build_store
from loglearn_tf.models import build_model
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.settings import load_settings
from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.supervised import CompiledModels, compile_as_published, fit, scored

US8K = Path(__file__).parent.parent / "us8k.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--n-shot", type=int, default=2, help="clips per class")
    parser.add_argument("--runs", type=int, default=8, help="of each network")
    parser.add_argument("--epochs", type=int, default=199)
    parser.add_argument("--hop", type=int, default=8, help="frames between the scored patches of a clip")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        compare_runs(options, Path(home))


def compare_runs(options: argparse.Namespace, home: Path) -> None:
    root = SHARED / "data" / "UrbanSound8K-subset"
    if not root.is_dir():
        root = make_us8k(home / "us8k", clips_per_class=max(8, options.n_shot), folds=(1, 2, 3))
    dataset = load_dataset("us8k", root)
    kind = "computed" if dataset.synthetic else "real"
    print(
        f"{len(dataset.clips):,} {kind} clips, fold 1 tested, n = {options.n_shot}, {options.epochs} epochs", flush=True
    )
    settings = load_settings(
        US8K,
        [
            f"data.root={root}",
            f"models={options.models}",
            "compressions=[loglearn]",
            f"n_shot={options.n_shot}",
            "folds=[1]",
            f"runs={options.runs}",
            f"training.epochs={options.epochs}",
        ],
    )
    store = build_store(dataset.clips, name="us8k", front_end=settings.features.front_end, store_dir=home / "stores")
    kept = CompiledModels()
    rows = []
    for spec in plan_runs(settings):
        clips = draw_clips(dataset, fold=spec.fold, n_shot=spec.n_shot, run=spec.run, seed=settings.seed)
        for way in ("twin", "plain"):

            def compiled(network: keras.Model, way: str = way) -> keras.Model:
                trained = accelerate(network).network if way == "twin" else network
                compile_as_published(trained, settings.training)
                return trained

            new = build_model(spec.model, n_classes=10, compression=spec.compression, seed=spec.seed_for("weights"))
            network, trained = kept.take((spec.model, way), new, compiled)
            began, started = time.monotonic(), time.process_time()
            trajectory = fit(trained, store, clips, settings=settings, seed=spec.seed_for("patches"))
            # By the clock, too: waiting is no CPU time.
            trained_s, by_clock_s = time.process_time() - started, time.monotonic() - began
            outcome = scored(
                network, trajectory, store, dataset.test_clips(spec.fold), started=time.monotonic(), hop=options.hop
            )
            cell = {"dataset": "us8k", "model": spec.model, "n_shot": spec.n_shot, "fold": spec.fold, "run": spec.run}
            rows.append({**cell, "compression": way, "accuracy": outcome.accuracy, "status": "done"})
            print(
                f"{spec.model:<8} run {spec.run}  {way:<6} accuracy {100 * outcome.accuracy:5.1f} %  "
                f"alpha {outcome.compression['alpha']:8.2f}  trained in {trained_s:6.1f} s of CPU time, "
                f"{by_clock_s:6.1f} s by the clock",
                flush=True,
            )
    print("\nTwins minus plain networks, points of accuracy:")
    for cell in compare(rows, compression="twin", baseline="plain"):
        interval = "no interval" if cell.low is None else f"{100 * cell.low:+.1f} to {100 * cell.high:+.1f}"
        print(f"{cell.model:<8} {100 * cell.mean:+5.1f} ({interval}), p = {cell.p_value}, {cell.n_pairs} pairs")


if __name__ == "__main__":
    main()
