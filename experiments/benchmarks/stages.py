"""What each stage of the study costs, against a plain implementation of it in the same process.

Each row is measured alternately, plain and ours, in CPU seconds of one thread: medians of their ratios hold on a shared
machine, milliseconds do not carry over. Real clips where LOGLEARN_SHARED has them, computed sounds elsewhere.

Run:    make bench                      (about ten minutes; writes latest.md and latest.json here)
        make bench-kapre                (the rows of `layers`, with kapre's, in an environment of its own)
        python experiments/benchmarks/stages.py --only evaluation training
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# NumPy's matrix products, which librosa's mel bands are: else their threads count on every core, and go on counting as
# they wait for more, whatever runs meanwhile.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
import keras
import numpy as np

from loglearn_tf import LearnableLog, MelSpectrogram, build_model
from loglearn_tf._util.tensorflow_runtime import tensorflow

tf = tensorflow()  # one thread, deterministic, as workers have it

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("LOGLEARN_SHARED", HERE.parent.parent / ".." / "shared"))
NETWORKS = ("timbre", "sb_cnn", "vgg")
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Row:
    """One comparison; `plain_ms` and `ours_ms` are of one unit of the case, a clip, patch or update.

    `low` and `high` are quartiles of the ratios.
    """

    stage: str
    case: str
    plain_ms: float
    ours_ms: float
    ratio: float
    low: float
    high: float


def compare(
    stage: str, case: str, plain: Callable[[], Any], ours: Callable[[], Any], *, units: int = 1, repeats: int = 7
) -> Row:
    """Measures both in turn; each does `units` units of work a call."""
    plain(), ours()  # compiled, and in the cache
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(repeats):
        for name, call in (("plain", plain), ("ours", ours)):
            began = time.process_time()
            call()
            times[name].append(1e3 * (time.process_time() - began) / units)
    ratios = [a / b for a, b in zip(times["plain"], times["ours"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    row = Row(stage, case, statistics.median(times["plain"]), statistics.median(times["ours"]), middle, low, high)
    print(f"{stage:<11} {case:<58} {row.plain_ms:9.3f} {row.ours_ms:9.3f} ms {middle:7.2f}x", flush=True)
    return row


def power(*shape: int) -> Any:
    """Mel power as of real recordings: log-uniform over ten decades."""
    return (10 ** RNG.uniform(-8, 2, shape)).astype("float32")


def evaluation() -> Iterator[Row]:
    from loglearn_tf.training.sliding import SlidingScorer

    for name in NETWORKS:
        model = build_model(name, seed=1)
        scorer = SlidingScorer(model, hop=1)
        score = tf.function(lambda x, net=model: net(x, training=False))
        for n_frames, n_clips in ((431, 1), (173, 11)):
            mels = power(n_clips, n_frames, 128)

            def cut(mels: Any = mels, score: Any = score) -> None:
                patches = np.concatenate([np.lib.stride_tricks.sliding_window_view(m, 128, axis=0) for m in mels])
                patches = np.ascontiguousarray(patches.transpose(0, 2, 1))
                for at in range(0, len(patches), 64):
                    score(patches[at : at + 64])

            yield compare(
                "evaluation",
                f"{name}, {n_frames} frames at hop 1, a clip",
                cut,
                lambda mels=mels, scorer=scorer: scorer.logits(mels),
                units=n_clips,
            )


def training() -> Iterator[Row]:
    """The accelerated twin against the network itself, of Keras' layers."""
    from loglearn_tf.training.accelerated import accelerate

    for name in NETWORKS:
        # TIMBRE's numbers and time are the same in both.
        for precision in ("float32",) if name == "timbre" else ("float32", "float32_fast"):
            for batch in (10, 100):
                models = {}
                mel, labels = power(batch, 128, 128), np.arange(batch) % 10
                data = tf.data.Dataset.from_tensors((mel, labels)).repeat()
                for kind in ("ours", "plain"):
                    model = build_model(name, seed=1)
                    models[kind] = accelerate(model, precision=precision).network if kind == "ours" else model
                    compile_as_published(models[kind])
                steps = max(2, 100 // batch)

                def fit(model: keras.Model, data: Any = data, steps: int = steps) -> None:
                    model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)

                yield compare(
                    "training",
                    training_case(name, batch, precision),
                    lambda models=models, fit=fit: fit(models["plain"]),
                    lambda models=models, fit=fit: fit(models["ours"]),
                    units=steps * batch,
                )


def training_case(name: str, batch: int, precision: str) -> str:
    return f"{name} with loglearn{of_precision(precision)}, batch {batch}, a patch"


def of_precision(precision: str) -> str:
    return "" if precision == "float32" else f" in {precision}"


def compile_as_published(model: keras.Model) -> None:
    from loglearn_tf.study.settings import TrainingSettings
    from loglearn_tf.training.supervised import compile_as_published as published

    published(model, TrainingSettings())


def prototypical() -> Iterator[Row]:
    from loglearn_tf.training.accelerated import accelerate

    yield compare_updates("training", lambda model: model, lambda model: accelerate(model).network)
    yield compare_updates(
        "training",
        lambda model: model,
        lambda model: accelerate(model, precision="float32_fast").network,
        "prototypical in float32_fast, 10 classes, 5 + 5 patches, an update",
    )


def compare_updates(
    stage: str,
    plain: Callable[[keras.Model], keras.Model],
    ours: Callable[[keras.Model], keras.Model],
    case: str = "prototypical, 10 classes, 5 + 5 patches, an update",
) -> Row:
    """Updates of prototypical networks, of which `plain` and `ours` make what is trained."""
    from loglearn_tf.training.callbacks import compression_of
    from loglearn_tf.training.episodic import PrototypicalTraining

    support, labels = power(50, 128, 128), np.repeat(np.arange(10), 5).astype("int32")
    queries = tf.data.Dataset.from_tensors((power(50, 128, 128), labels)).repeat()

    def compiled(made: Callable[[keras.Model], keras.Model]) -> Callable[[], Any]:
        classifier = made(build_model("prototypical", n_classes=10, seed=1, protocol="clean"))
        one = PrototypicalTraining(classifier, compression_of(classifier), support, labels)
        one(keras.KerasTensor(support.shape))
        compile_as_published(one)
        return lambda: one.fit(queries, steps_per_epoch=1, verbose=0, shuffle=False)

    return compare(stage, case, compiled(plain), compiled(ours), repeats=3)


def bfloat16() -> Iterator[Row]:
    """The accelerated twin in bfloat16 against the one in float32, where this processor has instructions for it."""
    from loglearn_tf.errors import ConfigError
    from loglearn_tf.training.accelerated import accelerate, check_bfloat16

    try:
        check_bfloat16()
    except ConfigError as error:
        print(f"bfloat16 left out: {error}", file=sys.stderr)
        return
    data = tf.data.Dataset.from_tensors((power(100, 128, 128), np.arange(100) % 10)).repeat()
    for name in NETWORKS:
        twins = {}
        for precision in ("float32", "bfloat16"):
            twins[precision] = accelerate(build_model(name, seed=1), precision=precision).network
            compile_as_published(twins[precision])

        def fit(precision: str, twins: dict[str, keras.Model] = twins) -> None:
            twins[precision].fit(data, steps_per_epoch=2, verbose=0, shuffle=False)

        yield compare(
            "bfloat16",
            f"{name}, batch 100, a patch, against our float32",
            lambda fit=fit: fit("float32"),
            lambda fit=fit: fit("bfloat16"),
            units=200,
        )
    yield compare_updates(
        "bfloat16",
        lambda model: accelerate(model).network,
        lambda model: accelerate(model, precision="bfloat16").network,
    )


def features() -> Iterator[Row]:
    import librosa

    from loglearn_tf.features.build import _CLIPS_AT_ONCE, _mel_function, _read_and_transform

    files, kind = sound_files()

    for dtype in ("float32", "float64"):
        mel_of = _mel_function({"fft_dtype": dtype}, "none")

        def plain(dtype: str = dtype) -> None:
            for path in files:
                samples, rate = librosa.load(path, sr=44_100, dtype=getattr(np, dtype))
                librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=1024, hop_length=1024, n_mels=128)

        def ours(mel_of: Any = mel_of) -> None:
            for at in range(0, len(files), _CLIPS_AT_ONCE):
                _read_and_transform(files[at : at + _CLIPS_AT_ONCE], mel_of, sample_rate=44_100)

        case = f"{kind} in {dtype} against librosa's load and melspectrogram, a clip"
        yield compare("features", case, plain, ours, units=len(files))


def sound_files() -> tuple[list[Path], str]:
    real = sorted((SHARED / "data" / "UrbanSound8K-subset" / "audio").glob("fold*/*.wav"))[::20]
    if real:
        return real, f"{len(real)} real clips"
    from loglearn_tf.datasets.synthetic import make_us8k

    root = make_us8k(Path(tempfile.mkdtemp()) / "us8k", clips_per_class=4, folds=(1,))
    made = sorted((root / "audio").glob("fold*/*.wav"))
    return made, f"{len(made)} computed clips"


def layers() -> Iterator[Row]:
    waveforms = tf.constant(RNG.normal(0, 0.1, (16, 176_400)).astype("float32"))
    # Like against like, and this package's default against Keras'.
    pairs = [
        (ours, f"keras.layers.MelSpectrogram in {theirs}", keras_mel(theirs), waveforms)
        for ours, theirs in (("float32", "float32"), ("float64", "float64"), ("float64", "float32"))
    ]
    try:
        from kapre import STFT  # noqa: F401
        from kapre.composed import get_melspectrogram_layer

        kapre = get_melspectrogram_layer(
            input_shape=(176_400, 1), n_fft=1024, hop_length=1024, sample_rate=44_100, n_mels=128
        )
        pairs.append(("float32", "kapre", kapre, waveforms[..., None]))
    except Exception as error:  # not installed, or not made for this Keras
        print(f"kapre left out: {type(error).__name__}: {error}", file=sys.stderr)
    for dtype, name, peer, given in pairs:
        front, call = tf.function(MelSpectrogram(fft_dtype=dtype)), tf.function(peer)
        yield compare(
            "layers",
            f"MelSpectrogram in {dtype} against {name}, a clip",
            lambda call=call, given=given: call(given),
            lambda front=front: front(waveforms),
            units=16,
        )
    mel = tf.constant(power(64, 128, 128))
    layer, log = tf.function(LearnableLog()), tf.function(tf.math.log)
    yield compare(
        "layers",
        "LearnableLog against tf.math.log, a patch",
        lambda: log(mel),
        lambda: layer(mel),
        units=64,
        repeats=21,
    )


def keras_mel(dtype: str) -> keras.layers.Layer:
    return keras.layers.MelSpectrogram(
        dtype=dtype,
        fft_length=1024,
        sequence_stride=1024,
        sequence_length=1024,
        sampling_rate=44_100,
        num_mel_bins=128,
        min_freq=0,
        max_freq=22_050,
        power_to_db=False,
        mag_exp=2.0,
    )


def study(rows: list[Row]) -> Iterator[Row]:
    """Cost of a loglearn run averaged over the protocol's cells, put together from the rows above.

    US8K: 873 test clips of 173 frames; TUT: 1,620 of 431. 199 epochs of n clips for each of 10 or 15 classes.
    """
    cost = {(row.stage, row.case): row for row in rows}
    shots = {1: 20, 2: 20, 5: 10, 10: 10, 20: 5, 50: 5, 100: 5}
    data = (("US8K", 10, 873, 173), ("ASC-TUT", 15, 1620, 431))
    for (name, n_classes, n_clips, n_frames), precision in itertools.product(data, ("float32", "float32_fast")):
        totals = {"plain_ms": 0.0, "ours_ms": 0.0}
        for network in NETWORKS:
            scored = cost["evaluation", f"{network}, {n_frames} frames at hop 1, a clip"]
            for n, runs in shots.items():
                used = "float32" if network == "timbre" else precision
                trained = cost["training", training_case(network, 10 if n < 10 else 100, used)]
                for kind in totals:
                    patches = 199 * n * n_classes
                    one = patches * getattr(trained, kind) + n_clips * getattr(scored, kind)
                    totals[kind] += runs * one / sum(shots.values()) / len(NETWORKS)
        ratio = totals["plain_ms"] / totals["ours_ms"]
        row = Row(
            "study",
            f"{name}, a run{of_precision(precision)}, mean over networks and cells (computed)",
            **totals,
            ratio=ratio,
            low=ratio,
            high=ratio,
        )
        print(f"{row.stage:<11} {row.case:<58} {row.plain_ms:9.0f} {row.ours_ms:9.0f} ms {ratio:7.2f}x", flush=True)
        yield row


STAGES = {
    "evaluation": evaluation,
    "training": training,
    "prototypical": prototypical,
    "bfloat16": bfloat16,
    "features": features,
    "layers": layers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES), help="some of the stages")
    parser.add_argument("--output", type=Path, default=HERE / "latest", help="without suffix")
    options = parser.parse_args()
    rows = [row for name in options.only for row in STAGES[name]()]
    if {"evaluation", "training"} <= set(options.only):
        rows += study(rows)
    write(rows, options.output)


def write(rows: list[Row], output: Path) -> None:
    versions = {name: metadata.version(name) for name in ("tensorflow", "keras", "librosa", "numpy")}
    about = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        "# Cost of the stages",
        "",
        f"{time.strftime('%Y-%m-%d')}, one thread of {platform.machine()}, CPU milliseconds, medians; {about}.",
        "",
        "| Stage | Case | Plain, ms | Ours, ms | Ratio | Quartiles |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.stage} | {row.case} | {row.plain_ms:.3g} | {row.ours_ms:.3g} | {row.ratio:.2f} "
            f"| {row.low:.2f} to {row.high:.2f} |"
            for row in rows
        ),
    ]
    output.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = {"versions": versions, "rows": [asdict(row) for row in rows]}
    output.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {output.with_suffix('.md')}, {output.with_suffix('.json')}")


if __name__ == "__main__":
    main()
