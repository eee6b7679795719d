"""The package as others get it: sdist and wheel, installed where there is no checkout. Part of `make test-matrix`.

An sdist is made of the checkout and a wheel of the sdist; the wheel goes into a fresh environment. There experiments
are planned by name, the demo runs to its table, and mypy checks a program that uses the package.

Run: python tests/matrix/wheel.py     (TensorFlow is installed once more, into TMPDIR: some 2.5 GB; minutes)
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "loglearn_tf"
USER = """\
from loglearn_tf import LearnableLog, build_model
from loglearn_tf.study.settings import load_settings

n_shot: tuple[int | str, ...] = load_settings("us8k").n_shot
build_model("vgg", n_classes="ten")  # wrong
LearnableLog(alpha_pre_gate="seven")  # wrong
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="loglearn-wheel-") as folder:
        home = Path(folder)
        wheel = build(home)
        check_files(wheel)
        bin_dir = _environment(home / "user", wheel, "mypy", "types-PyYAML")
        check_commands(home, bin_dir)
        check_types(home, bin_dir)
    print("wheel: everything is there without a checkout")
    return 0


def build(home: Path) -> Path:
    """Has the sdist made of the checkout, the wheel of the sdist."""
    _run(home, _environment(home / "builder", "build") / "python", "-m", "build", "--outdir", home / "dist", ROOT)
    (wheel,) = (home / "dist").glob("*.whl")
    return wheel


def check_files(wheel: Path) -> None:
    """The wheel holds every file of the package, and no other."""
    here = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert there == here, f"not in the wheel: {sorted(here - there)}; only in the wheel: {sorted(there - here)}"


def check_commands(home: Path, bin_dir: Path) -> None:
    where = _run(home, bin_dir / "python", "-c", "import loglearn_tf; print(loglearn_tf.__file__)").strip()
    assert Path(where).is_relative_to(home), where
    version = _run(home, bin_dir / "loglearn", "--version")
    assert _run(home, bin_dir / "python", "-m", "loglearn_tf", "--version") == version
    for name, n_runs in {"us8k": "6,000", "tut": "600", "folder": "125", "demo": "8"}.items():
        planned = _run(home, bin_dir / "loglearn", "plan", name, "--no-measure")
        assert f"{name}: {n_runs} runs in runs/{name}" in planned, planned
    assert "why, part main_full" in _run(home, bin_dir / "loglearn", "plan", "why", "--no-measure")
    table = _run(home, bin_dir / "loglearn", "run", "demo")
    print(table)
    for expected in ("SYNTHETIC DATA", r"\ntimbre +loglearn - logeps +[-+]\d+\.\d\n", "Report: runs/demo/report.html"):
        assert re.search(expected, table), expected
    assert "<html" in (home / "runs" / "demo" / "report.html").read_text(encoding="utf-8")


def check_types(home: Path, bin_dir: Path) -> None:
    (home / "user.py").write_text(USER, encoding="utf-8")
    done = subprocess.run(
        [bin_dir / "mypy", "--strict", "user.py"], cwd=home, env=_env(), capture_output=True, text=True
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    wrong = [number for number, line in enumerate(USER.splitlines(), start=1) if line.endswith("# wrong")]
    assert [int(line.split(":")[1]) for line in errors] == wrong, done.stdout + done.stderr
    assert all("[arg-type]" in line for line in errors), done.stdout


def _environment(folder: Path, *packages: str | Path) -> Path:
    print(f"Installing {folder.name} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", "--disable-pip-version-check", *packages], env=_env(), check=True)
    subprocess.run([*pip, "check"], env=_env(), check=True)
    return folder / "bin"


def _env() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**env, "TF_CPP_MIN_LOG_LEVEL": "3"}


def _run(home: Path, *command: str | Path) -> str:
    """Runs in `home`, where no checkout is in sight; what it prints."""
    done = subprocess.run(command, cwd=home, env=_env(), capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
