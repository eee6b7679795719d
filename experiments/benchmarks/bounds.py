"""What the operations of a stage cost at least: ours beside the bare calls of the libraries that do the arithmetic.

In CPU milliseconds of one thread, medians. Bare calls run one by one over the same arrays, with warm caches, and so are
lower bounds that their sum does not reach.

Features, a clip of those of stages.py; ours and bare calls alternate. Rows overlap: "load" contains the rows of
decoding and resampling, "all" contains everything.

Layer, a clip of a batch of 16: what MelSpectrogram takes in each dtype, and its operations as bare calls of TensorFlow,
beside Keras' own layer in float32.

Training, a patch of a batch of 100: the layers of a step as bare operations of TensorFlow, and whole steps. Biases and
activations of convolutions count nothing, since TensorFlow fuses them with the convolution. "At peak" is what the
arithmetic of a convolution takes at the speed of a large matrix product, which no convolution is faster than. A
gradient to one channel is a convolution with one filter to TensorFlow; it counts at peak, since there are faster ways.
No step made of these operations is faster than stock Keras by more than the ratio in the last line.

Evaluation, a clip at hop 1: the convolutions, matrix products and poolings of the scorer, each called alone.

Run:    python experiments/benchmarks/bounds.py                      (some three minutes)
        python experiments/benchmarks/bounds.py --only training
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

# First, since it sets the number of threads.
from stages import NETWORKS, compile_as_published, keras_mel, power, sound_files, tf

# isort: split
import keras
import numpy as np
import scipy.fft
import soundfile
import soxr

from loglearn_tf import MelSpectrogram, build_model
from loglearn_tf.audio import decode, load_waveform, read_wav_header
from loglearn_tf.features.build import _CLIPS_AT_ONCE, _mel_function, _read_and_transform
from loglearn_tf.features.spectrum import PowerSpectrum
from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.sliding import SlidingScorer

RATE = 44_100
REPEATS = 11
BATCH = 100
N_WAVEFORMS = 16
STAGES = ("features", "layer", "training", "evaluation")


class Operation(NamedTuple):
    """Our call and the bare one; each does what all clips need. None: nothing comparable."""

    name: str
    ours: Callable[[], Any] | None
    bare: Callable[[], Any] | None


def features() -> Iterator[tuple[int, Operation]]:
    """Number of clips, and an operation."""
    files, _ = sound_files()
    decoded = [soundfile.read(path, dtype="float32", always_2d=True) for path in files]
    mono = [(samples.mean(axis=1), rate) for samples, rate in decoded]
    waveforms = [load_waveform(path, sample_rate=RATE) for path in files]

    def for_each(items: list[Any], call: Callable[[Any], Any]) -> Callable[[], None]:
        def run() -> None:
            for item in items:
                call(item)

        return run

    def resample(one: tuple[Any, int]) -> None:
        if one[1] != RATE:
            soxr.resample(*one, RATE, quality="HQ")

    read = for_each(files, lambda path: path.read_bytes())
    decoding = for_each(files, lambda path: soundfile.read(path, dtype="float32"))
    resampling = for_each(mono, resample)
    rows = [
        Operation("read the file", None, read),
        Operation("header", for_each(files, read_wav_header), None),
        Operation("decode, with header and checks", for_each(files, decode), decoding),
        Operation("resample", None, resampling),
        Operation("load", for_each(files, lambda path: load_waveform(path, sample_rate=RATE)), None),
    ]
    for dtype in ("float32", "float64"):
        front = MelSpectrogram(fft_dtype=dtype)
        front.build((None, None))
        spectrum, window, width = PowerSpectrum(front), front.window_samples(), front.n_fft
        mels_of = _mel_function({"fft_dtype": dtype}, "none")
        framed = [w[: len(w) // width * width].reshape(-1, width) for w in waveforms]
        windowed = np.ones((64, width), dtype)
        power = [
            np.ones((len(frames), last - first), np.float32) for frames in framed for first, last, _ in front.banks
        ]
        banks = [bank for _ in framed for *_, bank in front.banks]

        def apply_window(frames: Any, window: Any = window, out: Any = windowed) -> None:
            for at in range(0, len(frames), 64):
                np.multiply(frames[at : at + 64], window, out=out[: len(frames) - at])

        def transform(frames: Any, windowed: Any = windowed) -> None:
            for at in range(0, len(frames), 64):
                scipy.fft.rfft(windowed[: len(frames) - at], workers=1)

        def spectra(spectrum: Any = spectrum) -> None:
            for _ in spectrum(waveforms):
                pass

        def transform_files(some: Any, mels_of: Any = mels_of) -> None:
            _read_and_transform(some, mels_of, sample_rate=RATE)

        def in_groups(call: Callable[[Any], Any], items: list[Any]) -> Callable[[], None]:
            return for_each([items[at : at + _CLIPS_AT_ONCE] for at in range(0, len(items), _CLIPS_AT_ONCE)], call)

        rows += [
            Operation(f"{dtype}: window", None, for_each(framed, apply_window)),
            Operation(f"{dtype}: Fourier transform", None, for_each(framed, transform)),
            Operation(f"{dtype}: power spectrum", spectra, None),
            Operation(
                f"{dtype}: bands' products",
                None,
                for_each(list(zip(power, banks, strict=True)), lambda pair: pair[0] @ pair[1]),
            ),
            Operation(f"{dtype}: spectrum and bands", in_groups(mels_of, waveforms), None),
            Operation(f"{dtype}: all", in_groups(transform_files, files), None),
        ]
    for row in rows:
        yield len(files), row


def layer() -> Iterator[Operation]:
    """Keras' layer, ours, and the operations of ours."""
    waveforms = tf.constant(np.random.default_rng(0).normal(0, 0.1, (N_WAVEFORMS, 4 * RATE)).astype("float32"))
    yield Operation("keras.layers.MelSpectrogram, float32", None, in_graph(keras_mel("float32"), waveforms))
    for dtype in ("float32", "float64"):
        front = MelSpectrogram(fft_dtype=dtype)
        width, window = front.n_fft, tf.constant(front.window_samples())
        frames = tf.reshape(waveforms[:, : 4 * RATE // width * width], [-1, width])
        cast = tf.cast(frames, dtype)
        spectrum = tf.signal.rfft(cast)
        squares = tf.cast(tf.math.real(spectrum) ** 2, tf.float32)[tf.newaxis]
        yield Operation(f"{dtype}: all", in_graph(front, waveforms), None)
        if dtype == "float64":
            yield Operation(f"{dtype}: cast", None, in_graph(lambda x: tf.cast(x, tf.float64), frames))
        yield Operation(f"{dtype}: window", None, in_graph(lambda x, window=window: x * window, cast))
        yield Operation(f"{dtype}: Fourier transform", None, in_graph(tf.signal.rfft, cast))
        yield Operation(f"{dtype}: the same, two frames in one", None, in_graph(tf.signal.fft, in_pairs(cast)))
        yield Operation(
            f"{dtype}: squares",
            None,
            in_graph(lambda z: tf.cast(tf.math.real(z) ** 2 + tf.math.imag(z) ** 2, tf.float32), spectrum),
        )
        yield Operation(f"{dtype}: bands' products", None, in_graph(front.mel, squares))


def in_pairs(frames: Any) -> Any:
    """Complex frames, each of two real ones."""
    half = frames.shape[0] // 2
    return tf.complex(frames[:half], frames[half : 2 * half])


def in_graph(call: Callable[[Any], Any], given: Any) -> Callable[[], Any]:
    function = tf.function(call)
    return lambda: function(given)


def measure(call: Callable[[], Any] | None, times: list[float], n_units: int) -> None:
    if call is not None:
        began = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - began) / n_units)


class Bare(NamedTuple):
    """An operation of a training step."""

    name: str
    call: Callable[[], Any]
    mflop: float = 0.0  # a patch, of a convolution
    counts_at_peak: bool = False


def print_training(network: str) -> None:
    side = 2048
    square = tf.ones([side, side])
    gflops = 2e-6 * side**3 / median_ms(lambda: square @ square)
    print(f"\n{network}: matrix products at {gflops:.0f} GFLOP/s")
    print(f"{'operation':<36} {'at peak, ms':>11} {'bare, ms':>9}")
    total_at_peak = total = 0.0
    for row in operations(build_model(network, seed=1)):
        taken = median_ms(row.call) / BATCH
        at_peak = row.mflop / gflops if row.mflop else None
        counted = at_peak if row.counts_at_peak and at_peak is not None else taken
        total, total_at_peak = total + counted, total_at_peak + (at_peak or 0)
        print(f"{row.name:<36} {'' if at_peak is None else f'{at_peak:11.3f}':>11} {taken:9.3f}", flush=True)
    print(f"{'sum, gradients to one channel at peak':<36} {total_at_peak:11.3f} {total:9.3f}")
    data = tf.data.Dataset.from_tensors((power(BATCH, 128, 128), np.arange(BATCH) % 10)).repeat()
    calls = {}
    for kind in ("Keras", "float32", "float32_fast"):
        model = build_model(network, seed=1)
        model = model if kind == "Keras" else accelerate(model, precision=kind).network
        compile_as_published(model)
        calls[kind] = lambda model=model: model.fit(data, steps_per_epoch=1, verbose=0, shuffle=False)
    times: dict[str, list[float]] = {kind: [] for kind in calls}
    for _ in range(REPEATS + 1):
        for kind, call in calls.items():
            measure(call, times[kind], BATCH)
    steps = {kind: statistics.median(each[1:]) for kind, each in times.items()}
    for kind, step in steps.items():
        print(f"{'step, ' + kind:<36} {'':11} {step:9.3f} {steps['Keras'] / step:8.2f}x")
    print(f"{'bound of the bare operations':<36} {'':11} {total:9.3f} {steps['Keras'] / total:8.2f}x")


def operations(model: keras.Model) -> Iterator[Bare]:
    """The layers of a step, forward and backward, and the update of the weights."""
    for layer in model.layers:
        if not (layer.weights or isinstance(layer, (keras.layers.MaxPooling2D, keras.layers.Dropout))):
            continue
        x, y = (tf.constant(power(BATCH, *one.shape[1:])) for one in (layer.input, layer.output))
        if isinstance(layer, keras.layers.Conv2D):
            yield from convolution(layer, x, y)
        elif isinstance(layer, keras.layers.MaxPooling2D):
            yield Bare(f"{layer.name}, and gradient", compiled(pooling_and_gradient, layer, x, y))
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.output.shape[-1] > 1:
            yield Bare(f"{layer.name}, and gradient", compiled(normalization_and_gradient, layer, x, y))
        else:
            yield Bare(f"{layer.name}, and gradients", compiled(layer_and_gradients, layer, x, y))
    compile_as_published(model)
    weights = model.trainable_variables
    update = tf.function(lambda x, y: model.optimizer.apply(x, weights), autograph=False)
    model.optimizer.build(weights)
    gradients = [tf.ones_like(one) for one in weights]
    yield Bare("update of the weights", lambda: update(gradients, None))


def convolution(layer: keras.layers.Conv2D, x: Any, y: Any) -> Iterator[Bare]:
    kernel = tf.convert_to_tensor(layer.kernel)
    same = {"strides": [1, 1, 1, 1], "padding": layer.padding.upper()}
    mflop = 2e-6 * np.prod(kernel.shape) * y.shape[1] * y.shape[2]

    def to_input(layer: Any, x: Any, y: Any) -> Any:
        return tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=kernel, out_backprop=y, **same)

    def to_kernel(layer: Any, x: Any, y: Any) -> Any:
        return tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, out_backprop=y, **same)

    yield Bare(layer.name, compiled(lambda layer, x, y: tf.nn.conv2d(x, kernel, **same), layer, x, y), mflop)
    yield Bare(f"{layer.name}, to its input", compiled(to_input, layer, x, y), mflop, x.shape[-1] == 1)
    yield Bare(f"{layer.name}, to its kernel", compiled(to_kernel, layer, x, y), mflop)


def pooling_and_gradient(layer: Any, x: Any, y: Any) -> Any:
    return tf.gradients(layer(x), x, y)


def layer_and_gradients(layer: Any, x: Any, y: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = layer(x, training=True)
    return tape.gradient(found, [x, *layer.trainable_variables], y)


def normalization_and_gradient(layer: Any, x: Any, y: Any) -> Any:
    scale, offset = tf.ones([x.shape[-1]]), tf.zeros([x.shape[-1]])
    return tf.gradients(tf.compat.v1.nn.fused_batch_norm(x, scale, offset)[0], [x, scale, offset], y)


def compiled(function: Callable[..., Any], layer: Any, x: Any, y: Any) -> Callable[[], Any]:
    graph = tf.function(lambda x, y: function(layer, x, y), autograph=False)
    return lambda: graph(x, y)


def print_evaluation(network: str) -> None:
    scorer = SlidingScorer(build_model(network, seed=1), hop=1)
    for n_frames, n_clips in ((431, 1), (173, 11)):
        traced = tf.function(scorer._trace, autograph=False)
        graph = traced.get_concrete_function(tf.TensorSpec((n_clips, n_frames, 128), tf.float32)).graph
        found = {kind: 0.0 for kind in _SCORED}
        for op in graph.get_operations():
            if op.type in _SCORED:
                found[op.type] += median_ms(bare_operation(op)) / n_clips
        mels = power(n_clips, n_frames, 128)
        ours = median_ms(lambda mels=mels: scorer.logits(mels)) / n_clips
        parts = ", ".join(f"{kind} {taken:.2f}" for kind, taken in found.items() if taken)
        name = f"{network}, {n_frames} frames"
        print(f"{name:<36} {ours:9.3f} {sum(found.values()):9.3f} ({parts})", flush=True)


# Operations of TensorFlow, and their attributes.
_SCORED = {
    "Conv2D": ("strides", "padding", "explicit_paddings", "dilations"),
    "MatMul": ("transpose_a", "transpose_b"),
    "BatchMatMulV2": ("adj_x", "adj_y"),
    "MaxPool": ("ksize", "strides", "padding"),
}


def bare_operation(op: Any) -> Callable[[], Any]:
    """An operation of a graph with fixed shapes, as a graph of its own."""
    attributes = {name: op.get_attr(name) for name in _SCORED[op.type]}
    attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    kinds = {"Conv2D": ("input", "filter"), "MatMul": ("a", "b"), "BatchMatMulV2": ("x", "y"), "MaxPool": ("input",)}
    given = {name: tf.constant(power(*tensor.shape)) for name, tensor in zip(kinds[op.type], op.inputs, strict=True)}
    call = tf.function(lambda given: getattr(tf.raw_ops, op.type)(**given, **attributes), autograph=False)
    return lambda: call(given)


def median_ms(call: Callable[[], Any]) -> float:
    times: list[float] = []
    for _ in range(REPEATS + 1):
        measure(call, times, 1)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES))
    stages = parser.parse_args().only
    print(f"TensorFlow {tf.__version__}, soxr {soxr.__version__}, soundfile {soundfile.__version__}")
    if "features" in stages:
        print_features()
    if "layer" in stages:
        print_layer()
    if "training" in stages:
        for network in ("sb_cnn", "vgg"):
            print_training(network)
    if "evaluation" in stages:
        print(f"\n{'evaluation, a clip':<36} {'ours, ms':>9} {'bare, ms':>9}")
        for network in NETWORKS:
            print_evaluation(network)


def print_features() -> None:
    print(f"{'operation':<36} {'ours, ms':>9} {'bare, ms':>9}")
    for n_units, row in features():
        print_operation(row, n_units)


def print_layer() -> None:
    print(f"\n{'layer, a clip':<36} {'ours, ms':>9} {'bare, ms':>9}")
    for row in layer():
        print_operation(row, N_WAVEFORMS)


def print_operation(row: Operation, n_units: int) -> None:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(REPEATS + 1):
        measure(row.ours, ours, n_units)
        measure(row.bare, bare, n_units)
    # The first of each warms up.
    shown = (f"{statistics.median(times[1:]):9.3f}" if times else f"{'':9}" for times in (ours, bare))
    print(f"{row.name:<36} {' '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
