"""Sphinx configuration. Tables of defaults are made from the code, so that they cannot disagree with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import lloki
from lloki.cae import CAEConfig
from lloki.embed import FactorConfig
from lloki.fp import PRESETS, FPConfig
from lloki.models import PublishedModel, published_models

project = "lloki"
author = "The lloki developers"
project_copyright = author
release = version = lloki.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"lloki {release}"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "substitution"]
myst_heading_anchors = 3
nb_execution_mode = (
    "off"  # a page that is executed says so itself; the others keep the outputs of real slices
)
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_output_stderr = "remove"  # progress and warnings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature would be longer than the text; types are in the docstrings
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # one entry may describe several fields
napoleon_use_rtype = False
default_role = "py:obj"
python_use_unqualified_type_names = True


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Write a Markdown table; values as code."""
    columns = list(columns)
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(f"`{v}`" for v in row) + " |" for row in rows)])


def _defaults(config: type) -> str:
    made = config()
    return _table(("field", "default"), ((f.name, getattr(made, f.name)) for f in fields(made)))


def _published(model: PublishedModel) -> str:
    known = sum(file.sha256 is not None for file in model.files)
    hashes = "known" if known == len(model.files) else "some known" if known else "not known yet"
    way = "" if all(file.url for file in model.files) else "; in a browser only"
    return f"| [`{model.name}`]({model.page}) | {model.what} | {model.license} | {hashes}{way} |"


myst_substitutions = {
    "presets": _table(
        ("field", *PRESETS),
        ((f.name, *(getattr(p, f.name) for p in PRESETS.values())) for f in fields(FPConfig)),
    ),
    "cae_defaults": _defaults(CAEConfig),
    "factor_defaults": _defaults(FactorConfig),
    "published_models": "\n".join(
        [
            "| name | what | license | hashes |",
            "|---|---|---|---|",
            *map(_published, published_models().values()),
        ]
    ),
}
