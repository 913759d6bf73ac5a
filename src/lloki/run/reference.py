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

from lloki._missing import text_labels
from lloki.embed import Embedder, SliceSummary
from lloki.fp import cell_sparsity, log_normalize, reference_sparsity
from lloki.run.slices import SliceRecord
from lloki.run.store import key_of, load_arrays, write_arrays

TYPES = ("cell_type", "celltype")  # columns of cell types that no one needs to name


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
    types
        (m,) cell type, ``""`` where unknown; None if no column holds them. They do not enter the fit.
    """

    counts: sparse.csr_matrix
    genes: tuple[str, ...]
    sparsity_all: NDArray[np.float64]
    trained: frozenset[str] = frozenset()
    hash: str = ""
    types: NDArray[np.str_] | None = None

    @classmethod
    def cut(
        cls,
        adata: AnnData,
        trained: Sequence[SliceRecord],
        slices: Sequence[SliceRecord],
        *,
        label_key: str | None = None,
    ) -> Reference:
        """Keep of a checked reference what the slices need; the embedder learns from ``trained``.

        Its types are those of ``label_key``, or of a column with a usual name.
        """
        wanted = {gene for s in slices for gene in s.genes}
        counts = sparse.csr_matrix(adata.X)
        keep = np.array([gene in wanted for gene in adata.var_names], dtype=bool)
        cut, genes = sparse.csr_matrix(counts[:, keep]), tuple(map(str, adata.var_names[keep]))
        everywhere = cell_sparsity(counts)
        learned = frozenset(gene for s in trained for gene in s.genes)
        # Genes of slices that are only projected do not enter the fit, so neither do they enter its key.
        seen = sparse.csr_matrix(cut[:, np.array([gene in learned for gene in genes], dtype=bool)])
        digest = key_of(seen.data, seen.indices, seen.indptr, [g for g in genes if g in learned], everywhere)
        column = next((c for c in (label_key, *TYPES) if c is not None and c in adata.obs), None)
        types = None if column is None else text_labels(adata.obs[column], unknown=True)
        return cls(cut, genes, everywhere, learned, digest, types)

    def sparsity(self, genes: Sequence[str], *, mode: Literal["panel", "all"]) -> NDArray[np.float64]:
        """Sparsity of the reference's cells over the genes of a slice, or over all: (m,), sorted."""
        if mode == "all":
            return np.sort(self.sparsity_all)
        return np.sort(reference_sparsity(self.counts, self.genes, genes, mode="panel"))

    def summary(self, embedder: Embedder) -> SliceSummary:
        """Summarize the reference over the trained slices' genes."""
        return embedder.summarize(*self._learned())

    def embed(self, embedder: Embedder, cells: NDArray[np.int64], *, seed: int) -> NDArray[np.float32]:
        """Embed cells by what a fitted embedder has learned: (k, d)."""
        expression, genes = self._learned()
        state = embedder.summarize(expression, genes)
        ids = [str(i) for i in cells]
        return embedder.embed(
            sparse.csr_matrix(expression[cells]), genes, state=state, cell_ids=ids, seed=seed
        )

    def _learned(self) -> tuple[sparse.csr_matrix, list[str]]:
        """Expression of the genes of the slices that are trained on, and their names."""
        columns = [i for i, gene in enumerate(self.genes) if gene in self.trained]
        return log_normalize(sparse.csr_matrix(self.counts[:, columns])), [self.genes[i] for i in columns]

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
