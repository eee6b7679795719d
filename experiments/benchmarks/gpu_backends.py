"""The networks on a GPU by Keras' JAX or PyTorch backend: the same logits as TensorFlow on a CPU, and training steps.

`gpu.py` measures whole runs, which need TensorFlow. The networks, the layers and a prototypical update need only Keras.
Without a GPU this measures the CPU. It takes wall-clock time: let nothing else run.

Run:    python experiments/benchmarks/gpu_backends.py --save FOLDER               once, on TensorFlow
        KERAS_BACKEND=jax python experiments/benchmarks/gpu_backends.py FOLDER    or torch; a few minutes each
Expect: Differences of logits of 1e-5 of the largest in "highest" precision. By default both backends round factors of
        convolutions to 10 bits (TF32) on recent GPUs; studies on TensorFlow switch that off. The same updates twice
        give the same bytes with --deterministic alone.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "--deterministic" in sys.argv:  # before a backend is imported
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
import keras
import numpy as np

from loglearn_tf import LearnableLog, build_model
from loglearn_tf.layers import COMPRESSIONS, build_compression, negative_distance

NETWORKS = ("timbre", "sb_cnn", "vgg", "prototypical")
Line = tuple[str, str]


def power(*shape: int) -> Any:
    return (10 ** np.random.default_rng(0).uniform(-8, 2, shape)).astype("float32")


def save(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    mel = power(8, 128, 128)
    for name in NETWORKS:
        model = build_model(name, seed=1)
        if name == "prototypical":
            model.get_layer("prototypes").prototypes.assign(np.random.default_rng(1).normal(size=(10, 10)))
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.npy", keras.ops.convert_to_numpy(model(mel)))


def set_precision(highest: bool) -> None:
    """Whether float32 products have all their bits on a GPU."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest" if highest else None)
    else:
        import torch

        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not highest


def logits(folder: Path) -> Iterator[Line]:
    mel = power(8, 128, 128)
    for name in NETWORKS:
        model = keras.models.load_model(folder / f"{name}.keras", safe_mode=True)
        stored = np.load(folder / f"{name}.npy")
        found = []
        for highest in (True, False):
            set_precision(highest)
            ours = keras.ops.convert_to_numpy(model(mel))
            found.append(f"{np.abs(ours - stored).max() / np.abs(stored).max():.1e}")
        yield f"{name}: largest difference of logits, highest and default precision", " ".join(found)


def compressions() -> Iterator[Line]:
    """Of the layer, against NumPy's float64; of the whole menu, that they run and are finite."""
    x = power(4, 64, 128)
    layer = LearnableLog()
    wide = np.log(np.exp(7.0) * x.astype("float64") + np.log1p(np.exp(1.0)))
    off = np.abs(keras.ops.convert_to_numpy(layer(x)) - wide).max()
    yield "LearnableLog: largest difference from NumPy in float64", f"{off:.1e}"
    wrong = [
        name for name in COMPRESSIONS if not np.isfinite(keras.ops.convert_to_numpy(build_compression(name)(x))).all()
    ]
    yield f"{len(COMPRESSIONS)} compressions of the menu, not finite", ", ".join(wrong) or "none"


def fit_seconds(model: Any, x: Any, labels: Any, batch: int, repeats: int = 5) -> float:
    """Median of a patch."""

    def epoch() -> None:
        model.fit(x, labels, batch_size=batch, epochs=1, shuffle=False, verbose=0)

    return seconds(epoch, repeats) / len(x)


def seconds(call: Callable[[], Any], repeats: int) -> float:
    call()  # compiled
    times = []
    for _ in range(repeats):
        began = time.monotonic()
        call()
        times.append(time.monotonic() - began)
    return statistics.median(times)


def compiled(model: Any) -> Any:
    model.compile(keras.optimizers.SGD(0.1, clipnorm=5.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def steps(batches: list[int], n_patches: int) -> Iterator[Line]:
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        for name in NETWORKS[:3]:
            for batch in batches:
                n = max(batch, n_patches // batch * batch)
                model = compiled(build_model(name, seed=1))
                taken = fit_seconds(model, power(n, 128, 128), np.arange(n) % 10, batch)
                yield f"{name}, {policy}, batch {batch}: training, ms a patch", f"{1e3 * taken:.3f}"
        yield f"prototypical, {policy}: update of 50 queries and 50 of the support, ms", f"{1e3 * update():.1f}"
    keras.config.set_dtype_policy("float32")


class Episode(keras.Model):  # type: ignore[misc]
    """A prototypical network in training, as `training.episodic` has it, which needs TensorFlow."""

    def __init__(self, classifier: keras.Model, support: Any) -> None:
        super().__init__()
        self.encoder = classifier.get_layer("encoder")
        self.of_query, self.of_support = LearnableLog(), LearnableLog()
        self.support = keras.Variable(support, trainable=False)

    def call(self, query: Any, training: bool = False) -> Any:
        embeddings = self.encoder(self.of_query(query), training=training)
        support = self.encoder(self.of_support(self.support), training=training)
        # Classes take turns in the support.
        prototypes = keras.ops.mean(keras.ops.reshape(support, (-1, 10, support.shape[-1])), axis=0)
        return negative_distance(embeddings, prototypes, "mean_squared")


def update(n: int = 50, n_updates: int = 20) -> float:
    training = compiled(Episode(build_model("prototypical", seed=1), power(n, 128, 128)))
    queries, labels = np.tile(power(n, 128, 128), (n_updates, 1, 1)), np.arange(n * n_updates) % 10
    return n * fit_seconds(training, queries, labels, n, repeats=3)


def twice() -> Iterator[Line]:
    """The same updates from the same weights."""
    x, labels = power(200, 128, 128), np.arange(200) % 10
    for name in NETWORKS[:3]:
        found = []
        for _ in range(2):
            keras.utils.set_random_seed(0)
            model = compiled(build_model(name, seed=1))
            model.fit(x, labels, batch_size=100, epochs=5, shuffle=False, verbose=0)
            found.append(b"".join(weight.tobytes() for weight in model.get_weights()))
        yield f"{name}: the same ten updates twice give the same bytes", "yes" if found[0] == found[1] else "NO"


def device() -> str:
    if keras.backend.backend() == "jax":
        import jax

        return f"{jax.devices()[0].device_kind}; JAX {jax.__version__}, Keras {keras.__version__}"
    import torch

    kind = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    return f"{kind}; PyTorch {torch.__version__}, Keras {keras.__version__}"


def memory() -> Iterator[Line]:
    if keras.backend.backend() == "jax":
        import jax

        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    else:
        import torch

        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    if peak:
        yield "memory of the GPU at most, MiB", f"{peak / 2**20:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of --save")
    parser.add_argument("--save", action="store_true", help="write networks and logits, by TensorFlow")
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 100, 256], help="of training steps")
    parser.add_argument("--patches", type=int, default=1000, help="per epoch that is timed")
    parser.add_argument("--deterministic", action="store_true", help="operations that repeat to the last bit")
    options = parser.parse_args()
    if options.save:
        save(options.folder)
        return
    if keras.backend.backend() == "tensorflow":
        sys.exit("gpu_backends.py: set KERAS_BACKEND to jax or torch. For TensorFlow, run gpu.py.")
    if options.deterministic and keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    print(f"{device()}{'; deterministic' * options.deterministic}")
    for found in (
        compressions(),
        logits(options.folder),
        twice(),
        steps(options.batches, options.patches),
        memory(),
    ):
        for what, value in found:
            print(f"{what:<76} {value}", flush=True)


if __name__ == "__main__":
    main()
