"""Archives that are damaged, or made to do damage, end with a message that names them; whole ones come whole.

What may lie in one, and where, is tested with `loglearn data get` in test_official.py.
"""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from loglearn_tf.datasets.download import archives
from loglearn_tf.datasets.download.archives import list_files, unpack
from loglearn_tf.errors import DataError

SOUND = bytes(range(256)) * 400


def zipped(method: int = zipfile.ZIP_DEFLATED, name: str = "a/sound.wav") -> bytearray:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr(name, SOUND)
    return bytearray(target.getvalue())


def member(**attributes: object) -> bytes:
    """A tar of one file."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a/sound.wav")
        info.size = len(SOUND)
        for key, value in attributes.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(SOUND))
    return target.getvalue()


def unpack_all(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    unpack(tmp_path / name, list(list_files(tmp_path / name)), tmp_path / "out", on_bytes=lambda n: None)
    return tmp_path / "out"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_any_kind(tmp_path, method):
    assert (unpack_all(tmp_path, "whole.zip", zipped(method)) / "a" / "sound.wav").read_bytes() == SOUND


def test_a_tar(tmp_path):
    content = gzip.compress(member(pax_headers={"comment": "é"}))
    assert (unpack_all(tmp_path, "whole.tar.gz", content) / "a" / "sound.wav").read_bytes() == SOUND


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [45, -150, -130])
def test_a_damaged_file_in_a_zip_is_no_error_of_the_disk(tmp_path, method, at):
    """Each kind of compression has errors of its own; that of bzip2 is one of the system's."""
    content = zipped(method)
    content[at : at + 20] = b"\xff" * 20
    with pytest.raises(DataError, match=r"bad\.zip cannot be unpacked: .*\. Download the official file again"):
        unpack_all(tmp_path, "bad.zip", content)


def test_a_zip_with_a_name_that_is_no_text(tmp_path):
    content = bytes(zipped(name="é.wav")).replace("é".encode(), b"\xff\xfe")
    with pytest.raises(
        DataError,
        match=r"bad\.zip cannot be unpacked: 'utf-8' codec.*Download the official "
        r"file again",
    ):
        unpack_all(tmp_path, "bad.zip", content)


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"},  # its map is no map
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "ten"},
        {"GNU.sparse.map": "1,two", "GNU.sparse.size": "5"},
        {"GNU.sparse.size": "five"},
        {"size": "-5"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_tar_with_numbers_that_are_none(tmp_path, headers):
    with pytest.raises(DataError, match=r"bad\.tar\.gz cannot be unpacked: .*Download the official file again"):
        unpack_all(tmp_path, "bad.tar.gz", gzip.compress(member(pax_headers=headers)))


def test_a_tar_of_headers_of_headers(tmp_path):
    whole = member(pax_headers={"comment": "x"})
    with pytest.raises(DataError, match=r"bad\.tar\.gz cannot be unpacked: .*Download the official file again"):
        unpack_all(tmp_path, "bad.tar.gz", gzip.compress(whole[:1024] * 3000 + whole))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_tar_with_a_header_that_would_fill_the_memory(tmp_path, kind):
    """Packed to a thousandth, and read at once."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, 1 << 40
    with pytest.raises(DataError, match=r"bad\.tar\.gz cannot be unpacked: it has a header of 1,099,511,627,776 bytes"):
        unpack_all(tmp_path, "bad.tar.gz", gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))


@pytest.mark.parametrize("name", ["many.zip", "many.tar.gz"])
@pytest.mark.parametrize("kind", ["files", "folders"])
def test_more_entries_than_any_data_set_has(tmp_path, monkeypatch, name, kind):
    """However empty."""
    monkeypatch.setattr(archives, "_MOST_ENTRIES", 10)
    names = [f"a/{number}" + ("/" if kind == "folders" else "") for number in range(11)]
    target = io.BytesIO()
    if name == "many.zip":
        with zipfile.ZipFile(target, "w") as packed:
            for one in names:
                packed.writestr(one, b"")
    else:
        with tarfile.open(fileobj=target, mode="w:gz") as tar:
            for one in names:
                info = tarfile.TarInfo(one)
                info.type = tarfile.DIRTYPE if kind == "folders" else tarfile.REGTYPE
                tar.addfile(info)
    with pytest.raises(DataError, match=rf"{name} may contain at most 10 files and folders. Received: more. It is not"):
        unpack_all(tmp_path, name, target.getvalue())
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(archives, "_MOST_ENTRIES", 11)
    unpack_all(tmp_path, name, target.getvalue())


def test_an_archive_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(DataError, match=r"folder\.zip cannot be unpacked: .*directory"):
        list(list_files(tmp_path / "folder.zip"))
