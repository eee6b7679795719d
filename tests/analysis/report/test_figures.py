"""Figures: they show the numbers they are given, in forms that grey print and screen readers keep."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from fake_study import accuracy

from loglearn_tf.analysis.report.figures import (
    draw_accuracy,
    draw_class_differences,
    draw_compression_curves,
    draw_confusion,
    draw_ranks,
    draw_trajectories,
    inline_svg,
    to_pdf,
    to_svg,
)
from loglearn_tf.analysis.report.run_files import Scores, Trace
from loglearn_tf.analysis.statistics import Ranking


def scores(counts, recall=None, classes=("a", "b")) -> Scores:
    return Scores(classes, np.array(counts), recall or {})


def trace(*knees: float) -> Trace:
    values = np.array(knees)
    return Trace(np.arange(len(knees)), {"alpha": 1000 * values, "beta": values, "knee": values})


def texts(panel) -> list[str]:
    return [text.get_text() for text in panel.texts]


def test_accuracy_has_a_panel_for_each_network_and_a_form_for_each_compression():
    means = [
        accuracy(0.3, 0.25, 0.35),
        accuracy(0.5, n_shot=10),
        accuracy(0.4, compression="logeps"),
        accuracy(0.2, model="sb_cnn"),
        accuracy(0.9, dataset="tut"),
    ]
    figure = draw_accuracy("us8k", means)
    sb_cnn, vgg = figure.axes
    assert (sb_cnn.get_title(), vgg.get_title()) == ("SB-CNN", "VGG")
    logeps, loglearn = vgg.lines
    assert loglearn.get_ydata().tolist() == [30.0, 50.0]
    assert (logeps.get_linestyle(), logeps.get_marker()) != (loglearn.get_linestyle(), loglearn.get_marker())
    assert logeps.get_color() != loglearn.get_color()
    assert vgg.get_xscale() == "log" and [label.get_text() for label in vgg.get_xticklabels()] == ["1", "10"]
    assert vgg.get_xlabel() == "n (training clips per class)" and sb_cnn.get_ylabel() == "accuracy (%)"
    (interval,) = vgg.collections  # where there is none, none is drawn
    assert interval.get_segments()[0][:, 1].tolist() == [25.0, 35.0]


def test_many_compressions_are_told_apart_by_form_and_colour():
    names = ["logeps", "loglearn", "power", "pcen", "low", "lower", "lowest"]
    figure = draw_accuracy("us8k", [accuracy(0.3, compression=name) for name in names])
    looks = {(line.get_marker(), line.get_color()) for line in figure.axes[0].lines}
    assert len(looks) == len(names)


def ranking(*mean_ranks, difference):
    names = tuple(f"c{at}" for at in range(len(mean_ranks)))
    return Ranking("us8k", names, mean_ranks, 12, 0.01, difference)


@pytest.mark.parametrize(
    ("mean_ranks", "difference", "joined"),
    [
        ((1.0, 2.0, 3.0), 0.5, []),
        ((1.0, 2.0, 3.0), 1.5, [(1.0, 2.0), (2.0, 3.0)]),
        ((1.0, 1.2, 3.0, 3.1), 0.5, [(1.0, 1.2), (3.0, 3.1)]),
        ((1.5, 2.0, 2.5), 4.0, [(1.5, 2.5)]),
    ],
)
def test_ranks_are_joined_where_they_cannot_be_told_apart(mean_ranks, difference, joined):
    figure = draw_ranks(ranking(*mean_ranks, difference=difference))
    bars = [line for line in figure.axes[0].lines if line.get_linewidth() == 3.5]
    # Longer by .03 at either end, so that a bar is seen to reach its ranks.
    assert [(round(bar.get_xdata()[0] + 0.03, 6), round(bar.get_xdata()[1] - 0.03, 6)) for bar in bars] == joined


def test_ranks_name_every_compression_with_its_rank():
    words = " ".join(texts(draw_ranks(ranking(1.25, 2.0, 2.75, difference=1.0)).axes[0]))
    for expected in ("c0  1.25", "2.75  c2", "critical difference 1.00"):
        assert expected in words


def test_trajectories_show_every_run_and_the_median():
    figure = draw_trajectories({1: [trace(1.0, 2.0), trace(1.0, 4.0), trace(1.0, 5.0)]})
    alpha, beta, knee = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["alpha", "beta", "knee = beta / alpha"]
    assert [panel.get_ylabel() for panel in figure.axes] == ["1 / mel power", "no unit", "mel power"]
    assert knee.get_xlabel() == "epoch"
    assert len(knee.collections[0].get_segments()) == 3
    assert knee.lines[-1].get_ydata().tolist() == [1.0, 4.0]
    assert knee.lines[-1].get_linewidth() > 3 * knee.collections[0].get_linewidths()[0]


def test_a_relative_knee_is_a_share_of_the_level():
    figure = draw_trajectories({1: [trace(1.0, 2.0)]}, relative=True)
    units = [panel.get_ylabel() for panel in figure.axes]
    assert units == ["clip level / mel power", "no unit", "mel power / clip level"]


def test_a_run_that_ended_early_keeps_its_last_value_in_the_median():
    figure = draw_trajectories({1: [trace(1.0, 2.0, 3.0), trace(1.0, 5.0), trace(1.0, 9.0, 9.0)]})
    assert figure.axes[2].lines[-1].get_ydata().tolist() == [1.0, 5.0, 5.0]


def test_prototypical_networks_have_two_pairs():
    one = trace(1.0, 2.0)
    both = Trace(one.epochs, {**one.values, **{f"{name}_support": 2 * values for name, values in one.values.items()}})
    figure = draw_trajectories({1: [both], 5: [both]})
    assert [panel.get_title() for panel in figure.axes][2::3] == [
        "knee = beta / alpha, query",
        "knee = beta / alpha, support",
    ]
    assert figure.axes[5].lines[-1].get_ydata().tolist() == [2.0, 4.0]


def test_class_differences_carry_their_numbers():
    pairs = {
        ("us8k", "vgg", "loglearn", 1): scores(np.eye(2), {(1, 0): np.array([0.5, 0.25])}),
        ("us8k", "vgg", "logeps", 1): scores(np.eye(2), {(1, 0): np.array([0.25, 0.5])}),
        ("us8k", "vgg", "logeps", 5): scores(np.eye(2), {(1, 0): np.array([0.5, 0.5])}),
    }
    (panel,) = draw_class_differences(pairs, "us8k").axes
    assert texts(panel) == ["+25", "−25"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["a", "b"]
    assert panel.get_xlabel() == "n (clips per class)"
    assert draw_class_differences(pairs, "tut") is None


def test_confusion_is_in_percent_of_the_true_class():
    figure = draw_confusion({"loglearn": scores([[3, 1], [0, 0]]), "logeps": scores([[4, 0], [1, 1]])})
    logeps, loglearn = figure.axes
    assert (logeps.get_title(), loglearn.get_title()) == ("log-EPS", "loglearn")
    assert texts(logeps) == ["100", "50", "50"]  # zeros stay empty
    assert texts(loglearn) == ["75", "25"]  # no clip of b
    assert (logeps.get_ylabel(), logeps.get_xlabel()) == ("true class", "predicted class")


def test_compression_curves_say_what_share_lies_below_the_knee():
    figure = draw_compression_curves(
        edges=[0.0, 0.001, 0.01, 0.1],
        counts=[50, 30, 20],
        alphas={"start": 1000.0, "end": 100.0},
        betas={"start": 1.0, "end": 0.55},
    )
    _, curves = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    # 0.0055 is half way through the second bin: 50 % and half of 30 %.
    assert labels == ["start: knee 1×10⁻³, 50 % of bins below", "end: knee 5.5×10⁻³, 65 % of bins below", "log-EPS"]
    x, y = curves.lines[0].get_data()
    np.testing.assert_allclose(y, np.log(1000 * x + 1) - np.log(1000), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [1, 2, 3]}, "one longer than `counts`"),
        ({"edges": [0.0, 0.2, 0.1]}, "`edges` must increase"),
        ({"counts": [0, 0]}, "nor all zero"),
        ({"betas": {"end": 1.0}}, "the same labels"),
        ({"alphas": {"start": 0.0}}, "`alphas` must be positive. Received: start: 0.0"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(change, message):
    right = {"edges": [0.0, 0.1, 0.2], "counts": [1, 2], "alphas": {"start": 1.0}, "betas": {"start": 1.0}}
    with pytest.raises(ValueError, match=message):
        draw_compression_curves(**{**right, **change})


def test_the_same_numbers_give_the_same_bytes():
    svgs, pdfs = zip(
        *((to_svg(f), to_pdf(f)) for f in (draw_accuracy("us8k", [accuracy(0.3)]) for _ in "12")), strict=True
    )
    assert svgs[0] == svgs[1] and pdfs[0] == pdfs[1]


def test_names_are_text_in_pictures_too():
    counts = scores(np.eye(2), classes=("<script>", "$x$ & co"))
    svg = to_svg(draw_confusion({"loglearn": counts}))
    assert "<script>" not in svg and "&lt;script&gt;" in svg
    words = {element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"<script>", "$x$ & co"} <= words


def test_a_page_can_hold_several():
    svg = to_svg(draw_accuracy("us8k", [accuracy(0.3)]))
    one, other = (inline_svg(svg, name=name, label="VGG's <accuracy>") for name in ("one", "other"))
    ids = [{element.get("id") for element in ElementTree.fromstring(text).iter()} - {None} for text in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    root = ElementTree.fromstring(one)
    assert root.get("role") == "img" and root.get("aria-label") == "VGG's <accuracy>"
    # What refers to an id refers to one that is there.
    for element in root.iter():
        for name, value in element.attrib.items():
            if value.startswith(("#", "url(#")):
                assert value.removeprefix("url(").strip("#)") in ids[0], name
    assert "width" not in root.attrib  # the page's


def test_many_long_runs_become_a_picture_not_a_huge_file():
    runs = [trace(*np.linspace(1, 2, 200) * (1 + at / 300)) for at in range(300)]
    svg = to_svg(draw_trajectories({1: runs}))
    assert "data:image/png;base64" in svg and len(svg) < 1_000_000
