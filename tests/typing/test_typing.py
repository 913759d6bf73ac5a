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


@pytest.fixture(scope="module")
def found() -> dict[str, set[tuple[int, str]]]:
    """Line and code of every error in each script, from one run of mypy."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache" / "typing")]
    run = subprocess.run(
        [*command, "user_script.py", "mistakes.py"], capture_output=True, text=True, cwd=HERE
    )
    assert run.returncode == 1, run.stdout + run.stderr
    print(run.stdout)
    errors: dict[str, set[tuple[int, str]]] = {"user_script.py": set(), "mistakes.py": set()}
    for file, line, code in re.findall(r"^(\S+?):(\d+): error: .*\[(.*)\]$", run.stdout, re.MULTILINE):
        errors[file].add((int(line), code))
    return errors


# not before the figures have their new signatures
WAITS = pytest.mark.xfail(reason="remove this once lloki.pl returns Axes", strict=True)


@WAITS
def test_every_type_of_a_users_script_is_found(found):
    assert not found["user_script.py"]


@WAITS
def test_mistakes_are_found(found):
    lines = enumerate((HERE / "mistakes.py").read_text().splitlines(), 1)
    assert found["mistakes.py"] == {(i, line.split("# ")[1]) for i, line in lines if "# " in line}
