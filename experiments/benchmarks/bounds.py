"""What the operations of a stage cost at least: ours beside the bare calls of the libraries that do the arithmetic.

Each row is measured alternately in CPU milliseconds of one thread, a clip, on the clips of stages.py. Rows overlap:
"load" contains the rows of decoding and resampling, "all" contains everything. Bare calls run one by one over the same
arrays, with warm caches, and so are lower bounds that their sum does not reach.

Run:    python experiments/benchmarks/bounds.py        (under a minute)
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stages import sound_files, tf  # first, since it sets the number of threads

# isort: split
import numpy as np
import scipy.fft
import soundfile
import soxr

from loglearn_tf import MelSpectrogram
from loglearn_tf.audio import decode, load_waveform, read_wav_header
from loglearn_tf.features.build import _CLIPS_AT_ONCE, _mel_function, _read_and_transform
from loglearn_tf.features.spectrum import PowerSpectrum

RATE = 44_100
REPEATS = 11


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


def measure(call: Callable[[], Any] | None, times: list[float], n_units: int) -> None:
    if call is not None:
        began = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - began) / n_units)


def main() -> None:
    print(f"TensorFlow {tf.__version__}, soxr {soxr.__version__}, soundfile {soundfile.__version__}")
    print(f"{'operation':<36} {'ours, ms':>9} {'bare, ms':>9}")
    for n_units, row in features():
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
