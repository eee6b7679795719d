"""ESC-50 and ESC-10 as published, whose five folds are official: read by `folder`, with these folds."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loglearn_tf._util.text import file_name, first_few, printable, shown
from loglearn_tf.datasets.clips import read_rows
from loglearn_tf.datasets.layouts import ESC50_LIST, find_files
from loglearn_tf.errors import DataError

# `fold-source-take`, followed by `-class` in ESC-50.
_NAME = re.compile(r"([1-5])-\d+-[A-Z](-\d+)?\.(ogg|wav|flac)", re.IGNORECASE)
_COLUMNS = ("filename", "fold", "category")


class Esc50(NamedTuple):
    """ESC-50 as given by its list."""

    metadata: Path
    audio: Path  # the folder of all clips
    rows: list[tuple[str, str, int]]  # file name, class, fold


def read_esc50(root: Path) -> Esc50 | None:
    """Reads ESC-50 from its list `esc50.csv`, which is in `meta/` next to `audio/`, or where mirrors put it.

    Returns:
        None if there is no such list in the folder or slightly below.

    Raises:
        DataError: If there are several, or it is not in the published form.

    Reference:
        Piczak, 2015; doi 10.1145/2733373.2806390, github.com/karolpiczak/ESC-50.
    """
    lists = find_files(root, ESC50_LIST)
    if not lists:
        return None
    if len(lists) > 1:
        raise DataError(
            f"{root} contains several lists: {', '.join(map(file_name, lists))}. Name the folder of one: `data.root=`."
        )
    metadata = lists[0]
    restore = "Restore the published file."
    rows = []
    for where, row in read_rows(metadata, _COLUMNS, lacking=restore, remedy=restore):
        name, fold, label = (row[column] or "" for column in _COLUMNS)
        if not name or Path(name).name != name or not label or fold not in ("1", "2", "3", "4", "5"):
            raise DataError(
                f"{where}: must have a file name, a fold from 1 to 5 and a category. Received: {shown(name)}, "
                f"{shown(fold)}, {shown(label)}. {restore}"
            )
        rows.append((name, label, int(fold)))
    above = metadata.parent
    places = [above.parent / "audio", above / "audio", above / "audio" / "audio", above, above.parent]
    audio = next((place for place in places if any((place / name).is_file() for name, _, _ in rows)), places[0])
    return Esc50(metadata, audio, rows)


def folds_by_name(root: Path, names: Sequence[str]) -> list[int] | None:
    """The folds of recordings in class folders whose names start with the fold, as in ESC-10 and ESC-50.

    Args:
        root: Their folder, for messages.
        names: Paths in it, such as `001 - Dog bark/1-30226-A.ogg`.

    Returns:
        The fold of each; None if they have other names.

    Raises:
        DataError: If most but not all have such names.
    """
    found = [_NAME.fullmatch(name.rpartition("/")[2]) for name in names]
    others = [name for name, match in zip(names, found, strict=True) if match is None]
    if len(others) > len(names) / 2 or not names:
        return None
    if others:
        raise DataError(
            f"{root} contains recordings with names like ESC-50, starting with the fold (1-30226-A.ogg), and others: "
            f"{', '.join(first_few(others, show=printable))}. Move these away, or list all in a CSV file with the "
            "columns path, label and fold."
        )
    folds = [int(match[1]) for match in found if match]
    return folds if len(set(folds)) > 1 else None
