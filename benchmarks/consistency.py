"""Agreement of gene programs between platforms: the paper's three-way comparison, on finished runs.

    python benchmarks/consistency.py OUT RUN... [--labels cell_type] [--iterations N]
        [--regularization X] [--device NAME]

RUN is a folder of lloki integrate. Gene programs are found (1) jointly on X_lloki, (2) jointly on the genes
that all slices measured, (3) in each slice by itself on its own genes, metagenes then matched to those of the
slice with most labeled types by optimal assignment. Prints a Markdown table: mean correlation of type
profiles over pairs of labeled slices, and Moran's I over metagenes and slices. Draws figures into OUT/NAME.
K is 15, or the number of genes where there are fewer.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import lloki
from lloki import keys
from lloki.analysis import (
    by_maximum,
    consistency,
    enrichment,
    gene_loadings,
    match_metagenes,
    moran,
    spatial_neighbors,
    top_genes,
)
from lloki.fp import log_normalize
from lloki.pl._curves import moran_boxes
from lloki.pl._heatmaps import enrichment_maps, enrichment_size


def tables(states: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Enrichment of every slice that has labels."""
    found = {}
    for name, x in states.items():
        try:
            found[name] = enrichment(x, labels[name])
        except lloki.errors.InputError:
            continue
    return found


def matched(found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Metagenes of separate fits in the order of the slice with most types."""
    fixed = max(found.values(), key=len)
    out = {}
    for name, table in found.items():
        order = match_metagenes(fixed, table)
        out[name] = table.iloc[:, order].set_axis(range(len(order)), axis=1)
    return out


def measured(joint: ad.AnnData, name: str) -> list[str]:
    column = list(joint.uns["lloki"]["slices"]).index(name)
    return list(joint.var_names[joint.varm[keys.MEASURED][:, column]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--regularization", type=float, default=1e-4)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| task | way | K | type profiles, r | Moran's I, median | least | CPU s |\n" + "|---" * 7 + "|")
    for run in options.runs:
        joint = ad.read_h5ad(run / "integrated.h5ad")
        task = run.parent.name if run.name == "run" else run.name
        names = list(dict.fromkeys(joint.obs[keys.SLICE].astype(str)))
        rows = {n: np.flatnonzero((joint.obs[keys.SLICE].astype(str) == n).to_numpy()) for n in names}
        labels = {n: joint.obs[options.labels].astype(object).to_numpy()[r] for n, r in rows.items()}
        graphs = {n: spatial_neighbors(joint.obsm["spatial"][r]) for n, r in rows.items()}
        shared = int(joint.varm[keys.MEASURED].all(1).sum())
        given = {"iterations": options.iterations, "regularization": options.regularization}
        given["device"] = options.device
        morans: dict[str, dict[str, np.ndarray]] = {}
        for way in ("joint, X_lloki", "joint, shared genes", "each slice, own genes"):
            begin, k, states = time.process_time(), 15, {}
            if way == "each slice, own genes":
                for n in names:
                    one = joint[rows[n]].copy()
                    lloki.tl.metagenes(one, use_rep=None, genes=measured(joint, n), n_metagenes=k, **given)
                    states[n] = one.obsm[keys.METAGENES]
                found = matched(tables(states, labels))
            else:
                k = k if way == "joint, X_lloki" else min(k, shared)
                use_rep = "X_lloki" if way == "joint, X_lloki" else None
                lloki.tl.metagenes(joint, use_rep=use_rep, n_metagenes=k, **given)
                states = {n: joint.obsm[keys.METAGENES][r] for n, r in rows.items()}
                found = tables(states, labels)
            morans[way] = {n: moran(x, graphs[n]) for n, x in states.items()}
            every = np.concatenate(list(morans[way].values()))
            agreement = consistency(list(found.values()))
            took = time.process_time() - begin
            print(
                f"| {task} | {way} ({shared if 'shared' in way else '–'}) | {k} | {agreement:.3f} "
                f"| {np.nanmedian(every):.3f} | {np.nanmin(every):.3f} | {took:.0f} |",
                flush=True,
            )
            folder = options.out / task
            folder.mkdir(parents=True, exist_ok=True)
            order = by_maximum(next(iter(found.values())))
            name = way.replace(", ", "-").replace(" ", "-")
            figure = Figure(figsize=enrichment_size(found), layout="constrained")
            enrichment_maps(figure, found, order)
            figure.savefig(folder / f"enrichment-{name}.png", dpi=130)
            if way == "joint, X_lloki":
                best = order[0]
                lloki.pl.metagene(joint, best + 1, save=folder / "metagene.png")
                for n, r in rows.items():
                    genes = measured(joint, n)
                    x = log_normalize(joint[r, genes].X)
                    tops = top_genes(gene_loadings(x, states[n], genes), n_genes=5)
                    print(f"<!-- {n}: metagene {best + 1}: {', '.join(tops[best])} -->", flush=True)
        figure = Figure(figsize=(1.5 + 2 * len(rows), 3.2), layout="constrained")
        moran_boxes(figure.add_subplot(), morans)
        figure.savefig(folder / "moran.png", dpi=130)


if __name__ == "__main__":
    main()
