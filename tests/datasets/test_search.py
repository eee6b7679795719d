"""Every file in a folder is accounted for: to be read, or named with the reason."""

import os
import socket
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from loglearn_tf.audio import PYAV_SUFFIXES, SOUNDFILE_SUFFIXES, decode
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.check import ERRORS, NOTES, WARNINGS, check_data
from loglearn_tf.datasets.search import passed_over, search
from loglearn_tf.errors import AudioError, DataError, MissingDataError


def sound(path: Path, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        soundfile.write(file, np.random.default_rng(seed).uniform(-0.1, 0.1, 80), 8000, format="WAV")
    return path


def kinds(folder: Path, **options) -> dict[str, str]:
    return {entry.path.relative_to(folder).as_posix(): entry.kind for entry in search([folder], **options)}


@pytest.mark.parametrize("suffix", [*SOUNDFILE_SUFFIXES, *PYAV_SUFFIXES])
def test_what_is_read_is_searched_for(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    (tmp_path / f"b{suffix.upper()}").touch()
    assert set(kinds(tmp_path).values()) == {"sound"}


def test_names_that_do_not_say(tmp_path):
    for name in ("recording", "take.wav.bak", "take.wav~", ".take.wav"):
        sound(tmp_path / name)
    (tmp_path / "README").write_text("about these")
    assert kinds(tmp_path) == {
        "recording": "sound",
        "take.wav.bak": "odd name",
        "take.wav~": "odd name",
        ".take.wav": "hidden",
        "README": "other",
    }


@pytest.mark.parametrize(
    "name",
    [
        *(".git", ".ipynb_checkpoints", ".Trash", ".Trash-1000", ".stversions", ".cache", "__MACOSX", "@eaDir"),
        *("$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"),
    ],
)
def test_folders_that_systems_and_tools_leave(tmp_path, name):
    sound(tmp_path / "a.wav")
    sound(tmp_path / name / "deep" / "b.wav")
    (tmp_path / name / "away").symlink_to(tmp_path)
    assert kinds(tmp_path) == {"a.wav": "sound", f"{name}/deep/b.wav": "hidden", f"{name}/away": "hidden"}


@pytest.mark.parametrize("name", [".DS_Store", "._a.wav", "Thumbs.db", "desktop.ini", "Icon\r"])
def test_files_that_systems_leave(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert kinds(tmp_path) == {name: "hidden"}


def test_a_hidden_folder_can_be_named_itself(tmp_path):
    sound(tmp_path / ".cache" / "a.wav")
    assert kinds(tmp_path / ".cache") == {"a.wav": "sound"}


class TestLinks:
    def test_to_folders_are_followed(self, tmp_path):
        sound(tmp_path / "elsewhere" / "deep" / "a.wav")
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "more").symlink_to("../elsewhere")
        assert kinds(tmp_path / "here") == {"more/deep/a.wav": "sound"}

    def test_each_folder_once_where_it_is_without_a_link(self, tmp_path):
        sound(tmp_path / "z" / "a.wav")
        (tmp_path / "first").symlink_to("z")
        (tmp_path / "y").mkdir()
        (tmp_path / "y" / "again").symlink_to("../z")
        assert kinds(tmp_path) == {"z/a.wav": "sound", "first": "linked again", "y/again": "linked again"}
        assert "z, which is already read" in next(one.remark for one in search([tmp_path]) if one.path.name == "first")

    @pytest.mark.parametrize("target", [".", "..", "../..", "/", "loop"])
    def test_loops_end(self, tmp_path, target):
        sound(tmp_path / "set" / "dog" / "a.wav")
        (tmp_path / "set" / "dog" / "loop").symlink_to(target)
        found = kinds(tmp_path / "set")
        assert found.pop("dog/a.wav") == "sound"
        assert found == {"dog/loop": "broken link" if target == "loop" else "linked again"}

    def test_a_loop_through_a_folder_elsewhere(self, tmp_path):
        sound(tmp_path / "big" / "elsewhere" / "a.wav")
        sound(tmp_path / "big" / "of others.wav")
        (tmp_path / "big" / "elsewhere" / "up").symlink_to("..")
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "more").symlink_to("../big/elsewhere")
        assert kinds(tmp_path / "set") == {"more/a.wav": "sound", "more/up": "linked again"}

    def test_to_nothing(self, tmp_path):
        for name in ("a.wav", "folder of sounds"):
            (tmp_path / name).symlink_to(".git/annex/objects/x")
        found = search([tmp_path])
        assert [entry.kind for entry in found] == ["sound", "broken link"]
        assert "Run `git annex get` on it." in found[1].remark
        with pytest.raises(AudioError, match="git-annex has not fetched it"):
            decode(found[0].path)


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe")  # not opened: that would never return
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "folder").mkdir()
    sound(tmp_path / "deep.wav" / "a.wav")
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(tmp_path)  # names of sockets are short
        try:
            one.bind("socket.wav")
        finally:
            os.chdir(here)
        found = kinds(tmp_path)
    assert found == {
        "pipe.wav": "sound",
        "pipe": "other",
        "folder.wav": "sound",
        "deep.wav/a.wav": "sound",
        "socket.wav": "sound",
    }
    for name in ("pipe.wav", "folder.wav", "socket.wav"):
        with pytest.raises(AudioError, match="it is (not a regular file|a folder)"):
            decode(tmp_path / name)


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    sound(tmp_path / "dog" / "a.wav")
    sound(tmp_path / "rain" / "a.wav")
    list_folder = os.scandir

    def refuse(path):
        if os.path.basename(path) == "rain":
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert kinds(tmp_path) == {"dog/a.wav": "sound", "rain": "cannot be listed"}
    with pytest.raises(MissingDataError, match=r"rain cannot be listed: Permission denied. Check its permissions"):
        load_dataset("folder", tmp_path, n_folds=2, validation_fold="none")


def test_what_is_passed_over_is_said(tmp_path):
    for at in range(7):
        (tmp_path / f"notes {at}.txt").write_text("notes")
    (tmp_path / ".DS_Store").touch()
    sound(tmp_path / "a.wav")
    hidden, others = passed_over(search([tmp_path]), tmp_path)
    assert hidden == f"Skipped in {tmp_path}: 1 hidden files or files created by the system or a tool: .DS_Store."
    assert others.startswith(f"Skipped in {tmp_path}: 7 files that are not sound files: notes 0.txt, ")
    assert others.endswith("notes 4.txt, and 2 more.")


# ---- Any folder -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a.wav", "B.WAV", "c.m4a", "d", "e.txt", "f.wav.bak", ".g.wav", "._h.wav", "i.aifc", "é.flac"])
FOLDERS = st.sampled_from(["", "dog", "rain", "dog/old", "rain/.git", "dog/__MACOSX", ".Trash", "rain/x.wav"])
WHATS = st.sampled_from(
    ["sound", "sound", "sound", "text", "empty", "pipe", "annex", "link to file", "loop", "link to folder", "around"]
)


def make(root: Path, folder: str, name: str, what: str) -> None:
    path = root / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        return
    if what == "sound":
        sound(path, seed=hash_of(folder + name))
    elif what in ("text", "empty"):
        path.write_text("notes" if what == "text" else "")
    elif what == "pipe":
        os.mkfifo(path)
    else:
        targets = {"annex": "../.git/annex/objects/x", "loop": name, "around": ".."}
        targets |= {"link to file": str(root / "dog" / "0.wav"), "link to folder": str(root.parent / "elsewhere")}
        path.symlink_to(targets[what])


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode()[-6:], "big")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(FOLDERS, NAMES, WHATS), max_size=12))
def test_the_counts_add_up_to_what_is_on_disk(entries):
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "set")
        for label in ("dog", "rain"):
            for at in range(3):
                sound(root / label / f"{at}.wav", seed=at + 10 * (label == "dog"))
        elsewhere = {
            sound(Path(scratch, "elsewhere", name), seed=50 + at) for at, name in enumerate(("y.wav", "z.wav"))
        }
        for entry in entries:
            make(root, *entry)
        # By another way than the package's: `find` without following links.
        on_disk = {
            Path(folder, name)
            for folder, folders, files in os.walk(root)
            for name in [*files, *(one for one in folders if os.path.islink(Path(folder, one)))]
        }
        found = search([root])
        paths = Counter(entry.path for entry in found)
        assert set(paths.values()) == {1}, "each once"
        followed = {path.parent for path in paths} - {Path(folder) for folder, _, _ in os.walk(root)}
        assert len(followed) <= 1  # the folder elsewhere, by the first of its links
        through = {link / path.name for link in followed for path in elsewhere}
        empty = {Path(folder) for folder, folders, files in os.walk(root) if not folders and not files}
        assert set(paths) - empty == (on_disk - followed) | through
        by_kind = {path: entry.kind for path, entry in zip(paths, found, strict=True)}
        for path in on_disk - followed:
            hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)
            assert (by_kind[path] == "hidden") == hidden

        # `data check` names each file once, with its finding or as a good clip.
        report = check_data(root)
        files = Counter(clip.file or clip.name for clip in report.clips)
        assert files == Counter(path.relative_to(root).as_posix() for path in paths)
        findings = {clip.file or clip.name: set(clip.findings) for clip in report.clips}
        for clip in report.clips:
            assert not clip.findings or set(clip.findings) <= {*ERRORS, *WARNINGS, *NOTES}
            assert clip.origin is not None or clip.findings, "read, or a finding says why not"
        # A study reads all clips, or refuses what `data check` calls an error or a stray.
        lost = {name for name, its in findings.items() if its & {"missing", "left out", "stray"}}
        try:
            dataset = load_dataset("folder", root, n_folds=2, validation_fold="none")
        except (DataError, MissingDataError):
            assert lost
        else:
            assert not lost
            assert {clip.clip_id for clip in dataset.clips} == {
                name for name in findings if by_kind[root / name] == "sound"
            }
