"""Tutorials and gallery run as scripts; `make docs` runs them, too, and draws what they show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("sphinx_gallery", reason="`make docs` runs these scripts; without it, pip install -e '.[docs]'")
SCRIPTS = [path for folder in ("tutorials", "gallery") for path in sorted((ROOT / "docs" / folder).glob("*.py"))]


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_scripts_run(script: Path, tmp_path: Path):
    folder, temporary = tmp_path / "here", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, script], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir()) and not list(temporary.iterdir())  # they clean up
