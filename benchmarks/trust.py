"""Degrades the embedding of a finished run in known ways and prints the verdict of the report on each.

    python benchmarks/trust.py RUN [--label-key KEY]

RUN is a folder of `lloki integrate` whose slices have labels. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
from numpy.typing import NDArray

from lloki import keys
from lloki.evaluate import quality
from lloki.evaluate.verdict import judge

COLUMNS = ("mixing", "preservation", "dimensions", "types_kept", "like_with_like", "transfer_accuracy")


def spoilt(x: NDArray, slices: NDArray, labels: NDArray, seed: int = 0) -> Iterator[tuple[str, NDArray]]:
    """Yield names and embeddings that are wrong in one way each."""
    rng = np.random.default_rng(seed)
    yield "as it is", x
    u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    yield "squeezed into one direction", x.mean(0) + u[:, :1] * s[0] * v[:1]
    apart = x.copy()
    for i, name in enumerate(np.unique(slices)):
        apart[slices == name, i] += 3 * x.std(0).max()
    yield "slices pulled apart", apart
    for size in (1, 2):
        yield f"noise, {size} x the spread", x + size * x.std() * rng.normal(size=x.shape)
    shuffled = x.copy()
    for name in np.unique(slices):
        rows = np.flatnonzero(slices == name)
        shuffled[rows] = x[rng.permutation(rows)]
    yield "cells shuffled within slices", shuffled
    kinds = [t for t in np.unique(labels[labels != ""]) if np.sum(labels == t) > 0.01 * len(x)]
    center = {t: x[labels == t].mean(0) for t in kinds}
    pull = np.stack([center.get(t, x.mean(0)) - x.mean(0) for t in labels])
    yield "types drawn together by 3/4", x - 0.75 * pull
    swapped = x.copy()
    for name in np.unique(slices)[: len(np.unique(slices)) // 2]:
        for one, other in zip(kinds, kinds[1:] + kinds[:1]):
            swapped[(slices == name) & (labels == one)] += center[other] - center[one]
    yield "types of half the slices swapped", swapped


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--label-key", default="cell_type")
    options = parser.parse_args()
    joint = ad.read_h5ad(options.run / "integrated.h5ad")
    slices, tokens = (joint.obs[k].astype(str).to_numpy() for k in (keys.SLICE, keys.TOKEN))
    column = joint.obs[options.label_key]
    labels = np.where(column.isna(), "", column.astype(str)).astype(str)
    x, before = np.asarray(joint.obsm[keys.JOINT]), np.asarray(joint.obsm[keys.FP])
    print(f"| embedding | {' | '.join(COLUMNS)} | verdict |\n{'|---' * (len(COLUMNS) + 2)}|")
    for name, y in spoilt(x, slices, labels):
        table = quality(before, y.astype(np.float32), slices=slices, tokens=tokens, labels=labels)
        figures = table.iloc[-1].drop(["embedding", "cells"]).to_dict()
        shown = ["–" if np.isnan(figures[c]) else f"{figures[c]:.2f}" for c in COLUMNS]
        print(f"| {name} | {' | '.join(shown)} | {judge(figures).word} |", flush=True)


if __name__ == "__main__":
    main()
