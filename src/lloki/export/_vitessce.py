"""Vitessce: a configuration beside zarr stores."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lloki import keys
from lloki.export._cells import Cells
from lloki.export._cellxgene import table_of
from lloki.export._tables import file_names
from lloki.io import atomic

URL = "http://localhost:8000"
_VERSION = "1.0.16"


def write(cells: Cells, out: Path) -> list[Path]:
    """Write a configuration and a store of all slices, with the genes that all measured, and one of each.

    Vitessce draws a missing value as the lowest one, so no store holds a gene that one of its slices did not
    measure: ``vitessce-SLICE.json`` and ``SLICE.zarr`` have all genes of one slice.
    """
    written = [_store(cells, out, "cells", cells.shared_genes(), title="All slices")]
    if len(cells.rows) > 1:
        for name, file in file_names(cells.rows, taken=["cells"]).items():
            one = Cells(cells.adata, {name: cells.rows[name]}, cells.slice_key)
            written.append(_store(one, out, file, one.counts(name)[1], title=name))
    return written


def _store(cells: Cells, out: Path, name: str, genes: list[str], *, title: str) -> Path:
    table = table_of(cells, genes, results_only=True)
    table.X = table.X.toarray()  # by blocks of genes, of which Vitessce reads one at a time
    for column in list(table.uns):
        del table.uns[column]
    with atomic(out / f"{name}.zarr") as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Writing zarr v2")  # which every version of Vitessce reads
        table.write_zarr(temporary, chunks=(table.n_obs, min(max(table.n_vars, 1), 10)))
    path = out / ("vitessce.json" if name == "cells" else f"vitessce-{name}.json")
    with atomic(path) as temporary:
        config = configuration(
            cells, f"{URL}/{name}.zarr", title=title, genes=bool(genes), obsm=list(table.obsm)
        )
        temporary.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return path


def configuration(cells: Cells, url: str, *, title: str, genes: bool, obsm: list[str]) -> dict[str, Any]:
    """Make a view configuration of Vitessce: UMAP and tissue, sets of cells, and genes."""
    layouts = {"X_umap": "UMAP", "X_tissue": "Tissue", "X_aligned": "Aligned"}
    shown = {key: name for key, name in layouts.items() if key in obsm}
    columns = {**cells.groups, cells.slice_key: "slice"}
    if keys.TECHNOLOGY in cells.obs:
        columns[keys.TECHNOLOGY] = "technology"
    options: dict[str, Any] = {
        "obsEmbedding": [{"path": f"obsm/{key}", "embeddingType": name} for key, name in shown.items()],
        "obsSets": [{"name": name, "path": f"obs/{column}"} for column, name in columns.items()],
        "obsLabels": [{"path": "obs/cell_id", "obsLabelsType": "cell_id"}],
    }
    if genes:
        options["obsFeatureMatrix"] = {"path": "X"}
    file = {"fileType": "anndata.zarr", "url": url, "options": options, "coordinationValues": {}}
    colors: list[dict[str, Any]] = [
        {"path": [name, c], "color": _rgb(color)}
        for column, name in columns.items()
        for c, color in cells.colors(column).items()
    ]
    first = next(iter(columns.values()))
    space: dict[str, Any] = {
        "dataset": {"A": "A"},
        "embeddingType": {name: name for name in shown.values()},
        "obsSetColor": {"A": colors},
        "obsColorEncoding": {"A": "cellSetSelection"},
        "obsSetSelection": {"A": [e["path"] for e in colors if e["path"][0] == first]},
    }
    shared = {"dataset": "A", "obsSetColor": "A", "obsColorEncoding": "A", "obsSetSelection": "A"}
    width = 9 // max(len(shown), 1)
    layout = [
        {
            "component": "scatterplot",
            "coordinationScopes": {**shared, "embeddingType": name},
            "x": i * width,
            "y": 0,
            "w": width,
            "h": 12,
        }
        for i, name in enumerate(shown.values())
    ]
    side = [("obsSets", 6), ("featureList", 6)] if genes else [("obsSets", 12)]
    top = 0
    for component, height in side:
        place = {"x": width * len(shown), "y": top, "w": 12 - width * len(shown), "h": height}
        layout.append({"component": component, "coordinationScopes": dict(shared), **place})
        top += height
    return {
        "version": _VERSION,
        "name": f"lloki: {title}",
        "description": "Cells of lloki's joint embedding and in the tissue.",
        "datasets": [{"uid": "A", "name": title, "files": [file]}],
        "coordinationSpace": space,
        "layout": layout,
        "initStrategy": "auto",
    }


def _rgb(color: str) -> list[int]:
    return [int(v) for v in np.frombuffer(bytes.fromhex(color[1:7]), np.uint8)]
