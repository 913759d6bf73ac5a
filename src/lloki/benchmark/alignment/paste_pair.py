"""Aligns two slices with PASTE; run by the Python of an environment that has it, never imported by lloki.

    python -m venv paste && paste/bin/pip install paste-bio "POT==0.9.4"
    paste/bin/python paste_pair.py IN.npz OUT.npz

IN holds fixed_counts (n, g), fixed_xy (n, 2), moving_counts, moving_xy, and alphas (a,). OUT gets, for each
alpha, rotations (a, 2, 2) and translations (a, 2), moving to fixed frame, and PASTE's seconds; and the peak
memory of the process in GB. PASTE holds several cells x cells matrices: pass a few thousand cells.
"""

from __future__ import annotations

import resource
import sys
import time

import anndata as ad
import numpy as np
import paste


def main(given: str, out: str) -> None:
    data = np.load(given)
    slices = []
    for name in ("fixed", "moving"):
        adata = ad.AnnData(data[f"{name}_counts"].astype(np.float64))
        adata.obsm["spatial"] = data[f"{name}_xy"]
        adata.var_names = [f"g{i}" for i in range(adata.n_vars)]
        slices.append(adata)
    rotations, translations, seconds = [], [], []
    for alpha in data["alphas"]:
        start = time.perf_counter()
        plan = paste.pairwise_align(*slices, alpha=float(alpha))
        _, _, rotation, fixed_mean, moving_mean = paste.visualization.generalized_procrustes_analysis(
            slices[0].obsm["spatial"], slices[1].obsm["spatial"], plan, output_params=True, matrix=True
        )
        seconds.append(time.perf_counter() - start)
        rotations.append(rotation)
        translations.append(fixed_mean - rotation @ moving_mean)
    np.savez(
        out,
        rotations=rotations,
        translations=translations,
        seconds=seconds,
        peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1e9 if sys.platform == "darwin" else 1e6),
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
