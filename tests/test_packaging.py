"""What pyproject.toml declares is what the package imports, and its version is stated once."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import lloki

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn", "umap-learn": "umap", "scvi-tools": "scvi"}
PEERS = {"paste"}  # a method to compare with, which needs an environment of its own
# Comes with another dependency, and is used together with it: (module, dependency).
ALONG = {
    ("markupsafe", "jinja2"),
    ("click", "typer"),
    ("typing_extensions", "torch"),
    ("tokenizers", "transformers"),
    ("geopandas", "spatialdata"),
    ("shapely", "spatialdata"),
}


def declared(requirements: list[str]) -> set[str]:
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}
    return {MODULES.get(name, name).replace("-", "_") for name in names}


def imported() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"lloki"}


def test_every_import_is_declared_and_every_dependency_is_imported():
    needed, extras = declared(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    optional = declared([r for name, rs in extras.items() if name not in ("docs", "test", "dev") for r in rs])
    along = {module for module, dependency in ALONG if dependency in needed | optional}
    assert imported() - along - PEERS <= needed | optional
    assert needed <= imported()


def test_the_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == lloki.__version__
