"""From an embedder's units to the network's: offsets of a token taken out, one scale for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import blocks
from lloki.cae.config import CAEConfig
from lloki.cae.correction import Correction
from lloki.cae.mixture import Mixture

Floats = NDArray[np.float32]
# Rows whose squares are summed at a time, in float64.
BLOCK = 16_384


@dataclass(frozen=True)
class Scaling:
    """``correction(x' - center) / scale``, x' being x without its token's offset, and a factor for distances.

    There is one center for all tokens: a center for each would take a token's composition for its platform.

    Parameters
    ----------
    mixture
        The offsets of each kind of cells.
    center
        (d,) mean of what then remains, over all cells: a small slice of few types hardly moves it.
    correction
        Shifts toward partners in other tokens.
    scale
        Root mean square of all centered entries: one number, so that directions keep their weight.
    distance
        Factor on distances of scaled inputs, see `CAEConfig.unit`.
    """

    mixture: Mixture
    center: Floats
    correction: Correction
    scale: float
    distance: float

    @classmethod
    def fit(
        cls,
        slices: Sequence[Floats],
        token_of: Sequence[int],
        technology: Sequence[int],
        *,
        config: CAEConfig,
    ) -> tuple[Scaling, Floats]:
        """From the slices (n_i, d), the token index of each and the technology index of each token.

        Also gives the slices, scaled, as one array (N, d): the only copy that is made of them.
        """
        mixture = Mixture.fit(slices, token_of, technology, components=config.components, seed=config.seed)
        joined = np.empty((sum(map(len, slices)), slices[0].shape[1]), np.float32)
        made = np.split(joined, np.cumsum([len(x) for x in slices])[:-1])
        for part, x, t in zip(made, slices, token_of):
            part[:] = mixture.apply(x, t)
        means = np.stack([x.mean(0, dtype=np.float64) for x in made])
        center = np.average(means, axis=0, weights=[len(x) for x in slices]).astype(np.float32)
        joined -= center
        correction = Correction.fit(made, token_of, rounds=config.mnn_rounds, seed=config.seed)
        for part, t in zip(made, token_of):
            part[:] = correction.apply(part, t)
        moments = [_moments(x) for x in made]
        # mean of |x|² = variance + mean²
        variance = np.mean([(v + np.square(m)).mean() for m, v in moments])
        within = np.mean([v.sum() for _, v in moments])
        scale = float(np.sqrt(variance)) or 1.0
        spread = float(np.sqrt(2 * within)) / scale or 1.0  # two random cells of a slice: E|x - y|² = 2 tr Σ
        joined /= np.float32(scale)
        return cls(mixture, center, correction, scale, config.unit / spread), joined

    def add(
        self, slices: Sequence[Floats], others: Sequence[Floats], technology: int, *, rounds: int
    ) -> Scaling:
        """Append what one more token of a technology needs, from its slices; the rest stays.

        The ``others`` are scaled cells of each known token.
        """
        mixture = self.mixture.add(slices, technology)
        made = [mixture.apply(x, len(mixture.offsets) - 1) - self.center for x in slices]
        known = [x * np.float32(self.scale) for x in others]
        return replace(self, mixture=mixture, correction=self.correction.add(made, known, rounds=rounds))

    def apply(self, x: Floats, token: int) -> Floats:
        """Scale cells (n, d) of one token."""
        centered = self.mixture.apply(x, token) - self.center
        return self.correction.apply(centered, token) / np.float32(self.scale)

    def join(self, slices: Sequence[Floats], token_of: Sequence[int]) -> Floats:
        """Scale slices (n_i, d) into one array (N, d)."""
        return np.concatenate([self.apply(x, token) for x, token in zip(slices, token_of)])


def _moments(x: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(d,) mean and variance, in memory that does not grow with the cells."""
    mean, total = x.mean(0, dtype=np.float64), np.zeros(x.shape[1])
    for rows in blocks(len(x), BLOCK):
        total += np.square(x[rows] - mean).sum(0)
    return mean, total / len(x)
