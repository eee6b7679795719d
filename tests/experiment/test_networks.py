"""Code from outside that fails is named, with its place, before any work is done."""

import sys
import types

import pytest

from loglearn_tf import load_settings
from loglearn_tf.errors import ConfigError
from loglearn_tf.experiment.networks import check_networks
from loglearn_tf.models.registry import MODELS


@pytest.mark.parametrize("compressions", ["logeps", "[logeps, loglearn_fixed]"])
def test_a_builder_that_raises_is_named_with_its_line(monkeypatch, compressions):
    def build(n_classes, compression, seed):
        raise KeyError("no such weights")

    monkeypatch.setitem(sys.modules, "lab_that_raises", types.SimpleNamespace(build=build))
    settings = load_settings("folder", ["models=['lab_that_raises:build']", f"compressions={compressions}"])
    assert MODELS.own(settings.models[0]) is None
    with pytest.raises(ConfigError, match=r"Network lab_that_raises:build.*KeyError: .*test_networks.py, line \d+\)"):
        check_networks([(settings, 3)])
