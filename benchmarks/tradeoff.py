"""Mixing against biology: the joint embedding by the weight of the triplet loss, beside other methods.

    python benchmarks/tradeoff.py OUT.png RUN [RUN ...] [--triplet 0 3 10 30] [--methods NAME ...]

RUN is a folder of `lloki integrate` on labeled slices, as `integration.py` leaves them (OUT/TASK/run). The
autoencoder is trained again on its ``X_lloki_fp`` for every weight, with and without the shifts toward mutual
neighbors, the other settings by default; all are scored by `lloki benchmark` together with other methods.
Nothing is chosen by these scores. Prints a Markdown table and draws one panel a run. Embeddings and scores
are written beside RUN, into ``tradeoff``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lloki import keys
from lloki.benchmark import METHODS, Benchmark, benchmark
from lloki.cae import CAEConfig, train

PEERS = ("mofa-harmony", "stabmap-harmony", "embedder-harmony", "reference-ridge-harmony")
CURVES = {"default": CAEConfig().mnn_rounds, "no shifts": 0}


def column(curve: str, triplet: float) -> str:
    return f"{curve}, triplet {triplet:g}"


def trained(run: Path, weights: Sequence[float]) -> Path:
    """Write the joint embedding of every weight and curve into one file."""
    file = run.parent / "tradeoff" / "embeddings.h5ad"
    adata = ad.read_h5ad(run / "integrated.h5ad")
    slices = adata.obs[keys.SLICE].astype(str).to_numpy()
    tokens = adata.obs[keys.TOKEN].astype(str).to_numpy()
    rows = {name: adata.obsm[keys.FP][slices == name] for name in np.unique(slices)}
    batches = {name: tokens[slices == name][0] for name in rows}
    made = ad.AnnData(obs=adata.obs[[]])
    for curve, rounds in CURVES.items():
        for weight in weights:
            model = train(rows, batches, config=CAEConfig(triplet=weight, mnn_rounds=rounds))
            joint = np.zeros((len(slices), CAEConfig().latent), np.float32)
            for one, x in rows.items():
                joint[slices == one] = model.giving("latent").encode(x, batches[one])
            made.obsm[column(curve, weight)] = joint
    file.parent.mkdir(exist_ok=True)
    made.write_h5ad(file)
    return file


def draw(ax: Axes, task: str, table: pd.DataFrame, weights: Sequence[float]) -> None:
    of = table.set_index("method")
    for curve, color in zip(CURVES, ("C0", "C2")):
        points = of.loc[[column(curve, w) for w in weights], ["batch", "bio"]].to_numpy()
        ax.plot(*points.T, "-o", color=color, ms=4, label=f"LLOKI, {curve}, by weight of the triplet loss")
        for w, at in zip(weights, points):
            ax.annotate(f"{w:g}", at, textcoords="offset points", xytext=(4, 4), fontsize=7, color=color)
    first = {column(curve, w) for curve in CURVES for w in weights}
    for i, (name, row) in enumerate(of[~of.index.isin(first)].iterrows()):
        ax.plot(row["batch"], row["bio"], "s^vDPX*"[i % 7], color=f"C{i + 3}", ms=6, label=str(name))
    ax.margins(0.08)
    ax.set(title=task, xlabel="batch (mixing)", ylabel="bio")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--triplet", type=float, nargs="+", default=[0, 3, 10, 30])
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(PEERS))
    options = parser.parse_args()
    figure = Figure(figsize=(4.2 * len(options.runs), 4.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(options.runs), squeeze=False)[0]
    wanted = [column(curve, w) for curve in CURVES for w in options.triplet]
    print(
        "| task | embedding | transfer acc | macro-F1 | bio | batch | total |\n|---|---|---|---|---|---|---|"
    )
    for ax, run in zip(axes, options.runs):
        file = trained(run, options.triplet)
        judged: Benchmark = benchmark(
            [run, file], out=file.parent / "benchmark", methods=[*options.methods, *wanted], umap=False
        )
        for _, row in judged.methods.iterrows():
            scores = (row[c] for c in ("transfer_accuracy", "transfer_macro_f1", "bio", "batch", "total"))
            line = " | ".join(f"{v:.3f}" for v in scores)
            print(f"| {run.parent.name} | {row['method']} | {line} |", flush=True)
        draw(ax, run.parent.name, judged.methods, options.triplet)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
