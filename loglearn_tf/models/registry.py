"""The list of networks, and what is known of each before Keras is loaded."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from loglearn_tf._util.registry import Registry, accepted
from loglearn_tf._util.text import printable, shown
from loglearn_tf.errors import ConfigError

_REQUIRED = ("n_classes", "compression", "seed")
# Trainers pass some of these, too; a bare builder need not take them.
_OPTIONAL = ("patch_frames", "n_mels", "l2", "protocol")


@dataclass(frozen=True)
class Network:
    """What the package needs to know of a network.

    Attributes:
        name: In settings, run folders and results.
        title: On paper: `"SB-CNN"`.
        build: Called with the keyword arguments `n_classes`, `compression` (a layer) and `seed`, and what `trainer`
            passes: `patch_frames`, `n_mels` and `l2`, or `patch_frames`, `n_mels` and `protocol`; a builder that takes
            no `patch_frames` has patches of one length. Returns a Keras model, `(batch, patch_frames,
            n_mels)` mel power to `(batch, n_classes)` logits.
        trainer: The function that does a run, as `module:attribute`; see `training.supervised.train_run`.
        reads: What of the sections `training`, `episodic` and `evaluation` of the settings the trainer reads: names of
            sections, or of single settings. A finished run stays valid when other settings of theirs change.
        patch_hop_in: The section whose `patch_hop` says how far apart the patches of a scored clip are.
        mean: Of a clip's patches: `"arithmetic"` or `"geometric"`.
        min_n_mels: The fewest mel bands that the network can take.
        clip_ms: Milliseconds of one core to train on a clip once; runs of costly networks start first. `None` where
            it was not measured: these start before all others.
        citation: Of the publication.
        min_patch_frames: The fewest frames of a patch that the network can take.
    """

    name: str
    title: str
    build: Callable[..., Any]
    trainer: str = "loglearn_tf.training.supervised:train_run"
    reads: tuple[str, ...] = ("training", "evaluation")
    patch_hop_in: Literal["evaluation", "episodic"] = "evaluation"
    mean: Literal["arithmetic", "geometric"] = "arithmetic"
    min_n_mels: int = 1
    clip_ms: float | None = None
    citation: str = ""
    min_patch_frames: int = 1

    def __call__(self, **arguments: Any) -> Any:
        """Builds the network; see `models.build_model`, which checks the arguments first."""
        # Builders from before patches had lengths take none.
        length = {name: arguments.pop(name) for name in ("patch_frames",) if name in arguments}
        return self.build(**arguments, **accepted(self.build, length))


def _adopt(name: str, found: Any) -> Network:
    """A record as it is; of a bare builder, one with the defaults."""
    if isinstance(found, Network):
        return found if found.name == name else replace(found, name=name)
    if not callable(found):
        raise ConfigError(
            f"Network {printable(name)} must be a function that builds a Keras model, or a `Network`. Received: "
            f"{shown(found)}."
        )
    lacking = [argument for argument in _REQUIRED if argument not in accepted(found, dict.fromkeys(_REQUIRED))]
    if lacking:
        raise ConfigError(
            f"The builder of network {printable(name)} must take the arguments {', '.join(_REQUIRED)} by name. "
            f"Received: one without `{lacking[0]}`: {name.rpartition(':')[2]}{inspect.signature(found)}."
        )
    return Network(name=name, title=name.rpartition(":")[2], build=partial(_build_bare, found))


def _build_bare(build: Callable[..., Any], **arguments: Any) -> Any:
    optional = {name: value for name, value in arguments.items() if name in _OPTIONAL}
    others = {name: value for name, value in arguments.items() if name not in _OPTIONAL}
    return build(**others, **accepted(build, optional))


MODELS: Registry[Network] = Registry(
    "network",
    group="loglearn_tf.models",
    own={
        "sb_cnn": "loglearn_tf.models.sb_cnn:SB_CNN",
        "vgg": "loglearn_tf.models.vgg:VGG",
        "timbre": "loglearn_tf.models.timbre:TIMBRE",
        "prototypical": "loglearn_tf.models.prototypical:PROTOTYPICAL",
    },
    adopt=_adopt,
)
