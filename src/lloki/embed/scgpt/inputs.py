"""Tokens as the user gives them, brought into the form that the network takes, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lloki.errors import InputError


def checked_tokens(
    gene_ids: Any, values: Any, padding_mask: Any, tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, NDArray[np.int64]]:
    """(b, t) ids int32, values float32, mask True where there is no padding; (b,) lengths. On the CPU.

    A length reaches to the last token that is no padding.
    """
    ids, x, pad = (torch.as_tensor(a).cpu() for a in (gene_ids, values, padding_mask))
    if ids.ndim != 2 or not ids.shape == x.shape == pad.shape:
        shapes = ", ".join(str(tuple(a.shape)) for a in (ids, x, pad))
        raise InputError(f"gene_ids, values, padding_mask are {shapes}", hint="All must be (cells, tokens).")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < tokens:
        raise InputError(f"gene_ids must be 0 to {tokens - 1}, got {int(ids.min())} to {int(ids.max())}")
    keep = ~pad.bool()
    if not keep[:, :1].all():
        raise InputError("the first token of a row is padding", hint="It must be <cls>.")
    if not torch.isfinite(x).all():
        raise InputError("values hold NaN or infinite numbers")
    place = torch.arange(1, ids.shape[1] + 1)
    return ids.int(), x.float(), keep, (keep * place).amax(1).numpy()
