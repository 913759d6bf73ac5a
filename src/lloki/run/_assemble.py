"""One AnnData of all cells, that scanpy opens as it is; its layout is the one that cellxgene asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki.io.frames import as_text
from lloki.run.slices import SliceRecord
from lloki.run.store import load_arrays

_EXACT = 2**53  # the largest whole number up to which a floating number holds each


def assemble(
    slices: Sequence[SliceRecord],
    *,
    fp: Mapping[str, NDArray[np.float32]],
    joint: Mapping[str, NDArray[np.float32]],
    facts: Mapping[str, Any],
    counts: bool = True,
) -> AnnData:
    """Put all slices together, in the order given.

    Parameters
    ----------
    slices
        Checked slices.
    fp, joint
        Slice → its rows (n, d) and (n, d').
    facts
        Goes to ``uns["lloki"]``.
    counts
        Whether to put the counts in; `counts_of_slices` gives them one slice after another.

    Returns
    -------
    AnnData
        ``X`` and ``layers["counts"]``: raw counts over the union of the panels; a gene that a slice did not
        measure is stored as 0 there, and ``varm["lloki_measured"]`` (genes, slices) says which slice measured
        which. ``obs``: ours and all input columns, numbers as numbers and everything else as categories;
        ``cell_id`` is the name of a cell in its file or instrument, whatever ``obs_names`` had to become.

    Notes
    -----
    Time and memory grow with the cells, and with the stored counts of all slices if they are wanted.
    """
    genes, measured = _measured([s.genes for s in slices])
    var = pd.DataFrame({"n_slices": measured.sum(axis=1)}, index=pd.Index(genes, dtype=object))
    joined = AnnData(obs=_obs(slices), var=var)
    if counts:
        joined.X = sparse.vstack(list(counts_of_slices(slices, genes)), format="csr")
        joined.layers[keys.COUNTS] = joined.X.copy()  # X is what others normalize in place
    joined.varm[keys.MEASURED] = measured
    joined.obsm[keys.FP] = np.concatenate([fp[s.name] for s in slices])
    joined.obsm[keys.JOINT] = np.concatenate([joint[s.name] for s in slices])
    joined.obsm[keys.SPATIAL] = _coordinates([s.spatial for s in slices])
    joined.uns[keys.UNS] = {
        **facts,
        "slices": [s.name for s in slices],
        "sources": [str(s.info.get("source", "")) for s in slices],
        "units": [str(s.info.get("unit", "")) for s in slices],
    }
    return joined


def _measured(panels: Sequence[Sequence[str]]) -> tuple[list[str], NDArray[np.bool_]]:
    """List the genes of all panels, and which panel has which: (genes, panels)."""
    genes = sorted({gene for names in panels for gene in names})
    at = {gene: i for i, gene in enumerate(genes)}
    measured = np.zeros((len(genes), len(panels)), dtype=bool)
    for i, names in enumerate(panels):
        measured[[at[gene] for gene in names], i] = True
    return genes, measured


def counts_of_slices(slices: Sequence[SliceRecord], genes: Sequence[str]) -> Iterator[sparse.csr_matrix]:
    """Give the counts of each slice over all genes, one slice at a time; only stored values take memory."""
    at = {gene: i for i, gene in enumerate(genes)}
    for s in slices:
        x = load_arrays(s.piece.path)["counts"]
        columns = np.array([at[gene] for gene in s.genes], dtype=np.int32)
        wide = sparse.csr_matrix((x.data, columns[x.indices], x.indptr), shape=(x.shape[0], len(genes)))
        wide.sort_indices()
        yield wide


def _obs(slices: Sequence[SliceRecord]) -> pd.DataFrame:
    tables = [s.obs for s in slices]
    columns = dict.fromkeys(column for table in tables for column in table.columns)
    sizes = [s.cells for s in slices]
    joined = {c: _column([table.get(c) for table in tables], sizes) for c in columns}
    return pd.DataFrame(joined, index=_names(tables))


def _names(tables: Sequence[pd.DataFrame]) -> pd.Index:
    """Input names; of slices whose names clash with another's, all are prefixed with the sample's name."""
    seen = Counter(name for table in tables for name in table.index)
    names: list[str] = []
    for table in tables:
        own = list(map(str, table.index))
        if any(seen[name] > 1 for name in own):
            sample = str(table[keys.SAMPLE].iloc[0])
            own = [f"{sample}:{name}" for name in own]
        names += own
    index = pd.Index(names, dtype=object)
    # still not unique: sections of one sample given separately, or a name that looks prefixed already
    return index if index.is_unique else ad.utils.make_index_unique(index)


def _column(
    parts: Sequence[pd.Series | None], sizes: Sequence[int]
) -> NDArray[Any] | pd.Categorical | pd.api.extensions.ExtensionArray:
    """One column of all slices (``None``: a slice lacks it), as h5ad can hold and scanpy can color it."""
    kinds = {_kind(part) for part in parts if part is not None}
    if kinds == {"bool"} and all(part is not None for part in parts):
        return np.concatenate([part.to_numpy(dtype=bool) for part in parts if part is not None])
    if kinds == {"number"}:
        numbers = [np.full(n, np.nan) if part is None else _numbers(part) for part, n in zip(parts, sizes)]
        joined = np.concatenate(numbers)
        if not any(_loses_digits(part, joined.dtype) for part in parts if part is not None):
            return joined
        whole = _whole_numbers(parts, sizes)
        if whole is not None:
            return whole
    coded = [None if part is None else _categories(part) for part in parts]
    known = list(dict.fromkeys(str(c) for part in coded if part is not None for c in part.categories))
    codes = [
        np.full(n, -1) if part is None else part.set_categories(known).codes for part, n in zip(coded, sizes)
    ]
    return pd.Categorical.from_codes(np.concatenate(codes), categories=pd.Index(known, dtype=object))


def _kind(part: pd.Series) -> str:
    if isinstance(part.dtype, pd.CategoricalDtype):
        return "text"
    if pd.api.types.is_bool_dtype(part.dtype) and not part.isna().any():
        return "bool"
    numeric = pd.api.types.is_numeric_dtype(part.dtype) and not pd.api.types.is_bool_dtype(part.dtype)
    return "number" if numeric and not pd.api.types.is_complex_dtype(part.dtype) else "text"


def _numbers(part: pd.Series) -> NDArray[Any]:
    """Take a numeric column as it is, or as floating numbers where values are missing."""
    if part.isna().any():
        return part.to_numpy(dtype=float, na_value=np.nan)
    own: Any = getattr(part.dtype, "numpy_dtype", None)  # Int64 and its like know their numpy type
    return part.to_numpy(dtype=own)


def _loses_digits(part: pd.Series, dtype: np.dtype[Any]) -> bool:
    """Whether integers of a slice, such as ids of 19 digits, are not exact as floating numbers."""
    if not (pd.api.types.is_integer_dtype(part.dtype) and dtype.kind == "f"):
        return False
    own = part.dropna()
    return bool(len(own)) and (int(own.max()) > _EXACT or int(own.min()) < -_EXACT)


def _whole_numbers(
    parts: Sequence[pd.Series | None], sizes: Sequence[int]
) -> pd.api.extensions.ExtensionArray | None:
    """Integers with missing values, every digit kept; ``None`` where no type of integers holds them all."""
    values: list[Any] = []
    for part, n in zip(parts, sizes):
        if part is None:
            values += [pd.NA] * n
            continue
        if pd.api.types.is_float_dtype(part.dtype) and not (part.dropna() % 1 == 0).all():
            return None
        values += [pd.NA if missing else int(value) for value, missing in zip(part, part.isna())]
    known = [value for value in values if value is not pd.NA]
    if min(known) >= np.iinfo(np.int64).min and max(known) <= np.iinfo(np.int64).max:
        return pd.array(values, dtype="Int64")
    if min(known) >= 0 and max(known) <= np.iinfo(np.uint64).max:
        return pd.array(values, dtype="UInt64")
    return None


def _categories(part: pd.Series) -> pd.Categorical:
    """Values as categories of text, in the order that the input gives its categories."""
    if not isinstance(part.dtype, pd.CategoricalDtype):
        return pd.Categorical(as_text(part))
    names = as_text(pd.Series(part.cat.categories)).tolist()
    return pd.Categorical.from_codes(part.cat.codes, categories=pd.Index(names, dtype=object))


def _coordinates(parts: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Planar slices beside volumes lie at z = 0."""
    dims = max(p.shape[1] for p in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, dims - p.shape[1]))) for p in parts]).astype(np.float64)
