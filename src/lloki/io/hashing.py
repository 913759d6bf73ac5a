"""One fingerprint for the content of a checked slice."""

from __future__ import annotations

import hashlib

import numpy as np
from anndata import AnnData
from scipy import sparse

from lloki import keys


def content_hash(adata: AnnData) -> str:
    """SHA-256 of what the method reads from a slice: counts, names of cells and genes, coordinates.

    Parameters
    ----------
    adata
        A checked slice or reference (which has no coordinates). ``obs`` columns, ``uns`` and ``layers`` do
        not enter, so new labels do not make a finished run stale.

    Returns
    -------
    str
        64 hex digits; the same in every process, on every machine, and whatever the file's compression.
    """
    x = sparse.csr_matrix(adata.X, dtype=np.float32)
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    digest = hashlib.sha256()
    # The shape fixes the length of every array that follows, so no two slices give the same bytes.
    parts = [
        np.array(adata.shape, "<i8"),
        x.indptr.astype("<i8"),
        x.indices.astype("<i8"),
        x.data.astype("<f4"),
    ]
    if keys.SPATIAL in adata.obsm:
        coords = np.asarray(adata.obsm[keys.SPATIAL])
        parts += [np.array(coords.shape, "<i8"), coords.astype("<f8")]
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    for names in (adata.obs_names, adata.var_names):
        for name in names:
            encoded = str(name).encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
