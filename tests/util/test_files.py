"""A file is there whole, with its old content, or not at all: whatever happens while it is written."""

import json
import os
import stat

import pytest

from loglearn_tf._util.files import is_scratch, replacing, write_file, write_json, write_text
from loglearn_tf.errors import StorageError


class Stopped(BaseException):
    """As `KeyboardInterrupt`: not an `Exception`."""


@pytest.fixture
def umask():
    """Sets the umask, and sets it back."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "runs" / "us8k" / "results.csv"  # folders are made
    write_file(path, lambda file: file.write(b"a,b\n"))
    assert path.read_bytes() == b"a,b\n"
    assert names(path.parent) == ["results.csv"]


def test_readers_see_the_old_content_until_the_new_is_whole(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    seen = []

    def write(file):
        file.write(b"new, ")
        file.flush()
        seen.append(path.read_text())
        file.write(b"all of it")

    write_file(path, write)
    assert seen == ["old"]
    assert path.read_text() == "new, all of it"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), StorageError), (Stopped(), Stopped)],
    ids=["full disk", "interrupt"],
)
@pytest.mark.parametrize("before", [None, "old"])
def test_a_failing_writer_changes_nothing(tmp_path, before, error, raised):
    path = tmp_path / "result.json"
    if before is not None:
        path.write_text(before)

    def write(file):
        file.write(b"half of it")
        raise error

    with pytest.raises(raised) as caught:
        write_file(path, write)
    if raised is StorageError:
        assert f"Cannot write {path}: No space left on device. Free some space" in str(caught.value)
    assert names(tmp_path) == ([] if before is None else ["result.json"])
    assert before is None or path.read_text() == before


def test_a_failing_rename_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "result.json"
    path.mkdir()  # cannot be replaced by a file
    with pytest.raises(StorageError, match="Is a directory"):
        write_text(path, "text")
    assert names(tmp_path) == ["result.json"]


@pytest.mark.skipif(os.name != "posix", reason="umask is POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mask, mode):
    umask(mask)
    path = tmp_path / "results.csv"
    write_text(path, "shared with colleagues")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.umask(mask) == mask  # reading it left it as it was


def test_text_is_utf8_with_its_line_ends(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "Serrà\nα\r\n")
    assert path.read_bytes() == b"Serr\xc3\xa0\n\xce\xb1\r\n"


def test_json_has_the_same_bytes_whatever_the_order_of_keys(tmp_path):
    write_json(tmp_path / "one.json", {"alpha": 1096.633, "accuracy": 0.5, "nested": {"b": None, "a": [1]}})
    write_json(tmp_path / "other.json", {"nested": {"a": [1], "b": None}, "accuracy": 0.5, "alpha": 1096.633})
    text = (tmp_path / "one.json").read_text()
    assert text == (tmp_path / "other.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {"accuracy": 0.5, "alpha": 1096.633, "nested": {"a": [1], "b": None}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_what_is_not_json(tmp_path, value):
    """Python's own `NaN` is read by no other JSON parser; a lost number must not reach a table."""
    path = tmp_path / "result.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"accuracy": {"mean": value}})
    assert names(tmp_path) == ["result.json"]
    assert path.read_text() == "{}"


class TestReplacing:
    @pytest.fixture(params=["nothing", "file", "folder"])
    def place(self, request, tmp_path):
        """A path, and how to look at what is there."""
        path = tmp_path / "deep" / "model"
        if request.param != "nothing":
            path.parent.mkdir()
        if request.param == "file":
            path.write_text("old")
        if request.param == "folder":
            path.mkdir()
            (path / "old").write_text("old")
        return path

    def look(self, path):
        if path.is_dir():
            return names(path)
        return path.read_text() if path.exists() else None

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_what_is_new_takes_the_place_at_the_end(self, place, kind):
        before = self.look(place)
        with replacing(place) as new:
            assert not new.exists() and new.name == place.name
            if kind == "file":
                new.write_text("new")
            else:
                new.mkdir()
                (new / "new").write_text("new")
            assert self.look(place) == before
        assert self.look(place) == ("new" if kind == "file" else ["new"])
        assert names(place.parent) == ["model"]

    @pytest.mark.parametrize("error", [Stopped(), RuntimeError("its own"), None], ids=["interrupt", "own", "nothing"])
    def test_what_was_there_stays_where_writing_fails(self, place, error):
        before = self.look(place)
        with pytest.raises(type(error) if error else StorageError), replacing(place) as new:
            if error:
                new.write_text("half")
                raise error
        assert self.look(place) == before
        assert names(place.parent) == ([] if before is None else ["model"])


def test_what_a_killed_writer_leaves_is_told_from_other_files(tmp_path):
    seen = []
    write_file(tmp_path / "a.wav", lambda file: seen.extend(tmp_path.iterdir()))
    assert len(seen) == 1 and is_scratch(seen[0])
    assert not any(is_scratch(tmp_path / name) for name in ("a.wav", ".hidden", "a.wav.part", ".a.part"))
