"""What still parts a token's cells from their partners in the others, taken out of the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._parallel import blocks, map_ordered
from lloki.cae.cells import COMPARISONS, REACH, in_company, in_reach
from lloki.graph.knn.tensors import (
    cosine_distance,
    mutual_pairs,
    nearest_cosines,
    nearest_others,
    unit_rows,
)

Floats = NDArray[np.float32]

# Cells of a token that look for partners; at least so many where there are very many tokens.
CELLS, LEAST = 5_000, 100
NEIGHBORS = 20  # on either side of a mutual pair, and how far a cell's own kind reaches
SMOOTH = (2_000, 500, 200)  # landmarks whose steps a landmark shares, from coarse to fine
COMPANY = 0.7  # see `in_company`; stricter than in training, as shifts also carry the cells around
RIDGE = 1.0  # landmarks' worth of evidence for no step
# How many cells of a token have partners, over how many would if all tokens held the same kinds of cells:
# below this, tokens are unlike. docs/evaluation.md has the figures of real slices.
UNLIKE = 0.75
BLOCK = 4_096
ROWS = 512  # landmarks that are compared with all at a time: 10 MB


@dataclass(frozen=True)
class Correction:
    r"""Shifts of each token's cells toward their mutual nearest neighbors in other tokens.

    Some cells of each token are its landmarks. In each round, a landmark that has partners (mutual nearest
    neighbors no farther away than cells of one kind are) is drawn to the mean of itself and, with equal
    weight, of its partners in each other token. It takes the mean step of the landmarks like it:

    .. math:: \Delta_i \mathrel{+}= \frac{\sum_{j \in P} w_{ij}\, (\bar p_j - \tilde x_j)}
              {1 + \sum_{j \in P} w_{ij}
              + \big(\sum_{j \in U} w_{ij} - \frac{|U|}{|P|} \sum_{j \in P} w_{ij}\big)_+}, \qquad
              w_{ij} = \left(1 - (d_{ij} / d_i)^2\right)_+^2

    with P the landmarks of its token that have partners, U those without, d 1 - cosine at the start, and d_i
    that of the 2,000th nearest landmark in the first rounds, where tokens move as wholes and partners become
    true, then of the 500th and the 200th. Landmarks without partners hold back where they are more than the
    token's share: a large token has few partners in a small one everywhere and still moves as a whole, but a
    kind of cells that no other token has stays behind, although a few of it always find false partners. Where
    tokens are unlike (`partnered`), all is done again with partners that are `in_company` only; where they
    are not, this would leave out true ones of rarer kinds. Any cell then moves by the mean shift of its 20
    nearest landmarks, weighted in the same way. This is the correction by mutual nearest neighbors of
    Haghverdi et al. (2018), toward all tokens at once. Where a cell moves is a continuous function of it and
    its token.

    Parameters
    ----------
    landmarks
        m_t × d of each token, before they move.
    shifts
        m_t × d of each token: Δ.
    partnered
        Of each token, the share of its landmarks that have partners in the end, over the share that would
        have some if the others' landmarks were drawn from the token itself. Near 1 where the others hold
        the same kinds of cells; NaN where it is unknown.
    """

    landmarks: tuple[Floats, ...]
    shifts: tuple[Floats, ...]
    partnered: tuple[float, ...]

    @classmethod
    def fit(
        cls, slices: Sequence[Floats], token_of: Sequence[int], *, rounds: int, seed: int = 0
    ) -> Correction:
        """Fit to centered slices (n_i, d), of which each has a token.

        Parameters
        ----------
        slices, token_of
            The data, and the index of each one's token.
        rounds
            Searches of partners at each of the three scales. 0 leaves the cells as they are.
        seed
            Random seed.

        Notes
        -----
        With T tokens, of which at most m = min(5,000, 40,000 / T) cells look for partners: time grows with
        rounds·T²·m²·d, twice that where tokens are unlike; memory with T·m·d and m²: below 200 MB.
        """
        tokens, d = max(token_of) + 1, slices[0].shape[1]
        none = np.zeros((0, d), np.float32)
        if tokens < 2 or not rounds:
            return cls((none,) * tokens, (none,) * tokens, (math.nan,) * tokens)
        limit = max(LEAST, min(CELLS, math.isqrt(COMPARISONS // (tokens * (tokens - 1)))))
        cells = [_draw([x for x, of in zip(slices, token_of) if of == t], limit, seed) for t in range(tokens)]
        like = [_Alike.of(x) for x in cells]
        shifts, partnered = _shifts(cells, like, rounds, seed)
        return cls(tuple(cells), tuple(shifts), tuple(partnered))

    def add(self, slices: Sequence[Floats], others: Sequence[Floats], *, rounds: int) -> Correction:
        """Append one more token, from its slices; of each other token, corrected cells (n_t, d) stay."""
        none = np.zeros((0, slices[0].shape[1]), np.float32)
        if not rounds or not len(others):
            x, shifts, partnered = none, [none], [math.nan]
        else:
            x = _draw(slices, CELLS, 0)
            shifts, partnered = _shifts([x, *others], [_Alike.of(x)], rounds, 0)
        return Correction((*self.landmarks, x), (*self.shifts, *shifts), (*self.partnered, *partnered))

    def apply(self, x: Floats, token: int) -> Floats:
        """Shift centered cells (n, d) of one token."""
        if not len(self.landmarks[token]):
            return x
        out = np.empty_like(x)
        for rows in blocks(len(x), BLOCK):
            like = _Like.of(x[rows], self.landmarks[token], NEIGHBORS)
            out[rows] = x[rows] + like.mean(self.shifts[token])
        return out


@dataclass(frozen=True)
class _Like:
    """For n cells, the k landmarks most like each (n, k), and their weights (n, k)."""

    index: NDArray[np.int64]
    weight: Floats

    @classmethod
    def of(cls, x: Floats, landmarks: Floats, k: int) -> _Like:
        """Of cells (n, d) among landmarks (m, d); one more of them says where the weight reaches 0."""
        index, cosine = nearest_cosines(torch.from_numpy(x), torch.from_numpy(landmarks), k + 1)
        distance = (1 - cosine).clamp_min(0)
        weight = (1 - (distance / distance[:, -1:].clamp_min(1e-6)).square()).square()
        # a cell whose landmarks are all alike, or the only one
        weight = weight.masked_fill(distance[:, -1:] < 1e-6, 1.0)
        return cls(index.numpy(), weight.numpy())

    def mean(self, steps: Floats) -> Floats:
        """Weighted mean (n, d) of the landmarks' steps (m, d)."""
        out = np.zeros((len(self.weight), steps.shape[1]), np.float32)
        for of, w in zip(self.index.T, self.weight.T):
            out += w[:, None] * steps[of]
        return out / (self.weight.sum(1) + 1e-9)[:, None]


@dataclass(frozen=True)
class _Alike:
    """Landmarks of length one (m, d), and how far the weight of those like each one reaches (m, scales)."""

    unit: Floats
    reach: Floats

    @classmethod
    def of(cls, x: Floats) -> _Alike:
        """Of landmarks (m, d), of which `SMOOTH` have weight for each; one more says where it reaches 0."""
        unit = unit_rows(torch.from_numpy(x)).numpy()
        last = [max(len(x) - k - 1, 0) for k in SMOOTH]

        def part(rows: slice) -> Floats:
            cosine = unit[rows] @ unit.T
            cosine.partition(sorted(set(last)), axis=1)
            found: Floats = cosine[:, last]
            return found

        cosines = np.concatenate(list(map_ordered(part, blocks(len(x), ROWS))))
        return cls(unit, np.maximum(1 - cosines, np.float32(1e-6)))

    def mean(self, steps: Floats, paired: NDArray[np.bool_], scale: int) -> Floats:
        """Weighted mean (m, d) of the steps (m, d) of those with partners, and less where few have some."""
        lack = np.float32((~paired).sum() / max(paired.sum(), 1))

        def part(rows: slice) -> Floats:
            weight = self.unit[rows] @ self.unit.T
            np.subtract(1, weight, out=weight)
            np.maximum(weight, 0, out=weight)
            weight /= self.reach[rows, scale, None]
            np.square(weight, out=weight)
            np.subtract(1, weight, out=weight)
            np.maximum(weight, 0, out=weight)
            np.square(weight, out=weight)
            whole = weight.sum(1)
            weight *= paired
            with_some = weight.sum(1)
            held_back = np.maximum(whole - with_some - lack * with_some, 0)
            made: Floats = weight @ steps / (with_some + held_back + np.float32(RIDGE))[:, None]
            return made

        return np.concatenate(list(map_ordered(part, blocks(len(self.unit), ROWS))))


def _draw(slices: Sequence[Floats], limit: int, seed: int) -> Floats:
    """Rows of a token's slices, of each as many at most."""
    rng, each = np.random.default_rng(seed), max(1, limit // len(slices))
    parts = [x if len(x) <= each else x[np.sort(rng.choice(len(x), each, replace=False))] for x in slices]
    return np.concatenate(parts)


def _shifts(
    cells: Sequence[Floats], like: Sequence[_Alike], rounds: int, seed: int
) -> tuple[list[Floats], list[float]]:
    """Shifts of the landmarks (m, d) of the first tokens, those of ``like``, and how many are partnered."""
    moving, partnered = range(len(like)), [math.nan]
    for company in (False, True):
        shifts = [np.zeros_like(cells[t]) for t in moving]
        for scale in range(len(SMOOTH)):
            for _ in range(rounds):
                moved = [x + by for x, by in zip(cells, shifts)]
                steps = _steps([*moved, *cells[len(moved) :]], moving, company=company)
                for own, by, (step, paired) in zip(like, shifts, steps):
                    by += own.mean(step, paired, scale)
        if not company:
            total = sum(map(len, cells))
            partnered = [_partnered(p, x, total - len(x), seed) for x, (_, p) in zip(cells, steps)]
            if not any(share < UNLIKE for share in partnered):
                break
    return shifts, partnered


def _partnered(paired: NDArray[np.bool_], x: Floats, others: int, seed: int) -> float:
    """Share of landmarks x (m, d) that are paired, over that if so many ``others`` were drawn from them."""
    like = min(others, len(x) // 2)
    if like < LEAST:
        return math.nan
    drawn = np.random.default_rng(seed).permutation(len(x))
    (_, expected), *_ = _steps([x[drawn[like:]], x[drawn[:like]]], [0])
    return float(paired.mean() / expected.mean()) if expected.any() else math.nan


def _near(unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, k) neighbors of each row of length one, and its distance (n,) to the last; infinite without any."""
    others = nearest_others(unit, NEIGHBORS)
    if not others.shape[1]:
        return others, torch.full((len(unit),), torch.inf)
    return others, cosine_distance(unit, torch.arange(len(unit)), unit, others[:, -1])


def _steps(
    cells: Sequence[Floats], moving: Iterable[int], *, company: bool = False
) -> list[tuple[Floats, NDArray[np.bool_]]]:
    """Each cell's way to its partners (n, d), and which cells have some: of each of the ``moving`` tokens.

    With ``company``, only pairs count of which both cells are in company.
    """
    of = [torch.from_numpy(x) for x in cells]
    moving = list(moving)
    units = [unit_rows(x) for x in of]
    around, near = zip(*map_ordered(_near, units))
    chosen = [(s, t) for s in range(len(of)) for t in range(s + 1, len(of)) if s in moving or t in moving]

    def compare(pair: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        a, b = units[pair[0]], units[pair[1]]
        i, j = mutual_pairs(a, b, NEIGHBORS)
        return i, j, cosine_distance(a, i, b, j), torch.minimum(near[pair[0]][i], near[pair[1]][j])

    found = list(map_ordered(compare, chosen))
    counts = in_reach(torch.cat([f[2] for f in found]), torch.cat([f[3] for f in found]), REACH)
    total = [torch.zeros_like(x) for x in of]
    partners = [torch.zeros(len(x)) for x in of]
    for (s, t), (i, j, *_), ok in zip(chosen, found, counts.split([len(f[0]) for f in found])):
        i, j = i[ok], j[ok]
        if company:
            both = in_company(around[s], i, share=COMPANY) & in_company(around[t], j, share=COMPANY)
            i, j = i[both], j[both]
        for own, other, mine, theirs in ((s, t, i, j), (t, s, j, i)):
            pairs = torch.bincount(mine, minlength=len(of[own])).float()
            mean = torch.zeros_like(of[own]).index_add_(0, mine, of[other][theirs])
            has = pairs > 0
            total[own][has] += mean[has] / pairs[has, None]
            partners[own] += has
    out = []
    for t in moving:
        n = partners[t][:, None]
        out.append((((total[t] + of[t]) / (n + 1) - of[t]).numpy(), (partners[t] > 0).numpy()))
    return out
