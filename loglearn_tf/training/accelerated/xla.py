"""Elementwise expressions compiled by XLA: one pass over memory instead of one for each operation."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from loglearn_tf._util.streams import silent_libraries


def compiled(function: Callable[..., Any], dtypes: Sequence[str], ranks: Sequence[int]) -> Any:
    """Compiles a function of tensors of these dtypes and numbers of axes, of any sizes.

    XLA compiles it again for each size, which takes about 0.2 s. Without XLA the operations run one by one.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec([None] * rank, dtype) for dtype, rank in zip(dtypes, ranks, strict=True)]
    return tf.function(function, input_signature=signature, jit_compile=_is_available(), autograph=False)


@functools.cache
def _is_available() -> bool:
    """Whether this TensorFlow compiles for this processor; some builds do not."""
    import tensorflow as tf

    # The first compilation of a process writes three lines to standard error, whatever the level of messages.
    with tf.init_scope(), silent_libraries():
        try:
            tf.function(tf.identity, jit_compile=True, autograph=False)(tf.zeros([1]))
        except (tf.errors.OpError, ValueError):
            return False
    return True
