"""A checked slice in the run's store: what every stage after the check works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from lloki import keys
from lloki.embed import Embedder, Precomputed
from lloki.errors import GeneError
from lloki.genes import PanelCoverage, in_letter_case, match_reference
from lloki.io import content_hash
from lloki.io.reference import closer_by_orthologs
from lloki.run.store import Piece, Store, key_of, load_arrays, write_arrays
from lloki.run.tables import table_arrays, table_of

Message = dict[str, str]  # "slice" and "text"


@dataclass(frozen=True)
class Demands:
    """What a run asks of a slice beyond being readable.

    Attributes
    ----------
    embedder
        Takes the slice's own embedding, if it is precomputed; must know enough of its genes, if it is
        pretrained.
    genes, reference_name
        Genes of the reference, of which the slice must have some, and the name of the reference.
    orthologs
        Names of their one-to-one orthologs in the other species, if slices may be matched by them.
    any_case
        Whether the letter case of the names may be that of the slices, if it is the same species.
    """

    embedder: Embedder | None = None
    genes: Sequence[str] | None = None
    reference_name: str = "the reference"
    orthologs: Sequence[str] | None = None
    any_case: bool = False

    def names(self, genes: Sequence[str]) -> Sequence[str] | None:
        """Names of the reference's genes to match a slice with, by orthologs if its genes are those."""
        names = self.orthologs if self.by_orthologs(genes) else self.genes
        return names if names is None or not self.any_case else in_letter_case(genes, names)

    def by_orthologs(self, genes: Sequence[str]) -> bool:
        """Whether the genes of a slice are matched by orthologs."""
        if self.genes is None or self.orthologs is None:
            return False
        return closer_by_orthologs(genes, self.genes, self.orthologs)


@dataclass(frozen=True)
class SliceRecord:
    """A checked slice in the store. Nothing of its cells is in memory, unless it was not copied.

    Attributes
    ----------
    name, token
        Slice and its batch.
    hash
        Hash of the content.
    piece
        The checked copy: arrays counts, spatial, genes, cells, and embedding if it is precomputed.
    genes
        Its g genes.
    cells
        Number of cells.
    table
        File of ``obs``; the table itself where nothing was copied.
    info
        ``uns["lloki"]`` of the checked slice: source, scale, species, messages.
    coverage
        Which of its genes the reference has; ``None`` where no reference is used.
    stored
        Number of its counts above 0.
    """

    name: str
    token: str
    hash: str
    piece: Piece
    genes: tuple[str, ...]
    cells: int
    table: Path | pd.DataFrame
    info: dict[str, Any] = field(default_factory=dict)
    coverage: PanelCoverage | None = None
    stored: int = 0

    @property
    def obs(self) -> pd.DataFrame:
        """Table of its cells, read anew each time."""
        if isinstance(self.table, pd.DataFrame):
            return self.table
        return table_of(load_arrays(self.table))

    @property
    def spatial(self) -> NDArray[np.float64]:
        """(n, 2 or 3) positions, read anew each time."""
        found: NDArray[np.float64] = load_arrays(self.piece.path, only=("spatial",))["spatial"]
        return found


def take_slice(
    adata: AnnData, name: str, store: Store, *, embedder: Embedder | None = None, copy: bool = True
) -> SliceRecord:
    """Copy one slice into the store.

    Parameters
    ----------
    adata
        From :mod:`lloki.io`.
    name
        Of the slice.
    store
        The run's.
    embedder
        Takes the slice's own embedding, if it is precomputed.
    copy
        Without, the record names a file that may not be there.

    Raises
    ------
    InputError
        If the slice has no such embedding.
    """
    digest = content_hash(adata)
    arrays = {
        "counts": adata.X,
        "spatial": np.asarray(adata.obsm[keys.SPATIAL]),
        "genes": np.array(adata.var_names, dtype=str),
        "cells": np.array(adata.obs_names, dtype=str),
    }
    if isinstance(embedder, Precomputed):
        arrays["embedding"] = embedder.take(adata.obsm, where=name)
        digest = key_of(digest, embedder.key, arrays["embedding"])
    piece = store.piece("slices", name, digest)
    table: Path | pd.DataFrame = adata.obs
    if copy:
        store.cached(piece, partial(write_arrays, arrays=arrays))
        # labels may change while counts do not, so the table has a key of its own
        made = table_arrays(adata.obs)
        parts = [part for item in sorted(made.items()) for part in item]
        table = store.cached(store.piece("obs", name, piece.key, *parts), partial(write_arrays, arrays=made))
    return SliceRecord(
        name=name,
        token=str(adata.obs[keys.TOKEN].iloc[0]),
        hash=digest,
        piece=piece,
        genes=tuple(map(str, adata.var_names)),
        cells=adata.n_obs,
        table=table,
        info=dict(adata.uns[keys.UNS]),
        stored=int(adata.X.nnz),
    )


def require(record: SliceRecord, demands: Demands) -> SliceRecord:
    """Check a slice against the demands of a run; return it with its coverage by the reference.

    Raises
    ------
    InputError, GeneError
        If it does not meet them.
    """
    embedder, genes = demands.embedder, list(record.genes)
    if embedder is not None and not embedder.joint and not isinstance(embedder, Precomputed):
        known = embedder.coverage(genes)
        if known.diagnosis:
            raise GeneError(known.diagnosis, where=record.name, slot="var_names", hint=known.hint)
    known_genes = demands.names(genes)
    if known_genes is None:
        return record
    found = match_reference(genes, known_genes, where=record.name, reference_name=demands.reference_name)
    return replace(record, coverage=found)
