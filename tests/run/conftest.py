"""Small slices on disk, and one uninterrupted run of them that other runs are compared with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lloki
from lloki.datasets import ALPHAFISH, BETASEQ, tissue
from lloki.run import Result

SETTINGS: dict[str, Any] = {
    "cae": {"steps": 30, "batch_size": 256, "output": "latent"},
    "label_key": "cell_type",
    "benchmark": "none",  # it compiles for half a minute, and has tests of its own
}


@dataclass(frozen=True)
class Files:
    """Paths of two sections of one platform, one of another, and the reference."""

    alpha_1: Path
    beta: Path
    alpha_2: Path
    reference: Path

    @property
    def slices(self) -> list[Path]:
        return [self.alpha_1, self.beta, self.alpha_2]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = tissue(
        n_cells=150, n_reference=250, n_genes=400, platforms=(ALPHAFISH, BETASEQ, ALPHAFISH), seed=3
    )
    return Files(*made.write(tmp_path_factory.mktemp("slices")))


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    return SETTINGS


@pytest.fixture(scope="session")
def base(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Run all three slices in one process without a stop."""
    out = tmp_path_factory.mktemp("base") / "run"
    return lloki.integrate(files.slices, reference=files.reference, out=out, **SETTINGS)


@pytest.fixture
def integrate(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run with the small settings into ``tmp_path / "run"``, without the page (it has tests of its own)."""

    def page(*args: Any, out: Path, **rest: Any) -> None:
        (out / "report.html").write_text("left out in this test")

    monkeypatch.setattr("lloki.run.outputs.build_report", page)
    monkeypatch.setattr("lloki.run.outputs.write_figures", lambda folder, figures: None)

    def run(slices: Any = None, **changed: Any) -> Result:
        given = {"reference": files.reference, "out": tmp_path / "run", **SETTINGS, **changed}
        return lloki.integrate(files.slices if slices is None else slices, **given)

    return run


@pytest.fixture(scope="session")
def same() -> Callable[[Result, Result], None]:
    """Assert that two runs gave the same cells the same numbers, bit for bit, in whatever order."""

    def check(one: Result, other: Result) -> None:
        a, b = one.adata, other.adata
        b = b[a.obs_names]
        for key in ("X_lloki_fp", "X_lloki", "X_umap", "spatial"):
            np.testing.assert_array_equal(a.obsm[key], b.obsm[key], err_msg=key)
        assert (a.obs["lloki_cluster"].astype(str) == b.obs["lloki_cluster"].astype(str)).all()
        assert (a[:, b.var_names].X != b.X).nnz == 0

    return check


def statuses(result: Result, stage: str) -> list[str]:
    """Whether the units of a stage were computed or found done."""
    return [s["status"] for s in result.run["stages"] if s["stage"] == stage]


@pytest.fixture(scope="session")
def status() -> Callable[[Result, str], list[str]]:
    return statuses


@pytest.fixture
def writable_again() -> Any:
    """Give folders that a test closed their permissions back, so that they can be removed."""
    closed: list[Path] = []
    yield closed.append
    for folder in closed:
        os.chmod(folder, 0o755)
