"""Result of a fit of gene programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.analysis.programs.config import ProgramConfig

_UNUSED = 0.05


@dataclass(frozen=True, eq=False)
class Programs:
    """Gene programs: metagenes, the states of cells in them, and how metagenes go together in space.

    Attributes
    ----------
    metagenes
        (D, K) float32; columns are non-negative and sum to one.
    affinity
        (K, K) Σ⁻¹, symmetric, its mean near 0. Below 0: cells of the two metagenes are neighbors more
        often than by chance; above 0: less often.
    states
        Per slice, (n_i, K) float32, non-negative: features ≈ states · metagenesᵀ / scale.
    scales
        Per slice, the factor by which its features were scaled, so that cells' totals have the mean K.
    noise
        Per slice, σ of the scaled features.
    history
        One row per iteration: ``phase`` (``free`` or ``coupled``), ``objective`` in nats per value, and its
        parts ``fit`` and ``pairs``; the two phases have different objectives.
    converged
        Whether the objective had settled before the iterations were over.
    config
        Parameters.
    """

    metagenes: NDArray[np.float32]
    affinity: NDArray[np.float64]
    states: tuple[NDArray[np.float32], ...]
    scales: tuple[float, ...]
    noise: tuple[float, ...]
    history: pd.DataFrame
    converged: bool
    config: ProgramConfig

    @property
    def unused(self) -> list[int]:
        """Metagenes that make up less of the cells than a twentieth of an equal share."""
        x = np.concatenate(self.states)
        total = x.sum(1, keepdims=True)
        share = np.divide(x, total, out=np.zeros_like(x), where=total > 0).mean(0)
        return [int(k) for k in np.flatnonzero(share * len(share) < _UNUSED)]

    def facts(self) -> dict[str, Any]:
        """Return parameters and scalars as JSON can hold them."""
        return {
            "parameters": self.config.to_dict(),
            "converged": self.converged,
            "iterations": len(self.history),
            "objective": float(self.history["objective"].iloc[-1]),
            "noise": list(self.noise),
            "scales": list(self.scales),
        }
