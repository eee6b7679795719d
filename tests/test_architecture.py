"""Which module may use which: the package as a table.

Imports flow one way, from what knows least (top of the table) to what knows most (bottom). A new module
needs a row; a new arrow in a row is a decision about the design, not a detail.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "loglearn_tf"
SLOW = ("tensorflow", "keras", "librosa", "tensorflow_io")  # seconds to import

# Part of the package -> the parts that it may import, at its top or inside a function. A folder is one part.
MAY_IMPORT = {
    "errors": "",
    "_util": "_util errors",
    # The network: layers and models, usable, testable and loadable alone, by plain arguments.
    "layers": "layers training errors _util",
    "models": "models layers",
    "__init__": "models layers deploy",  # when first asked for; not at its top
    # The sounds: clips to mel power on disk.
    "audio": "errors",
    "datasets": "datasets audio errors _util",
    "features": "features audio datasets layers errors _util",
    # What a study is, and what its runs left.
    "study": "study datasets errors _util",
    # One run.
    "training": "training features models layers study datasets errors",
    # Finished runs to answers.
    "analysis": "analysis study features errors _util",
    # Trained networks for use elsewhere.
    "deploy": "deploy layers datasets audio errors _util",
    # Many runs.
    "experiment": "experiment training deploy features study datasets errors _util",
    # All of it.
    "cli": "__init__ experiment deploy analysis study features datasets layers errors _util",
}

# None may use one to its right, by whatever way round.
FLOWS = [
    "layers models deploy",
    "audio datasets features experiment cli",
    "datasets study training experiment cli",
    "study analysis cli",
]

# `loglearn --help`, `plan` and `results` answer at once: what they need loads nothing slow.
QUICK = [
    "__init__",
    "_util",
    "analysis.__init__",
    "analysis.summary",
    "audio.__init__",
    "cli",
    "datasets",
    "errors",
    "experiment.__init__",
    "layers.__init__",
    "layers.compression.__init__",
    "study",
]


# ---- Reading the imports ----------------------------------------------------------------------------------------


@cache
def modules() -> dict[str, Path]:
    """Module, as `datasets.us8k` or `datasets.__init__`, to its file."""
    base = ROOT / PACKAGE
    return {".".join(path.relative_to(base).with_suffix("").parts): path for path in sorted(base.rglob("*.py"))}


@cache
def imports(module: str, *, at_load: bool = False) -> frozenset[str]:
    """The dotted names that a module imports; `at_load`: without those inside functions."""
    return frozenset(_imports(ast.parse(modules()[module].read_text(encoding="utf-8")), at_load))


def _imports(node: ast.AST, at_load: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "absolute imports only"
        assert node.module is not None
        # What is imported may be a module or a name in one; `_target` tells them apart.
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    in_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for_type_checker = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    if not (at_load and (in_function or for_type_checker)):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, at_load)


def _target(name: str) -> str | None:
    """The module of this package that an imported name lies in."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return None
    for end in range(len(parts), 1, -1):
        for found in (".".join(parts[1:end]), ".".join([*parts[1:end], "__init__"])):
            if found in modules():
                return found
    return "__init__"


def uses(module: str, *, at_load: bool = False) -> set[str]:
    """The modules of this package that a module imports itself."""
    return {target for name in imports(module, at_load=at_load) if (target := _target(name)) is not None}


def loads(module: str) -> set[str]:
    """All modules of this package that are loaded with a module: what it imports, and the folders of these."""
    found, waiting = set(), {module}
    while waiting:
        current = waiting.pop()
        found.add(current)
        parents = {"__init__"} | ({current.split(".")[0] + ".__init__"} if "." in current else set())
        waiting |= (uses(current, at_load=True) | parents) - found
    return found


def reaches(module: str) -> set[str]:
    """All modules of this package that a module can come to use, imports inside functions included."""
    found, waiting = set(), {module}
    while waiting:
        current = waiting.pop()
        found.add(current)
        waiting |= uses(current) - found
    return found


def part(module: str) -> str:
    return module.split(".")[0]


def libraries(names: frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names} - {PACKAGE}


# ---- The rules --------------------------------------------------------------------------------------------------


def test_every_part_has_a_row_and_every_row_a_part():
    assert set(MAY_IMPORT) == {part(module) for module in modules()}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_part_imports_what_its_row_allows(name):
    allowed = set(MAY_IMPORT[name].split())
    for module in modules():
        if part(module) == name:
            used = {part(target) for target in uses(module)}
            assert used <= allowed, f"{module} imports {sorted(used - allowed)}"


def test_no_row_allows_what_is_not_used():
    """The table shows the package as it is."""
    for name, allowed in MAY_IMPORT.items():
        used = {part(target) for module in modules() if part(module) == name for target in uses(module)}
        assert used == set(allowed.split()), name


def test_the_command_line_is_imported_by_nothing():
    assert [module for module in modules() if "cli" in uses(module)] == []


@pytest.mark.parametrize("flow", FLOWS)
def test_imports_flow_one_way(flow):
    order = flow.split()
    for at, name in enumerate(order):
        later = set(order[at + 1 :])
        for module in modules():
            if part(module) == name:
                assert not {part(target) for target in reaches(module)} & later, module


def test_results_are_read_without_what_makes_them():
    """Tables can be made where TensorFlow is not even installed."""
    reached = reaches("analysis.summary")
    assert not {part(module) for module in reached} & {"training", "experiment", "features", "models"}
    for module in reached:
        assert not libraries(imports(module)) & set(SLOW), module


@pytest.mark.parametrize("name", ["layers", "models"])
def test_layers_and_networks_know_only_keras(name):
    """They load from a saved model wherever Keras and the package are."""
    known = {"keras", "numpy", "tensorflow"} | sys.stdlib_module_names
    for module in modules():
        if part(module) == name:
            assert libraries(imports(module)) <= known, module


def test_layers_share_only_their_base():
    """`layers.register` runs as soon as Keras is imported, perhaps by a module of a layer that is not complete yet."""
    for module in modules():
        if part(module) == "layers" and not module.endswith("__init__"):
            used = {target for target in uses(module, at_load=True) if part(target) == "layers"}
            assert used <= {"layers.compression.base", "layers.compression.power_counts"}, module
    assert libraries(imports("layers.compression.power_counts")) & set(SLOW) == set()


def test_there_is_no_circle():
    for module in modules():
        for target in uses(module):
            assert module not in reaches(target), f"{module} and {target} import each other"


@pytest.mark.parametrize("name", QUICK)
def test_quick_modules_load_nothing_slow(name):
    for module in modules():
        if name in (module, part(module)):
            for loaded in loads(module):
                assert not libraries(imports(loaded, at_load=True)) & set(SLOW), f"{module} loads {loaded}"


def test_all_that_the_command_line_loads_is_quick():
    assert {module for module in loads("cli") if not {module, part(module)} & set(QUICK)} == set()


# ---- The same, seen from outside ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["plan", "experiments/us8k.yaml"], 0),
        (["results", "no/such/study"], 2),
        (["data", "get", "us8k", "/dev/null/data"], 2),
        (["run", "experiments/us8k.yaml", "data.root=no/such/folder"], 2),
    ],
    ids=["--help", "plan", "results", "data get", "run"],
)
def test_quick_commands_load_no_tensorflow(arguments, code):
    program = f"""
import sys
import loglearn_tf.cli
try:
    code = loglearn_tf.cli.main({arguments!r})
except SystemExit as end:
    code = end.code
print("loaded:", *sorted({set(SLOW)!r} & set(sys.modules)))
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
