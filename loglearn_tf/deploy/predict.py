"""Applies a saved clip classifier to sound files of any length, one after another."""

import itertools
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf._util.csv import row_writer
from loglearn_tf._util.progress import OnProgress, Progress
from loglearn_tf._util.text import path_text
from loglearn_tf.audio import Samples, waveform_blocks
from loglearn_tf.audio.faults import cannot_read
from loglearn_tf.datasets.search import SOME_SUFFIXES, check_listed, passed_over, search
from loglearn_tf.deploy.recording import Classifier, Recording, TooLong
from loglearn_tf.deploy.saved_models import front_end_of
from loglearn_tf.errors import AudioError, ConfigError, MissingDataError

# Limit on the first blocks of waiting recordings: 64 MiB of float32, whatever the number of cores.
_SAMPLES_AHEAD = 1 << 24

_log = logging.getLogger("loglearn_tf")


@dataclass(frozen=True)
class Prediction:
    """The result of a classifier for a file or a part of it.

    Attributes:
        path: Path as given or found.
        probabilities: `(n_classes,)` float32; `None` if the file cannot be read.
        error: The reason and the remedy; empty if it can be read.
        start_s, end_s: Limits of the part, in seconds from the start of the file; `None` for a whole file.
    """

    path: Path
    probabilities: npt.NDArray[np.float32] | None
    error: str = ""
    start_s: float | None = None
    end_s: float | None = None


def find_sounds(paths: Iterable[str | Path]) -> list[Path]:
    """The files in `paths`, and all sound files in the folders in `paths`, at any depth, sorted by name.

    Links to folders are followed, each folder once. Skipped files are logged: hidden files, and files that are not
    sounds. Unreadable files with the name of a sound file are included; reading them gives the reason.

    Raises:
        MissingDataError: If a path does not exist, a folder cannot be listed, or a folder has no sound file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            entries = search([path])
            check_listed(entries)
            inside = [entry.path for entry in entries if entry.kind in ("sound", "odd name", "broken link")]
            if not inside:
                raise MissingDataError(
                    f"Folder {path} contains no sound files ({SOME_SUFFIXES}). Name the files or another folder."
                )
            for line in passed_over(entries, path):
                _log.info(line)
            found += inside
        elif os.path.lexists(path):
            found.append(path)
        else:
            raise MissingDataError(f"File or folder not found: {path}. Check the path.")
    return found


def predict(
    model: keras.Model,
    paths: Sequence[str | Path],
    *,
    workers: int = 1,
    where: str | Path = "the model",
    every: float | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Prediction]:
    """Computes class probabilities of files, in order; memory does not depend on their number or length.

    A long recording is read and scored in blocks; see `recording.Classifier`, also for models that need more memory.
    The probabilities are those of `model` for the whole waveform, to about 1e-7.

    Args:
        model: Clip classifier.
        paths: Sound files, with any sample rate and number of channels.
        workers: Number of threads that decode ahead.
        where: The model's file, for messages.
        every: Length of a part in seconds; at least one hop of the front end. If given, consecutive parts are
            classified
            instead of whole files, each like a separate file: without its neighbours, padded at its edges, and repeated
            to the length of a patch if shorter. The last part may be shorter, however short.
        on_progress: Called for every file.

    Yields:
        One `Prediction` for each path; with `every`, one for each part, once the whole file has been read. An
        unreadable file gives one with an error and does not stop the others.

    Raises:
        ModelError: If the model is not a clip classifier.
        ConfigError: If `paths` is a single path, or `every` is shorter than a hop or not finite.
    """
    if isinstance(paths, (str, os.PathLike)):
        # Text is a sequence of its letters.
        raise ConfigError(f"`paths` must be a list of sound files. Received: paths={paths!r}. Write [{paths!r}].")
    front_end = front_end_of(model, where)
    sample_rate, hop_s = front_end.sample_rate, front_end.hop_length / front_end.sample_rate
    if every is not None and not hop_s <= every < float("inf"):
        raise ConfigError(f"`every` must be at least {hop_s:.4g} s, one hop of the model. Received: every={every!r}.")
    classifier = Classifier(model)

    def read_first(path: Path) -> Iterator[Samples] | AudioError:
        blocks = waveform_blocks(path, sample_rate=sample_rate, seconds=classifier.block / sample_rate)
        try:
            return itertools.chain([next(blocks)], blocks)
        except AudioError as error:
            return error

    def predicted(path: Path, blocks: Iterator[Samples] | AudioError) -> list[Prediction]:
        if isinstance(blocks, AudioError):
            return [Prediction(path, None, str(blocks))]
        try:
            return list(_classify(classifier, path, blocks, sample_rate, every))
        except TooLong as reason:
            blocks = cannot_read(path, str(reason), "Cut it into shorter files, or classify parts of it with `every`.")
        except AudioError as error:
            blocks = error
        return [Prediction(path, None, str(blocks))]

    def predictions() -> Iterator[Prediction]:
        progress = Progress(on_progress, "Files", len(paths))
        left = iter(map(Path, paths))
        # Only a few blocks ahead: those of thousands of files, or for dozens of cores, would fill the memory.
        n_ahead = max(1, min(2 * workers, _SAMPLES_AHEAD // classifier.block))
        with ThreadPoolExecutor(min(workers, n_ahead)) as pool:
            ahead = deque((path, pool.submit(read_first, path)) for path in itertools.islice(left, n_ahead))
            while ahead:
                path, future = ahead.popleft()
                blocks = future.result()
                ahead.extend((following, pool.submit(read_first, following)) for following in itertools.islice(left, 1))
                found = predicted(path, blocks)
                yield from found
                progress.advance(failed=found[0].probabilities is None)

    return predictions()


def _classify(
    classifier: Classifier, path: Path, blocks: Iterable[Samples], sample_rate: int, every: float | None
) -> Iterator[Prediction]:
    """One prediction for the recording, or one for each part of it."""

    def end_of(part: int) -> float:
        return float("inf") if every is None else round((part + 1) * every * sample_rate)

    part, start, at, recording = 0, 0, 0, Recording(classifier)

    def prediction() -> Prediction:
        seconds = () if every is None else (start / sample_rate, at / sample_rate)
        return Prediction(path, recording.finish(), "", *seconds)

    for block in blocks:
        while len(block):
            taken = block[: int(min(end_of(part) - at, len(block)))]
            recording.add(taken)
            at, block = at + len(taken), block[len(taken) :]
            if at == end_of(part):
                yield prediction()
                part, start, recording = part + 1, at, Recording(classifier)
    if at > start:
        yield prediction()


def writer(
    kind: str,
    class_names: Sequence[str],
    *,
    top: int,
    out: TextIO,
    spreadsheet_safe: bool = False,
    parts: bool = False,
) -> Callable[[Prediction], None]:
    """Writes each prediction immediately, so that a long list can be read while it grows.

    Args:
        kind: `"table"`; `"csv"`, with the columns file, class_1, p_1, class_2 ...; `"jsonl"`, one object per line. For
            parts of files, all have start_s and end_s after the file.
        class_names: Class names of the model.
        top: Number of classes to write, most probable first.
        out: Output stream.
        spreadsheet_safe: Whether to prefix names in CSV that a spreadsheet would run as formulas with an apostrophe.
        parts: Whether predictions are for parts of files.
    """
    top = min(top, len(class_names))
    write_row = row_writer(out, spreadsheet_safe=spreadsheet_safe)
    if kind == "csv":
        times = ("start_s", "end_s") if parts else ()
        write_row(["file", *times, *(f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "p"))])

    def write(prediction: Prediction) -> None:
        scores = prediction.probabilities
        assert scores is not None
        # Among equal probabilities the first class comes first, as in the evaluation.
        ranked = [(class_names[at], float(scores[at])) for at in np.argsort(-scores, kind="stable")[:top]]
        path = path_text(prediction.path)
        part = {"start_s": prediction.start_s, "end_s": prediction.end_s} if parts else {}
        shown = [f"{seconds:.3f}" for seconds in part.values()]
        if kind == "csv":
            write_row([path, *shown, *(cell for name, p in ranked for cell in (name, f"{p:.6f}"))])
        elif kind == "jsonl":
            classes = {name: round(p, 6) for name, p in ranked}
            out.write(json.dumps({"file": path, **part, "classes": classes}) + "\n")
        else:
            where = f"{path}  {'-'.join(shown)} s" if parts else path
            out.write(f"{where}  " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in ranked) + "\n")
        out.flush()

    return write
