"""The search on tensors, for training: wherever they are, in their own precision.

It compares cosines as the device computes them, in float32, and orders them by ``topk``: training looks for
pairs again and again, where a second, exact pass would cost more than its few changed pairs are worth.
Equal cosines come in the order of ``topk``, which is fixed for a device and shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows compared with all targets at a time, and the most comparisons of one block, 4 bytes each.
BLOCK, COMPARISONS = 2048, 2**25


def unit_rows(x: Tensor) -> Tensor:
    """Scale rows (n, d) to length one; zero rows stay zero."""
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def nearest(
    queries: Tensor, targets: Tensor, k: int, *, types: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Find, for each query, the targets with the largest cosine.

    Parameters
    ----------
    queries, targets
        Rows (n, d) and (m, d).
    k
        Neighbors per query.
    types
        (n,) and (m,) types of queries and targets, -1 where unknown: cells of two known types that differ
        are no neighbors.

    Returns
    -------
    indices
        (n, min(k, m)) int64, most similar first, -1 where types leave too few. Every pair is compared: time
        n·m·d, memory up to 128 MB a thread.
    """
    k = min(k, len(targets))
    q, t = unit_rows(queries), unit_rows(targets).T
    block = max(1, min(BLOCK, COMPARISONS // max(1, len(targets))))
    found = []
    for i in range(0, len(q), block):
        cosine = q[i : i + block] @ t
        if types is not None:
            cosine.masked_fill_(differ(types[0][i : i + block, None], types[1][None]), -torch.inf)
        best = cosine.topk(k, dim=1)
        found.append(best.indices if types is None else best.indices.masked_fill(best.values.isinf(), -1))
    return torch.cat(found) if found else torch.empty((0, k), dtype=torch.int64, device=queries.device)


def nearest_others(x: Tensor, k: int) -> Tensor:
    """Find the ``k`` most similar other rows of each row: (n, d) → (n, min(k, n - 1)); memory 4·n² bytes."""
    unit = unit_rows(x)
    return (unit @ unit.T).fill_diagonal_(-2).topk(max(min(k, len(x) - 1), 0), dim=1).indices


def mutual_pairs(
    a: Tensor, b: Tensor, k: int, *, types: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Pairs (i, j) such that b_j is among the k nearest of a_i in b, and a_i among the k nearest of b_j in a.

    Parameters
    ----------
    a, b
        Rows (n, d) and (m, d) of two slices, compared by cosine.
    k
        Neighbors on either side; 40 in the method.
    types
        (n,) and (m,), see `nearest`; cells of different types are no pair.

    Returns
    -------
    i, j
        (p,) int64 each, ascending in i.
    """
    forward = nearest(a, b, k, types=types)  # (n, k)
    backward = nearest(b, a, k, types=None if types is None else types[::-1])  # (m, k)
    mutual = torch.zeros_like(forward, dtype=torch.bool)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, min(start + BLOCK, len(a)))
        own = torch.arange(rows.start, rows.stop, device=a.device)[:, None, None]
        mutual[rows] = (backward[forward[rows]] == own).any(2)  # (B, k, k): do my neighbors list me?
    mutual &= forward >= 0
    i, rank = mutual.nonzero(as_tuple=True)
    return i, forward[i, rank]


def differ(a: Tensor, b: Tensor) -> Tensor:
    """Where two types are known and not the same; broadcasts."""
    return (a != b) & (a >= 0) & (b >= 0)
