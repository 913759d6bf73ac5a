"""What a benchmark gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark.

    Attributes
    ----------
    folder
        Holds ``scores.csv``, ``methods.csv``, ``methods_scaled.csv``, ``ablations.csv``, ``benchmark.json``
        and the figures ``methods``, ``ablations`` and ``umap`` as PNG, SVG and PDF.
    """

    folder: Path

    @cached_property
    def scores(self) -> pd.DataFrame:
        """A row a method and repeat: every metric, unscaled."""
        return pd.read_csv(self.folder / "scores.csv")

    @cached_property
    def methods(self) -> pd.DataFrame:
        """A row a method: the mean of its repeats, and their standard deviation in ``…_sd``."""
        return pd.read_csv(self.folder / "methods.csv")

    @cached_property
    def scaled(self) -> pd.DataFrame:
        """The same with every metric scaled from the worst (0) to the best (1) of the methods."""
        return pd.read_csv(self.folder / "methods_scaled.csv")

    @cached_property
    def ablations(self) -> pd.DataFrame | None:
        """A row an ablation: its difference from LLOKI, and the standard deviation in ``…_sd``."""
        file = self.folder / "ablations.csv"
        return pd.read_csv(file) if file.exists() else None

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """The content of ``benchmark.json``: settings, cells, metrics in aggregates, what was left out."""
        content: dict[str, Any] = json.loads((self.folder / "benchmark.json").read_text())
        return content
