"""Made-up data: tissue whose truth is known."""

from __future__ import annotations

from lloki.datasets._conditions import Conditions, conditions
from lloki.datasets._tissue import ALPHAFISH, BETASEQ, GAMMAMAP, PLATFORMS, Platform, Tissue, tissue
from lloki.datasets._tumor import Tumor, tumor

__all__ = [
    "ALPHAFISH",
    "BETASEQ",
    "GAMMAMAP",
    "PLATFORMS",
    "Conditions",
    "Platform",
    "Tissue",
    "Tumor",
    "conditions",
    "tissue",
    "tumor",
]
