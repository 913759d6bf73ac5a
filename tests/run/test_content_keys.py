"""Change one field of a configuration or one thing in an input: exactly these stages are computed again.

Keys are planned without computing anything; a few rows go through real runs, which must agree with the plan.
"""

from __future__ import annotations

import dataclasses
import inspect
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anndata as ad
import numpy as np
import pytest

import lloki
from checkpoints import make_scgpt
from lloki.cae import CAEConfig
from lloki.embed import Embedder, Factor, FactorConfig, ScGPT, get_embedder
from lloki.fp import FPConfig
from lloki.fp.config import EQ_5_ALONE
from lloki.io import ReadOptions
from lloki.run import RunConfig
from lloki.run import store as store_module
from lloki.run.config import RunKeywords
from lloki.run.inputs import Inputs
from lloki.run.opening import Opened, open_inputs
from lloki.run.pieces import Pieces, plan_pieces, token_piece
from lloki.run.store import RECIPES, Store, stage_key

STAGES = ("features", "summary", "fit", "embedding", "training", "view", "held_out")
NONE: frozenset[str] = frozenset()
VIEW = frozenset({"view", "held_out"})
HELD_OUT = frozenset({"held_out"})
TRAINING = VIEW | HELD_OUT | {"training"}
EMBEDDING = TRAINING | {"embedding"}
FIT = EMBEDDING | {"fit"}
SUMMARY = FIT | {"summary"}
ALL = SUMMARY | {"features"}

CONFIG = RunConfig.make(label_key="cell_type", benchmark="none", cae={"steps": 30, "batch_size": 256})

# Another value for every field, and what is computed again.
RUN: dict[str, tuple[Any, frozenset[str]]] = {
    "embedder": ("precomputed:X_mine", FIT),  # which has no features and no summaries
    "model": ("elsewhere", SUMMARY),
    "preset": ("paper", NONE),  # a name; the parameters that it stands for are in fp
    "fp": (FPConfig(n_neighbors=7), ALL),
    "cae": (CAEConfig(steps=31), TRAINING),
    "label_key": (None, NONE),
    "train_labels": ("cell_type", TRAINING),
    "train_label_slices": (("alphafish_1",), TRAINING),
    "benchmark": ("fast", NONE),
    "resolution": (0.5, VIEW),
    "umap": (False, VIEW),
    "seed": (1, FIT),  # of the run alone; lloki.integrate gives it to fp and cae too
}
FP: dict[str, Any] = {
    "n_neighbors": 7,
    "iterations": 3,
    "tol": 0.5,
    "keep": "random",
    "impute": True,
    "alpha": 0.25,
    "preserve_observed": False,
    "respect_budget": False,
    "reference_genes": "all",
    "spatial": False,
    "transport": False,
    "sigma_pairs": 50,
    "approximate_above": 100,
    "latent_alpha": 0.3,
    "latent_neighbors": 30,
    "latent_bandwidth": 2.0,
    "seed": 1,
}
CAE: dict[str, Any] = {
    "latent": 64,
    "hidden": (64, 32),
    "token_dim": 5,
    "condition": "slice",
    "reconstruction": 2.0,
    "triplet": 1.0,
    "conservation": 1.0,
    "margin": 2.0,
    "distance": "squared",
    "components": 10,
    "mnn_rounds": 1,
    "unit": 0.7,
    "n_pairs": 7,
    "n_neighbors": 7,
    "neighbors_per_step": 2,
    "refreshes": 1,
    "pair_cells": 50,
    "pair_slices": 2,
    "most_cells": 200,
    "steps": 31,
    "epochs": 2,
    "batch_size": 100,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "holdout": 0.1,
    "check_every": 10,
    "patience": 2,
    "output": "inputs",
    "seed": 1,
}


@pytest.fixture(scope="module")
def mine(files, tmp_path_factory) -> dict[str, ad.AnnData]:
    """The slices and the reference in memory, each slice with an embedding of its own."""
    found = {path.stem: ad.read_h5ad(path) for path in [*files.slices, files.reference]}
    for i, path in enumerate(files.slices):
        adata = found[path.stem]
        adata.obsm["X_mine"] = np.random.default_rng(i).normal(size=(adata.n_obs, 4))
    return found


@dataclass(frozen=True)
class Case:
    """What a run is given."""

    data: Mapping[str, ad.AnnData]
    config: RunConfig = CONFIG
    embedder: Embedder | None = None
    device: str = "cpu"
    project_only: tuple[str, ...] = ()

    def opened(self, folder: Path) -> tuple[Store, Opened, Embedder]:
        slices = [adata for name, adata in self.data.items() if name != "reference"]
        options = ReadOptions(samples=[name for name in self.data if name != "reference"])
        store = Store(folder / "work")
        model = self.config.model if self.config.embedder == "scgpt" else None
        embedder = self.embedder or get_embedder(
            self.config.embedder, model=model, seed=self.config.seed, device=self.device
        )
        inputs = Inputs.of(slices, self.data["reference"], options, project_only=self.project_only)
        return store, open_inputs(inputs, store, self.config, embedder, copy=False), embedder

    def pieces(self, folder: Path) -> Pieces:
        store, opened, embedder = self.opened(folder)
        assert not store.folder.exists()  # a plan writes nothing
        return plan_pieces(store, self.config, opened, embedder, device=self.device)


def keys(pieces: Pieces) -> dict[str, dict[str, str]]:
    """Stage → piece → key."""
    return {
        "features": {name: unit.piece.key for name, unit in pieces.features.items()},
        "summary": {name: unit.piece.key for name, unit in pieces.summaries.items()},
        "fit": {"": pieces.fit.key},
        "embedding": {name: unit.piece.key for name, unit in pieces.embedding.items()},
        "training": {"": pieces.training.key},
        "view": {"": pieces.view.key, "inputs": pieces.view_of_inputs.key},
        "held_out": {"": pieces.held_out.key, "inputs": pieces.held_out_of_inputs.key},
    }


def changed(before: Pieces, after: Pieces, *, slices: bool = False) -> frozenset[Any]:
    """Stages of which some piece would be computed again; with ``slices``, the pieces of each slice."""
    one, other = keys(before), keys(after)
    new = {s: {name for name, key in other[s].items() if key not in one[s].values()} for s in STAGES}
    if slices:
        return frozenset((s, name) for s in STAGES for name in new[s])
    return frozenset(s for s in STAGES if new[s])


@pytest.fixture(scope="module")
def planned(mine, tmp_path_factory) -> Callable[..., Pieces]:
    folder = tmp_path_factory.mktemp("planned")

    def plan(data: Mapping[str, ad.AnnData] | None = None, **given: Any) -> Pieces:
        return Case(mine if data is None else data, **given).pieces(folder)

    return plan


@pytest.fixture(scope="module")
def before(planned) -> Pieces:
    return planned()


def test_every_field_has_a_row():
    assert RUN.keys() == {f.name for f in fields(RunConfig)}
    assert FP.keys() == {f.name for f in fields(FPConfig)}
    assert CAE.keys() == {f.name for f in fields(CAEConfig)}
    assert {f.name for f in fields(FactorConfig)} == set(FACTOR)


@pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
@pytest.mark.parametrize("field", [f.name for f in fields(RunConfig)])
def test_a_field_of_the_run(field, planned, before):
    value, expected = RUN[field]
    assert value != getattr(CONFIG, field)
    config = CONFIG
    if field == "train_label_slices":  # needs the column
        config = replace(CONFIG, train_labels="cell_type")
        before = planned(config=config)
    assert changed(before, planned(config=replace(config, **{field: value}))) == expected


@pytest.mark.parametrize("field", [f.name for f in fields(FPConfig)])
def test_a_field_of_lloki_fp(field, planned, before):
    assert CONFIG.fp is not None
    assert FP[field] != getattr(CONFIG.fp, field)
    config = replace(CONFIG, fp=replace(CONFIG.fp, **{field: FP[field]}))
    idle = config.without_effect(Factor())
    expected = NONE if idle else EMBEDDING if field.startswith("latent") else ALL
    assert changed(before, planned(config=config)) == expected


@pytest.mark.parametrize("field", EQ_5_ALONE)
def test_a_field_of_imputation_where_values_are_imputed(field, planned):
    assert CONFIG.fp is not None
    assert replace(CONFIG, fp=replace(CONFIG.fp, **{field: FP[field]})).without_effect(Factor()) == [field]
    imputing = replace(CONFIG.fp, impute=True)
    one, other = (
        planned(config=replace(CONFIG, fp=fp)) for fp in (imputing, replace(imputing, **{field: FP[field]}))
    )
    assert changed(one, other) == ALL


@pytest.mark.parametrize("field", [f.name for f in fields(CAEConfig)])
def test_a_field_of_lloki_cae(field, planned, before):
    assert CAE[field] != getattr(CONFIG.cae, field)
    config = replace(CONFIG, cae=replace(CONFIG.cae, **{field: CAE[field]}))
    assert changed(before, planned(config=config)) == TRAINING


def test_the_seed_of_a_call_goes_everywhere(planned, before):
    options = {"label_key": "cell_type", "benchmark": "none", "cae": {"steps": 30, "batch_size": 256}}
    assert changed(before, planned(config=RunConfig.make(**options, seed=0))) == NONE
    assert changed(before, planned(config=RunConfig.make(**options, seed=1))) == ALL


FACTOR = {f.name: f.default for f in fields(FactorConfig)}


@pytest.mark.parametrize("field", list(FACTOR))
def test_a_setting_of_the_embedder(field, planned, before):
    value = FACTOR[field] + 1 if isinstance(FACTOR[field], (int, float)) else "another"
    other = Factor(config=replace(FactorConfig(), **{field: value}))
    assert changed(before, planned(embedder=other)) == SUMMARY


def _touch(
    mine: Mapping[str, ad.AnnData], name: str, change: Callable[[ad.AnnData], Any]
) -> dict[str, ad.AnnData]:
    adata = mine[name].copy()
    return {**mine, name: change(adata) or adata}


def _counts(adata: ad.AnnData) -> None:
    adata.X[0, 0] += 3


def _moved(adata: ad.AnnData) -> None:
    adata.obsm["spatial"][0] += 1


def _gene_renamed(adata: ad.AnnData) -> None:
    adata.var_names = ["Renamed1", *adata.var_names[1:]]


def _cell_renamed(adata: ad.AnnData) -> None:
    adata.obs_names = ["renamed", *adata.obs_names[1:]]


def _genes_turned(adata: ad.AnnData) -> ad.AnnData:
    return adata[:, ::-1].copy()


def _relabeled(adata: ad.AnnData) -> None:
    adata.obs["cell_type"] = "neuron"


def _column(adata: ad.AnnData) -> None:
    adata.obs["area"] = np.arange(adata.n_obs) * 1.5


def _other_embedding(adata: ad.AnnData) -> None:
    adata.obsm["X_mine"] = adata.obsm["X_mine"] + 1


def _technology(adata: ad.AnnData) -> None:
    adata.uns["technology"] = "Another"


INPUTS: list[tuple[Callable[[ad.AnnData], Any], frozenset[str]]] = [
    (_counts, ALL),
    (_moved, ALL),
    (_gene_renamed, ALL),
    (_cell_renamed, ALL),
    (_genes_turned, ALL),
    (_technology, TRAINING),
    (_relabeled, NONE),
    (_column, NONE),
    (_other_embedding, NONE),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("change", "expected"), INPUTS, ids=[change.__name__ for change, _ in INPUTS])
def test_a_change_of_a_slice(change, expected, planned, before, mine):
    after = planned(_touch(mine, "betaseq_1", change))
    assert changed(before, after) == expected
    own = {s for s in changed(before, after, slices=True) if s[0] in ("features", "summary")}
    assert own == {(stage, "betaseq_1") for stage in expected & {"features", "summary"}}


@pytest.mark.filterwarnings("ignore")
def test_a_change_of_the_reference(planned, before, mine):
    def zero(adata: ad.AnnData) -> None:
        adata.X[:50] = 0

    assert changed(before, planned(_touch(mine, "reference", zero))) == ALL
    measured = set(mine["alphafish_1"].var_names) | set(mine["betaseq_1"].var_names)

    def more(adata: ad.AnnData) -> None:  # as sparse as before: only what the embedder learns from it changes
        adata.X = adata.X * 2

    assert measured & set(mine["reference"].var_names)
    assert changed(before, planned(_touch(mine, "reference", more))) == FIT
    assert changed(before, planned(_touch(mine, "reference", _relabeled))) == NONE


def test_the_order_of_slices_does_not_matter(planned, before, mine):
    assert changed(before, planned(dict(reversed(mine.items())))) == NONE


@pytest.mark.filterwarnings("ignore")
def test_slices_fewer_and_slices_not_trained_on(planned, before, mine):
    fewer = {name: adata for name, adata in mine.items() if name != "alphafish_2"}
    assert changed(before, planned(fewer)) == FIT
    held_out = planned(project_only=("alphafish_2",))
    assert changed(before, held_out) == FIT
    # a slice that is only projected changes nothing but the view of all cells, and with it their clusters
    assert changed(planned(fewer), held_out, slices=True) == {
        ("features", "alphafish_2"),
        ("summary", "alphafish_2"),
        ("embedding", "alphafish_2"),
        ("view", ""),
        ("view", "inputs"),
        ("held_out", ""),
        ("held_out", "inputs"),
    }


def test_labels_that_training_sees(planned, mine):
    seen = replace(CONFIG, train_labels="cell_type")
    before, relabeled = planned(config=seen), _touch(mine, "betaseq_1", _relabeled)
    assert changed(before, planned(relabeled, config=seen)) == TRAINING
    one = replace(seen, train_label_slices=("alphafish_1",))
    assert changed(planned(config=one), planned(relabeled, config=one)) == NONE


@pytest.mark.filterwarnings("ignore")
def test_an_embedding_of_ones_own(planned, mine):
    config = replace(CONFIG, embedder="precomputed:X_mine")
    before = planned(config=config)
    after = planned(_touch(mine, "betaseq_1", _other_embedding), config=config)
    assert changed(before, after) == EMBEDDING
    assert ("embedding", "alphafish_1") not in changed(before, after, slices=True)


@pytest.fixture(scope="module")
def checkpoint(mine, tmp_path_factory) -> Path:
    genes = sorted({g for name, adata in mine.items() if name != "reference" for g in adata.var_names})
    return make_scgpt(tmp_path_factory.mktemp("scgpt"), genes=genes[::2])


def test_precision_is_in_the_keys_and_the_device_in_none(planned, before, checkpoint):
    assert changed(before, planned(device="cuda")) == changed(before, planned(device="mps")) == NONE
    config = replace(CONFIG, embedder="scgpt", model=str(checkpoint))

    def scgpt(**given: Any) -> Pieces:
        return planned(config=config, embedder=ScGPT.from_checkpoint(checkpoint, **given))

    auto = scgpt(device="cpu")
    assert changed(auto, scgpt(device="cpu", precision="float32")) == NONE  # what auto is on the CPU
    assert changed(auto, scgpt(device="cpu", precision="bf16")) == FIT
    assert changed(auto, scgpt(device="cpu", max_tokens=64)) == FIT


def test_other_weights_under_the_same_name(planned, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "model")
    config = replace(CONFIG, embedder="scgpt", model=str(tmp_path / "model"))
    before = planned(config=config)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    assert changed(before, planned(config=replace(config, model=str(tmp_path / "moved")))) == NONE
    (tmp_path / "moved" / "notes.txt").write_text("fine-tuned")
    assert changed(before, planned(config=replace(config, model=str(tmp_path / "moved")))) == FIT


def test_nothing_of_places_and_workers_is_a_parameter():
    """What is not in a key must not be in a configuration."""
    known = {f.name for c in (RunConfig, FPConfig, CAEConfig) for f in fields(c)}
    assert not known & {"device", "workers", "scheduler", "threads", "progress", "out"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_new_recipe_makes_its_stage_and_all_after_it_anew(stage, planned, before, monkeypatch):
    monkeypatch.setattr(store_module, "RECIPES", MappingProxyType({**RECIPES, stage: RECIPES[stage] + 1}))
    later = {
        "features": ALL,
        "summary": SUMMARY,
        "fit": FIT,
        "embedding": EMBEDDING,
        "training": TRAINING,
        "view": VIEW,
        "held_out": HELD_OUT,
    }
    assert changed(before, planned()) == later[stage]


def test_another_version_makes_everything_anew(planned, before, monkeypatch):
    assert changed(before, planned()) == NONE
    monkeypatch.setattr(store_module, "__version__", "99.0")
    assert changed(before, planned()) == ALL


def test_a_token_depends_on_model_name_and_slices(planned, before, tmp_path):
    store = Store(tmp_path)

    def key(
        model: str = "m", token: str = "t|p", names: list[str] | None = None, pieces: Pieces = before
    ) -> str:
        return token_piece(store, model, token, names or ["betaseq_1"], pieces.embedding).key

    seeded = planned(config=replace(CONFIG, seed=1))
    others = [key("n"), key(token="u|p"), key(names=["alphafish_1", "betaseq_1"]), key(pieces=seeded)]
    assert len({key(), *others}) == 5
    assert key(names=["alphafish_1", "betaseq_1"]) == key(names=["betaseq_1", "alphafish_1"])


def test_stages_with_the_same_inputs_have_different_keys():
    assert len({stage_key(stage, 1) for stage in RECIPES}) == len(RECIPES)


def test_defaults_of_the_function_and_of_its_configuration_are_the_same():
    given = inspect.signature(lloki.integrate).parameters
    assert RunKeywords.__annotations__.keys() <= given.keys()
    for field in fields(RunConfig):
        if field.name not in ("fp", "cae"):
            assert given[field.name].default == field.default, field.name
    assert RunConfig.make() == RunConfig()
    reading = {f.name: f.default for f in dataclasses.fields(ReadOptions)}
    for name in reading.keys() - {"n_neighbors"}:
        assert given[name].default == reading[name], name


REAL: dict[str, tuple[dict[str, Any], frozenset[str]]] = {
    "the same": ({}, NONE),
    "resolution": ({"resolution": 0.5}, VIEW),
    "cae": ({"cae": {"steps": 20, "batch_size": 256}}, TRAINING),
    "train_labels": ({"train_labels": "cell_type"}, TRAINING),
    "fp": ({"fp": {"n_neighbors": 7}}, ALL),
    "label_key": ({"label_key": None}, NONE),
    "device": ({"device": "cpu"}, NONE),
    "reference": ({"reference": "doubled"}, FIT),
}


@pytest.mark.parametrize("row", REAL)
def test_real_runs_compute_what_the_plan_says(row, base, files, integrate, tmp_path):
    given, expected = dict(REAL[row][0]), REAL[row][1]
    shutil.copytree(base.folder / "work", tmp_path / "run" / "work")
    if "reference" in given:
        adata = ad.read_h5ad(files.reference)
        adata.X = adata.X * 2
        adata.write_h5ad(tmp_path / "doubled.h5ad")
        given["reference"] = tmp_path / "doubled.h5ad"
    stages = integrate(**given).run["stages"]
    computed = {s["stage"] for s in stages if s["stage"] in STAGES and s["status"] == "computed"}
    assert computed == expected
    assert {s["stage"] for s in stages} >= set(STAGES)
