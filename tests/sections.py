"""Sections of one made-up tissue in one AnnData, turned and shifted, with their true positions."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from lloki import keys
from lloki.align import Rigid

QUICK = {"rotation_step": 6, "pixels": 40, "fine_pixels": 80}
TURNS = {"a": (0.0, (0, 0)), "b": (70.0, (4000, 100)), "c": (-125.0, (-900, 300))}


def rigid(degrees: float, shift: tuple[float, float]) -> Rigid:
    return Rigid.make(degrees, shift)


def joint(names: str = "abc", cells: int = 700) -> ad.AnnData:
    """Sections of one tissue in one AnnData, rows of slices mixed; the true positions in obsm."""
    waves = np.random.default_rng(7)
    frequency, phase = waves.normal(0, 0.02, (6, 2)), waves.uniform(0, 6, 6)
    parts = []
    for i, name in enumerate(names):
        rng = np.random.default_rng(i)
        xy = rng.uniform(0, 1, (cells, 2)) * (700, 500)
        x = np.sin(xy @ frequency.T + phase) + rng.normal(0, 0.6, (cells, 6))
        part = ad.AnnData(
            np.zeros((cells, 1), np.float32), obs=pd.DataFrame(index=[f"{name}{k}" for k in range(cells)])
        )
        part.obs["slice"] = name
        part.obs["depth"] = 10.0 * i
        part.obsm.update({keys.JOINT: x, keys.SPATIAL: rigid(*TURNS[name]).apply(xy), "true": xy})
        parts.append(part)
    whole = ad.concat(parts)
    return whole[np.random.default_rng(9).permutation(whole.n_obs)].copy()


def error(adata: ad.AnnData, name: str, aligned: np.ndarray, frame: str = "a") -> float:
    rows = (adata.obs["slice"] == name).to_numpy()
    truth = rigid(*TURNS[frame]).apply(adata.obsm["true"][rows])
    return float(np.sqrt(((aligned[rows, :2] - truth) ** 2).sum(1).mean()))
