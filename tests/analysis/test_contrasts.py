"""One difference for each network, averaged over all n."""

import numpy as np
import pytest
import scipy.stats

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.contrasts import contrasts, differences
from loglearn_tf.analysis.statistics import compare, holm, in_one_family
from loglearn_tf.errors import ConfigError, DataError


def rows_of(values, *, model="vgg", n_shot=1, dataset="us8k", folds=None) -> list[dict[str, object]]:
    """Pairs with these differences, `(folds, runs)`."""
    return [
        {
            **{"dataset": dataset, "model": model, "n_shot": n_shot, "compression": compression, "status": "done"},
            **{"fold": fold, "run": run, "accuracy": accuracy},
        }
        for fold, runs in zip(folds or range(1, len(values) + 1), values, strict=True)
        for run, value in enumerate(runs)
        for compression, accuracy in (("loglearn", 0.5 + float(value)), ("logeps", 0.5))
    ]


def study(seed=0, *, models=("timbre", "vgg"), shots=(1, 5, 20), folds=4, runs=5, mean=0.03) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        row
        for model in models
        for n_shot in shots
        for row in rows_of(mean + 0.02 * rng.normal(size=(folds, runs)), model=model, n_shot=n_shot)
    ]


def test_each_network_is_students_t_on_its_folds_averages():
    rows = study()
    found = contrasts(rows)
    assert [(one.dataset, one.model, one.n_shot, one.n_pairs) for one in found] == [
        ("us8k", "timbre", (1, 5, 20), 60),
        ("us8k", "vgg", (1, 5, 20), 60),
    ]
    for one in found:
        averages = [
            np.mean([row["accuracy"] - 0.5 for row in rows if (row["model"], row["fold"], row["compression"]) == key])
            for key in [(one.model, fold, "loglearn") for fold in one.folds]
        ]
        expected = scipy.stats.ttest_1samp(averages, 0)
        assert (one.mean, one.p_value) == pytest.approx((np.mean(averages), expected.pvalue))
        assert (one.low, one.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
        assert (one.low_90, one.high_90) == pytest.approx(tuple(expected.confidence_interval(0.9)))
        assert one.p_holm == pytest.approx(holm([other.p_value for other in found])[found.index(one)])
        assert one.n_corrected == 2


def test_the_mixed_model_stands_beside_it():
    (found,) = contrasts(study(models=("vgg",)))
    cells = differences(study(models=("vgg",)))["us8k", "vgg"]
    assert (found.low_pooled, found.high_pooled) == mixed.pooled(*cells.values()).interval()
    (found,) = contrasts(study(models=("vgg",), runs=1))
    assert (found.low_pooled, found.high_pooled) == (None, None) and found.low is not None


def test_is_decided_where_no_cell_is():
    rows = study(13, models=("vgg",), shots=(1, 2, 5, 10, 20), folds=3, runs=4, mean=0.025)
    assert {one.verdict for one in compare(rows)} == {"undecided"}
    (found,) = contrasts(rows)
    assert found.verdict == "better" and found.p_holm == found.p_value < 0.05


@pytest.mark.parametrize(("mean", "verdict"), [(0.1, "better"), (-0.1, "worse"), (0.0, "equivalent")])
def test_verdicts(mean, verdict):
    assert {one.verdict for one in contrasts(study(folds=5, runs=8, mean=mean))} == {verdict}


def test_n_of_one_fold_are_left_out_and_named():
    rows = [*study(models=("vgg",)), *rows_of([[0.4, 0.4]], n_shot=100), *rows_of([[0.1, 0.2]], dataset="tut")]
    (found,) = contrasts(rows)
    assert (found.n_shot, found.left_out) == ((1, 5, 20), (100,))
    assert found.mean == contrasts(study(models=("vgg",)))[0].mean


def test_nothing_to_compare():
    assert contrasts([]) == []
    assert contrasts(study(), baseline="pcen") == []


def test_differences_that_are_all_equal_are_undecided():
    (found,) = contrasts(rows_of(np.full((3, 2), 0.1)))
    assert (found.low, found.p_value, found.p_holm, found.n_corrected, found.verdict) == (
        None,
        None,
        None,
        0,
        "undecided",
    )


def test_cells_and_contrasts_can_be_one_family():
    rows = study(models=("vgg",))
    cells, averaged = compare(rows), contrasts(rows)
    together = in_one_family([*cells, *averaged])
    assert {one.n_corrected for one in together} == {4}
    assert [one.p_holm for one in together] == holm([one.p_value for one in [*cells, *averaged]])


def test_data_sets_can_be_one_family():
    rows = [*study(models=("vgg",)), *(dict(row, dataset="other") for row in study(1, models=("vgg",)))]
    apart = compare(rows)
    together = in_one_family(apart)
    assert {one.n_corrected for one in apart} == {3} and {one.n_corrected for one in together} == {6}
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    expected = multitest.multipletests([one.p_value for one in together], method="holm")[1]
    assert [one.p_holm for one in together] == pytest.approx(list(expected))
    assert all(wide.p_holm >= narrow.p_holm for wide, narrow in zip(together, apart, strict=True))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_holm_takes_probabilities(wrong):
    with pytest.raises(DataError, match=r"between 0 and 1\. Received"):
        holm([0.1, wrong])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 0}, "`margin`"),
        ({"margin": 2}, "`margin` must be between 0 and 1. Received: margin=2"),
        ({"confidence": 95}, "`confidence`"),
        ({"baseline": "loglearn"}, "`compression` and `baseline` must differ"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        contrasts(study(), **arguments)
    with pytest.raises(ConfigError, match=message):
        contrasts([], **arguments)
