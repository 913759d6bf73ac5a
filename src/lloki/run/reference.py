"""What a run needs of the scRNA-seq reference, and what projection later needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki.embed import Embedder, SliceSummary
from lloki.fp import cell_sparsity, log_normalize, reference_sparsity
from lloki.run.slices import SliceRecord
from lloki.run.store import key_of, load_arrays, write_arrays


@dataclass(frozen=True)
class Reference:
    """The reference, cut to the genes that some slice measures.

    Attributes
    ----------
    counts
        (m, G) counts of those genes.
    genes
        Their names.
    sparsity_all
        (m,) sparsity over all genes of the reference.
    trained
        Genes of the slices that are trained on: what an embedder may learn from.
    hash
        Of what enters the fit.
    """

    counts: sparse.csr_matrix
    genes: tuple[str, ...]
    sparsity_all: NDArray[np.float64]
    trained: frozenset[str] = frozenset()
    hash: str = ""

    @classmethod
    def cut(cls, adata: AnnData, trained: Sequence[SliceRecord], slices: Sequence[SliceRecord]) -> Reference:
        """Keep of a checked reference what the slices need; the embedder learns from ``trained``."""
        wanted = {gene for s in slices for gene in s.genes}
        counts = sparse.csr_matrix(adata.X)
        keep = np.array([gene in wanted for gene in adata.var_names], dtype=bool)
        cut, genes = sparse.csr_matrix(counts[:, keep]), tuple(map(str, adata.var_names[keep]))
        everywhere = cell_sparsity(counts)
        learned = frozenset(gene for s in trained for gene in s.genes)
        # Genes of slices that are only projected do not enter the fit, so neither do they enter its key.
        seen = sparse.csr_matrix(cut[:, np.array([gene in learned for gene in genes], dtype=bool)])
        digest = key_of(seen.data, seen.indices, seen.indptr, [g for g in genes if g in learned], everywhere)
        return cls(cut, genes, everywhere, learned, digest)

    def sparsity(self, genes: Sequence[str], *, mode: Literal["panel", "all"]) -> NDArray[np.float64]:
        """Sparsity of the reference's cells over the genes of a slice, or over all: (m,), sorted."""
        if mode == "all":
            return np.sort(self.sparsity_all)
        return np.sort(reference_sparsity(self.counts, self.genes, genes, mode="panel"))

    def summary(self, embedder: Embedder) -> SliceSummary:
        """Summarize the reference over the trained slices' genes."""
        columns = [i for i, gene in enumerate(self.genes) if gene in self.trained]
        counts = sparse.csr_matrix(self.counts[:, columns])
        return embedder.summarize(log_normalize(counts), [self.genes[i] for i in columns])

    def save(self, path: Path) -> None:
        """Write which genes each reference cell expresses: all that sparsity targets of new slices need."""
        pattern = self.counts.astype(bool).astype(np.int8)
        arrays = {"pattern": pattern, "genes": np.array(self.genes), "sparsity_all": self.sparsity_all}
        write_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read what `save` wrote; counts are then 0 or 1."""
        arrays = load_arrays(path)
        return cls(arrays["pattern"], tuple(map(str, arrays["genes"])), arrays["sparsity_all"])
