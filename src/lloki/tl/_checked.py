"""A user's AnnData and its checked copy: the copy is read, the user's is written into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._parts import in_memory

_COLUMN = "lloki_column"  # var column of a checked copy: which column of the user's AnnData a gene is


@dataclass(frozen=True)
class CheckedSlice:
    """A section of n cells: the user's AnnData and its checked copy.

    Attributes
    ----------
    own
        The user's, with G features.
    checked
        What :func:`lloki.io.read_slices` returned for it: the same cells in the same order, g of the
        features.
    columns
        (g,) their columns in ``own``, ascending.
    """

    own: AnnData
    checked: AnnData
    columns: NDArray[np.int64]

    @property
    def name(self) -> str:
        """Name of the section."""
        return str(self.checked.obs[keys.SLICE].iloc[0])

    @property
    def token(self) -> str:
        """Batch: technology and panel."""
        return str(self.checked.obs[keys.TOKEN].iloc[0])

    @property
    def genes(self) -> tuple[str, ...]:
        """(g,) gene names as checked."""
        return tuple(map(str, self.checked.var_names))

    @property
    def counts(self) -> sparse.csr_matrix:
        """(n, g) counts."""
        return sparse.csr_matrix(self.checked.X)

    def spread(self, x: sparse.csr_matrix) -> sparse.csr_matrix:
        """(n, g) → (n, G): empty columns for features that were excluded."""
        return sparse.csr_matrix(
            (x.data, self.columns[x.indices], x.indptr), shape=(x.shape[0], self.own.n_vars)
        )

    def layer(self, name: str) -> sparse.csr_matrix:
        """(n, g) of the user's (n, G) layer."""
        return sparse.csr_matrix(sparse.csr_matrix(self.own.layers[name])[:, self.columns])


def _layers(adata: AnnData) -> dict[str, Any]:
    """Layers by name, with ``adata.raw`` among them where it has the same genes."""
    layers = {name: in_memory(values) for name, values in adata.layers.items() if name is not None}
    if "raw" not in layers and adata.raw is not None and adata.raw.var_names.equals(adata.var_names):
        layers["raw"] = in_memory(adata.raw.X)
    return layers


def check_own(adatas: AnnData | Sequence[AnnData], **read: Any) -> list[CheckedSlice]:
    """Check copies of the user's AnnData; ``read`` as for :func:`lloki.io.read_slices`."""
    from lloki.io import read_slices

    own = [adatas] if isinstance(adatas, AnnData) else list(adatas)
    # new AnnData of the same arrays, so that var can get a column
    copies = [
        AnnData(
            X=in_memory(adata.X),
            obs=adata.obs,
            var=adata.var.assign(**{_COLUMN: np.arange(adata.n_vars)}),
            obsm=dict(adata.obsm),
            layers=_layers(adata),
            uns=dict(adata.uns),
        )
        for adata in own
    ]
    checked = read_slices(copies, **read)
    return [CheckedSlice(a, c, c.var[_COLUMN].to_numpy(np.int64)) for a, c in zip(own, checked)]
