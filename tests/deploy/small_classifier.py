"""A clip classifier that is exported in seconds, and sounds for it."""

import numpy as np

from loglearn_tf import build_model, clip_classifier

NAMES = ["air", "bell", "car"]


def make(compression):
    """8 kHz; patches of 16 frames x 128 bands, by a TIMBRE: the network whose convolution is ours."""
    network = build_model("timbre", n_classes=3, compression=compression, seed=1, patch_frames=16)
    front_end = {"sample_rate": 8000, "n_fft": 1024, "hop_length": 256}
    return clip_classifier(network, class_names=NAMES, front_end=front_end, patch_hop=3)


def noises():
    """Of four lengths, one shorter than a patch."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, (1, samples)).astype("float32") for samples in (100, 4096, 20_000, 33_333)]
