"""Published findings against what was run: supported, contradicted, undecided, or not run."""

import pytest
import yaml
from fake_study import comparison

from loglearn_tf.analysis.report.verdicts import PUBLISHED_FINDINGS, Finding, how_checked, judge, load_published, speaks
from loglearn_tf.errors import ConfigError

FINDING = {"id": "one", "statement": "Of VGG.", "dataset": "us8k", "models": ["vgg"], "n_shot": [1, 5, 10]}


def finding(claim: str, cells: str, **more) -> Finding:
    return Finding.model_validate({**FINDING, "claim": claim, "cells": cells, **more})


def cells(*verdicts: str) -> list:
    """VGG at n = 1, 5, 10: the verdicts given, with intervals that go with them."""
    interval = {"better": (0.03, 0.05), "worse": (-0.05, -0.03), "equivalent": (-0.01, 0.01), "undecided": (-0.1, 0.1)}
    return [
        comparison(verdict, sum(interval[verdict]) / 2, *interval[verdict], n_shot=n)
        for n, verdict in zip((1, 5, 10), verdicts, strict=False)
    ]


def verdict_on(claim: str, quantifier: str, *verdicts: str) -> str:
    return judge([finding(claim, quantifier)], cells(*verdicts))[0].label


def test_the_five_published_findings():
    """docs/fidelity.md, "Published findings", in its order."""
    published = load_published()
    assert published.source.author == "Jordi Pons"
    shots = (1, 2, 5, 10, 20, 50, 100)
    assert [(f.dataset, f.models, f.n_shot, f.claim, f.cells) for f in published.findings] == [
        ("us8k", ("sb_cnn", "vgg", "timbre", "prototypical"), shots, "equivalent", "most"),
        ("us8k", ("sb_cnn", "timbre"), shots, "better", "most"),
        ("us8k", ("vgg", "prototypical"), shots, "worse", "some"),
        ("tut", ("vgg", "timbre", "prototypical"), shots, "much_worse", "every"),
        ("tut", ("sb_cnn",), (1, 2, 5, 10), "better", "every"),
    ]
    # No number of theirs stands here that was not read in the source.
    assert published.published_accuracy == {}


def test_of_every_cell_one_against_it_is_enough():
    assert verdict_on("better", "every", "better", "better", "better") == "supported"
    assert verdict_on("better", "every", "better", "undecided", "better") == "undecided"
    assert verdict_on("better", "every", "undecided", "worse", "better") == "contradicted"
    assert verdict_on("better", "every", "better", "better") == "supported, as far as run"
    assert verdict_on("better", "every", "worse") == "contradicted"  # whatever the other two would say


def test_of_some_cells_one_for_it_is_enough():
    assert verdict_on("worse", "some", "better", "worse") == "supported"
    assert verdict_on("worse", "some", "better", "undecided", "better") == "undecided"
    assert verdict_on("worse", "some", "better", "equivalent", "better") == "contradicted"
    assert verdict_on("worse", "some", "better") == "contradicted, as far as run"


def test_most_cells_are_more_than_half():
    assert verdict_on("equivalent", "most", "equivalent", "equivalent", "better") == "supported"
    assert verdict_on("equivalent", "most", "equivalent", "better") == "undecided"
    assert verdict_on("equivalent", "most", "better", "worse", "undecided") == "contradicted"
    assert verdict_on("equivalent", "most", "equivalent") == "supported, as far as run"
    assert verdict_on("equivalent", "most", "equivalent", "equivalent") == "supported"  # two of three, whatever comes


def test_cells_not_run_are_named_and_nothing_is_claimed_without_any():
    verdict = judge([finding("better", "every")], cells("better", "better"))[0]
    assert [one.comparison.n_shot for one in verdict.evidence] == [1, 5] and verdict.not_run == (("vgg", 10),)
    assert verdict.reason == "of 3 cells, 2 were run: 2 for it, 0 against it, 0 neither"
    # Other networks and data sets say nothing of it.
    others = [
        comparison("better", 0.04, 0.03, 0.05, model="timbre"),
        comparison("better", 0.04, 0.03, 0.05, dataset="tut"),
    ]
    verdict = judge([finding("better", "every")], others)[0]
    assert (verdict.state, verdict.label, verdict.evidence) == ("not run", "not run", ())


def test_synthetic_sounds_say_nothing_of_real_ones():
    verdict = judge([finding("better", "every")], cells("better", "better", "better"), synthetic=["us8k"])[0]
    assert (verdict.state, verdict.reason) == ("not run", "synthetic sounds say nothing about it")


@pytest.mark.parametrize(
    ("claim", "verdict", "low", "high", "expected"),
    [
        ("better", "better", 0.01, 0.05, "for"),
        ("better", "worse", -0.05, -0.01, "against"),
        ("better", "equivalent", -0.01, 0.01, "against"),  # nothing that matters
        ("better", "equivalent", 0.002, 0.01, "neither"),  # certain, and too small to matter
        ("better", "undecided", 0.01, 0.05, "neither"),  # not significant after correction
        ("worse", "worse", -0.05, -0.01, "for"),
        ("worse", "equivalent", -0.01, -0.002, "neither"),
        ("much_worse", "worse", -0.05, -0.03, "for"),
        ("much_worse", "worse", -0.05, -0.01, "neither"),  # worse, perhaps by less than the margin of 0.02
        ("much_worse", "worse", -0.015, -0.01, "against"),  # by less than the margin for certain
        ("much_worse", "better", 0.01, 0.05, "against"),
        ("equivalent", "equivalent", -0.01, 0.01, "for"),
        ("equivalent", "better", 0.03, 0.05, "against"),
        ("equivalent", "better", 0.01, 0.05, "neither"),  # perhaps by less than the margin
        ("equivalent", "undecided", None, None, "neither"),  # not significant is not equal
    ],
)
def test_what_one_cell_says(claim, verdict, low, high, expected):
    assert speaks(comparison(verdict, 0.0, low, high), claim) == expected


def test_checks_in_words():
    assert how_checked(finding("much_worse", "every"), 0.02) == (
        "loglearn worse by more than 2 points in every cell of VGG at n = 1, 5, 10"
    )
    assert how_checked(finding("equivalent", "most", models=["vgg", "sb_cnn"], n_shot=[1]), 0.015) == (
        "a difference smaller than 1.5 points in more than half of the cells of VGG, SB-CNN at n = 1"
    )


def test_published_numbers_can_be_filled_in(tmp_path):
    raw = yaml.safe_load(PUBLISHED_FINDINGS.read_text())
    raw["published_accuracy"] = {"us8k": {"vgg": {"logeps": {1: 30.5}}}}
    path = tmp_path / "findings.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert load_published(path).published_accuracy["us8k"]["vgg"]["logeps"] == {1: 30.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claim": "nicer"}, r"`findings\.0\.claim` in .*Received: 'nicer'"),
        ({"n_shots": [1]}, r"`findings\.0\.n_shots` in .*extra inputs are not permitted"),
        ({"models": []}, r"`findings\.0\.models` in"),
    ],
)
def test_wrong_files_are_refused_with_the_key(tmp_path, change, message):
    raw = yaml.safe_load(PUBLISHED_FINDINGS.read_text())
    raw["findings"][0] |= change
    path = tmp_path / "findings.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=message):
        load_published(path)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read published findings .*nowhere.yaml"):
        load_published(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("findings: [")
    with pytest.raises(ConfigError, match="Cannot read published findings .*broken.yaml"):
        load_published(tmp_path / "broken.yaml")
