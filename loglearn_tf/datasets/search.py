"""Searches folders for sound files and classifies every file found."""

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from loglearn_tf._util.text import file_name, first_few, printable
from loglearn_tf.errors import MissingDataError

SOME_SUFFIXES = ".wav, .flac, .mp3, .ogg, .m4a ..."  # for messages
# Files that systems and tools create, in addition to names that begin with a dot.
_LEFT_BY_SYSTEMS = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"),
    *("__pycache__", "thumbs.db", "desktop.ini", "icon\r"),
}

Kind = Literal["sound", "odd name", "broken link", "cannot be listed", "hidden", "linked again", "other"]


@dataclass(frozen=True)
class Entry:
    """One file, or a folder that is not searched.

    Attributes:
        path: Path, starting with the folder as given.
        kind: `"sound"`: has the name of a sound file, whatever it contains, or no suffix and the content of one. `"odd
            name"`: has the content of a sound file but another suffix. `"broken link"`: target missing, and not named
            like a sound file (it may be a folder). `"cannot be listed"`: a folder. `"hidden"`: by its name or that of
            its folder. `"linked again"`: a link to a folder that is already read, or that contains the link. `"other"`:
            not a sound.
        remark: Reason, if the kind does not explain it, as a clause about "it".
    """

    path: Path
    kind: Kind
    remark: str = ""


def search(folders: Iterable[Path], *, deep: bool = True) -> list[Entry]:
    """Lists every file in folders, ordered by path.

    Links to folders are followed, and each folder is read once: first without links, then by links in name order. So a
    file has one path, the same on every machine, and loops end.

    Args:
        folders: Folders to search.
        deep: Whether to search subfolders.
    """
    walk = _Walk(deep)
    for folder in folders:
        walk.go_through(folder)
    walk.follow_links()
    return sorted(walk.found, key=lambda entry: entry.path)


def check_listed(entries: Iterable[Entry]) -> None:
    """Raises `MissingDataError` for the first folder that cannot be listed."""
    for entry in entries:
        if entry.kind == "cannot be listed":
            raise MissingDataError(
                f"Folder {file_name(entry.path)} cannot be listed: {entry.remark}. Check its permissions or name "
                "other folders."
            )


def passed_over(entries: Sequence[Entry], folder: Path) -> Iterator[str]:
    """One line for each kind of skipped entry."""
    for kind in get_args(Kind):
        names = [os.path.relpath(entry.path, folder) for entry in entries if entry.kind == kind]
        if names and kind in MEANING:
            few = ", ".join(first_few(names, show=printable))
            yield f"Skipped in {printable(str(folder))}: {len(names):,} {MEANING[kind]}: {few}."


# Kinds that are not errors.
MEANING = {
    "hidden": "hidden files or files created by the system or a tool",
    "linked again": "links to folders that are already read or that contain the link",
    "other": "files that are not sound files",
}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or created by the system or a tool."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_named_as_sound(name: str) -> bool:
    """Whether a name has the suffix of a sound file, in any case."""
    # Imported here and below, since these need soundfile, which `loglearn plan` does without.
    from loglearn_tf.audio.formats import PYAV_SUFFIXES, SOUNDFILE_SUFFIXES

    return name.lower().endswith(SOUNDFILE_SUFFIXES + PYAV_SUFFIXES)


def is_around(folder: str, inner: str) -> bool:
    """Whether a folder is the same as another or contains it, by their real paths."""
    return os.path.join(inner, "").startswith(os.path.join(folder, ""))


class _Walk:
    def __init__(self, deep: bool) -> None:
        self.found: list[Entry] = []
        self._deep = deep
        self._read: dict[str, Path] = {}  # real path -> path used
        self._links: list[Path] = []

    def follow_links(self) -> None:
        heapq.heapify(self._links)
        while self._links:
            link = heapq.heappop(self._links)
            real, around = os.path.realpath(link), os.path.realpath(link.parent)
            if real in self._read:
                self._add(link, "linked again", f"a link to {file_name(self._read[real])}, which is already read")
            elif is_around(real, around):
                self._add(link, "linked again", f"a link to {file_name(real)}, which contains it")
            else:
                self.go_through(link)

    def go_through(self, top: Path) -> None:
        """All files of a folder and its subfolders, except links."""
        waiting = [(top, False)]
        while waiting:
            folder, hidden = waiting.pop()
            real = os.path.realpath(folder)
            if real in self._read:
                self._add(
                    folder, "linked again", f"the same folder as {file_name(self._read[real])}, which is already read"
                )
                continue
            self._read[real] = folder
            try:
                with os.scandir(folder) as entries:
                    inside = [(one.name, one.is_symlink(), one.is_dir(follow_symlinks=False)) for one in entries]
            except OSError as error:
                self._add(folder, "hidden" if hidden else "cannot be listed", error.strerror or str(error))
                continue
            for name, is_link, is_folder in inside:
                path = folder / name
                below = hidden or is_hidden(name)
                if not (is_folder or (is_link and os.path.isdir(path))):
                    self._add(path, *(("hidden", "") if below else _kind_of_file(path, is_link)))
                elif below and is_link:
                    self._add(path, "hidden")
                elif not self._deep:
                    continue
                elif is_link:
                    heapq.heappush(self._links, path)
                else:
                    waiting.append((path, below))
            if not inside and not hidden and folder != top and is_named_as_sound(folder.name):
                self._add(folder, "sound")  # decoding will report what it is

    def _add(self, path: Path, kind: Kind, remark: str = "") -> None:
        self.found.append(Entry(path, kind, remark))


def _kind_of_file(path: Path, is_link: bool) -> tuple[Kind, str]:
    from loglearn_tf.audio.faults import not_found
    from loglearn_tf.audio.recognise import begins_as_sound

    if is_named_as_sound(path.name):
        return "sound", ""
    if is_link and not os.path.exists(path):
        return "broken link", str(not_found(path))
    # Regular files only: opening a pipe might block forever.
    if os.path.isfile(path) and begins_as_sound(path):
        return ("odd name", "has the content of a sound file but not the name of one") if path.suffix else ("sound", "")
    return "other", ""
