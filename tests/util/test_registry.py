"""Open lists: names of the package, of installed packages, and of any module that can be imported."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from loglearn_tf._util.registry import Registry, is_place
from loglearn_tf.errors import ConfigError


@dataclass(frozen=True)
class Tool:
    name: str
    use: object


HAMMER = Tool("hammer", len)


def adopt(name, found):
    return found if isinstance(found, Tool) else Tool(name, found)


def tools(**own):
    return Registry("tool", group="loglearn_tf.test_tools", own=own, adopt=adopt)


def test_a_record_or_its_place():
    registry = tools(hammer=HAMMER, tongs=f"{__name__}:HAMMER")
    assert registry["hammer"] is HAMMER
    assert registry["tongs"] is HAMMER
    assert list(registry) == ["hammer", "tongs"] and len(registry) == 2


def test_nothing_is_imported_before_a_record_is_asked_for():
    registry = tools(wheel="wave:Wave_read")
    sys.modules.pop("wave", None)
    assert "wheel" in registry and "sndhdr_of_mine:tool" in registry
    registry.check("wheel", setting="tools")
    assert "wave" not in sys.modules
    assert registry["wheel"].use.__name__ == "Wave_read"


def test_a_name_from_outside_need_not_be_listed():
    registry = tools(hammer=HAMMER)
    assert registry["math:sqrt"] == Tool("math:sqrt", __import__("math").sqrt)
    assert "math:sqrt" not in list(registry)


@pytest.mark.parametrize("name", ["math", "math:", ":sqrt", "math:sqrt:x", "1math:sqrt", "a b:c", "math:sq rt", ""])
def test_what_is_no_place(name):
    assert not is_place(name)
    assert name not in tools()


def test_unknown_names():
    registry = tools(hammer=HAMMER)
    with pytest.raises(ConfigError, match=r"^`tools` must name a tool.*Received: 'hamer'\. Did you mean hammer\?$"):
        registry.check("hamer", setting="tools")
    with pytest.raises(ConfigError, match=r"Received: 'zzz'\. Known: hammer\.$"):
        registry["zzz"]


def test_modules_that_cannot_be_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_tool_module.py").write_text("raise RuntimeError('half of it is missing')\n")
    with pytest.raises(ConfigError, match="tool no_such_module:x cannot be imported: ModuleNotFoundError.*PYTHONPATH"):
        tools()["no_such_module:x"]
    with pytest.raises(ConfigError, match="RuntimeError: half of it is missing"):
        tools()["broken_tool_module:x"]
    with pytest.raises(ConfigError, match="Module math has no `cubic_root`"):
        tools()["math:cubic_root"]


def test_entry_points_of_installed_packages(tmp_path):
    """A package elsewhere adds a name, and cannot take one of ours."""
    metadata = tmp_path / "other_tools-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-tools\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[loglearn_tf.test_tools]\nsaw = math:sqrt\nhammer = math:sqrt\n")
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from loglearn_tf._util.registry import Registry
registry = Registry("tool", group="loglearn_tf.test_tools", own={"hammer": 1}, adopt=lambda name, found: found)
assert list(registry) == ["hammer", "saw"], list(registry)
assert registry["saw"](4) == 2 and registry["hammer"] == 1
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
