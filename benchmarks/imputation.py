"""Accuracy of imputing genes that a slice did not measure, against their hidden truth.

    python benchmarks/imputation.py RUN TRUTH TARGET [TARGET ...] [--genes FILE.json] [--reference FILE]
        [--figure FILE.png]

RUN is a folder of `lloki integrate` on slices from which genes were removed before, TRUTH a folder with
TARGET.h5ad that still has them: the embedding did not use them. Imputes every hidden gene (or those of a JSON
list) that another slice measured, from all other slices, by each method, and prints a Markdown table: mean
and median over genes of the Spearman correlation with the truth over cells, share of genes above 0.3, R² (1 -
squared error over that of the mean, which itself has 0, and no rank correlation). The same for the genes that
pass the hold-out score (`min_score` 0.1), as `lloki.tl.impute` would return them; how far that score is from
the truth; and the share of values in their 90 % intervals. With --reference, on genes that single cells
measured too, also from their nearest cells by shared genes alone, and from slices and single cells
(`lloki.project_reference`). Writes the per-gene table beside RUN as imputation-TARGET.csv.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import lloki
from lloki.analysis import spearman_columns
from lloki.fp import log_normalize


def same_cells(full: ad.AnnData, kept: ad.AnnData) -> list[int]:
    """Rows of the cells that lie where the kept ones do: without the hidden genes, some had no count left."""
    at = {tuple(xy): i for i, xy in enumerate(np.asarray(full.obsm["spatial"], float).round(6))}
    return [at[tuple(xy)] for xy in np.asarray(kept.obsm["spatial"], float).round(6)]


def only(genes: list[str], truth: np.ndarray, known: set[str]) -> tuple[list[str], np.ndarray]:
    """Leave out genes that are not known."""
    keep = [gene in known for gene in genes]
    return [gene for gene, k in zip(genes, keep) if k], truth[:, keep]


def r_squared(truth: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    return 1 - ((truth - estimate) ** 2).mean(0) / truth.var(0).clip(1e-12)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--genes", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    joint = ad.read_h5ad(options.run / "integrated.h5ad")
    single = lloki.project_reference(options.reference, run=options.run) if options.reference else None
    columns = ("target", "method", "genes", "mean ρ", "median ρ", "ρ > 0.3", "mean R²")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    notes = []
    for target in options.targets:
        full = ad.read_h5ad(options.truth / f"{target}.h5ad")
        known = set(json.loads(options.genes.read_text())) if options.genes else set(full.var_names)
        measured = np.asarray(joint.varm["lloki_measured"])
        at = list(joint.uns["lloki"]["slices"]).index(target)
        others = np.delete(measured, at, axis=1).any(axis=1)
        hidden = sorted(known & set(joint.var_names[others & ~measured[:, at]]) & set(full.var_names))
        full = full[same_cells(full, joint[joint.obs["slice"] == target])]
        truth = log_normalize(full.X).toarray()[:, full.var_names.get_indexer(hidden)]
        varies = truth.std(0) > 0
        hidden, truth = [g for g, v in zip(hidden, varies) if v], truth[:, varies]
        table = pd.DataFrame(index=hidden)
        ways = {name: {"method": name} for name in ("combined", "neighbors", "ridge")}
        if single is not None:
            hidden, truth = only(hidden, truth, set(single.var_names))
            table = pd.DataFrame(index=hidden)
            ways["reference"] = {"method": "reference", "reference": single}
            ways["combined, with reference"] = {"reference": single}
        for key, how in ways.items():
            found = lloki.tl.impute(joint, target, genes=hidden, min_score=None, run=options.run, **how)
            rho = np.nan_to_num(spearman_columns(truth, found.X))
            r2 = r_squared(truth, found.X)
            table[f"{key}_rho"], table[f"{key}_r2"] = rho, r2
            rows = {key: np.ones(len(hidden), bool)}
            if key == "combined":
                score = found.var["score"].to_numpy()
                rows["combined, passed"] = score >= 0.1
                table["score"], table["validated"] = score, found.var["validated"]
                tried = np.isfinite(score)
                inside = (truth >= found.layers["lower"]) & (truth <= found.layers["upper"])
                agree = spearmanr(score[tried], rho[tried]).statistic
                notes.append(
                    f"{target}: predicted score {score[tried].mean():.3f}, true {rho[tried].mean():.3f}; "
                    f"Spearman over genes {agree:.2f}; in their interval: {inside[:, tried].mean():.1%}."
                )
                if options.figure:
                    gene = hidden[int(np.argmax(rho))]
                    lloki.pl.imputed(found, gene, truth=truth[:, hidden.index(gene)], save=options.figure)
                    options.figure = None
            for name, keep in rows.items():
                scores = (rho[keep].mean(), np.median(rho[keep]), (rho[keep] > 0.3).mean(), r2[keep].mean())
                print(f"| {target} | {name} | {keep.sum()} | {' | '.join(f'{v:.3f}' for v in scores)} |")
        table.to_csv(options.run.parent / f"imputation-{target}.csv")
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
