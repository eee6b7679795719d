"""The report's figures, readable in print, in greyscale, and by colour-blind readers."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from loglearn_tf.analysis.names import compression_name, compressions_in_order, model_name, models_in_order
from loglearn_tf.analysis.report.fonts import OWN, make_readable, with_characters
from loglearn_tf.analysis.report.run_files import Array, Kind, Scores, Trace, recall_differences
from loglearn_tf.analysis.statistics import Accuracy, Ranking
from loglearn_tf.datasets.n_shot import ALL, NShot, in_order, size_of
from loglearn_tf.features.histogram import share_below

# Okabe and Ito's colours; the second is also much lighter in greyscale. Markers and line styles add to this.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#E69F00", "#009E73"
_LOOKS: dict[str, dict[str, Any]] = {
    "logeps": {"color": _BLUE, "marker": "s", "linestyle": "--", "markerfacecolor": "white"},
    "loglearn": {"color": _ORANGE, "marker": "o", "linestyle": "-", "markeredgecolor": "#7A5500"},
}
# Colours of other compressions, in turn.
_OTHER_COLOURS = (_GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8C6D1F")
_OTHER_MARKERS = ("^", "D", "v", "P", "X", "*", "<", ">", "h")
# Blue if log-EPS is ahead, orange if loglearn is.
_DIVERGING = LinearSegmentedColormap.from_list("logeps_loglearn", [_BLUE, "white", _ORANGE])
# Margins on an axis of n, before the first and after the last.
_BESIDE_N = 1.35
# Position of `all`, as a multiple of the largest n.
_ALL_BEYOND = 3.0
# With more points, an SVG of lines would be larger than a bitmap.
_MANY_POINTS = 20_000
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": [OWN, "Verdana", "Arial"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "savefig.dpi": 150,
    # Class names are plain text, without mathematics markup.
    "text.parse_math": False,
    # Text stays text: files are small, and words can be searched and read aloud.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # So that the same study gives the same bytes.
    "svg.hashsalt": "loglearn_tf",
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
in_style = matplotlib.rc_context(_STYLE)


# ---- Figures ----------------------------------------------------------------------------------------------------


@in_style
def draw_accuracy(dataset: str, accuracies: Sequence[Accuracy]) -> Figure:
    """Accuracy against n with intervals, one panel per network.

    Args:
        dataset: Which of the accuracies to draw.
        accuracies: From `statistics.accuracies`.
    """
    ours = [one for one in accuracies if one.dataset == dataset]
    models = models_in_order(one.model for one in ours)
    compressions = compressions_in_order(one.compression for one in ours)
    places = _places_of_n(one.n_shot for one in ours)
    # Shifted by a hundredth of the axis, so that no interval hides another.
    aside = (_BESIDE_N**2 * max(places.values()) / min(places.values())) ** 0.01
    figure, panels = panels_of(len(models), width=2.45, height=3.0)
    for panel, model in zip(panels, models, strict=True):
        for at, compression in enumerate(compressions):
            cells = sorted(
                (one for one in ours if (one.model, one.compression) == (model, compression)),
                key=lambda one: size_of(one.n_shot),
            )
            if not cells:
                continue
            x = [places[one.n_shot] * aside ** (2 * at - len(compressions) + 1) for one in cells]
            y = [100 * one.mean for one in cells]
            look = look_of(compression, compressions)
            panel.plot(x, y, label=compression_name(compression), linewidth=1.8, markersize=5.5, zorder=3, **look)
            for place, one in zip(x, cells, strict=True):
                if one.low is not None and one.high is not None:
                    panel.vlines(place, 100 * one.low, 100 * one.high, color=look["color"], linewidth=1.3, zorder=2)
        panel.set_title(model_name(model))
        _axis_of_n(panel, places)
    panels[0].set_ylabel("accuracy (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=max(2, len(panels)))
    return figure


def look_of(compression: str, compressions: Sequence[str]) -> dict[str, Any]:
    if compression in _LOOKS:
        return _LOOKS[compression]
    at = [name for name in compressions if name not in _LOOKS].index(compression)
    colours, markers = len(_OTHER_COLOURS), len(_OTHER_MARKERS)
    return {"color": _OTHER_COLOURS[at % colours], "marker": _OTHER_MARKERS[at % markers], "linestyle": ":"}


@in_style
def draw_ranks(ranking: Ranking) -> Figure:
    """A critical-difference diagram: mean ranks on an axis; bars join those that do not differ significantly.

    Args:
        ranking: From `statistics.rank`.

    Reference:
        Demsar, *JMLR* 7, 2006.
    """
    ranks, k = ranking.mean_ranks, len(ranking.mean_ranks)
    cliques = _cliques(ranks, ranking.critical_difference)
    n_left = (k + 1) // 2
    top = 1.6 + 0.35 * len(cliques)
    height = top + 0.8 * n_left
    figure = Figure(figsize=(9.0, 0.8 + 0.32 * height), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    span = max(k - 1.0, 1.0)
    axes.set_xlim(1 - 0.45 * span, k + 0.45 * span)
    axes.set_ylim(-height, 2.2)
    axes.plot([1, k], [0, 0], color="black", linewidth=1)
    for tick in range(1, k + 1):
        axes.plot([tick, tick], [0, 0.25], color="black", linewidth=1)
        axes.text(tick, 0.4, str(tick), ha="center", va="bottom")
    width = min(ranking.critical_difference, span)
    axes.plot([1, 1 + width], [1.6, 1.6], color="black", linewidth=2)
    axes.text(1 + width, 1.6, f"  critical difference {ranking.critical_difference:.2f}", ha="left", va="center")
    for at, (value, name) in enumerate(zip(ranks, ranking.compressions, strict=True)):
        left = at < n_left
        line = -(top + 0.8 * (at if left else k - 1 - at))
        edge = 1 - 0.04 * span if left else k + 0.04 * span
        axes.plot([value, value, edge], [0, line, line], color="#555555", linewidth=0.8)
        text = f"{compression_name(name)}  {value:.2f}" if left else f"{value:.2f}  {compression_name(name)}"
        axes.text(edge, line, f"{text} " if left else f" {text}", ha="right" if left else "left", va="center")
    for at, (first, last) in enumerate(cliques):
        line = -(0.5 + 0.35 * at)
        axes.plot([ranks[first] - 0.03, ranks[last] + 0.03], [line, line], color=_BLUE, linewidth=3.5)
    return figure


def _cliques(ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last rank of every maximal group within `difference`."""
    found: list[tuple[int, int]] = []
    for first, value in enumerate(ranks):
        last = max(at for at, other in enumerate(ranks) if other - value < difference)
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


@in_style
def draw_trajectories(traces: Mapping[NShot, Sequence[Trace]], *, relative: bool = False) -> Figure:
    """Alpha, beta and knee over the epochs: every run thin, the median of each n thick.

    A run that ended early keeps its last value in the median.

    Args:
        traces: n -> runs of one network.
        relative: Whether the knee is a share of the clip's level, not a mel power.
    """
    names = {name for runs in traces.values() for run in runs for name in run.values}
    pairs = [suffix for suffix in ("", "_support") if f"knee{suffix}" in names]
    n_points = sum(len(run.epochs) for runs in traces.values() for run in runs)
    figure = Figure(figsize=(9.8, 2.6 * len(pairs) + 0.4), layout="constrained")
    grid = figure.subplots(len(pairs), 3, squeeze=False, sharex=True)
    shots = in_order(traces)
    # Dark to light, an order that survives in greyscale.
    colours = [matplotlib.colormaps["cividis"](0.85 * at / max(1, len(shots) - 1)) for at in range(len(shots))]
    titles = {"alpha": "alpha", "beta": "beta", "knee": "knee = beta / alpha"}
    units = {"alpha": "1 / mel power", "beta": "no unit", "knee": "mel power"}
    if relative:
        units |= {"alpha": "clip level / mel power", "knee": "mel power / clip level"}
    for line, suffix in zip(grid, pairs, strict=True):
        for panel, (name, unit) in zip(line, units.items(), strict=True):
            column = f"{name}{suffix}"
            for at, n in enumerate(shots):
                runs = [run for run in traces[n] if column in run.values]
                if not runs:
                    continue
                paths = [np.column_stack([run.epochs, run.values[column]]) for run in runs]
                thin: Any = {"linewidths": 0.6, "alpha": 0.35, "rasterized": n_points > _MANY_POINTS, "zorder": 2}
                panel.add_collection(LineCollection(paths, colors=[colours[at]], **thin))
                epochs, values = _median(runs, column)
                # A white edge separates the median from the runs.
                panel.plot(epochs, values, color="white", linewidth=4, zorder=3)
                thick: Any = {"linewidth": 2.2, "linestyle": ("-", "--", "-.", ":")[at % 4], "zorder": 4}
                panel.plot(epochs, values, color=colours[at], label=f"n = {n}", **thick)
            panel.autoscale_view()
            # Enough digits to distinguish the ticks, however little was learned.
            panel.ticklabel_format(axis="y", useOffset=False, scilimits=(-2, 5))
            of_pair = "" if len(pairs) == 1 else {"": ", query", "_support": ", support"}[suffix]
            panel.set_title(titles[name] + of_pair)
            panel.set_ylabel(unit)
    for panel in grid[-1]:
        panel.set_xlabel("epoch")
    handles, labels = grid[0][0].get_legend_handles_labels()
    labels = [f"median, {label}" for label in labels]
    figure.legend(handles, labels, loc="outside upper left", ncols=max(1, len(labels)))
    return figure


@in_style
def draw_class_differences(scores: Mapping[Kind, Scores], dataset: str) -> Figure | None:
    """Recall of each class, loglearn minus log-EPS in points: one panel per network, one column per n.

    Args:
        scores: From `read_scores`.
        dataset: Which of them to draw.

    Returns:
        `None` if no pair of runs has predictions.
    """
    kinds = {(model, n) for name, model, _, n in scores if name == dataset}
    found = {
        kind: difference
        for kind in sorted(kinds, key=lambda kind: (kind[0], size_of(kind[1])))
        if (difference := recall_differences(scores, dataset, *kind)) is not None
    }
    if not found:
        return None
    classes = next(one.classes for kind, one in scores.items() if kind[0] == dataset)
    models = models_in_order(model for model, _ in found)
    shots = in_order(n for _, n in found)
    largest = max(float(np.nanmax(np.abs(difference), initial=0)) for difference in found.values())
    limit = 100 * max(largest, 0.01)
    figure = Figure(
        figsize=(2.2 + len(models) * (0.55 * len(shots) + 0.5), 1.2 + 0.28 * len(classes)), layout="constrained"
    )
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        nothing = np.full(len(classes), np.nan)
        values = 100.0 * np.column_stack([found.get((model, n), nothing) for n in shots])
        _heat_map(panel, values, _DIVERGING, (-limit, limit), form="{:+.0f}")
        panel.set_title(model_name(model))
        panel.set_xticks(np.arange(len(shots)) + 0.5, [str(n) for n in shots])
        panel.set_xlabel("n (clips per class)")
    panels[0].set_yticks(np.arange(len(classes)) + 0.5, [name.replace("_", " ") for name in classes])
    panels[0].set_ylabel("class")
    return figure


@in_style
def draw_confusion(scores: Mapping[str, Scores]) -> Figure:
    """Confusion matrices: the share in percent of each true class predicted as each class.

    Args:
        scores: Compression -> predictions, of one network and n.
    """
    compressions = compressions_in_order(scores)
    classes = scores[compressions[0]].classes
    names = [name.replace("_", " ") for name in classes]
    side = 0.33 * len(classes)
    figure = Figure(figsize=(1.9 + side * len(compressions), 1.9 + side), layout="constrained")
    panels = figure.subplots(1, len(compressions), squeeze=False, sharey=True)[0]
    for panel, compression in zip(panels, compressions, strict=True):
        counts = scores[compression].counts
        totals = counts.sum(axis=1, keepdims=True)
        percent: Array = np.full(counts.shape, np.nan)
        np.divide(100 * counts, totals, out=percent, where=totals > 0)
        # Zeros are left empty.
        _heat_map(panel, percent, matplotlib.colormaps["Greys"], (0, 100), form="{:.0f}", from_value=0.5)
        panel.set_title(compression_name(compression))
        panel.set_xticks(np.arange(len(classes)) + 0.5, names, rotation=90)
        panel.set_xlabel("predicted class")
        panel.set_aspect("equal")
    panels[0].set_yticks(np.arange(len(classes)) + 0.5, names)
    panels[0].set_ylabel("true class")
    return figure


@in_style
def draw_compression_curves(
    *,
    edges: npt.ArrayLike,
    counts: npt.ArrayLike,
    alphas: Mapping[str, float],
    betas: Mapping[str, float],
    eps: float | None = 2.220446049250313e-16,
) -> Figure:
    """The curves of compressions, over the histogram of mel power.

    The curves are `ln(X + beta / alpha)`: `ln(alpha X + beta)` without the constant `ln(alpha)`, which batch
    normalisation removes anyway. Curves that coincide here are the same to the network.

    Args:
        edges: `(n + 1,)` rising bounds of mel power; the first may be 0, for the bins below the second.
        counts: `(n,)` number of mel spectrogram bins between them.
        alphas, betas: Label, such as "start" or "end, vgg" -> value; the same labels in both, in drawing order.
        eps: Epsilon of log-EPS, drawn for comparison; `None` omits it.

    Raises:
        ValueError: If the numbers of edges and counts do not match, edges do not increase, all counts are 0, labels
            differ, or an alpha or beta is not positive.
    """
    bounds, bins = np.asarray(edges, np.float64), np.asarray(counts, np.float64)
    if bounds.ndim != 1 or bins.shape != (len(bounds) - 1,) or len(bins) < 2:
        raise ValueError(
            f"`edges` must be one longer than `counts` (at least 2). Received: shapes {bounds.shape}, {bins.shape}."
        )
    if not (np.all(np.diff(bounds) > 0) and bounds[0] >= 0 and bins.min() >= 0 and bins.sum() > 0):
        raise ValueError("`edges` must increase from 0 or more, and `counts` must not be negative nor all zero.")
    if alphas.keys() != betas.keys():
        raise ValueError(f"`alphas` and `betas` must have the same labels. Received: {list(alphas)}, {list(betas)}.")
    for name, values in (("alphas", alphas), ("betas", betas)):
        for label, value in values.items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be positive. Received: {label}: {value}.")

    # A logarithmic axis has no zero: the lowest bins get the same width as the next ones.
    shown = bounds.copy()
    if shown[0] == 0:
        shown[0] = shown[1] ** 2 / shown[2]
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    histogram = figure.subplots()
    curves = histogram.twinx()
    histogram.stairs(100 * bins / bins.sum(), shown, fill=True, color="#C9CDD2", zorder=1)
    histogram.set_xscale("log")
    histogram.set_xlabel("mel power X (of a waveform within ±1)")
    histogram.set_ylabel("share of bins (%)")
    histogram.xaxis.set_major_formatter(FuncFormatter(_power_of_ten))
    histogram.xaxis.set_minor_formatter(NullFormatter())
    power = np.geomspace(shown[0], shown[-1], 400)
    styles = [("-", _ORANGE), ("--", "#D55E00"), ("-.", _GREEN), (":", "#CC79A7")]
    for at, label in enumerate(alphas):
        knee = betas[label] / alphas[label]
        line, colour = styles[at % len(styles)]
        below = 100 * share_below(knee, bounds, bins)
        text = f"{label}: knee {_short_number(knee)}, {below:.0f} % of bins below"
        curves.plot(power, np.log(power + knee), linestyle=line, color=colour, linewidth=2.2, label=text)
        curves.plot([knee], [np.log(2 * knee)], marker="o", color=colour, markeredgecolor="black", markersize=6)
    if eps is not None:
        curves.plot(power, np.log(power + eps), linestyle=(0, (1, 1)), color=_BLUE, linewidth=1.6, label="log-EPS")
    curves.set_ylabel("ln(X + beta / alpha)")
    curves.grid(False)
    curves.spines["right"].set_visible(True)
    figure.legend(*curves.get_legend_handles_labels(), loc="outside upper left")
    return figure


# ---- Files ----------------------------------------------------------------------------------------------------


def to_svg(figure: Figure) -> str:
    """The figure as an SVG file."""
    with matplotlib.rc_context(_STYLE):
        _lay_out(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # A hundredth of a point is finer than any printer; more digits would double the file.
    paths = re.compile(r' d="[^"]*"')
    shorter = paths.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), text.getvalue())
    return with_characters(re.sub(r"[ \t]+$", "", shorter, flags=re.MULTILINE))


def to_pdf(figure: Figure) -> bytes:
    with matplotlib.rc_context(_STYLE):
        _lay_out(figure)
        content = io.BytesIO()
        figure.savefig(content, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return content.getvalue()


def _lay_out(figure: Figure) -> None:
    """Fixes the layout once for all formats: the constrained layout takes longer than drawing."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        make_readable(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def inline_svg(svg: str, *, name: str, label: str) -> str:
    """An SVG file as an element of a page with several.

    Args:
        svg: From `to_svg`.
        name: Prefix of every id, so that no two figures share one.
        label: Description for screen readers.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    tag, rest = body.split(">", 1)
    # The page sets the size, up to the picture's own width.
    width = re.search(r'width="([\d.]+)pt"', tag)
    tag = re.sub(r'\s(width|height)="[^"]*"', "", tag)
    own = f"{float(width[1]) / 72:.2f}in" if width else ""
    most = f' style="--own: {own}; max-width: {own}"' if own else ""
    return f'{tag} role="img" aria-label="{escape(label)}"{most}>{rest}'.strip()


def panels_of(n: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(n, 4)
    lines = -(-n // columns)
    figure = Figure(figsize=(max(4.2, width * columns), height * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    for panel in panels[n:]:
        panel.remove()
    return figure, panels[:n]


def _places_of_n(n_shots: Iterable[NShot]) -> dict[NShot, float]:
    """The position of each n on a logarithmic axis, with `all` after the last number."""
    shots = in_order(n_shots)
    numbers = [float(n) for n in shots if n != ALL]
    beyond = _ALL_BEYOND * numbers[-1] if numbers else 1.0
    return {n: beyond if n == ALL else float(n) for n in shots}


def _axis_of_n(panel: Axes, places: Mapping[NShot, float]) -> None:
    panel.set_xscale("log")
    panel.set_xticks(list(places.values()), [str(n) for n in places])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlim(min(places.values()) / _BESIDE_N, max(places.values()) * _BESIDE_N)
    panel.set_xlabel("n (training clips per class)")


def _heat_map(
    panel: Axes,
    values: Array,
    colours: Any,
    limits: tuple[float, float],
    *,
    form: str,
    from_value: float | None = None,
) -> None:
    """Coloured squares with their numbers, the first row at the top; squares without a number stay empty."""
    panel.pcolormesh(values, cmap=colours, vmin=limits[0], vmax=limits[1], edgecolors="#E5E5E5", linewidth=0.5)
    panel.set_ylim(values.shape[0], 0)
    panel.grid(False)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and (from_value is None or value >= from_value):
            red, green, blue, _ = colours((value - limits[0]) / (limits[1] - limits[0]))
            ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
            text = form.format(value).replace("-", "−")
            text = "0" if text in ("+0", "−0") else text
            panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=7)


def _median(runs: Sequence[Trace], column: str) -> tuple[Array, Array]:
    """Median over runs, epoch by epoch."""
    longest = max(runs, key=lambda run: len(run.epochs)).epochs
    values = np.full((len(runs), len(longest)), np.nan)
    for row, run in zip(values, runs, strict=True):
        row[: len(run.epochs)] = run.values[column]
        row[len(run.epochs) :] = run.values[column][-1]
    return longest, np.median(values, axis=0)


def _short_number(value: float) -> str:
    """Four digits, without mathematics markup: 1097, 1.313, 1.197×10⁻³."""
    if value == 0 or 0.01 <= abs(value) < 1e5:
        return f"{value:.4g}".replace("-", "−")
    digits, exponent = f"{value:.3e}".split("e")
    digits = digits.rstrip("0").rstrip(".").replace("-", "−")
    return f"{digits}×10{str(int(exponent)).translate(_RAISED)}"


def _power_of_ten(value: float, _: int | None = None) -> str:
    return f"10{str(round(np.log10(value))).translate(_RAISED)}"
