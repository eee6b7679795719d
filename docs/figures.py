"""The figures of tutorials and gallery: their style, and how Sphinx-Gallery saves them, once for light pages and once
for dark ones."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from pictures import THEMES

from loglearn_tf._util.tensorflow_runtime import be_quiet

_INK, _PAPER, _COLOURS = THEMES["light"]
# Colour on a light page -> the same on a dark one.
_DARK = dict(zip((_INK, _PAPER, *_COLOURS), (*THEMES["dark"][:2], *THEMES["dark"][2]), strict=True))
_STYLE: dict[str, Any] = {
    **{f"{part}.color": _INK for part in ("text", "xtick", "ytick")},
    **{"axes.labelcolor": _INK, "axes.edgecolor": _INK, "axes.titlecolor": _INK, "axes.facecolor": "none"},
    **{"figure.facecolor": _PAPER, "axes.prop_cycle": matplotlib.cycler(color=_COLOURS)},
    **{"figure.figsize": (5.6, 3.6), "figure.dpi": 180, "savefig.dpi": 180, "font.size": 10, "axes.titlesize": 10},
    **{"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "lines.linewidth": 2},
}


def use_style(gallery_conf: Mapping[str, Any], name: str) -> None:
    """Before every script: Matplotlib as it is by default, but for the style of the site."""
    be_quiet()  # scripts run in processes that do not read conf.py
    plt.close("all")
    matplotlib.use("agg")
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_STYLE)
    warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive", UserWarning)  # `plt.show()`


def scrape(block: Any, block_vars: Mapping[str, Any], gallery_conf: Mapping[str, Any]) -> str:
    """Saves the figures that a block of code left open.

    Returns:
        reStructuredText that shows them. A figure's caption is its label, which `num=` of `plt.subplots` sets.

    Raises:
        ValueError: If a figure has no caption.
    """
    found = []
    for number in plt.get_fignums():
        figure = plt.figure(number)
        caption = figure.get_label()
        if not caption:
            raise ValueError(
                f"Every figure of {block_vars['src_file']} must have a caption. Received: a figure without one. "
                "Set it: `plt.subplots(num='The caption.')`."
            )
        for theme in THEMES:
            path = Path(next(block_vars["image_path_iterator"]))
            if theme == "dark":
                _darken(figure)
            figure.savefig(path)
            source = os.path.relpath(path, gallery_conf["src_dir"])
            found.append(
                f".. figure:: /{Path(source).as_posix()}\n"
                f"   :class: only-{theme}\n   :figclass: only-{theme}\n   :alt: {_described(figure, caption)}\n\n"
                f"   {caption}\n"
            )
    plt.close("all")
    return "\n".join(found)


def _described(figure: Figure, caption: str) -> str:
    """A figure in words: its caption, then what each panel shows against what."""
    return " ".join([caption, *dict.fromkeys(filter(None, map(_panel, figure.axes)))])


def _panel(axes: Axes) -> str:
    title, x, y = axes.get_title(), axes.get_xlabel(), axes.get_ylabel()
    plot = f"{y} against {x}" if x and y else x or y
    return ": ".join(filter(None, [title, plot])) + "." if title or plot else ""


def _darken(figure: Figure) -> None:
    """Replaces the style's colours by those for dark pages."""
    for axes in figure.axes:
        # Ticks are made anew when a figure is drawn.
        axes.tick_params(which="both", color=THEMES["dark"][0], labelcolor=THEMES["dark"][0])
    for artist in figure.findobj():
        for kind in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            _replace(artist, kind)


def _replace(artist: Artist, kind: str) -> None:
    get, put = getattr(artist, f"get_{kind}", None), getattr(artist, f"set_{kind}", None)
    if get is None or put is None:
        return
    try:
        colours = to_rgba_array(get())
    except (TypeError, ValueError):  # "auto"
        return
    changed = [(_DARK.get(to_hex(one), to_hex(one)), one[3]) for one in colours]
    if any(to_hex(one) in _DARK for one in colours):
        put(changed[0] if len(changed) == 1 else [matplotlib.colors.to_rgba(*one) for one in changed])
