"""The documentation as Sphinx builds it: no warnings, every public name, and nothing fetched from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import loglearn_tf
from loglearn_tf import layers

for _tool in ("sphinx", "myst_parser", "sphinx_design", "pydata_sphinx_theme", "sphinx_gallery"):
    pytest.importorskip(_tool, reason=f"building the documentation needs {_tool}: pip install -e '.[docs]'")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", out]
    command += ["-D", "plot_gallery=0"]  # test_tutorials.py runs them
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_public_names_can_be_linked_to(built):
    from sphinx.util.inventory import InventoryFile

    with (built / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", os.path.join)
    known = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    homes = {f"{loglearn_tf._HOMES[name]}.{name}" for name in loglearn_tf.__all__}
    assert homes | {f"loglearn_tf.layers.{name}" for name in layers.__all__} <= known
    settings = set(inventory["std:confval"])
    assert {"data.root", "training.learning_rate", "ray.gpus"} <= settings
    assert any(name.endswith("report.--margin") for name in inventory["std:cmdoption"])


def test_arguments_of_layers_are_shown(built):
    page = re.sub(r"<[^>]+>", "", (built / "reference" / "layers.html").read_text(encoding="utf-8"))
    assert re.search(r"LearnableLog\(\s*\*\s*,\s*alpha_pre_gate\s*=\s*7\.0", page)


def test_pages_fetch_nothing(built):
    for page in built.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"(https?:[^\"]+)", text)
        fetched += re.findall(r"<link[^>]*rel=\"(?:stylesheet|preload)\"[^>]*href=\"(https?:[^\"]+)", text)
        assert not fetched, page


def test_pictures_are_the_same_at_every_build(built):
    first = {path.name: path.read_bytes() for path in (ROOT / "docs" / "_generated").glob("*.svg")}
    assert len(first) == 5
    again = subprocess.run(
        [sys.executable, "-c", "import pathlib, sys; sys.path.insert(0, 'docs'); import pictures\n"
         "pictures.draw_all(pathlib.Path(sys.argv[1]), architecture=open('docs/architecture.md').read())",
         str(built / "again")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert first == {path.name: path.read_bytes() for path in (built / "again").glob("*.svg")}
