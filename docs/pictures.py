"""The pictures of the site, made by the package from a synthetic clip: the same bytes in every build."""

import re
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]
# Ink, paper and three colours that colour-blind readers can distinguish.
THEMES = {
    "light": ("#222832", "#ffffff", ("#005f9e", "#c2410c", "#5b21b6")),
    "dark": ("#ced6dd", "#14181e", ("#5cb8ff", "#ff9e5e", "#c4a5ff")),
}
_CLASS, _SAMPLE_RATE = "dog_bark", 44_100
_LEVELS_DB = np.arange(-80, 1, 5)


def draw_all(folder: Path, *, architecture: str) -> None:
    """Writes every picture as SVG, for light and dark pages.

    Args:
        folder: Created if missing.
        architecture: The Markdown with the diagram of the folders.
    """
    folder.mkdir(exist_ok=True)
    mel = mel_of_a_clip()
    for theme in THEMES:
        _save(folder / f"compressions-{theme}.svg", theme, (4.6, 4.8), lambda figure: _panels(figure, mel))
        _save(folder / f"knee-{theme}.svg", theme, (4.6, 4.8), lambda figure, theme=theme: _knee(figure, mel, theme))
    _save(folder / "architecture.svg", "light", (7.2, 8.4), lambda figure: _diagram(figure, architecture))


def mel_of_a_clip() -> Array:
    """`(frames, 128)` mel power of a clip of four seconds."""
    from loglearn_tf.audio import load_waveform
    from loglearn_tf.datasets import load_dataset, make_synthetic
    from loglearn_tf.layers import MelSpectrogram

    with tempfile.TemporaryDirectory() as root:
        make_synthetic("us8k", root, clips_per_class=[3], folds=[1])
        dataset = load_dataset("us8k", root)
        clips = [clip for clip in dataset.clips if dataset.classes[clip.label] == _CLASS]
        waveforms = [load_waveform(clip.path, sample_rate=_SAMPLE_RATE) for clip in clips]
    longest = max(waveforms, key=len)
    return np.asarray(MelSpectrogram(sample_rate=_SAMPLE_RATE)(longest[np.newaxis]))[0]


def _save(path: Path, theme: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    ink, paper, _ = THEMES[theme]
    style = {
        **{f"{part}.color": ink for part in ("text", "xtick", "ytick")},
        **{"axes.labelcolor": ink, "axes.edgecolor": ink, "axes.titlecolor": ink, "axes.facecolor": "none"},
        **{"legend.frameon": False, "font.size": 10, "svg.hashsalt": "loglearn_tf", "svg.fonttype": "path"},
    }
    with matplotlib.rc_context(style):
        figure = Figure(size, layout="constrained", facecolor=paper)
        draw(figure)
        figure.savefig(path, metadata={"Date": None})


def _panels(figure: Figure, mel: Array) -> None:
    """One clip before and after each compression."""
    from loglearn_tf.layers import LearnableLog, LogEps

    quiet = mel * 1e-4
    panels = {
        "mel power": mel,
        "log-EPS": np.asarray(LogEps()(mel)),
        "loglearn at its start": np.asarray(LearnableLog()(mel)),
        "loglearn, 40 dB quieter": np.asarray(LearnableLog()(quiet)),
    }
    for axes, (title, values) in zip(figure.subplots(2, 2, sharex=True, sharey=True).flat, panels.items(), strict=True):
        # From the first percentile on: a handful of empty bins would take half of the colours.
        axes.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=float(np.percentile(values, 1)),
            extent=(0, len(mel) * 1024 / _SAMPLE_RATE, 0, mel.shape[1]),
            interpolation="nearest",
        )
        axes.set_title(title, fontsize=10)
    figure.supxlabel("seconds", fontsize=10)
    figure.supylabel("mel band", fontsize=10)


def _knee(figure: Figure, mel: Array, theme: str) -> None:
    """The share of the clip below each knee, for falling levels."""
    from loglearn_tf.layers import LearnableLog, LogEps

    start = float(np.asarray(LearnableLog().knee))
    knees = {
        f"loglearn at its start, {start:.1e}": start,
        "a low knee, 1e-8": 1e-8,
        f"log-EPS, {LogEps().eps:.1e}": LogEps().eps,
    }
    axes: Axes = figure.subplots()
    for (label, knee), color, line in zip(knees.items(), THEMES[theme][2], ("-", "--", ":"), strict=True):
        below = [100 * float((mel * 10 ** (level / 10) < knee).mean()) for level in _LEVELS_DB]
        axes.plot(_LEVELS_DB, below, line, color=color, linewidth=2, label=label)
    axes.set(xlabel="level of the recording, dB", ylabel="mel bins below the knee, %", ylim=(-2, 102))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", title="knee", alignment="left")


# ---- The folders of the package ------------------------------------------------------------------------------------

# Position of each box of the diagram: column, and row from the top.
_PLACES = {
    "file": (0, 0), "audio": (0, 1), "datasets": (0, 2), "features": (0, 3),
    "layers": (2.3, 1), "models": (1.75, 2), "study": (0.85, 3), "training": (1, 4.3),
    "analysis": (0, 5), "deploy": (2.3, 4.6), "experiment": (1, 6), "results": (1, 7), "elsewhere": (2.3, 7),
}  # fmt: skip
# Boxes whose arrows cross others further on.
_LABELLED_EARLY = {"features", "models"}


def edges(markdown: str) -> list[tuple[str, str, str]]:
    """Source, target and label of every arrow of the Mermaid diagram in a document."""
    found = []
    for line in markdown.partition("```mermaid")[2].partition("```")[0].splitlines():
        if "-->" not in line:
            continue
        stops = [re.sub(r"[(\[].*", "", part).strip() for part in re.split(r"\s*-->\s*", line)]
        if " -- " in stops[0]:
            first, _, label = stops[0].partition(" -- ")
            found.append((first.strip(), stops[1], label.strip()))
        else:
            found += [(one, other, "") for one, other in zip(stops, stops[1:], strict=False)]
    return found


def _diagram(figure: Figure, markdown: str) -> None:
    axes: Axes = figure.subplots()
    axes.set(xlim=(-0.6, 2.6), ylim=(7.5, -0.5))
    axes.axis("off")
    titles = {"file": "sound files,\nmetadata", "results": "run folders,\ncomparisons, report"}
    titles["elsewhere"] = "predictions,\nSavedModel, TFLite"
    for one, other, label in edges(markdown):
        start, end = np.array(_PLACES[one]), np.array(_PLACES[other])
        axes.annotate(
            "",
            end,
            start,
            arrowprops={"arrowstyle": "-|>", "color": "#5a6472", "shrinkA": 20, "shrinkB": 20, "linewidth": 1.2},
        )
        if label:
            at = start + (0.4 if one in _LABELLED_EARLY else 0.6) * (end - start)
            words = textwrap.fill(label, 15)
            axes.text(*at, words, ha="center", va="center", fontsize=7.5, color="#3b4453", backgroundcolor="#ffffff")
    for name, place in _PLACES.items():
        is_folder = name not in titles
        axes.text(
            *place,
            f"{name}/" if is_folder else titles[name],
            ha="center",
            va="center",
            zorder=3,
            family="monospace" if is_folder else "sans-serif",
            fontsize=11 if is_folder else 9,
            bbox={
                "boxstyle": "round,pad=0.5",
                "facecolor": "#e8f1fb" if is_folder else "#fff4e5",
                "edgecolor": "#5a6472",
            },
        )
