"""The documentation's pages, before Sphinx: what the reference must hold, links, examples and commands."""

import ast
import importlib
import importlib.util
import inspect
import re
import shlex
import typing
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import ROOT
from pydantic import BaseModel

import loglearn_tf
from loglearn_tf import errors, layers
from loglearn_tf.analysis.report.tables import TABLES
from loglearn_tf.cli import _parser
from loglearn_tf.datasets import DATASETS
from loglearn_tf.deploy.export import EXPORT_FORMATS
from loglearn_tf.layers import COMPRESSIONS
from loglearn_tf.models import MODELS
from loglearn_tf.study.run_folder import COLUMNS
from loglearn_tf.study.settings import Settings, load_studies
from loglearn_tf.study.yaml_file import experiment_names

DOCS = ROOT / "docs"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = load("pages")


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    """Page -> its text, generated parts included."""
    return {page.as_posix(): pages.expand((DOCS / page).read_text(encoding="utf-8"), page) for page in pages.sources()}


@pytest.fixture(scope="module")
def documented(site: dict[str, str]) -> set[str]:
    """Full names of what autodoc will put on a page: it passes over what has no docstring."""
    found = set()
    for text in site.values():
        found |= set(re.findall(r"^\.\. (?:autoclass|autofunction):: ([\w.]+)", text, re.M))
        lists = re.findall(r"^\.\. py:data:: (\w+)\n   :module: ([\w.]+)$", text, re.M)
        found |= {f"{module}.{name}" for name, module in lists}
        for name, options in re.findall(r"^\.\. automodule:: ([\w.]+)\n((?:   :.*\n)*)", text, re.M):
            module = importlib.import_module(name)
            asked = re.search(r":members:(.*)", options)
            assert asked, f"{name} without :members: shows nothing"
            own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == name]
            names = re.findall(r"\w+", asked[1]) or getattr(module, "__all__", own)
            for one in names:
                thing = getattr(module, one)
                if (inspect.isclass(thing) or inspect.isroutine(thing)) and inspect.getdoc(thing):
                    found.add(f"{name}.{one}")
    return found


# ---- What the reference holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", loglearn_tf.__all__)
def test_public_names_of_the_package(name, site, documented):
    home = f"{loglearn_tf._HOMES[name]}.{name}"
    assert home in documented
    assert re.search(rf"`~{re.escape(home)}`\n: \w", site["reference/python.md"])


@pytest.mark.parametrize("name", layers.__all__)
def test_public_names_of_the_layers(name, documented):
    assert f"loglearn_tf.layers.{name}" in documented


@pytest.mark.parametrize("folder", ["audio", "datasets", "models", "training.accelerated"])
def test_public_names_of_other_folders(folder, documented):
    module = importlib.import_module(f"loglearn_tf.{folder}")
    assert {f"{module.__name__}.{name}" for name in module.__all__} <= documented


def test_what_pages_refer_to_in_python_is_on_a_page(site, documented):
    referred = {name for text in site.values() for name in re.findall(r"\{py:\w+\}`~?([\w.]+)`", text)}
    lacking = {name for name in referred if name not in documented and name.rpartition(".")[0] not in documented}
    assert referred and not lacking


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """By the annotations, where the page goes by the JSON schema."""
    found = []
    for name, field in model.model_fields.items():
        choices = [field.annotation, *typing.get_args(field.annotation)]
        inner = [one for one in choices if isinstance(one, type) and issubclass(one, BaseModel)]
        is_table = typing.get_origin(field.annotation) is dict
        found += setting_names(inner[0], f"{prefix}{name}.{'NAME.' if is_table else ''}") if inner else [prefix + name]
    return found


def test_settings(site):
    expected = setting_names(Settings)
    assert {"data.synthetic.seed", "ray.gpus", "variants.NAME.args", "features.n_fft", "runs"} <= set(expected)
    blocks = dict(re.findall(r"```\{confval\} (\S+)\n(.*?)\n```", site["reference/settings.md"], re.S))
    assert sorted(blocks) == sorted(expected)
    for name, block in blocks.items():
        about = block.partition("\n\n")[2]
        assert len(about) > 5 and about.rstrip()[-1] in ".:)", f"{name}: {about}"
        assert re.match(r':type: "(one|a list|text|a number|an integer|`true`|`slaney`|a table)', block), name


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("data.n_folds", "an integer from 2 to 1,000", "`5`"),
        ("training.learning_rate", "a number above 0", "`0.1`"),
        ("features.n_fft", "an integer from 2 to 1,048,576 and divisible by 2", "`1024`"),
        ("protocol", "one of `pons2018`, `clean`", '`\\"pons2018\\"`'),
        ("run_timeout_s", "a number above 0 and of at most 1,000,000,000, or `null`", "`null`"),
        ("n_shot", "one or a list, each an integer from 1 to 1,000,000, or `all`", "required"),
        ("data.name", "text", "required"),
        ("training.optimizer.name", "text", '`\\"sgd\\"`'),
    ],
)
def test_types_ranges_and_defaults_of_settings(name, kind, default, site):
    assert f'```{{confval}} {name}\n:type: "{kind}"\n:default: "{default}"\n' in site["reference/settings.md"]


def help_of_commands(parser, name="loglearn") -> dict[str, str]:
    """Command -> its help text, by the list of commands in the help text of the one above it."""
    text = parser.format_help()
    listed = re.findall(r"^ {4}(\w+)(?= |$)", text.partition("\ncommands:")[2], re.M)
    if not listed:
        return {name: text}
    choices = parser._subparsers._group_actions[0].choices
    return {key: text for one in listed for key, text in help_of_commands(choices[one], f"{name} {one}").items()}


def test_commands(site):
    text = site["reference/commands.md"]
    sections = dict(re.findall(r"^## `(loglearn [^`]+)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    expected = help_of_commands(_parser())
    assert {"loglearn plan", "loglearn data get", "loglearn data check", "loglearn export"} <= set(expected)
    assert set(sections) == set(expected)
    for name, shown in expected.items():
        options = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", shown.partition("\n\n")[0])) - {"--help"}
        assert all(re.search(rf"^```{{option}} {option}\b", sections[name], re.M) for option in options), name


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("compressions", pages.own(COMPRESSIONS)),
        ("networks", pages.own(MODELS)),
        ("datasets", pages.own(DATASETS)),
        ("tables", pages.own(TABLES)),
        ("formats", pages.own(EXPORT_FORMATS)),
        ("experiments", experiment_names()),
    ],
)
def test_lists(page, names, site):
    assert re.findall(r"^## `(\S+)`$", site[f"reference/{page}.md"], re.M) == list(names)


def test_numbers_of_the_networks_are_the_published_ones(site):
    text = site["reference/networks.md"]
    # docs/fidelity.md, "Networks"
    for number in ("241,436", "241,761", "42,764", "45,329", "7,572", "11,357", "613,642"):
        assert number in text


def test_errors_say_what_to_do():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LoglearnError)
    ]
    assert len(kinds) > 8
    assert [kind.__name__ for kind in kinds if "\nRemedy:\n    " not in (inspect.getdoc(kind) or "")] == []


def test_columns_of_results(site):
    rows = re.findall(r"^\| (`[^|]+) \|", site["reference/files.md"], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(COLUMNS) <= named and {"clip_id", "predicted", "epoch", "loss", "knee_support"} <= named


# ---- Links, examples and commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page.as_posix() for page in pages.sources()])
def test_links_lead_somewhere(page, site):
    """As they are read on the site, and as they are read in the repository."""
    for text in (site[page], (DOCS / page).read_text(encoding="utf-8")):
        for target in pages.links(text):
            if not target.startswith("/_generated/"):
                assert (DOCS / page).parent.joinpath(target).exists(), target


def test_links_of_included_texts_lead_to_pages(site):
    assert "](architecture.md)" in site["contributing.md"] and "](fidelity.md)" in site["contributing.md"]
    assert "](contributing.md)" in site["architecture.md"]


def test_links_in_code_stay_as_they_are():
    text = "[a](data/README.md)\n```text\n[a](data/README.md)\n```\n"
    assert pages.linked(text, ROOT, Path("reference/x.md")) == (
        "[a](../howto/data.md)\n```text\n[a](data/README.md)\n```\n"
    )


def test_every_page_is_in_a_table_of_contents(site):
    listed = {"index.md"}
    for page, text in site.items():
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", text, re.S):
            for line in filter(None, (line.strip() for line in tree.splitlines())):
                if not line.startswith(":"):
                    name = re.sub(r".*<(.*)>", r"\1", line)
                    folder = DOCS if name.startswith("/") else (DOCS / page).parent
                    listed.add((folder / f"{name.lstrip('/')}.md").resolve().relative_to(DOCS).as_posix())
    # What Sphinx-Gallery makes of the scripts.
    galleries = {f"auto_{folder}/index.md" for folder in ("tutorials", "gallery")}
    assert listed == set(site) | galleries


EXAMPLES = [
    pytest.param(code, id=f"{page}-{number}")
    for page in pages.sources()
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.S | re.M))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_examples_run(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out.split()
    promised = re.findall(r"^print\(.*#\s+([\w.]+)$", code, re.M)
    assert len(printed) == len(promised)
    assert all(value.startswith(digits) for value, digits in zip(printed, promised, strict=True))


def command_lines() -> list[str]:
    texts = [(DOCS / page).read_text(encoding="utf-8") for page in pages.sources()]
    return [
        line
        for text in texts
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
        for line in block.splitlines()
    ]


@pytest.mark.parametrize("line", sorted({line for line in command_lines() if line.startswith("loglearn ")}))
def test_commands_are_understood(line):
    words = shlex.split(line.partition(" > ")[0], comments=True)
    options = _parser().parse_args(words[1:])
    if getattr(options, "settings", None) in experiment_names():
        assert load_studies(options.settings, options.overrides)


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {line.split()[1] for line in command_lines() if line.startswith("make ")}
    workflow = (ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8")
    targets |= set(re.findall(r"run: make ([\w-]+)", workflow))
    assert {"install", "demo", "test", "lint", "docs"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.M)] == []


# ---- Tutorials and gallery -----------------------------------------------------------------------------------------

SCRIPTS = [
    pytest.param(path, id=f"{path.parent.name}/{path.stem}")
    for folder in ("tutorials", "gallery")
    for path in sorted((DOCS / folder).glob("*.py"))
]


def test_there_are_tutorials_and_a_gallery():
    names = [script.id for script in SCRIPTS]
    assert [name for name in names if name.startswith("tutorials/")] == [
        f"tutorials/{name}" for name in ("1_layer", "2_study", "3_recordings", "4_run_folder", "5_tensorboard")
    ]
    assert len(names) >= 9


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_begin_with_a_title(script):
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
    title, line, empty, *rest = text.splitlines()
    assert title and line == "=" * len(title) and not empty and rest


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_what_is_documented(script, documented):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    compile(tree, script, "exec")
    homes = {name: f"{home}.{name}" for name, home in loglearn_tf._HOMES.items()}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            # A module as a whole: what is used of it cannot be seen here.
            assert not any(alias.name.startswith("loglearn_tf.") for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "loglearn_tf":
            for alias in node.names:
                used.add(homes[alias.name] if node.module == "loglearn_tf" else f"{node.module}.{alias.name}")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            assert node.attr.endswith("__"), ast.unparse(node)
    assert used and used <= documented


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_linked(script, site):
    page = f"auto_{script.parent.name}/{script.stem}"
    assert f"auto_{script.parent.name}/index" in site["index.md"]
    assert any(re.search(rf"\{{doc\}}`[^`]*<(/|(\.\./)?){page}>`", text) for text in site.values())


# ---- Pictures ------------------------------------------------------------------------------------------------------


def test_the_diagram_has_a_place_for_every_box():
    pictures = load("pictures")
    arrows = pictures.edges((DOCS / "architecture.md").read_text(encoding="utf-8"))
    assert ("models", "training", "mel power to logits") in arrows and ("audio", "datasets", "") in arrows
    assert {box for arrow in arrows for box in arrow[:2]} == set(pictures._PLACES)


# ---- What other services read --------------------------------------------------------------------------------------


def test_workflows():
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
    versions = ci["jobs"]["test"]["strategy"]["matrix"]["python"]
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert versions == ["3.10", "3.11", "3.12", "3.13"]  # text: 3.10 would be 3.1
    assert all(f"Python :: {version}\n" in setup for version in versions)
    assert {"test", "test-long", "lint", "docs", "wheel"} == set(ci["jobs"])
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text(encoding="utf-8"))
    # Whoever may publish builds nothing, and whoever builds may not publish.
    assert release["permissions"] == {"contents": "read"} == ci["permissions"]
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert "permissions" not in release["jobs"]["build"]


def test_read_the_docs_builds_what_make_docs_builds():
    config = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert config["sphinx"] == {"configuration": "docs/conf.py", "fail_on_warning": True}
    assert config["python"]["install"][0]["extra_requirements"] == ["docs"]
    assert re.search(r"^docs =\n(    .*\n)*    sphinx ", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.M)
