"""The list of data sets, with what is known about each before it is read."""

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
    """What the package needs to know about a data set; the clips on disk are a `DataSet`.

    Attributes:
        name: Name in settings, run folders and results.
        title: Full name: `"UrbanSound8K"`.
        short: Name in tables: `"US8K"`.
        load: Function that takes the root and, if it declares them, `load_dataset`'s keyword arguments
            `validation_fold`, `n_folds` and `allow_missing`, and returns a `DataSet`.
        classes: Class names, in the data set's order; empty if they depend on the root.
        test_folds: All possible test folds; empty if they depend on the root.
        tables: Numbers of its tables in the source, of accuracies and of differences; `None` if it has none.
        is_at: Whether a folder has its layout, for `loglearn data check`.
        check_root: Raises a `DataError` if a root is clearly something else, judging only by its folders and names, so
            that `loglearn plan` can report it; the root may be missing.
        listed_seconds: Clip -> length in seconds, according to the metadata.
        clips_of_fold: Fold -> number of clips in the complete data set; empty if it depends on the root. Used to
            estimate the cost of a study before the data are available.
        clip_seconds: Representative clip lengths, seconds.
        clip_folders: Function of the data set and the root it was loaded from that returns the folders in which every
            file should be a clip; `None` if clips may be among other files.
        synthetic: Function that makes a set of computed sounds in its layout, as `module:attribute`, or empty. It takes
            the root, `clips_per_class`, `seed` and `duration_s`, and optionally `folds`.
        n_counts: Number of values in that function's `clips_per_class`: 1, or the length of a tuple.
        download: `module:attribute` of a table, name -> parts, for `loglearn data get`; empty if it cannot be
            downloaded.
        download_root: Default folder for downloads.
        licence, citation: Licence and citation of the data set.
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
        """Loads the data set; options that its loader does not take are ignored."""
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
        name: `"us8k"`, `"tut"`, `"folder"`, or your own loader or `Corpus`: `"my_lab.data:load"`.
        root: Folder of the data set, in its official layout; for `"folder"` see `folder.load_folder`.
        validation_fold: Not for TUT; see `us8k.load_us8k`.
        n_folds: See `folder.load_folder`.
        allow_missing: Skip missing clips instead of raising.

    Raises:
        MissingDataError: If the root, the metadata or clips are missing.
        DataError: If the metadata does not follow the official layout, or your own loader returns an inconsistent data
            set.
        ConfigError: If there is no such data set.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = make_synthetic("us8k", folder + "/us8k", clips_per_class=[1], folds=[1, 2])
        ...     dataset = load_dataset("us8k", root, validation_fold="none")
        >>> len(dataset.clips), dataset.classes[0]
        (20, 'air_conditioner')
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
    """Makes a small data set of computed sounds in an official layout.

    Args:
        name: `"us8k"` or `"tut"`.
        root: Target folder.
        clips_per_class: One number, or one per part of the layout: for `"tut"`, development and evaluation.
        folds: Folds to make, if the layout has folds; `None` for all.
        seed: Seed of the sounds.
        duration_s: Maximum clip length, seconds; `None` for the official length.

    Returns:
        The root.

    Raises:
        ConfigError: If the data set cannot be made, or an argument is out of range.
        DataError: If the folder contains anything else, or a synthetic set with other parameters.
        StorageError: If it cannot be written.
    """
    corpus = DATASETS[name]
    if not corpus.synthetic:
        raise ConfigError(f"{corpus.title} has no synthetic form. {_known_synthetic()}")
    if len(clips_per_class) not in (1, corpus.n_counts):
        raise ConfigError(
            f"`clips_per_class` of {name} may have at most {corpus.n_counts} numbers. Received: "
            f"{list(clips_per_class)}."
        )
    # One number applies to all.
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
    return f"Available: {', '.join(names)}."


def _adopt(name: str, found: Any) -> Corpus:
    """Returns a record of the package unchanged; wraps any other loader so that its data sets are checked."""
    if isinstance(found, Corpus):
        return found if name in _OWN else replace(found, name=name, load=partial(_load_foreign, name, found.load))
    if not callable(found):
        raise ConfigError(
            f"Data set {printable(name)} must be a function from a root to a `DataSet`, or a "
            f"`Corpus`. Received: {shown(found)}."
        )
    title = name.rpartition(":")[2]
    return Corpus(name=name, title=title, short=title, load=partial(_load_foreign, name, found))


def _load_foreign(name: str, loader: Callable[..., Any], root: str | Path, **options: Any) -> DataSet:
    """Ensures what the package's own loaders guarantee: name, sorted existing clips, no fold in two roles."""
    found = loader(root, **accepted(loader, options))
    if not isinstance(found, DataSet):
        raise DataError(f"The loader of data set {name} must return a `DataSet`. Received: {type(found).__name__}.")
    for clip in found.clips:
        if not 0 <= clip.label < len(found.classes):
            raise DataError(
                f"Labels of data set {name} must be between 0 and {len(found.classes) - 1}. Received: {clip.label}, "
                f"for {printable(clip.clip_id)}."
            )
    for fold, train in found.train_folds.items():
        if fold in train:
            raise DataError(
                f"A fold of data set {name} must not be used for both training and test. Received: fold {fold}."
            )
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
