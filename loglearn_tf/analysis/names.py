"""Display names of data sets, networks and compressions, and the order in which they are listed.

Names from outside the package are shown as they are, since their code may not be installed where a report is written.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from loglearn_tf._util.registry import Registry
from loglearn_tf.datasets.registry import DATASETS
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.models.registry import MODELS


def n_test_folds(dataset: str) -> int | None:
    """The number of published test folds; `None` if the user decides."""
    found = DATASETS.own(dataset)
    return len(found.test_folds) or None if found else None


def table_numbers(dataset: str) -> tuple[int, int] | None:
    """The numbers of its tables of accuracies and of differences in the source; `None` if it has none."""
    found = DATASETS.own(dataset)
    return found.tables if found else None


def dataset_title(dataset: str) -> str:
    """Its full name: `UrbanSound8K`."""
    return _title(DATASETS, dataset)


def dataset_name(dataset: str) -> str:
    """Its short name, in headings and captions: `US8K`."""
    found = DATASETS.own(dataset)
    return dataset if found is None else found.short


def model_name(model: str) -> str:
    return _title(MODELS, model)


def compression_name(compression: str) -> str:
    return _title(COMPRESSIONS, compression)


def is_relative(row: Mapping[str, Any]) -> bool:
    """Whether the compression of a run uses mel power relative to the clip's level, so that its knee is a fraction.

    Runs record this; for runs of earlier versions, the record of the compression, or of the variant's layer, is used.
    For an outside layer in such a run it is unknown.
    """
    if row.get("relative") is not None:
        return row["relative"] is True
    name = row["compression"]
    variant = (row.get("identity") or {}).get("variants", {}).get(name, {})
    record = COMPRESSIONS.own(variant.get("layer", name))
    return record is not None and record.relative


def datasets_in_order(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The distinct data sets of these runs, in the order of their tables; unlisted ones last."""
    return _in_order((row["dataset"] for row in rows), DATASETS)


def models_in_order(models: Iterable[str]) -> list[str]:
    return _in_order(models, MODELS)


def compressions_in_order(compressions: Iterable[str]) -> list[str]:
    return _in_order(compressions, COMPRESSIONS)


def _title(registry: Registry[Any], name: str) -> str:
    record = registry.own(name)
    return name if record is None else str(record.title)


def _in_order(names: Iterable[str], registry: Registry[Any]) -> list[str]:
    order = [name for name in registry if registry.own(name)]
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))
