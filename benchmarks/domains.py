"""Agreement of spatial domains with cortical layers, on every platform.

    python benchmarks/domains.py OUT RUN... [--labels cell_type] [--layers "Ex L"] [--number N]
        [--column SLICE=FILE=COLUMN]

RUN is a folder of lloki integrate. Prints a Markdown table for every slice with labels: ARI and NMI of the
domains against the types whose names begin with --layers (all types where none does), on cells of those
types, compared with as many k-means clusters of the cells' own embedding. --column adds layers that FILE, the
slice's own with its cells in the same order, has in an obs column: all cells with a value are scored. Draws
the domains into OUT.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import lloki
from lloki import keys


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--layers", default="Ex L")
    parser.add_argument("--number", type=int)
    parser.add_argument("--column")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    print("| task | slice | cells | way | domains | ARI | NMI |\n|---|---|---|---|---|---|---|")
    for run in options.runs:
        joint = ad.read_h5ad(run / "integrated.h5ad")
        task = run.parent.name if run.name == "run" else run.name
        slices = joint.obs[keys.SLICE].astype(str).to_numpy()
        types = joint.obs[options.labels].astype(object)
        types = types.where(types.notna(), "").astype(str).to_numpy()
        layered = np.array([t.startswith(options.layers) for t in types])
        scored = layered if layered.any() else types != ""
        ways = {}
        for method in ("mixture", "leiden"):
            found = lloki.tl.domains(joint, method=method, n_domains=options.number)
            ways[method] = joint.obs[keys.DOMAIN].astype(str).to_numpy()
            lloki.pl.domains(joint, save=options.out / f"{task}-{method}.png")
            if found.stability is None:
                continue
            stability = {int(k): round(float(v), 3) for k, v in found.stability.items()}
            print(f"<!-- {task}, {method}: stability {stability} -->", flush=True)
        number = len(set(ways["mixture"]))
        ways["no neighborhood"] = KMeans(number, n_init=4, random_state=0).fit_predict(joint.obsm["X_lloki"])
        truths = [(name, "types", types, scored & (slices == name)) for name in dict.fromkeys(slices)]
        if options.column:
            name, file, column = options.column.split("=")
            layers = np.full(len(types), "", object)
            own = ad.read_h5ad(file, backed="r").obs[column].astype(object)
            layers[slices == name] = own.where(own.notna(), "").astype(str)
            truths.append((name, column, layers, layers != ""))
        for name, kind, truth, here in truths:
            if here.sum() < 50:
                continue
            for way, labels in ways.items():
                ari = adjusted_rand_score(truth[here], labels[here])
                nmi = normalized_mutual_info_score(truth[here], labels[here])
                print(
                    f"| {task} | {name}, {kind} | {here.sum():,} | {way} | {len(set(labels))} |",
                    f"{ari:.3f} | {nmi:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
