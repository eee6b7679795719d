"""Data sets: reads official layouts, or your own folders, into lists of labelled clips."""

from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.registry import DATASETS, Corpus, load_dataset, make_synthetic

__all__ = ["DATASETS", "Clip", "Corpus", "DataSet", "load_dataset", "make_synthetic"]
