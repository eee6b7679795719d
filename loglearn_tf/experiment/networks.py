"""Checks networks and compressions from outside the package, and the precision of training, before any work is done."""

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from loglearn_tf._util.progress import OnProgress
from loglearn_tf._util.registry import folder_name
from loglearn_tf._util.tensorflow_runtime import tensorflow
from loglearn_tf._util.text import printable
from loglearn_tf.errors import ConfigError, LoglearnError
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.models.registry import MODELS
from loglearn_tf.study.settings import Settings

_log = logging.getLogger(__name__)

# Trainers that read `training.precision`.
_OUR_TRAINERS = ("loglearn_tf.training.supervised:train_run", "loglearn_tf.training.episodic:train_run")


def has_outside(settings: Settings) -> bool:
    """Whether a study uses a network or compression from outside, or arguments of a compression."""
    return any(MODELS.own(name) is None for name in settings.models) or any(
        COMPRESSIONS.own(name) is None for name in settings.compressions
    )


def has_to_be_tried(settings: Settings) -> bool:
    """Whether a study must be tried before it runs: `has_outside`, or a precision that not all processors have."""
    return has_outside(settings) or settings.training.precision == "bfloat16"


@contextmanager
def _errors_named(what: str) -> Iterator[None]:
    """Code from outside may raise anything: says whose it is and where, instead of ending the command."""
    try:
        yield
    except (ValueError, LoglearnError):
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"{what} cannot be built or called: {printable(f'{type(error).__name__}: {error}')} "
            f"({at.filename}, line {at.lineno}). Correct it; `loglearn_tf.models.check_network` shows the traceback."
        ) from error


def check_networks(studies: Sequence[tuple[Settings, int]], *, on_progress: OnProgress | None = None) -> None:
    """Builds the networks with each variant and each outside compression, tests outside networks, and checks the
    precision of training. Meant for a separate process.

    Args:
        studies: Settings, each with the number of classes of its data set.
        on_progress: Not called.

    Raises:
        ConfigError: If a layer or builder cannot be imported, raises an error or refuses its arguments, or a network
            does not meet the requirements; see `models.check_network`. If this processor emulates `training.precision`,
            or a network cannot be trained in it.
    """
    tensorflow(gpu=None)
    from loglearn_tf.layers import build_compression
    from loglearn_tf.models import build_model, check_network
    from loglearn_tf.training.accelerated import accelerate, check_bfloat16
    from loglearn_tf.training.evaluation import how_scored

    checked = set()
    for settings, n_classes in studies:
        precision = settings.training.precision
        if precision == "bfloat16" and settings.ray is None:  # the workers of a cluster check their own processors
            check_bfloat16()
        n_mels, patch_frames = settings.features.n_mels, settings.features.patch_frames
        shape = {"n_mels": n_mels, "patch_frames": patch_frames}
        of_shape = f"(With features.patch_frames={patch_frames} and features.n_mels={n_mels}.)"
        for name in settings.compressions:
            if COMPRESSIONS.own(name) is None:
                layer, arguments = settings.compression(name)
                try:
                    with _errors_named(f"Network {settings.models[0]} with compression {name}"):
                        compression = build_compression(layer, **{"name": folder_name(name), **arguments})
                        build_model(settings.models[0], n_classes=n_classes, compression=compression, **shape)
                except ValueError as error:
                    setting = f"variants.{name}" if name in settings.variants else "compressions"
                    raise ConfigError(f"`{setting}`: {error} {of_shape}") from error
        layer, arguments = settings.compression(settings.compressions[0])
        compression = partial(build_compression, layer, **{"name": folder_name(settings.compressions[0]), **arguments})
        for model in settings.models:
            kind = (model, n_classes, n_mels, patch_frames, settings.save_models, precision)
            if MODELS.own(model) is not None or kind in checked:
                continue
            checked.add(kind)
            try:
                with _errors_named(f"Network {model}"):
                    check_network(
                        model, n_classes=n_classes, compression=compression, saved=settings.save_models, **shape
                    )
            except ValueError as error:
                raise ConfigError(f"`models`: {error} {of_shape}") from error
            built = build_model(model, n_classes=n_classes, compression=compression(), **shape)
            if precision != "float32":
                if MODELS[model].trainer not in _OUR_TRAINERS:
                    raise ConfigError(
                        f"`training.precision={precision}` is for networks that this package trains. Received: "
                        f"{model}, whose trainer is {MODELS[model].trainer}. Use `training.precision=float32`."
                    )
                accelerate(built, precision=precision)
            _log.info("%s: %s", model, how_scored(built, hop=settings.patch_hop(MODELS[model])))
