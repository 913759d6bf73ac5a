"""Checked slices in the run's store: what every stage after the door works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._log import logger
from lloki.embed import Embedder, Precomputed
from lloki.errors import GeneError, InputError
from lloki.genes import PanelCoverage, match_reference
from lloki.io import content_hash, iter_slices
from lloki.io.messages import bare
from lloki.run.door import Inputs, all_wrong
from lloki.run.store import Store, key_of, save_arrays

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
        Genes of the reference, of which the slice must have some, and what to call it.
    """

    embedder: Embedder | None = None
    genes: Sequence[str] | None = None
    reference_name: str = "the reference"


@dataclass(frozen=True)
class SliceRecord:
    """A checked slice in the store: everything about it but its counts.

    Attributes
    ----------
    name, token
        Slice and its batch.
    hash
        Of its content.
    path
        Of the checked copy: arrays counts, spatial, genes, cells, and embedding if it is precomputed.
    genes
        Its g genes.
    obs, spatial
        Its cells.
    said
        ``uns["lloki"]`` of the checked slice: source, scale, species, messages.
    coverage
        Which of its genes the reference has; ``None`` where no reference is used.
    """

    name: str
    token: str
    hash: str
    path: Path
    genes: tuple[str, ...]
    obs: pd.DataFrame
    spatial: np.ndarray
    said: dict[str, Any] = field(default_factory=dict)
    coverage: PanelCoverage | None = None

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.obs)


def gather(
    given: Inputs, store: Store, *, demands: Demands, skip_bad: bool = False
) -> tuple[list[SliceRecord], list[Message]]:
    """Copy checked slices into the store, one at a time.

    Parameters
    ----------
    given
        From `check_inputs`.
    store
        The run's.
    demands
        What else the run asks of each.
    skip_bad
        Set slices that do not meet the demands aside instead of stopping.

    Returns
    -------
    slices, messages
        Records in the order given, and all that was corrected or set aside.

    Raises
    ------
    InputError, GeneError
        If slices do not meet the demands, or none is left.
    """
    records: list[SliceRecord] = []
    messages: list[Message] = []
    errors: dict[str, InputError] = {}
    for adata in iter_slices(given.inputs, **given.read.options()):
        name = str(adata.obs[keys.SLICE].iloc[0])
        try:
            records.append(_keep(adata, name, store, demands))
        except InputError as error:
            errors[name] = error
            continue
        said = records[-1].said
        messages += [{"slice": name, "text": bare(str(text), said["source"])} for text in said["messages"]]
        found = records[-1].coverage
        if found is not None and found.diagnosis:
            messages.append({"slice": name, "text": f"{found.diagnosis}. {found.hint}".strip()})
    if errors and (not skip_bad or not records):
        if len(errors) == 1:
            raise next(iter(errors.values()))
        raise all_wrong([str(e) for e in errors.values()], len(errors) + len(records))
    for name, why in (given.aside | {name: str(error) for name, error in errors.items()}).items():
        messages.append({"slice": name, "text": f"set aside: {why}"})
        logger.warning("%s is set aside: %s", name, why)
    return records, messages


def _keep(adata: AnnData, name: str, store: Store, demands: Demands) -> SliceRecord:
    """Check one slice against the demands, and copy it into the store unless it is there."""
    digest, rows, found = content_hash(adata), None, None
    embedder = demands.embedder
    if isinstance(embedder, Precomputed):
        rows = embedder.take(adata.obsm, where=name)
        digest = key_of(digest, embedder.key, rows)
    elif embedder is not None and not embedder.joint:
        known = embedder.coverage(list(map(str, adata.var_names)))
        if known.diagnosis:
            raise GeneError(known.diagnosis, where=name, slot="var_names", hint=known.hint)
    if demands.genes is not None:
        found = match_reference(
            adata.var_names, demands.genes, where=name, reference_name=demands.reference_name
        )
    path = store.path("slices", name, digest[:16])
    if not path.exists():
        arrays = {
            "counts": adata.X,
            "spatial": np.asarray(adata.obsm[keys.SPATIAL]),
            "genes": np.array(adata.var_names, dtype=str),
            "cells": np.array(adata.obs_names, dtype=str),
        }
        save_arrays(path, arrays if rows is None else arrays | {"embedding": rows})
    return SliceRecord(
        name=name,
        token=str(adata.obs[keys.TOKEN].iloc[0]),
        hash=digest,
        path=path,
        genes=tuple(map(str, adata.var_names)),
        obs=adata.obs,
        spatial=np.asarray(adata.obsm[keys.SPATIAL]),
        said=dict(adata.uns[keys.UNS]),
        coverage=found,
    )
