"""What a study can decide: the numbers are those of `power`, of the size that the settings say."""

from dataclasses import replace

from fake_study import study_in_parts

from loglearn_tf.analysis.planned import StudyPart, part_of, read_parts
from loglearn_tf.analysis.planning import (
    FOLD_STD,
    RUN_STD,
    estimated,
    format_contrasts,
    format_plan,
    how_to_read,
    of_contrasts,
    of_one_run,
    stated,
    what_would_decide,
)
from loglearn_tf.analysis.power import Spread, needed, power, spread_of, spreads
from loglearn_tf.study.settings import load_settings, load_studies

GRID = """
name: study
data: {name: us8k, root: sounds}
models: [timbre]
compressions: [logeps, loglearn, log]
n_shot: [1, 5]
folds: [1, 2, 3]
runs: {1: 6, 5: 2}
"""
SPREAD = Spread(RUN_STD, FOLD_STD)


def settings_of(tmp_path, text, *overrides):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_studies(path, overrides)


def test_stated_values_and_the_grid(tmp_path):
    (settings,) = settings_of(tmp_path, GRID)
    plan = stated(settings, SPREAD)
    assert [(one.names, one.runs) for one in plan.rows] == [
        (("timbre", n), k) for n, k in (("1", 6), ("5", 2), ("average", 3))
    ]
    one, other, average = (row.power for row in plan.rows)
    # Four tests: two compressions at two n; of the averages two.
    assert one == power(SPREAD, folds=3, runs=6, family=4, effects=(0.01, 0.02, 0.03, 0.05))
    assert other.half_width > one.half_width
    assert (average.n_values, average.family, average.runs) == (2, 2, 3)
    assert plan.rows[0].needed == needed(SPREAD, folds=3, runs=6, family=4, effect=0.03)
    # The numbers of the pilots: three folds of six runs, run 5.5 points, fold 2.
    assert "timbre   1           6        ±6.6   5 %  10 %  18 %  37 %         4 %" in format_plan(plan, settings)
    assert "Assumed: 5.5 points between the runs of a fold, 2.0 between folds." in format_plan(plan, settings)


def test_columns_respect_the_margin(tmp_path):
    """A precise study calls differences below the margin equivalent: they are rarely better, and 3 points never."""
    (settings,) = settings_of(tmp_path, GRID, "n_shot=[1]", "compressions=[logeps,loglearn]")
    narrow, wide = (
        " ".join(
            format_plan(stated(settings, Spread(run=0.01, fold=0), margin=margin), settings).splitlines()[-1].split()
        )
        for margin in (0.01, 0.04)
    )
    assert narrow == "timbre 1 6 ±0.9 56 % 97 % 100 % 100 % 73 % 2 3"
    assert wide == "timbre 1 6 ±0.9 0 % 0 % 16 % 100 % 100 % never never"
    assert "or if the margin is more than 3 points" in how_to_read(0.04)


def test_one_fold_with_few_runs(tmp_path):
    """A single cell has a signed-rank test, which 5 runs do not pass; a contrast has Student's t."""
    contrast = "contrasts: {more: {title: T, compression: loglearn, expect: E}}"
    (settings,) = settings_of(
        tmp_path, GRID + contrast, "folds=[1]", "runs=5", "n_shot=[1]", "compressions=[loglearn,logeps]"
    )
    spread = Spread(run=0.01, fold=0)
    (cell,) = stated(settings, spread).rows
    (contrast,) = of_contrasts([part_of(settings, settings.study_dir)], spread)
    assert cell.power.power == (0, 0, 0, 0) and cell.needed.runs == 6
    assert contrast.power.power[2] > 0.95 and contrast.needed.runs < 6
    assert "In one fold they need 6 runs to be called" in how_to_read(0.02)
    assert ": 4 more runs per fold, or" in what_would_decide(spread, 0.05, folds=1, runs=2)
    assert ": 1 more run per fold, or" in what_would_decide(spread, 0.05, folds=1, runs=2, contrast=True)


def test_one_run_of_one_fold_decides_nothing(tmp_path):
    (settings,) = settings_of(tmp_path, GRID, "folds=[1]", "runs=1", "n_shot=[1]")
    plan = stated(settings, SPREAD)
    assert plan.rows == ()
    assert "Nothing can be decided: a single run of a single fold" in format_plan(plan, settings)


def test_a_finished_study_tells_how_much_it_varies(tmp_path):
    (part,) = read_parts(study_in_parts(tmp_path / "study.yaml", GRID))
    plans = estimated(part)
    assert [plan.compression for plan in plans] == ["loglearn", "log"]
    own = spreads(part.rows)["us8k", "timbre"]
    assert plans[0].spread == {"timbre": own}
    assert plans[0].rows[1].power == power(own, folds=3, runs=2, family=4, effects=(0.01, 0.02, 0.03, 0.05))
    text = format_plan(plans[0], part.settings)
    assert f"Estimated: timbre: {100 * own.run:.1f} points between the runs of a fold" in text
    # By the settled score it varies as these accuracies do.
    assert estimated(part, score="settled")[0].spread != plans[0].spread
    assert estimated(StudyPart(part.settings, part.folder, [])) == []


def test_contrasts(tmp_path):
    contrasts = """
parts: {a: {}, b: {features: {gain_db: -20.0}}, c: {data: {root: other}}}
contrasts:
  small: {title: T, compression: loglearn, n_shot: 5, parts: [a], expect: E, margin: 0.03}
  levels: {title: T, compression: loglearn, parts: [a, b], expect: E}
  data: {title: T, compression: loglearn, n_shot: 1, parts: [a, c], expect: E}
"""
    parts = [part_of(one, one.study_dir) for one in settings_of(tmp_path, GRID + contrasts)]
    small, levels, data = of_contrasts(parts, SPREAD)
    expected = {"family": 3, "effects": (0.01, 0.02, 0.03, 0.05)}
    assert small.power == power(SPREAD, folds=3, runs=2, margin=0.03, **expected)
    assert small.needed == needed(SPREAD, folds=3, runs=2, margin=0.03, family=3, effect=0.03)
    # Another level has the same folds, and draws the same clips; another data set has folds of its own.
    assert levels.power == power(SPREAD, folds=3, runs=3, n_values=2, **expected)
    assert data.power == power(SPREAD, folds=5, runs=6, **expected)
    lines = format_contrasts([small, levels, data], SPREAD).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["small", "levels", "data"]


def test_runs_with_another_seed_are_other_runs(tmp_path):
    """As where they are evaluated: two seeds with two runs each are four runs of the single fold."""
    parts = "\nparts: {a: {}, b: {SEED}}\ncontrasts: {c: {compression: log, title: T, expect: E, parts: [a, b]MORE}}\n"
    sizes = []
    for seed, more in (("", ""), ("seed: 1", ""), ("seed: 1", ", baseline_parts: [b, a]")):
        text = GRID.replace("1, 5]", "1]").replace("[1, 2, 3]", "[1]").replace("{1: 6, 5: 2}", "2")
        studies = settings_of(tmp_path, text + parts.replace("SEED", seed).replace("MORE", more))
        (one,) = of_contrasts([StudyPart(part, tmp_path, []) for part in studies], SPREAD)
        sizes.append((one.power.runs, one.power.n_values))
    assert sizes == [(2, 1), (2, 2), (2, 1)]


def test_a_contrast_of_one_run_is_named(tmp_path):
    """A file cannot have one, but overrides can make one. It does not hide the others, and says why it is not there."""
    text = """
parts: {one: {}, all: {}}
contrasts:
  single: {title: T, compression: loglearn, parts: [one], expect: E}
  several: {title: T, compression: loglearn, parts: [all], expect: E}
"""
    one, several = (part_of(one, one.study_dir) for one in settings_of(tmp_path, GRID + text))
    parts = [replace(one, settings=one.settings.model_copy(update={"folds": (1,), "runs": 1})), several]
    planned = of_contrasts(parts, SPREAD)
    assert [one.names for one in planned] == [("several",)] and of_one_run(parts) == ["single"]
    said = "single: Nothing can be decided: a single run of a single fold does not show how much runs vary."
    assert format_contrasts(planned, SPREAD, of_one_run(parts)).splitlines()[2:] == [
        format_contrasts(planned, SPREAD).splitlines()[2],
        said,
    ]
    assert format_contrasts([], SPREAD, ["single"]).splitlines()[1:] == [said]


def test_of_the_published_grid():
    """Ten folds of 20 runs at n = 1: two points are found in most studies."""
    settings = load_settings("us8k", ["n_shot=[1]", "models=[vgg]", "compressions=[loglearn,logeps]"])
    (row,) = stated(settings, SPREAD).rows
    assert (row.power.folds, row.power.runs, row.power.family) == (10, 20, 1)
    assert 1.4 < 100 * row.power.half_width < 1.8


class TestWhatWouldDecide:
    def test_a_difference_beyond_the_margin_is_taken_for_the_true_one(self):
        spread = Spread(run=0.055, fold=0.01)
        more = needed(spread, folds=4, runs=4, effect=0.05, family=2)
        text = what_would_decide(spread, 0.05, folds=4, runs=4, family=2)
        assert text == (
            "To decide with a power of 80 %, if the true difference is +5.0 points: "
            f"{more.more_runs} more runs per fold, or {more.more_folds} more folds."
        )
        assert "difference is −5.0 points" in what_would_decide(spread, -0.05, folds=4, runs=4)

    def test_a_small_one_is_to_be_called_equivalent(self):
        spread = Spread(run=0.055, fold=0.0)
        more = needed(spread, folds=3, runs=6, equivalent=0.02)
        text = what_would_decide(spread, -0.01, folds=3, runs=6)
        assert text.startswith("To decide with a power of 80 %, if there is no difference, with a margin of 2 points: ")
        assert f"{more.more_runs} more runs per fold, or {more.more_folds} more folds." in text

    def test_the_margin_counts(self):
        spread = Spread(run=0.055, fold=0)
        more = needed(spread, folds=4, runs=4, effect=0.011, margin=0.01)
        text = what_would_decide(spread, 0.011, folds=4, runs=4, margin=0.01)
        assert f"+1.1 points: {more.more_runs} more runs per fold, or {more.more_folds} more folds." in text

    def test_where_runs_are_no_help(self):
        text = what_would_decide(Spread(run=0.02, fold=0.05), 0.04, folds=3, runs=6)
        assert "more folds; more runs on these folds would not be enough." in text and "runs per fold" not in text

    def test_where_the_size_is_enough_already(self):
        spread = Spread(run=0.01, fold=0.0)
        assert needed(spread, folds=4, runs=10, effect=0.03).more_runs == 0
        assert what_would_decide(spread, 0.03, folds=4, runs=10) == (
            "A study of this size decides with a power of 80 % or more, if the true difference is +3.0 points; "
            "this one did not."
        )

    def test_where_nothing_is(self):
        text = what_would_decide(Spread(run=0.9, fold=0.9), 0.021, folds=3, runs=6)
        assert text.endswith("no number of runs or folds up to 10,000 is enough.")

    def test_one_more_is_one(self):
        spread = spread_of([[0.02, 0.05], [0.03, 0.06], [0.04, 0.05]])
        text = what_would_decide(spread, 0.03, folds=2, runs=4)
        assert "1 more fold" in text and "1 more folds" not in text

    def test_of_one_run_in_all(self):
        text = what_would_decide(Spread(run=0.05, fold=0), 0.04, folds=1, runs=1)
        assert "more runs per fold, or" in text
