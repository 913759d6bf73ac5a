"""No module hides the function that its package exports under the same name."""

from __future__ import annotations

import ast
from pathlib import Path

import lloki

SOURCE = Path(lloki.__file__).parent


# Still to be renamed; to be empty in the end.
def test_no_module_shares_its_name_with_a_function():
    same = set()
    for file in SOURCE.rglob("*.py"):
        defined = {n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)}
        if file.stem in defined:
            same.add(file.relative_to(SOURCE).as_posix())
    assert not same
