"""TensorFlow, loaded late, quietly and with the settings that make results repeatable."""

import os
from typing import Any


def be_quiet() -> None:
    """Keeps TensorFlow's start-up notes off the terminal; call before it is imported.

    Errors of TensorFlow still arrive as exceptions. The setting is inherited by worker processes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def tensorflow(*, parallel_calls: int = 1) -> Any:
    """Imports TensorFlow with one thread per operation and deterministic operations.

    The same settings and seed then give the same result, whatever the number of cores: sums of
    floats depend on how many threads share them. Cores are used by doing several things at once.

    Args:
        parallel_calls: Operations that may run side by side.
    """
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(parallel_calls)
    except RuntimeError:
        pass  # already running, as in a user's own process: its settings stay
    tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            # Several workers share a GPU; without this the first takes all of its memory.
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            pass  # already running
    return tf
