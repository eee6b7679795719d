"""YAML to validated, frozen settings; every value can be overridden as `key=value`."""

import copy
import difflib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

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
_MOST_RUNS, _MOST_BYTES, _MOST_VALUES, _DEEPEST = 1_000_000, 1 << 20, 100_000, 20
# Of studies, their parts, and variants of compressions: folders are called so.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]

# Shells expand `~` at the beginning of a word only, not in `data.root=~/sounds`.
FolderName = Annotated[str, AfterValidator(os.path.expanduser)]


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

    clips_per_class: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_as_list)] = (10,)
    folds: Annotated[tuple[Annotated[int, Field(ge=1, le=10)], ...], BeforeValidator(_as_list)] = tuple(range(1, 11))
    seed: Annotated[int, Field(ge=0)] = 0
    duration_s: Annotated[float, Field(gt=0)] | None = None


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

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 256
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

    n_support: Annotated[int, Field(ge=1)] = 5
    n_query: Annotated[int, Field(ge=1)] = 5
    patch_hop: Annotated[int, Field(ge=1)] = 42
    patience: Annotated[int, Field(ge=1, le=1_000_000)] = 200


class EvaluationSettings(_Settings):
    """Scoring of clips (FIDELITY, "Evaluation").

    Attributes:
        hop: Frames between the patches of a clip.
        batch_size: Patches scored at once where they are cut; 16 hold a worker with the prototypical network's 128
            filters under 1.5 GiB. Changes memory and speed, and last digits.
    """

    hop: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 16


class RaySettings(_Settings):
    """An existing Ray cluster, and what a run asks of it; `ray: ADDRESS` is short for `ray: {address: ADDRESS}`.

    Attributes:
        address: `HOST:PORT` of its head, or `auto` on one of its nodes.
        cpus, gpus: Of a run; parts of a GPU are allowed, as 0.25 for four runs to a GPU.
        ship_store: Whether the mel store is sent to the nodes; if not, they must see `features.store_dir`.
    """

    address: Annotated[str, Field(pattern=r"^(auto|[^\s:]+:[0-9]{1,5})$")]
    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0.0
    ship_store: bool = False


def _as_ray(value: Any) -> Any:
    return {"address": value} if isinstance(value, str) else value


def _check_name(key: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}" if near else f"Known: {', '.join(sorted(known))}"
        raise ValueError(f"`{key}` must name a compression, or one of `variants`. Received: {name!r}. {hint}")


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
            if not all(one is None or isinstance(one, (bool, int, float)) for one in listed):
                # YAML 1.1 takes 1e-8 for text, and 1.0e-8 for a number.
                hint = "Write numbers with a point, as 1.0e-8" if _is_number_in_text(value) else "Layers take no text"
                raise ValueError(
                    f"`args.{name}` of a variant must be a number, true, false, or a list of numbers. Received: "
                    f"{value!r}. {hint}"
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
        ray: Where given, runs are done by this cluster.
        save_models: Whether every run keeps its trained `model.keras`, from waveform to probabilities.
        tensorboard: Runs that keep event files: `all`; `first`, run 0 of the first fold of every cell of model,
            compression and n, since thousands of event files make TensorBoard unusable; `none`.
    """

    name: Name
    part: Name | None = None
    protocol: Literal["pons2018", "clean"] = "pons2018"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataSettings
    features: FeatureSettings = FeatureSettings()
    models: Annotated[
        tuple[Literal["sb_cnn", "vgg", "timbre", "prototypical"], ...], BeforeValidator(_as_list), Field(min_length=1)
    ]
    compressions: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]
    variants: dict[Name, CompressionVariant] = {}
    n_shot: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_as_list), Field(min_length=1)]
    folds: Annotated[tuple[int, ...], BeforeValidator(_as_list), Field(min_length=1)]
    runs: Annotated[int, Field(ge=1, le=_MOST_RUNS)] | dict[int, Annotated[int, Field(ge=1, le=_MOST_RUNS)]]
    training: TrainingSettings = TrainingSettings()
    episodic: EpisodicSettings = EpisodicSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    runs_dir: FolderName = "runs"
    workers: Annotated[int, Field(ge=1, le=10_000)] | None = None
    threads: Annotated[int, Field(ge=1, le=10_000)] = 1
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
        last = {"us8k": 10, "tut": 1, "folder": math.inf}[self.data.name]
        outside = [fold for fold in self.folds if not 1 <= fold <= last]
        if outside:
            rule = {"us8k": "from 1 to 10", "tut": "[1], ASC-TUT's one split", "folder": "1 or more"}[self.data.name]
            raise ValueError(f"`folds` of {self.data.name} must be {rule}. Received: fold {outside[0]}")
        for axis in ("models", "compressions", "n_shot", "folds"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"`{axis}` must not repeat a value. Received: {list(values)}")
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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Cannot read settings file {path}: {error}. Name a YAML file, as experiments/us8k.yaml."
        ) from error
    raw = _parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} must hold `key: value` lines. Received: {type(raw).__name__}.")
    changes: list[tuple[tuple[str, ...], Any, str]] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        parts = tuple(key.split("."))
        if not equals or not all(parts):
            raise ConfigError(f"An override must have the form key=value, as n_shot=[1,10]. Received: {override!r}.")
        parsed = _parse_yaml(value, f"the override {override!r}")
        if not isinstance(parsed, (str, int, float, list, dict, type(None))):
            raise ConfigError(
                f"Override {override!r} is a {type(parsed).__name__}, which no setting takes. Quote text."
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
        raise ConfigError(f"`parts` in {path} must be a table, name: settings. Received: {parts_of!r}.")
    asked = [value for key, value, _ in changes if key == ("part",)]
    chosen = tuple(map(str, _as_list(asked[-1]))) if asked else tuple(parts_of)
    unknown = [name for name in chosen if name not in parts_of]
    if unknown or not chosen:
        raise ConfigError(f"`part` must be among the parts of {path}: {', '.join(parts_of)}. Received: {asked[-1]!r}.")
    changes = [change for change in changes if change[0] != ("part",)]
    return [
        _validated({**_merged(raw, parts_of[name] or {}), "part": name}, changes, f"{path}, part {name}")
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
        raise ConfigError(f"{path} holds a value that no setting takes: {error}. Use numbers, text, lists.") from error


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML drops the first silently.

    `<<` merges one table, once: lists of them, nested, would grow by powers of two.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                key = "<<"
                if not isinstance(value_node, yaml.MappingNode):
                    problem = "`<<` must merge one table"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            else:
                # As text: 1 and "1" would become one key on the way through JSON.
                key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key `{key}` is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_MERGE = "tag:yaml.org,2002:merge"


def _parse_yaml(text: str, where: str) -> Any:
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{where} must have at most {_MOST_BYTES:,} characters. Received: {len(text):,}.")
    try:
        parsed = yaml.load(text, Loader=_StrictLoader)
        _check_size(parsed)
        return parsed
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error


def _check_size(parsed: Any) -> None:
    """Aliases make a few lines into millions of values, or into a value that holds itself.

    Raises:
        ValueError: If there are too many values, or they are nested too deeply.
    """
    waiting, n_values = [(parsed, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        n_values += 1
        if n_values > _MOST_VALUES or depth > _DEEPEST:
            raise ValueError(f"it must hold at most {_MOST_VALUES:,} values, nested at most {_DEEPEST} deep")
        if isinstance(value, dict):
            waiting += [(one, depth + 1) for one in value.values()]
        elif isinstance(value, (list, tuple, set)):
            waiting += [(one, depth + 1) for one in value]


def _set(raw: dict[str, Any], parts: tuple[str, ...], value: Any, override: str) -> None:
    *parents, last = parts
    for parent in parents:
        # A section that is absent, or null as `synthetic` may be, begins here.
        if raw.get(parent) is None:
            raw[parent] = {}
        raw = raw[parent]
        if not isinstance(raw, dict):
            raise ConfigError(f"Override {override!r}: `{parent}` is a value, not a section. Override it as a whole.")
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
    key = ".".join(keys)
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
    return f"`{key}` in {where}: {first['msg'][0].lower()}{first['msg'][1:]}. Received: {first['input']!r}.{hint}"


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
