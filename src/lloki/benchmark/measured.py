"""Counts with the names of their genes: what every function on panels takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import sparse


@dataclass(frozen=True, eq=False)
class Measured:
    """Counts of some genes.

    Attributes
    ----------
    counts
        (n, g).
    genes
        (g,) names.
    """

    counts: sparse.csr_matrix
    genes: tuple[str, ...]

    def only(self, genes: Sequence[str]) -> Measured:
        """Keep some of the genes, in the order given."""
        at = {g: i for i, g in enumerate(self.genes)}
        return Measured(sparse.csr_matrix(self.counts[:, [at[g] for g in genes]]), tuple(genes))
