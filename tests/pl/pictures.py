"""Made-up results, and the figures of them that baselines are kept of: name → function that draws it.

Everything is planted, nothing is computed by a method, so a baseline changes only when drawing does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import sparse

from lloki import keys, pl
from lloki.align import Rigid
from lloki.align.landmarks import Landmarks
from lloki.align.search import Curve
from lloki.align.warp import Warp
from lloki.analysis import ACROSS, WITHIN
from lloki.pl._score_table import Group, score_table, score_table_size

SLICES = {"MERFISH": 180, "Xenium": 140, "Slide-tags": 100}
TYPES = ["Astro", "L2/3", "L5", "L6", "Oligo"]
K = 4  # metagenes


def joint() -> ad.AnnData:
    """Three slices of bands of cell types; the last one did not measure Gad1."""
    rng = np.random.default_rng(0)
    parts, total = [], sum(SLICES.values())
    for i, (name, n) in enumerate(SLICES.items()):
        xy = rng.uniform(0, 1, (n, 2)) * [1000, 700 + 150 * i]
        parts.append((np.full(n, name), xy, np.clip(5 * xy[:, 1] / (700 + 150 * i), 0, 4.999)))
    names, xy, depth = (np.concatenate(p) for p in zip(*parts))
    band = depth.astype(int)
    counts = rng.poisson(1.0, (total, 3))
    counts[:, 0] = rng.poisson(0.2 + 6 * (band == 2))
    counts[names == "Slide-tags", 0] = 0
    angle = 2 * np.pi * band / 5
    obs = pd.DataFrame(
        {
            keys.SLICE: pd.Categorical(names, categories=list(SLICES)),
            keys.CLUSTER: pd.Categorical(band.astype(str)),
            "cell_type": pd.Categorical(np.array(TYPES)[band]),
            "score": depth - 2.5,
            keys.DOMAIN: pd.Categorical(np.where(depth < 2, "D1", np.where(depth < 4, "D2", "D3"))),
            keys.NEIGHBOR_SHARE: np.where(band == 1, rng.uniform(0, 0.4, total), np.nan),
        },
        index=[f"cell{i}" for i in range(total)],
    )
    obs[keys.NEIGHBORHOOD_SCORE] = 3 * obs[keys.NEIGHBOR_SHARE] + rng.normal(0, 0.2, total)
    states = np.exp(-((depth[:, None] - [0.5, 1.5, 2.5, 4.5]) ** 2)).astype(np.float32)
    affinity = np.array([[-9, -2, 1, 3], [-2, -8, -3, 1], [1, -3, -7, -1], [3, 1, -1, -9]], float)
    return ad.AnnData(
        X=sparse.csr_matrix(counts, dtype=np.float32),
        obs=obs,
        var=pd.DataFrame(index=["Gad1", "Slc17a7", "Mbp"]),
        obsm={
            keys.SPATIAL: xy,
            keys.UMAP: np.column_stack([np.cos(angle), np.sin(angle)]) * 4 + rng.normal(0, 0.8, (total, 2)),
            keys.METAGENES: states,
        },
        varm={keys.MEASURED: np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], bool)},
        uns={
            keys.UNIT: "micrometre",
            keys.UNS: {"slices": np.array(list(SLICES)), "metagenes": {"affinity": affinity}},
        },
    )


def imputed() -> tuple[ad.AnnData, np.ndarray]:
    """One slice with an imputed gene, and its truth."""
    whole = joint()
    adata = whole[(whole.obs[keys.SLICE] == "MERFISH").to_numpy()].copy()
    truth = np.asarray(adata.obs["score"] + 2.5)
    genes = pd.DataFrame(
        {"score": np.linspace(0.9, 0.2, 30), "validated": [ACROSS, ACROSS, WITHIN] * 10},
        index=[f"G{i}" for i in range(30)],
    )
    found = ad.AnnData(
        X=np.repeat(np.clip(truth, 1, 4)[:, None], 30, axis=1),
        obs=adata.obs,
        var=genes,
        obsm=dict(adata.obsm),
        uns={keys.UNIT: "micrometre"},
    )
    left_out = pd.DataFrame({"score": [0.05, -0.1], "validated": [ACROSS, WITHIN]}, index=["H1", "H2"])
    found.uns[keys.UNS] = {"impute": {"left_out": left_out, "parameters": json.dumps({"min_score": 0.1})}}
    return found, truth


def alignment() -> Any:
    """Two slices turned by 30 degrees, with landmarks and a bulge."""
    rng = np.random.default_rng(0)
    fixed = rng.uniform(0, 1, (200, 2)) * [1000, 700]
    turn = Rigid.make(30)
    moved = fixed + rng.normal(0, 25, fixed.shape)
    moving = turn.inverse().apply(moved)
    degrees = np.arange(0.0, 360, 10)
    peak = 60 * np.exp(-(((degrees - 30) / 15) ** 2)) + 2
    marks = Landmarks(np.arange(100), np.arange(100), np.linspace(0, 1, 100))
    result = SimpleNamespace(
        moved=moved,
        in_overlap=moved[:, 0] < 900,
        landmarks=marks,
        residuals=fixed[:100] - moved[:100],
        curve=Curve(degrees, peak, np.full(len(degrees), 3.0)),
        transform=turn,
    )
    push = np.column_stack([30 * np.sin(moved[:100, 1] / 150), np.zeros(100)])
    warp = Warp(moved[:100], push, np.ones(100), 120.0, 1.0)
    return SimpleNamespace(
        positions={"fixed": fixed, "moving": moving},
        placed={"fixed": fixed, "moving": moved + np.array([300, 0])},
        results={("fixed", "moving"): result},
        warps={"moving": warp},
        stack=None,
    )


def scores() -> Figure:
    """Draw the table of a benchmark."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.random((3, 5)), ["lloki", "Harmony", "none"], ["nmi", "ari", "ilisi", "bio", "total"]
    )
    table.loc["none", "ari"] = np.nan
    groups = [
        Group("Bio conservation", {"nmi": "KMeans NMI", "ari": "KMeans ARI"}),
        Group("Batch correction", {"ilisi": "iLISI"}),
        Group("Aggregate scores", {"bio": "Bio", "total": "Total"}, bars=True),
    ]
    figure = Figure(figsize=score_table_size(table, groups, "A footnote."))
    score_table(figure, table, groups, spread=table * 0.05, footnote="A footnote.")
    return figure


def _confusion() -> Any:
    truth = np.repeat(TYPES, 20)
    assigned = truth.astype(object)
    assigned[::4] = "unknown"
    assigned[1:40:7] = "L5"
    return pl.confusion(truth, assigned)


def _losses() -> Any:
    steps = np.arange(0.0, 200)
    table = pd.DataFrame({"step": steps, "total": 2 * np.exp(-steps / 60) + 0.3, "validation": np.nan})
    table.loc[::20, "validation"] = 2 * np.exp(-steps[::20] / 60) + 0.4
    return pl.losses(table)


def _sparsity() -> Any:
    x = np.linspace(0, 1, 200)
    return pl.sparsity(0.6 + 0.35 * x, 0.3 + 0.4 * x, 0.31 + 0.4 * x)


def _reliability() -> Any:
    x = np.linspace(0.15, 0.95, 6)
    return pl.reliability(
        pd.DataFrame({"confidence": x, "accuracy": x**1.3, "n_cells": [10, 20, 40, 80, 160, 300]})
    )


PICTURES: dict[str, Callable[[], Any]] = {
    "umap": lambda: pl.umap(joint(), color="cell_type"),
    "umap_continuous": lambda: pl.umap(joint(), color="score"),
    "umap_gene": lambda: pl.umap(joint(), color="Gad1"),
    "umap_list": lambda: pl.umap(joint(), color=["cell_type", "score", "Gad1"]),
    "umap_groups": lambda: pl.umap(joint(), color="cell_type", groups=["L5", "Oligo"], palette="tab10"),
    "spatial": lambda: pl.spatial(joint(), color="cell_type"),
    "spatial_slice": lambda: pl.spatial(joint(), color="cell_type", slice="Xenium"),
    "spatial_gene": lambda: pl.spatial(joint(), color="Gad1"),
    "spatial_list": lambda: pl.spatial(
        joint(), color=["cell_type", "score"], slice=["Xenium", "MERFISH"], unit="px"
    ),
    "sparsity": _sparsity,
    "losses": _losses,
    "reliability": _reliability,
    "confusion": _confusion,
    "imputation_scores": lambda: pl.imputation_scores(imputed()[0]),
    "imputed": lambda: pl.imputed(imputed()[0], "G0", truth=imputed()[1]),
    "metagene": lambda: pl.metagene(joint(), 2),
    "enrichment": lambda: pl.enrichment(joint(), "cell_type"),
    "moran": lambda: pl.moran(joint()),
    "affinity": lambda: pl.affinity(joint()),
    "domains": lambda: pl.domains(joint()),
    "neighborhood_program": lambda: pl.neighborhood_program(joint()),
    "neighborhood_program_map": lambda: pl.neighborhood_program_map(
        joint(), neighbor="L5", label_key="cell_type"
    ),
    "aligned": lambda: pl.aligned(alignment()),
    "overlay": lambda: pl.overlay(alignment()),
    "residuals": lambda: pl.residuals(alignment()),
    "rotations": lambda: pl.rotations(alignment()),
    "deformation": lambda: pl.deformation(alignment()),
    "benchmark_table": scores,
}


def figure_of(drawn: Any) -> Figure:
    """Return the figure that something was drawn on."""
    if isinstance(drawn, Figure):
        return drawn
    figure = drawn[0].figure if isinstance(drawn, list) else drawn.figure
    return figure.figure
