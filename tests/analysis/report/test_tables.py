"""Tables 1 to 4: what stands in them, by hand, and in every form they are written in."""

import csv
import io
import shutil
import subprocess

import pytest
from fake_study import accuracy, comparison, pair, run_row

from loglearn_tf.analysis.report.document import to_element
from loglearn_tf.analysis.report.table import (
    DatasetResults,
    ReportTable,
    Table,
    points,
    to_csv,
    to_latex,
    to_markdown,
    verdict_interval,
)
from loglearn_tf.analysis.report.tables import ACCURACY, ALL_DIFFERENCES, DIFFERENCES, PUBLISHED, TABLES
from loglearn_tf.errors import ConfigError

# VGG at n = 1 and 5 on folds 1 and 2 of US8K; TIMBRE at n = 1 with loglearn alone.
ROWS = [
    *pair(0.50, 0.40, fold=1),
    *pair(0.20, 0.30, fold=2),
    *pair(0.60, 0.50, fold=1, n_shot=5),
    run_row(0.25, model="timbre"),
]
MEANS = [
    accuracy(0.35, 0.312, 0.349, folds=(1, 2)),
    accuracy(0.35, folds=(1, 2), compression="logeps"),
    accuracy(0.6, folds=(1,), n_shot=5),
    accuracy(0.5, folds=(1,), n_shot=5, compression="logeps"),
    accuracy(0.25, folds=(1,), model="timbre"),
]


def accuracy_table(dataset, rows, means, *, confidence) -> Table:
    return ACCURACY.table(DatasetResults(dataset, rows, means, confidence))


def difference_table(dataset, rows, comparisons, *, confidence) -> Table:
    return DIFFERENCES.table(DatasetResults(dataset, rows, confidence=confidence), comparisons)


def records(table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(table).decode())))


def shown(table) -> list[list[str]]:
    return [[*names, *(f"{cell.number}{cell.mark}" for cell in cells)] for names, cells in table.body]


def test_table_1_has_networks_and_compressions_by_n():
    table = accuracy_table("us8k", ROWS, MEANS, confidence=0.95)
    assert table.title == "Table 1. UrbanSound8K: accuracy in %, mean over runs, then over 2 of 10 folds (1, 2)"
    assert table.head == ("Network", "Compression", "n = 1", "n = 5")
    assert shown(table) == [
        ["VGG", "log-EPS", "35.0", "50.0†"],  # n = 5: fold 1 alone, where the title says two
        ["VGG", "loglearn", "35.0", "60.0†"],
        ["TIMBRE", "loglearn", "25.0†", ""],  # not run: empty
    ]
    assert table.body[1][1][0].interval == "31.2 to 34.9"
    assert "Below each number its 95 % interval." in table.notes
    assert "† over fewer folds than the title says; the CSV file lists them." in table.notes


def test_table_2_has_differences_in_points_with_their_verdicts():
    cells = [
        comparison("worse", -0.056, -0.091, -0.02, folds=(1, 2)),
        comparison("equivalent", 0.0, -0.01, 0.01, folds=(1, 2), n_shot=5),
    ]
    table = difference_table("us8k", ROWS, cells, confidence=0.9)
    assert table.title == (
        "Table 2. UrbanSound8K: loglearn minus log-EPS, points of accuracy, mean over paired runs, then over "
        "2 of 10 folds (1, 2)"
    )
    assert shown(table) == [["VGG", "−5.6↓", "0.0≈"], ["TIMBRE", "", ""]]  # no pair of TIMBRE
    assert [cell.interval for cell in table.body[0][1]] == ["−9.1 to −2.0", "90 %: −1.0 to +1.0"]
    assert "↑ better, ↓ worse, ≈ equivalent, ? undecided" in table.notes[0]
    assert "Below each number its 90 % interval." in table.notes


def test_tut_has_tables_3_and_4_and_one_split():
    rows = pair(0.5, 0.6, dataset="tut")
    first = accuracy_table("tut", rows, [], confidence=0.95)
    second = difference_table("tut", rows, [], confidence=0.95)
    assert first.title == "Table 3. TUT Acoustic Scenes 2017: accuracy in %, mean over runs"
    assert second.title.startswith("Table 4. TUT Acoustic Scenes 2017: loglearn minus log-EPS")
    assert "fold" not in first.title + second.title


def test_titles_and_notes_say_what_the_numbers_are_not():
    rows = [*pair(0.5, 0.5, synthetic=True, missing_clips=12), run_row(None, run=1, synthetic=True)]
    for table in (
        accuracy_table("us8k", rows, [], confidence=0.95),
        difference_table("us8k", rows, [], confidence=0.95),
    ):
        assert "SYNTHETIC DATA, not UrbanSound8K" in table.title
        assert "1 of 10 folds (1)" in table.title
        assert "1 of 3 runs failed and are in no mean; see their result.json for the reason." in table.notes
        assert "12 clips of the data set were missing and were skipped (data.allow_missing)." in table.notes
        assert {record["data"] for record in records(table)} == {"synthetic"}


def test_intervals_of_one_fold_are_not_passed_off_as_more():
    rows = [*pair(0.5, 0.4), *pair(0.5, 0.4, run=1)]
    table = accuracy_table("us8k", rows, [accuracy(0.5, 0.4, 0.6, folds=(1,))], confidence=0.95)
    assert "Intervals are over the runs of one fold and say nothing about other folds." in table.notes


def test_csv_has_every_number_of_every_cell():
    within = {"low_within": -0.07, "high_within": -0.042, "low_90": -0.08, "high_90": -0.03, "n_corrected": 28}
    cells = [comparison("worse", -0.0561, -0.091, -0.02, folds=(1, 2), p_holm=0.03, **within)]
    first, second, *_ = records(difference_table("us8k", ROWS, cells, confidence=0.95))
    assert first == {
        **{"data": "real", "dataset": "us8k", "model": "vgg", "n_shot": "1", "n_pairs": "12", "folds": "1 2"},
        **{"difference_points": "-5.61", "std_points": "3.0", "low_points": "-9.1", "high_points": "-2.0"},
        **{"low_90_points": "-8.0", "high_90_points": "-3.0"},
        **{"low_within_points": "-7.0", "high_within_points": "-4.2", "n_corrected": "28"},
        **{"p_value": "0.01", "p_holm": "0.03", "p_equivalence": "0.5", "margin_points": "2.0", "verdict": "worse"},
    }
    assert second["n_shot"] == "5" and second["difference_points"] == second["verdict"] == ""
    record = records(accuracy_table("us8k", ROWS, MEANS, confidence=0.95))[2]
    assert (record["compression"], record["accuracy_percent"], record["low_percent"]) == ("loglearn", "35.0", "31.2")


def test_text_stays_text_in_every_form():
    """A name may come from a run folder that anyone wrote."""
    rows = [run_row(0.5, model="=cmd|<script>", compression="@50% of_{x}")]
    table = accuracy_table("us8k", rows, [], confidence=0.95)
    assert records(table)[0]["model"] == "=cmd|<script>" and records(table)[0]["compression"] == "@50% of_{x}"
    assert "<script>" not in to_element(table) and "=cmd|&lt;script&gt;" in to_element(table)
    assert r"=cmd\|&lt;script&gt;" in to_markdown(table)
    assert r"=cmd|\textless{}script\textgreater{} & @50\% of\_\{x\} &" in to_latex(table)
    cells = [comparison("undecided", -0.05, folds=(1, 2))]
    assert records(difference_table("us8k", ROWS, cells, confidence=0.95))[0]["difference_points"] == "-5.0"


def test_markdown():
    cells = [comparison("better", 0.05, 0.01, 0.09, folds=(1, 2))]
    lines = to_markdown(difference_table("us8k", ROWS, cells, confidence=0.95)).splitlines()
    assert lines[0].startswith("**Table 2. UrbanSound8K")
    assert lines[2:6] == [
        "| Network | n = 1 | n = 5 |",
        "| --- | --: | --: |",
        "| VGG | +5.0 ↑ (+1.0 to +9.0) |  |",
        "| TIMBRE |  |  |",
    ]


def test_html_names_rows_and_columns_for_those_who_hear_it():
    page = to_element(accuracy_table("us8k", ROWS, MEANS, confidence=0.95))
    assert '<th scope="rowgroup" rowspan="2">VGG</th><th scope="row">log-EPS</th>' in page
    assert '<th scope="col" class=number>n = 1</th>' in page
    assert '<td class="number"></td>' in page  # not run


def test_latex_has_booktabs_rules_and_intervals_below_their_numbers():
    cells = [comparison("better", 0.05, -0.01, 0.09, folds=(1, 2))]
    text = to_latex(difference_table("us8k", ROWS, cells, confidence=0.95))
    assert r"\toprule" in text and r"\bottomrule" in text and r"\begin{tabular}{lrr}" in text
    assert r"    VGG & +5.0 $\uparrow$ &  \\" in text
    assert r"     & \scriptsize $-$1.0 to +9.0 &  \\" in text
    assert text.count(r"\addlinespace") == 1  # between two networks


def test_latex_compiles(tmp_path):
    """The whole grid, with the packages of Debian's texlive-latex-recommended, where they are."""
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex")
    shots = (1, 2, 5, 10, 20, 50, 100)
    rows = [row for n in shots for row in pair(0.5, 0.4, n_shot=n)]
    rows.append(run_row(0.5, model=r"a_b&c%d#e$f{g}h~i^j\k<l>m"))
    means = [accuracy(0.5, 0.125, 0.875, n_shot=n, folds=(1,)) for n in shots]
    verdicts = ("better", "worse", "equivalent", "undecided", "better", "worse", "equivalent")
    cells = [comparison(v, -0.01, -0.125, 0.125, n_shot=n, folds=()) for n, v in zip(shots, verdicts, strict=True)]
    made = [
        accuracy_table("us8k", rows, means, confidence=0.95),
        difference_table("us8k", rows, cells, confidence=0.95),
    ]
    body = "\n".join(map(to_latex, made))
    text = rf"\documentclass{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert b"Overfull" not in done.stdout


def test_ours_stand_beside_the_published():
    theirs = {"vgg": {"logeps": {1: 36.0}}, "sb_cnn": {"loglearn": {10: 41.5}}}
    table = PUBLISHED.table(DatasetResults("us8k", ROWS, MEANS, published=theirs))
    assert table.title.startswith("Table 1 beside the published one, ours / published. UrbanSound8K")
    assert shown(table)[:3] == [
        ["SB-CNN", "log-EPS", "", "", ""],
        ["SB-CNN", "loglearn", "", "", "– / 41.5"],
        ["VGG", "log-EPS", "35.0 / 36.0", "50.0 / –", ""],
    ]


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.05, "+5.0"), (-0.003, "−0.3"), (0.0, "0.0"), (-0.0004, "0.0"), (0.12345, "+12.3")]
)
def test_points(fraction, text):
    assert points(fraction) == text


def test_a_table_of_many_rows_is_that_of_few():
    few = [*pair(0.5, 0.4), *pair(0.3, 0.4, run=1)]
    many = few * 25_000
    made = accuracy_table("us8k", many, [], confidence=0.95)
    assert made.body == accuracy_table("us8k", few, [], confidence=0.95).body


def test_a_verdict_shows_the_interval_that_it_rests_on():
    """With a margin of 2 points "equivalent" beside +0.4 (-1.7 to +2.5) would contradict itself."""
    numbers = {"mean": 0.004, "low": -0.017, "high": 0.025, "low_90": -0.01, "high_90": 0.018}
    assert verdict_interval(comparison("equivalent", **numbers)) == "90 %: −1.0 to +1.8"
    assert verdict_interval(comparison("undecided", **numbers)) == "−1.7 to +2.5"
    table = difference_table("us8k", ROWS, [comparison("equivalent", **numbers)], confidence=0.95)
    assert "+0.4 ≈ (90 %: −1.0 to +1.8)" in to_markdown(table)
    assert "For ≈ it is the 90 % interval, on which equivalence rests." in table.notes


def test_a_cell_has_one_verdict_wherever_it_stands():
    """Tables of one report pick from the same comparisons, and say over how many these were corrected."""
    cells = [
        comparison("undecided", 0.05, 0.01, 0.09, p_holm=0.11, n_corrected=12),
        comparison("better", 0.15, 0.11, 0.19, compression="pcen", n_corrected=12),
        comparison("worse", -0.05, -0.09, -0.01, baseline="pcen", n_corrected=12),
        comparison("worse", -0.05, -0.09, -0.01, dataset="tut", n_corrected=1),
    ]
    results = DatasetResults("us8k", [*ROWS, run_row(0.5, compression="pcen")])
    two, all_ = DIFFERENCES.table(results, cells), ALL_DIFFERENCES.table(results, cells)
    assert (two.label, two.stem, all_.label, all_.stem) == (
        *("Table 2", "table2"),
        *("Table 2, all compressions", "table2-all"),
    )
    assert two.body[0][1][0] == all_.body[0][1][0] and all_.body[0][0] == ("VGG", "loglearn")
    assert shown(all_)[1][:3] == ["VGG", "PCEN", "+15.0↑"]
    for table in (two, all_):
        assert "Holm's correction is over all 12 comparisons of this data set in the report." in table.notes
    assert [one.compression for one in two.comparisons] == ["loglearn"]
    assert all_.comparisons == tuple(cells[:2])


def test_data_sets_that_the_source_does_not_have_are_not_numbered():
    rows = pair(0.5, 0.4, dataset="esc50")
    table = accuracy_table("esc50", rows, [], confidence=0.95)
    assert (table.stem, table.title) == ("esc50-table-accuracy", "esc50: accuracy in %, mean over runs, fold 1")
    table = difference_table("my_lab.data:load_esc50", rows, [], confidence=0.95)
    assert table.stem == "my_lab-data-load_esc50-table-differences"


class TestOpenList:
    def test_names(self):
        assert list(TABLES) == ["accuracy", "differences", "all-differences", "published", "regret"]
        assert {name: table.name for name, table in TABLES.items()} == {name: name for name in TABLES}

    def test_a_record_or_a_function_that_builds(self):
        assert TABLES[f"{__name__}:RECORD"] is RECORD
        assert TABLES[f"{__name__}:build"] == ReportTable("build", build, TABLES[f"{__name__}:build"].applies)

    def test_what_builds_nothing(self):
        with pytest.raises(ConfigError, match="must be a `ReportTable` or a function.*Received: .* for .*:MEANS"):
            TABLES[f"{__name__}:MEANS"]


def build(results, comparisons):
    return Table("Mine", ("Network",), ())


RECORD = ReportTable("mine", build)
