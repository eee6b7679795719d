"""Sphinx: how the site is built. `make docs` runs it; what pages take from the code is in pages.py."""

import inspect
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import pages  # noqa: E402
import pictures  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402

import loglearn_tf  # noqa: E402
from loglearn_tf._util.tensorflow_runtime import available_cores, be_quiet  # noqa: E402

be_quiet()

project = "loglearn_tf"
author = "the loglearn_tf contributors"
version = release = loglearn_tf.__version__
html_title = f"loglearn_tf {version}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Of tutorials and gallery, what Sphinx-Gallery makes of the scripts is read.
exclude_patterns = ["_generated", "tutorials", "gallery"]

# Scripts that are run when the site is built: an error in one of them ends the build.
sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "gallery"],
    "gallery_dirs": ["auto_tutorials", "auto_gallery"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    # Also where a script is as it was: what it imports may have changed.
    "run_stale_examples": True,
    "image_scrapers": ("figures.scrape",),
    "reset_modules": ("figures.use_style",),
    # At most four: each script needs up to 1.5 GB.
    "parallel": min(4, available_cores()),
    "capture_repr": ("_repr_html_",),  # tables of pandas
    "remove_config_comments": True,
    # Names in code lead to the reference.
    "doc_module": ("loglearn_tf",),
    "reference_url": {"loglearn_tf": None},
    "download_all_examples": False,
    "write_computation_times": False,
    "show_signature": False,
}

# Docstrings write code as Markdown does, between single backticks; names in there become links where they are known.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # Keras' own would come along
autodoc_typehints = "none"  # the text says types with shapes and units
napoleon_use_ivar = True
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Input shape", "Output shape", "Reference", "Remedy"]
python_maximum_signature_line_length = 60

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}


def _expand(app: Sphinx, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname, base=False))
    if page.suffix == ".md":
        source[0] = pages.expand(source[0], page)


def _find_unqualified(app: Sphinx, env: Any, node: Any, contnode: nodes.TextElement) -> nodes.Node | None:
    """A name without its module, as docstrings write it, links to the one public thing that is called so."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    found = [name for name in domain.objects if name.rpartition(".")[2] == node["reftarget"] and name[0] != "_"]
    things = [name for name in found if domain.objects[name].objtype in ("class", "function", "data", "exception")]
    if len(things) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", things[0], node, contnode)


def _signature_of_init(app: Sphinx, what: str, name: str, thing: Any, *_: Any) -> tuple[str, str] | None:
    """A layer's own arguments: `__new__` of Keras' layers takes anything."""
    if what != "class" or "keras" not in {base.__module__.partition(".")[0] for base in thing.__mro__}:
        return None
    _self, *parameters = inspect.signature(thing.__init__).parameters.values()
    return stringify_signature(inspect.Signature(parameters), show_annotation=False), ""


def _link_citations(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [pages.CITED.sub(r":doc:`docs/\1.md </\1>`", line) for line in lines]


def _draw(app: Sphinx) -> None:
    pictures.draw_all(DOCS / "_generated", architecture=(DOCS / "architecture.md").read_text(encoding="utf-8"))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", _draw)
    app.connect("source-read", _expand)
    app.connect("autodoc-process-docstring", _link_citations)
    app.connect("autodoc-process-signature", _signature_of_init)
    app.connect("missing-reference", _find_unqualified)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
