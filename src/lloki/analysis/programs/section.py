"""One slice during the fit: its features in blocks, its graph and the states of its cells."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from lloki._parallel import blocks

Features: TypeAlias = Any  # (n, D) numpy array or CSR matrix

LEAST_NOISE = 1e-4  # of the features' root mean square: a slice fitted exactly must not outweigh all others


@dataclass(eq=False)
class Section:
    """A slice of n cells.

    Attributes
    ----------
    features
        (n, D) on the host, dense or CSR.
    scale
        The factor by which they are multiplied, so that cells' totals have the mean K.
    graph
        (n, n) adjacency on the device, CSR.
    degree
        (n, 1).
    z
        (n, K) composition of each cell's state, on the simplex.
    s
        (n, 1) its size: the state is s·z.
    own
        (n, K) the state that the cell's own features give.
    noise
        σ of the features given the states.
    square
        Mean of the scaled features' squares.
    block
        Cells whose features are on the device at a time.
    """

    features: Features
    scale: float
    graph: Tensor
    degree: Tensor
    z: Tensor
    s: Tensor
    own: Tensor
    noise: float
    square: float
    block: int

    @classmethod
    def of(cls, features: Features, graph: sparse.csr_matrix, k: int, block: int, device: Any) -> Section:
        """Put a slice on the device, with states yet to be set."""
        n, d = features.shape
        total = float(features.sum(dtype=np.float64))
        scale = k * n / total
        values = features.data if sparse.issparse(features) else features
        square = float(np.square(values, dtype=np.float64).sum()) * scale**2 / (n * d)
        w = graph.tocsr()
        starts, columns = (torch.from_numpy(a.astype(np.int64)) for a in (w.indptr, w.indices))
        ones = torch.from_numpy(w.data.astype(np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch calls its CSR tensors a beta, every time
            adjacency = torch.sparse_csr_tensor(starts, columns, ones, size=w.shape).to(device)
        degree = torch.from_numpy(np.asarray(w.sum(1), np.float32).reshape(-1, 1)).to(device)
        z = torch.full((n, k), 1.0 / k, device=device)
        s = torch.full((n, 1), float(k), device=device)
        return cls(features, scale, adjacency, degree, z, s, s * z, 1.0, square, block)

    @property
    def cells(self) -> int:
        """How many there are."""
        return int(self.features.shape[0])

    def rows(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield blocks of the scaled features on the device."""
        for rows in blocks(self.cells, self.block):
            y = self.features[rows]
            dense = y.toarray() if sparse.issparse(y) else np.asarray(y)
            yield (
                rows,
                torch.from_numpy(np.ascontiguousarray(dense, np.float32)).to(self.z.device) * self.scale,
            )

    def neighbors(self, z: Tensor) -> Tensor:
        """(n, K) sums over the neighbors of each cell."""
        return self.graph @ z

    def onto(self, m: Tensor) -> Tensor:
        """(n, K) features times metagenes (D, K)."""
        return torch.cat([y @ m for _, y in self.rows()])

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return XᵀX (K, K) and YᵀX (D, K), float64 on the host."""
        k, d = self.z.shape[1], self.features.shape[1]
        quad, cross = torch.zeros(k, k, dtype=torch.float64), torch.zeros(d, k, dtype=torch.float64)
        for rows, y in self.rows():
            x = self.s[rows] * self.z[rows]
            quad += (x.T @ x).double().cpu()
            cross += (y.T @ x).double().cpu()
        return quad, cross

    def residual(self, m: Tensor) -> float:
        """Sum of squares of what the states do not explain."""
        total = 0.0
        for rows, y in self.rows():
            total += float((y - (self.s[rows] * self.z[rows]) @ m.T).square().sum(dtype=torch.float64))
        return total

    def set_noise(self, residual: float) -> None:
        """Estimate σ from the sum of squared residuals."""
        mean = residual / (self.cells * self.features.shape[1])
        self.noise = max(mean, self.square * LEAST_NOISE**2) ** 0.5
