"""The list of networks, with what is known about each before Keras is loaded."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from loglearn_tf._util.registry import Registry, accepted
from loglearn_tf._util.text import printable, shown
from loglearn_tf.errors import ConfigError

_REQUIRED = ("n_classes", "compression", "seed")
# Trainers also pass some of these; a plain builder need not take them.
_OPTIONAL = ("patch_frames", "n_mels", "l2", "protocol")


@dataclass(frozen=True)
class Network:
    """What the package needs to know about a network.

    Attributes:
        name: Name in settings, run folders and results.
        title: Name in reports: `"SB-CNN"`.
        build: Called with the keyword arguments `n_classes`, `compression` (a layer) and `seed`, and those passed by
            the
        trainer: `patch_frames`, `n_mels` and `l2`, or `patch_frames`, `n_mels` and `protocol`; a builder without
            `patch_frames` has a fixed patch length. Returns a Keras model, from `(batch, patch_frames, n_mels)` mel
            power to `(batch, n_classes)` logits.
        trainer: The function that executes a run, as `module:attribute`; see `training.supervised.train_run`.
        reads: Settings in the sections `training`, `episodic` and `evaluation` that the trainer reads: names of
            sections or of single settings. Finished runs stay valid when other settings in these sections change.
        patch_hop_in: The section whose `patch_hop` is the distance between scored patches.
        mean: Mean over a clip's patches: `"arithmetic"` or `"geometric"`.
        min_n_mels: The minimum number of mel bands.
        clip_ms: Milliseconds of one core to train on a clip once; runs of costly networks start first. `None` if not
            measured: these start before all others.
        citation: Publication.
        min_patch_frames: The minimum number of frames per patch.
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
        # Older builders take no patch length.
        length = {name: arguments.pop(name) for name in ("patch_frames",) if name in arguments}
        return self.build(**arguments, **accepted(self.build, length))


def _adopt(name: str, found: Any) -> Network:
    """Returns a record unchanged; wraps a plain builder in a record with defaults."""
    if isinstance(found, Network):
        return found if found.name == name else replace(found, name=name)
    if not callable(found):
        raise ConfigError(
            f"Network {printable(name)} must be a function that builds a Keras model or a `Network`. Received: "
            f"{shown(found)}."
        )
    lacking = [argument for argument in _REQUIRED if argument not in accepted(found, dict.fromkeys(_REQUIRED))]
    if lacking:
        raise ConfigError(
            f"The builder of network {printable(name)} must accept the keyword arguments {', '.join(_REQUIRED)}. "
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
