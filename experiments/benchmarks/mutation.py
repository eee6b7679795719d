"""Mutation testing: small faults put into a module, one at a time; do its tests notice?

    python experiments/benchmarks/mutation.py statistics --sample 200

Operators, as `<` for `<=`, are Cosmic Ray's. It would start a process for every fault, most of whose seconds are
TensorFlow's; here a process that has imported it already forks for each. Faults in annotations, and in how arguments
are passed, are left out: nothing computes with them. Survivors are printed with the line that was changed.
"""

import argparse
import ast
import contextlib
import difflib
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cosmic_ray.plugins
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

from loglearn_tf._util.progress import Progress, ProgressDisplay
from loglearn_tf._util.tensorflow_runtime import be_quiet

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "loglearn_tf"
# Module -> the tests that are of it.
TESTS = {
    "audio.decoder": ["tests/audio/test_decoder.py"],
    "audio.wav": ["tests/audio/test_wav.py", "tests/audio/test_decoder.py"],
    "datasets.few_shot": ["tests/datasets/test_few_shot.py"],
    "analysis.statistics": ["tests/analysis/test_statistics.py"],
    "training.evaluation": ["tests/training/test_evaluation.py", "tests/deploy/test_clip_classifier.py"],
}
# Imported before forking; nothing of this package is, but what the mutated modules do not use.
_SLOW = (
    "numpy",
    "scipy.stats",
    "statsmodels.stats.multitest",
    "soundfile",
    "soxr",
    "hypothesis",
    "tensorflow",
    "keras",
)
_SURVIVED, _KILLED, _TIMED_OUT = "survived", "killed", "timed out"


def mutations(source: str) -> list[tuple[str, int]]:
    """Operator and occurrence of every fault that can be put into a module."""
    tree = get_ast(source)
    nodes = list(ast_nodes(tree))
    found = []
    for name in cosmic_ray.plugins.operator_names():
        kind = cosmic_ray.plugins.get_operator(name)
        if not kind.arguments():
            n_places = sum(len(list(kind().mutation_positions(node))) for node in nodes)
            found += [(name, occurrence) for occurrence in range(n_places)]
    return found


def mutated(source: str, name: str, occurrence: int) -> str | None:
    """The module with the fault; `None` where it is no Python, or nothing that is computed is another."""
    try:
        code = mutate_code(source, cosmic_ray.plugins.get_operator(name)(), occurrence)
    except AttributeError:  # of the exceptions in `except (a.B, C)` it can replace plain names only
        return None
    try:
        return None if code is None or _computed(code) == _computed(source) else str(code)
    except SyntaxError:  # as of the `*` before keyword-only arguments, taken for a product
        return None


def _computed(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
        if isinstance(node, ast.arguments):
            # By position or by name: the same is computed.
            node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
            node.defaults += [default for default in node.kw_defaults if default is not None]
            node.kw_defaults = []
    return ast.dump(tree)


class Trial:
    """One module with a fault, tested in a fork of this process."""

    def __init__(self, module: str, code: str | None) -> None:
        self.started = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            os._exit(_test(module, code))

    def outcome(self, limit_s: float) -> str | None:
        """`None` while it goes on."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return _SURVIVED if status == 0 else _KILLED
        if time.monotonic() - self.started < limit_s:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return _TIMED_OUT


def _test(module: str, code: str | None) -> int:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        if code is not None:
            _replace(module, code)
        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        return int(pytest.main([*options, *TESTS[module]]))
    except BaseException:
        return 1


def _replace(module: str, code: str) -> None:
    """Everything that imports the module from now on gets the faulty one."""
    name = f"loglearn_tf.{module}"
    parent = importlib.import_module(name.rpartition(".")[0])
    spec = importlib.util.spec_from_file_location(name, PACKAGE / f"{module.replace('.', '/')}.py")
    assert spec is not None
    faulty = importlib.util.module_from_spec(spec)
    sys.modules[name] = faulty
    setattr(parent, module.rpartition(".")[2], faulty)
    exec(compile(code, str(spec.origin), "exec"), faulty.__dict__)


def trials(module: str, codes: list[str], *, workers: int, limit_s: float) -> Iterator[tuple[int, str]]:
    """Number and outcome of each, as they end."""
    left, busy = list(enumerate(codes))[::-1], {}
    while left or busy:
        while left and len(busy) < workers:
            number, code = left.pop()
            busy[number] = Trial(module, code)
        for number, trial in list(busy.items()):
            outcome = trial.outcome(limit_s)
            if outcome:
                del busy[number]
                yield number, outcome
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("module", choices=TESTS)
    parser.add_argument("--sample", type=int, help="faults drawn at random; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    os.chdir(ROOT)
    be_quiet()
    for name in _SLOW:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    source = (PACKAGE / f"{options.module.replace('.', '/')}.py").read_text(encoding="utf-8")
    found = mutations(source)
    random.Random(options.seed).shuffle(found)
    codes: list[str] = []
    for name, occurrence in found:
        if len(codes) == options.sample:
            break
        code = mutated(source, name, occurrence)
        if code is not None:
            codes.append(code)

    whole = Trial(options.module, None)
    while not (outcome := whole.outcome(3600)):
        time.sleep(0.1)
    seconds = time.monotonic() - whole.started
    if outcome != _SURVIVED:
        print(f"The tests of {options.module} fail without any fault.", file=sys.stderr)
        return 1
    survivors = []
    with ProgressDisplay() as show:
        progress = Progress(show, "Faults", len(codes))
        for number, outcome in trials(options.module, codes, workers=options.workers, limit_s=60 + 5 * seconds):
            progress.advance()
            if outcome == _SURVIVED:
                survivors.append(codes[number])
    n_killed = len(codes) - len(survivors)
    for code in survivors:
        changes = difflib.unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm="")
        print("\n".join(line for line in changes if not line.startswith(("---", "+++"))), "\n")
    print(f"{options.module}: {n_killed} of {len(codes)} faults noticed, {100 * n_killed / len(codes):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
