"""Pieces of made-up tissue of irregular domains, whose true pose is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lloki.align import AlignConfig, AlignResult, Rigid, align

QUICK = AlignConfig(rotation_step=6, pixels=40, fine_pixels=80)


@dataclass(frozen=True)
class Piece:
    """Cells in the tissue's own frame, and their embedding."""

    x: np.ndarray
    xy: np.ndarray

    def at(self, transform: Rigid) -> Piece:
        """The same cells as an instrument would report them."""
        return Piece(self.x, transform.apply(self.xy))

    def where(self, keep: np.ndarray) -> Piece:
        return Piece(self.x[keep], self.xy[keep])


def onto(fixed: Piece, moving: Piece, **settings: object) -> AlignResult:
    """Align with settings that are quick on small pieces."""
    return align(fixed.x, fixed.xy, moving.x, moving.xy, config=replace(QUICK, **settings))


def cut(number: int = 0, *, cells: int = 1600, noise: float = 0.6) -> Piece:
    """Cut a section of the tissue: another number, other cells."""
    waves = np.random.default_rng(7)
    frequency, phase = waves.normal(0, 0.025, (8, 2)), waves.uniform(0, 2 * np.pi, 8)
    types = waves.normal(size=(8, 12))
    rng = np.random.default_rng(100 + number)
    xy = rng.uniform(0, 1, (cells, 2)) * (900, 700)
    wish = np.sin(xy @ frequency.T + phase) + rng.gumbel(0, 0.4, (cells, 8))
    return Piece(types[wish.argmax(1)] + rng.normal(0, noise, (cells, 12)), xy)


def split(whole: Piece, seed: int = 3) -> tuple[Piece, Piece]:
    """Split a section's cells at random."""
    first = np.random.default_rng(seed).random(len(whole.x)) < 0.5
    return whole.where(first), whole.where(~first)
