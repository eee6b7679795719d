"""TUT Acoustic Scenes 2017 (ASC-TUT) in its official layout: development set for training, evaluation set for test."""

import re
from collections.abc import Iterator
from pathlib import Path

from loglearn_tf._util.text import file_name, printable, shown
from loglearn_tf.datasets.clips import TEST, TRAIN, Clip, DataSet, check_clips, is_synthetic, read_lines
from loglearn_tf.datasets.layouts import find_folders, scenes_of
from loglearn_tf.datasets.registry import Corpus
from loglearn_tf.errors import DataError, MissingDataError

CLASSES = (
    "beach",
    "bus",
    "cafe/restaurant",
    "car",
    "city_center",
    "forest_path",
    "grocery_store",
    "home",
    "library",
    "metro_station",
    "office",
    "park",
    "residential_area",
    "train",
    "tram",
)
DEVELOPMENT, EVALUATION = TRAIN, TEST
_PREFIX = "TUT-acoustic-scenes-2017-"
_INSIDE = ("meta.txt", "evaluation_setup", "audio")  # in each part
_PARTS = {"development": DEVELOPMENT, "evaluation": EVALUATION}


def load_tut(root: str | Path, *, allow_missing: bool = False) -> DataSet:
    """Reads ASC-TUT from `TUT-acoustic-scenes-2017-{development,evaluation}/`.

    Labels come from `meta.txt`; if that is missing, from the lists in `evaluation_setup/`.

    Args:
        root: The folder that contains both.
        allow_missing: Skip missing clips instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata is not in the official form or names an unknown scene.

    Reference:
        Mesaros, Heittola and Virtanen, 2017; doi 10.5281/zenodo.400515 and 10.5281/zenodo.1040168.
    """
    root = Path(root)
    clips = [clip for part in _PARTS for clip in _read_clips(root, part)]
    dataset = DataSet(
        name="tut",
        root=root,
        classes=CLASSES,
        clips=tuple(clips),
        train_folds={EVALUATION: (DEVELOPMENT,)},
        synthetic=is_synthetic(root),
        official=True,
    )
    return check_clips(dataset, metadata=root / "TUT-acoustic-scenes-2017-*" / "meta.txt", allow_missing=allow_missing)


def check_part(root: str | Path, part: str) -> None:
    """Raises what `load_tut` would raise for one part, `"development"` or `"evaluation"`."""
    root = Path(root)
    clips = tuple(_read_clips(root, part))
    metadata = _folder(root, part) / "meta.txt"
    dataset = DataSet("tut", root, CLASSES, clips, train_folds={}, official=True)
    check_clips(dataset, metadata=metadata, allow_missing=False)


def _folder(root: Path, part: str) -> Path:
    """The folder of a part; some tools add a folder with the archive's name, or unpack the parts elsewhere."""
    name = f"{_PREFIX}{part}"
    official = root / name
    if (official / "audio").is_dir() or (official / "meta.txt").is_file():
        return official
    found = [folder for folder in find_folders(root, name) if any((folder / inside).exists() for inside in _INSIDE)]
    if len(found) > 1:
        raise DataError(
            f"{root} contains several folders {name}: {', '.join(map(file_name, found))}. Name the folder of "
            "one: `data.root=`."
        )
    return found[0] if found else official


def _read_clips(root: Path, part: str) -> Iterator[Clip]:
    folder = _folder(root, part)
    for name, (label, location) in _read_labels(folder).items():
        yield Clip(
            clip_id=f"{part}/{Path(name).name}", path=folder / name, label=label, fold=_PARTS[part], group=location
        )


def _read_labels(folder: Path) -> dict[str, tuple[int, str]]:
    """File, such as `audio/b020_90_100.wav` -> label and recording, the id of its location, `b020`."""
    lists = [folder / "meta.txt"]
    if not lists[0].is_file():
        setup = folder / "evaluation_setup"
        lists = sorted(setup.glob("fold*_train.txt")) + sorted(setup.glob("fold*_evaluate.txt"))
        lists += sorted(setup.glob("evaluate.txt"))
    if not lists and any((folder / "evaluation_setup").glob("*test.txt")):
        raise _without_labels(folder)
    if not lists:
        raise MissingDataError(
            f"ASC-TUT metadata not found: {folder / 'meta.txt'}. Put the data set there, or name the folder that "
            "contains TUT-acoustic-scenes-2017-development: `data.root=/path` (`make tut DATA=/path`). "
            f"`loglearn data get tut` downloads it (data/README.md). {scenes_of(folder.parent)}".rstrip()
        )
    labels: dict[str, tuple[int, str]] = {}
    in_meta = lists[0].name == "meta.txt"
    for path in lists:
        lines = list(read_lines(path))
        if lines and all(re.fullmatch(r"audio/\S+", line.strip()) for _, line in lines):
            raise _without_labels(folder)
        for where, line in lines:
            name, label, location = _read_line(line, where)
            # The lists of the four development folds overlap; meta.txt names every file once.
            if name in labels and (in_meta or labels[name][0] != label):
                raise DataError(f"{where}: {printable(name)} is listed twice. Restore the official file.")
            labels[name] = label, location
    without = [name for name, (_, location) in labels.items() if not location]
    if in_meta and 0 < len(without) < len(labels):
        raise DataError(
            f"{lists[0]} must name the location of every file in its third column, or of none. Missing for "
            f"{printable(without[0])}. Restore the official file."
        )
    return labels


def _without_labels(folder: Path) -> MissingDataError:
    """Detects the evaluation set as published during the challenge."""
    return MissingDataError(
        f"{folder} has no labels: its lists contain only file names. Unpack {folder.name}.meta.zip there, with "
        "meta.txt; `loglearn data get tut` downloads it (data/README.md)."
    )


def _read_line(line: str, where: str) -> tuple[str, int, str]:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) < 2:
        raise DataError(f"{where}: must be a file and a scene, separated by a tab. Received: {shown(line)}.")
    name, scene = fields[:2]
    if Path(name).parent != Path("audio"):
        raise DataError(f"{where}: the file must be in audio/. Received: {shown(name)}.")
    if scene not in CLASSES:
        raise DataError(f"{where}: unknown class {shown(scene)}. ASC-TUT's scenes are {', '.join(CLASSES)}.")
    # In the third column; in lists without it, file names of the development set begin with it.
    named = re.fullmatch(r"audio/([a-z]\d+)_\d+_\d+\.wav", name)
    location = fields[2] if len(fields) > 2 else named[1] if named else ""
    return name, CLASSES.index(scene), location


def _listed_seconds(dataset: DataSet) -> dict[str, float]:
    """The segment in an official name, recording and seconds: b020_90_100.wav; generated names have none."""
    named = ((clip.clip_id, re.fullmatch(r".*_(\d+)_(\d+)\.wav", clip.clip_id)) for clip in dataset.clips)
    return {} if dataset.synthetic else {clip_id: float(name[2]) - float(name[1]) for clip_id, name in named if name}


TUT = Corpus(
    name="tut",
    title="TUT Acoustic Scenes 2017",
    short="ASC-TUT",
    load=load_tut,
    classes=CLASSES,
    test_folds=(EVALUATION,),
    tables=(3, 4),
    is_at=lambda root: any(_folder(root, part).is_dir() for part in _PARTS),
    listed_seconds=_listed_seconds,
    clips_of_fold={DEVELOPMENT: 4680, EVALUATION: 1620},
    clip_seconds=(10.0,),
    clip_folders=lambda dataset, root: [_folder(dataset.root, part) / "audio" for part in _PARTS],
    synthetic="loglearn_tf.datasets.synthetic:make_tut",
    n_counts=2,  # development and evaluation
    download="loglearn_tf.datasets.download.official:PARTS",
    download_root="data/TUT2017",
    licence="its own, for non-commercial use, which comes with it",
    citation="Mesaros, Heittola and Virtanen, 2017; doi 10.5281/zenodo.400515 and 10.5281/zenodo.1040168",
)
