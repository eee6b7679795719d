"""From clips to mel power, computed once and memory-mapped afterwards."""

from loglearn_tf.features.build import build_store
from loglearn_tf.features.store import MelStore

__all__ = ["MelStore", "build_store"]
