"""What alignment returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki.align.config import AlignConfig
from lloki.align.landmarks import Landmarks
from lloki.align.refine import Precision
from lloki.align.rigid import Rigid
from lloki.align.search import Curve
from lloki.align.verdict import Verdict

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AlignResult:
    """A moving slice of n cells in the frame of a fixed one.

    Attributes
    ----------
    transform
        Moving to fixed frame; see :class:`lloki.align.Rigid`. With the verdict *failed*, the best guess, or
        no change at all where there was nothing to compare.
    verdict
        Whether to believe it, why, and what else competes.
    moved
        (n, 2) moving cells in the fixed frame and unit.
    in_overlap
        (n,) bool: whether a cell lies where the fixed slice has tissue.
    overlap
        Shares of the moving and of the fixed slice's cells that lie in the other's tissue.
    landmarks
        Matched cells, as rows of the two slices given.
    residuals
        (p, 2) where each landmark's fixed cell lies, less where its moving cell was put.
    precision
        Standard errors.
    curve
        Evidence over all rotations.
    spacing
        Typical distance of neighboring cells in the fixed and in the moving slice, both in the fixed unit.
    config
        Parameters.
    """

    transform: Rigid
    verdict: Verdict
    moved: Doubles
    in_overlap: NDArray[np.bool_]
    overlap: tuple[float, float]
    landmarks: Landmarks
    residuals: Doubles
    precision: Precision
    curve: Curve
    spacing: tuple[float, float]
    config: AlignConfig

    @property
    def matrix(self) -> Doubles:
        """(3, 3) homogeneous matrix, moving to fixed."""
        return self.transform.matrix

    @property
    def inverse(self) -> Doubles:
        """(3, 3) homogeneous matrix, fixed to moving."""
        return self.transform.inverse().matrix

    @property
    def residual(self) -> float:
        """Median distance of landmark pairs, weighted by confidence; NaN without landmarks."""
        if not len(self.landmarks):
            return float("nan")
        order = np.argsort(np.linalg.norm(self.residuals, axis=1))
        total = np.cumsum(self.landmarks.confidence[order])
        middle = order[np.searchsorted(total, total[-1] / 2)]
        return float(np.linalg.norm(self.residuals[middle]))

    def to_dict(self) -> dict[str, Any]:
        """Return everything that is not per cell as JSON can hold it (no NaN, no infinity)."""
        facts = {
            "verdict": self.verdict.word,
            "reason": self.verdict.reason,
            "z": self.verdict.z,
            "margin": self.verdict.margin,
            "rivals": [asdict(r) for r in self.verdict.rivals],
            "rotation_degrees": self.transform.degrees,
            "translation": self.transform.translation.tolist(),
            "scale": self.transform.scale,
            "reflected": self.transform.reflected,
            "matrix": self.matrix.tolist(),
            "inverse": self.inverse.tolist(),
            "standard_errors": {"degrees": self.precision.degrees, "distance": self.precision.distance},
            "overlap": {"moving": self.overlap[0], "fixed": self.overlap[1]},
            "landmarks": len(self.landmarks),
            "residual": self.residual,
            "spacing": {"fixed": self.spacing[0], "moving": self.spacing[1]},
            "parameters": self.config.to_dict(),
        }
        return _finite(facts)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
