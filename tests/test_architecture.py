"""Which module may use which: the package as a table.

Imports flow one way, from what knows least (top of the table) to what knows most (bottom). A new module
needs a row; a new arrow in a row is a decision about the design, not a detail.
"""

import ast
import re
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
    "layers": "layers errors _util",
    "models": "models layers errors _util",
    "__init__": "experiment training study analysis datasets models layers deploy",  # when first asked for
    # The sounds: clips to mel power on disk.
    "audio": "audio errors _util",
    "datasets": "datasets audio errors _util",
    "features": "features audio datasets layers errors _util",
    # What a study is, and what its runs left.
    "study": "study models layers datasets errors _util",
    # One run.
    "training": "training features models layers study datasets errors _util",
    # Finished runs to answers.
    "analysis": "analysis study features models layers datasets errors _util",
    # Trained networks for use elsewhere.
    "deploy": "deploy layers datasets audio errors _util",
    # Many runs.
    "experiment": "experiment training deploy analysis study features datasets models layers errors _util",
    # All of it, in words.
    "cli": "__init__ experiment deploy analysis study features datasets errors _util",
    "__main__": "cli",
}

# What modules of layers may share besides the base of compressions: importing them can start nothing.
WITHOUT_KERAS = ("layers.compression.power_counts", "layers.keras_2", "layers.waveform")

# None may use one to its right, by whatever way round.
FLOWS = [
    "layers models training experiment",
    "layers models deploy",
    "audio datasets features experiment cli",
    "datasets study training experiment cli",
    "models study analysis experiment cli",
]

# `loglearn --help`, `plan` and `results` answer at once: what they need loads nothing slow.
QUICK = [
    "__init__",
    "_util",
    "analysis.__init__",
    "analysis.names",
    "analysis.results",
    "analysis.summary",
    "audio.__init__",
    "cli",
    "datasets",
    "errors",
    "experiment",  # what uses TensorFlow imports it in a process of its own
    "layers.__init__",
    "layers.compression.__init__",
    "models",
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
    assert [module for module in modules() if "cli" in uses(module)] == ["__main__"]
    assert [module for module in modules() if "__main__" in uses(module)] == []


@pytest.mark.parametrize("flow", FLOWS)
def test_imports_flow_one_way(flow):
    order = flow.split()
    for at, name in enumerate(order):
        later = set(order[at + 1 :])
        for module in modules():
            if part(module) == name:
                assert not {part(target) for target in reaches(module)} & later, module


def test_only_the_command_line_prints():
    """A library tells by what it returns, raises and logs, and by `on_progress`."""
    printing = {
        module
        for module, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert printing == {"cli", "_util.progress"}  # the latter in `ProgressDisplay`, which the command line makes
    assert [module for module in modules() if "ProgressDisplay" in modules()[module].read_text("utf-8")] == [
        "_util.progress",
        "cli",
    ]


def test_results_are_read_without_what_makes_them():
    """Tables can be made where TensorFlow is not even installed."""
    reached = reaches("analysis.summary")
    # Networks and compressions are looked up in their lists, which import Keras when they build one.
    lists = {"models.registry", "layers.compression.__init__"}
    assert not {part(module) for module in reached - lists} & {"training", "experiment", "features", "models", "layers"}
    for module in reached:
        assert not libraries(imports(module, at_load=module in lists)) & set(SLOW), module


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
            assert used <= {"layers.compression.base", *WITHOUT_KERAS}, module
    for module in WITHOUT_KERAS:
        assert libraries(imports(module)) & set(SLOW) == set(), module


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


# ---- What the documents say ---------------------------------------------------------------------------------------


def folders() -> set[str]:
    return {module.split(".")[0] for module in modules() if "." in module}


def test_the_block_diagram_has_every_folder_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.M)) == folders()
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", text, re.S)
    drawn = re.sub(r"subgraph.*|-- [^>]* -->|\(\[.*?\]\)", "-->", diagram)
    outside = {"flowchart", "TB", "end", "file", "results", "elsewhere"}
    assert set(re.findall(r"\w+", drawn)) - outside == folders() - {"_util"}


def test_no_folder_uses_what_its_arrows_lead_to():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    arrows = set()
    for line in re.findall(r"^ .*-->.*$", text, re.M):
        stations = re.split(r" -- [^>]* --> | --> ", re.sub(r"\(\[.*?\]\)", "", line.strip()))
        arrows |= set(zip(stations, stations[1:], strict=False))
    assert {("audio", "datasets"), ("layers", "models"), ("features", "training"), ("study", "analysis")} <= arrows
    for start, end in arrows:
        used = {part(target) for module in modules() if part(module) == start for target in uses(module)}
        assert end not in used, f"{start} imports {end}"


def test_files_that_documents_name_are_there():
    for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/fidelity.md", "data/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for path in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
            found = (ROOT / path).is_file() or (ROOT / PACKAGE / path).is_file() or path.startswith("src/")
            assert found, f"{name}: {path}"
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (ROOT / name).parent.joinpath(link).exists(), f"{name}: {link}"


def test_what_is_cited_of_the_reference_can_be_read():
    """Code cites docs/fidelity.md by the names of its sections."""
    text = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (.*)", text, re.M))
    cited = set()
    for path in [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        words = " ".join(path.read_text(encoding="utf-8").split()).replace(" # ", " ")
        assert not re.search(r"\bFIDELITY\b", words) or path == Path(__file__), path
        for rest in words.split("docs/fidelity.md")[1:]:
            names = re.match(r'(?:, ("[^"]+"(?: and "[^"]+")*))?', rest)
            assert names is not None and (names[1] or path == Path(__file__)), f"{path} cites no section: {rest[:40]}"
            cited |= set(re.findall(r'"([^"]+)"', names[1] or ""))
    assert cited <= sections
    assert {"Supervised training", "Prototypical training", "Evaluation"} <= cited


# ---- The same, seen from outside ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["plan", "us8k", "--no-measure"], 0),
        (["results", "no/such/study"], 2),
        (["data", "get", "us8k", "/dev/null/data"], 2),
        (["run", "us8k", "data.root=no/such/folder"], 2),
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
