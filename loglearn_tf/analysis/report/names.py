"""What data sets, networks and compressions are called on paper, and in which order they stand."""

from collections.abc import Iterable
from typing import Any

from loglearn_tf.errors import DataError

_DATASETS = {"us8k": "US8K", "tut": "ASC-TUT", "folder": "Own recordings"}
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


def dataset_name(dataset: str) -> str:
    return _DATASETS.get(dataset, dataset)


def model_name(model: str) -> str:
    return _MODELS.get(model, model)


def compression_name(compression: str) -> str:
    return _COMPRESSIONS.get(compression, compression)


def models_in_order(models: Iterable[str]) -> list[str]:
    """Each once, as the source lists them; names it does not know at the end."""
    return _in_order(models, list(_MODELS))


def compressions_in_order(compressions: Iterable[str]) -> list[str]:
    return _in_order(compressions, list(_COMPRESSIONS))


def datasets_in_order(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The data sets that rows of `read_runs` speak of.

    Raises:
        DataError: If one is of none that there are tables for.
    """
    found = {row["dataset"] for row in rows}
    unknown = sorted(found - set(_DATASETS))
    if unknown:
        raise DataError(
            f"`dataset` of a run must be one of {', '.join(_DATASETS)}. Received: {unknown[0]!r}. Remove the folders "
            "of its runs from the study."
        )
    return _in_order(found, list(_DATASETS))


def _in_order(names: Iterable[str], order: list[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
