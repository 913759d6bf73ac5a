"""Neighborhood programs: recovery of planted programs, false positives, and the result for one pair of types.

    python benchmarks/neighborhood.py planted OUT [--seeds N] [--steps N] [--preset NAME]
        [--figure FILE.png]
    python benchmarks/neighborhood.py real RUN FOCAL NEIGHBOR [--labels cell_type]

`planted` makes tumors of three panels (`lloki.datasets.tumor`), with a program in T cells among malignant
cells and without, runs `lloki.integrate` on each, keeps the runs in OUT, and prints a Markdown table: whether
a program was found, precision and recall of its genes (up and down counted separately; recall over the genes
of the panels), correlation of the score with the neighbor share over all T cells, the p-values under shuffled
positions, and the mean number of genes found with shuffled positions. `real` runs the analysis on a finished
run and prints the verdict, the genes, and the correlations.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad

import lloki
from lloki.cae import CAEConfig


def planted(out: Path, seeds: int, steps: int, preset: str, figure: Path | None) -> None:
    heads = (
        "seed",
        "planted",
        "found",
        "genes",
        "precision",
        "recall",
        "spearman",
        "p",
        "contrast p",
        "null genes",
    )
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|", flush=True)
    for seed in range(seeds):
        for strength in (1.0, 0.0):
            made = lloki.datasets.tumor(strength=strength, seed=seed)
            run = lloki.integrate(
                made.slices,
                reference=made.reference,
                out=out / f"{seed}-{strength:g}",
                samples=[s.uns["name"] for s in made.slices],
                cae=CAEConfig.preset(preset, steps=steps).to_dict(),
                benchmark="none",
            )
            joint = run.adata
            found = lloki.tl.neighborhood_program(
                joint, focal="T cell", neighbor="malignant", label_key="cell_type"
            )
            there = {g for s in made.slices for g in s.var_names}
            truth = {(g, "up") for g in made.up if g in there} | {
                (g, "down") for g in made.down if g in there
            }
            genes = {(g, "up") for g in found.up} | {(g, "down") for g in found.down}
            pooled = found.correlations.iloc[-1]
            right = len(genes & truth) if strength else 0
            scores = (
                f"{right / len(genes):.2f}" if genes else "–",
                f"{right / len(truth):.2f}" if strength else "–",
                f"{pooled['spearman']:.2f}",
                f"{pooled['p']:.3f}",
                f"{found.contrast_p:.3f}",
                f"{found.null_genes:.2f}",
            )
            row = (seed, "yes" if strength else "no", "yes" if found.found else "no", len(genes), *scores)
            print(f"| {' | '.join(map(str, row))} |", flush=True)
            if figure is not None and strength:
                lloki.pl.neighborhood_program(joint, save=figure)
                figure = None


def real(run: Path, focal: str, neighbor: str, labels: str) -> None:
    joint = ad.read_h5ad(run / "integrated.h5ad")
    found = lloki.tl.neighborhood_program(joint, focal=focal, neighbor=neighbor, label_key=labels)
    print(f"found: {found.found}. {found.reason}\nup: {', '.join(found.up)}\ndown: {', '.join(found.down)}\n")
    print(f"genes that shuffled positions gave on average: {found.null_genes:.2f}\n")
    print(found.correlations.round(3).to_string(index=False), "\n")
    print(found.genes[found.genes["direction"] != ""].round(3).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    made = kinds.add_parser("planted")
    made.add_argument("out", type=Path)
    made.add_argument("--seeds", type=int, default=1)
    made.add_argument("--steps", type=int, default=1000)
    made.add_argument("--preset", default="default", help="of CAEConfig, such as ovarian")
    made.add_argument("--figure", type=Path)
    there = kinds.add_parser("real")
    there.add_argument("run", type=Path)
    there.add_argument("focal")
    there.add_argument("neighbor")
    there.add_argument("--labels", default="cell_type")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.kind == "planted":
        planted(options.out, options.seeds, options.steps, options.preset, options.figure)
    else:
        real(options.run, options.focal, options.neighbor, options.labels)


if __name__ == "__main__":
    main()
