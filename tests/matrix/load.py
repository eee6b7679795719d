"""Loads saved models in a fresh process and compares logits, alpha and beta with those stored."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

import loglearn_tf  # noqa: F401  (registers the layers)


def version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return ""


def main(paths: list[Path]) -> None:
    number = keras.ops.convert_to_numpy
    found = []
    for path in paths:
        model = keras.models.load_model(path, safe_mode=True)
        stored = np.load(path.with_suffix(".npz"))
        logits = number(model(stored["mel"]))
        np.testing.assert_allclose(logits, stored["logits"], atol=1e-5)
        np.testing.assert_allclose(number(model.get_layer("one").alpha), stored["alpha"], rtol=1e-6)
        np.testing.assert_allclose(number(model.get_layer("each").beta), stored["beta"], rtol=1e-6)
        found.append(float(np.abs(logits - stored["logits"]).max()))
    packages = ("tensorflow", "tensorflow-io", "jax", "torch", "keras", "numpy")
    versions = ", ".join(filter(None, map(version, packages)))
    worst = ", ".join(f"{difference:.1e}" for difference in found)
    print(
        f"{os.environ['SURROUNDING']}: logits differ by at most {worst} "
        f"(Python {platform.python_version()}, {versions})"
    )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
