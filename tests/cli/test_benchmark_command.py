"""``lloki benchmark``: what it prints and leaves."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from lloki.evaluate import METRICS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up metrics: those of scib-metrics compile long and are tested with `evaluate`."""

    def score(x, labels, batches, pre, *, metrics, seed):
        value = np.random.default_rng(x.shape[1]).random(len(metrics))
        kinds = [METRICS[m].kind for m in metrics]
        return pd.DataFrame({"kind": kinds, "value": value, "note": ""}, index=list(metrics))

    monkeypatch.setattr("lloki.benchmark.scoring.score_cells", score)
    monkeypatch.setattr("lloki.benchmark.runner.check_installed", lambda: None)


def test_a_table_of_methods_and_what_was_left_out(lloki, finished, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scvi", None)
    out, _ = finished
    result = lloki(
        *("benchmark", out, "--methods", "lloki", "--methods", "scvi", "--no-umap", "--profile", "fast"),
        *("--out", tmp_path / "b"),
    )
    assert result.exit_code == 0, result.output
    assert "LLOKI" in result.stdout
    assert "Left out: scVI, union of genes. The method scVI needs the package 'scvi-tools'" in result.stdout
    assert str(tmp_path / "b") in result.stdout
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        *("work", "scores.csv", "methods.csv", "methods_scaled.csv", "benchmark.json"),
        *("methods.png", "methods.svg", "methods.pdf"),
    }
    table = pd.read_csv(tmp_path / "b" / "scores.csv")
    assert "kbet" not in table
    assert list(table["title"]) == ["LLOKI"]


def test_what_is_asked_for_wrongly_ends_with_the_status_that_says_so(lloki, finished, tmp_path):
    out, _ = finished
    unknown = lloki("benchmark", out, "--methods", "harmonie", "--out", tmp_path / "b")
    assert unknown.exit_code == 2
    assert "no method 'harmonie'" in unknown.stderr
    absent = lloki("benchmark", tmp_path / "none.h5ad", "--label-key", "x", "--out", tmp_path / "b")
    assert absent.exit_code == 1
    assert "no such file" in absent.stderr
    column = lloki("benchmark", out, "--label-key", "kind", "--out", tmp_path / "b")
    assert column.exit_code == 1
    assert "obs['kind']: the column is absent" in column.stderr
    assert not (tmp_path / "b").exists()


def test_the_task_alignment(lloki, finished, tmp_path, monkeypatch):
    from lloki.benchmark import alignment

    few = partial(alignment.benchmark_alignment, overlaps=(1.0,))
    monkeypatch.setattr(alignment, "benchmark_alignment", few)
    out, _ = finished
    result = lloki("benchmark", out, "--task", "alignment", "--seeds", 1, "--out", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert "kabsch" in result.stdout
    assert "100%" in result.stdout
    table = pd.read_csv(tmp_path / "b" / "alignment.csv")
    assert list(table["method"]) == ["lloki", "kabsch", "pca", "truth"]
    wrong = lloki("benchmark", out, "--task", "guess", "--out", tmp_path / "c")
    assert wrong.exit_code == 2
    assert "no task 'guess'" in wrong.stderr
    two = lloki("benchmark", out, out, "--task", "alignment", "--out", tmp_path / "c")
    assert two.exit_code == 2
    assert not (tmp_path / "c").exists()
