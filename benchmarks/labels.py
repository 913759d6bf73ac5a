"""Effect of training with the labels of one slice on the other slices.

    python benchmarks/labels.py TASK SLICE OUT [--labels cell_type] [--seeds N] [--steps N]

TASK holds slices and reference.h5ad. Integrates them without labels, and with the labels of SLICE (the name
of a file, without .h5ad) only; OUT keeps both. Prints a Markdown table: accuracy and macro-F1 of label
transfer from SLICE to each other slice with labels, by 15 nearest neighbors (cosine), the
mean over these slices; and the mixing of `lloki.evaluate`.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from anndata import AnnData
from sklearn.metrics import f1_score

import lloki
from lloki.evaluate import quality
from lloki.evaluate.transfer import nearest_label


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def carried(joint: AnnData, source: str, key: str) -> tuple[float, float]:
    slices, column = joint.obs["slice"].astype(str).to_numpy(), joint.obs[key]
    labels, z, scores = np.where(column.isna(), "", column.astype(str)), unit(joint.obsm["X_lloki"]), []
    for name in sorted(set(slices) - {source}):
        here, there = slices == source, slices == name
        kinds = np.intersect1d(labels[here], labels[there])
        kinds = kinds[kinds != ""]
        given, asked = here & np.isin(labels, kinds), there & np.isin(labels, kinds)
        if asked.sum() < 20:
            continue
        predicted = kinds[
            nearest_label(z[asked], z[given], np.searchsorted(kinds, labels[given]), n_neighbors=15)
        ]
        scores.append(
            ((predicted == labels[asked]).mean(), f1_score(labels[asked], predicted, average="macro"))
        )
    accuracy, f1 = np.mean(scores, axis=0)
    return float(accuracy), float(f1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", type=Path)
    parser.add_argument("slice")
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    files = sorted(f for f in options.task.glob("*.h5ad") if f.stem != "reference")
    print("| task | labels seen | transfer acc | macro-F1 | mixing |\n|---|---|---|---|---|")
    for name, seen in (
        ("none", {}),
        (options.slice, {"train_labels": options.labels, "train_label_slices": (options.slice,)}),
    ):
        rows = []
        for seed in range(options.seeds):
            joint = lloki.integrate(
                files,
                reference=options.task / "reference.h5ad",
                out=options.out / f"{options.task.name}-{seed}",
                seed=seed,
                cae={"steps": options.steps} if options.steps else {},
                **seen,
            ).adata
            slices, tokens = (joint.obs[c].astype(str).to_numpy() for c in ("slice", "lloki_token"))
            table = quality(joint.obsm["X_lloki_fp"], joint.obsm["X_lloki"], slices=slices, tokens=tokens)
            rows.append((*carried(joint, options.slice, options.labels), table["mixing"].iloc[-1]))
        spread = np.std(rows, axis=0, ddof=1) if len(rows) > 1 else [None] * 3
        cells = [
            f"{mean:.3f}" + ("" if sd is None else f" ± {sd:.3f}")
            for mean, sd in zip(np.mean(rows, axis=0), spread)
        ]
        print(f"| {options.task.name} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
