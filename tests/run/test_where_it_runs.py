"""Whole runs from scripts: twice, optimized, with warnings as errors, with workers, in a read-only folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lloki.datasets import ALPHAFISH, BETASEQ, tissue

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPT = """
import hashlib
import multiprocessing
import sys

import numpy as np
import lloki


def run(out, workers=1):
    slices = ["alphafish_1.h5ad", "betaseq_1.h5ad"]
    settings = {"reference": "reference.h5ad", "cae": {"steps": 20}, "workers": workers}
    adata = lloki.integrate(slices, out=out, **settings).adata
    hidden = np.ascontiguousarray(adata.obsm["X_lloki"])
    assert adata.n_obs == 600 and np.isfinite(hidden).all()
    print("embedding", hashlib.sha256(hidden.tobytes()).hexdigest(), flush=True)

"""
GUARDED = {
    "once": "run(sys.argv[1])",
    "twice": "run(sys.argv[1]); run(sys.argv[1] + '-again')",
    "workers": "run(sys.argv[1], workers=2)",
    "spawned": (
        "child = multiprocessing.get_context('spawn').Process(target=run, args=[sys.argv[1]]); "
        "child.start(); child.join(); sys.exit(child.exitcode)"
    ),
}
STRICT = ("-W", "error", "-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slices of 300 cells, their reference, and the scripts."""
    folder = tmp_path_factory.mktemp("scripts")
    tissue(n_cells=300, n_reference=300, n_genes=400, platforms=(ALPHAFISH, BETASEQ), seed=3).write(folder)
    for name, call in GUARDED.items():
        (folder / f"{name}.py").write_text(f'{SCRIPT}\nif __name__ == "__main__":\n    {call}\n')
    (folder / "unguarded.py").write_text(f"{SCRIPT}\n{GUARDED['workers']}\n")
    return folder


def start(
    folder: Path, out: Path, script: str, options: Sequence[str] = (), prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, *options, f"{script}.py", str(out)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1500)


def embeddings(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("embedding")]


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    (found,) = embeddings(start(folder, tmp_path_factory.mktemp("plain") / "run", "once"))
    return found


@pytest.mark.parametrize(
    ("script", "options"),
    [("twice", ()), ("once", ("-O",)), ("once", STRICT), ("workers", ()), ("spawned", ())],
    ids=["twice", "optimized", "strict", "workers", "spawned"],
)
def test_the_same_embedding(
    folder: Path, expected: str, tmp_path: Path, script: str, options: Sequence[str]
) -> None:
    found = embeddings(start(folder, tmp_path / "run", script, options))
    assert found == [expected] * (2 if script == "twice" else 1)


def test_the_same_embedding_from_a_read_only_folder(folder: Path, expected: str, tmp_path: Path) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:  # root may write anywhere, but for this
        if not shutil.which("setpriv"):
            pytest.skip("root can write to every folder, and there is no setpriv")
        prefix = ["setpriv", "--bounding-set", "-dac_override"]
    before = sorted(folder.iterdir())
    folder.chmod(0o555)
    try:
        done = start(folder, tmp_path / "run", "once", prefix=prefix)
    finally:
        folder.chmod(0o755)
    assert embeddings(done) == [expected]
    assert sorted(folder.iterdir()) == before


def test_workers_without_a_main_guard_end_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    done = start(folder, tmp_path / "run", "unguarded")
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr.splitlines()[-1].startswith("lloki.errors.RunError: workers import the script")
