"""Damaged metadata and settings by the thousand: each is read or refused with the package's own error, at once.

Every text follows from its number alone: a short UrbanSound8K.csv, meta.txt or list of TUT, CSV file of one's own
recordings, YAML file or override, then some damage to its bytes, its lines or its fields. It is read in a child process
that is watched for CPU time and memory; a data set that is read must be consistent, and settings the same when they are
written and read again.

Run: python experiments/benchmarks/fuzz_text.py             (20,000 texts; minutes on one core)
     python experiments/benchmarks/fuzz_text.py --only 1234 --keep damaged      (one text again, and its bytes)
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fuzz_audio import MEMORY_LIMIT_MIB, Outcome, _peak_memory_mib, _reset_peak_memory, fuzz, report, table_of

LONGEST_MESSAGE = 3000  # characters; some show two values, or name five files

GOOD = ("read", "refused")
BAD = ("other exception", "crash", "hang", "memory", "inconsistent", "bad message", "refused whole")


# ---- Whole texts ------------------------------------------------------------------------------------------------

_US8K = """\
slice_file_name,fsID,start,end,salience,fold,classID,class
100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark
100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing
100648-1-0-0.wav,100648,4.823402,5.471927,2,10,1,car_horn
101415-3-0-2.wav,101415,1.0,5.0,1,1,3,dog_bark
"""
_DEVELOPMENT = """\
audio/b020_90_100.wav\tbeach\tb020
audio/b020_110_120.wav\tbeach\tb020
audio/a001_0_10.wav\tcafe/restaurant\ta001
audio/b092_0_10.wav\ttram\tb092
"""
_LIST = _DEVELOPMENT.replace("\tb020", "").replace("\ta001", "").replace("\tb092", "")
_EVALUATION = "audio/1245.wav\tbeach\tb174\naudio/1.wav\tcafe/restaurant\tb100\n"
_FOLDER = 'path,label,fold\na.wav,dog,1\ndeep/b.wav,rain,2\n"c, d.wav","dog",3\ne.wav,"heavy\nrain",4\n'
_SETTINGS = """\
# A comment.
name: small
seed: 3
data:
  name: us8k
  root: data/UrbanSound8K
  synthetic: {clips_per_class: [2, 3], folds: [1, 2, 3], duration_s: null}
features: &features
  f_max: 11025
  gain_db: -3.5
models: [vgg, timbre]
compressions: [loglearn, low]
variants:
  low: {layer: loglearn, args: {alpha_pre_gate: 1.0e-3, trainable: false}}
n_shot: [1, 10]
folds: 1
runs: {1: 20, 10: 5}
training: {learning_rate: 0.1, l2: 5.0e-4}
ray: head:6379
tensorboard: "none"
parts:
  full: {}
  half: {features: {<<: *features, n_mels: 112}, n_shot: 1}
"""
_OVERRIDES = (
    *("data.synthetic={clips_per_class: [1, 2], seed: 7}", "n_shot=[1,10]", "runs_dir=~/my runs", "name=short"),
    *(
        "training.learning_rate=1.0e-3",
        "variants.low.args={knee: 1.0e-8}",
        "runs={1: 2, 10: 3}",
        "ray=auto",
        "part=half",
    ),
)
_PARTS = {"development": _DEVELOPMENT, "evaluation": _EVALUATION}

# Where each lies below the folder of its kind, and what may stand there. Overrides are given to a whole settings file.
TEXTS: dict[str, tuple[str, ...]] = {
    "us8k": ("metadata/UrbanSound8K.csv", _US8K),
    "tut meta.txt": ("TUT-acoustic-scenes-2017-development/meta.txt", _DEVELOPMENT),
    "tut list": ("TUT-acoustic-scenes-2017-development/evaluation_setup/fold1_train.txt", _LIST),
    "folder": ("clips.csv", _FOLDER),
    "settings": ("settings.yaml", _SETTINGS),
    "override": ("override.txt", *_OVERRIDES),
}


# ---- Damage -----------------------------------------------------------------------------------------------------

# What fields and values become. Some are lengths and depths that a parser must bound.
_VALUES = (
    *("", "0", "-1", "1", "10", "11", "1e999", "nan", ".nan", "-.inf", "0x7fffffffffffffff", "1:1:1", "1_000", "٣"),
    *("9" * 20, "9" * 5000, "1" + ":1" * 3000, "1" + ":0" * 180 + ".5", "0x" + "f" * 4000, "." + "9" * 5000),
    *(
        "a" * 300,
        "a" * 5000,
        "ä" * 200,
        "a/" * 3000,
        "é 東京 🎧",
        "\ufeff",
        "\u202e",
        "\u2028",
        "\x85",
        "\x00",
        "\x1b[2J",
    ),
    *(
        "..",
        "../a.wav",
        "/etc/passwd",
        "audio/../a.wav",
        "./a.wav",
        "~",
        "~root/x",
        "~\x00",
        "C:\\a.wav",
        "a\\b",
        "NUL",
    ),
    *(
        "null",
        "true",
        "no",
        "2018-10-24",
        "2018-99-99",
        "<<",
        "=",
        "!!bool x",
        '!!int ""',
        "!!timestamp x",
        "!!binary a",
    ),
    *(
        "!!python/object/apply:os.getcwd []",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "&a x",
        "*a",
        "*features",
        "&b [*b]",
        "? a",
    ),
    *("[" * 30, "[" * 400, "{a: " * 30, "[[1, 2], {3: 4}]", "{1: 2, 1: 3}", "{[1]: 2}", "{? [1] : 2}", "{true: 1}"),
    *(
        '"',
        "'",
        '"\n',
        '"a\nb"',
        '"\\ud800"',
        '"\\Uffffffff"',
        '"\\0"',
        "'a\x00b'",
        "|\n  x",
        ">-\n  x",
        "- x",
        "%YAML 9.9",
    ),
    *(
        "---",
        "...",
        "--- a\n--- b",
        "a: b: c",
        "\t",
        ",",
        ":",
        "#",
        "`x`",
        "@x",
        "head:99999",
        "auto",
        "vgg",
        "loglearn",
    ),
)
_LAUGHS = "".join(f"x{at}: &x{at} [{', '.join([f'*x{at - 1}' if at else 'ha'] * 10)}]\n" for at in range(9))
_SNIPPETS = (
    *(
        _LAUGHS,
        _LAUGHS + "? *x8\n: 1\n",
        "z: &z {<<: *features, y: 1}\nw: {<<: *z}\n",
        "name: again\n",
        "<<: *features\n",
    ),
    *(
        "a: &a " + "x" * 30_000 + "\nb: [" + "*a, " * 3000 + "]\n",
        "k: [" + "1, " * 30_000 + "]\n",
        "'\n" * 300,
        '"\n' * 300,
    ),
    *(
        "runs: {" + ", ".join(f"{at}: 1" for at in range(1, 3000)) + "}\n",
        "n_shot: [" + "1, " * 3000 + "2]\n",
        "\n" * 5000,
    ),
    *("folds: [" + ", ".join(map(str, range(1, 2000))) + "]\n", '"\n",' * 3000, "," * 5000 + "\n", "\t" * 5000 + "\n"),
    *("parts: {" + ", ".join(f"p{at}: " for at in range(1, 300)) + "}\n", "x" * 200_000 + "\n", "\x00" * 300_000),
)
_SEPARATORS = b",\t:\n[]{} ="


def flip_bits(text: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(text)
    for at in rng.integers(0, max(1, len(text)), rng.integers(1, 5)):
        if at < len(changed):
            changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def insert_bytes(text: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(text) + 1))
    return text[:at] + rng.bytes(int(rng.integers(1, 5))) + text[at:]


def insert_mark(text: bytes, rng: np.random.Generator) -> bytes:
    """One character that some syntax gives a meaning."""
    at = int(rng.integers(0, len(text) + 1))
    marks = b"\0\t\n\r\x0b\x1b \"#%&'*,-./:<=>?@[\\]`{|}~!0"
    return text[:at] + bytes([marks[int(rng.integers(len(marks)))]]) + text[at:]


def remove_bytes(text: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(0, len(text) + 1))
    return text[:at] + text[at + int(rng.integers(1, 20)) :]


def truncate(text: bytes, rng: np.random.Generator) -> bytes:
    return text[: int(rng.integers(0, len(text) + 1))]


def _change_pieces(pieces: list[bytes], rng: np.random.Generator) -> list[bytes]:
    """One is removed, repeated once or often, or changes places with another."""
    at, other = (int(number) for number in rng.integers(0, len(pieces), 2))
    how = int(rng.integers(4))
    if how == 0:
        return pieces[:at] + pieces[at + 1 :]
    if how == 1:
        return pieces[:at] + [pieces[at]] * (int(rng.choice([2, 2, 2, 300])) - 1) + pieces[at:]
    if how == 2:
        pieces[at], pieces[other] = pieces[other], pieces[at]
        return pieces
    return pieces[:other] + [pieces[at]] + pieces[other:]


def change_lines(text: bytes, rng: np.random.Generator) -> bytes:
    return b"".join(_change_pieces(text.splitlines(keepends=True) or [b""], rng))


def _fields(text: bytes) -> list[bytes]:
    """Fields and what separates them, in turns."""
    fields = [b""]
    for byte in text:
        if byte in _SEPARATORS:
            fields += [bytes([byte]), b""]
        else:
            fields[-1] += bytes([byte])
    return fields


def change_fields(text: bytes, rng: np.random.Generator) -> bytes:
    return b"".join(_change_pieces(_fields(text[:3000]), rng)) + text[3000:]


def replace_field(text: bytes, rng: np.random.Generator) -> bytes:
    fields = _fields(text[:3000])
    fields[2 * int(rng.integers(0, (len(fields) + 1) // 2))] = _VALUES[int(rng.integers(len(_VALUES)))].encode()
    return b"".join(fields) + text[3000:]


def insert_snippet(text: bytes, rng: np.random.Generator) -> bytes:
    """Before a line, or instead of it."""
    lines = text.splitlines(keepends=True) or [b""]
    at = int(rng.integers(0, len(lines) + 1))
    snippet = _SNIPPETS[int(rng.integers(len(_SNIPPETS)))].encode()
    return b"".join([*lines[:at], snippet, *lines[at + int(rng.integers(2)) :]])


def other_line_ends(text: bytes, rng: np.random.Generator) -> bytes:
    return text.replace(b"\n", (b"\r\n", b"\r", b"\n\n", b"\x0b", b"\xe2\x80\xa8", b" ")[int(rng.integers(6))])


def other_encoding(text: bytes, rng: np.random.Generator) -> bytes:
    name = ("utf-16", "utf-16-le", "latin-1", "utf-8-sig", "utf-32", "utf-7")[int(rng.integers(6))]
    return text.decode("utf-8", "replace").encode(name, "replace")


def splice(text: bytes, rng: np.random.Generator) -> bytes:
    """The start of this text, then the rest of another."""
    other = list(TEXTS.values())[int(rng.integers(len(TEXTS)))][1].encode()
    return text[: int(rng.integers(0, len(text) + 1))] + other[int(rng.integers(0, len(other) + 1)) :]


DAMAGES = (
    flip_bits,
    insert_bytes,
    insert_mark,
    insert_mark,
    remove_bytes,
    truncate,
    change_lines,
    change_lines,
    change_fields,
    change_fields,
    replace_field,
    replace_field,
    replace_field,
    replace_field,
    insert_snippet,
    other_line_ends,
    other_encoding,
    splice,
)


@dataclasses.dataclass(frozen=True)
class Made:
    """Text number `number`: what it was, what was done to it, what it is now."""

    number: int
    kind: str
    damages: tuple[str, ...]
    content: bytes


def make(number: int) -> Made:
    """The text of a number."""
    rng = np.random.default_rng(number)
    kind = list(TEXTS)[number % len(TEXTS)]
    whole = TEXTS[kind][1:]
    content = whole[number // len(TEXTS) % len(whole)].encode()
    # The first of each kind are whole: they must be read.
    count = 0 if number < len(TEXTS) else int(rng.choice([1, 1, 1, 2, 2, 3, 4]))
    damages = [DAMAGES[int(rng.integers(len(DAMAGES)))] for _ in range(count)]
    for damage in damages:
        content = damage(content, rng)
    return Made(number, kind, tuple(damage.__name__ for damage in damages), content)


# ---- Reading and judging, in the child ----------------------------------------------------------------------------


def lay_out(folder: Path) -> None:
    """The files that whole texts name, and the metadata that is not damaged."""
    if folder.is_dir():
        return
    for fold, name in ((5, "100032-3-0-0"), (5, "100263-2-0-117"), (10, "100648-1-0-0"), (1, "101415-3-0-2")):
        _write(folder / "us8k" / "audio" / f"fold{fold}" / f"{name}.wav", name.encode())
    for kind in ("tut meta.txt", "tut list"):
        for part, meta in _PARTS.items():
            for line in meta.splitlines():
                _write(folder / kind / f"TUT-acoustic-scenes-2017-{part}" / line.split("\t")[0], line.encode())
        _write(folder / kind / "TUT-acoustic-scenes-2017-evaluation" / "meta.txt", _EVALUATION.encode())
    for name in ("a.wav", "deep/b.wav", "c, d.wav", "e.wav"):
        _write(folder / "folder" / name, name.encode())
    _write(folder / "override" / "settings.yaml", _SETTINGS.encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def judge(made: Made, path: Path) -> Outcome:
    """Reads one text, and says what came of it; for a child process, since it may never return."""
    from loglearn_tf.errors import ConfigError, DataError

    root = path.parent / "texts"
    lay_out(root)
    text = root / made.kind / TEXTS[made.kind][0]
    _write(text, made.content)
    rng = np.random.default_rng(made.number)
    before_mib = _reset_peak_memory()
    try:
        fault = _read(made, text, lenient=bool(rng.integers(2)), validation_fold=str(rng.choice(["next", "none"])))
    except (ConfigError, DataError) as error:
        if isinstance(error.__cause__ or error.__context__, MemoryError):
            return Outcome(made.number, "memory", str(error))
        if not made.damages:
            return Outcome(made.number, "refused whole", str(error))
        fault = _message_fault(made, str(error), root)
        return Outcome(made.number, *(("bad message", f"{fault}: {error}") if fault else ("refused", str(error))))
    except Exception as error:
        return Outcome(made.number, "other exception", f"{type(error).__name__}: {error}")
    grown_mib = _peak_memory_mib() - before_mib
    if grown_mib > MEMORY_LIMIT_MIB:
        return Outcome(made.number, "memory", f"{grown_mib:.0f} MiB")
    return Outcome(made.number, "inconsistent" if fault else "read", fault)


def _message_fault(made: Made, message: str, root: Path) -> str:
    if len(message) > LONGEST_MESSAGE:
        return f"{len(message):,} characters"
    if not message.isprintable():
        return "what terminals obey"
    # Where the fault is: the file, or the command line.
    places = ["override", "the command line", str(root)] if made.kind == "override" else [str(root)]
    return "" if any(place.lower() in message.lower() for place in places) else "it names no file"


def _read(made: Made, text: Path, *, lenient: bool, validation_fold: str) -> str:
    """What is wrong with what was read; empty if nothing is."""
    from loglearn_tf.datasets import load_dataset
    from loglearn_tf.study.settings import load_studies

    if made.kind in ("settings", "override"):
        whole = text if made.kind == "settings" else text.with_name("settings.yaml")
        # As the system hands on what is no UTF-8.
        overrides = [] if made.kind == "settings" else [made.content.decode("utf-8", "surrogateescape")]
        return "".join(_settings_fault(settings, text) for settings in load_studies(whole, overrides))
    name = made.kind.split()[0]
    root = {"us8k": text.parent.parent, "folder": text}.get(
        name, text.parents[len(Path(TEXTS[made.kind][0]).parts) - 1]
    )
    return _data_fault(load_dataset(name, root, allow_missing=lenient, validation_fold=validation_fold))


def _data_fault(dataset: Any) -> str:
    ids = [clip.clip_id for clip in dataset.clips]
    if not ids or ids != sorted(set(ids)):
        return f"no clips, or some twice: {ids}"
    for clip in dataset.clips:
        if not (clip.path.is_file() and clip.n_bytes == clip.path.stat().st_size and clip.checksum):
            return f"{clip.clip_id} is no file that was read"
        if not 0 <= clip.label < len(dataset.classes):
            return f"{clip.clip_id} has label {clip.label} of {len(dataset.classes)}"
    for test_fold, train_folds in dataset.train_folds.items():
        if test_fold in train_folds or not train_folds:
            return f"fold {test_fold} is trained by {train_folds}"
    return "" if len(dataset.fingerprint) == 16 else "no fingerprint"


def _settings_fault(settings: Any, text: Path) -> str:
    from loglearn_tf.study.settings import load_settings

    written = text.with_name("written.yaml")
    written.write_text(yaml.safe_dump(settings.dump(), allow_unicode=True), encoding="utf-8")
    again = load_settings(written)
    if again.dump() != settings.dump() or again.result_settings() != settings.result_settings():
        return "other settings, when written and read again"
    return "" if len(bytes(settings.study_dir)) < 4096 and b"\0" not in bytes(settings.study_dir) else "no folder"


# ---- The parent -------------------------------------------------------------------------------------------------


def fuzz_texts(
    numbers: Iterable[int], *, every: int = 1000, judged_by: Callable[[Made, Path], Outcome] = judge
) -> list[Outcome]:
    """Judges the texts of these numbers, one after another; see `fuzz_audio.fuzz`."""
    return fuzz(numbers, tensorflow_io=False, every=every, made_by=make, judged_by=judged_by)


def table(outcomes: Iterable[Outcome]) -> str:
    """Counts by kind of text and outcome, in Markdown."""
    return table_of(outcomes, list(TEXTS), (*GOOD, *BAD), head="| Text | texts |")


def describe(outcome: Outcome) -> str:
    """A fault, and how to make its text again."""
    made = make(outcome.number)
    return f"{outcome.number}: {outcome.outcome}: {made.kind}, {' + '.join(made.damages)}: {outcome.detail[:500]!a}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first text (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER", help="these texts instead")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="write the texts that show a fault, or --only, there"
    )
    parser.add_argument("--output", type=Path, help="a Markdown file for the table")
    options = parser.parse_args()
    outcomes = fuzz_texts(options.only or range(options.first, options.first + options.texts))
    return report(
        outcomes,
        options,
        bad=BAD,
        table_by=table,
        described_by=describe,
        content_by=lambda n: make(n).content,
        ending="txt",
    )


if __name__ == "__main__":
    sys.exit(main())
