"""What the README shows works as shown."""

import re

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", README, re.S))
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    shown = re.search(r"print\(.*#\s+(.*)", example)
    if shown:
        for printed, promised in zip(capsys.readouterr().out.split(), shown[1].split(), strict=True):
            assert printed.startswith(promised.rstrip("."))


def test_targets_and_files_it_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z0-9]+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for path in re.findall(r"(?:experiments|data)/[\w.]+\.(?:yaml|md)", README):
        assert (ROOT / path).is_file(), path
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
