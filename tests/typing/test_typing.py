"""A type checker in strict mode finds the types of the public functions, and a misspelled option."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_a_users_script_has_types_and_mistakes_are_found():
    # One test, as two workers of pytest-xdist that each ran mypy would write its cache at the same time.
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache" / "typing")]
    run = subprocess.run(
        [*command, "user_script.py", "mistakes.py"], capture_output=True, text=True, cwd=HERE
    )
    assert run.returncode == 1, run.stdout + run.stderr
    print(run.stdout)
    errors: dict[str, set[tuple[int, str]]] = {"user_script.py": set(), "mistakes.py": set()}
    for file, line, code in re.findall(r"^(\S+?):(\d+): error: .*\[(.*)\]$", run.stdout, re.MULTILINE):
        errors[file].add((int(line), code))
    assert not errors["user_script.py"]
    lines = enumerate((HERE / "mistakes.py").read_text().splitlines(), 1)
    assert errors["mistakes.py"] == {(i, line.split("# ")[1]) for i, line in lines if "# " in line}
