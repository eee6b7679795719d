"""Clips to mel power: computed once, memory-mapped ever after."""

from loglearn_tf.features.build import build_store
from loglearn_tf.features.store import MelStore

__all__ = ["MelStore", "build_store"]
