"""Parameters of slice alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from lloki._config import Config
from lloki.errors import ConfigError


class AlignOptions(TypedDict, total=False):
    """Fields of `AlignConfig` as keywords; those left out keep their defaults."""

    channels: int
    n_neighbors: int
    pixels: int
    fine_pixels: int
    bands: tuple[float, ...]
    rotation_step: float
    min_overlap: float
    allow_reflection: bool
    scale: float | None
    allow_scale: bool
    candidates: int
    landmarks: int
    min_score: float
    margin: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class AlignConfig(Config):
    """Parameters of slice alignment.

    Slices are compared as images, and lengths are in *pixels* of these: the larger of the two slices' cell
    spacings, or more where a slice would be wider than ``pixels``.

    Attributes
    ----------
    channels
        Number of directions of the embedding that are compared, those with the most spatial structure. More
        than 8 made no difference on the sections tested.
    n_neighbors
        Number of spatial neighbors of a cell by which that structure is measured.
    pixels
        Maximum width of a slice in pixels while all rotations are searched; time grows with its square.
    fine_pixels
        Maximum width of a slice in pixels while the best poses are refined.
    bands
        Radii (standard deviations of Gaussians) between which neighborhoods are compared: each radius with
        the next, and the last with the whole slice. Factors of two keep them nearly independent.
    rotation_step
        Degrees between the rotations that are searched. At 3, the edge of a slice of 64 pixels is at most one
        pixel off.
    min_overlap
        Minimum share of the smaller slice's area that the other must cover.
    allow_reflection
        Whether a mirrored pose may be the result. If not, mirrored poses are still scored, and a warning is
        issued if one is better.
    scale
        Units of the fixed slice per unit of the moving slice, such as 0.325 for pixels.
    allow_scale
        Whether to estimate the scale, within a factor of 1.6 of ``scale`` or, if that is None, of the ratio
        of cell spacings.
    candidates
        Number of poses of the search that are refined and compared.
    landmarks
        Maximum number of pairs of matched cells that are kept, the most confident first; 0 keeps all.
    min_score
        Minimum z-score of the agreement for the verdict *aligned*; see :func:`lloki.align.judge`.
    margin
        By how much that z-score must exceed those of all other poses; less for poses nearby.
    seed
        Random seed.
    """

    channels: int = 10
    n_neighbors: int = 20
    pixels: int = 64
    fine_pixels: int = 160
    bands: tuple[float, ...] = (1.0, 2.0, 4.0)
    rotation_step: float = 3.0
    min_overlap: float = 0.3
    allow_reflection: bool = False
    scale: float | None = None
    allow_scale: bool = False
    candidates: int = 8
    landmarks: int = 0
    min_score: float = 6.0
    margin: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", tuple(float(b) for b in self.bands))  # JSON knows lists alone
        self._at_least(channels=1, n_neighbors=1, pixels=8, fine_pixels=8, candidates=2, landmarks=0, seed=0)
        self._above_zero("scale")
        if not 0 < self.rotation_step <= 30:
            raise ConfigError(f"rotation_step must lie between 0 and 30 degrees, got {self.rotation_step}")
        if not 0 < self.min_overlap <= 1:
            raise ConfigError(f"min_overlap must lie between 0 and 1, got {self.min_overlap}")
        if not self.bands or any(b <= a for a, b in zip((0.0, *self.bands), self.bands)):
            raise ConfigError(f"bands must be positive and ascending, got {self.bands}")
