"""Fits the confidence that label transfer uses where no left-out source shows what a step costs.

    python benchmarks/widening.py RUN [RUN ...] [--labels cell_type]

RUN is a folder of `lloki integrate`. Labels are transferred from each slice to each other slice of a run by
the average of the heads, and a logistic curve P(correct) = σ(a + b logit p) is fitted to all cells; each run
has the same weight. Prints, for each run, the expected calibration error of a curve that was fitted to the
other runs (mean and largest over pairs), and the curve of all: `lloki.analysis.Widening`.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

import lloki
from lloki.analysis import Widening, expected_error, reliability

Pair = tuple[np.ndarray, np.ndarray]  # logit of p, and whether the prediction was correct


def pairs(run: Path, labels: str) -> list[Pair]:
    adata = ad.read_h5ad(run / "integrated.h5ad")
    known, slices = adata.obs[labels].notna().to_numpy(), adata.obs["slice"].astype(str).to_numpy()
    names, found = np.unique(slices[known]), []
    for source in names:
        lloki.tl.transfer_labels(adata, label_key=labels, sources=source, method="average")
        best = adata.obs["lloki_label_best"].astype(str) == adata.obs[labels].astype(str)
        # the confidence is Widening's: back to the probability of the average
        z = logit(np.clip(adata.obs["lloki_label_confidence"].to_numpy(), 1e-6, 1 - 1e-6))
        z = (z - Widening.intercept) / Widening.slope
        for target in names[names != source]:
            own = (slices == target) & known
            found.append((z[own], best.to_numpy()[own]))
    return found


def fit(runs: list[list[Pair]]) -> np.ndarray:
    def loss(b: np.ndarray) -> float:
        each = [
            [np.mean(np.logaddexp(0, b[0] + b[1] * z) - y * (b[0] + b[1] * z)) for z, y in run]
            for run in runs
        ]
        return float(np.mean([np.mean(run) for run in each]))

    return minimize(loss, np.array([0.0, 1.0])).x


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--labels", default="cell_type")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    runs = [pairs(run, options.labels) for run in options.runs]
    print("| run | pairs | mean ECE | largest ECE |\n|---|---|---|---|")
    for i, run in enumerate(options.runs):
        rest = runs[:i] + runs[i + 1 :]
        a, b = fit(rest) if rest else (Widening.intercept, Widening.slope)
        errors = [expected_error(reliability(expit(a + b * z), y)) for z, y in runs[i]]
        name = run.parent.name if run.name == "run" else run.name
        print(f"| {name} | {len(errors)} | {np.mean(errors):.3f} | {max(errors):.3f} |")
    a, b = fit(runs)
    print(f"\nintercept {a:.2f}, slope {b:.2f}")


if __name__ == "__main__":
    main()
