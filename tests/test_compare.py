"""``lloki.tl.compare`` and ``lloki compare``: planted differences are found, absent ones are not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.spatial import cKDTree
from typer.testing import CliRunner

import lloki
from lloki import keys
from lloki._parts import read_parts
from lloki.cli import app
from lloki.compare import COLUMNS, SliceFacts
from lloki.datasets import PLATFORMS, conditions
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.genes import panel_name
from lloki.tl.comparison import _labels_of, _with_panels

STUDY = {"condition_key": "condition", "control": "healthy", "donor_key": "donor", "label_key": "cell_type"}
FEW = {"n_neighborhoods": 60}


def study(**options: object) -> tuple[list[ad.AnnData], object]:
    """Slices of a made-up study, with a stand-in for the joint embedding."""
    made = conditions(**{"n_donors": 4, "n_cells": 800, "n_reference": 1, "donor_spread": 0.1, **options})
    rng = np.random.default_rng(0)
    centers = np.abs(np.random.default_rng(7).normal(0, 1, (20, 12)))
    for s in made.slices:
        kind = s.obs["cell_type"].cat.codes.to_numpy()
        s.obsm[keys.JOINT] = np.abs(centers[kind] + rng.normal(0, 0.4, (len(kind), 12)))
    return made.slices, made


def joined(slices: list[ad.AnnData]) -> ad.AnnData:
    """All slices in one AnnData over all genes, as an integration leaves them."""
    whole = ad.concat(slices, join="outer", fill_value=0)
    names = [s.obs["slice"].iloc[0] for s in slices]
    whole.varm[keys.MEASURED] = np.array([[g in s.var_names for s in slices] for g in whole.var_names])
    whole.uns[keys.UNS] = {"slices": names}
    return whole


@pytest.fixture(scope="module")
def done():
    slices, made = study()
    return slices, made, lloki.tl.compare(slices, **STUDY, **FEW)


@pytest.fixture(scope="module")
def confounded():
    return study(confounding="complete", n_cells=500)[0]


def findings(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["q_value"] <= 0.05]


def test_planted_differences_are_found_and_no_others(done):
    _, made, found = done
    types = findings(found.composition).set_index("group")["effect"]
    assert set(types.index) == set(made.composition)
    assert np.sign(types["Micro"]) == 1
    assert np.sign(types["Sst"]) == -1
    planted = {(r.type, r.gene): r.effect for r in made.expression.itertuples()}
    genes = findings(found.expression)
    right = [planted.get((r.type, r.gene), 0) * r.effect > 0 for r in genes.itertuples()]
    assert sum(right) >= 8
    assert sum(g == "" and not r for g, r in zip(genes["spill_over"], right)) <= 1
    assert len(right) - sum(right) <= 2
    for n, panels in ((1, 0), (3, 2)):
        some = {(r.type, r.gene) for r in made.expression.itertuples() if r.n_panels == n}
        own = [r for r in genes.itertuples() if (r.type, r.gene) in some]
        assert own
        assert max(r.panels.count(";") for r in own) == panels
    moved = found.neighborhood.set_index(["kind", "type", "neighbor"])
    assert moved.loc[("contact", "Endo", "OPC"), "effect"] > 0.3
    assert moved.loc[("distance", "OPC", "Endo"), "effect"] < 0
    assert set(findings(found.abundance)["type"]) <= set(made.composition)


def test_genes_are_compared_only_where_they_were_measured(done):
    slices, _, found = done
    panels = {s.uns["technology"]: set(s.var_names) for s in slices}
    for row in found.expression.itertuples():
        for panel in row.panels.split(";"):
            assert row.gene in panels[panel.split(" · ")[0]]


def test_the_tables_have_their_columns_and_the_slots_are_written(done, confounded, tmp_path):
    slices, _, found = done
    for name, table in found.tables.items():
        assert list(table.columns) == list(COLUMNS[name])
        assert table["p_value"].is_monotonic_increasing
    effect = np.concatenate([s.obs[f"{keys.COMPARE}_abundance"] for s in slices])
    kind = np.concatenate([s.obs["cell_type"].astype(str) for s in slices])
    assert np.nanmean(effect[kind == "Micro"]) > 0.3
    others = [s.copy() for s in confounded]
    with pytest.warns(LlokiWarning, match="never measured on the same panel"):
        lloki.tl.compare(others, **STUDY, **FEW, key_added="mine")
    assert all("mine_abundance" in s.obs for s in others)
    slices[0].write_h5ad(tmp_path / "a.h5ad")
    entry = ad.read_h5ad(tmp_path / "a.h5ad").uns[keys.UNS]["compare"]
    assert len(entry["evidence"]) == len(found.evidence)
    assert (found.evidence["would_refute"] != "").all()


def test_one_anndata_or_many_and_any_order_give_the_same(done):
    slices, _, found = done
    again = lloki.tl.compare(joined(slices)[::-1].copy(), **STUDY, **FEW)
    for name in ("composition", "expression", "neighborhood", "abundance"):
        pd.testing.assert_frame_equal(found.tables[name], again.tables[name], rtol=1e-4, atol=1e-9)
    assert list(again.evidence["statement"]) == list(found.evidence["statement"])


def test_nothing_is_found_where_nothing_is_planted(tmp_path):
    slices, _ = study(strength=0.0, seed=3, donor_spread=0.3)
    assert not len(lloki.tl.compare(slices, **STUDY, **FEW).evidence)
    slices[0].write_h5ad(tmp_path / "a.h5ad")  # an empty table can be stored


def test_confounded_conditions_have_no_findings_of_expression(confounded):
    with pytest.warns(LlokiWarning, match="cannot be distinguished from one between instruments"):
        found = lloki.tl.compare(confounded, **STUDY, **FEW)
    assert not len(found.expression)
    assert set(found.design["role"]) == {"not comparable"}
    assert found.composition["confounded"].all()
    assert found.composition["p_value"].notna().any()
    assert found.abundance["effect"].notna().all()
    assert found.abundance["p_value"].isna().all()
    assert set(found.evidence["strength"]) <= {"weak"}


def test_condition_equal_to_panel_is_confounded(confounded):
    slices = [s.copy() for s in confounded]
    for s in slices:
        s.obs["technology"] = "one instrument"
        s.obs[keys.CLUSTER] = s.obs["cell_type"]
    options = {**STUDY, "label_key": keys.CLUSTER}
    with (
        pytest.warns(LlokiWarning, match="never measured on the same panel"),
        pytest.warns(LlokiWarning, match="Clusters of the joint embedding may follow"),
    ):
        found = lloki.tl.compare(slices, **options, **FEW)
    assert found.composition["group"].str.startswith("cluster ").all()
    assert not len(found.expression)


def test_one_donor_a_side_gives_effect_sizes_only():
    slices, _ = study(n_donors=1)
    with pytest.warns(LlokiWarning, match="only effect sizes are given"):
        found = lloki.tl.compare(slices, **STUDY, **FEW)
    assert not len(found.evidence)
    for table in found.tables.values():
        assert len(table)
        assert table["q_value"].isna().all()
        assert table["effect"].notna().all()
    effect = found.composition.set_index("group")["effect"]
    assert effect["Micro"] > 0.5


def test_three_donors_a_side_cannot_have_findings():
    slices, _ = study(n_donors=3, strength=2.0, n_cells=400, slices_per_donor=1, platforms=PLATFORMS[:2])
    for s in slices:
        s.obs["technology"] = "one instrument"
        s.obs["panel"] = "one panel"
    genes = sorted(set.intersection(*(set(s.var_names) for s in slices)))
    slices = [s[:, genes].copy() for s in slices]
    with pytest.warns(LlokiWarning, match="20 ways to divide units.*no q-value can be below 0.1"):
        found = lloki.tl.compare(slices, **STUDY, **FEW)
    assert not len(found.evidence)
    assert found.composition["p_value"].min() < 0.01
    assert found.composition["q_value"].min() >= 0.1
    by_model = lloki.tl.compare(slices, **STUDY, **FEW, n_relabelings=0)
    assert set(by_model.evidence["feature"]) >= {"Micro"}


def test_transcripts_of_neighbors_are_flagged():
    rng = np.random.default_rng(0)
    slices, _ = study(
        strength=0.0, n_donors=5, slices_per_donor=1, platforms=PLATFORMS[:2], n_cells=1000, donor_spread=0.02
    )
    for s in slices:
        kind = s.obs["cell_type"].astype(str).to_numpy()
        s.obs["cell_type"] = np.where(kind == "Endo", "Endo", np.where(kind == "Astro", "Astro", "rest"))
        source = s.obs["cell_type"] == "Endo"
        _, around = cKDTree(s.obsm["spatial"]).query(s.obsm["spatial"], 9)
        near = source.to_numpy()[around[:, 1:]].any(axis=1)
        x = s.X.toarray()
        extra = 3.0 if s.obs["condition"].iloc[0] == "disease" else 0.0
        gene = s.var_names.get_loc("Apoe")
        x[:, gene] = rng.poisson(1.0 + 6.0 * source + extra * near * ~source)
        s.X = sparse.csr_matrix(x)
    found = lloki.tl.compare(slices, **STUDY, **FEW)
    own = found.expression.set_index(["type", "gene"]).loc[("Astro", "Apoe")]
    assert own["q_value"] <= 0.05
    assert own["source"] == "Endo"
    assert own["spill_over"] in ("neighbors", "ambient")
    text = found.evidence.set_index("feature").loc["Apoe in Astro"]
    assert text["strength"] == "weak"
    assert "may explain it" in text["would_refute"]


def spoil(slices: list[ad.AnnData], column: str, rows: int, value: object) -> None:
    for s in slices[:rows]:
        s.obs[column] = value


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda s: s[0].obs.pop("condition"),
            {},
            r"disease1_gammamap obs\['condition'\]: the column is absent",
        ),
        (
            lambda s: spoil(s, "condition", 1, None),
            {},
            r"disease1_gammamap obs\['condition'\]: has no value",
        ),
        (lambda s: spoil(s, "donor", len(s), "one"), {}, "donor 'one' is in two conditions"),
        (lambda s: None, {"control": "Healthy"}, "no slice has the condition 'Healthy'.*disease, healthy"),
        (lambda s: spoil(s, "condition", len(s), "healthy"), {}, "all slices have the condition"),
        (lambda s: None, {"label_key": "kind"}, r"obs\['kind'\]: the column is absent"),
        (lambda s: spoil(s, "cell_type", len(s), None), {}, r"obs\['cell_type'\]: holds no label"),
        (lambda s: s[1].obsm.pop(keys.JOINT), {}, r"obsm\['X_lloki'\]: is absent"),
        (lambda s: s[1].obsm.pop("spatial"), {}, r"obsm\['spatial'\]: is absent"),
        (lambda s: setattr(s[0], "X", np.log1p(s[0].X.toarray() / 3)), {}, "disease1_gammamap X"),
        (lambda s: setattr(s[0], "X", s[0].X * 0.37), {}, "disease1_gammamap X: holds"),
        (lambda s: spoil(s, "condition", 1, "nan"), {}, r"obs\['condition'\]: has no value"),
        (lambda s: spoil(s, "donor", 2, "NA"), {}, r"obs\['donor'\]: has no value"),
        (lambda s: spoil(s, "condition", 1, "Disease "), {}, "'Disease ' and 'disease' differ only by"),
        (lambda s: spoil(s, "donor", 1, "Disease 2"), {}, "'Disease 2' and 'disease2' differ only by"),
    ],
)
def test_bad_input_is_named(confounded, change, options, message):
    slices = [s.copy() for s in confounded]
    change(slices)
    with pytest.raises(InputError, match=message):
        lloki.tl.compare(slices, **{**STUDY, **options})


def test_fractions_are_no_counts(confounded):
    slices = [s.copy() for s in confounded]
    rng = np.random.default_rng(0)
    slices[0].X = sparse.csr_matrix(slices[0].X.toarray() * rng.uniform(0.5, 1, slices[0].shape))
    with pytest.raises(InputError, match="disease1_gammamap X: holds fractions, not counts"):
        lloki.tl.compare(slices, **STUDY)


def test_panels_that_differ_by_filtered_genes_are_one():
    genes = [f"g{i}" for i in range(100)]
    own = [genes, genes[4:], genes[:-5], genes[40:], genes[:96]]
    names = ["A", "A", "A", "A", "B"]
    facts = [SliceFacts(f"s{i}", f"s{i}", "h", t, "") for i, t in enumerate(names)]
    panels = [f.panel for f in _with_panels(facts, own)]
    assert panels[0] == panels[1] == panels[2] == panel_name(genes)
    assert panels[3] == panel_name(genes[40:])
    assert panels[4] == panel_name(genes[:96])  # of another technology
    named = [SliceFacts(f.name, f.unit, "h", "A", "v2" if i else "") for i, f in enumerate(facts)]
    assert [f.panel for f in _with_panels(named, own)] == [panel_name(genes), *["v2"] * 4]
    stale = [SliceFacts(f.name, f.unit, "h", "A", panel_name(g)) for f, g in zip(facts, own)]
    assert len({f.panel for f in _with_panels(stale, own)}) == 2


def test_clusters_are_compared_where_no_cell_has_a_label(confounded):
    slices = [s.copy() for s in confounded]
    for s in slices:
        s.obs[keys.LABEL] = None
        s.obs[keys.CLUSTER] = s.obs["cell_type"]
    assert _labels_of(read_parts(slices, slice_key="slice"), None) == keys.CLUSTER
    slices[0].obs[keys.LABEL] = "Micro"
    with pytest.warns(LlokiWarning, match="no cell has a label"):
        assert _labels_of(read_parts(slices, slice_key="slice"), None) == keys.LABEL


def test_two_conditions_in_a_slice_are_refused(confounded):
    slices = [s.copy() for s in confounded]
    slices[0].obs["condition"] = np.where(np.arange(slices[0].n_obs) % 2, "healthy", "disease")
    with pytest.raises(InputError, match="holds 2 values in one slice"):
        lloki.tl.compare(slices, **STUDY)


@pytest.mark.parametrize("option", [{"alpha": 0.0}, {"min_units": 1}, {"n_neighbors": 0}, {"seed": -1}])
def test_options_out_of_range_are_refused(confounded, option):
    with pytest.raises(ConfigError):
        lloki.tl.compare(confounded, **STUDY, **option)


def test_without_labels_only_abundance_is_compared(confounded):
    study_ = {k: v for k, v in STUDY.items() if k != "label_key"}
    with (
        pytest.warns(LlokiWarning, match="no labels and no clusters"),
        pytest.warns(LlokiWarning, match="never measured on the same panel"),
    ):
        found = lloki.tl.compare(confounded, **study_, **FEW)
    assert len(found.abundance)
    assert not len(found.composition)
    assert not len(found.neighborhood)


def test_slices_of_a_technology_without_a_record_of_panels_share_one(done):
    slices, _, found = done
    whole = ad.concat(slices, join="outer", fill_value=0)
    again = lloki.tl.compare(whole, **STUDY, **FEW)
    assert set(again.design["technology"]) == set(found.design["technology"])
    assert len(again.design) == len(found.design)


def test_the_command_writes_tables_and_a_page(done, tmp_path):
    slices, _, _ = done
    (tmp_path / "run").mkdir()
    whole = joined(slices)
    whole.obsm[keys.UMAP] = whole.obsm[keys.JOINT][:, :2]
    whole.write_h5ad(tmp_path / "run" / "integrated.h5ad")
    out = tmp_path / "out"
    call = ["compare", str(tmp_path / "run"), "--condition-key", "condition", "--control", "healthy"]
    call += ["--donor-key", "donor", "--label-key", "cell_type", "--out", str(out)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    names = {"design", "composition", "expression", "abundance", "neighborhood", "evidence"}
    assert {p.name for p in out.iterdir()} == {f"{n}.csv" for n in names} | {"compare.json", "compare.html"}
    first = ["group", "effect", "low", "high", "q_value", "n_units"]
    assert list(pd.read_csv(out / "composition.csv").columns)[:6] == first
    genes = pd.read_csv(out / "expression.csv")
    assert list(genes.columns)[:8] == ["type", "gene", *first[1:], "panels"]
    html = (out / "compare.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "More Micro relative to the other types" in html
    assert html.count("<svg") == 7
    summary = json.loads((out / "compare.json").read_text())
    assert summary["identified"][0]["apart"]
    assert len(summary["findings"]) > 0
    assert result.stdout.startswith("Look at: ")
    assert summary["identified"][0]["text"] in result.stdout


def test_what_the_design_rules_out_is_a_warning_and_not_repeated(confounded, tmp_path):
    joined([s.copy() for s in confounded]).write_h5ad(tmp_path / "in.h5ad")
    call = ["compare", str(tmp_path / "in.h5ad"), "--condition-key", "condition", "--control", "healthy"]
    result = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    (text,) = [e["text"] for e in json.loads((tmp_path / "out" / "compare.json").read_text())["identified"]]
    start = text[:40]
    assert start in " ".join(result.stderr.split())
    assert start not in result.stdout


def test_the_command_names_a_missing_condition_and_writes_nothing(confounded, tmp_path):
    slices = [s.copy() for s in confounded]
    slices[0].obs["condition"] = None
    file = tmp_path / "in.h5ad"
    joined(slices).write_h5ad(file)
    call = [
        "compare",
        str(file),
        "--condition-key",
        "condition",
        "--control",
        "healthy",
        "--out",
        str(tmp_path / "o"),
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 1
    assert "disease1_gammamap obs['condition']: has no value" in " ".join(result.output.split())
    assert not (tmp_path / "o").exists()


@pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
def test_random_halves_of_real_sections_do_not_differ(shared_data: Path):
    adata = ad.read_h5ad(shared_data / "spatial" / "merfish_zhuang_mop.h5ad")
    x = lloki.fp.log_normalize(sparse.csr_matrix(adata.X))
    adata.obsm[keys.JOINT] = x[:, :20].toarray()
    names = adata.obs["slice"].astype(str).to_numpy()
    adata.obs["half"] = ""
    for name in np.unique(names):
        rows = names == name
        middle = np.median(adata.obsm["spatial"][rows, 0])
        adata.obs.loc[rows, "half"] = np.where(adata.obsm["spatial"][rows, 0] > middle, "r", "l")
    adata.obs["slice"] = names + adata.obs["half"].astype(str)
    adata.obs["technology"] = "MERFISH"
    adata.obs["kind"] = x[:, :8].toarray().argmax(axis=1).astype(str)
    hits = 0
    halves = np.unique(adata.obs["slice"].astype(str))
    for split in range(4):
        side = dict(zip(np.random.default_rng(split).permutation(halves), "abababab"))
        adata.obs["condition"] = [side[s] for s in adata.obs["slice"].astype(str)]
        found = lloki.tl.compare(adata, condition_key="condition", control="a", label_key="kind", **FEW)
        hits += len(found.evidence) > 0
    assert hits <= 1
