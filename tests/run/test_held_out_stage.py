"""The held-out-gene score of a run: what it is made from, where it is left, and what is reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import lloki
from lloki import keys
from lloki._progress import chosen
from lloki.benchmark.rerun import Rerun
from lloki.cae import CAEModel
from lloki.embed import Factor
from lloki.evaluate import HeldOutScore
from lloki.fp import log_normalize, propagate_embedding
from lloki.run import Result, held_out
from lloki.run._view import view
from lloki.run.held_out import RunHeldOut
from lloki.run.slices import SliceRecord
from lloki.run.store import Store, load_arrays

NAMES = ["alphafish_1", "alphafish_2", "betaseq_1"]


@pytest.fixture
def again(base: Result, integrate: Callable[..., Result], tmp_path: Path) -> Callable[..., Result]:
    """Run once more from finished pieces, all but the scores."""

    def run(**changed: Any) -> Result:
        shutil.copytree(base.folder / "work", tmp_path / "run" / "work", dirs_exist_ok=True)
        for stage in ("encode", "held_out"):
            shutil.rmtree(tmp_path / "run" / "work" / stage, ignore_errors=True)
        return integrate(**changed)

    return run


@pytest.fixture
def parts(again, monkeypatch) -> dict[str, Any]:
    """What the scores of a run were made from."""
    found: dict[str, Any] = {"folds": []}
    score, function = held_out.score, held_out.held_out_score

    def watched(records, units, embedder, model, clusters, *, seed):
        found.update(records=records, units=units, embedder=embedder, model=model, clusters=clusters)
        return score(records, units, embedder, model, clusters, seed=seed)

    def counted(folds, *, clusters=None, seed):
        found["folds"].append(folds)
        return function(folds, clusters=clusters, seed=seed)

    monkeypatch.setattr(held_out, "score", watched)
    monkeypatch.setattr(held_out, "held_out_score", counted)
    found["result"] = again()
    return found


def test_a_run_leaves_its_scores(base):
    found = base.run["held_out"]
    assert set(found) == {"before", "after", "latent", "inputs", "clusters_lost", "output", "pairs"}
    assert found["output"] == "latent"
    assert found["latent"] == found["after"]
    table = pd.read_csv(base.folder / "held_out.csv")
    assert len(table) == len(found["pairs"]) == 18  # six ordered pairs in three embeddings
    before, after, inputs = (
        table[table["embedding"] == key].reset_index() for key in (keys.FP, keys.JOINT, "inputs")
    )
    assert found["inputs"] == pytest.approx((inputs["across"] / before["within"]).mean())
    assert found["before"] == pytest.approx(before["ratio"].mean())
    assert found["after"] == pytest.approx((after["across"] / before["within"]).mean())
    assert found["before"] > 0.5  # above 1 where another platform measures more
    better = keys.FP if found["before"] > found["after"] else keys.JOINT
    assert base.adata.uns["lloki"]["better_embedding"] == better
    reported = [m["text"] for m in base.run["messages"] if m["slice"] == "held-out genes"]
    assert len(reported) == (found["before"] > found["after"] + 0.01)
    assert base.adata.obsm["X_lloki"].shape[1] == 128
    assert [s["status"] for s in base.run["stages"] if s["stage"] == "held_out"] == ["computed"]


def test_scores_are_found_done_and_are_the_same_when_made_again(base, again, status, integrate):
    result = again()
    assert status(result, "training") == ["reused"]
    assert status(result, "held_out") == ["computed"]
    assert result.run["held_out"] == base.run["held_out"]
    result = integrate()
    assert status(result, "held_out") == ["reused"]
    assert result.run["held_out"] == base.run["held_out"]


def test_order_and_threads_change_no_digit(base, again, files, monkeypatch):
    monkeypatch.setenv("LLOKI_THREADS", "2")
    result = again(slices=files.slices[::-1])
    assert result.run["held_out"] == base.run["held_out"]


def test_clusters_are_those_of_the_slices_cells(parts):
    adata = parts["result"].adata
    ordered = adata[np.argsort(adata.obs["slice"].astype(str), kind="stable")]
    run = parts["result"].run
    found = view(ordered.obsm["X_lloki"], resolution=run["parameters"]["resolution"], seed=run["seed"])[1]
    assert ordered.obs["lloki_cluster"].astype(int).tolist() == found.tolist()
    for name, part in adata.obs.groupby("slice", observed=True):
        assert parts["clusters"][name].tolist() == part["lloki_cluster"].astype(int).tolist()


def test_folds_part_the_shared_genes_and_rows_go_through_the_run(parts, files):
    before, after, inputs = parts["folds"]
    genes = {p.stem: set(ad.read_h5ad(p).var_names) for p in files.slices}
    shared = {g for name in NAMES for g in genes[name] if sum(g in other for other in genes.values()) > 1}
    held = [{g for unseen in fold.values() for g in unseen.genes} for fold in before]
    assert len(held) == 3
    assert sum(map(len, held)) == len(set.union(*held))
    assert set.union(*held) <= shared
    assert len(set.union(*held)) > 0.9 * len(shared)  # but those that never vary
    embedder, model = parts["embedder"], parts["model"]
    for record in parts["records"]:
        unit = parts["units"][record.name]
        arrays, state = load_arrays(unit.source), unit.summary.load()
        expression = load_arrays(unit.features)["expression"]
        alpha = float(load_arrays(unit.path)["latent_alpha"])
        names = arrays["genes"].tolist()
        for i, fold in enumerate(held):
            observed = log_normalize(arrays["counts"])
            (own,) = embedder.hold_out(expression, names, [sorted(fold)], state=state, observed=observed)
            near = unit.propagation.n_neighbors, unit.propagation.bandwidth
            rows = propagate_embedding(own.rows, arrays["spatial"], alpha, *near)
            unseen = before[i][record.name]
            assert unseen.genes == own.genes
            np.testing.assert_allclose(unseen.rows, rows, atol=1e-6)
            np.testing.assert_allclose(unseen.values, own.values, rtol=1e-6)
            joint = model.encode(rows, record.token, slice_name=record.name)
            np.testing.assert_allclose(after[i][record.name].rows, joint, atol=1e-5)
            given = model.giving("inputs").encode(rows, record.token)
            np.testing.assert_allclose(inputs[i][record.name].rows, given, atol=1e-5)


def test_rows_do_not_depend_on_the_genes_of_the_fold(parts):
    """Genes of the fold trade places in every cell: depth stays, what the fold holds does not."""
    record = parts["records"][0]
    unit = parts["units"][record.name]
    names, state = load_arrays(unit.source)["genes"].tolist(), unit.summary.load()
    expression = load_arrays(unit.features)["expression"]
    for fold in parts["folds"][0]:
        genes = list(fold[record.name].genes)
        columns = [names.index(g) for g in genes]
        order = np.arange(len(names))
        order[columns] = np.roll(columns, 1)
        (own,) = parts["embedder"].hold_out(expression, names, [genes], state=state)
        (other,) = parts["embedder"].hold_out(expression[:, order], names, [genes], state=state)
        np.testing.assert_allclose(other.rows, own.rows, atol=1e-6)
        assert np.abs(other.values - own.values).max() > 0.1


def test_genes_of_the_fold_that_leak_into_the_rows_raise_the_score(base, again, monkeypatch):
    hold_out = Factor.hold_out

    def leaking(self, *given, **named):
        for held in hold_out(self, *given, **named):
            seen = np.zeros_like(held.rows)
            width = min(seen.shape[1], held.values.shape[1])
            seen[:, :width] = held.values[:, :width]
            yield replace(held, rows=held.rows + seen * held.rows.std())

    monkeypatch.setattr(Factor, "hold_out", leaking)
    rows = again().run["held_out"]["pairs"]
    known = base.run["held_out"]["pairs"]
    leaked, clean = (
        np.mean([p["within"] for p in pairs if p["embedding"] == keys.FP]) for pairs in (rows, known)
    )
    assert leaked > clean + 0.05


def test_a_spoiled_joint_embedding_is_reported(base, again, monkeypatch):
    encode = CAEModel.encode_both

    def spoiled(self, x, token, *, slice_name=None):
        both = encode(self, x, token, slice_name=slice_name)
        order = np.random.default_rng(len(x)).permutation(len(x))
        return {k: rows[order] for k, rows in both.items()} if slice_name == "betaseq_1" else both

    monkeypatch.setattr(CAEModel, "encode_both", spoiled)
    result = again()
    found, known = result.run["held_out"], base.run["held_out"]
    assert found["before"] == known["before"]
    assert found["after"] < known["after"] - 0.1
    (text,) = [m["text"] for m in result.run["messages"] if m["slice"] == "held-out genes"]
    assert text == (
        "on genes that the embedding had not seen, the joint embedding predicts across slices worse than the "
        f"embedding before the autoencoder ({found['after']:.2f} against {found['before']:.2f}): "
        "obsm['X_lloki_fp'] may serve better for label transfer"
    )
    assert f"held-out genes: {text}" in list(result.adata.uns["lloki"]["messages"])
    assert result.adata.uns["lloki"]["better_embedding"] == "X_lloki_fp"


def test_a_latent_space_that_takes_away_gives_way_to_its_inputs(base, again, files, monkeypatch):
    monkeypatch.setattr(held_out, "TAKES_AWAY", -1.0)
    result = again(cae={"steps": 30, "batch_size": 256})
    found, known = result.run["held_out"], base.run["held_out"]
    assert found["output"] == result.adata.uns["lloki"]["joint_space"] == "inputs"
    assert base.adata.uns["lloki"]["joint_space"] == "latent"
    for name in ("before", "latent", "inputs"):
        assert found[name] == pytest.approx(known[name])
    assert found["after"] == found["inputs"]
    (text,) = [m["text"] for m in result.run["messages"] if m["slice"] == "held-out genes"]
    assert f"({found['latent']:.2f} against {found['inputs']:.2f}; clusters lose " in text
    assert found["clusters_lost"] == pytest.approx(known["clusters_lost"])  # as it was before the change
    model = CAEModel.load(result.folder / "model")
    assert model.output == "inputs"
    adata = result.adata
    for name, part in adata.obs.groupby("slice", observed=True):
        rows, token = adata[part.index].obsm[keys.FP], str(part[keys.TOKEN].iloc[0])
        given = CAEModel.load(base.folder / "model").scaling.apply(rows, model.tokens.index(token))
        np.testing.assert_allclose(adata[part.index].obsm[keys.JOINT], given, atol=1e-5)
        np.testing.assert_allclose(model.encode(rows, token, slice_name=name), given, atol=1e-5)
    with Store(result.folder / "elsewhere") as store, Rerun(result.folder, store, chosen(False)) as rerun:
        rows = rerun.embedding(rerun.config, keys.JOINT)  # of lloki.benchmark
    np.testing.assert_array_equal(rows, adata.obsm[keys.JOINT])
    order = base.adata.obs_names
    np.testing.assert_allclose(adata[order].obsm[keys.LATENT], base.adata.obsm[keys.JOINT], atol=1e-5)
    assert keys.LATENT not in base.adata.obsm
    lloki.tl.metagenes(adata, n_metagenes=3, iterations=1, pretraining=2)  # they need non-negative features
    assert adata.uns["lloki"]["metagenes"]["parameters"].count(keys.LATENT)
    one = lloki.project(files.alpha_1, run=result.folder)
    np.testing.assert_allclose(
        one.obsm[keys.JOINT], adata[adata.obs["slice"] == "alphafish_1"].obsm[keys.JOINT], atol=1e-5
    )
    assert one.obsm[keys.LATENT].shape == (one.n_obs, 128)
    ordered = adata[np.argsort(adata.obs["slice"].astype(str), kind="stable")]
    run = result.run
    seen = view(ordered.obsm["X_lloki"], resolution=run["parameters"]["resolution"], seed=run["seed"])[1]
    assert ordered.obs["lloki_cluster"].astype(int).tolist() == seen.tolist()


@pytest.mark.parametrize("output", ["latent", "inputs"])
def test_the_latent_space_takes_away_only_where_it_predicts_worse(output):
    def found(latent: float, inputs: float) -> RunHeldOut:
        one, other = (latent, inputs) if output == "latent" else (inputs, latent)
        table = scores(0.7, one).before.table
        made = (HeldOutScore(table.assign(across=x, ratio=x)) for x in (0.7, one, other))
        return RunHeldOut(*made, output)

    assert found(0.60, 0.63).network_takes_away
    assert not found(0.62, 0.60).network_takes_away
    assert not found(0.61, 0.62).network_takes_away  # within what is seen where nothing is wrong
    assert not found(np.nan, np.nan).network_takes_away
    assert found(0.60, 0.62).latent_and_inputs == pytest.approx((0.60, 0.62))


@pytest.mark.parametrize("output", ["latent", "inputs"])
def test_few_cells_of_one_kind_put_amid_others_take_the_latent_space_away(output):
    def found(latent: list[float], inputs: list[float], cells: list[int]) -> RunHeldOut:
        names = {"target": "a", "source": "b", "cluster": [0, 1], "cells": cells, "genes": 9, "within": 0.9}
        one, other = (pd.DataFrame({**names, "across": x}) for x in (latent, inputs))
        made = (one, one, other) if output == "latent" else (one, other, one)
        table = scores(0.7, 0.7).before.table  # of all cells, both predict alike
        return RunHeldOut(*(HeldOutScore(table, clusters) for clusters in made), output)

    few = found([0.9, 0.1], [0.9, 0.8], [90, 10])
    assert few.clusters_lost == pytest.approx(0.07)
    assert few.network_takes_away
    assert found([0.9, 0.1], [0.9, 0.8], [10, 90]).clusters_lost == pytest.approx(0.63)
    assert not found([0.9, 0.8], [0.9, 0.1], [50, 50]).network_takes_away
    assert not found([0.87, 0.8], [0.9, 0.83], [50, 50]).network_takes_away  # seen where nothing is wrong
    assert not found([0.9, np.nan], [0.9, 0.8], [50, 50]).network_takes_away  # nothing is known of it
    assert scores(0.7, 0.7).clusters_lost == 0
    assert replace(few, lost=0.01).clusters_lost == 0.01


def test_unlike_batches_get_the_inputs_whatever_held_out_genes_say(base, again, monkeypatch):
    """Made so by the limit. The score is made once, and lloki.benchmark embeds with the inputs, too."""
    monkeypatch.setattr("lloki.cae.correction.UNLIKE", 0.0)
    monkeypatch.setattr("lloki.cae.model.UNLIKE", 1e9)
    monkeypatch.setattr(CAEModel, "partnered", {"a|p": 0.2, "b|q": 0.9})
    monkeypatch.setattr(held_out, "TAKES_AWAY", 1.0)
    scored, real = [], held_out.score
    monkeypatch.setattr(held_out, "score", lambda *a, **k: scored.append(a) or real(*a, **k))
    result = again(cae={"steps": 30, "batch_size": 256})
    assert len(scored) == 1
    assert result.run["partnered"] == {"a|p": 0.2, "b|q": 0.9}
    assert result.run["held_out"]["output"] == result.adata.uns["lloki"]["joint_space"] == "inputs"
    (text,) = [m["text"] for m in result.run["messages"] if "counterpart" in m["text"]]
    assert text.startswith("many cells of a|p have no counterpart in other batches (20% of those that would")
    assert keys.LATENT in result.adata.obsm
    with Store(result.folder / "elsewhere") as store, Rerun(result.folder, store, chosen(False)) as rerun:
        rows = rerun.embedding(rerun.config, keys.JOINT)
    np.testing.assert_array_equal(rows, result.adata.obsm[keys.JOINT])
    assert base.run["held_out"]["output"] == "latent"


def test_a_latent_space_that_is_asked_for_stays(again, monkeypatch):
    monkeypatch.setattr(held_out, "TAKES_AWAY", -1.0)
    result = again()
    assert result.run["held_out"]["output"] == "latent"
    assert result.adata.obsm["X_lloki"].shape[1] == 128


def scores(before: float, after: float, genes: int = 9) -> RunHeldOut:
    table = pd.DataFrame(
        {"target": ["a"], "source": ["b"], "genes": [genes], "within": [1.0], "across": [0.0], "ratio": [0.0]}
    )
    return RunHeldOut(*(HeldOutScore(table.assign(across=x, ratio=x)) for x in (before, after, after)))


def test_what_is_reported_and_which_embedding_is_better():
    assert scores(0.65, 0.645).message == ""
    assert scores(0.65, 0.645).better == "X_lloki_fp"
    assert scores(0.65, 0.65).better == scores(0.6, 0.65).better == "X_lloki"
    assert "(0.61 against 0.65)" in scores(0.65, 0.61).message
    few = scores(0.65, 0.61, genes=4)
    assert "no two slices share 5 genes" in few.message
    assert few.better == "X_lloki"
    assert few.to_dict()["before"] is few.to_dict()["after"] is None
    nothing = held_out.nothing("it cannot")
    assert nothing.message == ""
    assert nothing.to_dict() == {"before": None, "after": None, "pairs": [], "why": "it cannot"}


def test_slices_without_common_genes_are_reported(base, files, integrate):
    alpha, beta = ad.read_h5ad(files.alpha_1), ad.read_h5ad(files.beta)
    beta = beta[:, ~beta.var_names.isin(alpha.var_names)].copy()
    result = integrate([alpha, beta], samples=["alpha", "beta"])
    nothing = dict.fromkeys(("before", "after", "latent", "inputs"))
    assert result.run["held_out"] == {**nothing, "clusters_lost": 0.0, "output": "latent", "pairs": []}
    assert any("no two slices share 5 genes" in m["text"] for m in result.run["messages"])
    assert len(pd.read_csv(result.folder / "held_out.csv")) == 0


def test_an_embedder_that_cannot_leave_genes_out_is_not_scored(files, integrate, tmp_path):
    slices = [ad.read_h5ad(p) for p in files.slices]
    for i, adata in enumerate(slices):
        adata.obsm["X_mine"] = np.random.default_rng(i).normal(size=(adata.n_obs, 8)).astype(np.float32)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "held_out.csv").write_text("of an earlier run")
    result = integrate(slices, samples=["a", "b", "c"], embedder="precomputed:X_mine", reference=None)
    assert "cannot leave genes out" in result.run["held_out"]["why"]
    assert not (result.folder / "held_out.csv").exists()
    assert result.adata.uns["lloki"]["better_embedding"] == "X_lloki"


def test_of_many_slices_every_batch_has_some():
    def record(name: str, token: str) -> SliceRecord:
        return SliceRecord(name, token, "", None, (), 0, pd.DataFrame())

    records = [record(f"a{i}", "x|p") for i in range(30)] + [record(f"b{i}", "y|q") for i in range(3)]
    chosen = held_out.choose(records, 0)
    assert len(chosen) == 10
    assert sum(r.token == "y|q" for r in chosen) == 3
    assert [r.name for r in chosen] == [r.name for r in held_out.choose(records[::-1], 0)]
    assert {r.name for r in chosen} != {r.name for r in held_out.choose(records, 1)}
