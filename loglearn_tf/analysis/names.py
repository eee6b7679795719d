"""What data sets, networks and compressions are called on paper, and the order in which they are listed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetNames:
    """How a data set appears in tables and texts.

    Attributes:
        title: Its full name.
        short: Its name in headings and captions.
        n_folds: Test folds that it is published with; `None` where that is left to the user.
        tables: The numbers of its tables of accuracy and of differences in the source; `None` where it has none.
    """

    title: str
    short: str
    n_folds: int | None = None
    tables: tuple[int, int] | None = None


_DATASETS = {
    "us8k": DatasetNames("UrbanSound8K", "US8K", n_folds=10, tables=(1, 2)),
    "tut": DatasetNames("TUT Acoustic Scenes 2017", "ASC-TUT", n_folds=1, tables=(3, 4)),
    "folder": DatasetNames("Own recordings", "Own recordings"),
}
_MODELS = {"sb_cnn": "SB-CNN", "vgg": "VGG", "timbre": "TIMBRE", "prototypical": "Prototypical"}
# The baseline first, as one reads a comparison.
_COMPRESSIONS = {
    "logeps": "log-EPS",
    "loglearn": "loglearn",
    "loglearn_per_band": "loglearn (per band)",
    "loglearn_adapted": "loglearn (adapted)",
    "loglearn_knee": "loglearn (knee alone)",
    "log": "log(10000 X + 1)",
    "log1p_learn": "log1p (learned)",
    "power": "power (learned)",
    "pcen": "PCEN",
    "pcen_learn": "PCEN (learned)",
    "none": "none",
}


def dataset_names(dataset: str) -> DatasetNames:
    """Of a data set that is not listed, its own name."""
    return _DATASETS.get(dataset) or DatasetNames(dataset, dataset)


def dataset_name(dataset: str) -> str:
    return dataset_names(dataset).short


def model_name(model: str) -> str:
    return _MODELS.get(model, model)


def compression_name(compression: str) -> str:
    return _COMPRESSIONS.get(compression, compression)


def datasets_in_order(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The data sets of these runs, each once, in the order of their tables; those that are not listed at the end."""
    return _in_order((row["dataset"] for row in rows), list(_DATASETS))


def models_in_order(models: Iterable[str]) -> list[str]:
    return _in_order(models, list(_MODELS))


def compressions_in_order(compressions: Iterable[str]) -> list[str]:
    return _in_order(compressions, list(_COMPRESSIONS))


def _in_order(names: Iterable[str], order: list[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
