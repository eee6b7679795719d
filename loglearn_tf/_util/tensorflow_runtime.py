"""TensorFlow, loaded late, quietly and with the settings that make results repeatable.

For processes that belong to this package: the command line and workers call these functions when they begin. What is
imported, or called from somebody else's program, never does.
"""

import importlib
import logging
import os
import sys
from typing import Any

# What Keras imports where it is installed, for wrappers and plots that nothing here uses: a third of the time that a
# worker takes to start.
_UNUSED_BY_KERAS = ("matplotlib", "pandas", "sklearn")


def be_quiet() -> None:
    """Keeps TensorFlow's start-up notes off the terminal, unless the environment asks for them; call before it is
    imported. Errors of TensorFlow still arrive as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Where it cannot write its folder of settings, it notes at length that it goes on in a temporary one.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def available_cores() -> int:
    """Cores that this process may use; fewer than the machine's under a batch system."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_memory_mib() -> float | None:
    """Of this machine; `None` where the system does not tell (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (AttributeError, OSError, ValueError):
        return None


def tensorflow(*, threads: int = 1, parallel_calls: int = 1, gpu: int | None = 0) -> Any:
    """Imports TensorFlow with few threads per operation and deterministic operations, and Keras with its defaults.

    The same settings and seed then give the same result, whatever the number of cores: sums of
    floats depend on how many threads share them. Cores are used by doing several things at once.

    Args:
        threads: That share one operation.
        parallel_calls: Operations that may run side by side.
        gpu: Where TensorFlow sees GPUs, the number of the one to use; counts round when there are fewer, so that
            numbered workers spread evenly; `None` for none.
    """
    # What the user has set for other work, by the environment or ~/.keras/keras.json, would change numbers, or fail.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    tf = _import_tensorflow()
    _set_keras()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(parallel_calls)
    except RuntimeError:
        pass  # already running, as in a user's own process: its settings stay
    tf.config.experimental.enable_op_determinism()
    # GPUs since 2020 would round the factors of products to 10 bits: float32 has 23, here as in the published runs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if gpu is None:
        tf.config.set_visible_devices([], "GPU")
        return tf
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        mine = gpus[gpu % len(gpus)]
        try:
            tf.config.set_visible_devices(mine, "GPU")
            # Several workers share a GPU; without this the first takes all of its memory.
            tf.config.experimental.set_memory_growth(mine, True)
        except RuntimeError:
            pass  # already running
    return tf


def _import_tensorflow() -> Any:
    """With Keras, but without what that can do without. Whoever wants those packages later imports them as ever."""
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
    """Keras' defaults, which results are computed with."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def is_repeatable() -> bool:
    """Whether this process has a TensorFlow with one thread an operation, as `tensorflow` leaves it: sums of floats
    then do not depend on the machine. Loads nothing."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and tf.config.threading.get_intra_op_parallelism_threads() == 1
