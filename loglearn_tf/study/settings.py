"""YAML to validated, frozen settings; every value can be overridden as `key=value`."""

import copy
import difflib
import json
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from loglearn_tf._util.text import printable, shown
from loglearn_tf.datasets.clips import LAST_FOLD
from loglearn_tf.errors import ConfigError


def _as_list(value: Any) -> Any:
    """Lets `n_shot: 10` stand for `n_shot: [10]`."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


# Of `layers.COMPRESSIONS`, which is not imported here: settings are checked before anything large is loaded.
COMPRESSION_NAMES = (
    "log",
    "log1p_learn",
    "logeps",
    "loglearn",
    "loglearn_adapted",
    "loglearn_knee",
    "loglearn_per_band",
    "none",
    "pcen",
    "pcen_learn",
    "power",
)
# A typing error must not fill the memory: grids, files and their nesting are bounded far beyond any use.
_MOST_RUNS, _MOST_BYTES, _MOST_VALUES, _DEEPEST, _MOST_PARTS = 1_000_000, 1 << 18, 20_000, 20, 1000
_LONGEST_NUMBER = 100  # 1:1:1... is a number of YAML 1.1, which takes minutes to read when it is long
# File systems take names of 255 bytes, and Linux paths of 4,096: less, as files lie in these folders.
_LONGEST_NAME, _LONGEST_PATH = 255, 3500
# Of studies, their parts, and variants of compressions: folders are called so.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, le=1 << 64)]


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
        name: `us8k`, `tut`, or `folder` for recordings of one's own.
        root: Its folder, in the official layout. Of `folder`: one that holds a folder for each class, or a CSV file
            with the columns path, label and fold.
        validation_fold: US8K and `folder`: `next` leaves fold k + 1 out of training, as the reference does;
            `none` trains on all others.
        n_folds: Folds that the clips of class-named folders are dealt into.
        allow_missing: Go on without clips that the metadata lists and the disk lacks.
        synthetic: Where given, the data set is made at `root`.
    """

    name: Literal["us8k", "tut", "folder"]
    root: FolderName
    validation_fold: Literal["next", "none"] = "next"
    n_folds: Annotated[int, Field(ge=2, le=1000)] = 5
    allow_missing: bool = False
    synthetic: SyntheticSettings | None = None


class FeatureSettings(_Settings):
    """The mel front end, and where its stores lie.

    Attributes:
        store_dir: Folder of the mel stores.
        sample_rate, n_fft, hop_length, n_mels, f_min, f_max, pad_mode, fft_dtype: see
            `MelSpectrogram`.
        compression: `none` stores mel power, which every compression trains from. `logeps` stores
            the logarithm, as the reference's own feature files do; networks that read it must
            not compress again.
        gain_db: Applied to every waveform first: -20 leaves a tenth of the amplitude, a hundredth of the power.
    """

    store_dir: FolderName = "data/stores"
    sample_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 44_100
    n_fft: Annotated[int, Field(ge=2, le=1 << 20, multiple_of=2)] = 1024
    hop_length: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    n_mels: Annotated[int, Field(ge=1, le=4096)] = 128
    f_min: Annotated[float, Field(ge=0)] = 0.0
    f_max: Annotated[float, Field(gt=0)] | None = None
    pad_mode: Literal["reflect", "constant"] = "reflect"
    fft_dtype: Literal["float64", "float32"] = "float64"
    compression: Literal["none", "logeps"] = "none"
    gain_db: Annotated[float, Field(ge=-200, le=200)] = 0.0

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
        """The arguments of `MelSpectrogram`."""
        return self.model_dump(exclude={"store_dir", "compression", "gain_db"})


class TrainingSettings(_Settings):
    """One supervised training (FIDELITY, "Supervised training").

    Attributes:
        epochs: `null` for the protocol's: 199 (`pons2018`) or 200 (`clean`).
        batch_size: Patches per update; the last, partial batch of an epoch is kept.
        learning_rate: Of SGD without momentum.
        clip_norm: Global norm to which gradients are clipped.
        l2: `l2 * sum(w ** 2)` over conv and dense kernels is added to the loss.
    """

    epochs: Count | None = None
    batch_size: Count = 256
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    clip_norm: Annotated[float, Field(gt=0)] = 5.0
    l2: Annotated[float, Field(ge=0)] = 5e-4


class EpisodicSettings(_Settings):
    """One prototypical training (FIDELITY, "Prototypical training"); optimiser and clipping as in `training`.

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
    """Scoring of clips (FIDELITY, "Evaluation").

    Attributes:
        hop: Frames between the patches of a clip.
        batch_size: Patches scored at once where they are cut; 16 hold a worker with the prototypical network's 128
            filters under 1.5 GiB. Changes memory and speed, and last digits.
    """

    hop: Count = 1
    batch_size: Count = 16


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


def _check_name(key: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}" if near else f"Known: {printable(', '.join(sorted(known)))}"
        raise ValueError(f"`{key}` must name a compression, or one of `variants`. Received: {shown(name)}. {hint}")


class CompressionVariant(_Settings):
    """A compression with other arguments than its defaults, under a name of its own.

    Attributes:
        layer: A name in `COMPRESSIONS`.
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


class Settings(_Settings):
    """A study: a grid of paired runs.

    Attributes:
        name: Names the study's folder under `runs_dir`.
        part: Of a study in parts, the one that these settings are of; a folder inside the study's.
        protocol: `pons2018`, the reference experiment to the letter, or `clean`.
        seed: Every draw of the study derives from it.
        models, compressions, n_shot, folds: The axes of the grid. `compressions` are names in `COMPRESSIONS`, or in
            `variants`.
        variants: Name -> a compression with other arguments.
        runs: Repetitions of every cell: one number, or one per n.
        runs_dir: Where results go.
        workers: Processes that train side by side; `null` for one a core.
        threads: Of each process. One is fastest for many runs, and results with more differ in their last digits.
        run_timeout_s: Seconds after which a run is ended and recorded as failed, the start of its worker included;
            `null` for no limit. The next `loglearn run` tries it again.
        ray: Where given, runs are done by this cluster.
        save_models: Whether every run keeps its trained `model.keras`, from waveform to probabilities.
        tensorboard: Runs that keep event files: `all`; `first`, run 0 of the first fold of every cell of model,
            compression and n, since thousands of event files make TensorBoard unusable; `none`.
    """

    name: Name
    part: Name | None = None
    protocol: Literal["pons2018", "clean"] = "pons2018"
    seed: Seed = 0
    data: DataSettings
    features: FeatureSettings = FeatureSettings()
    models: Annotated[
        tuple[Literal["sb_cnn", "vgg", "timbre", "prototypical"], ...], BeforeValidator(_as_list), Field(min_length=1)
    ]
    compressions: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
    variants: dict[Name, CompressionVariant] = {}
    n_shot: Annotated[tuple[Count, ...], BeforeValidator(_as_list), Field(min_length=1)]
    folds: Annotated[tuple[int, ...], BeforeValidator(_as_list), Field(min_length=1)]
    runs: Count | dict[Count, Count]
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

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.data.name == "folder" and self.data.synthetic is not None:
            raise ValueError(
                "`data.synthetic` makes sounds in the layouts of us8k and tut. Received: data.name=folder. Leave it out"
            )
        # A CSV file of `folder` names its folds itself.
        last = {"us8k": 10, "tut": 1, "folder": LAST_FOLD}[self.data.name]
        outside = [fold for fold in self.folds if not 1 <= fold <= last]
        if outside:
            rule = {"tut": "[1], ASC-TUT's one split"}.get(self.data.name, f"from 1 to {last:,}")
            raise ValueError(f"`folds` of {self.data.name} must be {rule}. Received: fold {outside[0]}")
        for axis in ("models", "compressions", "n_shot", "folds"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"`{axis}` must not repeat a value. Received: {shown(list(values))}")
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
        if "timbre" in self.models and self.features.n_mels < 108:
            raise ValueError(
                "`features.n_mels` must be at least 108 for TIMBRE, whose filters span 108 bands. Received: "
                f"features.n_mels={self.features.n_mels}. Use more bands, or leave timbre out of `models`"
            )
        if self.features.gain_db and self.save_models:
            raise ValueError(
                f"`features.gain_db` must be 0 with `save_models`: a saved model takes recordings as they are. "
                f"Received: features.gain_db={self.features.gain_db:g}"
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

    def _check_compressions(self) -> None:
        for name, variant in self.variants.items():
            _check_name(f"variants.{name}.layer", variant.layer, COMPRESSION_NAMES)
        hidden = sorted(set(self.variants) & set(COMPRESSION_NAMES))
        if hidden:
            raise ValueError(
                f"`variants` must not take the name of a compression there is. Received: {hidden[0]}. Choose another"
            )
        for name in self.compressions:
            _check_name("compressions", name, [*COMPRESSION_NAMES, *self.variants])

    def compression(self, name: str) -> tuple[str, dict[str, Any]]:
        """The layer's name in `COMPRESSIONS`, and its arguments, of a compression of this study."""
        variant = self.variants.get(name)
        return (name, {}) if variant is None else (variant.layer, dict(variant.args))

    def runs_for(self, n_shot: int) -> int:
        """Repetitions of a cell with `n_shot` clips per class."""
        return self.runs if isinstance(self.runs, int) else self.runs[n_shot]

    @property
    def epochs(self) -> int:
        # The reference loops 200 times and skips the first (FIDELITY).
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

        What was added to the settings later, and is not used, is left out: runs from before stay valid.
        """
        plain = self.dump()
        unused = {"store_dir", *([] if self.features.gain_db else ["gain_db"])}
        return {
            "protocol": plain["protocol"],
            "seed": plain["seed"],
            "threads": plain["threads"],
            "data": {"name": plain["data"]["name"], "validation_fold": plain["data"]["validation_fold"]},
            "features": {key: value for key, value in plain["features"].items() if key not in unused},
            "training": plain["training"],
            "episodic": plain["episodic"],
            "evaluation": {"hop": plain["evaluation"]["hop"]},
            **({"variants": plain["variants"]} if self.variants else {}),
        }


def load_settings(path: str | Path, overrides: Sequence[str] = ()) -> Settings:
    """Reads a YAML file and applies overrides such as `n_shot=[1,10]` or `data.root=/path`.

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
    path = Path(path)
    raw = _parse_yaml(_read(path), str(path))
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold `key: value` lines. Received: {type(raw).__name__}.")
    changes: list[tuple[tuple[str, ...], Any, str]] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        parts = tuple(key.split("."))
        if not equals or not all(parts):
            raise ConfigError(
                f"An override must have the form key=value, as n_shot=[1,10]. Received: {shown(override)}."
            )
        if len(parts) > _DEEPEST:
            raise ConfigError(f"An override must name a setting. Received: {shown(override)}.")
        parsed = _parse_yaml(value, f"the override {shown(override)}")
        if not isinstance(parsed, (str, int, float, list, dict, type(None))):
            raise ConfigError(
                f"Override {shown(override)} is a {type(parsed).__name__}, which no setting takes. Quote text."
            )
        changes.append((parts, parsed, override))
    if "parts" not in raw:
        if any(key == ("part",) for key, _, _ in changes):
            raise ConfigError(f"{path} has no parts. Leave `part=` out.")
        return [_validated(raw, changes, path)]
    parts_of = raw.pop("parts")
    if isinstance(parts_of, dict):
        parts_of = {str(name): part for name, part in parts_of.items()}
    if not isinstance(parts_of, dict) or not parts_of or not all(isinstance(x, dict | None) for x in parts_of.values()):
        raise ConfigError(f"`parts` in {path} must be a table, name: settings. Received: {shown(parts_of)}.")
    if len(parts_of) > _MOST_PARTS:
        raise ConfigError(f"`parts` in {path} must be at most {_MOST_PARTS:,}. Received: {len(parts_of):,}.")
    asked = [value for key, value, _ in changes if key == ("part",)]
    chosen = tuple(map(str, _as_list(asked[-1]))) if asked else tuple(parts_of)
    unknown = [name for name in chosen if name not in parts_of]
    if unknown or not chosen:
        known = printable(", ".join(parts_of))
        raise ConfigError(f"`part` must be among the parts of {path}: {known}. Received: {shown(asked[-1])}.")
    changes = [change for change in changes if change[0] != ("part",)]
    return [
        _validated({**_merged(raw, parts_of[name] or {}), "part": name}, changes, f"{path}, part {printable(name)}")
        for name in parts_of
        if name in chosen
    ]


def _merged(common: Any, own: Any) -> Any:
    """Tables key by key; anything else is replaced."""
    if not (isinstance(common, dict) and isinstance(own, dict)):
        return own
    return {**common, **{key: _merged(common.get(key), value) for key, value in own.items()}}


def _validated(raw: dict[str, Any], changes: Sequence[tuple[tuple[str, ...], Any, str]], path: str | Path) -> Settings:
    raw = copy.deepcopy(raw)
    for parts, value, override in changes:
        _set(raw, parts, value, override)
    given = {parts for parts, _, _ in changes}
    try:
        # Through JSON, where strict validation still takes lists for tuples.
        return Settings.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise ConfigError(_describe(error, path, given)) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} holds a value that no setting takes: {printable(str(error))}. Use numbers, text, lists."
        ) from error


def _read(path: Path) -> str:
    """Of a device or a pipe, that may never end or begin, nothing; of a large file no more than shows that it is."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is no regular file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(f"it must have at most {_MOST_BYTES:,} bytes")
        return content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or NUL in its name
        raise ConfigError(
            f"Cannot read settings file {printable(str(path))}: {error}. Name a YAML file, as experiments/us8k.yaml."
        ) from error


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML drops the first silently, and tags.

    Values are counted before any is made: aliases make a few lines into millions, or into one that holds itself.
    """

    n_composed = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.n_composed += 1
        self.depth += 1
        if self.n_composed > _MOST_VALUES or self.depth > _DEEPEST + 1:
            raise ValueError(_TOO_MANY)
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, f"tags are not taken; quotes make text. Received: {printable(event.tag)}", event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_document(self, node: yaml.Node) -> Any:
        self._check(node)
        return super().construct_document(node)

    def _check(self, document: yaml.Node) -> None:
        waiting, n_values, n_characters = [(document, 0)], 0, 0
        while waiting:
            node, depth = waiting.pop()
            n_values += 1
            if isinstance(node, yaml.ScalarNode):
                n_characters += len(node.value)
                if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
                    problem = f"a number must have at most {_LONGEST_NUMBER} characters. Received: {len(node.value):,}"
                    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
                if not node.value.isascii():
                    node.value.encode()  # "\ud800" is no text
            elif isinstance(node, yaml.MappingNode):
                keys = self._check_keys(node)
                n_values += len(keys)
                n_characters += sum(map(len, keys))
                waiting += [(value, depth + 1) for _, value in node.value]
            else:
                waiting += [(value, depth + 1) for value in node.value]
            if n_values > _MOST_VALUES or n_characters > _MOST_BYTES or depth > _DEEPEST:
                raise ValueError(_TOO_MANY)

    def _check_keys(self, node: yaml.MappingNode) -> set[str]:
        """The keys of a table, each given once.

        `<<` merges one table, once: lists of them, nested, would grow by powers of two.
        """
        seen: set[str] = set()
        for key_node, value_node in node.value:
            problem = ""
            if key_node.tag == _MERGE:
                if not isinstance(value_node, yaml.MappingNode):
                    problem = "`<<` must merge one table"
            elif key_node.tag not in _KEYS or (key_node.tag == _INT and len(key_node.value) > _LONGEST_NUMBER):
                problem = "a key must be text or a whole number; quotes make text"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            # As text: 1 and "1" would become one key on the way through JSON.
            key = "<<" if key_node.tag == _MERGE else str(self.construct_object(key_node))
            if key in seen:
                problem = f"key `{printable(key)}` is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return seen


_MERGE, _INT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:int"
_NUMBERS, _KEYS = (_INT, "tag:yaml.org,2002:float"), (_INT, "tag:yaml.org,2002:str")
_TOO_MANY = (
    f"it must hold at most {_MOST_VALUES:,} values of {_MOST_BYTES:,} characters in all, nested at most {_DEEPEST} deep"
)


def _parse_yaml(text: str, where: str) -> Any:
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{where} must have at most {_MOST_BYTES:,} characters. Received: {len(text):,}.")
    try:
        return yaml.load(text, Loader=_StrictLoader)
    # OverflowError: "\Uffffffff" is no character.
    except (yaml.YAMLError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid YAML: {printable(' '.join(str(error).split()))}") from error


def _set(raw: dict[str, Any], parts: tuple[str, ...], value: Any, override: str) -> None:
    *parents, last = parts
    for parent in parents:
        # A section that is absent, or null as `synthetic` may be, begins here.
        if raw.get(parent) is None:
            raw[parent] = {}
        raw = raw[parent]
        if not isinstance(raw, dict):
            raise ConfigError(
                f"Override {shown(override)}: `{printable(parent)}` is a value, not a section. Override it as a whole."
            )
    raw[last] = value


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
    # Names of variants are the user's own.
    keys = tuple(part for part in named if (part.isidentifier() and part != "int") or loc[0] == "variants")
    keys += tuple(loc[-1:]) if unknown else ()
    key = printable(".".join(keys))
    from_override = any(keys and keys[: len(parts)] == parts[: len(keys)] for parts in given)
    where = "the command line" if from_override else str(path)
    if unknown:
        near = difflib.get_close_matches(keys[-1], _fields(keys[:-1]), n=1)
        known = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(_fields(keys[:-1]))}."
        return f"Unknown key `{key}` in {where}. {known}"
    if first["type"] == "missing":
        return f"Key `{key}` is missing in {where}. Add it; experiments/us8k.yaml is an example."
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
