"""Reading where scripts and notebooks run: a loop, a thread, optimized, warnings as errors, read-only."""

from __future__ import annotations

import os
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


def test_in_a_read_only_folder(good: Callable[..., AnnData], tmp_path: Path) -> None:
    good().write_h5ad(tmp_path / "s.h5ad")
    tmp_path.chmod(0o555)
    user = {"user": 65534} if os.geteuid() == 0 else {}  # root may write anywhere
    for folder in (tmp_path, *tmp_path.parents):
        if user and not folder.stat().st_mode & 0o005:
            pytest.skip("the folder of the tests cannot be read by other users")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lloki", "check", "s.h5ad"],
            cwd=tmp_path,
            env=os.environ | {"HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
            **user,
        )
    except PermissionError:
        pytest.skip("other users may not run this Python")
    finally:
        tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "It can be used." in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5ad"]
