"""TensorFlow, loaded late, quietly and with settings for repeatable results.

For processes that belong to this package: the command line and workers call these functions at their start. Code that
is imported into or called from other programs never does.
"""

import importlib
import logging
import os
import sys
from typing import Any

# Packages that Keras imports if they are installed, for wrappers and plots not used here: a third of the start time of
# a worker.
_UNUSED_BY_KERAS = ("matplotlib", "pandas", "sklearn")


def be_quiet() -> None:
    """Suppresses TensorFlow's start-up messages unless the environment asks for them; call before importing it.

    Errors of TensorFlow are still raised as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").addFilter(_is_no_retracing)
    # If it cannot write its settings folder, it prints a long note about using a temporary one.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Every run has a network of its own, which is traced once; TensorFlow takes them for one that is traced again."""
    return "triggered tf.function retracing" not in str(record.msg)


def available_cores() -> int:
    """Number of cores available to this process; under a batch system fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_memory_mib() -> float | None:
    """Memory of this machine; `None` if unknown (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (AttributeError, OSError, ValueError):
        return None


def tensorflow(*, threads: int = 1, parallel_calls: int = 1, gpu: int | None = 0) -> Any:
    """Imports TensorFlow with few threads per operation and deterministic operations, and Keras with its defaults.

    The same settings and seed then give the same result, whatever the number of cores, since sums of floats depend on
    how many threads share them. Cores are used by running several operations at once.

    Args:
        threads: Threads per operation.
        parallel_calls: Number of operations that may run in parallel.
        gpu: If TensorFlow sees GPUs, the index of the one to use, modulo their number, so that numbered workers spread
            evenly; `None` for none.
    """
    # User settings in the environment or ~/.keras/keras.json could change results or fail.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    tf = _import_tensorflow()
    _set_keras()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(parallel_calls)
    except RuntimeError:
        pass  # already running, for example in a user's process: keep its settings
    tf.config.experimental.enable_op_determinism()
    # GPUs since 2020 would round factors to 10 bits; float32 has 23, as in the published runs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if gpu is None:
        tf.config.set_visible_devices([], "GPU")
        return tf
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        mine = gpus[gpu % len(gpus)]
        try:
            tf.config.set_visible_devices(mine, "GPU")
            # Several workers share a GPU; without this, the first takes all of its memory.
            tf.config.experimental.set_memory_growth(mine, True)
        except RuntimeError:
            pass  # already running
    return tf


def _import_tensorflow() -> Any:
    """Imports TensorFlow and Keras without Keras' optional packages, which can still be imported later."""
    hidden = [name for name in _UNUSED_BY_KERAS if name not in sys.modules]
    try:
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: "not installed"
        tf = importlib.import_module("tensorflow")
        importlib.import_module("keras")
        return tf
    finally:
        for name in hidden:
            del sys.modules[name]


def _set_keras() -> None:
    """Sets Keras' defaults, on which results depend."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def is_repeatable() -> bool:
    """Whether TensorFlow is running with one thread per operation, as set by `tensorflow`; loads nothing.

    Sums of floats then do not depend on the machine.
    """
    tf = sys.modules.get("tensorflow")
    return tf is not None and tf.config.threading.get_intra_op_parallelism_threads() == 1
