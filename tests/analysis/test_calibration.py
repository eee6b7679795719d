"""Scores of probabilities: those of scikit-learn and plain NumPy, from the tables that runs write."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from fake_study import predictions
from hypothesis import given
from hypothesis import strategies as st

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.calibration import (
    BINS,
    Predictions,
    Reliability,
    brier_scores,
    largest_zero,
    n_zero,
    negative_log_likelihood,
    read_predictions,
)
from loglearn_tf.errors import DataError

CLASSES = ("rain", "dog", "p_siren")


@pytest.fixture(scope="module")
def found():
    random = np.random.default_rng(3)
    probabilities = random.dirichlet([0.3] * 3, size=400)
    labels = random.integers(3, size=400)
    return Predictions(CLASSES, labels, probabilities.argmax(axis=1), probabilities)


def test_likelihood_is_the_log_loss_of_scikit_learn(found):
    metrics = pytest.importorskip("sklearn.metrics")
    # It clips at its own, far smaller floor.
    clipped = np.maximum(found.probabilities, 5e-8)
    expected = metrics.log_loss(found.labels, clipped / clipped.sum(axis=1, keepdims=True), labels=[0, 1, 2])
    assert negative_log_likelihood(found).mean() == pytest.approx(expected, rel=1e-6)


def test_brier_is_twice_that_of_two_classes_by_scikit_learn(found):
    metrics = pytest.importorskip("sklearn.metrics")
    of_first = found.probabilities[:, 0]
    two = Predictions(("a", "b"), found.labels.clip(max=1), found.predicted, np.stack([of_first, 1 - of_first], axis=1))
    expected = metrics.brier_score_loss(two.labels, two.probabilities[:, 1])
    assert brier_scores(two).mean() == pytest.approx(2 * expected)
    certain = Predictions(("a", "b"), np.array([0, 0]), np.array([0, 1]), np.eye(2))
    assert brier_scores(certain).tolist() == [0.0, 2.0]


def test_calibration_is_the_weighted_gap_of_fifteen_bins(found):
    bins = Reliability()
    bins.add(found)
    confidence, right = found.probabilities.max(axis=1), found.predicted == found.labels
    expected = 0.0
    for at in range(15):
        inside = (confidence > at / 15) & (confidence <= (at + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert bins.error == pytest.approx(expected) and expected > 0.05
    assert bins.overconfidence == pytest.approx(confidence.mean() - right.mean())
    again = Reliability()
    for half in (slice(0, 100), slice(100, None)):
        again.add(Predictions(CLASSES, found.labels[half], found.predicted[half], found.probabilities[half]))
    assert again.error == pytest.approx(bins.error)  # runs of any size add up


def test_certain_answers_fall_into_the_last_bin():
    bins = Reliability()
    bins.add(Predictions(("a", "b"), np.array([0, 1]), np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])))
    assert bins.n.tolist() == [0.0] * (BINS - 1) + [2.0] and bins.error == 0.5


def test_a_probability_written_as_zero_is_the_largest_that_is_written_so():
    values = np.array([[0.0, 1.0], [5e-8, 1 - 5e-8], [1e-7, 1 - 1e-7]])
    found = Predictions(("a", "b"), np.zeros(3, np.int64), np.ones(3, np.int64), values)
    assert negative_log_likelihood(found) == pytest.approx([np.log(2e7), np.log(2e7), np.log(1e7)])
    assert n_zero(found) == 1


@pytest.mark.parametrize("decimals", range(1, 8))
def test_the_largest_zero_is_the_border_of_what_is_written_as_zero(decimals):
    floor = largest_zero(decimals)
    assert float(f"{0.99 * floor:.{decimals}f}") == 0 < float(f"{1.01 * floor:.{decimals}f}")


@given(decimals=st.integers(1, 7), n_classes=st.integers(2, 50), seed=st.integers(0, 2**32 - 1))
def test_tables_of_fewer_decimals_are_read_and_their_likelihood_is_a_bound(decimals, n_classes, seed):
    random = np.random.default_rng(seed)
    exact = random.dirichlet(np.full(n_classes, 0.1), size=5)
    classes = [f"c{at}" for at in range(n_classes)]
    rows = [
        {"clip_id": "a", "class": "c0", "predicted": "c1"}
        | {f"p_{name}": f"{p:.{decimals}f}" for name, p in zip(classes, row, strict=True)}
        for row in exact
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "p.csv"
        path.write_bytes(csv_bytes(tuple(rows[0]), rows))
        found = read_predictions(path, decimals=decimals)
    zero = found.probabilities[:, 0] == 0
    with np.errstate(divide="ignore"):
        true = -np.log(exact[:, 0])
    assert n_zero(found) == zero.sum()
    assert (negative_log_likelihood(found)[zero] <= true[zero] + 1e-9).all()
    assert negative_log_likelihood(found).max() <= -np.log(largest_zero(decimals)) + 1e-9


def test_tables_are_read_as_runs_write_them(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_bytes(predictions([("dog", "dog"), ("rain", "p_siren")], CLASSES))
    found = read_predictions(path)
    assert found.classes == CLASSES and found.labels.tolist() == [1, 0] and found.predicted.tolist() == [1, 2]
    assert found.probabilities.tolist() == [[0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("0.5", "0.4"), "add up to 1"),
        (("1.5", "-0.5"), "between 0 and 1"),
        (("nan", "1"), "between 0 and 1"),
        (("much", "1"), "could not convert"),
    ],
)
def test_what_are_no_probabilities_is_refused(tmp_path, values, message):
    row = {"clip_id": "a", "class": "x", "predicted": "y", "p_x": values[0], "p_y": values[1]}
    (tmp_path / "p.csv").write_bytes(csv_bytes(tuple(row), [row]))
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "p.csv")


@pytest.mark.parametrize(
    "content", ["", "clip_id,class\n", "clip_id,class,predicted,p_x\n", "class,predicted,p_x\nz,x,1\n"]
)
def test_what_is_no_table_of_predictions_is_refused(tmp_path, content):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(DataError, match="Cannot read the predictions .*p.csv.* the run is then repeated"):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(DataError, match="No such file"):
        read_predictions(tmp_path / "none.csv")
