"""Prototypical networks: a VGG embeds patches; a class is the mean of its support's embeddings."""

from typing import TYPE_CHECKING

from loglearn_tf.models.base import N_MELS, PATCH_FRAMES, dense, dropout, flatten, mel_input, normalised_input
from loglearn_tf.models.registry import Network
from loglearn_tf.models.vgg import vgg_blocks

if TYPE_CHECKING:
    import keras

EMBEDDING_SIZE = 10  # for both data sets, regardless of their number of classes
N_FILTERS = 128


def build_prototypical(
    *,
    n_classes: int,
    compression: "keras.layers.Layer",
    seed: int,
    protocol: str = "pons2018",
    patch_frames: int = PATCH_FRAMES,
    n_mels: int = N_MELS,
    n_filters: int = N_FILTERS,
    l2: float = 0.0,
) -> "keras.Model":
    """Prototypical network, 613,642 trainable parameters (+2 with loglearn; a second pair for the support).

    Compression, then `encoder` (VGG with 128 filters to an embedding of 10), then `prototypes`. See `build_model`
    for arguments and shapes; before training by `episodic`, all prototypes are zero.

    Args:
        protocol: `"pons2018"`: input batch normalisation over the time axis (256 parameters), mean squared distance;
            `"clean"`: over the single channel, squared Euclidean distance.
        l2: Weight decay; none in the reference.

    Reference:
        The paper, section 2.2; docs/fidelity.md, "Prototypical training".
    """
    import keras

    from loglearn_tf.layers import Prototypes

    if protocol not in ("pons2018", "clean"):
        raise ValueError(f"`protocol` must be 'pons2018' or 'clean'. Received: protocol={protocol!r}.")
    pons2018 = protocol == "pons2018"
    log_mel = mel_input(patch_frames=patch_frames, n_mels=n_mels, name="log_mel")
    x = normalised_input(log_mel, axis=1 if pons2018 else -1)
    x = dropout(flatten(vgg_blocks(x, n_filters, seed=seed, l2=l2)), name="dropout", seed=seed)
    encoder = keras.Model(log_mel, dense(x, EMBEDDING_SIZE, name="embedding", seed=seed, l2=l2), name="encoder")

    mel = mel_input(patch_frames=patch_frames, n_mels=n_mels)
    distance = "mean_squared" if pons2018 else "squared_euclidean"
    logits = Prototypes(n_classes=n_classes, distance=distance, name="prototypes")(encoder(compression(mel)))
    return keras.Model(mel, logits, name="prototypical")


PROTOTYPICAL = Network(
    name="prototypical",
    title="Prototypical",
    build=build_prototypical,
    trainer="loglearn_tf.training.episodic:train_run",
    reads=("training.learning_rate", "training.clip_norm", "episodic", "evaluation.gains_db"),
    patch_hop_in="episodic",
    mean="geometric",
    min_n_mels=32,
    clip_ms=400,  # 128 filters, two branches, several patches per clip
    citation="Snell, Swersky and Zemel, arXiv:1703.05175, 2017; Pons, Serrà and Serra, arXiv:1810.10274, 2018",
    min_patch_frames=32,  # as for VGG
)
