"""One AnnData of all cells, that opens in scanpy and cellxgene as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki.run.inputs import SliceRecord


def assemble(
    slices: Sequence[SliceRecord],
    *,
    fp: Mapping[str, NDArray[np.float32]],
    joint: Mapping[str, NDArray[np.float32]],
    facts: Mapping[str, Any],
) -> AnnData:
    """Put all slices together, in the order given.

    Parameters
    ----------
    slices
        Checked slices.
    fp, joint
        Slice → (n, d) and (n, 128).
    facts
        Goes to ``uns["lloki"]``.

    Returns
    -------
    AnnData
        ``X``: raw counts over the union of the panels; a gene that a slice did not measure is stored as 0 there, and
        ``uns["lloki"]["panels"]`` says which genes each panel measured. ``obs``: ours and all input columns.
    """
    x, genes = _stack([(s.path, s.genes) for s in slices])
    obs = _obs(slices)
    measured = Counter(gene for s in slices for gene in s.genes)
    joined = AnnData(X=x, obs=obs, var=pd.DataFrame({"n_slices": [measured[g] for g in genes]}, index=genes))
    joined.obsm[keys.FP] = np.concatenate([fp[s.name] for s in slices])
    joined.obsm[keys.JOINT] = np.concatenate([joint[s.name] for s in slices])
    joined.obsm[keys.SPATIAL] = _stack_coordinates([s.spatial for s in slices])
    panels = {str(s.obs[keys.PANEL].iloc[0]): np.array(sorted(s.genes), dtype=object) for s in slices}
    joined.uns[keys.UNS] = {
        **facts,
        "panels": {name.replace("/", "_"): genes for name, genes in panels.items()},
        "sources": [f"{s.name}: {s.said.get('source', '')}" for s in slices],
    }
    return joined


def _stack(parts: Sequence[tuple[Any, Sequence[str]]]) -> tuple[sparse.csr_matrix, list[str]]:
    """Counts of all slices over the union of their genes; only stored values take memory."""
    genes = sorted({gene for _, names in parts for gene in names})
    at = {gene: i for i, gene in enumerate(genes)}
    blocks = []
    for path, names in parts:
        x = sparse.csr_matrix(ad.read_h5ad(path).X)
        columns = np.array([at[gene] for gene in names], dtype=np.int32)
        wide = sparse.csr_matrix((x.data, columns[x.indices], x.indptr), shape=(x.shape[0], len(genes)))
        wide.sort_indices()
        blocks.append(wide)
    return sparse.vstack(blocks, format="csr"), genes


def _obs(slices: Sequence[SliceRecord]) -> pd.DataFrame:
    """Columns of all slices; names prefixed with the sample for slices whose cell names clash with another's."""
    seen: Counter[str] = Counter()
    for s in slices:
        seen.update(map(str, s.obs.index))
    frames = []
    for s in slices:
        frame, names = s.obs.copy(), list(map(str, s.obs.index))
        if any(seen[name] > 1 for name in names):
            sample = str(frame[keys.SAMPLE].iloc[0])
            names = [f"{sample}:{name}" for name in names]
        frame.index = pd.Index(names)
        for column in frame.columns:
            if isinstance(frame[column].dtype, pd.CategoricalDtype):
                frame[column] = frame[column].astype(
                    object
                )  # categories of different slices do not concatenate
        frames.append(frame)
    obs = pd.concat(frames, axis=0)
    if not obs.index.is_unique:  # sections of one sample, or a name that looks prefixed already
        obs.index = ad.utils.make_index_unique(obs.index)
    for column in obs.columns:
        if obs[column].dtype == object:
            obs[column] = _tidy(obs[column])
    return obs


def _tidy(column: pd.Series) -> pd.Series:
    """A column that h5ad can hold and scanpy can colour: numbers stay, everything else is categories."""
    known = column.dropna()
    if (
        len(known)
        and known.map(lambda v: isinstance(v, (int, float, np.number)) and not isinstance(v, bool)).all()
    ):
        return pd.to_numeric(column)
    return column.map(lambda v: str(v), na_action="ignore").astype("category")


def _stack_coordinates(parts: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Planar slices beside volumes lie at z = 0."""
    dims = max(p.shape[1] for p in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, dims - p.shape[1]))) for p in parts]).astype(np.float64)
