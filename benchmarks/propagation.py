"""What propagation adds where counts are few: label transfer on thinned slices.

    python benchmarks/propagation.py TASKS [--task NAME ...] [--thin SHARE ...] [--seeds N]

TASKS holds one folder per task: slices (.h5ad) and reference.h5ad. The counts of every slice are thinned
binomially to each share, and the cells that keep none are left out. Prints a Markdown table of label transfer
between slices (accuracy and macro-F1, the mean over pairs), with the factor model and no autoencoder, for:

off      neither expression nor embedding propagated
default  Eq 5 alone with alpha 0.3, and the embedding by a share that each slice's genes choose
Eq 5     Eq 5 alone with alpha 0.3, embedding as it is
latent   expression as it is, and the embedding by a share that each slice's genes choose
paper    LLOKI-FP as in the paper (preset `paper`), embedding as it is

*Rare recall* is the mean recall of the types that make up less than 2 % of a pair's second slice, and
*chosen* the shares of neighbors in the slices.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse

from composition import Part, Rows, embed, part, propagate
from lloki.evaluate.transfer import nearest_label
from lloki.fp import FPConfig, align_features, log_normalize, reference_sparsity

NEIGHBORS = 15
RARE = 0.02
METHODS = ("off", "default", "Eq 5", "latent", "paper")


def thinned(whole: Part, share: float, rng: np.random.Generator) -> Part:
    """Keep each count with probability ``share``, and cells with counts."""
    if share == 1:
        return whole
    counts = whole.counts.copy()
    counts.data = rng.binomial(np.round(counts.data).astype(int), share).astype(np.float32)
    counts.eliminate_zeros()
    return replace(whole, counts=counts).keep(np.diff(counts.indptr) > 0)


def denoised(reference: ad.AnnData, config: FPConfig) -> Callable[[Part], sparse.csr_matrix]:
    """Return what prepares a slice: LLOKI-FP towards the reference's sparsity."""
    counts, genes = sparse.csr_matrix(reference.X), list(reference.var_names)

    def prepare(p: Part) -> sparse.csr_matrix:
        sparsity = reference_sparsity(counts, genes, p.genes, mode=config.reference_genes)
        return align_features(p.counts, p.coords, sparsity, config=config).expression

    return prepare


def score(rows: Rows, parts: Mapping[str, Part]) -> np.ndarray:
    """Accuracy and macro-F1, as `lloki.evaluate.transfer_accuracy` has them, and recall of rare types."""
    scores, rare = [], []
    for source, target in permutations(sorted(parts), 2):
        given, asked = parts[source].types, parts[target].types
        common = np.intersect1d(given[given != ""], asked[asked != ""])
        a, b = np.isin(given, common), np.isin(asked, common)
        if min(a.sum(), b.sum()) <= NEIGHBORS:
            continue
        truth = np.searchsorted(common, asked[b])
        votes = np.searchsorted(common, given[a])
        found = nearest_label(rows[target][b], rows[source][a], votes, n_neighbors=NEIGHBORS)
        hits, size = (np.bincount(x, minlength=len(common)) for x in (truth[found == truth], truth))
        f1 = 2 * hits / (size + np.bincount(found, minlength=len(common)))
        scores.append((np.mean(found == truth), f1.mean()))
        few = size < RARE * len(truth)
        rare += list(hits[few] / size[few])
    return np.array([*np.mean(scores, axis=0), np.mean(rare) if rare else np.nan])


def compare(
    parts: Mapping[str, Part], reference: ad.AnnData
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Score all methods on the slices of a task, and give the chosen shares."""
    plain, averaged = (
        embed(parts, reference, prepare=lambda p: log_normalize(p.counts)),
        embed(parts, reference),
    )
    rows, chosen = propagate(parts, averaged)
    paper = embed(parts, reference, prepare=denoised(reference, FPConfig.preset("paper")))
    found = (plain.rows, rows, averaged.rows, propagate(parts, plain)[0], paper.rows)
    return {name: score(each, parts) for name, each in zip(METHODS, found, strict=True)}, chosen


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--task", nargs="+")
    parser.add_argument("--thin", nargs="+", type=float, default=[1.0, 0.3, 0.1])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    folders = [t for t in sorted(options.tasks.iterdir()) if (t / "reference.h5ad").exists()]
    print("| task | counts | method | accuracy | macro-F1 | rare recall | chosen |")
    print("|---" * 7 + "|", flush=True)
    for folder in folders:
        if options.task and folder.name not in options.task:
            continue
        files = sorted(f for f in folder.glob("*.h5ad") if f.stem != "reference")
        slices = {f.stem: ad.read_h5ad(f) for f in files}
        whole = {name: part(a) for name, a in slices.items()}
        reference = ad.read_h5ad(folder / "reference.h5ad")
        for share in options.thin:
            found, chosen = [], []
            for seed in range(options.seeds):
                rng = np.random.default_rng(seed)
                made = compare({name: thinned(p, share, rng) for name, p in whole.items()}, reference)
                found.append(made[0])
                chosen.append(made[1])
            for method in METHODS:
                mean = np.mean([scores[method] for scores in found], axis=0)
                shares = sorted({f"{v:.1f}" for one in chosen for v in one.values()})
                named = [f"{folder.name} | {share:.0%} | {method}", *(f"{v:.3f}" for v in mean)]
                last = ", ".join(shares) if method == "default" else ""
                print(f"| {' | '.join(named)} | {last} |", flush=True)


if __name__ == "__main__":
    main()
