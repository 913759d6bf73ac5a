"""From an embedder's units to the network's: a centre for each token, one scale for the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """``(x - centre[token]) / scale``, and the factor from distances of the result to the loss's unit.

    Parameters
    ----------
    centre
        (tokens, d) mean of each token's cells, every slice counting alike.
    scale
        Root mean square of all centred entries: one number, so that directions keep their weight.
    distance
        Factor on distances of scaled inputs, see `CAEConfig.unit`.
    """

    centre: Floats
    scale: float
    distance: float

    @classmethod
    def fit(cls, slices: list[Floats], token_of: list[int], *, unit: float) -> Scaling:
        """From the slices (n_i, d) and the token index of each."""
        tokens = max(token_of) + 1
        means = np.stack([x.mean(0, dtype=np.float64) for x in slices])
        counts = np.bincount(token_of, minlength=tokens)
        centre = np.zeros((tokens, means.shape[1]))
        np.add.at(centre, token_of, means)
        centre /= counts[:, None]
        variance = np.mean(
            [np.mean((x - centre[t]) ** 2, dtype=np.float64) for x, t in zip(slices, token_of)]
        )
        within = np.mean([x.var(0, dtype=np.float64).sum() for x in slices])
        scale = float(np.sqrt(variance)) or 1.0
        spread = float(np.sqrt(2 * within)) / scale or 1.0  # two random cells of a slice: E|x - y|² = 2 tr Σ
        return cls(centre.astype(np.float32), scale, unit / spread)

    def apply(self, x: Floats, token: int) -> Floats:
        """Scale one slice (n, d)."""
        return (x - self.centre[token]) / np.float32(self.scale)
