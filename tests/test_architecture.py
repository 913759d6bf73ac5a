"""The rules of the architecture that a machine can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "lloki"
# A package may import from those before it, never from one after it.
FLOW = [
    "genes",
    "io",
    "graph",
    "fp",
    "embed",
    "models",
    "cae",
    "align",
    "analysis",
    "compare",
    "evaluate",
    "datasets",
    "tl",
    "pl",
    "export",
    "report",
    "run",
    "benchmark",
    "cli",
]
ANNDATA_FREE = ["genes", "graph", "fp", "embed", "models", "cae", "align", "analysis", "compare", "evaluate"]


def imports(file: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(package: str) -> list[Path]:
    found = sorted((SOURCE / package).rglob("*.py"))
    assert found, f"the package {package} has moved: update this test"
    return found


def test_every_package_is_in_the_flow() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert packages == set(FLOW)


@pytest.mark.parametrize("package", FLOW)
def test_imports_point_down_the_flow(package: str) -> None:
    later = FLOW[FLOW.index(package) + 1 :]
    for file in files(package):
        wrong = {m for m in imports(file) for r in later if m == f"lloki.{r}" or m.startswith(f"lloki.{r}.")}
        assert not wrong, f"{file.relative_to(SOURCE)} imports {sorted(wrong)}"


@pytest.mark.parametrize("package", ANNDATA_FREE)
def test_the_methods_take_arrays(package: str) -> None:
    for file in files(package):
        assert not {m for m in imports(file) if m.split(".")[0] in ("anndata", "scanpy")}, file
