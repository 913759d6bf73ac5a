"""What a run gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from lloki.evaluate.verdict import Verdict
from lloki.io.trust import read_checked
from lloki.report.notebook import run_card


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes
    ----------
    folder
        Holds ``integrated.h5ad``, ``model/``, ``qc.csv``, ``quality.csv``, ``report.html``, ``run.json``,
        ``held_out.csv`` where the embedder can leave genes out, and, with labels, ``benchmark.csv``.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # of a run that was made before, by its name

    @cached_property
    def adata(self) -> AnnData:
        """All cells: ``obsm["X_lloki"]``, ``obsm["X_lloki_fp"]``, ``obs["slice"]`` and so on."""
        return read_checked(self.folder / "integrated.h5ad")

    @cached_property
    def qc(self) -> pd.DataFrame:
        """One row a slice: cells, genes, sparsity before and after."""
        return pd.read_csv(self.folder / "qc.csv")

    @cached_property
    def quality(self) -> pd.DataFrame:
        """Mixing, preservation and, with labels, transfer accuracy, before and after batch alignment."""
        return pd.read_csv(self.folder / "quality.csv")

    @cached_property
    def benchmark(self) -> pd.DataFrame | None:
        """Metrics of integration before and after batch alignment, where labels were given."""
        file = self.folder / "benchmark.csv"
        return pd.read_csv(file) if file.exists() else None

    @cached_property
    def run(self) -> Mapping[str, Any]:
        """The content of ``run.json``."""
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return content

    @property
    def verdict(self) -> Verdict:
        """Whether the run can be trusted, and why; all evidence is in ``run["verdict"]``."""
        return Verdict.from_dict(self.run["verdict"])

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.folder / "report.html"

    def _repr_html_(self) -> str:
        """Show in a notebook whether the run can be trusted, its slices, and how to look at the cells."""
        return run_card(self.folder, self.run, self.qc)
