"""Sections with a module each: their numbers are those of plain formulas, and what is lacking is said."""

import csv
import json

import numpy as np
import pytest
from fake_study import history, pair, run_row, study_in_parts, write

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis import bayes, mixed
from loglearn_tf.analysis.planned import read_parts
from loglearn_tf.analysis.report import by_recording, compressed, learning, levels, probabilities, reliability
from loglearn_tf.analysis.report.document import Bullets, Grid, Paragraph
from loglearn_tf.analysis.report.learning import History, curve_of
from loglearn_tf.analysis.report.part import Finished
from loglearn_tf.analysis.report.run_files import Unreadable
from loglearn_tf.analysis.report.sizes import size_found, to_csv
from loglearn_tf.analysis.report.table import points
from loglearn_tf.analysis.report.verdicts import Finding, judge
from loglearn_tf.analysis.report.writer import write_report
from loglearn_tf.analysis.results import with_score
from loglearn_tf.analysis.statistics import accuracies, compare_all
from loglearn_tf.datasets.us8k import CLASSES
from loglearn_tf.study.archive import archive, restore
from loglearn_tf.study.run_folder import read_runs
from loglearn_tf.study.settings import load_settings
from loglearn_tf.study.status import remember_settings


def finished(study_dir, rows=None, *, score="published") -> Finished:
    all_rows = read_runs(study_dir) if rows is None else rows
    scored = with_score(all_rows, score)
    done = [row for row in scored if row["status"] == "done"]
    return Finished(study_dir, all_rows, scored, compare_all(done), score, 0.02, 0.95, 0, Unreadable())


def text_of(part) -> str:
    words = []
    for block in part.blocks:
        match block:
            case Paragraph():
                words.append(block.text)
            case Bullets():
                words += block.items
    return " ".join(words)


def pairs(models=("vgg",), shots=(1, 5), folds=(1, 2, 3), runs=2, seed=0):
    random = np.random.default_rng(seed)
    return [
        row
        for model in models
        for n in shots
        for fold in folds
        for run in range(runs)
        for row in pair(*np.round(random.uniform(0.3, 0.6, 2), 4), model=model, n_shot=n, fold=fold, run=run)
    ]


def differences_of(rows, model, n):
    """By fold, from the rows, without the package."""
    accuracy = {
        (row["fold"], row["run"], row["compression"]): row["accuracy"]
        for row in rows
        if (row["model"], row["n_shot"]) == (model, n)
    }
    folds = sorted({fold for fold, *_ in accuracy})
    runs = sorted({run for _, run, _ in accuracy})
    return {fold: [accuracy[fold, run, "loglearn"] - accuracy[fold, run, "logeps"] for run in runs] for fold in folds}


class TestProbabilities:
    def test_are_those_of_the_model_beside_both_intervals(self, tmp_path):
        rows = pairs(models=("vgg", "timbre"))
        part = probabilities.make(finished(tmp_path, rows))
        (table,), (grid,) = part.tables, [block for block in part.blocks if isinstance(block, Grid)]
        cells = {
            (model, at): differences_of(rows, model, n) for model in ("vgg", "timbre") for at, n in enumerate((1, 5))
        }
        posterior = bayes.probabilities(cells, margin=0.02, seed=0)
        of_vgg, everything = table.records[0], table.records[2]
        (own,) = [one for one in posterior.networks if one.model == "vgg"]
        assert of_vgg["better_percent"] == pytest.approx(100 * own.better, abs=1e-3)
        assert everything["model"] is None
        assert everything["equivalent_percent"] == pytest.approx(100 * posterior.overall.equivalent, abs=1e-3)
        both = [cells["vgg", 0], cells["vgg", 1]]
        for estimate, name in ((mixed.over_folds(*both), "points"), (mixed.pooled(*both), "mixed_points")):
            expected = [100 * end for end in estimate.interval(0.95)]
            assert [of_vgg[f"low_{name}"], of_vgg[f"high_{name}"]] == pytest.approx(expected, abs=1e-3)
        names = [names[0] for names, _ in table.body]
        assert names == ["VGG", "TIMBRE", "all networks"] and table.n_names == 2
        assert len(grid.body) == 4 and len(table.records) == 7
        assert "is 0 ± 10 points" in text_of(part)

    def test_one_fold_is_too_few(self, tmp_path):
        part = probabilities.make(finished(tmp_path, pairs(folds=(1,), runs=4)))
        assert not part.tables and ("too few data for probabilities. loglearn: all pairs are from one fold") in text_of(
            part
        )

    def test_one_run_in_each_fold_has_no_mixed_model(self, tmp_path):
        (table,) = probabilities.make(finished(tmp_path, pairs(runs=1))).tables
        assert table.records[0]["low_mixed_points"] is None and table.records[0]["low_points"] is not None
        assert table.body[0][1][-1].number == ""

    def test_one_compression_is_compared_with_none(self, tmp_path):
        rows = [run_row(0.5, fold=fold) for fold in (1, 2)]
        assert probabilities.make(finished(tmp_path, rows)) is None


def probabilities_file(truth, probability, classes=CLASSES, *, recordings=None) -> bytes:
    """A table in which each clip's class has the probability given, and the others share the rest."""
    rows = []
    for at, (label, own) in enumerate(zip(truth, probability, strict=True)):
        others = (1 - own) / (len(classes) - 1)
        row = {"clip_id": f"{at}.wav", "class": label, "predicted": label if own > others else "car_horn"}
        row |= {f"p_{name}": f"{own if name == label else others:.7f}" for name in classes}
        rows.append(row if recordings is None else {"recording": recordings[at], **row})
    columns = [name for name in rows[0] if name != "recording"]
    return csv_bytes(columns[:1] + ["recording"] * (recordings is not None) + columns[1:], rows)


class TestReliability:
    TRUTH = ("dog_bark", "jackhammer", "dog_bark", "drilling")

    def study(self, tmp_path, folds=(1, 2, 3), *, settled=False):
        random = np.random.default_rng(1)
        likelihoods = {}
        for row in pairs(shots=(5,), folds=folds):
            own = random.uniform(0.05, 0.95, 4).round(4)
            files = {"predictions.csv": probabilities_file(self.TRUTH, own)}
            if settled:
                files["predictions_settled.csv"] = probabilities_file(self.TRUTH, np.sqrt(own))
            write(tmp_path, row, files)
            likelihoods[row["compression"], row["fold"], row["run"]] = -np.log(own).mean()
        return likelihoods

    def test_likelihoods_and_their_paired_difference(self, tmp_path):
        likelihoods = self.study(tmp_path, settled=True)
        (table,) = reliability.make(finished(tmp_path)).tables
        by_key = {(one["compression"], one["score"]): one for one in table.records}
        assert len(by_key) == 4
        mean = np.mean([value for (name, *_), value in likelihoods.items() if name == "loglearn"])
        ours = by_key["loglearn", "published"]
        assert ours["nll_nats"] == pytest.approx(mean, abs=1e-5)
        assert by_key["loglearn", "settled"]["nll_nats"] == pytest.approx(mean / 2, abs=1e-5)
        folds = {
            fold: [likelihoods["loglearn", fold, run] - likelihoods["logeps", fold, run] for run in (0, 1)]
            for fold in (1, 2, 3)
        }
        estimate = mixed.over_folds(folds)
        assert ours["nll_difference_nats"] == pytest.approx(estimate.mean, abs=1e-5)
        assert [ours["low_nats"], ours["high_nats"]] == pytest.approx(list(estimate.interval(0.95)), abs=1e-5)
        assert (ours["interval_over"], ours["n_pairs"], ours["n_runs"]) == ("folds", 6, 6)
        assert "nll_difference_nats" not in by_key["logeps", "published"]

    def test_of_one_fold_the_interval_is_over_its_runs_and_says_so(self, tmp_path):
        self.study(tmp_path, folds=(1,))
        (table,) = reliability.make(finished(tmp_path)).tables
        assert table.records[-1]["interval_over"] == "runs of one fold" and table.records[-1]["low_nats"] is not None
        assert any("With a single fold, intervals are over its runs" in note for note in table.notes)

    def test_the_figure_has_its_numbers_beside_it(self, tmp_path):
        self.study(tmp_path)
        (drawing,) = reliability.make(finished(tmp_path)).drawings
        assert drawing.stem == "us8k-vgg-reliability" and "by the published score, n = 5" in drawing.caption
        assert sum(one["n_clips"] for one in drawing.records) == 2 * 6 * 4 and len(drawing.records) == 2 * 15

    def test_what_is_lacking_is_said(self, tmp_path):
        rows = pairs(shots=(5,), folds=(1, 2))
        own = [0.5, 0.0, 0.9, 0.2]
        for row in rows[:6]:
            write(tmp_path, row, {"predictions.csv": probabilities_file(self.TRUTH, own)})
        write(tmp_path, rows[6], {"predictions.csv": b"clip_id,class,predicted,p_siren\n1,siren,siren,2\n"})
        write(tmp_path, rows[7])
        said = text_of(reliability.make(finished(tmp_path)))
        assert "1 of 8 finished runs have no published predictions." in said
        assert "8 of 8 finished runs have no settled predictions, since earlier versions wrote none." in said
        assert "1 tables of predictions are not included: The probabilities of a clip must be between 0 and 1" in said
        assert "In 6 of 24 predictions" in said and "at least 16.8 nats" in said

    def test_tables_from_an_archive_count_whatever_their_decimals(self, tmp_path):
        self.study(tmp_path / "study")
        before = reliability.make(finished(tmp_path / "study")).tables[0].records
        for decimals in (4, 3, 2):
            archive(tmp_path / "study", tmp_path / f"kept_{decimals}", decimals=decimals)
            restore(tmp_path / f"kept_{decimals}", tmp_path / f"again_{decimals}")
            part = reliability.make(finished(tmp_path / f"again_{decimals}"))
            assert "not included" not in text_of(part)
            for ours, theirs in zip(before, part.tables[0].records, strict=True):
                assert ours["n_predictions"] == theirs["n_predictions"]
                # The least probability here is 0.05, of which 0.005 are a tenth.
                assert theirs["nll_nats"] == pytest.approx(ours["nll_nats"], abs=10 * 10.0**-decimals)

    def test_a_zero_from_an_archive_is_as_much_as_its_decimals_say(self, tmp_path):
        for row in pairs(shots=(5,), folds=(1, 2)):
            write(tmp_path / "study", row, {"predictions.csv": probabilities_file(self.TRUTH, [0.5, 1e-5, 0.9, 0.2])})
        archive(tmp_path / "study", tmp_path / "kept", decimals=3)
        restore(tmp_path / "kept", tmp_path / "again")
        said = text_of(reliability.make(finished(tmp_path / "again")))
        assert "With 3 decimals, the upper limit 0.0005 is used instead" in said and "at least 7.6 nats" in said
        assert "stored as 0" not in text_of(reliability.make(finished(tmp_path / "study")))

    def test_runs_beside_those_from_an_archive_are_measured_alike(self, tmp_path):
        """The same predictions, of which an archive has rounded some to 0: no difference, whatever came from it."""
        table = {"predictions.csv": probabilities_file(self.TRUTH, [0.5, 1e-5, 0.9, 0.2])}
        rows = pairs(shots=(5,), folds=(1, 2))
        for row in rows:
            if row["compression"] == "loglearn":
                write(tmp_path / "study", row, table)
        archive(tmp_path / "study", tmp_path / "kept", decimals=3)
        restore(tmp_path / "kept", tmp_path / "again")
        for row in rows:
            if row["compression"] == "logeps":
                write(tmp_path / "again", row, table)
        part = reliability.make(finished(tmp_path / "again"))
        (ours,) = (one for one in part.tables[0].records if one["compression"] == "loglearn")
        assert ours["nll_difference_nats"] == pytest.approx(0, abs=1e-9)
        assert "stored as 0, or would be with 3 decimals, as in runs from an archive. With 3 dec" in text_of(part)

    def test_without_predictions_there_is_a_sentence(self, tmp_path):
        write(tmp_path, run_row(0.5))
        part = reliability.make(finished(tmp_path))
        assert not part.tables and not part.drawings
        assert "no finished run has predictions, so their probabilities cannot be evaluated" in text_of(part)


class TestLearningCurves:
    def test_runs_that_end_early_keep_their_last_value(self):
        long = History(np.arange(1.0, 5), {"loss": np.array([4.0, 3.0, 2.0, 1.0])})
        short = History(np.arange(1.0, 3), {"loss": np.array([6.0, 5.0])})
        curve = curve_of([long, short], "loss")
        assert curve.mean.tolist() == [5.0, 4.0, 3.5, 3.0] and curve.n_training.tolist() == [2, 2, 1, 1]
        assert curve.low.tolist() == pytest.approx([4.2, 3.2, 2.3, 1.4])  # a tenth of the way to the other run
        assert curve.n_runs == 2 and curve_of([long], "val_loss") is None

    def test_what_is_measured_now_and_then_stays_between(self):
        run = History(np.arange(0.0, 5), {"val_loss": np.array([np.nan, 3.0, np.nan, np.nan, 1.0])})
        curve = curve_of([run], "val_loss")
        assert curve.epochs.tolist() == [1, 2, 3, 4] and curve.mean.tolist() == [3, 3, 3, 1]

    def test_every_epoch_stands_in_the_file(self, tmp_path):
        for row in pairs(shots=(1,), folds=(1,)):
            epochs = 4 if row["run"] else 3
            columns = {"loss": [None, *range(epochs, 1, -1)], "accuracy": [None, *np.linspace(0, 1, epochs - 1)]}
            columns["val_accuracy"] = [None, *[0.25] * (epochs - 1)]
            write(tmp_path, row, {"history.csv": history(columns)})
        (drawing,) = learning.make(finished(tmp_path)).drawings
        rows = [one for one in drawing.records if (one["compression"], one["measure"]) == ("loglearn", "loss")]
        assert [(one["epoch"], one["mean"], one["n_training"]) for one in rows] == [
            (1, 3.5, 2),
            (2, 2.5, 2),
            (3, 2.0, 1),
        ]
        assert {one["measure"] for one in drawing.records} == {"loss", "accuracy", "val_accuracy"}
        assert "2 runs that ended earlier than others of its cell keep their last value" in drawing.caption
        titles = [panel.get_ylabel() for panel in drawing.figure.axes]
        assert titles == ["loss", "accuracy (%)", "validation accuracy (%)"]
        assert drawing.figure.axes[2].lines[0].get_ydata().tolist() == [25.0, 25.0, 25.0]

    def test_what_is_lacking_is_said(self, tmp_path):
        rows = pairs(shots=(1,), folds=(1,))
        write(tmp_path, rows[0])
        assert "no finished run has a history of its loss" in text_of(learning.make(finished(tmp_path)))
        write(tmp_path, rows[1], {"history.csv": history({"loss": [None, 1.0]})})
        write(tmp_path, rows[2], {"history.csv": b"epoch,loss\n2,1\n1,1\n"})
        said = text_of(learning.make(finished(tmp_path)))
        assert "1 of 3 finished runs have no history.csv." in said and "its epochs do not increase" in said


FRAMES = {"0.wav": 0.1, "1.wav": 4.0, "2.wav": 1.0, "3.wav": 2.0}


class TestCompressed:
    @pytest.fixture
    def study(self, tmp_path):
        """Four clips of level .1, 4, 1 and 2, of fold 1; log-EPS, loglearn, a relative knee and a power law."""
        settings = load_settings(
            "us8k",
            [f"features.store_dir={tmp_path / 'stores'}", f"runs_dir={tmp_path}", "name=study"],
        )
        remember_settings(settings)
        store = tmp_path / "stores" / "us8k-1"
        store.mkdir(parents=True)
        mel = np.random.default_rng(0).uniform(0.5, 1.5, (4, 6, 3)).astype(np.float32)
        mel *= np.array(list(FRAMES.values()), np.float32)[:, np.newaxis, np.newaxis] / mel.mean(
            axis=(1, 2), keepdims=True
        )
        np.save(store / "shard-0000.npy", mel.reshape(-1, 3))
        (store / "shard-0000.json").write_text(json.dumps({"crc32": 0, "clips": [[name, 6] for name in FRAMES]}))
        (store / "store.json").write_text(json.dumps({"n_shards": 1}))
        (settings.study_dir / "mel_power-us8k.json").write_text(json.dumps({"store": "us8k-1"}))
        traced = {"alpha": [2.0, 3.0], "beta": [1.0, 6.0], "knee": [0.5, 2.0]}
        of = {
            "logeps": ({}, {}),
            "loglearn": (traced, {"alpha": 3.0, "beta": 6.0, "knee": 2.0}),
            "relative_knee": (
                {"alpha": [1, 1], "beta": [0.01] * 2, "knee": [0.01] * 2},
                {"alpha": 1.0, "beta": 0.01, "knee": 0.01},
            ),
        }
        for compression, (columns, numbers) in of.items():
            files = {"predictions.csv": probabilities_file(["siren"] * 4, [0.5] * 4)}
            if columns:
                files["history.csv"] = history(columns)
            write(settings.study_dir, {**run_row(0.5, compression=compression), **numbers}, files)
        return settings.study_dir, mel

    def test_the_clip_of_median_level_before_and_after(self, study):
        study_dir, mel = study
        (drawing,) = compressed.make(finished(study_dir)).drawings
        chosen = mel[2].astype(np.float64)  # of .1, 1, 2 and 4 the lower of the middle two
        assert {one["clip_id"] for one in drawing.records} == {"2.wav"}
        expected = {
            ("logeps", ""): np.log10(chosen + 2.220446049250313e-16),
            ("loglearn", "start"): np.log(2 * chosen + 1),
            ("loglearn", "end"): np.log(3 * chosen + 6),
            ("relative_knee", ""): np.log(chosen / chosen.mean() + 0.01),
        }
        found = {(one["compression"], one["when"]): one for one in drawing.records}
        assert found.keys() == expected.keys()
        for key, output in expected.items():
            assert found[key]["output_mean"] == pytest.approx(output.mean(), rel=1e-5)
            assert found[key]["output_std"] == pytest.approx(output.std(), rel=1e-4)
        assert found["relative_knee", ""]["relative"] and not found["loglearn", "end"]["relative"]
        assert "divided by the level of the clip: knee at 1 % of the level" in drawing.caption
        pictures = [panel for panel in drawing.figure.axes if panel.images]
        assert len(pictures) == 5
        drawn = np.asarray(pictures[2].images[0].get_array())
        output = expected["loglearn", "start"]
        assert drawn == pytest.approx(((output - output.mean()) / output.std()).T, abs=1e-6)
        assert pictures[2].images[0].get_clim() == pictures[4].images[0].get_clim() == (-2.0, 2.0)

    def test_what_is_no_logarithm_is_computed_by_its_layer(self, study, monkeypatch):
        study_dir, mel = study
        write(study_dir, run_row(0.5, compression="power"))
        write(study_dir, run_row(0.5, compression="gone.from_here:Layer"))
        monkeypatch.setattr(compressed, "call", lambda function, asked: function(asked))
        part = compressed.make(finished(study_dir))
        (found,) = [one for one in part.drawings[0].records if one["compression"] == "power"]
        root = np.sqrt(mel[2].astype(np.float64))  # sigmoid(0) is a half
        assert (found["when"], found["output_mean"]) == ("start", pytest.approx(root.mean(), rel=1e-5))
        assert found["output_std"] == pytest.approx(root.std(), rel=1e-4)
        assert "Parameters at the end are not recorded for: power (learned)." in part.drawings[0].caption
        assert "gone.from_here:Layer is not drawn: its layer cannot be computed here" in text_of(part)

    @pytest.mark.parametrize("gone", ["stores/us8k-1/store.json", "study/mel_power-us8k.json", "study/study.yaml"])
    def test_without_the_store_a_sentence_says_why(self, study, gone):
        study_dir, _ = study
        (study_dir.parent / gone).unlink()
        part = compressed.make(finished(study_dir))
        assert not part.drawings and "no clip is shown before and after compression" in text_of(part)


class TestLevels:
    def rows(self, folds=(1, 2, 3)):
        random = np.random.default_rng(2)
        rows = pairs(shots=(1,), folds=folds)
        for row in rows:
            row["levels"] = [
                {"gain_db": gain, "accuracy": round(random.uniform(0.2, 0.5), 4), "accuracy_settled": None}
                for gain in (-40.0, -20.0)
            ]
        return rows

    def test_every_level_has_the_interval_of_its_runs(self, tmp_path):
        rows = self.rows()
        part = levels.make(finished(tmp_path, rows))
        table, differences = part.tables
        assert table.head == ("Network", "n", "Compression", "−40 dB", "−20 dB", "0 dB")
        at_20 = [{**row, "accuracy": row["levels"][1]["accuracy"]} for row in rows]
        (expected,) = [one for one in accuracies(at_20) if one.compression == "loglearn"]
        (found,) = [one for one in table.records if (one["compression"], one["gain_db"]) == ("loglearn", -20)]
        assert [found[f"{name}_percent"] for name in ("accuracy", "low", "high")] == pytest.approx(
            [100 * value for value in (expected.mean, expected.low, expected.high)], abs=1e-3
        )
        (compared,) = compare_all(at_20)
        (found,) = [one for one in differences.records if one["gain_db"] == -20]
        assert found["difference_points"] == pytest.approx(100 * compared.mean, abs=1e-3)
        assert found["low_points"] == pytest.approx(100 * compared.low, abs=1e-3)
        (drawing,) = part.drawings
        assert [tick.get_text() for tick in drawing.figure.axes[0].get_xticklabels()] == ["−40", "−20", "0"]

    def test_runs_without_levels_have_no_section_and_without_their_score_a_sentence(self, tmp_path):
        assert levels.make(finished(tmp_path, pairs())) is None
        rows = [{**row, "accuracy_settled": 0.5} for row in self.rows()]
        part = levels.make(finished(tmp_path, rows, score="settled"))
        assert not part.tables and "no run has a settled score at other levels" in text_of(part)

    def test_parts_that_differ_in_their_level_alone(self, tmp_path):
        text = """
name: study
data: {name: us8k, root: sounds}
models: [timbre]
compressions: [logeps, loglearn]
n_shot: [1]
folds: [1, 2, 3]
runs: 2
parts:
  as_is: {}
  quiet: {features: {gain_db: -20.0}, folds: [1, 2]}
  half: {features: {f_max: 8000.0, gain_db: -20.0}}
"""
        study = study_in_parts(tmp_path / "study.yaml", text)
        parts = read_parts(study)
        part = levels.overview(parts, confidence=0.95, seed=0, score="published")
        (drawing,) = part.drawings
        assert "of parts as_is, quiet, with" in drawing.caption
        records = part.tables[0].records
        assert {(one["gain_db"], one["n_runs"]) for one in records} == {(0.0, 6), (-20.0, 4)}
        of_name = {one.folder.name: one for one in parts}
        assert levels.overview([of_name["as_is"], of_name["half"]], confidence=0.95, seed=0, score="published") is None
        write_report(study)
        page = (study / "report.html").read_text(encoding="utf-8")
        assert 'id="levels"' in page and (study / "figures" / "study-as_is-levels.svg").is_file()
        with (study / "tables" / "study-as_is-table-levels.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 4


class TestByRecording:
    def test_the_parts_of_recordings_add_up_to_the_class(self, tmp_path):
        random = np.random.default_rng(4)
        truth = ["siren"] * 8 + ["drilling"] * 4
        recordings = ["a", "a", "a", "b", "b", "c", "d", "d", "x", "x", "y", "z"]
        right = {}
        for row in pairs(shots=(1,), folds=(1, 2)):
            own = random.choice([0.05, 0.9], 12)
            names = [f"{row['fold']}{name}" for name in recordings]
            write(
                tmp_path,
                row,
                {
                    "predictions.csv": probabilities_file(truth, own),
                    "predictions_settled.csv": probabilities_file(truth, own, recordings=names),
                },
            )
            right[row["compression"], row["fold"], row["run"]] = own > 0.5
        # Clips are of one name in both folds here; each fold's are its own.
        for path in tmp_path.rglob("predictions*.csv"):
            fold = path.parent.parent.name[-1]
            path.write_text("\n".join(
                line if line.startswith("clip") else fold + line for line in path.read_text().splitlines()
            ) + "\n")  # fmt: skip
        part = by_recording.make(finished(tmp_path))
        (table,) = part.tables
        gains = {
            fold: np.mean([right["loglearn", fold, run] * 1.0 - right["logeps", fold, run] for run in (0, 1)], axis=0)
            for fold in (1, 2)
        }
        of_class = {one["class"]: one for one in table.records}
        expected = np.mean([gains[fold][:8].mean() for fold in (1, 2)])
        assert of_class["siren"]["difference_points"] == pytest.approx(100 * expected, abs=1e-3)
        assert of_class["siren"]["n_recordings"] == 8 and of_class["siren"]["n_clips"] == 16
        assert of_class["siren"]["low_points"] is None and "an interval needs 10" in of_class["siren"]["no_interval"]
        (content,) = part.files.values()
        lines = list(csv.DictReader(content.decode().splitlines()))
        ours = {line["recording"]: float(line["part_points"]) for line in lines if line["class"] == "siren"}
        assert sum(ours.values()) == pytest.approx(100 * expected, abs=1e-2)
        # Three of eight clips in one of two folds.
        assert ours["1a"] == pytest.approx(100 * gains[1][:3].sum() / 16, abs=1e-3)

    def test_without_recordings_there_is_a_reason(self, tmp_path):
        for row in pairs(shots=(1,), folds=(1, 2)):
            write(tmp_path, row, {"predictions.csv": probabilities_file(["siren"] * 4, [0.5] * 4)})
        part = by_recording.make(finished(tmp_path))
        assert not part.tables and "no results by recording: the recordings of its clips are unknown" in text_of(part)


class TestSizes:
    FINDING = Finding(
        id="f", statement="s", dataset="us8k", models=("vgg", "timbre"), n_shot=(1, 5), claim="better", cells="some"
    )

    def test_a_verdict_has_its_sign_size_and_interval(self, tmp_path):
        rows = pairs(models=("vgg",))
        (verdict,) = judge([self.FINDING], compare_all(rows))
        size = size_found(verdict, rows, confidence=0.95)
        estimate = mixed.over_folds(differences_of(rows, "vgg", 1), differences_of(rows, "vgg", 5))
        assert size.mean == pytest.approx(estimate.mean)
        assert [size.low, size.high] == pytest.approx(list(estimate.interval(0.95)))
        assert size.short.startswith(f"{points(estimate.mean)} points (") and "on average over 2 cells" in size.sentence
        (line,) = csv.DictReader(to_csv([verdict], {"f": size}).decode().splitlines())
        assert float(line["difference_points"]) == pytest.approx(100 * estimate.mean, abs=1e-3)
        assert (line["verdict"], line["n_cells"], line["n_run"]) == (verdict.state, "4", "2")

    def test_one_fold_has_a_size_without_an_interval(self):
        rows = pairs(folds=(1,), shots=(1,))
        (verdict,) = judge([self.FINDING], compare_all(rows))
        size = size_found(verdict, rows, confidence=0.95)
        assert size.low is None and "without an interval over folds" in size.sentence and "(" not in size.short

    def test_what_was_not_run_has_none(self):
        (verdict,) = judge([self.FINDING], [])
        assert size_found(verdict, [], confidence=0.95) is None
        (line,) = csv.DictReader(to_csv([verdict], {"f": None}).decode().splitlines())
        assert line["verdict"] == "not run" and line["difference_points"] == ""


def test_a_study_that_lacks_everything_says_so_and_has_its_report(tmp_path):
    """One compression, one fold, no file beside result.json."""
    write(tmp_path, run_row(0.5, compression="logeps"))
    text = write_report(tmp_path).with_suffix(".md").read_text(encoding="utf-8")
    for sentence in (
        "no finished run has predictions, so their probabilities cannot be evaluated",
        "no finished run has a history of its loss",
        "no clip is shown before and after compression",
    ):
        assert sentence in text
