"""TensorFlow as workers use it: each has its GPU where there are some, and takes of it what it needs."""

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


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(tensorflow_runtime.os, "sched_getaffinity", lambda pid: {3, 4, 7}, raising=False)
    assert tensorflow_runtime.available_cores() == 3
    monkeypatch.delattr(tensorflow_runtime.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(tensorflow_runtime.os, "cpu_count", lambda: None)
    assert tensorflow_runtime.available_cores() == 1
