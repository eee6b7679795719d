"""Which versions of Keras load a stranger's file, and what is asked for in the others."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from loglearn_tf import LearnableLog
from loglearn_tf.cli import main
from loglearn_tf.deploy.safe_mode import WAYS_AROUND, ways_around
from loglearn_tf.deploy.saved_models import load_model
from loglearn_tf.errors import ModelError

# Typed from the advisories.
KNOWN = {
    "3.6.0": 7,
    "3.8.0": 7,
    "3.9.0": 6,
    "3.10.0": 6,
    "3.11.0": 5,
    "3.12.0": 4,
    "3.12.2": 2,
    "3.12.3": 1,
    "3.12.4": 0,
    "3.13.0": 4,
    "3.13.2": 2,
    "3.14.1": 2,
    "3.15.0": 1,
    "3.15.1": 0,
    "3.16.0": 0,
    "4.0.0rc1": 0,
}


@pytest.mark.parametrize("version", KNOWN)
def test_versions(version):
    assert len(ways_around(version)) == KNOWN[version]


def test_every_way_is_named_and_fixed_somewhere():
    for way in WAYS_AROUND:
        assert way.name and way.what and way.fixed == tuple(sorted(way.fixed))


def test_requirements_exclude_no_version_for_the_sake_of_strangers_files():
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    keras .*$", setup, re.MULTILINE)
    assert "!" not in line and "<" not in line


class TestWhereThereAreWaysAround:
    @pytest.fixture(autouse=True)
    def version(self, monkeypatch):
        monkeypatch.setattr(keras, "__version__", "3.13.2")

    @pytest.fixture
    def file(self, tmp_path):
        keras.Sequential([keras.Input((2,)), LearnableLog()]).save(tmp_path / "model.keras")
        return tmp_path / "model.keras"

    def test_a_file_is_not_loaded_unless_it_is_trusted(self, file):
        told = (
            r"model.keras was not loaded: Keras 3.13.2 has "
            r".*links.*CVE-2026-12481.*`--trust`.*trust=True.*install keras"
        )
        with pytest.raises(ModelError, match=told):
            load_model(file)
        assert load_model(file, trust=True)(np.ones((1, 2))).shape == (1, 2)

    def test_trust_is_not_for_code(self, tmp_path):
        keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)]).save(tmp_path / "code.keras")
        with pytest.raises(ModelError, match="has a `Lambda`"):
            load_model(tmp_path / "code.keras", trust=True)

    def test_the_commands_ask_for_trust(self, file, tmp_path, capsys):
        commands = (["show", file], ["export", file, "--to", "savedmodel"], ["predict", file, tmp_path])
        for command in commands:
            assert main([str(word) for word in command]) == 2
            assert "`--trust`" in capsys.readouterr().err
        assert main(["show", str(file), "--trust"]) == 0
        assert "alpha 1096.63" in capsys.readouterr().out
        assert main(["predict", str(file), str(tmp_path), "--trust"]) == 2
        assert "is not a clip classifier" in capsys.readouterr().err
