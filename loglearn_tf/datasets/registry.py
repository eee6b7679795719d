"""The list of data sets, and what is known of each before one of them is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from loglearn_tf._util.files import storage
from loglearn_tf._util.registry import Registry, accepted, load
from loglearn_tf._util.text import printable, shown
from loglearn_tf.datasets.clips import N_FOLDS, VALIDATION_FOLD, DataSet, check_clips
from loglearn_tf.errors import ConfigError, DataError, LoglearnError


@dataclass(frozen=True)
class Corpus:
    """What the package needs to know of a data set; the clips on a disk are a `DataSet`.

    Attributes:
        name: In settings, run folders and results.
        title: On paper: `"UrbanSound8K"`.
        short: In tables: `"US8K"`.
        load: Given the root, and those of the keyword arguments `validation_fold`, `n_folds` and `allow_missing` of
            `load_dataset` that it takes, returns a `DataSet`.
        classes: Names, in the data set's own order; empty where the root decides.
        test_folds: All folds that may be test folds; empty where the root decides.
        tables: Numbers of its tables in the source, of accuracies and of differences; `None` where it has none there.
        is_at: Whether a folder has its layout, for `loglearn data check`.
        check_root: Raises a `DataError` where a root is plainly something else, by its folders and names alone, so that
            `loglearn plan` says so, too; nothing need be there.
        listed_seconds: Clip -> how long it lasts, as the metadata has it.
        clips_of_fold: Fold -> how many clips it has, all of it; empty where the root decides. What a study costs is
            estimated from them before the data are there.
        clip_seconds: Lengths of clips, those that stand for all: seconds.
        clip_folders: Given the data set and the root it was loaded from, the folders in which every file should be a
            clip; `None` where clips may lie among other files.
        synthetic: Function that makes a set of computed sounds in its layout, as `module:attribute`; empty where there
            is none. It takes the root, `clips_per_class`, `seed` and `duration_s`, and may take `folds`.
        n_counts: How many numbers `clips_per_class` of that function is: 1, or a tuple of more.
        download: `module:attribute` of a table, name -> its parts, for `loglearn data get`; empty where it cannot be
            downloaded.
        download_root: Folder that it is downloaded into, unless another is named.
        licence, citation: Of the data set.
    """

    name: str
    title: str
    short: str
    load: Callable[..., DataSet]
    classes: tuple[str, ...] = ()
    test_folds: tuple[int, ...] = ()
    tables: tuple[int, int] | None = None
    is_at: Callable[[Path], bool] = lambda root: False
    check_root: Callable[[Path], None] = lambda root: None
    listed_seconds: Callable[[DataSet], dict[str, float]] = lambda dataset: {}
    clips_of_fold: Mapping[int, int] = field(default_factory=dict)
    clip_seconds: tuple[float, ...] = ()
    clip_folders: Callable[[DataSet, Path], list[Path] | None] = lambda dataset, root: None
    synthetic: str = ""
    n_counts: int = 1
    download: str = ""
    download_root: str = ""
    licence: str = ""
    citation: str = ""

    def __call__(self, root: str | Path, **options: Any) -> DataSet:
        """Loads it; options that its loader does not take are left out."""
        return self.load(root, **accepted(self.load, options))


def load_dataset(
    name: str,
    root: str | Path,
    *,
    validation_fold: str = VALIDATION_FOLD,
    n_folds: int = N_FOLDS,
    allow_missing: bool = False,
) -> DataSet:
    """Reads a data set's metadata and checks that its clips are on disk.

    Args:
        name: `"us8k"`, `"tut"`, `"folder"`, or the place of a loader or a `Corpus` of your own: `"my_lab.data:load"`.
        root: Folder of the data set, in its official layout; for `"folder"` see `folder.load_folder`.
        validation_fold: Not for TUT; see `us8k.load_us8k`.
        n_folds: See `folder.load_folder`.
        allow_missing: Leave out clips that the disk lacks instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata does not follow the official layout, or a loader of your own returns a data set that
            contradicts itself.
        ConfigError: If there is no such data set.
    """
    DATASETS.check(name, setting="name")
    return DATASETS[name](root, validation_fold=validation_fold, n_folds=n_folds, allow_missing=allow_missing)


def make_synthetic(
    name: str,
    root: str | Path,
    *,
    clips_per_class: Sequence[int],
    folds: Sequence[int] | None = None,
    seed: int = 0,
    duration_s: float | None = None,
) -> Path:
    """Makes a small data set of computed sounds in the layout of another.

    Args:
        name: Of a data set that can be made: `"us8k"` or `"tut"`.
        root: Folder to make it in.
        clips_per_class: One number, or as many as the layout has: for `"tut"`, development and evaluation.
        folds: To make, where the layout has folds; `None` for all.
        seed: Of the sounds.
        duration_s: Seconds of the longest clips; `None` for the official length.

    Returns:
        The root.

    Raises:
        ConfigError: If the data set cannot be made, or an argument is out of range.
        DataError: If the folder holds anything else, or a synthetic set of other parameters.
        StorageError: If it cannot be written.
    """
    corpus = DATASETS[name]
    if not corpus.synthetic:
        raise ConfigError(f"{corpus.title} has no synthetic form. {_known_synthetic()}")
    if len(clips_per_class) not in (1, corpus.n_counts):
        raise ConfigError(
            f"`clips_per_class` of {name} must have at most {corpus.n_counts} numbers. Received: "
            f"{list(clips_per_class)}."
        )
    # One number serves for all.
    counts = tuple(clips_per_class) if len(clips_per_class) > 1 else tuple(clips_per_class) * corpus.n_counts
    optional = {"folds": None if folds is None else tuple(folds), "duration_s": duration_s}
    make = load(corpus.synthetic, what=f"the generator of {name}")
    given = {key: value for key, value in optional.items() if value is not None}
    given |= {"clips_per_class": counts if corpus.n_counts > 1 else counts[0], "seed": seed}
    try:
        with storage(Path(root)):
            made: Path = make(root, **accepted(make, given))
    except LoglearnError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return made


def _known_synthetic() -> str:
    names = [name for name in DATASETS if (corpus := DATASETS.own(name)) is not None and corpus.synthetic]
    return f"Those that can be made: {', '.join(names)}."


def _adopt(name: str, found: Any) -> Corpus:
    """A record of the package as it is; of a loader from elsewhere, one whose data sets are checked."""
    if isinstance(found, Corpus):
        return found if name in _OWN else replace(found, name=name, load=partial(_load_foreign, name, found.load))
    if not callable(found):
        raise ConfigError(
            f"Data set {printable(name)} must be a function that takes the root and returns a `DataSet`, or a "
            f"`Corpus`. Received: {shown(found)}."
        )
    title = name.rpartition(":")[2]
    return Corpus(name=name, title=title, short=title, load=partial(_load_foreign, name, found))


def _load_foreign(name: str, loader: Callable[..., Any], root: str | Path, **options: Any) -> DataSet:
    """What loaders of the package see to themselves: one name, clips in order that are there, no fold in two roles."""
    found = loader(root, **accepted(loader, options))
    if not isinstance(found, DataSet):
        raise DataError(f"The loader of data set {name} must return a `DataSet`. Received: {type(found).__name__}.")
    for clip in found.clips:
        if not 0 <= clip.label < len(found.classes):
            raise DataError(
                f"Labels of data set {name} must be from 0 to {len(found.classes) - 1}. Received: {clip.label}, of "
                f"{printable(clip.clip_id)}."
            )
    for fold, train in found.train_folds.items():
        if fold in train:
            raise DataError(f"A fold of data set {name} must not train and test. Received: fold {fold}.")
    checked = check_clips(
        replace(found, name=name, official=False),
        metadata=Path(root),
        allow_missing=bool(options.get("allow_missing")),
    )
    return replace(checked, missing=found.missing or checked.missing)


_OWN = {
    "us8k": "loglearn_tf.datasets.us8k:US8K",
    "tut": "loglearn_tf.datasets.tut:TUT",
    "folder": "loglearn_tf.datasets.folder:FOLDER",
}
DATASETS: Registry[Corpus] = Registry("data set", group="loglearn_tf.datasets", own=_OWN, adopt=_adopt)
