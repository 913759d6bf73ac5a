"""A checked slice in the run's store: what every stage after the check works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki.embed import Embedder, Precomputed
from lloki.errors import GeneError
from lloki.genes import PanelCoverage, in_letter_case, match_reference
from lloki.io import content_hash
from lloki.io.reference import closer_by_orthologs
from lloki.run.store import Piece, Store, key_of, write_arrays

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
    """A checked slice in the store: everything about it but its counts.

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
    obs, spatial
        Its cells.
    info
        ``uns["lloki"]`` of the checked slice: source, scale, species, messages.
    coverage
        Which of its genes the reference has; ``None`` where no reference is used.
    """

    name: str
    token: str
    hash: str
    piece: Piece
    genes: tuple[str, ...]
    obs: pd.DataFrame
    spatial: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)
    coverage: PanelCoverage | None = None

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.obs)


def take_slice(
    adata: AnnData, name: str, store: Store, *, demands: Demands, copy: bool = True
) -> SliceRecord:
    """Check one slice against the demands, and copy it into the store.

    Parameters
    ----------
    adata
        From :mod:`lloki.io`.
    name
        Of the slice.
    store
        The run's.
    demands
        What the run asks of it.
    copy
        Without, the record names a file that may not be there.

    Raises
    ------
    InputError, GeneError
        If it does not meet the demands.
    """
    digest, found, embedder = content_hash(adata), None, demands.embedder
    arrays = {
        "counts": adata.X,
        "spatial": np.asarray(adata.obsm[keys.SPATIAL]),
        "genes": np.array(adata.var_names, dtype=str),
        "cells": np.array(adata.obs_names, dtype=str),
    }
    if isinstance(embedder, Precomputed):
        arrays["embedding"] = embedder.take(adata.obsm, where=name)
        digest = key_of(digest, embedder.key, arrays["embedding"])
    elif embedder is not None and not embedder.joint:
        known = embedder.coverage(list(map(str, adata.var_names)))
        if known.diagnosis:
            raise GeneError(known.diagnosis, where=name, slot="var_names", hint=known.hint)
    known_genes = demands.names(list(map(str, adata.var_names)))
    if known_genes is not None:
        found = match_reference(
            adata.var_names, known_genes, where=name, reference_name=demands.reference_name
        )
    piece = store.piece("slices", name, digest)
    if copy:
        store.cached(piece, partial(write_arrays, arrays=arrays))
    return SliceRecord(
        name=name,
        token=str(adata.obs[keys.TOKEN].iloc[0]),
        hash=digest,
        piece=piece,
        genes=tuple(map(str, adata.var_names)),
        obs=adata.obs,
        spatial=arrays["spatial"],
        info=dict(adata.uns[keys.UNS]),
        coverage=found,
    )
