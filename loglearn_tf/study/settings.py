"""YAML to validated, frozen settings; every value can be overridden as `key=value`."""

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from loglearn_tf._util.registry import Registry, folder_name, is_place
from loglearn_tf._util.text import printable, shown
from loglearn_tf.datasets.clips import LAST_FOLD, N_FOLDS, VALIDATION_FOLD
from loglearn_tf.datasets.n_shot import ALL, NShot
from loglearn_tf.datasets.registry import DATASETS, Corpus
from loglearn_tf.errors import ConfigError
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.models.registry import MODELS, Network
from loglearn_tf.study.yaml_file import (
    Override,
    is_quoted,
    merged,
    parse_override,
    read_table,
    settings_file,
    with_overrides,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def _as_list(value: Any) -> Any:
    """Allows `n_shot: 10` for `n_shot: [10]`."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


# A typing error must not fill the memory: the bounds are far above any practical grid.
_MOST_RUNS, _MOST_PARTS = 1_000_000, 1000
# File systems allow names of 255 bytes, Linux paths of 4,096. These are lower, since the folders contain files.
_LONGEST_NAME, _LONGEST_PATH = 255, 3500
# Names of studies, parts and variants, which become folder names.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
# Keys of tables, which are text in JSON.
_AnyN = Annotated[Count | Literal["all"], Field()]
Seed = Annotated[int, Field(ge=0, le=1 << 64)]
Decibels = Annotated[float, Field(ge=-200, le=200)]


def _as_n_shot(value: Any) -> Any:
    """Text other than `all` is an error; without this, Pydantic would complain about a number first."""
    if isinstance(value, str) and value != ALL:
        raise PydanticCustomError("n_shot", "input should be a valid integer or `all`")
    return value


N = Annotated[_AnyN, BeforeValidator(_as_n_shot)]


def _as_folder(name: str) -> str:
    """Expands `~`: shells do so only at the beginning of a word, not in `data.root=~/sounds`."""
    if "\0" in name:
        raise PydanticCustomError("path", "a path must not contain NUL")
    path = os.path.expanduser(name)
    longest = max(len(os.fsencode(part)) for part in path.split(os.sep))
    if longest > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
        raise PydanticCustomError(
            "path",
            f"a path may have at most {_LONGEST_PATH:,} bytes, and each name in it at most {_LONGEST_NAME}",
        )
    return path


def _as_address(address: str) -> str:
    """Checks an address here, since sockets would report it as a network error."""
    host, _, port = address.rpartition(":")
    try:
        if address != "auto" and (len(host.encode("idna")) > 253 or int(port) >= 1 << 16):
            raise ValueError
    except ValueError:  # includes UnicodeError
        raise PydanticCustomError("address", "must be a host name and a port up to 65535") from None
    return address


FolderName = Annotated[str, AfterValidator(_as_folder)]


def _named(registry: Registry[Any]) -> Callable[[str], str]:
    """Checks that a name is listed, or has the form `module:attribute`; imports nothing."""

    def check(name: str) -> str:
        if not _is_named(name, registry):
            # Braces and quotes would be read as part of the template.
            raise PydanticCustomError(
                "name",
                "must name a {kind}: {names}, or your own as `module:attribute`",
                {
                    "kind": registry.kind,
                    "names": ", ".join(repr(one) for one in registry),
                },
            )
        return name

    return check


def _is_named(name: str, registry: Registry[Any]) -> bool:
    """Also checks that it can be a folder name, which names from installed packages may not be."""
    return len(name) <= 100 and (is_place(name) or (name in registry and re.fullmatch(_NAME, name) is not None))


class _Settings(BaseModel):
    # Strict: "10" is not 10, and true is not 1. A misread setting would change a result.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SyntheticSettings(_Settings):
    """Creates a synthetic data set at `data.root` if it is missing: its sounds are computed, not recorded.

    Attributes:
        clips_per_class: US8K: per class and fold; TUT: per class, [development, evaluation].
        folds: US8K folds to create.
        seed: Seed of the sounds.
        duration_s: Maximum clip length, seconds; `null` for the official 4 s or 10 s.
    """

    clips_per_class: Annotated[tuple[Count, ...], BeforeValidator(_as_list)] = (10,)
    folds: Annotated[tuple[Annotated[int, Field(ge=1, le=10)], ...], BeforeValidator(_as_list)] = tuple(range(1, 11))
    seed: Seed = 0
    duration_s: Annotated[float, Field(gt=0, le=3600)] | None = None


class DataSettings(_Settings):
    """Which data set, and where it is.

    Attributes:
        name: `us8k`, `tut`, `folder` for recordings of your own, or your own loader: `my_lab.data:load`.
        root: Its folder, in the official layout. For `folder`: a folder with one folder per class, optionally with
            lists of training and test clips (as in Speech Commands); ESC-50 or ESC-10; acoustic scenes of TUT or TAU of
            years other than 2017; or a CSV file with the columns path, label and fold, or split (train, validation,
            test) instead of fold, and optionally group, start and end (seconds). With a split, `folds` is [1].
        validation_fold: For US8K and `folder`: `next` leaves fold k + 1 out of training, as the reference does;
            `none` trains on all other folds. Validation clips of a split never train.
        n_folds: Number of folds to create for class-named folders, and for a CSV file without folds.
        allow_missing: Continue if clips listed in the metadata are missing on disk.
        synthetic: If given, a synthetic data set is created at `root`.
    """

    name: Annotated[str, AfterValidator(_named(DATASETS))]
    root: FolderName
    validation_fold: Literal["next", "none"] = VALIDATION_FOLD
    n_folds: Annotated[int, Field(ge=2, le=1000)] = N_FOLDS
    allow_missing: bool = False
    synthetic: SyntheticSettings | None = None


# Settings added to a section after its first runs. With their defaults they are no part of a run's identity or a
# store's name, so that earlier runs and stores stay valid.
_LATER_FEATURES = ("win_length", "window", "mel_scale", "norm", "gain_db", "patch_frames")
_LATER_TRAINING = (
    *("gain_db", "validation", "validation_share", "patience", "optimizer", "schedule", "warmup_share"),
    "class_weights",
)
# These have no effect without validation, or without a schedule.
_OF_VALIDATION = ("validation_share", "patience")
_NOT_FRONT_END = ("store_dir", "compression", "gain_db", "patch_frames")


def _without_unused(section: _Settings, later: Iterable[str]) -> dict[str, Any]:
    """A section as plain data, without later settings that have their defaults."""
    defaults = {name: type(section).model_fields[name].default for name in later}
    plain: dict[str, Any] = section.model_dump(mode="json")
    return {name: plain[name] for name in plain if name not in later or getattr(section, name) != defaults[name]}


class FeatureSettings(_Settings):
    """The mel front end, the location of its stores, and the length of the networks' patches.

    Attributes:
        store_dir: Folder of the mel stores.
        sample_rate, n_fft, win_length, hop_length, window, n_mels, f_min, f_max, pad_mode, fft_dtype: see
            `MelSpectrogram`.
        mel_scale, norm: see `MelSpectrogram`.
        compression: `none` stores mel power, which every compression trains from. `logeps` stores its logarithm, as the
            reference's feature files do; networks that read it must not compress again.
        gain_db: Applied to every waveform first: -20 leaves a tenth of the amplitude, a hundredth of the power.
        patch_frames: Frames per patch, the input of the networks. A frame is `hop_length` samples long, so the default
            of 128 is 2.97 s. Shorter clips are repeated. The mel store does not depend on it.
    """

    store_dir: FolderName = "data/stores"
    sample_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 44_100
    n_fft: Annotated[int, Field(ge=2, le=1 << 20, multiple_of=2)] = 1024
    win_length: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    hop_length: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    window: Literal["hann", "hamming", "blackman", "ones"] = "hann"
    n_mels: Annotated[int, Field(ge=1, le=4096)] = 128
    f_min: Annotated[float, Field(ge=0)] = 0.0
    f_max: Annotated[float, Field(gt=0)] | None = None
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney"] | None = "slaney"
    pad_mode: Literal["reflect", "constant"] = "reflect"
    fft_dtype: Literal["float64", "float32"] = "float64"
    compression: Literal["none", "logeps"] = "none"
    gain_db: Decibels = 0.0
    patch_frames: Annotated[int, Field(ge=1, le=100_000)] = 128

    @model_validator(mode="after")
    def _window_in_frame(self) -> "FeatureSettings":
        if self.win_length is not None and self.win_length > self.n_fft:
            raise ValueError(
                f"`features.win_length` must be at most `features.n_fft`. Received: win_length={self.win_length}, "
                f"n_fft={self.n_fft}. Use a larger `n_fft` or a shorter window"
            )
        return self

    @model_validator(mode="after")
    def _bands_in_range(self) -> "FeatureSettings":
        nyquist_hz = self.sample_rate / 2
        if not self.f_min < (nyquist_hz if self.f_max is None else self.f_max) <= nyquist_hz:
            raise ValueError(
                f"`f_min` < `f_max` <= `sample_rate` / 2 = {nyquist_hz:g} Hz is required. "
                f"Received: f_min={self.f_min:g}, f_max={self.f_max}"
            )
        return self

    @property
    def front_end(self) -> dict[str, Any]:
        """The arguments of `MelSpectrogram`; those added after its first stores only where they are used."""
        plain = _without_unused(self, _LATER_FEATURES)
        if self.win_length == self.n_fft:
            del plain["win_length"]  # the default
        return {name: value for name, value in plain.items() if name not in _NOT_FRONT_END}


# Name -> the arguments beside `weight_decay`, those of Keras.
_OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "nesterov"),
    "rmsprop": ("rho", "momentum", "epsilon", "centered"),
    "adam": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "adamw": ("beta_1", "beta_2", "epsilon", "amsgrad"),
    "nadam": ("beta_1", "beta_2", "epsilon"),
    "adamax": ("beta_1", "beta_2", "epsilon"),
    "adagrad": ("initial_accumulator_value", "epsilon"),
    "adadelta": ("rho", "epsilon"),
    "lamb": ("beta_1", "beta_2", "epsilon"),
    "lion": ("beta_1", "beta_2"),
}
_SWITCHES = ("nesterov", "centered", "amsgrad")
_BELOW_1 = ("momentum", "rho", "beta_1", "beta_2")


class OptimizerSettings(BaseModel):
    """An optimiser of Keras; `optimizer: NAME` is short for `optimizer: {name: NAME}`.

    Beside the name it takes arguments of Keras' class, as `{name: adamw, weight_decay: 0.01}`: `weight_decay`, which is
    for kernels, not for what compressions learn, biases, or normalisations; and `momentum`, `beta_1` and so on, where
    the class has them.

    Attributes:
        name: `sgd`, `rmsprop`, `adam`, `adamw`, `nadam`, `adamax`, `adagrad`, `adadelta`, `lamb` or `lion`.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str = "sgd"

    @model_validator(mode="after")
    def _of_keras(self) -> "OptimizerSettings":
        where = "training.optimizer"
        if self.name not in _OPTIMIZERS:
            near = difflib.get_close_matches(self.name, _OPTIMIZERS, n=1)
            hint = f"Did you mean {near[0]}" if near else f"Known: {', '.join(_OPTIMIZERS)}"
            raise ValueError(f"`{where}` must name an optimiser of Keras. Received: {shown(self.name)}. {hint}")
        known = (*_OPTIMIZERS[self.name], "weight_decay")
        for key, value in self.args.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"Did you mean {near[0]}" if near else f"Known: {', '.join(known)}"
                elsewhere = "; the learning rate is `training.learning_rate`" if key == "learning_rate" else ""
                raise ValueError(
                    f"`{where}` holds an argument that {self.name} does not take. Received: {printable(key)}. "
                    f"{hint}{elsewhere}"
                )
            number = type(value) in (int, float) and math.isfinite(value)
            rule = ""
            if key in _SWITCHES:
                rule = "" if isinstance(value, bool) else "true or false"
            elif key in _BELOW_1:
                rule = "" if number and 0 <= value < 1 else "a number from 0 to below 1"
            elif key == "epsilon":
                rule = "" if number and 0 < value < 1e38 else "a number above 0"
            else:
                rule = "" if number and 0 <= value < 1e38 else "a number of at least 0"
            if rule:
                hint = "Write it with a point, as 1.0e-3" if _is_number_in_text(value) else "Correct it or leave it out"
                raise ValueError(f"`{where}.{key}` must be {rule}. Received: {shown(value)}. {hint}")
        return self

    @property
    def args(self) -> dict[str, Any]:
        """Arguments of Keras' class."""
        return dict(self.model_extra or {})


def _as_optimizer(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class TrainingSettings(_Settings):
    """One supervised training (docs/fidelity.md, "Supervised training").

    Attributes:
        epochs: `null` for the protocol's: 199 (`pons2018`) or 200 (`clean`).
        batch_size: Patches per update; the last, partial batch of an epoch is kept.
        learning_rate: Of the optimiser: SGD without momentum, unless `optimizer` is set.
        clip_norm: Global norm to which gradients are clipped.
        l2: `l2 * sum(w ** 2)` over conv and dense kernels is added to the loss.
        gain_db: `[low, high]`: every training patch is made louder or quieter by a random number of decibels between
            them, another one in every epoch, the same for all compressions; `null`, as in the paper, for none. A
            compression that is relative to the level of the clip does not see it.
        validation: What tells when to stop. `none`, as in the paper: all epochs are done, and the last weights kept.
            `fold`: the loss on the fold that `data.validation_fold: next` leaves out. `share`: that on a share of the
            run's training clips, which then do not train, whole recordings at a time; the same for all compressions
            and networks. Of every clip the patches that lie side by side count. With validation the weights of the
            epoch with the lowest loss are kept.
        validation_share: Of `validation: share`: of the clips of every class.
        patience: With validation: epochs without a lower loss after which training ends; `epochs` are the most.
        optimizer: Of Keras, by name, or with arguments: `{name: adamw, weight_decay: 0.01}`. See `OptimizerSettings`.
        schedule: Of the learning rate: `constant`, or `cosine`, down to 0 over all updates that are planned.
        warmup_share: Of `schedule: cosine`: the share of the updates over which the learning rate first rises from 0.
        class_weights: `balanced`: clips count in the loss by `clips / (classes * clips of their class)`, so that
            classes of `n_shot: all` count alike, however many clips they have; `none`: each clip alike.
        precision: Of training steps. `float32` is the published protocol. `float32_fast` adds sums in another order:
            updates of SB-CNN and VGG with 100 patches take 2 to 18 % less time, depending on the processor, those with
            10 hardly less, and the accuracy of single runs moves in either direction. With `bfloat16`, convolutions and
            dense layers multiply in bfloat16 and add in float32. Weights, statistics of batch normalisation,
            compression, loss and update stay float32, and so do scoring and saved models. Training is 1.3 to 2.6 times
            as fast on processors with bfloat16 instructions (AMX, AVX-512 BF16); other processors and GPUs are refused.
            Also for prototypical networks. No difference in accuracy was found (docs/howto/study.md), with an
            uncertainty of 0.7 (TIMBRE) to 2.2 points (prototypical networks).
    """

    epochs: Count | None = None
    batch_size: Count = 256
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    clip_norm: Annotated[float, Field(gt=0)] = 5.0
    l2: Annotated[float, Field(ge=0)] = 5e-4
    gain_db: tuple[Decibels, Decibels] | None = None
    validation: Literal["none", "fold", "share"] = "none"
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Count = 20
    optimizer: Annotated[OptimizerSettings, BeforeValidator(_as_optimizer)] = OptimizerSettings()
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    precision: Literal["float32", "float32_fast", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _warmup_of_a_schedule(self) -> "TrainingSettings":
        if self.warmup_share and self.schedule == "constant":
            raise ValueError(
                "`training.warmup_share` is of `training.schedule=cosine`. Received: "
                f"warmup_share={self.warmup_share:g}, schedule=constant. Set the schedule, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _low_before_high(self) -> "TrainingSettings":
        if self.gain_db is not None and not self.gain_db[0] < self.gain_db[1]:
            raise ValueError(
                f"`training.gain_db` must be [low, high], low below high. Received: {list(self.gain_db)}. "
                "Write [-20, 20] for gains between a tenth and ten times the amplitude"
            )
        return self


class EpisodicSettings(_Settings):
    """One prototypical training (docs/fidelity.md, "Prototypical training"); optimiser and clipping: `training`.

    Attributes:
        n_support: Maximum number of clips per class in its prototype, with one random patch each.
        n_query: Patches per class and update.
        patch_hop: Frames between the patches of a clip, in training and evaluation.
        patience: Epochs without a new best training accuracy after which training stops. Smaller values shorten
            training, but are not the published protocol.
    """

    n_support: Count = 5
    n_query: Count = 5
    patch_hop: Count = 42
    patience: Count = 200


class EvaluationSettings(_Settings):
    """Scoring of clips (docs/fidelity.md, "Evaluation").

    Attributes:
        patch_hop: Frames between the patches of a clip.
        batch_size: Patches scored at once where patches are cut out; 16 keeps a worker with the prototypical network's
            128 filters under 1.5 GiB. It changes memory, speed and last digits.
        gains_db: Additional levels at which every trained network is scored: its test clips made louder or quieter by
            these gains, in dB. The accuracies are in `levels.csv` of each run and of the study.
    """

    patch_hop: Count = 1
    batch_size: Count = 16
    gains_db: Annotated[tuple[Decibels, ...], BeforeValidator(_as_list)] = ()

    @model_validator(mode="after")
    def _each_once(self) -> "EvaluationSettings":
        if len(set(self.gains_db)) < len(self.gains_db):
            raise ValueError(f"`evaluation.gains_db` must not repeat a value. Received: {shown(list(self.gains_db))}")
        return self


class RaySettings(_Settings):
    """An existing Ray cluster, and the resources of a run; `ray: ADDRESS` is short for `ray: {address: ADDRESS}`.

    Attributes:
        address: `HOST:PORT` of its head, or `auto` on one of its nodes.
        cpus, gpus: Resources of a run; fractions of a GPU are allowed, e.g. 0.25 for four runs per GPU.
        ship_store: Whether the mel store is sent to the nodes; if not, they must see `features.store_dir`.
    """

    address: Annotated[str, Field(pattern=r"^(auto|[^\s\x00:]+:[0-9]{1,5})$"), AfterValidator(_as_address)]
    cpus: Count = 1
    gpus: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    ship_store: bool = False


def _as_ray(value: Any) -> Any:
    return {"address": value} if isinstance(value, str) else value


def _as_list_or_none(value: Any) -> Any:
    return None if value is None else _as_list(value)


def _check_compression(key: str, name: str, variants: Iterable[str] = ()) -> None:
    if name not in variants and not _is_named(name, COMPRESSIONS):
        known = [*COMPRESSIONS, *variants]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}" if near else f"Known: {printable(', '.join(sorted(known)))}"
        raise ValueError(
            f"`{key}` must name a compression, your own as `module:attribute`, or one of `variants`. "
            f"Received: {shown(name)}. {hint}"
        )


class CompressionVariant(_Settings):
    """A compression with arguments other than its defaults, under its own name.

    Attributes:
        layer: A name in `COMPRESSIONS`, or your own layer: `my_lab.layers:MyLog`.
        args: Arguments of that layer, e.g. `{alpha_pre_gate: 16.0, trainable: false}`.
    """

    layer: str
    args: dict[str, Any] = {}

    @model_validator(mode="after")
    def _plain_arguments(self) -> "CompressionVariant":
        for name, value in self.args.items():
            listed = value if isinstance(value, list) else [value]
            # Compared with bounds, since integers may exceed the range of floats.
            if not all(one is None or (isinstance(one, (bool, int, float)) and abs(one) < 1e300) for one in listed):
                # YAML 1.1 reads 1e-8 as text and 1.0e-8 as a number.
                hint = "Write it with a decimal point: 1.0e-8" if _is_number_in_text(value) else "Layers accept no text"
                raise ValueError(
                    f"`args.{printable(name)}` of a variant must be a finite number, true, false, or a list of "
                    f"numbers. Received: {shown(value)}. {hint}"
                )
        return self


_T = TypeVar("_T")
_Some = Annotated[Annotated[tuple[_T, ...], Field(min_length=1)] | None, BeforeValidator(_as_list_or_none)]


class ContrastSettings(_Settings):
    """A difference that a study is planned to estimate, defined before its runs.

    With `minus_score` it is the difference by one score minus the difference by the other, which shows the effect of
    unsettled batch normalisation.

    Attributes:
        title: What is compared, in words.
        compression: The compression being tested.
        baseline: The compression whose accuracy is subtracted.
        models, n_shot: The cells to average over with equal weights; `null` for the whole grid.
        parts: The parts to average over, in a study in parts.
        baseline_parts: Parts to take the baseline from, one for each of `parts`, with the same data set and folds: for
            example another level or another training. `null` for the same parts.
        score: `published` or `settled`: which accuracy.
        minus_score: The other score, whose difference is subtracted; `null` for none.
        margin: Differences within it count as zero: 0.02 is 2 points.
        expect: What is expected, and why; shown next to the result.
    """

    title: Annotated[str, Field(min_length=1, max_length=300)]
    compression: str
    baseline: str = "logeps"
    models: _Some[str] = None
    n_shot: _Some[N] = None
    parts: _Some[str] = None
    baseline_parts: _Some[str] = None
    score: Literal["published", "settled"] = "settled"
    minus_score: Literal["published", "settled"] | None = None
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.02
    expect: Annotated[str, Field(min_length=1, max_length=2000)]

    def cells(self, studies: Sequence["Settings"]) -> list["ContrastCell"]:
        """The cells it is averaged over, as far as their parts are among these."""
        of_part = {settings.part: settings for settings in studies}
        parts = list(of_part) if self.parts is None else list(self.parts)
        return [
            ContrastCell(of_part[part], of_part[other], model, n_shot)
            for part, other in zip(parts, self.baseline_parts or parts, strict=True)
            if part in of_part and other in of_part
            for model in self.models or of_part[part].models
            for n_shot in self.n_shot or of_part[part].n_shot
        ]


class ContrastCell(NamedTuple):
    """A cell that a contrast is averaged over: the parts of both sides (mostly the same), network and n."""

    ours: "Settings"
    theirs: "Settings"
    model: str
    n_shot: NShot


class Settings(_Settings):
    """A study: a grid of paired runs.

    Attributes:
        name: Name of the study and of its folder under `runs_dir`.
        part: In a study in parts, the part that these settings describe; its folder is inside the study's.
        protocol: `pons2018`, the reference experiment to the letter, or `clean`.
        seed: All random draws of the study derive from it.
        models: An axis of the grid: names in `MODELS`, or your own builders: `my_lab.nets:build_crnn`.
        compressions: An axis of the grid: names in `COMPRESSIONS`, your own layers: `my_lab.layers:MyLog`, or names
            in `variants`.
        n_shot: An axis of the grid: training clips per class. `all` is every training clip of the fold, with classes of
            any size: its runs differ only in weights and patches.
        folds: An axis of the grid: test folds.
        variants: Name -> a compression with non-default arguments.
        runs: Repetitions of every cell: one number, or one per n: `{5: 4, all: 2}`.
        runs_dir: Folder of the results.
        workers: Processes that train in parallel; `null` for one per core.
        threads: Threads per process. One is fastest for many runs; results with more differ in their last digits.
        run_timeout_s: Seconds after which a run is stopped and recorded as failed, including the start of its worker;
            `null` for no limit. The next `loglearn run` retries it.
        ray: If given, runs are executed on this cluster.
        save_models: Whether every run keeps its trained `model.keras`, from waveform to probabilities.
        tensorboard: Runs that keep event files: `all`; `first`, run 0 of the first fold of every model, compression and
            n, since thousands of event files make TensorBoard unusable; `none`.
        contrasts: Name -> a planned contrast. No run depends on it. In a study in parts, contrasts belong to the whole
            study.
    """

    name: Name
    part: Name | None = None
    protocol: Literal["pons2018", "clean"] = "pons2018"
    seed: Seed = 0
    data: DataSettings
    features: FeatureSettings = FeatureSettings()
    models: Annotated[
        tuple[Annotated[str, AfterValidator(_named(MODELS))], ...], BeforeValidator(_as_list), Field(min_length=1)
    ]
    compressions: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
    variants: dict[Name, CompressionVariant] = {}
    n_shot: Annotated[tuple[N, ...], BeforeValidator(_as_list), Field(min_length=1)]
    folds: Annotated[tuple[int, ...], BeforeValidator(_as_list), Field(min_length=1)]
    runs: Count | dict[_AnyN, Count]
    training: TrainingSettings = TrainingSettings()
    episodic: EpisodicSettings = EpisodicSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    runs_dir: FolderName = "runs"
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = None
    threads: Annotated[int, Field(ge=1, le=10_000)] = 1
    run_timeout_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    ray: Annotated[RaySettings | None, BeforeValidator(_as_ray)] = None
    save_models: bool = False
    tensorboard: Literal["all", "first", "none"] = "first"
    contrasts: dict[Name, ContrastSettings] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        # Nothing is known about other data sets until they are read; `check_grid` checks them then.
        corpus = DATASETS.own(self.data.name)
        if corpus is not None:
            self._check_data(corpus)
        outside = [fold for fold in self.folds if not 1 <= fold <= LAST_FOLD]
        if outside:
            raise ValueError(
                f"`folds` of {self.data.name} must be between 1 and {LAST_FOLD:,}. Received: fold {outside[0]}"
            )
        for axis in ("models", "compressions", "n_shot", "folds"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"`{axis}` must not repeat a value. Received: {shown(list(values))}")
        for axis in ("models", "compressions"):
            names = getattr(self, axis)
            if len(set(map(folder_name, names))) < len(names):
                raise ValueError(
                    f"`{axis}` must differ in more than `:` and `-`, which are equal in folder names. "
                    f"Received: {shown(list(names))}"
                )
        self._check_compressions()
        if isinstance(self.runs, dict):
            without = [n for n in self.n_shot if n not in self.runs]
            if without:
                raise ValueError(
                    f"`runs` has no number of repetitions for n_shot={without[0]}. Add `{without[0]}: ...` to it "
                    "or give one number for all"
                )
        n_runs = len(self.models) * len(self.compressions) * len(self.folds) * sum(map(self.runs_for, self.n_shot))
        if n_runs > _MOST_RUNS:
            raise ValueError(
                f"A grid may have at most {_MOST_RUNS:,} runs: models x compressions x folds x runs. Received: "
                f"{n_runs:,}. The paper's has 6,000"
            )
        for network in filter(None, map(MODELS.own, self.models)):
            if self.features.n_mels < network.min_n_mels:
                raise ValueError(
                    f"`features.n_mels` must be at least {network.min_n_mels} for {network.title}. Received: "
                    f"features.n_mels={self.features.n_mels}. Use more bands, or leave {network.name} out of `models`"
                )
            if self.features.patch_frames < network.min_patch_frames:
                raise ValueError(
                    f"`features.patch_frames` must be at least {network.min_patch_frames} for {network.title}. "
                    f"Received: features.patch_frames={self.features.patch_frames}. Use longer patches, a smaller "
                    f"`features.hop_length`, or leave {network.name} out of `models`"
                )
        if self.features.gain_db and self.save_models:
            raise ValueError(
                f"`features.gain_db` must be 0 with `save_models`: a saved model applies no gain. "
                f"Received: features.gain_db={self.features.gain_db:g}"
            )
        no_epochs = [name for name in self.models if (own := MODELS.own(name)) and "training" not in own.reads]
        used = _without_unused(self.training, _LATER_TRAINING)
        for key in _LATER_TRAINING:
            if no_epochs and key in used:
                raise ValueError(
                    f"`training.{key}` does not apply to {no_epochs[0]}, which trains on episodes. Remove it from "
                    f"`models`, or `training.{key}`"
                )
        if self.training.validation == "fold" and self.data.validation_fold == "none":
            raise ValueError(
                "`training.validation=fold` needs the fold that `data.validation_fold=next` leaves out of training. "
                "Received: data.validation_fold=none. Set it to next, or `training.validation=share`"
            )
        gains = {"training.gain_db": self.training.gain_db, "evaluation.gains_db": self.evaluation.gains_db}
        changed = [name for name, value in gains.items() if value]
        if changed and self.features.compression != "none":
            raise ValueError(
                f"`{changed[0]}` changes mel power, but `features.compression` stores logarithms. Received: "
                f"features.compression={self.features.compression}. Remove one of the two"
            )
        if self.features.compression != "none":
            again = [name for name in self.compressions if self.compression(name)[0] != "none"]
            if again:
                raise ValueError(
                    f"compression {again[0]} needs mel power, but `features.compression={self.features.compression}` "
                    "stores logarithms, which can be negative: their logarithm is not a number. Set "
                    "`features.compression=none`, or `compressions=[none]`"
                )
        return self

    def _check_data(self, corpus: Corpus) -> None:
        if self.data.synthetic is not None and not corpus.synthetic:
            made = [name for name in DATASETS if (other := DATASETS.own(name)) is not None and other.synthetic]
            raise ValueError(
                f"`data.synthetic` supports the layouts of {' and '.join(made)}. Received: "
                f"data.name={corpus.name}. Leave it out"
            )
        outside = [fold for fold in self.folds if fold not in corpus.test_folds] if corpus.test_folds else []
        if outside:
            first, last = corpus.test_folds[0], corpus.test_folds[-1]
            rule = f"between {first} and {last}" if first < last else f"[{first}], {corpus.short}'s one split"
            raise ValueError(f"`folds` of {corpus.name} must be {rule}. Received: fold {outside[0]}")

    def _check_compressions(self) -> None:
        for name, variant in self.variants.items():
            _check_compression(f"variants.{name}.layer", variant.layer)
        hidden = sorted(name for name in self.variants if name in COMPRESSIONS)
        if hidden:
            raise ValueError(
                f"`variants` must not use the name of a built-in compression. Received: {hidden[0]}. Choose another"
            )
        for name in self.compressions:
            _check_compression("compressions", name, self.variants)

    def compression(self, name: str) -> tuple[str, dict[str, Any]]:
        """The layer's name in `COMPRESSIONS` and its arguments, for a compression of this study."""
        variant = self.variants.get(name)
        return (name, {}) if variant is None else (variant.layer, dict(variant.args))

    def runs_for(self, n_shot: NShot) -> int:
        """Repetitions of a cell with `n_shot` clips per class."""
        return self.runs if isinstance(self.runs, int) else self.runs[n_shot]

    def patch_hop(self, network: Network) -> int:
        """Frames between the patches that a network scores."""
        section: EvaluationSettings | EpisodicSettings = getattr(self, network.patch_hop_in)
        return section.patch_hop

    @property
    def epochs(self) -> int:
        # The reference loops 200 times and skips the first (docs/fidelity.md, "Supervised training").
        return self.training.epochs or {"pons2018": 199, "clean": 200}[self.protocol]

    @property
    def study_dir(self) -> Path:
        return Path(self.runs_dir, self.name, *([self.part] if self.part else []))

    def dump(self) -> dict[str, Any]:
        """The settings as plain data, every default and protocol value written out."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        plain["training"]["epochs"] = self.epochs
        return plain

    def result_settings(self) -> dict[str, Any]:
        """Everything besides its cell of the grid and the clips that a run's result depends on.

        Later settings that are not used are left out, so that earlier runs stay valid. For settings that only some
        networks depend on, see `grid.identity_of`.
        """
        plain = self.dump()
        features = _without_unused(self.features, _LATER_FEATURES)
        training = _without_unused(self.training, _LATER_TRAINING)
        if self.training.validation == "none":
            training = {key: value for key, value in training.items() if key not in _OF_VALIDATION}
        # Kept out of the section: networks that read only single settings of `training` depend on it, too.
        precision = training.pop("precision")
        kept = {key: features[key] for key in _NOT_FRONT_END if key in features and key != "store_dir"}
        return {
            "protocol": plain["protocol"],
            "seed": plain["seed"],
            "threads": plain["threads"],
            "data": {"name": plain["data"]["name"], "validation_fold": plain["data"]["validation_fold"]},
            # As text, since null is compared like a missing key.
            "features": {**self.features.front_end, **({} if self.features.norm else {"norm": "none"}), **kept},
            "training": {**training, "epochs": self.epochs},
            "episodic": plain["episodic"],
            # Under its original name, as in finished runs.
            "evaluation": {
                "hop": plain["evaluation"]["patch_hop"],
                **({"gains_db": plain["evaluation"]["gains_db"]} if self.evaluation.gains_db else {}),
            },
            **({"variants": plain["variants"]} if self.variants else {}),
            **({"training.precision": precision} if precision != "float32" else {}),
        }


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Reads a YAML file and applies overrides such as `n_shot=[1,10]` or `data.root=/path`.

    Args:
        path: A file, or the name of an experiment of the package: see `settings_file`.
        overrides: `key=value` each.

    Raises:
        ConfigError: If the file is missing or not YAML, or a setting is unknown, of the wrong type, out of range, or
            contradicts another; if it is a study in several parts.

    Example:
        >>> settings = load_settings("us8k", ["n_shot=[1,10]", "folds=[1]"])
        >>> settings.n_shot, settings.folds
        ((1, 10), (1,))
    """
    studies = load_studies(path, overrides)
    if len(studies) > 1:
        parts = [str(settings.part) for settings in studies]
        raise ConfigError(f"{path} has the parts {', '.join(parts)}. Choose one: `part={parts[0]}`.")
    return studies[0]


def load_studies(path: str | Path, overrides: Sequence[str] = ()) -> list[Settings]:
    """Like `load_settings`, for a file that may hold a study in parts.

    `parts` in the file is a table, name -> settings that differ in this part. Overrides apply to all parts and take
    precedence over a part's own settings; `part=NAME` or `part=[NAME,NAME]` selects parts.

    Returns:
        The settings of each part, in the file's order; for a study without parts, a single element.

    Raises:
        ConfigError: As for `load_settings`; also if a part does not exist.
    """
    path = settings_file(path)
    raw = read_table(path)
    changes = [_renamed(parse_override(override)) for override in overrides]
    if "parts" not in raw:
        if any(change.keys == ("part",) for change in changes):
            raise ConfigError(f"{path} has no parts. Omit `part=`.")
        settings = _validated(raw, changes, path)
        # The remembered settings of one part may name parts that are not available for comparison.
        if settings.contrasts and settings.part is None:
            check_contrasts([_validated(raw, _without_axes(raw, changes), path)], path)
        return [settings]
    parts_of = raw.pop("parts")
    if isinstance(parts_of, dict):
        parts_of = {str(name): part for name, part in parts_of.items()}
    if not isinstance(parts_of, dict) or not parts_of or not all(isinstance(x, dict | None) for x in parts_of.values()):
        raise ConfigError(f"`parts` in {path} must be a table of `name: settings`. Received: {shown(parts_of)}.")
    if len(parts_of) > _MOST_PARTS:
        raise ConfigError(f"`parts` in {path} may have at most {_MOST_PARTS:,} entries. Received: {len(parts_of):,}.")
    asked = [change.value for change in changes if change.keys == ("part",)]
    chosen = tuple(map(str, _as_list(asked[-1]))) if asked else tuple(parts_of)
    unknown = [name for name in chosen if name not in parts_of]
    if unknown or not chosen:
        known = printable(", ".join(parts_of))
        raise ConfigError(f"`part` must be one of the parts of {path}: {known}. Received: {shown(asked[-1])}.")
    changes = [change for change in changes if change.keys != ("part",)]
    raw = _with_new_names(raw)
    for name, part in parts_of.items():
        if "contrasts" in (part or {}):
            raise ConfigError(
                f"`parts.{printable(name)}.contrasts` in {path}: contrasts belong to the whole study, not to a part. "
                "Move them next to `parts`, and name the part in each one's `parts`."
            )

    def settings_of(name: str, some: Sequence[Override]) -> Settings:
        part = {**merged(raw, _with_new_names(parts_of[name] or {})), "part": name}
        return _validated(part, some, f"{path}, part {printable(name)}")

    studies = [settings_of(name, changes) for name in parts_of if name in chosen]
    if studies[0].contrasts:
        # For all parts, whichever are selected, and the whole grid, since it may be run a little at a time.
        check_contrasts([settings_of(name, _without_axes(raw, changes)) for name in parts_of], path)
    return [_with_parts_named(settings, tuple(parts_of)) for settings in studies]


def _with_parts_named(settings: Settings, parts: tuple[str, ...]) -> Settings:
    """Names the parts of contrasts over all parts, so that a part read alone later knows of the others."""
    named = {
        name: contrast if contrast.parts is not None else contrast.model_copy(update={"parts": parts})
        for name, contrast in settings.contrasts.items()
    }
    return settings.model_copy(update={"contrasts": named}) if named else settings


# Settings that select how much of a study is run.
_AXES = ("models", "compressions", "n_shot", "folds", "runs")


def _without_axes(raw: Mapping[str, Any], changes: Sequence[Override]) -> list[Override]:
    """The overrides that do not narrow the grid; a setting that the file leaves open is not narrowed."""
    return [change for change in changes if change.keys[0] not in _AXES or change.keys[0] not in raw]


def check_contrasts(studies: Sequence[Settings], path: str | Path) -> None:
    """Checks a study's contrasts against its grid.

    Args:
        studies: All parts of it, or the available one. Each holds the same contrasts.
        path: The file, for messages.

    Raises:
        ConfigError: If a contrast names a part or cell that does not exist, compares a thing with itself, repeats
            another contrast, or cannot have an interval.
    """
    of_part = {settings.part: settings for settings in studies}
    compared: dict[str, str] = {}
    for name, contrast in studies[0].contrasts.items():
        key = f"contrasts.{name}"

        def refuse(
            field: str, rule: str, received: Any, known: Iterable[Any] = (), *, remedy: str = "", key: str = key
        ) -> ConfigError:
            texts = list(map(str, known))
            near = difflib.get_close_matches(str(received), texts, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(texts)}." if texts else remedy
            return ConfigError(
                f"`{key}.{field}` in {path} {rule}. Received: {shown(received)}.{printable(hint, longest=1000)}"
            )

        for field in ("parts", "baseline_parts"):
            named = getattr(contrast, field)
            if named is not None and None in of_part:
                raise refuse(field, "must be omitted: the study has no parts", list(named))
            unknown = [part for part in named or () if part not in of_part]
            if unknown:
                raise refuse(field, "must name parts of the study", unknown[0], of_part)
        for field in ("models", "n_shot", "parts"):
            values = getattr(contrast, field) or ()
            if len(set(values)) < len(values):
                raise refuse(field, "must not repeat a value", list(values))
        if contrast.baseline_parts is not None and len(contrast.baseline_parts) != len(contrast.parts or ()):
            rule = f"must have one entry for each of the {len(contrast.parts or ())} `parts`"
            raise refuse("baseline_parts", rule, list(contrast.baseline_parts))
        parts: tuple[str | None, ...] = contrast.parts or tuple(of_part)
        same = [part for part, other in zip(parts, contrast.baseline_parts or parts, strict=True) if part == other]
        if contrast.compression == contrast.baseline and same:
            rule = "must differ from `compression`, or come from other parts (`baseline_parts`)"
            raise refuse("baseline", rule, contrast.baseline)
        if contrast.score == contrast.minus_score:
            raise refuse("minus_score", "must be the other score than `score`", contrast.minus_score)
        cells = contrast.cells(studies)
        single: dict[tuple[str, str], Settings] = {}
        for ours, theirs, model, n_shot in cells:
            for settings, field, compression in (
                (ours, "compression", contrast.compression),
                (theirs, "baseline", contrast.baseline),
            ):
                where = "must be in the grid" + (f" of part {settings.part}" if settings.part else "")
                for key_of_value, value, there in (
                    (field, compression, settings.compressions),
                    ("models", model, settings.models),
                    ("n_shot", n_shot, settings.n_shot),
                ):
                    if value not in there:
                        raise refuse(key_of_value, where, value, there)
            if (ours.data.name, ours.data.root, ours.folds) != (theirs.data.name, theirs.data.root, theirs.folds):
                rule = f"must have the same data set and folds as their partners in `parts`, here {ours.part}"
                raise refuse("baseline_parts", rule, theirs.part)
            # A mean is taken over folds, or over the runs of a single fold.
            if (len(ours.folds) == 1) != (len(cells[0].ours.folds) == 1):
                rule = "must all have one fold, or all have several: one fold says nothing about others"
                raise refuse("parts", rule, list(parts))
            if len(ours.folds) == 1:
                first = single.setdefault((ours.data.name, ours.data.root), ours)
                if ours.folds != first.folds:
                    folds = sorted({*first.folds, *ours.folds})
                    raise refuse(
                        "parts",
                        "must have the same fold if each has a single fold of a data set: runs alone do not show how "
                        "much folds differ",
                        {first.part: first.folds[0], ours.part: ours.folds[0]},
                        remedy=f" Use `folds: {folds}` in each, or in one part in their place.",
                    )
            if len(ours.folds) == 1 and min(ours.runs_for(n_shot), theirs.runs_for(n_shot)) < 2:
                raise refuse("n_shot", "must have at least two runs if there is one fold: nothing else varies", n_shot)
        what = json.dumps(
            [
                *(contrast.compression, contrast.baseline, contrast.score, contrast.minus_score),
                *sorted(
                    (str(ours.part), str(theirs.part), model, str(n_shot)) for ours, theirs, model, n_shot in cells
                ),
            ]
        )
        if what in compared:
            raise ConfigError(
                f"`{key}` in {path} must differ from all other contrasts, since each one costs the others power. It is "
                f"the same as `contrasts.{compared[what]}`. Remove one."
            )
        compared[what] = name


# Settings renamed since an earlier version.
_NEW_NAMES: dict[tuple[str, ...], str] = {("evaluation", "hop"): "patch_hop"}


def _with_new_names(table: Any, place: tuple[str, ...] = ()) -> Any:
    """A table with the current names of settings; a setting given under both names keeps both."""
    if not isinstance(table, dict):
        return table
    names = {key: _NEW_NAMES.get((*place, key), key) for key in table}
    return {
        key if key != names[key] in table else names[key]: _with_new_names(value, (*place, key))
        for key, value in table.items()
    }


def _renamed(override: Override) -> Override:
    keys = tuple(_NEW_NAMES.get(override.keys[: at + 1], key) for at, key in enumerate(override.keys))
    return replace(override, keys=keys, value=_with_new_names(override.value, keys))


def _validated(raw: dict[str, Any], changes: Sequence[Override], path: str | Path) -> Settings:
    raw = with_overrides(_with_new_names(raw), changes)
    given = {change.keys for change in changes}
    try:
        # Through JSON, where strict validation still accepts lists for tuples.
        return Settings.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise ConfigError(_describe(error, path, given)) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} contains a value that no setting accepts: {printable(str(error))}. Use numbers, text or lists."
        ) from error


def _describe(error: ValidationError, path: str | Path, given: set[tuple[str, ...]]) -> str:
    """pydantic's first complaint in the form: key, place, rule, value received, remedy."""
    errors = error.errors(include_url=False)
    # `runs` is a number or a table: among complaints about a table, the one about a number in it is the deepest.
    first = max(
        (one for one in errors if one["loc"][:1] == errors[0]["loc"][:1] == ("runs",)),
        key=lambda one: len(one["loc"]),
        default=errors[0],
    )
    if first["type"] == "missing":
        # A misspelt key is both missing and unknown; the second says what to change.
        unknown_keys = {
            str(one["loc"][-1]): one
            for one in errors
            if one["type"] == "extra_forbidden" and one["loc"][:-1] == first["loc"][:-1]
        }
        misspelt = difflib.get_close_matches(str(first["loc"][-1]), unknown_keys, n=1)
        first = unknown_keys[misspelt[0]] if misspelt else first
    # Numbers index a list; "constrained-int" and the like name a branch of a union, internal to pydantic.
    loc = [part for part in first["loc"] if isinstance(part, str)]
    unknown = first["type"] == "extra_forbidden"
    named = loc[: -1 if unknown else None]
    # Names of variants and contrasts are chosen by the user.
    own = loc[:1] in (["variants"], ["contrasts"])
    keys = tuple(part for part in named if (part.isidentifier() and part != "int") or own)
    keys += tuple(loc[-1:]) if unknown else ()
    key = printable(".".join(keys))
    from_override = any(keys and keys[: len(parts)] == parts[: len(keys)] for parts in given)
    where = "the command line" if from_override else str(path)
    if unknown:
        near = difflib.get_close_matches(keys[-1], _fields(keys[:-1]), n=1)
        known = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(_fields(keys[:-1]))}."
        return f"Unknown key `{key}` in {where}. {known}"
    if first["type"] == "missing":
        example = settings_file("decisive" if loc[:1] == ["contrasts"] else "us8k")
        return f"Key `{key}` is missing in {where}. Add it; {example} is an example."
    if first["type"] == "value_error":
        # A rule between settings, any of which may come from the file or the overrides.
        return f"{path}{' with the overrides' if given else ''}: {first['ctx']['error']}."
    # YAML 1.1 reads 1e-3 as text and 1.0e-3 as a number.
    hint = (
        " Write it with a decimal point: 1.0e-3."
        if first["type"] == "float_type" and _is_number_in_text(first["input"]) and not is_quoted(first["input"])
        else ""
    )
    return f"`{key}` in {where}: {_rule(first)}. Received: {shown(first['input'])}.{hint}"


def _rule(complaint: "ErrorDetails") -> str:
    """pydantic's rule, completed where it does not say what to change."""
    rule = complaint["msg"][0].lower() + complaint["msg"][1:]
    if complaint["type"] == "string_pattern_mismatch" and complaint["ctx"]["pattern"] == _NAME:
        return f"{rule}: letters without accents, digits, `_`, `.` and `-`, and a letter or digit first"
    if complaint["type"] in ("int_type", "float_type") and is_quoted(complaint["input"]):
        return f"{rule}, without quotes"
    return rule


def _is_number_in_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _fields(section: Sequence[str]) -> list[str]:
    model: Any = Settings
    for name in section:
        if name not in model.model_fields:
            continue  # a name chosen by the user, in a table such as `variants`
        annotation = model.model_fields[name].annotation
        options = (annotation, *getattr(annotation, "__args__", ()))
        classes = [option for option in options if isinstance(option, type) and get_origin(option) is None]
        found = [option for option in classes if issubclass(option, BaseModel)]
        if found:
            model = found[0]
    return list(model.model_fields)
