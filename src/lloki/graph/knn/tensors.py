"""The search on tensors, for training: wherever they are, in their own precision.

It compares cosines as the device computes them, in float32, and orders them by ``topk``: training looks for
pairs again and again, where a second, exact pass would cost more than its few changed pairs are worth.
Equal cosines come in the order of ``topk``, which is fixed for a device and shape, or by index.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lloki.graph.knn import _kernels

# Rows compared with all targets at a time, and the most comparisons of one block, 4 bytes each.
BLOCK, COMPARISONS = 2048, 2**25
_SQUARE = 1024  # rows of either side in a block that serves both: 4 MB, which stay in cache
_KEY_SCALE = 2.0**24  # turns cosines into keys, exactly


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
    """Find the ``k`` most similar other rows of each row: (n, d) → (n, min(k, n - 1)).

    On the CPU, each cosine is computed once for both of its rows, in blocks, and equal ones are ordered by
    lower index; elsewhere in memory of 4·n² bytes.
    """
    k = max(min(k, len(x) - 1), 0)
    unit = unit_rows(x)
    if not _in_blocks(x) or not k:
        return (unit @ unit.T).fill_diagonal_(-2).topk(k, dim=1).indices
    keys, own, left = np.zeros((len(x), k), np.int64), np.arange(len(x)), unit * _KEY_SCALE
    for i in range(0, len(x), _SQUARE):
        rows = left[i : i + _SQUARE]
        _kernels.offer_across((rows @ unit[i : i + _SQUARE].T).floor_().numpy(), keys, own, i, i)
        for j in range(i + _SQUARE, len(x), _SQUARE):
            cosine = rows @ unit[j : j + _SQUARE].T
            _kernels.offer_between(cosine.numpy(), keys, keys, i, j, -_kernels.OFFSET)
    return _ranked(keys)


def nearest_cosines(queries: Tensor, targets: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the ``k`` targets (m, d) most similar to each query (n, d): indices and cosines (n, min(k, m)).

    On the CPU in blocks, in memory of 12·n·k bytes and less time than ``topk``, with cosines in steps of
    2^-24, which is the precision of float32.
    """
    k = min(k, len(targets))
    q, t = unit_rows(queries), unit_rows(targets)
    if not _in_blocks(queries) or not len(q) or not k:
        best = (q @ t.T).topk(k, dim=1)
        return best.indices, best.values
    keys, none, q = np.zeros((len(q), k), np.int64), np.full(len(q), -1), q * _KEY_SCALE
    for i in range(0, len(q), _SQUARE):
        for j in range(0, len(t), _SQUARE):
            cosine = q[i : i + _SQUARE] @ t[j : j + _SQUARE].T
            _kernels.offer_across(cosine.floor_().numpy(), keys, none, i, j)
    index = _ranked(keys)
    return index, torch.from_numpy(((keys[:, ::-1] >> 32) - _kernels.OFFSET).astype(np.float32)) / _KEY_SCALE


def cosine_distance(unit: Tensor, i: Tensor, others: Tensor, j: Tensor) -> Tensor:
    """1 - cosine (p,) of the rows ``unit[i]`` and ``others[j]``, both tables of rows of length one.

    Some pairs at a time, whose rows stay in the cache: a fifth of the time of all at once.
    """
    parts = zip(i.split(_SQUARE), j.split(_SQUARE))
    return torch.cat([1 - torch.linalg.vecdot(unit[one], others[other]) for one, other in parts])


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
    forward, backward = _both_ways(a, b, k, types)  # (n, k), (m, k)
    mutual = torch.zeros_like(forward, dtype=torch.bool)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, min(start + BLOCK, len(a)))
        own = torch.arange(rows.start, rows.stop, device=a.device)[:, None, None]
        mutual[rows] = (backward[forward[rows]] == own).any(2)  # (B, k, k): do my neighbors list me?
    mutual &= forward >= 0
    i, rank = mutual.nonzero(as_tuple=True)
    return i, forward[i, rank]


def _both_ways(a: Tensor, b: Tensor, k: int, types: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Find the nearest in ``b`` of each row of ``a`` and the other way, as `nearest` does.

    On the CPU, each block of cosines is computed once for both, and equal ones are ordered by lower index.
    """
    if not _in_blocks(a) or not len(a) or not len(b):
        back = None if types is None else types[::-1]
        return nearest(a, b, k, types=types), nearest(b, a, k, types=back)
    forward, backward = (np.zeros((len(x), min(k, len(y))), np.int64) for x, y in ((a, b), (b, a)))
    left, right = unit_rows(a) * _KEY_SCALE, unit_rows(b)
    for i in range(0, len(a), _SQUARE):
        for j in range(0, len(b), _SQUARE):
            cosine = left[i : i + _SQUARE] @ right[j : j + _SQUARE].T
            if types is not None:
                unlike = differ(types[0][i : i + _SQUARE, None], types[1][None, j : j + _SQUARE])
                cosine.masked_fill_(unlike, -torch.inf)
            _kernels.offer_between(cosine.numpy(), forward, backward, i, j, -_kernels.OFFSET)
    return _ranked(forward), _ranked(backward)


def _in_blocks(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32


def _ranked(keys: NDArray[np.int64]) -> Tensor:
    """Sort keys, the largest first, and give their indices, -1 where there is none."""
    keys.sort(axis=1)
    keys = keys[:, ::-1]
    return torch.from_numpy(np.where(keys == 0, -1, _kernels.LAST - (keys & _kernels.LAST)))


def differ(a: Tensor, b: Tensor) -> Tensor:
    """Where two types are known and not the same; broadcasts."""
    return (a != b) & (a >= 0) & (b >= 0)
