"""A text gets a study's numbers, and refuses to be filled in with what was not run."""

import json

import numpy as np
import pytest
import yaml
from fake_study import history, run_row, study_in_parts, write
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_whole_study import TEXT

from loglearn_tf.analysis.names import compression_name
from loglearn_tf.analysis.planned import evaluate, read_parts
from loglearn_tf.analysis.report import fill
from loglearn_tf.analysis.report.table import points, points_interval
from loglearn_tf.analysis.results import SCORES, with_score
from loglearn_tf.errors import ConfigError
from loglearn_tf.features.histogram import EDGES, MelHistogram, write_mel_histogram
from loglearn_tf.study.settings import load_settings
from loglearn_tf.study.status import remember_settings

PART = "part=full model=vgg n=1"


def identify(folder, settings):
    """Runs of other settings do not count: these are of the study's."""
    for result in folder.rglob("result.json"):
        row = json.loads(result.read_text())
        row["identity"] = {**settings.result_settings(), "clips": "abc"}
        result.write_text(json.dumps(row))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two parts; in `full` accuracies of three compressions on three folds, all numbers by hand."""
    folder = tmp_path_factory.mktemp("runs") / "why"
    for fold, level in ((1, 0.3), (2, 0.4), (3, 0.5)):
        for run in range(4):
            for name, gain in (("logeps", 0.0), ("loglearn", 0.02 * fold), ("low", 0.10 + 0.01 * (-1) ** run)):
                learned = {"alpha": 1000.0 + fold, "beta": 1.3, "knee": 0.002} if name != "logeps" else {}
                row = run_row(level + gain, compression=name, fold=fold, run=run, **learned)
                files = {"history.csv": history({"knee": [0.001, 0.001 * (1 + fold)]})} if learned else {}
                write(folder / "full", {**row, **learned}, files)
    write(folder / "half", run_row(0.25))
    write(folder / "half", run_row(0.95, run=1))  # of an earlier and larger grid
    shots = {"models": "vgg", "n_shot": 1, "compressions": ["logeps", "low", "loglearn"]}
    grids = {
        "full": {**shots, "folds": [1, 2, 3], "runs": 4},
        "half": {**shots, "compressions": "loglearn", "folds": 1, "runs": 1},
        "unfinished": {**shots, "compressions": "loglearn", "folds": 1, "runs": 2},
    }
    write(folder / "unfinished", run_row(0.25))
    for part, grid in grids.items():
        plain = {"name": "why", "part": part, "data": {"name": "us8k", "root": "x"}, "runs_dir": str(folder.parent)}
        path = folder.parent / "settings.yaml"
        path.write_text(yaml.safe_dump({**plain, "variants": {"low": {"layer": "loglearn"}}, **grid}))
        settings = load_settings(path)
        remember_settings(settings)
        identify(folder / part, settings)
    counts = np.zeros((2, len(EDGES) - 1), np.int64)
    counts[0, np.searchsorted(EDGES, 1e-6)] = 60
    counts[1, np.searchsorted(EDGES, 1e-1)] = 40
    write_mel_histogram(folder / "full", MelHistogram("us8k", ("a", "b"), counts))
    return folder


@pytest.fixture
def filled(study, tmp_path):
    def filled(text):
        path = tmp_path / "text.md"
        path.write_text(text, encoding="utf-8")
        return fill(path, study)

    return filled


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        # p: of "low" 2 ** -2 by signs, all three folds alike; of "loglearn" by t of the folds' mean ranks (2.5, 6.5,
        # 10.5) .107, twice that by Holm.
        # Means over folds .3, .4, .5; t(2 df, 95 %) = 4.303; std of the fold means .1, / sqrt(3).
        (f"accuracy {PART} compression=logeps", "40.0 % (15.2 to 64.8)"),
        # Differences of the folds .02, .04, .06.
        (f"difference {PART} compression=loglearn", "+4.0 (−1.0 to +9.0)"),
        (f"half_width {PART} compression=loglearn", "5.0"),
        # Runs are a point above and below .1: three folds of four, t(9 df) = 2.262, standard error 1 / 3 of a point.
        (f"within {PART} compression=low", "+9.2 to +10.8"),
        (f"half_width {PART} compression=low over=runs", "0.8"),
        (f"within {PART} compression=loglearn", "none"),
        (f"verdict {PART} compression=loglearn", "undecided"),
        (f"difference {PART} compression=low baseline=loglearn", "+6.0 (+1.0 to +11.0)"),
        (
            f"best {PART} among=loglearn,low",
            "low, VGG at n = 1: +10.0 points, p (Holm) 0.250, undecided; on these folds +9.2 to +10.8",
        ),
        (
            f"best {PART} among=loglearn",
            "loglearn, VGG at n = 1: +4.0 (−1.0 to +9.0) points, p (Holm) 0.213, undecided; on these folds no interval",
        ),
        ("below part=full knee=start", "60 %"),
        ("below part=full knee=1e-9", "0 %"),
        ("moved part=full compression=loglearn model=vgg", "2 to 4, median 3"),
        ("values part=full compression=loglearn name=alpha", "1001 to 1003"),
        ("n_runs part=full", "36"),
        ("n_runs part=half", "1"),
        ("accuracy part=half model=vgg n=1 compression=loglearn", "25.0 %"),
        ("clips part=full", "3 test folds (1, 2, 3), 2 classes"),
        ("time part=full", "1 h 12 min"),
        ("commit part=full", "1bd366c" * 5),
        ("machine part=half", "python 3.11.7, tensorflow 2.17.1, keras unknown, numpy unknown"),
    ],
)
def test_a_place_becomes_its_number(filled, place, expected):
    assert filled(f"Here {{{{{place}}}}}.") == f"Here {expected}."


def test_a_table_of_all_compressions(filled):
    lines = filled(f"{{{{table {PART}}}}}").splitlines()
    assert lines[0].startswith("| Compression | Accuracy | Minus log-EPS")
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["`logeps`", "`low`", "`loglearn`"]
    assert lines[2] == "| `logeps` | 40.0 % (15.2 to 64.8) |  |  |  | baseline |"
    assert " | +9.2 to +10.8 | " in lines[3]
    assert lines[4].startswith("| `loglearn` | 44.0 %") and lines[4].endswith("| ? undecided |")


def test_prose_stays_as_it_is(filled):
    text = "# Findings\n\n100 % {of} *this* | that, {{n_runs part=half}} runs\n"
    assert filled(text) == text.replace("{{n_runs part=half}}", "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n{{acuracy}}", "line 3: {{acuracy}} asks for 'acuracy'. Known: accuracy, difference"),
        (f"{{{{half_width {PART} compression=low over=clips}}}}", "over folds or runs, not over clips"),
        ("{{n_runs part=third}}", "cannot be filled in: .* has no part third"),
        (f"{{{{accuracy {PART} compression=pcen}}}}", "full has no finished run of vgg pcen at n = 1"),
        ("{{difference part=half model=vgg n=1 compression=loglearn}}", "half has no pair of vgg loglearn and logeps"),
        ("{{accuracy part=full}}", "cannot be filled in: .*missing 3 required"),
        ("{{accuracy part=full model=vgg n=one compression=low}}", "n_shot must be a whole number or all"),
        ("{{n_runs part=unfinished}}", "only 1 of 2 runs of .*unfinished are done"),
        ("{{n_runs}}", "only 1 of 2 runs of .*unfinished are done"),
        ("{{n_runs full}}", "must consist of a word and key=value pairs"),
        ('{{n_runs part="full}}', "must consist of a word and key=value pairs"),
        ("{{}}", "must consist of a word and key=value pairs"),
        ("{{below part=half knee=start}}", "half has no histogram of its mel power"),
        ("{{moved part=full compression=logeps model=vgg}}", "full has no history of vgg with logeps"),
        ("{{values part=full compression=loglearn name=gamma}}", "there is no value gamma"),
    ],
)
def test_what_cannot_be_filled_in_is_said_with_its_line(filled, text, message):
    with pytest.raises(ConfigError, match=message):
        filled(text)


def test_no_text(study, tmp_path):
    with pytest.raises(ConfigError, match="Cannot read .*absent.md"):
        fill(tmp_path / "absent.md", study)


@hypothesis_settings(max_examples=25)
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="{"), max_size=200))
def test_any_text_without_places_is_left_alone(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "text.md"
    path.write_bytes(text.encode())
    assert fill(path, path.parent) == path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory):
    """The folder of a study with contrasts, two of its three parts run; and a text with its numbers."""
    folder = study_in_parts(tmp_path_factory.mktemp("study") / "study.yaml", TEXT, only=["a", "b"])
    for part in read_parts(folder):
        identify(part.folder, part.settings)

    def filled(text):
        path = folder.parent / "text.md"
        path.write_text(text, encoding="utf-8")
        return fill(path, folder)

    return folder, filled


def test_contrasts(in_parts):
    folder, filled = in_parts
    one = {one.name: one for one in evaluate(read_parts(folder))}["more"]
    shown = filled("{{contrast name=more}}")
    assert shown == f"{points(one.mean)} ({points_interval(one.low, one.high)}), {one.verdict}"
    head, _, more, later = filled("{{contrasts}}").splitlines()
    assert head.startswith("| Contrast | What |")
    assert more.startswith(f"| more | Loglearn is better | {points(one.mean)} (") and f"| {one.n_pairs} |" in more
    assert later.startswith("| later | At the lowest level |") and "not run yet" in later


def test_contrasts_that_are_not_run_or_not_there(in_parts):
    _, filled = in_parts
    with pytest.raises(ConfigError, match="contrast later is not run yet"):
        filled("{{contrast name=later}}")
    with pytest.raises(ConfigError, match="there is no contrast most; there are more, later"):
        filled("{{contrast name=most}}")


def test_regret(in_parts):
    folder, filled = in_parts
    lines = filled("{{regret score=published}}").splitlines()
    body = [line for line in lines if line.startswith("|")][2:]
    # Whoever is the best in every cell has no regret.
    assert len(body) == 3 and lines[0].startswith("**") and "Worst-case regret" in lines[0]
    among = filled("{{regret score=published among=logeps,log}}")
    assert [line.split("|")[1].strip() for line in among.splitlines() if line.startswith("|")][2:] == sorted(
        ("log-EPS", compression_name("log")), key=among.index
    )
    with pytest.raises(ConfigError, match="regret needs two parts or more that share compressions"):
        filled("{{regret among=logeps,pcen}}")
    rows = {score: [row for part in read_parts(folder) for row in with_score(part.rows, score)] for score in SCORES}
    assert rows["published"] != rows["settled"] and filled("{{regret}}") != filled("{{regret score=published}}")


def test_the_settled_score(in_parts):
    folder, filled = in_parts
    cell = "part=a model=timbre n=5 compression=loglearn"
    for score in SCORES:
        rows = with_score(next(part.rows for part in read_parts(folder) if part.folder.name == "a"), score)
        of_folds = [
            np.mean([row["accuracy"] for row in rows if (row["compression"], row["n_shot"], row["fold"]) == wanted])
            for wanted in (("loglearn", 5, fold) for fold in (1, 2, 3))
        ]
        assert filled(f"{{{{accuracy {cell} score={score}}}}}").startswith(f"{100 * np.mean(of_folds):.1f} % (")
    assert filled(f"{{{{difference {cell}}}}}") != filled(f"{{{{difference {cell} score=settled}}}}")
    with pytest.raises(ConfigError, match="`score` must be"):
        filled(f"{{{{accuracy {cell} score=best}}}}")
