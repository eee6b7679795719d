"""The layer in every surrounding it is meant for: `make test-matrix`.

Each surrounding gets an environment of its own. One model with two `LearnableLog` layers is trained in each, by a
loop of its own, and saved; fresh processes in all of them load it, after `import loglearn_tf` alone and with Keras'
safe mode on, and must give the same logits to 1e-5. The loops of experiments/examples run on their backends.

Run: python tests/matrix/run.py [FOLDER]     (default: .matrix; some 8 GB, mostly PyTorch)
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "experiments" / "examples"
# The package's own requirements would bring TensorFlow everywhere.
WITHOUT_TENSORFLOW = ["keras", "numpy", "wrapt", "h5py"]
# Name -> Keras' backend, and what pip installs beside the package.
SURROUNDINGS = {
    "tensorflow-2.17-io": ("tensorflow", [f"{ROOT}[tfio]"]),
    "tensorflow-newest": ("tensorflow", [str(ROOT), "--upgrade-strategy=eager", "--upgrade"]),
    "jax": ("jax", ["jax", *WITHOUT_TENSORFLOW]),
    "torch": ("torch", ["torch", "onnx", "onnxscript", "onnxruntime", *WITHOUT_TENSORFLOW]),
}


def main() -> int:
    home = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".matrix").resolve()
    for name, (_, packages) in SURROUNDINGS.items():
        _install(home / name, packages)
    models = []
    for name in SURROUNDINGS:
        model = home / f"from-{name}.keras"
        try:
            print(_run(home, name, HERE / "save.py", model).strip(), flush=True)
        except subprocess.CalledProcessError as error:
            print(f"{name}, save.py FAILED:\n{error.stderr}", flush=True)
            return 1
        models.append(model)
    failed = False
    steps = [(name, HERE / "load.py", models) for name in SURROUNDINGS]
    steps += [("torch", HERE / "to_onnx.py", models)]
    steps += [("torch", EXAMPLES / "torch_loop.py", []), ("jax", EXAMPLES / "jax_loop.py", [])]
    for name, script, arguments in steps:
        try:
            print(_run(home, name, script, *arguments).strip(), flush=True)
        except subprocess.CalledProcessError as error:
            print(f"{name}, {script.name} FAILED:\n{error.stderr}", flush=True)
            failed = True
    return int(failed)


def _install(folder: Path, packages: list[str]) -> None:
    if (folder / ".installed").is_file():
        return
    print(f"Installing {folder.name} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages], check=True)
    # As it is now, whatever was installed with it above.
    subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
    (folder / ".installed").touch()


def _run(home: Path, name: str, script: Path, *arguments: Path) -> str:
    env = {**os.environ, "KERAS_BACKEND": SURROUNDINGS[name][0], "TF_CPP_MIN_LOG_LEVEL": "3", "SURROUNDING": name}
    python = home / name / "bin" / "python"
    return subprocess.run(
        [python, script, *arguments], env=env, cwd=home, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
