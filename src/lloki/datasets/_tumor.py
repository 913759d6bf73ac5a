"""A made-up tumor seen by made-up platforms: T cells that change their expression among malignant cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from lloki import keys
from lloki.errors import ConfigError

KINDS = ("malignant", "T cell", "macrophage", "fibroblast", "endothelial")
_INSIDE = np.array([0.70, 0.10, 0.10, 0.06, 0.04])  # shares of the types in nests of the tumor
_OUTSIDE = np.array([0.04, 0.28, 0.18, 0.38, 0.12])  # and between them
_MARKERS = 12  # genes of each type
_SPACING = 12.0  # µm between cells


@dataclass(frozen=True)
class Tumor:
    """Sections of a tumor, with what was planted in them."""

    slices: list[ad.AnnData]
    """One per panel, raw counts in ``X``, ``obs["cell_type"]``, ``obsm["spatial"]``."""
    reference: ad.AnnData
    """Dissociated cells of the same types, all genes."""
    up: tuple[str, ...]
    """Genes of T cells that rise among malignant cells."""
    down: tuple[str, ...]
    """Genes of T cells that fall."""


def tumor(
    *,
    n_cells: int = 2000,
    panels: Sequence[int] = (110, 130, 150),
    strength: float = 1.0,
    n_genes: int = 240,
    counts: float = 120.0,
    n_program: int = 10,
    n_reference: int = 2000,
    seed: int = 0,
) -> Tumor:
    r"""Make sections of a tumor in which T cells among malignant cells express a program.

    Nests of malignant cells lie in stroma. A T cell's rate of each program gene is multiplied by
    :math:`\exp(\pm 1.5\, s\, a)`, s being ``strength`` and a the share of malignant cells among its 30
    nearest. Program genes are T cell genes, so that only T cells show it.

    Parameters
    ----------
    n_cells
        Cells of a section.
    panels
        Genes of each section's panel: half of each type's markers are in all, the program's genes in each
        with a chance of three in four, the rest at random.
    strength
        Strength of the program; 0 plants none.
    n_genes
        Genes there are.
    counts
        Mean transcripts of a cell in a section.
    n_program
        Genes up, and as many down.
    n_reference
        Cells of the reference.
    seed
        Random seed.

    Raises
    ------
    ConfigError
        If panels are too small for markers and program, or larger than the genome.
    """
    least = len(KINDS) * _MARKERS // 2 + 2 * n_program
    if not panels or min(panels) < least or max(panels) > n_genes or strength < 0 or n_cells < 50:
        raise ConfigError(f"panels must have {least} to {n_genes} genes, n_cells be 50, strength 0 or more.")
    rng = np.random.default_rng(seed)
    genes = np.array([f"Gene{i:03d}" for i in range(n_genes)])
    log_rate = np.tile(rng.normal(-0.5, 0.8, n_genes), (len(KINDS), 1)) + rng.normal(
        0, 0.2, (len(KINDS), n_genes)
    )
    markers = rng.permutation(n_genes - 2 * n_program)[: len(KINDS) * _MARKERS].reshape(len(KINDS), _MARKERS)
    for t, own in enumerate(markers):
        log_rate[:, own] -= 1.5
        log_rate[t, own] += rng.uniform(2, 3.5, _MARKERS)
    program = np.arange(n_genes - 2 * n_program, n_genes)
    log_rate[:, program] = rng.normal(-1.5, 0.2, (len(KINDS), 2 * n_program))
    log_rate[1, program] += 2.0  # of T cells
    effect = np.zeros(n_genes)
    effect[program] = np.repeat([1.5, -1.5], n_program) * strength
    slices = []
    for i, size in enumerate(panels):
        kept = set(markers[:, ::2].ravel()) | set(program[rng.random(2 * n_program) < 0.75])
        rest = [j for j in rng.permutation(n_genes) if j not in kept and j not in program]
        panel = np.sort([*kept, *rest[: size - len(kept)]])
        slices.append(_section(f"panel{size}_{i + 1}", genes, panel, log_rate, effect, n_cells, counts, rng))
    kind = rng.integers(len(KINDS), size=n_reference)
    x = _counts(log_rate[kind], np.zeros(n_genes), 1500.0, rng)
    reference = _anndata(x, genes, kind, "reference")
    return Tumor(slices, reference, tuple(genes[program[:n_program]]), tuple(genes[program[n_program:]]))


def _section(
    name: str,
    genes: NDArray,
    panel: NDArray[np.int64],
    log_rate: NDArray,
    effect: NDArray,
    n: int,
    counts: float,
    rng: np.random.Generator,
) -> ad.AnnData:
    side = _SPACING * np.sqrt(n)
    xy = rng.uniform(0, side, (n, 2))
    nests = rng.uniform(0, side, (6, 2))
    inside = (np.linalg.norm(xy[:, None] - nests, axis=2) < side * rng.uniform(0.1, 0.2, 6)).any(axis=1)
    kind = (rng.random(n)[:, None] > np.cumsum(np.where(inside[:, None], _INSIDE, _OUTSIDE), axis=1)).sum(
        axis=1
    )
    kind = np.minimum(kind, len(KINDS) - 1)
    around = (kind[cKDTree(xy).query(xy, min(31, n))[1][:, 1:]] == 0).mean(axis=1)
    rate = log_rate[kind] + np.outer(around * (kind == 1), effect)
    efficiency = rng.normal(0, 0.5, len(panel))
    adata = _anndata(_counts(rate[:, panel], efficiency, counts, rng), genes[panel], kind, name)
    adata.obsm[keys.SPATIAL] = xy
    adata.obs[keys.TECHNOLOGY] = pd.Categorical([name] * n)
    adata.uns["technology"] = name
    return adata


def _counts(log_rate: NDArray, efficiency: NDArray, total: float, rng: np.random.Generator) -> NDArray:
    """Negative-binomial counts, cells differing in size."""
    mean = np.exp(log_rate + efficiency) * rng.lognormal(0, 0.3, len(log_rate))[:, None]
    mean *= total / mean.sum(axis=1).mean()
    return rng.poisson(mean * rng.gamma(4.0, 0.25, mean.shape)).astype(np.float32)


def _anndata(x: NDArray, genes: NDArray, kind: NDArray, name: str) -> ad.AnnData:
    adata = ad.AnnData(sparse.csr_matrix(x), var=pd.DataFrame(index=genes.astype(str)))
    adata.obs_names = [f"{name}-{i}" for i in range(len(x))]
    adata.obs["cell_type"] = pd.Categorical.from_codes(kind, pd.Index(KINDS))
    adata.uns |= {"name": name, "source": "made up by lloki.datasets.tumor"}
    return adata
