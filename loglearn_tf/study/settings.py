"""YAML to validated, frozen settings; every value can be overridden as `key=value`."""

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_origin

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
from loglearn_tf.study.yaml_file import Override, merged, parse_override, read_table, settings_file, with_overrides


def _as_list(value: Any) -> Any:
    """Lets `n_shot: 10` stand for `n_shot: [10]`."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


# A typing error must not fill the memory: grids are bounded far beyond any use.
_MOST_RUNS, _MOST_PARTS = 1_000_000, 1000
# File systems take names of 255 bytes, and Linux paths of 4,096: less, as files lie in these folders.
_LONGEST_NAME, _LONGEST_PATH = 255, 3500
# Of studies, their parts, and variants of compressions: folders are called so.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
# Of tables, whose keys are text in JSON.
_AnyN = Annotated[Count | Literal["all"], Field()]
Seed = Annotated[int, Field(ge=0, le=1 << 64)]
Decibels = Annotated[float, Field(ge=-200, le=200)]


def _as_n_shot(value: Any) -> Any:
    """Text is `all`, or wrong; Pydantic would say so of a number first."""
    if isinstance(value, str) and value != ALL:
        raise PydanticCustomError("n_shot", "input should be a valid integer, or `all`")
    return value


N = Annotated[_AnyN, BeforeValidator(_as_n_shot)]


def _as_folder(name: str) -> str:
    """Shells expand `~` at the beginning of a word only, not in `data.root=~/sounds`."""
    if "\0" in name:
        raise PydanticCustomError("path", "a path must not hold NUL")
    path = os.path.expanduser(name)
    longest = max(len(os.fsencode(part)) for part in path.split(os.sep))
    if longest > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
        raise PydanticCustomError(
            "path",
            f"a path must have at most {_LONGEST_PATH:,} bytes, and each name in it {_LONGEST_NAME}",
        )
    return path


def _as_address(address: str) -> str:
    """What sockets refuse otherwise, with errors that are not the network's."""
    host, _, port = address.rpartition(":")
    try:
        if address != "auto" and (len(host.encode("idna")) > 253 or int(port) >= 1 << 16):
            raise ValueError
    except ValueError:  # as UnicodeError is, too
        raise PydanticCustomError("address", "a host's name and a port of at most 65535 are needed") from None
    return address


FolderName = Annotated[str, AfterValidator(_as_folder)]


def _named(registry: Registry[Any]) -> Callable[[str], str]:
    """Checks that a name is listed, or has the form `module:attribute`; imports nothing."""

    def check(name: str) -> str:
        if not _is_named(name, registry):
            # Braces and quotes would be taken for a template's.
            raise PydanticCustomError(
                "name",
                "must name a {kind}: {names}, or one of yours as `module:attribute`",
                {
                    "kind": registry.kind,
                    "names": ", ".join(repr(one) for one in registry),
                },
            )
        return name

    return check


def _is_named(name: str, registry: Registry[Any]) -> bool:
    """Also whether a folder can be called so, which names of installed packages need not allow."""
    return len(name) <= 100 and (is_place(name) or (name in registry and re.fullmatch(_NAME, name) is not None))


class _Settings(BaseModel):
    # strict: "10" is not 10, and true is not 1. A setting that was misread would change a result.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SyntheticSettings(_Settings):
    """Makes the data set at `data.root` first, if it is not there: sounds that are computed, not recorded.

    Attributes:
        clips_per_class: US8K: per class and fold; TUT: per class, [development, evaluation].
        folds: US8K folds to make.
        seed: Of the sounds.
        duration_s: Length of the longest clips, seconds; `null` for the official one, 4 s or 10 s.
    """

    clips_per_class: Annotated[tuple[Count, ...], BeforeValidator(_as_list)] = (10,)
    folds: Annotated[tuple[Annotated[int, Field(ge=1, le=10)], ...], BeforeValidator(_as_list)] = tuple(range(1, 11))
    seed: Seed = 0
    duration_s: Annotated[float, Field(gt=0, le=3600)] | None = None


class DataSettings(_Settings):
    """Which data set, and where it lies.

    Attributes:
        name: `us8k`, `tut`, `folder` for recordings of your own, or the place of a loader: `my_lab.data:load`.
        root: Its folder, in the official layout. Of `folder`: a folder that holds a folder for each class, also with
            lists of what trains and tests, as of Speech Commands; ESC-50 or ESC-10; acoustic scenes of TUT or TAU of
            other years than 2017; or a CSV file with the columns path, label and fold, or split (train, validation,
            test) in its place, and perhaps group, start and end (seconds). Of one split, `folds` is [1].
        validation_fold: US8K and `folder`: `next` leaves fold k + 1 out of training, as the reference does;
            `none` trains on all others. Clips that a split has to validate never train.
        n_folds: Folds that the clips of class-named folders are dealt into, and those of a CSV file without any.
        allow_missing: Go on without clips that the metadata lists and the disk lacks.
        synthetic: Where given, the data set is made at `root`.
    """

    name: Annotated[str, AfterValidator(_named(DATASETS))]
    root: FolderName
    validation_fold: Literal["next", "none"] = VALIDATION_FOLD
    n_folds: Annotated[int, Field(ge=2, le=1000)] = N_FOLDS
    allow_missing: bool = False
    synthetic: SyntheticSettings | None = None


# What was added to a section after its first runs, and is no part of a run's identity or a store's name where it has
# its default: runs and stores from before stay valid.
_LATER_FEATURES = ("win_length", "window", "mel_scale", "norm", "gain_db", "patch_frames")
_LATER_TRAINING = (
    *("gain_db", "validation", "validation_share", "patience", "optimizer", "schedule", "warmup_share"),
    "class_weights",
)
# Without validation these say nothing, and without a schedule nothing warms up.
_OF_VALIDATION = ("validation_share", "patience")
_NOT_FRONT_END = ("store_dir", "compression", "gain_db", "patch_frames")


def _without_unused(section: _Settings, later: Iterable[str]) -> dict[str, Any]:
    """A section as plain data, without those of the later settings that have their defaults."""
    defaults = {name: type(section).model_fields[name].default for name in later}
    plain: dict[str, Any] = section.model_dump(mode="json")
    return {name: plain[name] for name in plain if name not in later or getattr(section, name) != defaults[name]}


class FeatureSettings(_Settings):
    """The mel front end, where its stores lie, and how long the patches are that networks take.

    Attributes:
        store_dir: Folder of the mel stores.
        sample_rate, n_fft, win_length, hop_length, window, n_mels, f_min, f_max, pad_mode, fft_dtype: see
            `MelSpectrogram`.
        mel_scale, norm: see `MelSpectrogram`.
        compression: `none` stores mel power, which every compression trains from. `logeps` stores
            the logarithm, as the reference's own feature files do; networks that read it must
            not compress again.
        gain_db: Applied to every waveform first: -20 leaves a tenth of the amplitude, a hundredth of the power.
        patch_frames: Frames of a patch: what a network is trained on and scores at a time. A frame is `hop_length`
            samples: 128 are 2.97 s by default. Clips that are shorter are repeated. The mel store does not depend on
            it.
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
                f"n_fft={self.n_fft}. Use a larger `n_fft`, or a shorter window"
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
        """The arguments of `MelSpectrogram`; what it has learned since its first stores, only where it is used."""
        plain = _without_unused(self, _LATER_FEATURES)
        if self.win_length == self.n_fft:
            del plain["win_length"]  # the default, written out
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
                hint = "Write it with a point, as 1.0e-3" if _is_number_in_text(value) else "Mend it, or leave it out"
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
        precision: Of training steps. `float32` is the published protocol. With `bfloat16`, convolutions and dense
            layers multiply in bfloat16 and add in float32. Weights, statistics of batch normalisation, compression,
            loss and update stay float32, and so do scoring and saved models. Training is 1.5 to 2.5 times as fast on
            processors with bfloat16 instructions (AMX, AVX-512 BF16); other processors and GPUs are refused. Also for
            prototypical networks.
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
    precision: Literal["float32", "bfloat16"] = "float32"

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
        n_support: At most so many clips per class make its prototype, one random patch each.
        n_query: Patches per class and update.
        patch_hop: Frames between the patches of a clip, in training and evaluation.
        patience: Epochs without a new best training accuracy after which training stops; smaller
            is shorter, and no longer the published protocol.
    """

    n_support: Count = 5
    n_query: Count = 5
    patch_hop: Count = 42
    patience: Count = 200


class EvaluationSettings(_Settings):
    """Scoring of clips (docs/fidelity.md, "Evaluation").

    Attributes:
        patch_hop: Frames between the patches of a clip.
        batch_size: Patches scored at once where they are cut; 16 hold a worker with the prototypical network's 128
            filters under 1.5 GiB. Changes memory and speed, and last digits.
        gains_db: Every trained network is scored at these levels, too: its test clips made louder or quieter by so many
            decibels. The accuracies are in each run's `levels.csv` and the study's.
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
    """An existing Ray cluster, and what a run asks of it; `ray: ADDRESS` is short for `ray: {address: ADDRESS}`.

    Attributes:
        address: `HOST:PORT` of its head, or `auto` on one of its nodes.
        cpus, gpus: Of a run; parts of a GPU are allowed, as 0.25 for four runs to a GPU.
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
            f"`{key}` must name a compression, one of yours as `module:attribute`, or one of `variants`. "
            f"Received: {shown(name)}. {hint}"
        )


class CompressionVariant(_Settings):
    """A compression with other arguments than its defaults, under a name of its own.

    Attributes:
        layer: A name in `COMPRESSIONS`, or the place of a layer: `my_lab.layers:MyLog`.
        args: Arguments of that layer, as `{alpha_pre_gate: 16.0, trainable: false}`.
    """

    layer: str
    args: dict[str, Any] = {}

    @model_validator(mode="after")
    def _plain_arguments(self) -> "CompressionVariant":
        for name, value in self.args.items():
            listed = value if isinstance(value, list) else [value]
            # Compared, as whole numbers beyond any float have no other way to be told.
            if not all(one is None or (isinstance(one, (bool, int, float)) and abs(one) < 1e300) for one in listed):
                # YAML 1.1 takes 1e-8 for text, and 1.0e-8 for a number.
                hint = "Write numbers with a point, as 1.0e-8" if _is_number_in_text(value) else "Layers take no text"
                raise ValueError(
                    f"`args.{printable(name)}` of a variant must be a finite number, true, false, or a list of "
                    f"numbers. Received: {shown(value)}. {hint}"
                )
        return self


_T = TypeVar("_T")
_Some = Annotated[Annotated[tuple[_T, ...], Field(min_length=1)] | None, BeforeValidator(_as_list_or_none)]


class ContrastSettings(_Settings):
    """A difference that a study is to answer for, written down before its runs.

    With `minus_score` it is the same difference by one score minus that by the other: what unsettled batch
    normalisation has to do with it.

    Attributes:
        title: What is compared, in words.
        compression: Whose accuracy counts as a gain.
        baseline: Whose accuracy is subtracted.
        models, n_shot: The cells over which it is averaged, each with the same weight; `null` for all of the grid.
        parts: The same of a study in parts.
        baseline_parts: Parts that the baseline is taken from, one for each of `parts`, of the same data set and folds:
            another level, or another training. `null` for the same parts.
        score: `published` or `settled`: which accuracy.
        minus_score: The other score, whose difference is subtracted; `null` for none.
        margin: Differences within it count as none: 0.02 is 2 points.
        expect: What is expected, and why; shown beside what was found.
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
        """What it is averaged over, as far as its parts are among these."""
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
    """One of the cells that a contrast is averaged over: the parts of both sides, mostly the same, network and n."""

    ours: "Settings"
    theirs: "Settings"
    model: str
    n_shot: NShot


class Settings(_Settings):
    """A study: a grid of paired runs.

    Attributes:
        name: Names the study's folder under `runs_dir`.
        part: Of a study in parts, the one that these settings are of; a folder inside the study's.
        protocol: `pons2018`, the reference experiment to the letter, or `clean`.
        seed: Every draw of the study derives from it.
        models: An axis of the grid: names in `MODELS`, or places of builders: `my_lab.nets:build_crnn`.
        compressions: An axis of the grid: names in `COMPRESSIONS`, places of layers: `my_lab.layers:MyLog`, or names
            in `variants`.
        n_shot: An axis of the grid: training clips per class. `all` is every training clip of the fold, of classes of
            any sizes: its runs differ in weights and patches alone, and share what else they share.
        folds: An axis of the grid: test folds.
        variants: Name -> a compression with other arguments.
        runs: Repetitions of every cell: one number, or one per n: `{5: 4, all: 2}`.
        runs_dir: Where results go.
        workers: Processes that train side by side; `null` for one a core.
        threads: Of each process. One is fastest for many runs, and results with more differ in their last digits.
        run_timeout_s: Seconds after which a run is ended and recorded as failed, the start of its worker included;
            `null` for no limit. The next `loglearn run` tries it again.
        ray: Where given, runs are done by this cluster.
        save_models: Whether every run keeps its trained `model.keras`, from waveform to probabilities.
        tensorboard: Runs that keep event files: `all`; `first`, run 0 of the first fold of every cell of model,
            compression and n, since thousands of event files make TensorBoard unusable; `none`.
        contrasts: Name -> what the study is to answer for. No run depends on it. Of a study in parts it is that of the
            whole study.
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
        # Of a data set from elsewhere nothing is known before it is read; `check_grid` then compares.
        corpus = DATASETS.own(self.data.name)
        if corpus is not None:
            self._check_data(corpus)
        outside = [fold for fold in self.folds if not 1 <= fold <= LAST_FOLD]
        if outside:
            raise ValueError(
                f"`folds` of {self.data.name} must be from 1 to {LAST_FOLD:,}. Received: fold {outside[0]}"
            )
        for axis in ("models", "compressions", "n_shot", "folds"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"`{axis}` must not repeat a value. Received: {shown(list(values))}")
        for axis in ("models", "compressions"):
            names = getattr(self, axis)
            if len(set(map(folder_name, names))) < len(names):
                raise ValueError(
                    f"`{axis}` must differ in more than `:` and `-`, which are the same in names of folders. "
                    f"Received: {shown(list(names))}"
                )
        self._check_compressions()
        if isinstance(self.runs, dict):
            without = [n for n in self.n_shot if n not in self.runs]
            if without:
                raise ValueError(
                    f"`runs` gives no number of repetitions for n_shot={without[0]}. Add `{without[0]}: ...` to it, "
                    "or give one number for all"
                )
        n_runs = len(self.models) * len(self.compressions) * len(self.folds) * sum(map(self.runs_for, self.n_shot))
        if n_runs > _MOST_RUNS:
            raise ValueError(
                f"A grid must have at most {_MOST_RUNS:,} runs: models x compressions x folds x runs. Received: "
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
                f"`features.gain_db` must be 0 with `save_models`: a saved model takes recordings as they are. "
                f"Received: features.gain_db={self.features.gain_db:g}"
            )
        no_epochs = [name for name in self.models if (own := MODELS.own(name)) and "training" not in own.reads]
        used = _without_unused(self.training, _LATER_TRAINING)
        for key in _LATER_TRAINING:
            if no_epochs and key in used:
                raise ValueError(
                    f"`training.{key}` is not for {no_epochs[0]}, whose training draws episodes. Leave it out of "
                    f"`models`, or `training.{key}`"
                )
        if self.training.validation == "fold" and self.data.validation_fold == "none":
            raise ValueError(
                "`training.validation=fold` takes the fold that `data.validation_fold=next` leaves out of training. "
                "Received: data.validation_fold=none. Set it to next, or `training.validation=share`"
            )
        gains = {"training.gain_db": self.training.gain_db, "evaluation.gains_db": self.evaluation.gains_db}
        changed = [name for name, value in gains.items() if value]
        if changed and self.features.compression != "none":
            raise ValueError(
                f"`{changed[0]}` changes mel power, but `features.compression` stores logarithms. Received: "
                f"features.compression={self.features.compression}. Leave one of the two out"
            )
        if self.features.compression != "none":
            again = [name for name in self.compressions if self.compression(name)[0] != "none"]
            if again:
                raise ValueError(
                    f"compression {again[0]} takes mel power, but `features.compression={self.features.compression}` "
                    "stores logarithms, which are negative: their logarithm is not a number. Set "
                    "`features.compression=none`, or `compressions=[none]`"
                )
        return self

    def _check_data(self, corpus: Corpus) -> None:
        if self.data.synthetic is not None and not corpus.synthetic:
            made = [name for name in DATASETS if (other := DATASETS.own(name)) is not None and other.synthetic]
            raise ValueError(
                f"`data.synthetic` makes sounds in the layouts of {' and '.join(made)}. Received: "
                f"data.name={corpus.name}. Leave it out"
            )
        outside = [fold for fold in self.folds if fold not in corpus.test_folds] if corpus.test_folds else []
        if outside:
            first, last = corpus.test_folds[0], corpus.test_folds[-1]
            rule = f"from {first} to {last}" if first < last else f"[{first}], {corpus.short}'s one split"
            raise ValueError(f"`folds` of {corpus.name} must be {rule}. Received: fold {outside[0]}")

    def _check_compressions(self) -> None:
        for name, variant in self.variants.items():
            _check_compression(f"variants.{name}.layer", variant.layer)
        hidden = sorted(name for name in self.variants if name in COMPRESSIONS)
        if hidden:
            raise ValueError(
                f"`variants` must not take the name of a compression there is. Received: {hidden[0]}. Choose another"
            )
        for name in self.compressions:
            _check_compression("compressions", name, self.variants)

    def compression(self, name: str) -> tuple[str, dict[str, Any]]:
        """The layer's name in `COMPRESSIONS`, and its arguments, of a compression of this study."""
        variant = self.variants.get(name)
        return (name, {}) if variant is None else (variant.layer, dict(variant.args))

    def runs_for(self, n_shot: NShot) -> int:
        """Repetitions of a cell with `n_shot` clips per class."""
        return self.runs if isinstance(self.runs, int) else self.runs[n_shot]

    def patch_hop(self, network: Network) -> int:
        """Frames between the patches of a clip that a network scores."""
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
        """What a run's result depends on, beside its cell of the grid and the clips.

        What was added to the settings later, and is not used, is left out: runs from before stay valid. Of what single
        networks do not depend on, see `grid.identity_of`.
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
            # In text, as what is null is compared as what is absent.
            "features": {**self.features.front_end, **({} if self.features.norm else {"norm": "none"}), **kept},
            "training": {**training, "epochs": self.epochs},
            "episodic": plain["episodic"],
            # Under its first name, which finished runs have.
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
        ConfigError: If the file is not there or not YAML, or a setting is unknown, of the wrong
            type, out of its range, or contradicts another; if it is a study in several parts.
    """
    studies = load_studies(path, overrides)
    if len(studies) > 1:
        parts = [str(settings.part) for settings in studies]
        raise ConfigError(f"{path} has the parts {', '.join(parts)}. Name one, as `part={parts[0]}`.")
    return studies[0]


def load_studies(path: str | Path, overrides: Sequence[str] = ()) -> list[Settings]:
    """As `load_settings`, of a file that may hold a study in parts.

    `parts` in it is a table, name -> settings that differ in this part. Overrides apply to all parts, over what a part
    says itself; `part=NAME`, or `part=[NAME,NAME]`, chooses among them.

    Returns:
        The settings of each part, in the file's order; of a study without parts, its own.

    Raises:
        ConfigError: As `load_settings`; also if there is no such part.
    """
    path = settings_file(path)
    raw = read_table(path)
    changes = [_renamed(parse_override(override)) for override in overrides]
    if "parts" not in raw:
        if any(change.keys == ("part",) for change in changes):
            raise ConfigError(f"{path} has no parts. Leave `part=` out.")
        settings = _validated(raw, changes, path)
        # What a run of one part remembers names parts that are not there to compare with.
        if settings.contrasts and settings.part is None:
            check_contrasts([_validated(raw, _without_axes(raw, changes), path)], path)
        return [settings]
    parts_of = raw.pop("parts")
    if isinstance(parts_of, dict):
        parts_of = {str(name): part for name, part in parts_of.items()}
    if not isinstance(parts_of, dict) or not parts_of or not all(isinstance(x, dict | None) for x in parts_of.values()):
        raise ConfigError(f"`parts` in {path} must be a table, name: settings. Received: {shown(parts_of)}.")
    if len(parts_of) > _MOST_PARTS:
        raise ConfigError(f"`parts` in {path} must be at most {_MOST_PARTS:,}. Received: {len(parts_of):,}.")
    asked = [change.value for change in changes if change.keys == ("part",)]
    chosen = tuple(map(str, _as_list(asked[-1]))) if asked else tuple(parts_of)
    unknown = [name for name in chosen if name not in parts_of]
    if unknown or not chosen:
        known = printable(", ".join(parts_of))
        raise ConfigError(f"`part` must be among the parts of {path}: {known}. Received: {shown(asked[-1])}.")
    changes = [change for change in changes if change.keys != ("part",)]
    raw = _with_new_names(raw)
    for name, part in parts_of.items():
        if "contrasts" in (part or {}):
            raise ConfigError(
                f"`parts.{printable(name)}.contrasts` in {path}: contrasts are of the whole study, not of a part. Move "
                "them beside `parts`, and name the part in `parts` of each."
            )

    def settings_of(name: str, some: Sequence[Override]) -> Settings:
        part = {**merged(raw, _with_new_names(parts_of[name] or {})), "part": name}
        return _validated(part, some, f"{path}, part {printable(name)}")

    studies = [settings_of(name, changes) for name in parts_of if name in chosen]
    if studies[0].contrasts:
        # Of all parts, whichever are chosen; and of the whole grid, as less of it may be run at a time.
        check_contrasts([settings_of(name, _without_axes(raw, changes)) for name in parts_of], path)
    return [_with_parts_named(settings, tuple(parts_of)) for settings in studies]


def _with_parts_named(settings: Settings, parts: tuple[str, ...]) -> Settings:
    """Contrasts over all parts name them: a part that is read alone later knows that there are others."""
    named = {
        name: contrast if contrast.parts is not None else contrast.model_copy(update={"parts": parts})
        for name, contrast in settings.contrasts.items()
    }
    return settings.model_copy(update={"contrasts": named}) if named else settings


# Settings that say how much of a study is run.
_AXES = ("models", "compressions", "n_shot", "folds", "runs")


def _without_axes(raw: Mapping[str, Any], changes: Sequence[Override]) -> list[Override]:
    """The overrides that do not narrow the grid; what the file leaves open is no narrowing."""
    return [change for change in changes if change.keys[0] not in _AXES or change.keys[0] not in raw]


def check_contrasts(studies: Sequence[Settings], path: str | Path) -> None:
    """Checks a study's contrasts against its grid.

    Args:
        studies: All parts of it, or the one that is there. Each holds the same contrasts.
        path: Of the file.

    Raises:
        ConfigError: If a contrast names a part, or a cell, that there is not, compares a thing with itself or what
            another one compares, or cannot have an interval.
    """
    of_part = {settings.part: settings for settings in studies}
    compared: dict[str, str] = {}
    for name, contrast in studies[0].contrasts.items():
        key = f"contrasts.{name}"

        def refuse(field: str, rule: str, received: Any, known: Iterable[Any] = (), key: str = key) -> ConfigError:
            texts = list(map(str, known))
            near = difflib.get_close_matches(str(received), texts, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(texts)}." if texts else ""
            return ConfigError(
                f"`{key}.{field}` in {path} {rule}. Received: {shown(received)}.{printable(hint, longest=1000)}"
            )

        for field in ("parts", "baseline_parts"):
            named = getattr(contrast, field)
            if named is not None and None in of_part:
                raise refuse(field, "must be left out: the study has no parts", list(named))
            unknown = [part for part in named or () if part not in of_part]
            if unknown:
                raise refuse(field, "must name parts of the study", unknown[0], of_part)
        for field in ("models", "n_shot", "parts"):
            values = getattr(contrast, field) or ()
            if len(set(values)) < len(values):
                raise refuse(field, "must not repeat a value", list(values))
        if contrast.baseline_parts is not None and len(contrast.baseline_parts) != len(contrast.parts or ()):
            rule = f"must be one for each of `parts`, of which there are {len(contrast.parts or ())}"
            raise refuse("baseline_parts", rule, list(contrast.baseline_parts))
        parts: tuple[str | None, ...] = contrast.parts or tuple(of_part)
        same = [part for part, other in zip(parts, contrast.baseline_parts or parts, strict=True) if part == other]
        if contrast.compression == contrast.baseline and same:
            rule = "must differ from `compression`, or be taken from other parts (`baseline_parts`)"
            raise refuse("baseline", rule, contrast.baseline)
        if contrast.score == contrast.minus_score:
            raise refuse("minus_score", "must be the other score than `score`", contrast.minus_score)
        cells = contrast.cells(studies)
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
                rule = f"must have the data set and the folds of those in `parts`, as {ours.part}"
                raise refuse("baseline_parts", rule, theirs.part)
            # A mean is over folds, or over the runs of the one fold that there is.
            if (len(ours.folds) == 1) != (len(cells[0].ours.folds) == 1):
                rule = "must be of one fold each, or of several each: one fold says nothing of others"
                raise refuse("parts", rule, list(parts))
            if len(ours.folds) == 1 and min(ours.runs_for(n_shot), theirs.runs_for(n_shot)) < 2:
                raise refuse(
                    "n_shot", "must have two runs or more where there is one fold: nothing else varies", n_shot
                )
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
                f"`{key}` in {path} must compare what no other contrast does, since each costs the others power. It is "
                f"the same as `contrasts.{compared[what]}`. Leave one out."
            )
        compared[what] = name


# Settings that had another name in an earlier version.
_NEW_NAMES: dict[tuple[str, ...], str] = {("evaluation", "hop"): "patch_hop"}


def _with_new_names(table: Any, place: tuple[str, ...] = ()) -> Any:
    """A table in which settings have their names of today; one that stands there under both keeps them."""
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
        # Through JSON, where strict validation still takes lists for tuples.
        return Settings.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise ConfigError(_describe(error, path, given)) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} holds a value that no setting takes: {printable(str(error))}. Use numbers, text, lists."
        ) from error


def _describe(error: ValidationError, path: str | Path, given: set[tuple[str, ...]]) -> str:
    """pydantic's first complaint in the form: key, place, rule, value received, remedy."""
    errors = error.errors(include_url=False)
    # `runs` is a number or a table: of the complaints about a table, the one about a number in it lies deepest.
    first = max(
        (one for one in errors if one["loc"][:1] == errors[0]["loc"][:1] == ("runs",)),
        key=lambda one: len(one["loc"]),
        default=errors[0],
    )
    # Numbers index a list; "constrained-int" and the like name a union's branch, which is pydantic's business.
    loc = [part for part in first["loc"] if isinstance(part, str)]
    unknown = first["type"] == "extra_forbidden"
    named = loc[: -1 if unknown else None]
    # Names of variants and contrasts are the user's own.
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
        # A rule between settings: any of them may come from either place.
        return f"{path}{' with the overrides' if given else ''}: {first['ctx']['error']}."
    # YAML 1.1 takes 1e-3 for text, and 1.0e-3 for a number.
    hint = (
        " Write it with a point, as 1.0e-3."
        if first["type"] == "float_type" and _is_number_in_text(first["input"])
        else ""
    )
    return f"`{key}` in {where}: {first['msg'][0].lower()}{first['msg'][1:]}. Received: {shown(first['input'])}.{hint}"


def _is_number_in_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _fields(section: Sequence[str]) -> list[str]:
    model: Any = Settings
    for name in section:
        if name not in model.model_fields:
            continue  # in a table, as `variants`, a name that is the user's own
        annotation = model.model_fields[name].annotation
        options = (annotation, *getattr(annotation, "__args__", ()))
        classes = [option for option in options if isinstance(option, type) and get_origin(option) is None]
        found = [option for option in classes if issubclass(option, BaseModel)]
        if found:
            model = found[0]
    return list(model.model_fields)
