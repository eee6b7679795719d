"""`loglearn data check`: every kind of fault is found, named and counted, and nothing else is."""

import csv
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from loglearn_tf.audio import pyav
from loglearn_tf.cli import main
from loglearn_tf.datasets import check as data_check
from loglearn_tf.datasets.check import check_data, detect_layout
from loglearn_tf.errors import DataError, MissingDataError

RATE = 44_100


def noise(seed: int, seconds: float = 3.5, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (round(RATE * seconds), channels))


def write(path: Path, samples: np.ndarray, **more: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, **{"subtype": "PCM_16", **more})
    return path


def never_finished(path: Path) -> None:
    """As a recorder leaves a file when it loses its power: all of the sound is there, and the header says 2 GB."""
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = (2_000_000_000).to_bytes(4, "little")
    path.write_bytes(content)


class Us8k:
    """UrbanSound8K in small, clip by clip."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[str] = []
        (root / "metadata").mkdir(parents=True)

    def add(self, name: str, fold: int, label: int, seconds: float = 3.5) -> Path:
        from loglearn_tf.datasets.us8k import CLASSES

        self.rows.append(f"{name},1,0.5,{0.5 + seconds},1,{fold},{label},{CLASSES[label]}")
        header = "slice_file_name,fsID,start,end,salience,fold,classID,class"
        (self.root / "metadata" / "UrbanSound8K.csv").write_text("\n".join([header, *self.rows]) + "\n")
        return self.root / "audio" / f"fold{fold}" / name


@pytest.fixture
def us8k(tmp_path) -> Us8k:
    made = Us8k(tmp_path / "set")
    for fold in (1, 2):
        write(made.add(f"good{fold}.wav", fold, 0), noise(fold))
    return made


@pytest.fixture
def faulty(us8k) -> Us8k:
    """Every kind of fault, once or twice."""
    us8k.add("missing.wav", 1, 0)
    write(us8k.root / "audio" / "fold1" / "stray.wav", noise(3))
    (us8k.root / "audio" / "fold2" / "notes.txt").write_text("as found")
    (us8k.root / "audio" / "fold2" / ".DS_Store").write_text("hidden")
    us8k.add("garbage.wav", 1, 0).write_bytes(b"\0" * 1000)
    cut = write(us8k.add("cut.wav", 1, 0), noise(4))
    cut.write_bytes(cut.read_bytes()[:-5000])
    write(us8k.add("no frames.wav", 1, 0), np.zeros((0, 1)))
    nan = write(us8k.add("nan.wav", 1, 0), noise(5), subtype="FLOAT")
    nan.write_bytes(nan.read_bytes()[:-4] + struct.pack("<f", np.nan))
    write(us8k.add("tiny.wav", 1, 0, 0.02), noise(6, 0.02))
    write(us8k.add("short.wav", 1, 0, 2.9), noise(7, 2.9))
    write(us8k.add("silent.wav", 1, 0), np.zeros(round(3.5 * RATE)))
    write(us8k.add("silent too.wav", 2, 1), np.zeros(round(3.5 * RATE)))
    write(us8k.add("constant.wav", 2, 1), np.full(round(3.5 * RATE), -1 / 128), subtype="PCM_U8")
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"):
        write(us8k.add(f"clipped {subtype}.wav", 1, 0), np.clip(2.1 * noise(8), -1, 1), subtype=subtype)
    write(us8k.add("loud.wav", 1, 0), noise(9) / 0.5)  # reaches full scale, but seldom
    write(us8k.add("longer.wav", 1, 0, 3.4), noise(10))
    never_finished(write(us8k.add("recorder.wav", 1, 0), noise(15)))
    # The same samples in other files, which need not have the same bytes.
    write(us8k.add("a1.wav", 1, 2), noise(11))
    soundfile.write(us8k.add("a2.wav", 1, 2), soundfile.read(us8k.root / "audio/fold1/a1.wav")[0], RATE, format="FLAC")
    write(us8k.add("b1.wav", 1, 2), noise(12))
    write(us8k.add("b2.wav", 2, 2), noise(12))
    write(us8k.add("c1.wav", 1, 2), noise(13))
    write(us8k.add("c2.wav", 1, 3), noise(13))
    write(us8k.add("stereo.wav", 1, 3), noise(14, channels=2), subtype="PCM_24")
    return us8k


FOUND = {
    "missing": ["missing.wav"],
    "unreadable": ["cut.wav", "garbage.wav", "no frames.wav"],
    "not finite": ["nan.wav"],
    "duplicate across folds": ["b1.wav", "b2.wav"],
    "duplicate across classes": ["c1.wav", "c2.wav"],
    "stray": ["audio/fold1/stray.wav", "audio/fold2/notes.txt"],
    "odd file": ["recorder.wav"],
    "too short": ["tiny.wav"],
    "silent": ["constant.wav", "silent too.wav", "silent.wav"],
    "clipped": [f"clipped {subtype}.wav" for subtype in ("FLOAT", "PCM_16", "PCM_24", "PCM_U8", "ULAW")],
    "duplicate": ["a1.wav", "a2.wav"],
    "other duration": ["longer.wav"],
    "shorter than a patch": ["short.wav", "tiny.wav"],
    "hidden": ["audio/fold2/.DS_Store"],
    # Of class-named folders: see `test_folders_of_classes_are_accounted_for`.
    "left out": [],
    "linked again": [],
    "beside": [],
    "unused": [],
}


def test_finds_every_fault_and_no_other(faulty):
    report = check_data(faulty.root, workers=2)
    assert {name: [clip.name for clip in report.found(name)] for name in FOUND} == FOUND
    assert set(FOUND) == {*data_check.ERRORS, *data_check.WARNINGS, *data_check.NOTES}
    assert report.n_errors == 9
    assert report.n_warnings == 2 + 1 + 1 + 3 + 5 + 2 + 1


def test_says_it_and_exits_with_1(faulty, capsys):
    assert main(["data", "check", str(faulty.root)]) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"us8k in {faulty.root}: 27 clips\n")
    assert "error: 3 unreadable: cannot be decoded\n  Cannot read audio file" in said
    assert "cut.wav: it has 151850 of the 154350 frames declared in its header (truncated)." in said
    assert "b1.wav (children_playing, fold 1): the same as b2.wav" in said
    assert "warning: 1 other duration" in said and "  longer.wav: 3.500 s, listed as 3.400 s" in said
    assert "  silent too.wav: 3.50 s, constant 0\n" in said
    assert "9 files with errors, 15 with warnings." in said
    rows = [line.split() for line in said[said.index("format ") :].splitlines()]
    assert ["WAV", "PCM", "16", "44,100", "1", "15"] in rows
    assert ["WAV", "mu-law", "8", "44,100", "1", "1"] in rows
    assert ["FLAC", "16", "44,100", "1", "1"] in rows
    assert ["WAV", "PCM", "24", "44,100", "2", "1"] in rows


def test_a_sound_data_set_is_exit_code_0(us8k, capsys):
    assert main(["data", "check", str(us8k.root), "--strict"]) == 0
    assert "No problems found." in capsys.readouterr().out
    assert main(["data", "check", str(us8k.root.parent), "--data", "folder"]) == 2  # one class


def test_warnings_fail_only_when_asked_to(us8k, capsys):
    write(us8k.add("short.wav", 1, 0, 1.0), noise(7, 1.0))  # a note is no warning
    assert main(["data", "check", str(us8k.root), "--strict"]) == 0
    write(us8k.add("silent.wav", 1, 0), np.zeros(round(3.5 * RATE)))
    assert main(["data", "check", str(us8k.root)]) == 0
    assert main(["data", "check", str(us8k.root), "--strict"]) == 1
    assert "0 files with errors, 1 with warnings." in capsys.readouterr().out


def test_the_csv_has_a_row_for_each_clip_and_its_text_is_plain(us8k, tmp_path, capsys):
    names = ["=HYPERLINK(1,2).wav", "+1.wav", "-1.wav", "@SUM(A1).wav"]
    for seed, name in enumerate(names):
        us8k.rows.append(f'"{name}",1,0,3.5,1,1,4,drilling')
        write(us8k.root / "audio" / "fold1" / name, noise(20 + seed))
    us8k.add("missing.wav", 2, 4)
    path = tmp_path / "new" / "clips.csv"

    def rows_of(*options: str) -> list[dict[str, str]]:
        assert main(["data", "check", str(us8k.root), "--csv", str(path), *options]) == 1
        assert str(path) in capsys.readouterr().out
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    safe = rows_of("--spreadsheet-safe")
    # An apostrophe keeps a spreadsheet from running them.
    escaped = [f"'{name}" for name in sorted(names)]
    assert [row["clip"] for row in safe] == [*escaped, "good1.wav", "good2.wav", "missing.wav"]
    rows = rows_of()
    assert tuple(rows[0]) == data_check.CSV_COLUMNS
    assert [row["clip"] for row in rows] == [*sorted(names), "good1.wav", "good2.wav", "missing.wav"]
    good = rows[-3]
    assert good["file"] == "audio/fold1/good1.wav" and good["format"] == "WAV PCM" and good["findings"] == ""
    assert (good["frames"], good["seconds"], good["listed_seconds"]) == ("154350", "3.500000", "3.500000")
    assert good["decoder"] in ("tensorflow-io", "soundfile") and 0.49 < float(good["peak"]) < 0.51
    assert rows[-1]["findings"] == "missing" and rows[-1]["frames"] == ""
    assert [path.name for path in path.parent.iterdir()] == ["clips.csv"]


def test_names_that_would_move_the_cursor_are_escaped(us8k, capsys):
    try:
        write(us8k.root / "audio" / "fold1" / "\x1b[2Jstray.wav", noise(1))
    except OSError:
        pytest.skip("this file system refuses such names")
    main(["data", "check", str(us8k.root)])
    said = capsys.readouterr().out
    assert "\x1b" not in said and r"\x1b[2Jstray.wav" in said


def test_a_synthetic_set_has_no_errors(us8k_root, capsys):
    assert main(["data", "check", str(us8k_root)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("SYNTHETIC us8k in ") and "60 clips" in said
    assert "error:" not in said and "other duration" not in said


# ---- The other layouts --------------------------------------------------------------------------------------------


@pytest.fixture
def tut(tmp_path) -> Path:
    root = tmp_path / "tut"
    for part, name in (("development", "b020_90_100"), ("evaluation", "7_0_10")):
        folder = root / f"TUT-acoustic-scenes-2017-{part}"
        write(folder / "audio" / f"{name}.wav", noise(len(name), 10, 2), subtype="PCM_24")
        (folder / "meta.txt").write_text(f"audio/{name}.wav\tbeach\tb020\r\n")
    return root


def test_tut_by_its_layout(tut, capsys):
    assert main(["data", "check", str(tut), "--strict"]) == 0
    assert capsys.readouterr().out.startswith(f"tut in {tut}: 2 clips")
    development, evaluation = (tut / f"TUT-acoustic-scenes-2017-{part}" for part in ("development", "evaluation"))
    shutil.copy(development / "audio" / "b020_90_100.wav", evaluation / "audio" / "7_0_10.wav")
    (evaluation / "audio" / "extra.wav").write_bytes(b"")
    write(development / "audio" / "b020_100_110.wav", noise(2, 9.5, 2))
    with (development / "meta.txt").open("a") as file:
        file.write("audio/b020_100_110.wav\tbeach\tb020\r\n")
    report = check_data(tut)
    found = {name: [clip.name for clip in report.found(name)] for name in FOUND if report.found(name)}
    assert found == {
        "duplicate across folds": ["development/b020_90_100.wav", "evaluation/7_0_10.wav"],
        "stray": ["TUT-acoustic-scenes-2017-evaluation/audio/extra.wav"],
        "other duration": ["development/b020_100_110.wav"],
    }


def test_folders_of_classes(tmp_path):
    for seed in range(6):
        write(tmp_path / ("cat", "dog")[seed // 3] / f"{seed % 3}.wav", noise(seed))
    (tmp_path / "cat" / "list.txt").write_text("cats")
    shutil.copy(tmp_path / "cat" / "0.wav", tmp_path / "dog" / "0.wav")
    report = check_data(tmp_path)
    assert report.dataset.name == "folder"
    assert [clip.name for clip in report.found("stray")] == ["cat/list.txt"]
    assert [clip.name for clip in report.found("duplicate across classes")] == ["cat/0.wav", "dog/0.wav"]


def test_folders_of_classes_are_accounted_for(tmp_path, capsys):
    root = tmp_path / "set"
    for seed in range(6):
        write(root / ("cat", "dog")[seed // 3] / f"{seed % 3}.wav", noise(seed))
    write(tmp_path / "elsewhere" / "3.WAV", noise(7), format="WAV")
    (root / "dog" / "more").symlink_to("../../elsewhere")
    (root / "dog" / "again").symlink_to("../cat")
    (root / "hound").symlink_to("dog")
    (root / "cat" / "annexed.wav").symlink_to("../.git/annex/objects/x")
    (root / "cat" / "lost").symlink_to("nowhere")
    (root / "cat" / "._0.wav").write_bytes(b"\0\5\x16\7")
    write(root / "cat" / ".ipynb_checkpoints" / "0.wav", noise(0))
    write(root / "beside.wav", noise(8))
    write(root / "cat" / "0.wav.bak", noise(9), format="WAV")
    (root / "cat" / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    (root / "README.md").write_text("about these")
    report = check_data(root)
    assert {name: [clip.name for clip in report.found(name)] for name in FOUND if report.found(name)} == {
        "missing": ["cat/annexed.wav"],
        "unreadable": ["cat/phone.m4a"],
        "left out": ["beside.wav", "cat/0.wav.bak", "cat/lost", "hound"],
        "hidden": ["cat/._0.wav", "cat/.ipynb_checkpoints/0.wav"],
        "linked again": ["dog/again"],
        "beside": ["README.md"],
    }
    assert "dog/more/3.WAV" in [clip.clip_id for clip in report.dataset.clips]
    assert main(["data", "check", str(root)]) == 1
    said = capsys.readouterr().out
    assert f"{root}/cat/annexed.wav: git-annex has not fetched it. Run `git annex get` on it.\n" in said
    assert "  hound: a link to " in said and "No problems found" not in said
    assert "6 files with errors, 0 with warnings." in said


def test_a_csv_file_lists_all_formats(tmp_path):
    """What a phone records is no fault of the list."""
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    write(tmp_path / "b.wav", noise(1))
    listed = tmp_path / "clips.csv"
    listed.write_text("path,label,fold\na.m4a,cat,1\nb.wav,dog,2\n")
    report = check_data(listed)
    assert [clip.name for clip in report.found("unreadable")] == ["a.m4a"]
    if pyav.load() is None:
        assert "Install the extra `loglearn_tf[av]` to read it" in report.found("unreadable")[0].message


def test_of_many_findings_five_are_shown(us8k, capsys):
    for at in range(9):
        write(us8k.add(f"same{at}.wav", 1, 0), noise(3))
        us8k.add(f"gone{at}.wav", 1, 0)
    assert main(["data", "check", str(us8k.root)]) == 1
    said = capsys.readouterr().out
    assert "error: 9 missing: " in said and "  gone4.wav\n  and 4 more\n" in said
    assert ": the same as same1.wav, same2.wav, same3.wav, same4.wav, same5.wav, and 3 more\n" in said


def test_a_csv_file_of_recordings(tmp_path):
    for number, name in enumerate(("cat.wav", "dog.flac", "extra.ogg")):
        write(tmp_path / "sounds" / name, noise(number), **({"subtype": "VORBIS"} if name.endswith("ogg") else {}))
    (tmp_path / "sounds" / "readme.txt").write_text("among others")
    listed = tmp_path / "clips.csv"
    write(tmp_path.parent / "elsewhere" / "cat.wav", noise(4))
    listed.write_text(
        "path,label,fold\nsounds/cat.wav,cat,1\nsounds/dog.flac,dog,2\nsounds/gone.wav,dog,1\n"
        "../elsewhere/cat.wav,cat,2\n"
    )
    report = check_data(listed)
    assert "../elsewhere/cat.wav" in [clip.file for clip in report.clips]
    assert [clip.name for clip in report.found("stray")] == ["sounds/extra.ogg"]
    assert [clip.name for clip in report.found("missing")] == ["sounds/gone.wav"]


def test_wrong_input_is_exit_code_2(us8k, tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 2
    assert "File or folder not found:" in capsys.readouterr().err
    with pytest.raises(MissingDataError, match="ASC-TUT metadata not found"):
        check_data(us8k.root, name="tut")
    us8k.rows[0] = us8k.rows[0].replace("air_conditioner", "fan")
    us8k.add("more.wav", 1, 0)
    with pytest.raises(DataError, match="unknown class 'fan'"):
        check_data(us8k.root)
    capsys.readouterr()
    assert main(["data", "check", str(us8k.root), "--data", "esc50"]) == 2
    assert "must name a data set" in capsys.readouterr().err


def test_the_layout_is_recognised(us8k, tut, tmp_path):
    assert detect_layout(us8k.root) == "us8k"
    us8k.root.rename(tmp_path / "UrbanSound8K")
    assert detect_layout(tmp_path / "UrbanSound8K") == "us8k"
    assert detect_layout(tut) == "tut"
    assert detect_layout(tut.parent) == "us8k"  # which holds UrbanSound8K
    assert detect_layout(tut / "TUT-acoustic-scenes-2017-evaluation") == "folder"


def test_checking_loads_no_tensorflow_but_for_its_decoder(us8k, monkeypatch):
    monkeypatch.setattr("loglearn_tf.audio.tensorflow_io.load", lambda: None)
    assert {clip.origin.decoder for clip in check_data(us8k.root).clips} == {"soundfile"}


def test_a_header_that_was_never_finished_is_a_warning(us8k, capsys):
    never_finished(write(us8k.add("recorder.wav", 1, 0), noise(7)))
    assert main(["data", "check", str(us8k.root)]) == 0
    said = capsys.readouterr().out
    assert "warning: 1 odd file" in said and "recorder.wav: " in said
    assert main(["data", "check", str(us8k.root), "--strict"]) == 1
