"""TensorFlow as workers use it: each has its GPU where there are some, and takes of it what it needs."""

import logging
import logging.handlers
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from loglearn_tf._util import tensorflow_runtime


@pytest.mark.parametrize(("worker", "gpu"), [(0, "GPU:0"), (1, "GPU:1"), (2, "GPU:0"), (5, "GPU:1")])
def test_workers_are_spread_over_gpus_and_share_their_memory(monkeypatch, worker, gpu):
    """With two GPUs that TensorFlow is made to see; on a machine without any, this is as near as a test comes."""
    calls = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0", "GPU:1"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda device, kind: calls.append(("visible", device)))
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda device, on: calls.append((device, on)))
    tensorflow_runtime.tensorflow(gpu=worker)
    assert calls == [("visible", gpu), (gpu, True)]


def test_a_process_without_a_gpu(monkeypatch):
    calls = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda device, kind: calls.append((device, kind)))
    tensorflow_runtime.tensorflow(gpu=None)
    assert calls == [([], "GPU")]


def test_keras_has_its_defaults_whatever_the_user_has_set():
    """As in ~/.keras/keras.json, which Keras reads when it is imported."""
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_epsilon(1e-3)
    keras.config.set_image_data_format("channels_first")
    tensorflow_runtime.tensorflow()
    found = [keras.config.floatx(), keras.config.dtype_policy().name, keras.config.epsilon()]
    assert found == ["float32", "float32", 1e-7] and keras.config.image_data_format() == "channels_last"
    assert keras.config.backend() == "tensorflow"


def test_float32_has_all_of_its_bits_on_gpus_too():
    tf.config.experimental.enable_tensor_float_32_execution(True)
    tensorflow_runtime.tensorflow()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.parametrize(("threads", "repeatable"), [(1, True), (0, False), (2, False)])
def test_one_thread_an_operation_is_repeatable(monkeypatch, threads, repeatable):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: threads)
    assert tensorflow_runtime.is_repeatable() == repeatable


def test_a_tensorflow_that_nobody_has_loaded_is_not_loaded_to_look_at_it(monkeypatch):
    monkeypatch.delitem(tensorflow_runtime.sys.modules, "tensorflow")
    assert not tensorflow_runtime.is_repeatable()
    assert "tensorflow" not in tensorflow_runtime.sys.modules


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(tensorflow_runtime.os, "sched_getaffinity", lambda pid: {3, 4, 7}, raising=False)
    assert tensorflow_runtime.available_cores() == 3
    monkeypatch.delattr(tensorflow_runtime.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(tensorflow_runtime.os, "cpu_count", lambda: None)
    assert tensorflow_runtime.available_cores() == 1


@pytest.mark.slow
def test_keras_comes_without_what_it_can_do_without_and_leaves_it_to_whoever_asks():
    pytest.importorskip("pandas"), pytest.importorskip("sklearn")
    program = """
import sys
from loglearn_tf._util.tensorflow_runtime import tensorflow
tensorflow(gpu=None)
assert "keras" in sys.modules and not {"matplotlib", "pandas", "sklearn"} & set(sys.modules)
import pandas, sklearn, matplotlib
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_matplotlib_does_not_say_where_it_keeps_its_settings():
    """As it would at length where HOME cannot be written; and the report is written all the same."""
    program = """
import os, sys
os.environ["HOME"] = "/dev/null/nowhere"
for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
from loglearn_tf._util.tensorflow_runtime import be_quiet
be_quiet()
import matplotlib.figure
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize("filters", [[], [tensorflow_runtime._is_no_retracing]], ids=["as TensorFlow does", "quiet"])
def test_a_network_for_every_run_is_no_warning(monkeypatch, filters):
    """TensorFlow warns if the same code is traced again and again; networks of other runs have the same code."""
    logger, handler = logging.getLogger("tensorflow"), logging.handlers.BufferingHandler(100)
    monkeypatch.setattr(logger, "filters", filters)
    monkeypatch.setattr(logger, "handlers", [handler])
    code = "lambda x: x + 1"  # evaluated here: TensorFlow warns about an object of code only twice
    function = eval(code)
    for _ in range(10):
        tf.function(function)(1.0)
    tf.get_logger().warning("something else")
    messages = [record.getMessage() for record in handler.buffer]
    assert messages[-1] == "something else" and any("retracing" in message for message in messages) != bool(filters)
