"""The cells to export: their names, positions, results and genes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._parts import Part
from lloki.fp import log_normalize
from lloki.io.frames import as_text
from lloki.pl import _slots
from lloki.pl._coloring import categories
from lloki.pl._palette import OTHER

_GAP = 0.1  # between slices in a row, of the largest one
# what a user groups cells by -> its name in a file
RESULTS = {
    keys.CLUSTER: "cluster",
    keys.LABEL: "label",
    keys.MARKER_TYPE: "marker_type",
    keys.DOMAIN: "domain",
}
PROGRAM = "lloki_program"  # the one that a cell uses most


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of chosen slices.

    Attributes
    ----------
    adata
        All cells.
    rows
        Slice -> its rows.
    slice_key
        Column that names the slices.
    """

    adata: ad.AnnData
    rows: dict[str, NDArray[np.int64]]
    slice_key: str

    @cached_property
    def all_rows(self) -> NDArray[np.int64]:
        """Rows of all chosen slices, one slice after another."""
        return np.concatenate(list(self.rows.values()))

    @cached_property
    def obs(self) -> pd.DataFrame:
        """``obs`` of the cells, in this order, with `keys.CELL_ID` as text and groups by program."""
        obs = self.adata.obs.iloc[self.all_rows].copy()
        obs[keys.CELL_ID] = original_ids(self.adata)[self.all_rows]
        if keys.METAGENES in self.adata.obsm:
            states = np.asarray(self.adata.obsm[keys.METAGENES])[self.all_rows]
            names = [f"metagene{i + 1}" for i in range(states.shape[1])]
            most = np.where(states.max(axis=1) > 0, states.argmax(axis=1), -1).astype(np.int64)
            obs[PROGRAM] = pd.Categorical.from_codes(most, categories=pd.Index(names, dtype=object))
        return obs

    @property
    def groups(self) -> dict[str, str]:
        """Column -> name of the results that are groups of cells."""
        found = {column: name for column, name in RESULTS.items() if column in self.obs}
        return found | ({PROGRAM: "program"} if PROGRAM in self.obs else {})

    def part(self, name: str) -> Part:
        """Return a slice."""
        return Part(name, self.adata, self.rows[name])

    def counts(self, name: str) -> tuple[sparse.csr_matrix, list[str]]:
        """(n, g) counts of a slice and the genes it measured."""
        return self.part(name).expression(keys.COUNTS if keys.COUNTS in self.adata.layers else None)

    def positions(self, key: str = keys.SPATIAL) -> NDArray[np.float64]:
        """(n, 2) positions of the cells, y downwards as on the instrument's screen."""
        return _slots.in_space(self.adata, self.slice_key, key)[self.all_rows][:, :2].astype(float)

    def in_a_row(self) -> NDArray[np.float64]:
        """(n, 2) positions with the slices beside one another, each centered, and y upwards.

        For viewers that draw all cells in one plot: the plot of most has y upwards, and slices have frames of
        their own, which would lie on one another.
        """
        xy, left, at = self.positions(), 0.0, 0
        sizes = [len(r) for r in self.rows.values()]
        spans = []
        for size in sizes:
            part = xy[at : at + size]
            part[:, 1] *= -1
            spans.append(np.ptp(part, axis=0))
            at += size
        gap, at = _GAP * max(float(s.max()) for s in spans), 0
        for size, span in zip(sizes, spans):
            part = xy[at : at + size]
            part -= part.min(axis=0) + np.array([0, span[1] / 2])
            part[:, 0] += left
            left += float(span[0]) + gap
            at += size
        return xy

    def expression(self, genes: list[str] | None = None) -> tuple[sparse.csc_matrix, list[str]]:
        """(n, g) log-normalized expression over the genes of all slices, NaN where a slice lacks one.

        Parameters
        ----------
        genes
            To take; default all.
        """
        parts = {name: self.counts(name) for name in self.rows}
        union = dict.fromkeys(g for _, measured in parts.values() for g in measured)
        wanted = set(union) if genes is None else union.keys() & set(genes)
        names = [g for g in self.adata.var_names if g in wanted]
        at, blocks = {g: i for i, g in enumerate(names)}, []
        for x, measured in parts.values():
            own = [i for i, g in enumerate(measured) if g in at]
            columns = np.array([at[measured[i]] for i in own], dtype=np.int64)
            absent = np.setdiff1d(np.arange(len(names)), columns)
            values = sparse.coo_matrix(log_normalize(x)[:, own])
            n, m = x.shape[0], len(absent)
            rows = np.concatenate([values.row, np.repeat(np.arange(n), m)])
            cols = np.concatenate([columns[values.col], np.tile(absent, n)])
            data = np.concatenate([values.data, np.full(n * m, np.nan, np.float32)])
            blocks.append(sparse.csr_matrix((data, (rows, cols)), shape=(n, len(names)), dtype=np.float32))
        return sparse.csc_matrix(sparse.vstack(blocks)), names

    def shared_genes(self) -> list[str]:
        """Genes that every chosen slice measured."""
        sets = [set(self.counts(name)[1]) for name in self.rows]
        common = set.intersection(*sets)
        return [str(g) for g in self.adata.var_names if g in common]

    def colors(self, column: str) -> dict[str, str]:
        """Category -> color of a column, as in the report."""
        if column == PROGRAM:
            from lloki.pl._palette import category_colors

            return category_colors(self.obs[PROGRAM].cat.categories)
        known = _slots._colors(self.adata, column, None)
        return {c: known.get(c, OTHER)[:7] for c in categories(self.obs[column])}


def original_ids(adata: ad.AnnData) -> NDArray[np.object_]:
    """(n,) name of every cell in its own file, as text.

    It is ``obs["cell_id"]`` where that has a value, else the name in ``obs_names`` without the name of the
    sample, which a run puts before names that two slices share.
    """
    names = adata.obs_names.astype(str).to_numpy(dtype=object)
    if keys.SAMPLE in adata.obs:
        prefixes = adata.obs[keys.SAMPLE].astype(str) + ":"
        names = np.array([n.removeprefix(p) for n, p in zip(names, prefixes)], dtype=object)
    if keys.CELL_ID in adata.obs:  # numbers where a file has them, floating ones after some tools
        ids = as_text(adata.obs[keys.CELL_ID])
        known = ids.notna().to_numpy()
        names[known] = ids[known].to_numpy(dtype=object)
    return names
