"""Reading where scripts and notebooks run: a loop, a thread, optimized, warnings as errors, read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from anndata import AnnData

SCRIPT = """
import asyncio, sys, threading
from lloki import io

found = []

async def notebook():
    for _ in range(2):
        found.append(io.content_hash(io.read_slices([sys.argv[1]], n_neighbors=5)[0]))

thread = threading.Thread(target=lambda: asyncio.run(notebook()))
thread.start()
thread.join()
print(*found)
"""


@pytest.mark.parametrize("optimize", ["0", "1"])
def test_in_a_loop_in_a_thread_twice(good: Callable[..., AnnData], tmp_path: Path, optimize: str) -> None:
    from lloki import io

    good().write_h5ad(tmp_path / "s.h5ad")
    strict = ["-W", "error", "-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning"]
    environment = os.environ | {"PYTHONOPTIMIZE": optimize}
    command = [sys.executable, *strict, "-c", SCRIPT, str(tmp_path / "s.h5ad")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [io.content_hash(io.read_slices([good()])[0])] * 2


def test_without_docstrings(tmp_path: Path) -> None:
    """Help is shown; whatever needs anndata, which cannot be imported so, says what to do."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-OO", *command], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    shown = run("-m", "lloki", "check", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--label-key" in shown.stdout
    (tmp_path / "s.h5ad").touch()
    for done in (run("-m", "lloki", "check", "s.h5ad"), run("-c", "import lloki; lloki.integrate")):
        if "PYTHONOPTIMIZE" not in done.stderr:
            pytest.skip("this anndata can be imported without docstrings")
        assert done.returncode
        assert "use -O in place of -OO" in done.stderr


def test_in_a_read_only_folder(good: Callable[..., AnnData], tmp_path: Path) -> None:
    good().write_h5ad(tmp_path / "s.h5ad")
    command = [sys.executable, "-m", "lloki", "check", "s.h5ad"]
    if os.geteuid() == 0:  # root may write anywhere, but for this
        if not shutil.which("setpriv"):
            pytest.skip("root can write to every folder, and there is no setpriv")
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    tmp_path.chmod(0o555)
    environment = os.environ | {"HOME": str(tmp_path)}
    try:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "It can be used." in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5ad"]
