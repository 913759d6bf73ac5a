"""The verdict of a run: that it rests on this run's slices, reference, embedding and labels."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from lloki.evaluate import gene_correlations, gene_structure, spatial_coherence
from lloki.run import Result


@pytest.fixture
def spoiled(files, integrate, tmp_path):
    """Run again with one slice changed."""

    def run(change, **named) -> Result:
        slices = [ad.read_h5ad(p) for p in files.slices]
        return integrate([*slices[:-1], change(slices[-1])], samples=[p.stem for p in files.slices], **named)

    return run


def row(result: Result, table: str, **where: str) -> dict:
    rows = [r for r in result.verdict.evidence[table] if all(r[k] == v for k, v in where.items())]
    assert len(rows) == 1
    return rows[0]


def test_a_run_has_a_verdict_with_its_evidence(base: Result):
    stored = json.loads((base.folder / "run.json").read_text())["verdict"]
    assert set(stored) == {"answer", "reasons", "evidence"}
    assert base.verdict.answer == stored["answer"] in ("yes", "with care")
    assert len(stored["evidence"]["pairs"]) == 3
    assert len(stored["evidence"]["slices"]) == 3
    assert all(r["within"] > 0.05 for r in stored["evidence"]["slices"])
    assert all(r["reference_z"] > 4 for r in stored["evidence"]["slices"])


def test_evidence_is_of_the_counts_and_places_of_each_slice(base: Result, files):
    slices = {p.stem: ad.read_h5ad(p) for p in files.slices}
    correlations = {name: gene_correlations(a.X, list(a.var_names)) for name, a in slices.items()}
    for name, a in slices.items():
        assert row(base, "slices", slice=name)["coherence"] == pytest.approx(
            spatial_coherence(a.X, a.obsm["spatial"]), rel=1e-3
        )
    reference = ad.read_h5ad(files.reference)
    shared = [g for g in reference.var_names if any(g in a.var_names for a in slices.values())]
    like = gene_correlations(reference[:, shared].X, shared)
    pair = row(base, "pairs", one="alphafish_1", other="alphafish_2")
    assert pair["structure"] == pytest.approx(
        gene_structure(correlations["alphafish_1"], correlations["alphafish_2"]).relative, rel=1e-3
    )
    assert row(base, "slices", slice="betaseq_1")["reference_structure"] == pytest.approx(
        gene_structure(correlations["betaseq_1"], like).relative, abs=0.05
    )
    table = base.run["held_out"]["pairs"]
    before = {(p["target"], p["source"]): p for p in table if p["embedding"] == "X_lloki_fp"}
    after = {(p["target"], p["source"]): p for p in table if p["embedding"] == "X_lloki"}
    both = [("alphafish_1", "alphafish_2"), ("alphafish_2", "alphafish_1")]
    assert pair["ratio"] == pytest.approx(min(after[k]["across"] / before[k]["within"] for k in both))


def test_permuted_genes_of_one_slice_are_a_no_that_names_it(spoiled):
    def permuted(a: ad.AnnData) -> ad.AnnData:
        a.var_names = np.random.default_rng(0).permutation(a.var_names)
        return a

    result = spoiled(permuted)
    assert result.verdict.answer == "no"
    assert "betaseq_1" in result.verdict.reasons[0]


def test_a_cluster_that_one_slice_has_alone_is_named(spoiled):
    def few(a: ad.AnnData) -> ad.AnnData:
        types = a.obs["cell_type"].astype(str)
        return a[types == types.value_counts().index[0]].copy()

    result = spoiled(few)
    assert result.verdict.answer != "yes"


def test_the_command_ends_with_the_verdict(base: Result, capsys):
    from lloki.cli.tables import show_result

    show_result(base)
    last = capsys.readouterr().out.strip().splitlines()
    assert any(line.startswith(f"Can it be trusted? {base.verdict.word}.") for line in last[-6:])
    assert Path(base.report).exists()
