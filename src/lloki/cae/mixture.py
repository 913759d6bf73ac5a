"""What panels of one technology do to each kind of cells, taken out of the inputs by a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import blocks, single_threaded
from lloki.graph import unit_rows

Floats = NDArray[np.float32]

# Cells that a fit looks at, spread over the slices; and least cells for each component.
CELLS, CELLS_EACH = 50_000, 30
ROUNDS, STEPS = 10, 3  # of offsets, and of soft k-means within each
SOFTNESS = 0.1  # of assignments: exp(-|u - v|² / SOFTNESS) for unit vectors u, v
RIDGE = 20.0  # cells' worth of evidence that a token has no offset in a component
BLOCK = 16_384


@dataclass(frozen=True)
class Mixture:
    r"""Centers of components of cells, and each token's offsets from them.

    Cells fall softly into components by direction. In each component a token has an offset from the center of
    the cells of its technology, and a cell gives up the offsets of the components it belongs to:

    .. math:: \tilde x = x - \sum_k r_k(x)\, \delta_{t k}, \qquad
              r_k(x) \propto \exp(-2\,(1 - \cos(x - o, \mu_{t k} - o)) / 0.1)

    This is the linear correction of Harmony (Korsunsky et al. 2019) without its push toward equal
    proportions, which on slices of different composition moves cells into components they do not belong to.
    It is a function of one cell and its token, so that new cells are treated like those it was fitted to.

    Only panels of one technology are compared: seen through few genes, cells of one kind are shrunk in other
    directions than through others, all alike, and cells of a component are the same kind in each panel.
    Between technologies components are not as pure, and offsets took composition for the platform's effect;
    there, cells are brought together by their partners alone (`lloki.cae.correction`). A technology with one
    panel has no offsets.

    Parameters
    ----------
    origin
        (d,) o, from which directions are seen.
    centers
        (technologies, K, d) of the components.
    means
        (tokens, K, d) μ, where the token's cells of the component lie.
    offsets
        (tokens, K, d) δ.
    technology
        (tokens,) which of the centers a token is compared with.
    """

    origin: Floats
    centers: Floats
    means: Floats
    offsets: Floats
    technology: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        slices: Sequence[Floats],
        token_of: Sequence[int],
        technology: Sequence[int],
        *,
        components: int,
        seed: int = 0,
    ) -> Mixture:
        """Fit to slices (n_i, d), of which each has a token.

        Parameters
        ----------
        slices, token_of
            The data, and the index of each one's token.
        technology
            Index of each token's technology.
        components
            K at most; fewer where there are not 30 cells for each. 0 leaves the cells as they are.
        seed
            Random seed.

        Notes
        -----
        Time grows with min(cells, 50,000)·K·d, memory with min(cells, 50,000)·(K + d).
        """
        kinds = np.asarray(technology, np.int64)
        tokens, technologies = len(kinds), int(kinds.max()) + 1
        origin = np.mean([x.mean(0, dtype=np.float64) for x in slices], axis=0).astype(np.float32)
        x, token = _draw(slices, token_of, seed)
        k = min(components, len(x) // CELLS_EACH) if tokens > technologies else 0
        if k == 0:
            none = np.zeros((tokens, 0, len(origin)), np.float32)
            return cls(origin, none[:technologies], none, none, kinds)
        x = x - origin
        moved = x
        with single_threaded():
            directions = unit_rows(components_of(unit_rows(moved), k, seed))
            for _ in range(ROUNDS):
                for _ in range(STEPS):
                    shares = soft_shares(unit_rows(moved), directions)
                    directions = unit_rows(shares.T @ unit_rows(moved))
                shares = soft_shares(unit_rows(moved), directions)
                centers = np.stack(
                    [_means(x[own], shares[own]) for own in (kinds[token] == t for t in range(technologies))]
                )
                parts = [
                    _offsets(x[token == t], shares[token == t], centers[kinds[t]]) for t in range(tokens)
                ]
                moved = x.copy()
                for t, (_, offsets) in enumerate(parts):
                    moved[token == t] -= shares[token == t] @ offsets
        means, offsets = (np.stack(part) for part in zip(*parts))
        return cls(origin, centers, means, offsets, kinds)

    def add(self, slices: Sequence[Floats], technology: int, *, seed: int = 0) -> Mixture:
        """Append one more token of a technology, from its slices; what there is stays.

        A technology that was not there before, the next index, has this panel alone, and so no offsets.
        """
        x, _ = _draw(slices, [0] * len(slices), seed)
        x, known = x - self.origin, technology < len(self.centers)
        k, d = self.means.shape[1:]
        means = self.centers[technology] if known else self.means.mean(0)
        offsets = np.zeros((k, d), np.float32)
        if k and known:
            with single_threaded():
                for _ in range(ROUNDS):
                    shares = soft_shares(unit_rows(x), unit_rows(means))
                    means, offsets = _offsets(x, shares, self.centers[technology])
        return replace(
            self,
            centers=self.centers if known else np.concatenate([self.centers, means[None]]),
            means=np.concatenate([self.means, means[None]]),
            offsets=np.concatenate([self.offsets, offsets[None]]),
            technology=np.append(self.technology, technology),
        )

    def apply(self, x: Floats, token: int) -> Floats:
        """Take the offsets of one token out of its cells (n, d)."""
        if not self.offsets[token].any():
            return x
        out = np.empty_like(x)
        directions = unit_rows(self.means[token])
        with single_threaded():
            for rows in blocks(len(x), BLOCK):
                shares = soft_shares(unit_rows(x[rows] - self.origin), directions)
                out[rows] = x[rows] - shares @ self.offsets[token]
        return out


def components_of(x: Floats, k: int, seed: int) -> Floats:
    """Centers (k, d) of rows (n, d), by k-means."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with single_threaded(), catch_warnings():
        simplefilter("ignore", ConvergenceWarning)  # where there are fewer distinct cells than centers
        made = KMeans(k, n_init=1, max_iter=25, random_state=seed, copy_x=True).fit(x)
    return made.cluster_centers_.astype(np.float32)


def _draw(slices: Sequence[Floats], token_of: Sequence[int], seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Rows of all slices, of the large ones a sample, and their tokens."""
    rng, each = np.random.default_rng(seed), max(CELLS // len(slices), CELLS_EACH)
    parts = [x if len(x) <= each else x[np.sort(rng.choice(len(x), each, replace=False))] for x in slices]
    return np.concatenate(parts), np.repeat(np.asarray(token_of), [len(part) for part in parts])


def soft_shares(x: Floats, directions: Floats) -> Floats:
    """(n, K) share of each component in each cell; both given as unit vectors."""
    scores = (x @ directions.T) * np.float32(2 / SOFTNESS)
    scores -= scores.max(1, keepdims=True)
    shares = np.exp(scores, out=scores)
    shares /= shares.sum(1, keepdims=True)
    return shares


def _means(x: Floats, shares: Floats) -> Floats:
    """(K, d) means of cells (n, d) by component."""
    means: Floats = (shares.T @ x) / np.maximum(shares.sum(0), 1e-9)[:, None]
    return means


def _offsets(x: Floats, shares: Floats, centers: Floats) -> tuple[Floats, Floats]:
    """(K, d) means of a token's cells by component, and their offsets, less where there are few cells."""
    weight, means = shares.sum(0), _means(x, shares)
    return means, (means - centers) * (weight / (weight + RIDGE))[:, None]
