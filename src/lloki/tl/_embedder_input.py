"""What an embedder reads: the expression of the slices, and a summary of the reference."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from scipy import sparse

from lloki import keys
from lloki.errors import LlokiWarning
from lloki.tl._checked import CheckedSlice

if TYPE_CHECKING:
    from pathlib import Path

    from lloki.embed import Embedder, SliceSummary


def expression_of(
    slices: Sequence[CheckedSlice],
    embedder: Embedder,
    denoised: str,
    alpha: float | None = None,
    seed: int = 0,
) -> dict[str, sparse.csr_matrix]:
    """Slice → (n, g) expression to embed: the denoised layer, else counts.

    For an embedder that learns from the slices, counts are log-normalized and averaged with neighbors, by
    the share ``alpha``; ``seed`` draws the pairs of cells that set the bandwidth.
    """
    from lloki.fp import FPConfig, average_neighbors, log_normalize

    if not embedder.uses_expression:
        return {s.name: s.counts for s in slices}
    aligned = {s.name for s in slices if denoised in s.own.layers}
    if 0 < len(aligned) < len(slices):
        text = (
            f"{len(aligned)} of {len(slices)} slices have layers[{denoised!r}]; the others are embedded "
            "from their counts. Run lloki.tl.align_features on all of them, or on none."
        )
        warnings.warn(text, LlokiWarning, stacklevel=4)
    config = FPConfig(alpha=alpha, seed=seed).for_embedder(joint=True)

    def plain(s: CheckedSlice) -> sparse.csr_matrix:
        if not embedder.joint:
            return s.counts
        return average_neighbors(
            log_normalize(s.counts), np.asarray(s.checked.obsm[keys.SPATIAL]), config=config
        )

    return {s.name: s.layer(denoised) if s.name in aligned else plain(s) for s in slices}


def reference_summary(
    embedder: Embedder,
    slices: Sequence[CheckedSlice],
    source: str | Path | AnnData | None,
    layer: str | None,
    allow_normalized: bool,
    *,
    orthologs: bool = False,
) -> SliceSummary:
    """Summarize the reference over the genes that at least one slice measured."""
    from lloki.fp import log_normalize
    from lloki.genes import match_reference
    from lloki.io import read_reference
    from lloki.io.reference import matched

    known = read_reference(source, layer=layer, allow_normalized=allow_normalized, option="reference_layer")
    known = matched(known, [slice_.genes for slice_ in slices], orthologs=orthologs)
    for slice_ in slices:
        match_reference(slice_.genes, known.var_names, where=slice_.name)
    measured = {gene for slice_ in slices for gene in slice_.genes}
    columns = np.flatnonzero([gene in measured for gene in known.var_names])
    counts = sparse.csr_matrix(sparse.csr_matrix(known.X)[:, columns])
    return embedder.summarize(log_normalize(counts), [str(known.var_names[i]) for i in columns])
