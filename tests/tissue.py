"""Small made-up tissue for all tests."""

from __future__ import annotations

from lloki.datasets import PLATFORMS, Platform, Tissue, tissue

__all__ = ["PLATFORMS", "Platform", "Tissue", "small_tissue", "tissue"]


def small_tissue(*, n_cells: int = 300, n_reference: int = 400, seed: int = 0) -> Tissue:
    """Three slices and a reference, made in a tenth of a second."""
    return tissue(n_cells=n_cells, n_reference=n_reference, seed=seed)
