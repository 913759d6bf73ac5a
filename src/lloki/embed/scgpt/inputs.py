"""What the user gives, brought into the form that the model takes, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from lloki.errors import InputError


def checked_counts(counts: Any, genes: Sequence[str], cell_ids: Sequence[str]) -> sparse.csr_matrix:
    """(n, g) canonical float32; InputError names the first gene and cell whose value is impossible."""
    x = sparse.csr_matrix(counts, dtype=np.float32)
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    if x.shape != (len(cell_ids), len(genes)):
        raise InputError(
            f"expression is {x.shape[0]} x {x.shape[1]}, but there are {len(cell_ids)} cell ids and "
            f"{len(genes)} genes"
        )
    bad = ~(np.isfinite(x.data) & (x.data >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        row = int(np.searchsorted(x.indptr, first, side="right")) - 1
        raise InputError(
            f"{bad.sum()} values are negative or not finite, the first is {x.data[first]} of gene "
            f"{genes[x.indices[first]]!r} in cell {cell_ids[row]!r}",
            mend="Give counts or log-normalised expression, not scaled values.",
        )
    return x


def checked_tokens(
    gene_ids: Any, values: Any, padding_mask: Any, tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, NDArray[np.int64]]:
    """(b, t) ids int32, values float32, mask True where there is no padding; (b,) lengths. On the CPU.

    A length reaches to the last token that is no padding.
    """
    ids, x, pad = (torch.as_tensor(a).cpu() for a in (gene_ids, values, padding_mask))
    if ids.ndim != 2 or not ids.shape == x.shape == pad.shape:
        shapes = ", ".join(str(tuple(a.shape)) for a in (ids, x, pad))
        raise InputError(f"gene_ids, values, padding_mask are {shapes}", mend="All must be (cells, tokens).")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < tokens:
        raise InputError(f"gene_ids must be 0 to {tokens - 1}, got {int(ids.min())} to {int(ids.max())}")
    keep = ~pad.bool()
    if not keep[:, :1].all():
        raise InputError("the first token of a row is padding", mend="It must be <cls>.")
    if not torch.isfinite(x).all():
        raise InputError("values hold NaN or infinite numbers")
    place = torch.arange(1, ids.shape[1] + 1)
    return ids.int(), x.float(), keep, (keep * place).amax(1).numpy()
