"""What is installed is what is written: requirements, files of the package, the checkout's top level."""

import ast
import configparser
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from conftest import ROOT

import loglearn_tf

PACKAGE = ROOT / "loglearn_tf"
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg", encoding="utf-8")
# Imported under another name than they are installed under; pydantic_core is a part of pydantic.
DISTRIBUTIONS = {"pydantic_core": "pydantic", "tensorflow_io": "tensorflow-io", "yaml": "pyyaml"}
TOP_LEVEL = {"data", "docs", "experiments", "loglearn_tf", "tests"} | {
    *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"),
    *("Makefile", "pyproject.toml", "setup.cfg", "setup.py"),
}


def lines(section: str, key: str) -> list[str]:
    """A list in setup.cfg, without its comments."""
    return [line for line in CONFIG[section][key].splitlines() if line and not line.startswith("#")]


def required(section: str, key: str) -> set[str]:
    return {line.partition(";")[0].split(">")[0].split("=")[0].strip() for line in lines(section, key)}


def imported(folder: Path) -> set[str]:
    """The distributions that the modules in a folder import, inside functions, too."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in names - sys.stdlib_module_names}


def test_requirements_are_what_the_package_imports():
    base = required("options", "install_requires")
    extras = required("options.extras_require", "tfio") | required("options.extras_require", "cluster")
    assert imported(PACKAGE) == base | extras | {"loglearn_tf"}


def test_every_file_of_the_package_is_installed():
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    installed = set()
    for package, patterns in CONFIG["options.package_data"].items():
        folder = ROOT.joinpath(*package.split("."))
        installed |= {
            path
            for path in files
            for pattern in patterns.split(",")
            if fnmatch(str(path), f"{folder}/{pattern.strip()}")
        }
    assert [str(path.relative_to(ROOT)) for path in files if path not in installed] == []
    assert PACKAGE / "py.typed" in installed


def test_every_folder_with_modules_is_a_package():
    """`packages = find:` passes over others in silence."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "loglearn_tf", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"loglearn_tf {loglearn_tf.__version__}\n"), done.stderr


def test_the_top_level_holds_what_it_may():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout: what is made here and what belongs here look alike")
    names = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_links_lead_somewhere_inside():
    links = [
        path for folder in ("data", "docs", "experiments") for path in (ROOT / folder).rglob("*") if path.is_symlink()
    ]
    assert links
    for path in links:
        assert not path.readlink().is_absolute() and path.resolve(strict=True).is_relative_to(ROOT), path
