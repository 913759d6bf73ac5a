"""Slices in a user's AnnData, all in one or one each: reading their slots and writing results."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._missing import stands_for_missing, text_labels
from lloki._version import __version__
from lloki.errors import InputError, LlokiWarning

ROWS = 65_536  # of a matrix in a file that are loaded at a time


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of an AnnData that are one slice.

    Attributes
    ----------
    name
        Name of the slice.
    own
        The user's AnnData.
    rows
        (n,) rows of the slice, ascending.
    """

    name: str
    own: AnnData
    rows: NDArray[np.int64]

    def obsm(self, key: str, *, hint: str) -> NDArray[np.float64]:
        """(n, d) finite values of ``obsm[key]``.

        Raises
        ------
        InputError
            If the key is absent, or a value is NaN or infinite.
        """
        slot = f"obsm[{key!r}]"
        if key not in self.own.obsm:
            there = ", ".join(self.own.obsm) or "none"
            raise InputError("is absent", where=self.name, slot=slot, hint=f"There are: {there}. {hint}")
        values = np.asarray(self.own.obsm[key])[self.rows]
        lost = int((~np.isfinite(values)).any(axis=1).sum())
        if lost:
            text = f"{lost} of {len(values)} cells hold NaN or infinity"
            raise InputError(text, where=self.name, slot=slot, hint="Leave these cells out.")
        return values

    def embedding(self, key: str) -> NDArray[np.floating]:
        """(n, d) joint embedding."""
        return self.obsm(key, hint="Integrate the slices first, or set use_rep.")

    def positions(self) -> NDArray[np.float64]:
        """(n, 2 or 3) positions of the cells."""
        return self.obsm(keys.SPATIAL, hint="Add the positions of the cells.").astype(np.float64)

    def column(self, key: str) -> NDArray[np.str_] | None:
        """(n,) an ``obs`` column as text, ``""`` where it has no value; None if it is absent."""
        if key not in self.own.obs:
            return None
        values = self.own.obs[key].iloc[self.rows]
        return np.where(values.isna(), "", values.astype(str)).astype(str)

    def labels(self, key: str) -> NDArray[np.str_] | None:
        """(n,) labels in an ``obs`` column, ``""`` where a cell has none; None if it is absent.

        Warns
        -----
        LlokiWarning
            If cells have text such as ``"nan"`` that stands for a missing label.
        """
        if key not in self.own.obs:
            return None
        column = self.own.obs[key].iloc[self.rows]
        labels, text = text_labels(column), column.astype(str).str.strip()
        words = text[((labels == "") & column.notna()).to_numpy() & (text != "").to_numpy()]
        if len(words):
            called = ", ".join(map(repr, sorted(set(words))))
            what = f"{self.name}: {len(words)} cells are {called} in obs[{key!r}]"
            warnings.warn(f"{what}: treated as cells without a label.", LlokiWarning, stacklevel=4)
        return labels

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) whether cells have counts, by ``obs["lloki_flag"]`` if it is there."""
        flags = self.column(keys.FLAG)
        return np.ones(len(self.rows), bool) if flags is None else flags == ""

    def counts(
        self, layer: str | None = None, *, fractions: bool = True
    ) -> tuple[sparse.csr_matrix, list[str]]:
        """(n, g) counts, and the g genes that this slice measured.

        They are those of ``varm["lloki_measured"]`` where an integration wrote it, else all of the AnnData if
        it is one slice, else those of which some cell of the slice has a count.

        ``layer="raw"`` is ``adata.raw``, unless a layer has that name. Without ``fractions``, values that
        are no whole numbers are refused.

        Raises
        ------
        InputError
            If the layer is absent, or values are negative, NaN, infinite, normalized or logarithms; or
            fractions where these are refused.

        Warns
        -----
        LlokiWarning
            If values are fractions, used as they are.
        """
        from lloki.io.counts import require_counts

        slot, x, names = self._values(layer)
        if not require_counts(x, self.own, where=self.name, slot=slot):
            if not fractions:
                from lloki.io.counts import hint_of_counts

                text = "holds fractions, not counts, whose errors would be unknown"
                hint = hint_of_counts(self.own, slot) or "Give raw counts, in X or a layer."
                raise InputError(text, where=self.name, slot=slot, hint=hint)
            text = f"{self.name} {slot} holds fractions, which are used as if they were counts."
            warnings.warn(text, LlokiWarning, stacklevel=4)
        return x, names

    def expression(self, layer: str | None = None) -> tuple[sparse.csr_matrix, list[str]]:
        """As `counts`, on whatever scale the values are."""
        return self._values(layer)[1:]

    def _values(self, layer: str | None) -> tuple[str, sparse.csr_matrix, list[str]]:
        own, var_names = self.own, self.own.var_names
        slot = "X" if layer is None else f"layers[{layer!r}]"
        x = own.X if layer is None else own.layers.get(layer)
        if x is None and layer == "raw" and own.raw is not None:
            slot, x, var_names = "raw.X", own.raw.X, own.raw.var_names
        if x is None:
            there = ", ".join(repr(name) for name in own.layers if name is not None) or "none"
            hint = f"Name the layer that holds counts. There are: {there}."
            raise InputError("is absent", where=self.name, slot=slot, hint=hint)
        x = take_rows(x, self.rows)
        if x.nnz and not (np.isfinite(x.data).all() and x.data.min() >= 0):
            from lloki.io.counts import hint_of_counts

            text = "holds negative, NaN or infinite values"
            hint = hint_of_counts(own, slot) or "Give raw counts, or name their layer."
            raise InputError(text, where=self.name, slot=slot, hint=hint)
        columns = self._measured(x, var_names)
        return slot, sparse.csr_matrix(x[:, columns]), [str(g) for g in var_names[columns]]

    def panel(self) -> NDArray[np.int64] | None:
        """Columns of the genes that this slice measured, if the AnnData records it; else None."""
        from lloki.io.measured import measured_by_slice

        recorded = measured_by_slice(self.own)
        if self.name in recorded:
            return np.flatnonzero(recorded[self.name])
        return np.arange(self.own.n_vars) if len(self.rows) == self.own.n_obs else None

    def _measured(self, x: sparse.csr_matrix, names: pd.Index) -> NDArray[np.int64]:
        known = self.panel()
        if known is not None and names.equals(self.own.var_names):
            return known
        if (
            known is not None
        ):  # adata.raw has genes that the AnnData lacks: all that no other slice is known by
            absent = set(self.own.var_names) - set(self.own.var_names[known])
            return np.flatnonzero([name not in absent for name in names])
        return np.flatnonzero(np.bincount(x.indices, x.data > 0, minlength=x.shape[1]))


def in_memory(x: Any) -> Any:
    """Load a matrix that is in a file (a backed AnnData) or not computed yet (a lazy one)."""
    for load in ("to_memory", "compute"):
        if hasattr(x, load):
            return getattr(x, load)()
    return x[()] if type(x).__module__.startswith("h5py") else x


def take_rows(x: Any, rows: NDArray[np.integer]) -> sparse.csr_matrix:
    """Load rows of a matrix; of a sparse one in a file, these alone."""
    if not _in_file(x):
        return sparse.csr_matrix(in_memory(x))[rows]
    wanted, back = np.unique(rows, return_inverse=True)
    if not len(wanted):
        return sparse.csr_matrix((0, x.shape[1]), dtype=x.dtype)
    if wanted[-1] - wanted[0] == len(wanted) - 1:
        found = sparse.csr_matrix(x[int(wanted[0]) : int(wanted[-1]) + 1])
    else:
        parts = np.split(wanted, np.searchsorted(wanted, np.arange(ROWS, x.shape[0], ROWS)))
        starts = range(0, x.shape[0], ROWS)
        found = sparse.vstack(
            [row_block(x, start)[part - start] for start, part in zip(starts, parts)], format="csr"
        )
    return found if len(back) == len(wanted) and (np.diff(back) == 1).all() else found[back]


def row_blocks(x: Any) -> Iterator[sparse.csr_matrix]:
    """Give all rows of a matrix; of a sparse one in a file, `ROWS` at a time."""
    if not _in_file(x):
        yield sparse.csr_matrix(in_memory(x))
        return
    for start in range(0, x.shape[0], ROWS):
        yield row_block(x, start)


def row_block(x: Any, start: int) -> sparse.csr_matrix:
    """Load `ROWS` rows."""
    return sparse.csr_matrix(x[start : min(start + ROWS, x.shape[0])])


def _in_file(x: Any) -> bool:
    return getattr(x, "format", None) == "csr" and not sparse.issparse(x)


def read_parts(
    adatas: AnnData | Sequence[AnnData], *, slice_key: str = keys.SLICE, writes: bool = True
) -> list[Part]:
    """Find the slices: by a column of one AnnData, or one per AnnData of a list.

    Parameters
    ----------
    adatas
        One AnnData of all slices, or one each.
    slice_key
        ``obs`` column that names the slices.
    writes
        Whether results are to be written into the AnnData, which a view of a file cannot take.

    Raises
    ------
    InputError
        If the column is absent, there is no cell, two slices of a list have the same name, or an AnnData
        cannot be written into.
    """
    found: list[Part] = []
    for adata in [adatas] if isinstance(adatas, AnnData) else adatas:
        if writes and adata.isbacked and adata.is_view:
            text = "is a part of a file that is not loaded, in which no result can be kept"
            raise InputError(text, slot="adata", hint="Load it first: adata = adata.to_memory().")
    if isinstance(adatas, AnnData):
        if slice_key not in adatas.obs:
            hint = "Set slice_key to the column that names the slices, or give a list of AnnData."
            raise InputError("the column is absent", slot=f"obs[{slice_key!r}]", hint=hint)
        missing = stands_for_missing(adatas.obs[slice_key], unknown=False)
        if missing.any():
            text = f"is missing for {int(missing.sum())} cells"
            hint = "Name their slice, or leave these cells out."
            raise InputError(text, slot=f"obs[{slice_key!r}]", hint=hint)
        names = adatas.obs[slice_key].astype(str).to_numpy()
        found = [Part(name, adatas, np.flatnonzero(names == name)) for name in dict.fromkeys(names)]
    else:
        for i, adata in enumerate(adatas):
            known = adata.obs[slice_key].astype(str).unique() if slice_key in adata.obs else []
            name = str(known[0]) if len(known) == 1 else f"slice{i + 1}"
            found.append(Part(name, adata, np.arange(adata.n_obs)))
    if not any(len(part.rows) for part in found):
        raise InputError("there are no cells", hint="Give one AnnData of all slices, or a list of AnnData.")
    if len({part.name for part in found}) < len(found):
        raise InputError("two slices have the same name", slot=f"obs[{slice_key!r}]", hint="Rename one.")
    return found


def named(parts: Sequence[Part], names: Sequence[str] | str | None) -> list[Part]:
    """Select slices by name, all if None.

    Raises
    ------
    InputError
        If there is no such slice.
    """
    if names is None:
        return list(parts)
    wanted = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    known = {part.name: part for part in parts}
    for name in wanted:
        if name not in known:
            raise InputError(f"there is no slice {name!r}", hint=f"There are: {', '.join(known)}.")
    return [known[name] for name in wanted]


def joint_embedding(parts: Sequence[Part], key: str) -> NDArray[np.floating]:
    """Concatenate the embedding (n, d) of all cells, slice after slice.

    Raises
    ------
    InputError
        If it is absent in a slice, not finite, or of different widths.
    """
    found = [part.embedding(key) for part in parts]
    for part, x in zip(parts, found):
        if x.shape[1] != found[0].shape[1]:
            text = f"has {x.shape[1]} columns where {parts[0].name} has {found[0].shape[1]}"
            hint = "All slices must be embedded together."
            raise InputError(text, where=part.name, slot=f"obsm[{key!r}]", hint=hint)
    return np.concatenate(found)


def write_column(parts: Sequence[Part], key: str, values: NDArray, *, categories: Any = None) -> None:
    """Write values (n,) of all cells, slice after slice, into the ``obs`` of their AnnData.

    Cells of slices that are not among the parts get NaN, or no category.
    """
    ends = np.cumsum([len(part.rows) for part in parts])[:-1]
    columns = {id(own): np.full(own.n_obs, np.nan, dtype=object) for own in owners(parts)}
    for part, piece in zip(parts, np.split(values, ends)):
        columns[id(part.own)][part.rows] = piece
    for own in owners(parts):
        column = pd.Series(columns[id(own)], index=own.obs_names)
        if categories is not None:
            own.obs[key] = pd.Categorical(column, categories=list(categories))
        elif values.dtype == bool and not column.isna().any():
            own.obs[key] = column.astype(bool)
        else:
            own.obs[key] = column.astype(float)


def owners(parts: Iterable[Part]) -> list[AnnData]:
    """Every AnnData that holds one of the parts, once."""
    return list({id(part.own): part.own for part in parts}.values())


def record(adatas: Iterable[AnnData], function: str, parameters: Mapping[str, Any], **facts: Any) -> None:
    """Write parameters and results of a call into ``uns["lloki"]`` of every AnnData."""
    entry = {"version": __version__, "parameters": json.dumps(dict(parameters), default=str), **facts}
    for own in adatas:
        own.uns[keys.UNS] = {**own.uns.get(keys.UNS, {}), function: entry}
