"""A saved clip classifier applied to sound files, one after another."""

import itertools
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf._util.csv import row_writer
from loglearn_tf.audio import load_waveform
from loglearn_tf.datasets.search import SOME_SUFFIXES, check_listed, passed_over, search
from loglearn_tf.deploy.saved_models import front_end_of
from loglearn_tf.errors import AudioError, MissingDataError

_log = logging.getLogger("loglearn_tf")


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of a file.

    Attributes:
        path: As it was given, or found.
        probabilities: `(n_classes,)` float32; `None` where the file cannot be read.
        error: Why, and what to do; empty where it can be read.
    """

    path: Path
    probabilities: npt.NDArray[np.float32] | None
    error: str = ""


def find_sounds(paths: Iterable[str | Path]) -> list[Path]:
    """The files among `paths`, and of folders all sound files in them, at any depth, by name.

    Links to folders are followed, each folder once. What is passed over is logged: hidden files, and those that are no
    sounds. What is named as a sound and cannot be read is among the files; reading says why.

    Raises:
        MissingDataError: If a path is not there, a folder cannot be listed, or holds no sound file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            entries = search([path])
            check_listed(entries)
            inside = [entry.path for entry in entries if entry.kind in ("sound", "odd name", "broken link")]
            if not inside:
                raise MissingDataError(
                    f"Folder {path} holds no sound files ({SOME_SUFFIXES}). Name the files, or another folder."
                )
            for line in passed_over(entries, path):
                _log.info(line)
            found += inside
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise MissingDataError(f"There is no file or folder {path}. Check the path.")
    return found


def predict(
    model: keras.Model, paths: Sequence[str | Path], *, workers: int = 1, where: str | Path = "the model"
) -> Iterator[Prediction]:
    """Class probabilities of files, in their order; memory does not grow with their number.

    Args:
        model: Clip classifier.
        paths: Sound files, of any sample rate and number of channels.
        workers: Threads that decode ahead.
        where: The model's file, for messages.

    Yields:
        One `Prediction` for each path; a file that cannot be read has its error and stops nothing.

    Raises:
        ModelError: If the model is no clip classifier.
    """
    sample_rate = front_end_of(model, where).sample_rate
    probabilities_of = _compiled(model)

    def read(path: Path) -> npt.NDArray[np.float32] | AudioError:
        try:
            return load_waveform(path, sample_rate=sample_rate)
        except AudioError as error:
            return error

    def predictions() -> Iterator[Prediction]:
        left = iter(map(Path, paths))
        with ThreadPoolExecutor(workers) as pool:
            # Read ahead by a few files only: waveforms of thousands would fill the memory.
            ahead = deque((path, pool.submit(read, path)) for path in itertools.islice(left, 2 * workers))
            while ahead:
                path, future = ahead.popleft()
                waveform = future.result()
                ahead.extend((following, pool.submit(read, following)) for following in itertools.islice(left, 1))
                if isinstance(waveform, AudioError):
                    yield Prediction(path, None, str(waveform))
                else:
                    yield Prediction(path, probabilities_of(waveform))

    return predictions()


def _compiled(model: keras.Model) -> Callable[[Any], npt.NDArray[np.float32]]:
    """One waveform to its probabilities; compiled once for all lengths."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32)])  # type: ignore[untyped-decorator]
    def call(waveforms: Any) -> Any:
        return model(waveforms, training=False)

    return lambda waveform: np.asarray(call(waveform[np.newaxis]))[0]


def writer(
    kind: str, class_names: Sequence[str], *, top: int, out: TextIO, spreadsheet_safe: bool = False
) -> Callable[[Prediction], None]:
    """Writes predictions one by one, each at once, so that a long list can be read while it grows.

    Args:
        kind: `"table"`; `"csv"`, with the columns file, class_1, p_1, class_2 ...; `"jsonl"`, one object a line.
        class_names: Of the model.
        top: How many of the most probable classes to name.
        out: Where to.
        spreadsheet_safe: Whether file and class names of a CSV that a spreadsheet would run get an apostrophe.
    """
    top = min(top, len(class_names))
    write_row = row_writer(out, spreadsheet_safe=spreadsheet_safe)
    if kind == "csv":
        write_row(["file", *(f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "p"))])

    def write(prediction: Prediction) -> None:
        scores = prediction.probabilities
        assert scores is not None
        # Among equals the first class comes first, like in the evaluation.
        ranked = [(class_names[at], float(scores[at])) for at in np.argsort(-scores, kind="stable")[:top]]
        # Names that are not UTF-8 are shown with their bytes escaped.
        path = os.fsencode(prediction.path).decode("utf-8", "backslashreplace")
        if kind == "csv":
            write_row([path, *(cell for name, p in ranked for cell in (name, f"{p:.6f}"))])
        elif kind == "jsonl":
            out.write(json.dumps({"file": path, "classes": {name: round(p, 6) for name, p in ranked}}) + "\n")
        else:
            out.write(f"{path}  " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in ranked) + "\n")
        out.flush()

    return write
