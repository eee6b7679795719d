"""Whole runs in another precision against whole runs in float32: are their accuracies equivalent within half a point?

Two studies of the same cells. Each pair of runs has the same clips, patches and initial weights. Both are scored in
float32 and compared by the package's own statistics. Stopped and started again, it continues.

Run: python experiments/benchmarks/precision.py --runs-dir DIR    (real clips where LOGLEARN_SHARED has them; hours)
     python experiments/benchmarks/precision.py --models timbre --runs 1 --epochs 2 --folds 1 2    (a minute)
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from stages import NETWORKS, SHARED

from loglearn_tf import run_study
from loglearn_tf.analysis.statistics import Comparison, compare
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.synthetic import make_us8k
from loglearn_tf.study.settings import load_settings

US8K = Path(__file__).parent.parent / "us8k.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=(*NETWORKS, "prototypical"), default=list(NETWORKS))
    parser.add_argument("--precision", choices=("float32_fast", "bfloat16"), default="bfloat16")
    parser.add_argument("--n-shot", type=int, default=5, help="clips per class")
    parser.add_argument("--runs", type=int, default=10, help="of each network, fold and precision")
    parser.add_argument("--folds", type=int, nargs="+", help="default: all of the data set")
    parser.add_argument("--epochs", type=int, default=199)
    parser.add_argument("--patience", type=int, default=200, help="of prototypical training, in epochs")
    parser.add_argument("--margin", type=float, default=0.005, help="of equivalence, a fraction of accuracy")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs-dir", type=Path, help="where the runs are kept; default: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        rows = run_both(options, Path(home))
    contrast = {"compression": options.precision, "baseline": "float32", "margin": options.margin}
    for score in ("published", "settled"):
        print(f"\n{options.precision} minus float32, {score} accuracy in points, margin {100 * options.margin:g}:")
        for cell in compare(rows, score=score, **contrast):
            print(line(cell))
    print(f"\nKnee, beta / alpha, after training, {options.precision} over float32:")
    for model in options.models:
        print(f"{model:<8} {knees([row for row in rows if row['model'] == model], options.precision)}")


def knees(rows: list[dict[str, Any]], precision: str) -> str:
    """How far the trajectories of pairs ended from each other."""
    ends = {(row["compression"], row["fold"], row["run"]): row["knee"] for row in rows if row["status"] == "done"}
    ratios = [
        ends[precision, fold, run] / knee
        for (kind, fold, run), knee in ends.items()
        if kind == "float32" and (precision, fold, run) in ends
    ]
    if not ratios:
        return "no pairs"
    return f"{statistics.geometric_mean(ratios):.4f} (geometric mean), {min(ratios):.4f} to {max(ratios):.4f}"


def run_both(options: argparse.Namespace, home: Path) -> list[dict[str, Any]]:
    """Rows of all runs, with the precision in the place of the compression."""
    root = SHARED / "data" / "UrbanSound8K-subset"
    if not root.is_dir():
        root = make_us8k(home / "us8k", clips_per_class=max(8, options.n_shot), folds=(1, 2, 3, 4))
    folds = options.folds or sorted({clip.fold for clip in load_dataset("us8k", root).clips})
    rows: list[dict[str, Any]] = []
    for precision in ("float32", options.precision):
        settings = load_settings(
            US8K,
            [
                f"name={precision}",
                f"data.root={root}",
                f"features.store_dir={home / 'stores'}",
                f"runs_dir={options.runs_dir or home / 'runs'}",
                f"models={options.models}",
                "compressions=[loglearn]",
                f"n_shot={options.n_shot}",
                f"folds={folds}",
                f"runs={options.runs}",
                f"training.epochs={options.epochs}",
                f"episodic.patience={options.patience}",
                f"training.precision={precision}",
                f"workers={options.workers}",
                "tensorboard=none",
            ],
        )
        result = run_study(settings)
        seconds = sum(row["train_seconds"] or 0 for row in result.rows)
        print(f"{precision}: {len(result.rows)} runs, trained in {seconds:.0f} s by the clock", flush=True)
        rows += [{**row, "compression": precision} for row in result.rows]
    return rows


def line(cell: Comparison) -> str:
    if cell.low is None or cell.high is None or cell.low_90 is None or cell.high_90 is None:
        interval = "no interval"
    else:
        interval = f"95 %: {100 * cell.low:+.2f} to {100 * cell.high:+.2f}"
        interval += f", 90 %: {100 * cell.low_90:+.2f} to {100 * cell.high_90:+.2f}"
    return (
        f"{cell.model:<8} n = {cell.n_shot}: {100 * cell.mean:+.2f} ({interval}), {cell.n_pairs} pairs: {cell.verdict}"
    )


if __name__ == "__main__":
    main()
