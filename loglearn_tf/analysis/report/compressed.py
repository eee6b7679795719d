"""The section on one clip: its mel power, and the output of each compression before and after training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from loglearn_tf._util.process import call
from loglearn_tf.analysis.answers import PREDICTIONS
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    dataset_name,
    datasets_in_order,
    is_relative,
)
from loglearn_tf.analysis.report.document import Block, Paragraph
from loglearn_tf.analysis.report.escape import file_stem
from loglearn_tf.analysis.report.figures import in_style
from loglearn_tf.analysis.report.part import Drawing, Finished, Part
from loglearn_tf.analysis.report.run_files import Unreadable, read_clip_ids, read_traces
from loglearn_tf.analysis.results import FloatArray
from loglearn_tf.datasets.clips import Clip
from loglearn_tf.errors import ConfigError, DataError, LoglearnError
from loglearn_tf.features.histogram import LOG_EPS, store_of_histogram
from loglearn_tf.features.store import MelStore
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.study.run_folder import Row
from loglearn_tf.study.settings import Settings
from loglearn_tf.study.status import remembered_settings

Mel = npt.NDArray[np.float32]

# Range of the input: this far below the loudest bin is black.
FLOOR_DB = -100.0
# Range of the outputs: standard deviations on either side of the mean.
SHOWN_STD = 2.0
# Only the start of a longer clip is drawn.
MOST_FRAMES = 512
_SHADES = 32
# For smaller changes of the knee, one picture is drawn.
_MOVED = 0.05
# Compressions of the form ln(alpha X + beta), whose parameters are recorded; others are computed by their layer.
_LOGARITHMS = frozenset(
    (
        *("loglearn", "loglearn_per_band", "loglearn_adapted", "loglearn_knee", "log", "log1p_learn"),
        *("relative_knee", "learned_relative_knee"),
    )
)
_COLUMNS = (
    *("data", "dataset", "fold", "clip_id", "clip_level", "n_frames", "compression", "when", "relative"),
    *(
        "alpha",
        "beta",
        "knee",
        "alpha_start",
        "beta_start",
        "n_runs",
        "output_mean",
        "output_std",
        "output_min",
        "output_max",
    ),
)


@dataclass(frozen=True)
class _Picture:
    """The output of a compression at one time.

    Attributes:
        compression, when: Its name; `"start"`, `"end"`, or empty if it does not change.
        output: `(frames, n_mels)`.
        numbers: For the CSV file: alpha, beta, knee, n_runs, as available.
    """

    compression: str
    when: str
    output: FloatArray
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class _Shown:
    """The clip shown."""

    clip_id: str
    fold: int
    mel: Mel
    level: float


def make(finished: Finished) -> Part | None:
    """The section; `None` if no run has finished."""
    if not finished.done:
        return None
    blocks: list[Block | Drawing] = []
    for dataset in datasets_in_order(finished.done):
        rows = [row for row in finished.done if row["dataset"] == dataset]
        try:
            settings = remembered_settings(finished.study_dir)
            shown = _choose(finished, dataset, rows, _open(finished.study_dir, dataset, settings))
        except (DataError, ConfigError) as error:
            blocks.append(
                Paragraph(
                    f"{dataset_name(dataset)}: no clip is shown before and after compression, since its mel power "
                    f"cannot be read: {error}"
                )
            )
            continue
        pictures, remarks = _outputs(finished, rows, shown)
        blocks.append(_drawing(dataset, rows, shown, pictures, settings))
        blocks += [Paragraph(f"{dataset_name(dataset)}: {remark}") for remark in remarks]
    return Part("compressed", "One clip before and after each compression", blocks)


# ---- The clip ----------------------------------------------------------------------------------------------------


def _open(study_dir: Path, dataset: str, settings: Settings) -> MelStore:
    """The store that the study's runs used.

    Raises:
        DataError: If it is unknown, missing, or contains logarithms.
    """
    if settings.features.compression != "none":
        raise DataError(f"its store contains mel power after the compression {settings.features.compression}.")
    name = store_of_histogram(study_dir, dataset)
    if not name:
        raise DataError("the study was made by an earlier version and does not name its store.")
    folder = Path(settings.features.store_dir) / name
    if not (folder / "store.json").is_file():
        raise DataError(f"the mel store {folder} is missing. Run `loglearn report` on the machine of the study.")
    return MelStore(folder)


def _choose(finished: Finished, dataset: str, rows: Sequence[Row], store: MelStore) -> _Shown:
    """The clip with median level in the first test fold (the lower of two).

    Raises:
        DataError: If no run of the fold has predictions, which name the clips, or a clip is missing in the store.
    """
    fold = min(row["fold"] for row in rows)
    ids: Sequence[str] = ()
    for row in rows:
        if row["fold"] == fold and not ids:
            ids = read_clip_ids(finished.study_dir, row, PREDICTIONS["published"])
    if not ids:
        raise DataError(f"no run of fold {fold} has predictions, which name its test clips.")
    levels = {clip_id: float(np.mean(store.mel(_clip(clip_id, fold)), dtype=np.float64)) for clip_id in ids}
    by_level = sorted(ids, key=lambda clip_id: (levels[clip_id], clip_id))
    chosen = by_level[(len(ids) - 1) // 2]
    return _Shown(chosen, fold, store.mel(_clip(chosen, fold)), levels[chosen])


def _clip(clip_id: str, fold: int) -> Clip:
    """The clip under its name in the store."""
    return Clip(clip_id=clip_id, path=Path(clip_id), label=0, fold=fold)


# ---- The outputs -------------------------------------------------------------------------------------------------


def _outputs(finished: Finished, rows: Sequence[Row], shown: _Shown) -> tuple[list[_Picture], list[str]]:
    """The outputs of all compressions, and remarks on missing ones."""
    level = shown.level if shown.level > 0 else 1.0
    own: dict[str, list[_Picture]] = {}
    by_layer: dict[str, tuple[str, dict[str, Any], Mel]] = {}
    remarks = []
    traces = read_traces(finished.study_dir, rows, Unreadable())
    for compression in compressions_in_order(row["compression"] for row in rows):
        ours = [row for row in rows if row["compression"] == compression]
        layer, arguments = _layer_of(ours[0])
        mel = shown.mel / np.float32(level) if is_relative(ours[0]) else shown.mel
        starts = [
            (float(trace.values["alpha"][0]), float(trace.values["beta"][0]))
            for kind, of in traces.items()
            if kind[2] == compression
            for trace in of
            if {"alpha", "beta"} <= trace.values.keys()
        ]
        ends = [(row["alpha"], row["beta"]) for row in ours if None not in (row["alpha"], row["beta"])]
        if layer in _LOGARITHMS and (starts or ends):
            own[compression] = _logarithms(compression, mel, starts, ends)
        elif layer in ("logeps", "relative_logeps"):
            eps = float(arguments.get("eps", LOG_EPS))
            own[compression] = [
                _Picture(compression, "", np.log10(np.asarray(mel, np.float64) + eps), {"beta": eps, "alpha": 1.0})
            ]
        elif layer == "none":
            own[compression] = [_Picture(compression, "", np.asarray(mel, np.float64), {})]
        else:
            by_layer[compression] = (layer, arguments, mel)
    if by_layer:
        # Computed with Keras in a separate process, since reports do not load TensorFlow.
        found = _by_layers(by_layer)
        for compression, output in found.items():
            if isinstance(output, str):
                remarks.append(f"{compression_name(compression)} is not drawn: {output}")
            else:
                own[compression] = [_Picture(compression, "start", np.asarray(output, np.float64), {})]
    pictures = [one for compression in compressions_in_order(own) for one in own[compression]]
    return pictures, remarks


def _layer_of(row: Row) -> tuple[str, dict[str, Any]]:
    """The layer's name and arguments, also for a study's variant."""
    name = row["compression"]
    variant = (row.get("identity") or {}).get("variants", {}).get(name)
    return (name, {}) if variant is None else (variant["layer"], dict(variant.get("args") or {}))


def _logarithms(
    compression: str, mel: Mel, starts: Sequence[tuple[float, float]], ends: Sequence[tuple[float, float]]
) -> list[_Picture]:
    """`ln(alpha X + beta)` with the medians over runs; one picture if the knee did not move."""
    pairs = {
        when: (median(alpha for alpha, _ in values), median(beta for _, beta in values), len(values))
        for when, values in (("start", starts), ("end", ends))
        if values
    }
    began: dict[str, float] = {}
    if len(pairs) == 2:
        before, after = (beta / alpha for alpha, beta, _ in pairs.values())
        if abs(after - before) < _MOVED * before:
            began = {"alpha_start": pairs["start"][0], "beta_start": pairs["start"][1]}
            pairs = {"": pairs["end"]}
    return [
        _Picture(
            *(compression, when, np.log(alpha * np.asarray(mel, np.float64) + beta)),
            {"alpha": alpha, "beta": beta, "knee": beta / alpha, "n_runs": n_runs, **began},
        )
        for when, (alpha, beta, n_runs) in pairs.items()
    ]


def _by_layers(asked: Mapping[str, tuple[str, dict[str, Any], Mel]]) -> dict[str, Mel | str]:
    """Outputs of new layers, or the reason why one is missing."""
    try:
        return call(compute, dict(asked))
    except (LoglearnError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        return dict.fromkeys(asked, f"its layer cannot be computed here ({reason})")


def compute(
    asked: Mapping[str, tuple[str, dict[str, Any], Mel]], *, on_progress: Callable[..., object] | None = None
) -> dict[str, Mel | str]:
    """Builds layers and calls them, in a process that may load TensorFlow.

    Args:
        asked: Name -> layer in `COMPRESSIONS` or `module:attribute`, its arguments, `(frames, n_mels)` input.
        on_progress: Not called.
    """
    from loglearn_tf._util.tensorflow_runtime import tensorflow

    tensorflow(parallel_calls=1, gpu=None)
    found: dict[str, Mel | str] = {}
    for name, (layer, arguments, mel) in asked.items():
        try:
            output = COMPRESSIONS[layer](**arguments)(mel[np.newaxis])
            found[name] = np.asarray(output, np.float32)[0]
        except Exception as error:  # user layers may raise anything
            found[name] = f"its layer cannot be computed here ({' '.join(str(error).split())})"
    return found


# ---- The figure --------------------------------------------------------------------------------------------------


def _drawing(
    dataset: str, rows: Sequence[Row], shown: _Shown, pictures: Sequence[_Picture], settings: Settings
) -> Drawing:
    synthetic = any(row["synthetic"] for row in rows)
    relative = {row["compression"] for row in rows if is_relative(row)}
    n_frames = len(shown.mel)
    caption = (
        f"{dataset_name(dataset)}{' (SYNTHETIC DATA)' * synthetic}: the clip {shown.clip_id} from the first test fold, "
        f"{shown.fold}, with median level (mean mel power {shown.level:.2g})"
        + (f", its first {MOST_FRAMES} of {n_frames:,} frames" if n_frames > MOST_FRAMES else "")
        + f". First its mel power in dB below its loudest bin, black from −{-FLOOR_DB:g} dB on; then the output of "
        "each compression at the start and, with the medians of alpha and beta over all runs, at the end. If the knee "
        f"moved by less than {100 * _MOVED:g} %, one picture shows both. Each output is shown in units of its own "
        f"standard deviation from its own mean, from −{SHOWN_STD:g} to +{SHOWN_STD:g}, over all its bins, which also "
        "removes what batch normalisation removes."
    )
    if relative:
        caption += (
            f" With mel power divided by the level of the clip: {', '.join(map(compression_name, sorted(relative)))}."
        )
    # Runs record the parameters that determine the output only for logarithms.
    unknown = [compression_name(one.compression) for one in pictures if one.when == "start" and not one.numbers]
    if unknown:
        caption += f" Parameters at the end are not recorded for: {', '.join(unknown)}."
    records = tuple(
        {
            "data": "synthetic" if synthetic else "real",
            **{"dataset": dataset, "fold": shown.fold, "clip_id": shown.clip_id, "clip_level": shown.level},
            **{"n_frames": n_frames, "compression": one.compression, "when": one.when},
            "relative": one.compression in relative,
            **one.numbers,
            **{
                f"output_{name}": float(f"{value:.6g}")
                for name, value in (
                    *(("mean", one.output.mean()), ("std", one.output.std())),
                    *(("min", one.output.min()), ("max", one.output.max())),
                )
            },
        }
        for one in pictures
    )
    titled = [
        (compression_name(one.compression) + (f", {one.when}" if one.when else ""), one.output) for one in pictures
    ]
    seconds = settings.features.hop_length / settings.features.sample_rate
    figure = draw_compressed(shown.mel, titled, seconds_per_frame=seconds)
    return Drawing(file_stem(dataset, "compressed"), figure, caption, _COLUMNS, records)


@in_style
def draw_compressed(mel: Mel, outputs: Sequence[tuple[str, FloatArray]], *, seconds_per_frame: float) -> Figure:
    """The mel power of a clip in dB, then the outputs of compressions in standard deviations.

    Args:
        mel: `(frames, n_mels)` mel power.
        outputs: Title and `(frames, n_mels)` output of each.
        seconds_per_frame: Scale of the time axis.
    """
    columns = min(4, 1 + len(outputs))
    lines = -(-(1 + len(outputs)) // columns)
    figure = Figure(figsize=(max(4.2, 2.35 * columns), 0.5 + 1.95 * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flat)
    loudest = max(float(mel.max()), 1e-30)
    decibels = 10 * np.log10(np.maximum(np.asarray(mel, np.float64), 1e-30) / loudest)
    pictures = [("mel power (dB)", decibels, (FLOOR_DB, 0.0))]
    pictures += [(title, _standardised(output), (-SHOWN_STD, SHOWN_STD)) for title, output in outputs]
    # Fewer shades, indistinguishable to the eye, make the file a quarter smaller.
    colours = matplotlib.colormaps["inferno"].resampled(_SHADES)
    for panel, (title, values, limits) in zip(panels, pictures, strict=False):
        drawn = values[:MOST_FRAMES].T
        image = panel.imshow(
            drawn,
            origin="lower",
            aspect="auto",
            interpolation="none",
            cmap=colours,
            vmin=limits[0],
            vmax=limits[1],
            extent=(0, drawn.shape[1] * seconds_per_frame, 0, drawn.shape[0]),
        )
        panel.set_title(title, fontsize=9)
        panel.grid(False)
        if title == pictures[0][0] or title == pictures[-1][0]:
            figure.colorbar(image, ax=panel, shrink=0.9, pad=0.02)
    for panel in panels[len(pictures) :]:
        panel.remove()
    for at, panel in enumerate(panels[: len(pictures)]):
        if at % columns == 0:
            panel.set_ylabel("mel band")
        if at + columns >= len(pictures):
            panel.set_xlabel("time (s)")
            panel.tick_params(labelbottom=True)
    return figure


def _standardised(output: FloatArray) -> FloatArray:
    std = float(output.std())
    return np.asarray((output - output.mean()) / std if std else np.zeros_like(output))
