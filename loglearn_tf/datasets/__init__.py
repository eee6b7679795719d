"""Data sets: official layouts, or folders of one's own, on disk in, lists of labelled clips out."""

from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.registry import DATASETS, Corpus, load_dataset, make_synthetic

__all__ = ["DATASETS", "Clip", "Corpus", "DataSet", "load_dataset", "make_synthetic"]
