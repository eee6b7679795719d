"""The command line: exit codes, and a clear word for everything a user can get wrong."""

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, short_overrides
from fake_study import pair, study_in_parts, write

from loglearn_tf import __version__
from loglearn_tf.cli import main
from loglearn_tf.study.run_folder import LATER_COLUMNS

US8K = str(ROOT / "experiments" / "us8k.yaml")


@pytest.fixture
def us8k_copy(us8k_root, tmp_path) -> Path:
    """A copy of the synthetic set that a test may spoil."""
    import shutil

    return Path(shutil.copytree(us8k_root, tmp_path / "copy"))


def fails(capsys, *arguments: str) -> str:
    assert main(arguments) == 2
    progress, prefix, message = capsys.readouterr().err.partition("loglearn: ")
    assert prefix and "Traceback" not in progress + message
    return message


def run_in(tmp_path: Path, root: Path, *more: str) -> tuple[str, ...]:
    return ("run", US8K, *short_overrides(root, tmp_path), *more)


def test_missing_data_root(capsys, tmp_path):
    message = fails(capsys, *run_in(tmp_path, tmp_path / "nowhere"))
    assert "US8K metadata not found" in message and "make us8k DATA=" in message and "data/README.md" in message
    assert not (tmp_path / "runs").exists()  # and nothing synthetic takes its place


def test_missing_csv_column(capsys, tmp_path, us8k_copy):
    csv = us8k_copy / "metadata" / "UrbanSound8K.csv"
    csv.write_text(csv.read_text().replace("classID", "class_id"))
    assert f"{csv} has no column `classID`" in fails(capsys, *run_in(tmp_path, us8k_copy))


def test_unknown_class(capsys, tmp_path, us8k_copy):
    csv = us8k_copy / "metadata" / "UrbanSound8K.csv"
    csv.write_text(csv.read_text().replace(",siren\n", ",sirens\n", 1))
    message = fails(capsys, *run_in(tmp_path, us8k_copy))
    assert "unknown class 'sirens'" in message and "line " in message and "street_music" in message


def spoil_one_clip(root: Path, how: str) -> Path:
    path = sorted((root / "audio" / "fold1").glob("*.wav"))[3]
    if how == "garbage":
        path.write_bytes(b"\x00" * 1000)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no samples":
        soundfile.write(path, np.zeros((0, 1)), 44_100, subtype="PCM_16")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    return path


@pytest.mark.parametrize("how", ["garbage", "empty", "no samples", "truncated"])
def test_unreadable_audio(capsys, tmp_path, us8k_copy, how):
    path = spoil_one_clip(us8k_copy, how)
    message = fails(capsys, *run_in(tmp_path, us8k_copy))
    assert "1 of 60 clips could not be read" in message and str(path) in message
    assert not list((tmp_path / "runs").rglob("result.json"))


def test_missing_clips_are_counted_unless_allowed(capsys, tmp_path, us8k_copy):
    for path in sorted((us8k_copy / "audio" / "fold3").glob("*.wav"))[:7]:
        path.unlink()
    message = fails(capsys, *run_in(tmp_path, us8k_copy))
    assert "7 of the 60 clips" in message and "and 2 more" in message and "data.allow_missing=true" in message


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("n_shots=3", "Unknown key `n_shots` in the command line. Did you mean `n_shot`?"),
        ("n_shot=ten", "`n_shot` in the command line: input should be a valid integer or `all`. Received: 'ten'"),
        ("n_shot=[3]", "larger than the smallest class: with test fold 1, air_conditioner has 2"),
        ("folds=[11]", "`folds` of us8k must be between 1 and 10. Received: fold 11"),
        ("folds=[7]", "Fold 7 has no clips"),
        ("features.compression=logeps", "`features.compression=logeps` stores logarithms"),
        ("workers=0", "`workers` in the command line"),
        ("data.synthetic.seed=1", "not synthetic"),
    ],
)  # fmt: skip
def test_wrong_settings(capsys, tmp_path, us8k_root, us8k_copy, override, says):
    root = us8k_copy if "synthetic" in override else us8k_root
    if "synthetic" in override:
        (root / "SYNTHETIC.txt").unlink()  # now it could be a real data set
    more = [override] if "n_shot=[3]" not in override else [override, "runs=1"]
    assert says in fails(capsys, *run_in(tmp_path, root, *more))
    assert not (tmp_path / "runs").exists()


def test_settings_file_that_is_not_there(capsys):
    assert "Cannot read settings file nowhere.yaml" in fails(capsys, "plan", "nowhere.yaml")


def test_results_of_nothing(capsys, tmp_path):
    assert "No finished run" in fails(capsys, "results", str(tmp_path))


def test_a_folder_that_cannot_be_written(capsys, tmp_path, us8k_root):
    (tmp_path / "runs").write_text("a file")
    message = fails(capsys, *run_in(tmp_path, us8k_root))
    assert f"Cannot write {tmp_path / 'runs' / 'us8k'}: " in message and "choose another folder (`runs_dir=`" in message


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's; nobody, root included, makes a folder there")
@pytest.mark.parametrize("key", ["runs_dir", "features.store_dir"])
def test_a_file_system_that_takes_no_files(capsys, tmp_path, us8k_root, key):
    message = fails(capsys, *run_in(tmp_path, us8k_root, "models=[timbre]", f"{key}=/proc/loglearn"))
    assert "Cannot write /proc/loglearn/" in message and "choose another folder" in message


def test_a_run_folder_of_another_version(capsys, tmp_path, us8k_root):
    path = tmp_path / "runs/us8k/us8k/timbre/logeps/n001/fold01/run00/result.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"status": "done", "format": 2}')
    message = fails(capsys, *run_in(tmp_path, us8k_root))
    assert f"{path} is from another version of loglearn_tf" in message and "`name=...`" in message
    assert path.read_text() == '{"status": "done", "format": 2}'


def test_wrong_synthetic_arguments(capsys, tmp_path):
    message = fails(capsys, "data", "synthetic", "us8k", str(tmp_path / "made"), "--clips-per-class", "0")
    assert "clips_per_class" in message


def test_too_many_synthetic_numbers(capsys, tmp_path):
    message = fails(capsys, "data", "synthetic", "us8k", str(tmp_path / "made"), "--clips-per-class", "1", "2")
    assert "`clips_per_class` of us8k may have at most 1 numbers. Received: [1, 2]" in message


def test_a_synthetic_set_where_no_file_can_be(capsys):
    assert "Cannot write /dev/null/made" in fails(capsys, "data", "synthetic", "us8k", "/dev/null/made")


def test_unknown_command_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["rum"])
    assert caught.value.code == 2


@pytest.mark.parametrize(("file", "n_runs"), [("us8k.yaml", "6,000"), ("tut.yaml", "600")])
def test_plan_counts_the_grid_and_needs_no_data(capsys, tmp_path, file, n_runs):
    assert main(["plan", str(ROOT / "experiments" / file), f"runs_dir={tmp_path}", "--no-measure"]) == 0
    out = capsys.readouterr().out
    assert f"{n_runs} runs" in out
    (total,) = [line.split() for line in out.splitlines() if line.startswith("all")]
    assert total == ["all", n_runs, "0", "0", n_runs, "?"]
    assert not list(tmp_path.iterdir())


def test_the_package_is_the_command_too(tmp_path):
    done = subprocess.run([sys.executable, "-m", "loglearn_tf", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"loglearn_tf {__version__}\n")


def test_own_code_is_found_in_the_current_folder_after_all_else(tmp_path, monkeypatch, capsys):
    """As for `models=my_lab.nets:build`; a script's own folder would come first, and hide what is installed."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_code_of_mine.py").write_text("")
    (tmp_path / "yaml.py").write_text("raise SystemExit")
    with pytest.raises(ImportError):
        importlib.import_module("own_code_of_mine")
    assert main(["plan", US8K, f"runs_dir={tmp_path}", "--no-measure"]) == 0
    importlib.import_module("own_code_of_mine")
    assert sys.path[-1] == ""


def test_messages_of_the_library_come_on_stderr_and_only_while_a_command_runs(capsys, tmp_path, us8k_copy):
    for path in sorted((us8k_copy / "audio" / "fold3").glob("*.wav"))[:7]:
        path.unlink()
    logger = logging.getLogger("loglearn_tf")
    before = list(logger.handlers), logger.level
    assert main(["features", US8K, *short_overrides(us8k_copy, tmp_path), "data.allow_missing=true"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"Warning: 7 clips are missing under {us8k_copy} and are skipped.\nFeatures ")
    assert said.out.startswith("53 clips in ")
    assert (list(logger.handlers), logger.level) == before


def test_light_commands_do_not_load_tensorflow(tmp_path):
    """`--help`, `plan` and `results` answer at once because nothing heavy is imported."""
    code = (
        "import sys; from loglearn_tf.cli import main\n"
        f"main(['plan', {US8K!r}, '--no-measure']); main(['results', {str(tmp_path)!r}])\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'librosa', 'scipy', 'sklearn', 'pandas', 'soundfile'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    codes = (
        "Exit codes: 0 success, 1 failed runs, unreadable files or data problems, 2 invalid input or "
        "unwritable output, 130 interrupted"
    )
    assert codes in " ".join(done.stdout.split())


# ---- Variants and parts -----------------------------------------------------------------------------------------

PARTS = """\
name: why
data: {{name: us8k, root: {root}}}
features: {{store_dir: {home}/stores}}
runs_dir: {home}/runs
models: timbre
compressions: [logeps, low]
variants:
  low: {{layer: loglearn, args: {{alpha_pre_gate: 16.0}}}}
n_shot: 1
folds: 1
runs: 1
training: {{epochs: 1}}
evaluation: {{hop: 40}}
workers: 1
tensorboard: none
parts:
  full: {{}}
  half: {{features: {{f_max: 11025.0}}}}
"""


@pytest.fixture
def parts(tmp_path, us8k_root, runs_here, undrawn):
    path = tmp_path / "why.yaml"
    path.write_text(PARTS.format(root=us8k_root, home=tmp_path))
    return path


def test_a_study_in_parts_runs_them_all_and_reports_on_each(capsys, parts, tmp_path):
    assert main(["plan", str(parts), "--no-measure"]) == 0
    out = capsys.readouterr().out
    assert "why, part full: 2 runs in" in out and "why, part half: 2 runs in" in out
    assert main(["run", str(parts)]) == 0
    out = capsys.readouterr().out
    assert "low - logeps" in out and out.count("Report: ") == 2
    study = tmp_path / "runs" / "why"
    assert f"The whole study: {study / 'report.html'}\n" in out
    for part in ("full", "half"):
        assert (study / part / "results.csv").read_text().count("\n") == 3
        assert (study / part / "report.html").is_file()
    # Nothing is done again, and a part can be asked for alone; a smaller grid is the study's grid from then on.
    assert main(["run", str(parts), "part=half", "compressions=[low]"]) == 0
    assert "1 of 1 runs are already done." in capsys.readouterr().err
    assert main(["status", str(study)]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 runs done, 0 failed, 0 to do" in out and "1 of 1 runs done, 0 failed, 0 to do" in out
    assert main(["results", str(study)]) == 0
    assert capsys.readouterr().out.count("One row per run: ") == 2

    text = tmp_path / "text.md"
    text.write_text("{{n_runs}} runs; {{accuracy part=half model=timbre n=1 compression=low}}")
    assert main(["report", str(study), "--fill", str(text), "--output", str(tmp_path / "FINDINGS.md")]) == 0
    # Of `half` the smaller grid alone.
    assert (tmp_path / "FINDINGS.md").read_text().startswith("3 runs; ")
    assert "has no parts" in fails(capsys, "run", US8K, "part=full")
    assert "`--margin` cannot be used with `--fill`" in fails(
        capsys, "report", str(study), "--fill", str(text), "--margin", "1"
    )
    assert "`--score` cannot be used with `--fill`" in fails(
        capsys, "report", str(study), "--fill", str(text), "--score=settled"
    )
    assert "`--output` requires `--fill`" in fails(capsys, "report", str(study), "--output", "a.md")


CONTRASTS = """\
name: written
data: {name: us8k, root: sounds}
models: timbre
compressions: [logeps, loglearn]
n_shot: [1, 5]
folds: [1, 2, 3]
runs: 2
parts: {a: {}, b: {features: {gain_db: -20.0}}}
contrasts:
  more: {title: Loglearn is better, compression: loglearn, parts: a, expect: It knows more clips.}
  both: {title: At both levels, compression: loglearn, expect: The same.}
"""


@pytest.fixture
def written(tmp_path):
    """A study with contrasts of which one part is done; no sound is there."""
    path = tmp_path / "written.yaml"
    study_in_parts(path, CONTRASTS, only=["a"])
    return path


def test_contrasts_of_a_file_and_of_a_folder(capsys, written, tmp_path):
    assert main(["contrasts", str(written)]) == 0
    of_file = capsys.readouterr().out
    assert (
        "more: Loglearn is better\n  ↑ better, +" in of_file or "more: Loglearn is better\n  ? undecided, +" in of_file
    )
    assert "both: At both levels\n  not run yet: 24 of 48 runs\n" in of_file
    assert "Its interval will be about ±" in of_file and "2 contrasts; Holm's correction covers all of them." in of_file
    assert main(["contrasts", str(tmp_path / "runs" / "written")]) == 0
    of_folder = capsys.readouterr().out
    assert "not run yet: part b has no runs" in of_folder
    assert of_folder.split("both:")[0] == of_file.split("both:")[0]


def test_what_a_study_can_decide_before_and_after(capsys, written, tmp_path):
    assert main(["power", str(written)]) == 0
    out = capsys.readouterr().out
    assert "written, part a: 3 folds, loglearn minus the baseline. Estimated: timbre: " in out
    assert "written, part b: 3 folds. Assumed: 5.5 points between the runs of a fold, 2.0 between folds." in out
    assert "contrast  runs  half-width" in out and "\nmore " in out and "\nboth " in out
    assert main(["power", str(tmp_path / "runs" / "written"), "--run-std", "4", "--fold-std=0", "--margin=3"]) == 0
    out = capsys.readouterr().out
    assert out.count("Assumed: 4.0 points between the runs of a fold, 0.0 between folds.") == 2
    assert "with a margin of 3 points" in " ".join(out.split())
    assert main(["power", "us8k", "n_shot=[10]", "models=vgg"]) == 0
    assert "us8k: 10 folds. Assumed: 5.5 points" in capsys.readouterr().out


def test_contrasts_of_one_run_of_one_fold_are_named(capsys, tmp_path):
    path = tmp_path / "written.yaml"
    path.write_text(CONTRASTS, encoding="utf-8")
    why = "Nothing can be decided: a single run of a single fold does not show how much runs vary."
    assert main(["power", str(path), "folds=[1]", "runs=1"]) == 0
    out = capsys.readouterr().out
    assert f"\nmore: {why}\nboth: {why}\n" in out and "contrast  runs" not in out
    assert main(["contrasts", str(path), "folds=[1]", "runs=1"]) == 0
    assert capsys.readouterr().out.count(f"  {why}\n") == 2
    # Two runs decide little, but something.
    assert main(["power", str(path), "folds=[1]", "runs=2"]) == 0
    out = capsys.readouterr().out
    assert why not in out and "contrast  runs" in out


def test_contrasts_and_power_of_what_has_none(capsys, written, tmp_path):
    message = fails(capsys, "contrasts", "us8k")
    assert "us8k has no contrasts. Add them under `contrasts` in its YAML file;" in message
    assert "decisive.yaml has examples" in message
    assert "is not a study folder" in fails(capsys, "power", str(tmp_path))
    assert "No such file" in fails(capsys, "power", str(tmp_path / "none.yaml"))
    folder = str(tmp_path / "runs" / "written")
    assert "Received: runs=3 for" in fails(capsys, "contrasts", folder, "runs=3")
    assert ("`--run-std` must be between 0 and 100 points. Received: -1.") in fails(
        capsys, "power", "us8k", "--run-std=-1"
    )
    assert "`--margin` must be greater than 0 and less than 100 points." in fails(capsys, "power", "us8k", "--margin=0")
    message = fails(capsys, "power", "us8k", "--run-std=0", "--fold-std=0")
    assert "must be greater than 0. Received: 0 for all" in message
    message = fails(capsys, "run", str(written), "contrasts.more.n_shot=[7]")
    assert "`contrasts.more.n_shot` in" in message and "must be in the grid of part a. Received: 7." in message


def test_a_wrong_argument_of_a_variant_is_told_before_anything_is_run(capsys, parts, tmp_path):
    message = fails(capsys, "run", str(parts), "variants.low.args={alpha: 3.0}")
    assert "`variants.low`: Compression loglearn does not take" in message
    message = fails(capsys, "run", str(parts), "variants.low={layer: log, args: {alpha: [1.0, 2.0]}}")
    assert "`variants.low`: `alpha` must have one number per mel band" in message
    message = fails(capsys, "run", str(parts), "variants.conv={layer: log}", "compressions=[conv]")
    assert "`variants.conv`:" in message
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(
    ("redirected", "code", "says"),
    [
        ("--help > /dev/full", 2, "loglearn: Cannot write standard output: No space left on device. Redirect it to"),
        ("plan us8k > /dev/full", 2, "loglearn: Cannot write standard output: No space left on device. Redirect it to"),
        ("plan us8k >&-", 2, "loglearn: Cannot write standard output: it is closed."),
        ("plan us8k --no-measure 2>&-", 0, ""),
        ("plan us8k >&- 2>&-", 2, ""),
        ("plan nowhere.yaml 2> /dev/full", 2, ""),
    ],
)
def test_output_that_goes_nowhere(tmp_path, redirected, code, says):
    command = f"{sys.executable} -m loglearn_tf {redirected}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith(says) and done.stderr.count("\n") == bool(says)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipe of a shell")
def test_a_reader_that_has_left(tmp_path):
    """As after `| head`; what the shell says of programs in C."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "loglearn_tf", "plan", "us8k"], stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such locale")
def test_a_locale_that_is_not_utf8(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label,fold\n犬.wav,犬,1\nb.wav,b,2\n", encoding="utf-8")
    (tmp_path / "犬.wav").write_bytes(b"")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "loglearn_tf", "data", "check", "clips.csv"],
        capture_output=True,
        cwd=tmp_path,
        env=environment,
    )
    said = done.stderr.decode("utf-8")
    assert done.returncode == 2 and "犬.wav" in said
    assert said.endswith("File names are read as ascii here; if they are UTF-8, set PYTHONUTF8=1.\n")


def test_no_folder_for_temporary_files(capsys, monkeypatch):
    """As in a container that is read-only altogether: TensorFlow cannot be imported."""
    import tempfile

    def none(settings, overrides):
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null/nowhere"])
        tempfile.gettempdir()

    monkeypatch.setattr("loglearn_tf.cli.load_studies", none)
    message = fails(capsys, "plan", US8K)
    assert "No usable temporary directory found" in message and "Set TMPDIR to a writable folder." in message


def test_results_of_either_score(tmp_path, capsys):
    for row in pair(0.6, 0.5):
        write(tmp_path / "study", {**row, "accuracy_settled": row["accuracy"] - 0.25})
    for row in pair(0.6, 0.5, run=1):  # of an earlier version
        write(tmp_path / "study", {key: value for key, value in row.items() if key not in LATER_COLUMNS})
    assert main(["results", str(tmp_path / "study")]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[2:5]] == ["50.0", "60.0", "+10.0"]
    assert main(["results", str(tmp_path / "study"), "--score", "settled"]) == 0
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert "settled accuracy in %" in title
    assert [line.split()[-1] for line in lines[:3]] == ["25.0", "35.0", "+10.0"]
    assert lines[3] == "2 of 4 runs have no settled score, since they are of an earlier version."


def test_a_study_kept_and_made_again(tmp_path, capsys):
    for row in pair(0.6, 0.5):
        write(tmp_path / "study", row)
    assert main(["archive", str(tmp_path / "study"), str(tmp_path / "kept")]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / "kept" / name) for name in ("runs.tar.xz", "results.csv")
    ]
    assert main(["restore", str(tmp_path / "kept"), str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out == f"2 finished runs added to {tmp_path / 'again'}\n"
    assert main(["results", str(tmp_path / "again")]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[2:5]] == ["50.0", "60.0", "+10.0"]
