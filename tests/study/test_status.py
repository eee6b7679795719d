"""How far a study is: counts, reasons of failures, time left."""

import pytest
from conftest import ROOT
from filelock import FileLock

from loglearn_tf.cli import main
from loglearn_tf.errors import ConfigError
from loglearn_tf.study import status
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import COLUMNS, write_run
from loglearn_tf.study.settings import load_settings
from loglearn_tf.study.status import (
    format_failures,
    format_grid,
    format_time_left,
    remember_settings,
    remembered_settings,
    survey,
)

US8K = ROOT / "experiments" / "us8k.yaml"


@pytest.fixture
def settings(tmp_path):
    """Two networks, two compressions, n of 1 and 5, one fold, two runs: 16 runs."""
    overrides = ["models=[vgg,timbre]", "n_shot=[1,5]", "folds=[1]", "runs=2", f"runs_dir={tmp_path / 'runs'}"]
    return load_settings(US8K, overrides)


@pytest.fixture
def study(settings):
    """VGG at n = 5: loglearn done in 100 and 120 s, log-EPS failed once; nothing else."""
    seconds = iter([100.0, 120.0])
    for spec in plan_runs(settings):
        if (spec.model, spec.n_shot) == ("vgg", 5):
            row = {
                **dict.fromkeys(COLUMNS),
                "format": 1,
                "dataset": "us8k",
                "model": "vgg",
                "n_shot": 5,
                "fold": 1,
                "run": spec.run,
                "seed": 0,
            }
            row |= {"compression": spec.compression, "synthetic": False, "missing_clips": 0}
            row["identity"] = {**settings.result_settings(), "clips": "abc"}
            if spec.compression == "loglearn":
                row |= {"status": "done", "accuracy": 0.5, "train_seconds": next(seconds), "eval_seconds": 20.0}
            elif spec.run == 0:
                row |= {"status": "failed", "accuracy": None, "error": "Traceback ...\n  line\nMemoryError: no more\n"}
            else:
                continue
            write_run(settings.study_dir, spec, {}, row)
    remember_settings(settings)
    return settings.study_dir


def test_counts_by_every_axis(settings, study):
    lines = [line.split() for line in format_grid(survey(settings, study, workers=2)).splitlines()]
    assert lines[0] == ["runs", "done", "failed", "to", "do", "work", "left"]
    table = {line[0]: line[1:] for line in lines if len(line) > 4}
    assert table["all"][:4] == ["16", "2", "1", "13"]
    assert table["vgg"][:4] == ["8", "2", "1", "5"]
    assert table["timbre"] == ["8", "0", "0", "8", "?"]  # none has finished: no guess
    assert table["loglearn"][:4] == ["8", "2", "0", "6"]
    assert table["5"][:4] == ["8", "2", "1", "5"]


def test_time_left_is_that_of_finished_runs_of_the_same_kind(settings, study):
    state = survey(settings, study, workers=2)
    vgg_logeps = [spec for spec in state.results if (spec.model, spec.compression, spec.n_shot) == ("vgg", "logeps", 5)]
    assert state.seconds_left(vgg_logeps) == (0, 2)  # none has finished
    for spec in vgg_logeps:  # one does now, after 40 s
        state.results[spec] = None
    state.results[vgg_logeps[0]] = {"status": "done", "train_seconds": 30.0, "eval_seconds": 10.0}
    again = type(state)(study, state.results, workers=2)
    assert again.seconds_left(again.results) == (40.0, 12)
    assert format_time_left(again).startswith("About 20 s left with 2 workers")
    assert "12 of 13 runs have no such finished run and are not included" in format_time_left(again)


def test_runs_of_other_settings_are_not_done(settings, study, tmp_path):
    other = load_settings(US8K, ["models=[vgg]", "n_shot=[5]", "folds=[1]", "runs=2", "training.epochs=20"])
    state = survey(other, study, workers=2)
    assert (state.count("done"), state.n_other, state.n_outside) == (0, 2, 0)
    assert "2 runs of this grid were made with other settings" in format_grid(state)


def test_runs_outside_the_grid_are_told(settings, study, capsys):
    remember_settings(settings.model_copy(update={"n_shot": (1,)}))
    assert main(["status", str(study)]) == 0
    assert "3 more runs are outside the grid of the last `loglearn run`." in capsys.readouterr().out


def test_nothing_left_and_nothing_known(settings, tmp_path):
    empty = survey(settings, tmp_path / "nowhere", workers=2)
    assert format_time_left(empty).startswith("No estimate yet: no run with")
    done = {spec: {"status": "done", "train_seconds": 1.0, "eval_seconds": 1.0} for spec in empty.results}
    assert format_time_left(type(empty)(tmp_path, done, workers=2)) == "Nothing left to do."


def test_failures_are_told_by_reason_with_an_example(settings, study):
    text = format_failures(survey(settings, study, workers=2))
    assert text.splitlines()[:2] == ["Failed:", "  1 x MemoryError: no more"]
    assert str(study / "us8k/vgg/logeps/n005/fold01/run00/result.json") in text


def test_status_needs_the_folder_alone(settings, study, capsys):
    assert main(["status", str(study)]) == 0
    out = capsys.readouterr().out
    assert "2 of 16 runs done, 1 failed, 13 to do; no job is running." in out and "MemoryError" in out
    with FileLock(study / ".lock"):
        assert main(["status", str(study)]) == 0
    assert "a job is running" in capsys.readouterr().out


def test_status_of_a_folder_that_may_not_be_written(settings, study, capsys, monkeypatch):
    """As a colleague's: whether a job works on it cannot be seen, all else can."""
    (study / ".lock").touch()

    class Forbidden:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> None:
            raise PermissionError(13, "Permission denied")

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(status, "FileLock", Forbidden)
    assert main(["status", str(study)]) == 0
    assert "2 of 16 runs done" in capsys.readouterr().out


def test_a_folder_that_is_no_study(tmp_path, capsys):
    with pytest.raises(ConfigError, match="is not a study folder"):
        remembered_settings(tmp_path)
    assert main(["status", str(tmp_path)]) == 2
    assert "runs/us8k" in capsys.readouterr().err


def test_settings_are_remembered_as_they_were(settings, study):
    assert remembered_settings(study) == settings.model_copy(
        update={"training": settings.training.model_copy(update={"epochs": settings.epochs})}
    )
