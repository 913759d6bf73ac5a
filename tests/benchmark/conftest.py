"""A small run, and scores that need no compiling: what scib-metrics computes is tested with `evaluate`."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lloki
from lloki.benchmark import Benchmark, benchmark
from lloki.benchmark.scoring import Judge
from lloki.datasets import ALPHAFISH, BETASEQ, tissue
from lloki.evaluate import METRICS
from lloki.run import Result


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("benchmark")
    made = tissue(n_cells=150, n_reference=200, n_genes=300, platforms=(ALPHAFISH, BETASEQ), seed=2)
    *slices, reference = made.write(folder / "slices")
    return lloki.integrate(
        slices,
        reference=reference,
        out=folder / "run",
        label_key="cell_type",
        benchmark="none",
        seed=5,
        cae={"steps": 8, "batch_size": 200, "check_every": 4, "output": "latent"},
    )


@pytest.fixture
def judged() -> list[tuple[str, np.ndarray]]:
    """Names and embeddings (of all cells) that were judged, in order."""
    return []


@pytest.fixture
def computed() -> list[np.ndarray]:
    """Embeddings (of the scored cells) whose scores were not found but computed."""
    return []


@pytest.fixture
def compare(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    judged: list[tuple[str, np.ndarray]],
    computed: list[np.ndarray],
) -> Callable[..., Benchmark]:
    """Call `benchmark` with made-up metrics that depend on the embedding alone."""

    def score(x: np.ndarray, labels: Any, batches: Any, pre: Any, *, metrics: Any, seed: int) -> pd.DataFrame:
        computed.append(x)
        rng = np.random.default_rng(zlib.crc32(x.tobytes()))
        table = pd.DataFrame({"value": rng.random(len(metrics)), "note": ""}, index=list(metrics))
        table["kind"] = [METRICS[m].kind for m in metrics]
        if pre is None:
            table.loc["pcr", ["value", "note"]] = [np.nan, "nothing to compare with"]
        return table

    def note(self: Judge, name: str, embedding: np.ndarray) -> dict[str, Any]:
        judged.append((name, embedding))
        return scores(self, name, embedding)

    scores = Judge.scores
    monkeypatch.setattr(Judge, "scores", note)
    monkeypatch.setattr("lloki.benchmark.scoring.score_cells", score)
    monkeypatch.setattr("lloki.benchmark.runner.check_installed", lambda: None)

    def call(inputs: Any, *, figures: bool = False, **settings: Any) -> Benchmark:
        if not figures:
            monkeypatch.setattr("lloki.benchmark.outputs._save", lambda *args: None)  # takes seconds
        return benchmark(inputs, **({"out": tmp_path / "out", "umap": False} | settings))

    return call
