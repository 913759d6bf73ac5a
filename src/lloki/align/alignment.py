"""Slices in one coordinate frame: the result of aligning several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.align.result import AlignResult
from lloki.align.rigid import Rigid
from lloki.align.series import StackResult
from lloki.align.warp import Warp

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Slices in the coordinate frame of one of them.

    Attributes
    ----------
    reference
        Name of the slice whose frame is used.
    transforms
        Slice → transform from its own frame to the common one; None where it is undetermined.
    positions
        Slice → (n, 2) positions of its cells in its own frame.
    moved
        Slice → (n, 2) positions in the common frame, after deformation if requested; NaN if undetermined.
    results
        (fixed, moving) → pairwise alignment: each slice with the reference, or in a stack with its neighbors.
    warps
        Slice → deformation after the rigid step, if requested.
    stack
        How the poses of a stack were fitted.
    """

    reference: str
    transforms: Mapping[str, Rigid | None]
    positions: Mapping[str, Doubles]
    moved: Mapping[str, Doubles]
    results: Mapping[tuple[str, str], AlignResult]
    warps: Mapping[str, Warp]
    stack: StackResult | None = None

    @property
    def placed(self) -> dict[str, Doubles]:
        """Slice → (n, 2) positions in the common frame, for slices with a known transform."""
        return {name: xy for name, xy in self.moved.items() if self.transforms[name] is not None}

    def table(self) -> pd.DataFrame:
        """One row per pair of slices: verdict, transform, and measures of its quality."""
        rows = []
        for (fixed, moving), r in self.results.items():
            rows.append(
                {
                    "fixed": fixed,
                    "moving": moving,
                    "verdict": r.verdict.word,
                    "degrees": r.transform.degrees,
                    "reflected": r.transform.reflected,
                    "scale": r.transform.scale,
                    "z": r.verdict.z,
                    "margin": r.verdict.margin,
                    "error": r.precision.distance,
                    "overlap": r.overlap[0],
                    "landmarks": len(r.landmarks),
                    "reason": r.verdict.reason,
                }
            )
        return pd.DataFrame(rows)

    def facts(self) -> dict[str, Any]:
        """Return transforms and verdicts in a form that JSON can hold."""
        slices = {}
        for name, t in self.transforms.items():
            inverse = None if t is None else t.inverse().matrix.tolist()
            slices[name] = {"matrix": None if t is None else t.matrix.tolist(), "inverse": inverse}
        pairs = [{"fixed": f, "moving": m, **r.to_dict()} for (f, m), r in self.results.items()]
        facts: dict[str, Any] = {"reference": self.reference, "slices": slices, "pairs": pairs}
        if self.stack is not None:
            names = list(self.transforms)
            facts["stack"] = [
                {
                    "fixed": names[i],
                    "moving": names[j],
                    "disagreement": off,
                    "used": (i, j) in self.stack.used,
                }
                for (i, j), off in self.stack.disagreement.items()
            ]
        return facts
