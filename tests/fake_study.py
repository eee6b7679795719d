"""A study as `loglearn run` leaves one, with numbers that a test chooses; nothing is trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from conftest import ROOT

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.statistics import Accuracy, Comparison
from loglearn_tf.datasets.us8k import CLASSES
from loglearn_tf.study.grid import RunSpec, plan_runs
from loglearn_tf.study.run_folder import LATER_COLUMNS, write_run
from loglearn_tf.study.settings import load_settings, load_studies
from loglearn_tf.study.status import remember_settings

VERSIONS = {
    "python": "3.11.7",
    "loglearn_tf": "0.1.0",
    "tensorflow": "2.17.1",
    "ray": None,
    "git_commit": "1bd366c" * 5,
}


def run_row(accuracy: float | None, **cell: Any) -> dict[str, Any]:
    """The `result.json` of one run of VGG with loglearn, n = 1, fold 1; failed where the accuracy is `None`."""
    row = {
        **{
            "format": 1,
            "identity": {"protocol": "pons2018", "clips": "abc"},
            "dataset": "us8k",
            "model": "vgg",
            "compression": "loglearn",
            "n_shot": 1,
            "fold": 1,
            "run": 0,
        },
        **{"seed": 0, "accuracy": accuracy, "status": "failed" if accuracy is None else "done", "synthetic": False},
        **{"missing_clips": 0, "train_seconds": 100.0, "eval_seconds": 20.0, "versions": VERSIONS, "host": "node1"},
        **{"alpha": 1100.0, "beta": 1.3, "knee": 1.3 / 1100, **dict.fromkeys(LATER_COLUMNS), **cell},
    }
    if row["compression"] != "loglearn" or accuracy is None:
        row |= {"alpha": None, "beta": None, "knee": None}
    if accuracy is None:
        row |= {"error": "Traceback ...\nMemoryError: no more", "train_seconds": None, "eval_seconds": None, **cell}
    return row


def pair(loglearn: float, logeps: float, **cell: Any) -> list[dict[str, Any]]:
    """The two runs of a pair."""
    return [run_row(loglearn, compression="loglearn", **cell), run_row(logeps, compression="logeps", **cell)]


def write(study_dir: Path, row: dict[str, Any], files: dict[str, bytes] | None = None) -> Path:
    """Its run folder."""
    spec = RunSpec(**{key: row[key] for key in ("dataset", "model", "compression", "n_shot", "fold", "run", "seed")})
    write_run(study_dir, spec, files or {}, row)
    return study_dir / spec.folder


def comparison(
    verdict: str, mean: float = 0.0, low: float | None = None, high: float | None = None, **cell: Any
) -> Comparison:
    """VGG at n = 1 on three folds of US8K unless told otherwise; fractions of accuracy."""
    values = {
        **{"dataset": "us8k", "model": "vgg", "n_shot": 1, "compression": "loglearn", "baseline": "logeps"},
        **{"n_pairs": 12, "folds": (1, 2, 10), "std": 0.03, "p_value": 0.01, "p_holm": 0.02, "p_equivalence": 0.5},
        **{"low_within": None, "high_within": None, "low_90": low, "high_90": high, "n_corrected": 1},
        **{"margin": 0.02, **cell},
    }
    return Comparison(verdict=verdict, mean=mean, low=low, high=high, **values)


def accuracy(mean: float, low: float | None = None, high: float | None = None, **cell: Any) -> Accuracy:
    values = {
        **{"dataset": "us8k", "model": "vgg", "n_shot": 1, "compression": "loglearn"},
        **{"n_runs": 12, "folds": (1, 2, 10), "std": 0.05, **cell},
    }
    return Accuracy(mean=mean, low=low, high=high, **values)


def predictions(answers: Sequence[tuple[str, str]], classes: Sequence[str]) -> bytes:
    """`predictions.csv` of (class, predicted) pairs."""
    columns = ("clip_id", "class", "predicted", *(f"p_{name}" for name in classes))
    rows = [
        {
            "clip_id": f"{at}.wav",
            "class": true,
            "predicted": said,
            **{f"p_{name}": float(name == said) for name in classes},
        }
        for at, (true, said) in enumerate(answers)
    ]
    return csv_bytes(columns, rows)


def history(columns: dict[str, Sequence[float | None]]) -> bytes:
    """`history.csv` of columns, epoch 0 first."""
    n = len(next(iter(columns.values())))
    rows = [{"epoch": epoch, **{name: values[epoch] for name, values in columns.items()}} for epoch in range(n)]
    return csv_bytes(("epoch", *columns), rows)


def realistic_study(study_dir: Path, *overrides: str, seed: int = 1) -> Path:
    """Folds 1, 2, 10, four runs, all four networks, n of 1, 5 and 20: plausible accuracies and trajectories.

    Of the prototypical networks, n = 20 is not run; of VGG, three runs failed.
    """
    grid = ["models=[sb_cnn,vgg,timbre,prototypical]", "n_shot=[1,5,20]", "folds=[1,2,10]", "runs=4"]
    settings = load_settings(
        ROOT / "experiments" / "us8k.yaml",
        [*grid, f"runs_dir={study_dir.parent}", f"name={study_dir.name}", *overrides],
    )
    random = np.random.default_rng(seed)
    base = {"sb_cnn": 0.30, "vgg": 0.33, "timbre": 0.27, "prototypical": 0.36}
    gain = {"sb_cnn": 0.03, "vgg": -0.035, "timbre": 0.004, "prototypical": -0.03}
    levels: dict[tuple[Any, ...], float] = {}
    for spec in plan_runs(settings):
        if (spec.model, spec.n_shot) == ("prototypical", 20):
            continue
        draw = (spec.model, spec.n_shot, spec.fold, spec.run)
        level = base[spec.model] + 0.09 * np.log(300 if spec.n_shot == "all" else spec.n_shot) + 0.02 * (spec.fold == 2)
        level = levels.setdefault(draw, level + random.normal(0, 0.04))
        accurate = level + (gain[spec.model] if spec.compression == "loglearn" else 0) + random.normal(0, 0.012)
        answers = list(_answers(random, accurate))
        cell = {key: getattr(spec, key) for key in ("dataset", "model", "compression", "n_shot", "fold", "run", "seed")}
        files = {"config.yaml": yaml.safe_dump(settings.dump(), sort_keys=False).encode()}
        if spec.model == "vgg" and spec.run == 3 and spec.n_shot == 20 and spec.compression == "loglearn":
            write_run(study_dir, spec, files, run_row(None, **cell, error="Traceback ...\nNonFiniteError: loss is nan"))
            continue
        traced = _learned(random, spec.model == "prototypical") if spec.compression == "loglearn" else {}
        files["history.csv"] = history(traced or {name: [None] * 200 for name in ("alpha", "beta", "knee")})
        files["predictions.csv"] = predictions(answers, CLASSES)
        after = {name: traced[name][-1] for name in ("alpha", "beta", "knee")} if traced else {}
        share = sum(true == said for true, said in answers) / len(answers)
        write_run(study_dir, spec, files, run_row(share, **cell, **after))
    remember_settings(settings)
    return study_dir


def simulated_rows(
    means: dict[str, float],
    *,
    folds: Sequence[int] = (1, 2, 3),
    runs: int = 3,
    n_shot: Sequence[int] = (2, 5),
    models: Sequence[str] = ("timbre",),
    run_std: float = 0.01,
    fold_std: float = 0.005,
    seed: int = 0,
    **cell: Any,
) -> list[dict[str, Any]]:
    """The runs of a study of one's own with these true accuracies, both scores the same.

    Runs of a pair share the level of their clips; compressions differ by folds, and by runs.
    """
    random = np.random.default_rng(seed)
    found = []
    for model in models:
        of_fold = {(name, fold): random.normal(0, fold_std) for name in means for fold in folds}
        for n in n_shot:
            for fold in folds:
                for run in range(runs):
                    level = random.normal(0, 0.03)
                    for name, mean in means.items():
                        value = float(np.clip(mean + level + of_fold[name, fold] + random.normal(0, run_std), 0, 1))
                        keys = {"dataset": "folder", "model": model, "compression": name, "n_shot": n, "fold": fold}
                        found.append(run_row(value, **{**keys, "run": run, "accuracy_settled": value, **cell}))
    return found


def _answers(random: np.random.Generator, accuracy: float) -> Iterator[tuple[str, str]]:
    # Drilling and jackhammer are taken for each other, as in reality; gun shots are easy.
    ease = dict(zip(CLASSES, (0.6, 1.1, 0.9, 1.2, 0.8, 0.7, 1.7, 0.8, 1.2, 1.0), strict=True))
    for name in CLASSES:
        for _ in range(40):
            if random.random() < accuracy * ease[name]:
                yield name, name
            elif name in ("drilling", "jackhammer") and random.random() < 0.5:
                yield name, "jackhammer" if name == "drilling" else "drilling"
            else:
                yield name, CLASSES[random.integers(len(CLASSES))]


def _learned(random: np.random.Generator, two_pairs: bool) -> dict[str, Sequence[float]]:
    columns: dict[str, Sequence[float]] = {}
    epochs = np.arange(200)
    for suffix in ("", "_support") if two_pairs else ("",):
        speed = random.normal([-0.02, 0.25], [0.01, 0.1])
        settled = 1 - np.exp(-epochs / 40)
        pre_gates = np.array([7.0, 1.0])[:, np.newaxis] + speed[:, np.newaxis] * settled
        pre_gates += np.cumsum(random.normal(0, [[0.0004], [0.004]], pre_gates.shape), axis=1) * (epochs > 0)
        alpha, beta = np.exp(pre_gates[0]), np.log1p(np.exp(pre_gates[1]))
        columns |= {f"alpha{suffix}": alpha, f"beta{suffix}": beta, f"knee{suffix}": beta / alpha}
    return columns


def study_in_parts(path: Path, text: str, *, only: Sequence[str] = (), seed: int = 0) -> Path:
    """The runs of a YAML file, in parts or not, with predictions of both scores; returns the study's folder.

    20 test clips a fold, of 10 recordings and the first two classes of US8K. Loglearn gets more clips right than
    log-EPS, by the published score more yet; other compressions lie between.

    Args:
        path: Where the file is written; runs go beside it.
        text: Its content, without `runs_dir`.
        only: Parts to do; all by default.
        seed: Of the answers.
    """
    path.write_text(f"{text}\nruns_dir: {path.parent / 'runs'}\n", encoding="utf-8")
    studies = load_studies(path)
    for settings in studies:
        if not only or settings.part in only:
            config = yaml.safe_dump(settings.dump(), sort_keys=False).encode()
            for spec in plan_runs(settings):
                run_of_parts(settings, spec, config, seed=seed)
            remember_settings(settings)
    return Path(studies[0].runs_dir, studies[0].name)


SHARE = {"logeps": 0.4, "loglearn": 0.6}


def run_of_parts(settings: Any, spec: RunSpec, config: bytes = b"", *, seed: int = 0, **result: Any) -> None:
    """One run of `study_in_parts`; `config` is its config.yaml."""
    cell = {key: getattr(spec, key) for key in ("dataset", "model", "compression", "n_shot", "fold", "run", "seed")}
    random = np.random.default_rng([seed, *map(ord, f"{settings.part} {sorted(cell.items())}")])
    clips = [(f"{spec.fold}-{at}", f"r{spec.fold}-{at // 2}", CLASSES[at % 2]) for at in range(20)]
    published = random.random(20) < SHARE.get(spec.compression, 0.5) + 0.1 * (spec.compression == "loglearn")
    settled = random.random(20) < SHARE.get(spec.compression, 0.5)
    files = {"config.yaml": config} if config else {}
    for name, right in (("predictions.csv", published), ("predictions_settled.csv", settled)):
        rows = [
            {
                "clip_id": clip,
                "recording": recording,
                "class": label,
                "predicted": label if correct else CLASSES[3],
                **{f"p_{one}": 0.1 for one in CLASSES},
            }
            for (clip, recording, label), correct in zip(clips, right, strict=True)
        ]
        known = ("recording",) * (name == "predictions_settled.csv")
        files[name] = csv_bytes(("clip_id", *known, "class", "predicted", *(f"p_{one}" for one in CLASSES)), rows)
    norm = {"norm_residue": 0.99**199, "norm_scale": 0.6, "norm_shift": -0.1}
    result = {"accuracy_settled": float(settled.mean()), **norm, **result}
    accuracy = result.pop("accuracy", float(published.mean()))
    write_run(settings.study_dir, spec, files, run_row(accuracy, **{**cell, **result}))
