"""Rules of the house that a machine can hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "lloki"
# A room may import from the rooms before it, never from one after it.
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
    "evaluate",
    "report",
    "datasets",
    "tl",
    "pl",
    "run",
    "benchmark",
    "cli",
]
ANNDATA_FREE = ["genes", "graph", "fp", "embed", "models", "cae", "align", "analysis", "evaluate"]


def imports(file: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(room: str) -> list[Path]:
    found = sorted((SOURCE / room).rglob("*.py"))
    assert found, f"the room {room} has moved: fix this test"
    return found


def test_every_room_is_in_the_flow() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms == set(FLOW)


@pytest.mark.parametrize("room", FLOW)
def test_imports_point_down_the_flow(room: str) -> None:
    later = FLOW[FLOW.index(room) + 1 :]
    for file in files(room):
        wrong = {m for m in imports(file) for r in later if m == f"lloki.{r}" or m.startswith(f"lloki.{r}.")}
        assert not wrong, f"{file.relative_to(SOURCE)} imports {sorted(wrong)}"


@pytest.mark.parametrize("room", ANNDATA_FREE)
def test_the_mathematics_takes_arrays(room: str) -> None:
    for file in files(room):
        assert not {m for m in imports(file) if m.split(".")[0] in ("anndata", "scanpy")}, file
