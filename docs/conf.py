"""How `make docs` turns these pages and the code's docstrings into a site.

Warnings are errors there. Nothing is fetched: the site can be built and read without a network.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import yfccdask

DOCS = Path(__file__).parent
LEAVING = re.compile(r"\[([^\]]*)\]\((?:\.\./)+([^)#]+)\)")  # a link to a file beside the pages
SECTIONS = {
    "Begin": ["my-laptop", "my-own-folder", "when-to-use-this", "learning", "what-it-learns"],
    "Machines": ["one-gpu", "slurm", "air-gapped", "security", "troubleshooting"],
    "Training": ["configuration", "planning", "running", "dashboard", "analysis"],
    "Data": ["from-yfcc100m-to-blocks", "decoding", "metadata", "formats"],
    "How it is made": ["method", "architecture", "pipeline", "scaling"],
}
FUNCTIONS = {
    "Data": ["ingest", "fetch_samples", "open_store", "write_store", "BlockStore"],
    "Configuration and plan": ["load_config", "config_to_yaml", "plan", "Config"],
    "Training": ["train", "resume", "attach", "training_progress", "ClusterRequest", "doctor"],
    "Runs": ["open_run", "list_runs", "list_commits", "verify_run", "digest", "Run"],
}

project = "yfccdask"
author = "The yfccdask developers"
release = version = metadata.version("yfccdask")
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**/*.ipynb"]
source_suffix = {".md": "markdown"}

myst_heading_anchors = 3
numpydoc_show_class_members = False
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say it, with shapes and units

html_theme = "furo"
html_title = f"yfccdask {release}"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_show_copyright = html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
pygments_style, pygments_dark_style = "tango", "monokai"


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("source-read", fill_in)


def fill_in(app: Any, page: str, source: list[str]) -> None:
    """What pages leave to this file: lists of pages and of functions, links to files."""
    filled = name_files_beside(page, source[0])
    filled = filled.replace("{every page}", page_lists())
    source[0] = filled.replace("{every function}", function_lists())


def name_files_beside(page: str, text: str) -> str:
    """Links that leave the pages lead nowhere on the site: the file's name takes their place."""
    folder = (DOCS / page).parent

    def replaced(link: re.Match[str]) -> str:
        target = (folder / link[0].rpartition("(")[2].rstrip(")")).resolve()
        return link[0] if target.is_relative_to(DOCS) else f"{link[1]} (`{link[2]}`)"

    return LEAVING.sub(replaced, text)


def page_lists() -> str:
    """A list of pages for each section, those that no section names, and the decisions."""
    there = {path.stem for path in DOCS.glob("*.md")} - {"index", "api"}
    sections = {name: [page for page in pages if page in there] for name, pages in SECTIONS.items()}
    sections["Reference"] = ["api"]
    sections["More"] = sorted(there - {page for pages in sections.values() for page in pages})
    sections["Decisions"] = sorted(f"adr/{path.stem}" for path in DOCS.glob("adr/*.md"))
    return "\n\n".join(page_list(*each) for each in sections.items() if each[1])


def page_list(name: str, pages: list[str]) -> str:
    """One section of the contents."""
    return "\n".join(
        ["```{toctree}", f":caption: {name}", ":maxdepth: 1", "", *pages, "```"],
    )


def function_lists() -> str:
    """Every public name with its docstring; what is in no group is about what was learned."""
    grouped = {name for names in FUNCTIONS.values() for name in names} | {"__version__"}
    rest = [name for name in yfccdask.__all__ if name not in grouped]
    return "\n\n".join(
        f"## {group}\n\n" + "\n\n".join(map(documented, names))
        for group, names in (FUNCTIONS | {"What was learned": rest}).items()
    )


def documented(name: str) -> str:
    """One name's docstring, where its signature is."""
    kind = "class" if isinstance(getattr(yfccdask, name), type) else "function"
    members = "\n   :members:" if kind == "class" else ""
    return f"```{{eval-rst}}\n.. auto{kind}:: yfccdask.{name}{members}\n```"
