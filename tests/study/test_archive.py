"""Archives: the finished runs of a study in a small file, and the study again from it."""

import csv
import io
import itertools
import json
import lzma
import tarfile

import numpy as np
import pytest
from fake_study import history, run_row, study_in_parts, write

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.summary import format_tables
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.archive import archive, restore
from loglearn_tf.study.run_folder import folder_of, read_runs

CLASSES = ("siren", "=drilling", "gun_shot")
PARTS = """
name: parts
data: {name: us8k, root: nowhere}
models: [vgg]
compressions: [logeps, loglearn]
n_shot: [1]
folds: [1, 2]
runs: 1
parts: {loud: {}, quiet: {features: {gain_db: -20.0}}}
"""


def predictions(random):
    rows = [
        {"clip_id": f"{at}.wav", "class": CLASSES[at % 3], "predicted": CLASSES[int(p.argmax())]}
        | {f"p_{name}": f"{value:.7f}" for name, value in zip(CLASSES, p, strict=True)}
        for at, p in enumerate(random.dirichlet([0.1] * 3, 12))
    ]
    return csv_bytes(list(rows[0]), rows)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "us8k"
    random = np.random.default_rng(0)
    for fold, run, compression in itertools.product((1, 2), (0, 1), ("logeps", "loglearn")):
        alphas = random.random(26) if compression == "loglearn" else [None] * 26
        files = {
            "history.csv": history({"loss": [None, *random.random(25)], "alpha": alphas}),
            "predictions.csv": predictions(random),
            "predictions_settled.csv": predictions(random),
            "model.keras": b"large",
        }
        write(folder, run_row(random.random(), fold=fold, run=run, compression=compression), files)
    (folder / "study.yaml").write_text("name: us8k\n")
    return folder


@pytest.fixture(scope="module")
def kept(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    archive(study, folder)
    return folder


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files_of(study_dir):
    return {path.relative_to(study_dir): path.read_bytes() for path in study_dir.rglob("*") if path.is_file()}


def test_results_come_back_whole_without_the_name_of_the_machine(study, kept, tmp_path):
    n_added = restore(kept, tmp_path / "again")
    before, after = read_runs(study), read_runs(tmp_path / "again")
    assert n_added == len(before) == len(after)
    for ours, theirs in zip(before, after, strict=True):
        assert theirs.pop("archived") == {"decimals": 4, "every_epoch": 10}
        assert theirs == {key: value for key, value in ours.items() if key != "host"}
    assert format_tables(after) == format_tables(before)


def test_predictions_have_four_decimals_and_the_same_classes(study, kept, tmp_path):
    restore(kept, tmp_path)
    n_compared = 0
    for row in read_runs(study):
        ours, theirs = (table(folder / folder_of(row) / "predictions.csv") for folder in (study, tmp_path))
        for one, other in zip(ours, theirs, strict=True):
            assert one.keys() == other.keys()
            for column, value in one.items():
                if column.startswith("p_"):
                    assert float(other[column]) == pytest.approx(float(value), abs=5.1e-5) and len(other[column]) == 6
                else:
                    assert other[column] == value
            n_compared += 1
    assert n_compared


def test_fewer_decimals_take_less_space_and_more_do_not_come_back(study, kept, tmp_path):
    archive(study, tmp_path / "small", decimals=2)
    restore(tmp_path / "small", tmp_path / "again")
    row = read_runs(study)[0]
    ours, theirs = (table(of / folder_of(row) / "predictions.csv") for of in (study, tmp_path / "again"))
    for one, other in zip(ours, theirs, strict=True):
        assert other["predicted"] == one["predicted"]
        shown = {column: value for column, value in other.items() if column.startswith("p_")}
        assert shown == {column: f"{float(one[column]):.2f}" for column in shown}
    sizes = [(folder / "runs.tar.xz").stat().st_size for folder in (tmp_path / "small", kept)]
    assert sizes[0] < sizes[1]
    archive(tmp_path / "again", tmp_path / "large", decimals=7)
    restore(tmp_path / "large", tmp_path / "third")
    assert read_runs(tmp_path / "third")[0]["archived"]["decimals"] == 2
    assert table(tmp_path / "third" / folder_of(row) / "predictions.csv") == theirs
    for wrong in (0, 8):
        with pytest.raises(ConfigError, match=f"`decimals` must be between 1 and 7.*Received: {wrong}"):
            archive(study, tmp_path / "wrong", decimals=wrong)


def test_histories_keep_their_ends_and_every_tenth_epoch(study, kept, tmp_path):
    restore(kept, tmp_path)
    row = read_runs(study)[0]
    ours, theirs = (table(folder / folder_of(row) / "history.csv") for folder in (study, tmp_path))
    epochs = [int(one["epoch"]) for one in ours]
    wanted = [epoch for epoch in epochs if epoch in (1, epochs[-1]) or epoch % 10 == 0]
    assert [int(one["epoch"]) for one in theirs] == wanted
    of_epoch = {one["epoch"]: one for one in ours}
    for one in theirs:
        for column, value in of_epoch[one["epoch"]].items():
            assert (one[column] == "") == (value == "")
            assert value == "" or float(one[column]) == pytest.approx(float(value), rel=1e-5)


def test_the_same_runs_make_the_same_bytes_and_a_restored_study_those_of_its_archive(study, kept, tmp_path):
    archive(study, tmp_path / "twice")
    assert files_of(tmp_path / "twice") == files_of(kept)
    restore(kept, tmp_path / "study")
    for name in ("runs.tar.xz", "results.csv"):
        before = (kept / name).read_bytes()
        archive(tmp_path / "study", kept)
        assert (kept / name).read_bytes() == before


def test_a_finished_run_is_never_replaced(study, kept, tmp_path):
    row = {**read_runs(study)[0], "accuracy": 0.123}
    write(tmp_path, row)
    n_added = restore(kept, tmp_path)
    assert n_added == len(read_runs(study)) - 1
    assert 0.123 in [one["accuracy"] for one in read_runs(tmp_path)]
    assert restore(kept, tmp_path) == 0


def test_failed_runs_are_left_out_and_done_ones_take_their_place(tmp_path):
    write(tmp_path / "study", run_row(0.5))
    write(tmp_path / "study", run_row(None, run=1, error="Traceback\nOSError: gone"))
    archive(tmp_path / "study", tmp_path / "kept")
    assert [row["run"] for row in table(tmp_path / "kept" / "results.csv")] == ["0"]
    write(tmp_path / "other", run_row(None, error="Traceback\nOSError: gone"))
    assert restore(tmp_path / "kept", tmp_path / "other") == 1
    assert [row["status"] for row in read_runs(tmp_path / "other")] == ["done"]


def test_runs_with_all_clips_are_kept_beside_those_with_a_number(tmp_path):
    for n_shot in (10, "all", 2):
        write(tmp_path / "study", run_row(0.5, n_shot=n_shot))
    archive(tmp_path / "study", tmp_path / "archive")
    assert restore(tmp_path / "archive", tmp_path / "again") == 3
    assert [row["n_shot"] for row in read_runs(tmp_path / "again")] == [2, 10, "all"]


def test_of_a_study_in_parts_each_part_has_an_archive(tmp_path):
    study_dir = study_in_parts(tmp_path / "parts.yaml", PARTS)
    written = archive(study_dir, tmp_path / "kept")
    assert [path.relative_to(tmp_path / "kept").as_posix() for path in written] == [
        f"{part}/{name}" for part in ("loud", "quiet") for name in ("runs.tar.xz", "results.csv")
    ]
    n_added = restore(tmp_path / "kept", tmp_path / "again")
    assert n_added == sum(len(read_runs(study_dir / part)) for part in ("loud", "quiet"))
    for part in ("loud", "quiet"):
        assert (tmp_path / "again" / part / "study.yaml").read_bytes() == (study_dir / part / "study.yaml").read_bytes()


def test_an_archive_loses_no_run(study, kept, tmp_path):
    write(tmp_path, run_row(0.5))
    with pytest.raises(ConfigError, match="holds .* runs that are missing from .*; the first is .* `loglearn restore`"):
        archive(tmp_path, kept)


def test_a_restored_study_does_not_take_decimals_from_another_archive(study, tmp_path):
    archive(study, tmp_path / "fine", decimals=6)
    archive(study, tmp_path / "coarse", decimals=2)
    restore(tmp_path / "coarse", tmp_path / "again")
    before = (tmp_path / "fine" / "runs.tar.xz").read_bytes()
    with pytest.raises(ConfigError, match=r"holds 8 runs with more decimals of their predictions than .*again, which"):
        archive(tmp_path / "again", tmp_path / "fine")
    assert (tmp_path / "fine" / "runs.tar.xz").read_bytes() == before
    # As many as it has, or fewer on request, are no loss.
    archive(tmp_path / "again", tmp_path / "coarse")
    archive(tmp_path / "again", tmp_path / "fine", decimals=2)
    archive(study, tmp_path / "coarse", decimals=6)
    archive(study, tmp_path / "coarse", decimals=1)


def test_runs_of_other_settings_are_not_mixed(kept, tmp_path):
    write(tmp_path, run_row(0.5, identity={"clips": "other"}))
    before = files_of(tmp_path)
    with pytest.raises(DataError, match="was made with other settings than"):
        restore(kept, tmp_path)
    assert files_of(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"must be an archive folder.*: it contains no runs\.tar\.xz"):
        restore(tmp_path, tmp_path / "to")
    with pytest.raises(DataError, match="No finished run in"):
        archive(tmp_path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def packed(*members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as file:
        for header, text in members:
            header.size = len(text)
            file.addfile(header, io.BytesIO(text))
    return content.getvalue()


def link(name):
    header = tarfile.TarInfo(name)
    header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return header, b""


def test_nothing_is_written_outside_and_no_name_that_a_study_has_not(tmp_path):
    row = json.dumps(run_row(0.5)).encode()
    place = folder_of(run_row(0.5)).as_posix()
    texts = {
        f"{place}/result.json": row,
        f"{place}/predictions.csv": b"clip_id\n1\n",
        f"{place}/model.keras": b"code",
        f"{place}/../../escaped.csv": b"x",
        "../escaped.yaml": b"x",
        "/tmp/escaped_from_an_archive": b"x",
        "notes.txt": b"x",
    }
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "runs.tar.xz").write_bytes(
        packed(*((tarfile.TarInfo(name), text) for name, text in texts.items()))
    )
    restore(tmp_path / "kept", tmp_path / "in" / "study")
    found = {path.relative_to(tmp_path / "in" / "study").as_posix() for path in (tmp_path / "in").rglob("*.*")}
    assert found - {".lock", ".unfinished"} == {f"{place}/result.json", f"{place}/predictions.csv"}


DAMAGED = {
    "no xz": b"not compressed",
    "cut": packed((tarfile.TarInfo("study.yaml"), b"name: a\n" * 1000))[:-40],
    "no tar": lzma.compress(b"text"),
    "empty": b"",
    "a link": packed(link("study.yaml")),
    "a result that is none": packed((tarfile.TarInfo("us8k/vgg/loglearn/n001/fold01/run00/result.json"), b"{}")),
    "a result elsewhere": packed((tarfile.TarInfo("a/b/c/d/e/f/result.json"), json.dumps(run_row(0.5)).encode())),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_archives_are_named_and_add_nothing(content, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "runs.tar.xz").write_bytes(content)
    with pytest.raises(DataError, match=r"runs\.tar\.xz"):
        restore(tmp_path / "kept", tmp_path / "study")
    assert not list(tmp_path.glob("study/**/result.json"))
