"""The verdict of a run: that it rests on this run's slices, reference, embedding and labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lloki.evaluate import (
    cell_kinds,
    gene_correlations,
    gene_structure,
    likeness,
    spatial_coherence,
    type_agreement,
)
from lloki.run import Result
from lloki.run.verdict import _alikeness


@pytest.fixture
def again(base: Result, integrate, tmp_path):
    """Run again from finished pieces."""

    def run(**named) -> Result:
        shutil.copytree(base.folder / "work", tmp_path / "run" / "work", dirs_exist_ok=True)
        return integrate(**named)

    return run


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


def test_cells_without_a_counterpart_are_counted_by_the_clusters_of_their_slice(base: Result):
    obs = base.adata.obs
    share = pd.crosstab(obs["slice"].astype(str), obs["lloki_cluster"], normalize="index")
    for name in share.index:
        mine, others = share.loc[name], share.drop(index=name).max()
        alone = mine[(mine >= 0.005) & (others < 0.05 * mine)].sum()
        assert row(base, "slices", slice=name)["alone"] == pytest.approx(alone)


def test_clusters_of_each_slice_are_compared_with_the_kinds_of_the_reference(base: Result, files):
    reference, clusters = ad.read_h5ad(files.reference), base.adata.obs["lloki_cluster"].astype(int)
    for path in files.slices:
        a = ad.read_h5ad(path)
        own = clusters[(base.adata.obs["slice"] == path.stem).to_numpy()].to_numpy()
        kinds = cell_kinds(reference.X, list(reference.var_names), among=list(a.var_names))
        table = likeness(a.X, list(a.var_names), own, kinds)
        table = table[table["itself"] >= 0.5]
        found = row(base, "slices", slice=path.stem)["reference_like"]
        if len(table):
            assert found == pytest.approx(np.average(table["like"], weights=table["cells"]), abs=0.05)
        else:  # these slices are small
            assert found is None
        assert path.stem not in base.adata.uns["lloki"]["unlike_reference"]


def test_the_clusters_that_resemble_no_kind_of_the_reference_are_named():
    profile = np.random.default_rng(0).gamma(0.4, size=(6, 60))
    profile /= profile.sum(1, keepdims=True)
    genes, rng = [f"g{i}" for i in range(60)], np.random.default_rng(1)
    kind = np.arange(600) % 6
    known = sparse.csr_matrix(rng.poisson(80 * profile[kind % 4]).astype(np.float32))
    counts = sparse.csr_matrix(rng.poisson(80 * profile[kind]).astype(np.float32))
    record = SimpleNamespace(name="a", genes=genes)
    kinds = cell_kinds(known, genes, among=genes)
    like, named = _alikeness(record, counts, kind, kinds, 0)
    table = likeness(counts, genes, kind, kinds)
    assert like == pytest.approx(table["like"].mean(), abs=0.01)  # kinds have as many cells each
    assert sorted(table["cluster"][table["like"] < 0.4]) == [4, 5]
    assert named in ("clusters 4, 5 of a", "clusters 5, 4 of a")
    assert np.isnan(_alikeness(record, counts, kind, None, 0)[0])


def test_a_reference_of_another_tissue_is_named(files, integrate):
    other = ad.read_h5ad(files.reference)
    other.var_names = np.random.default_rng(0).permutation(other.var_names)  # its types have other markers
    result = integrate(reference=other)
    assert result.verdict.answer != "yes"
    assert any("of another tissue" in reason for reason in result.verdict.reasons)
    structure = {r["slice"]: r["reference_structure"] for r in result.verdict.evidence["slices"]}
    unlike = [name for name, value in structure.items() if value is not None and value < 0.2]
    assert list(result.adata.uns["lloki"]["unlike_reference"]) == unlike != []


def test_types_are_compared_by_the_labels_and_embeddings_of_the_run(again):
    result = again(label_key="cell_type")
    adata = result.adata
    labels, slices = (adata.obs[k].astype(str).to_numpy() for k in ("cell_type", "slice"))
    table = type_agreement(adata.obsm["X_lloki_fp"], adata.obsm["X_lloki"], labels, slices)
    found = pd.DataFrame(result.verdict.evidence["types"])
    columns = ["target", "source", "type"]
    both = table.merge(found, on=columns, suffixes=("", "_run"))
    assert len(both) == len(table) == len(found) > 0
    for name in ("before", "within", "across"):
        assert both[name].to_numpy() == pytest.approx(both[f"{name}_run"].to_numpy(), abs=0.01)


def test_a_few_common_genes_are_no_ground_for_a_verdict(base: Result, again):
    known = {(p["one"], p["other"]): p["genes"] for p in base.verdict.evidence["pairs"]}
    least = min(known.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lloki.run.verdict.ENOUGH_GENES", least + 1)
        pairs = again().verdict.evidence["pairs"]
    assert [p["ratio"] is None for p in pairs] == [p["genes"] <= least for p in pairs]
    assert any(p["ratio"] is None for p in pairs)


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
