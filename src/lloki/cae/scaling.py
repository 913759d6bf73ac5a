"""From an embedder's units to the network's: offsets of a token taken out, one scale for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import blocks
from lloki.cae.mixture import Mixture

Floats = NDArray[np.float32]
# Rows whose squares are summed at a time, in float64.
BLOCK = 16_384


@dataclass(frozen=True)
class Scaling:
    """``(x' - center) / scale``, x' being x without its token's offset, and a factor for distances.

    There is one center for all tokens: a center for each would take a token's composition for its platform.

    Parameters
    ----------
    mixture
        The offsets of each kind of cells.
    center
        (d,) mean of what then remains, over all cells: a small slice of few types hardly moves it.
    scale
        Root mean square of all centered entries: one number, so that directions keep their weight.
    distance
        Factor on distances of scaled inputs, see `CAEConfig.unit`.
    """

    mixture: Mixture
    center: Floats
    scale: float
    distance: float

    @classmethod
    def fit(
        cls, slices: Sequence[Floats], token_of: Sequence[int], *, unit: float, components: int, seed: int
    ) -> Scaling:
        """From the slices (n_i, d) and the token index of each; see `CAEConfig` for the rest."""
        mixture = Mixture.fit(slices, token_of, components=components, seed=seed)
        moments = [_moments(mixture.apply(x, t)) for x, t in zip(slices, token_of)]
        means = np.stack([mean for mean, _ in moments])
        center = np.average(means, axis=0, weights=[len(x) for x in slices])
        # mean of |x - c|² = variance + (mean - c)²
        variance = np.mean([(v + np.square(m - center)).mean() for m, v in moments])
        within = np.mean([v.sum() for _, v in moments])
        scale = float(np.sqrt(variance)) or 1.0
        spread = float(np.sqrt(2 * within)) / scale or 1.0  # two random cells of a slice: E|x - y|² = 2 tr Σ
        return cls(mixture, center.astype(np.float32), scale, unit / spread)

    def add(self, slices: Sequence[Floats]) -> Scaling:
        """Append the offsets of one more token, from its slices; center and scale stay."""
        return replace(self, mixture=self.mixture.add(slices))

    def apply(self, x: Floats, token: int) -> Floats:
        """Scale cells (n, d) of one token."""
        return (self.mixture.apply(x, token) - self.center) / np.float32(self.scale)

    def join(self, slices: Sequence[Floats], token_of: Sequence[int]) -> Floats:
        """Scale slices (n_i, d) into one array (N, d), the only copy of them that is made."""
        out = np.empty((sum(map(len, slices)), len(self.center)), np.float32)
        end = 0
        for x, token in zip(slices, token_of):
            rows = out[end : end + len(x)]
            np.subtract(self.mixture.apply(x, token), self.center, out=rows)
            rows /= np.float32(self.scale)
            end += len(x)
        return out


def _moments(x: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(d,) mean and variance, in memory that does not grow with the cells."""
    mean, total = x.mean(0, dtype=np.float64), np.zeros(x.shape[1])
    for rows in blocks(len(x), BLOCK):
        total += np.square(x[rows] - mean).sum(0)
    return mean, total / len(x)
