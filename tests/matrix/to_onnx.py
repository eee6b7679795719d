"""Networks go to ONNX by Keras' PyTorch backend, wherever they were trained; ONNX Runtime gives the same logits."""

import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime

from loglearn_tf import build_model


def difference(model: keras.Model, mel: np.ndarray, path: Path) -> float:
    logits = keras.ops.convert_to_numpy(model(mel))
    model.export(str(path), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, {session.get_inputs()[0].name: mel})
    return float(np.abs(found - logits).max())


def main(paths: list[Path]) -> None:
    found = {}
    for path in paths:
        mel = np.load(path.with_suffix(".npz"))["mel"]
        found[path.stem] = difference(keras.models.load_model(path), mel, path.with_suffix(".onnx"))
    mel = np.random.default_rng(0).exponential(size=(2, 128, 128)).astype("float32")
    for name in ("sb_cnn", "vgg", "timbre", "prototypical"):
        found[name] = difference(build_model(name, n_classes=10), mel, paths[0].with_name(f"{name}.onnx"))
    assert max(found.values()) <= 1e-4, found
    print("ONNX: logits differ by at most", ", ".join(f"{value:.1e} ({name})" for name, value in found.items()))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
