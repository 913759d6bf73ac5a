"""What users write, as a type checker in strict mode sees it; never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

import lloki
from lloki.run import Result

slices = lloki.io.read_slices(["merfish.h5ad", "xenium.zarr"])
assert_type(slices, list[AnnData])
lloki.settings.threads = 4
lloki.settings.progress = True

result = lloki.integrate(
    slices,
    reference="reference.h5ad",
    out="run",
    label_key="cell_type",
    n_neighbors=30,
    preset="paper",
    fp={"iterations": 20},
    cae={"steps": 2000},
    resolution=0.5,
    seed=1,
)
assert_type(result, Result)
joint = result.adata
assert_type(joint, AnnData)
assert_type(result.qc, pd.DataFrame)
assert_type(result.quality, pd.DataFrame)
assert_type(result.report, Path)
assert_type(lloki.project("new.h5ad", run="run", out="projected"), AnnData)

labels = lloki.tl.transfer_labels(joint, label_key="cell_type", n_neighbors=20)
assert_type(labels, lloki.analysis.LabelTransfer)
assert_type(labels.table, pd.DataFrame)
assert_type(lloki.tl.domains(joint, n_domains=8, key_added="region"), lloki.analysis.Domains)
assert_type(lloki.tl.impute(joint, "merfish", min_score=0.2), AnnData)

assert_type(lloki.pl.umap(joint, color="technology"), Axes)
assert_type(lloki.pl.umap(joint, color=["technology", "Slc17a7"]), list[Axes])
assert_type(lloki.pl.spatial(joint, color="region", groups=["1", "2"], save="region.png"), list[Axes])
assert_type(lloki.pl.reliability(labels), Axes)
