"""The scRNA-seq reference: its counts and gene symbols; everything else about it is optional."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki.io._findings import Findings, number, warn_once_each
from lloki.io.cells import read_obs
from lloki.io.counts import read_counts
from lloki.io.features import read_features
from lloki.io.files import open_input
from lloki.io.sources import Input


@keywords
def read_reference(
    source: Input, *, layer: str | None = None, allow_normalized: bool = False, option: str = "layer"
) -> AnnData:
    """Read and check a single-cell reference.

    Parameters
    ----------
    source
        ``.h5ad``, AnnData or SpatialData ``.zarr``, or AnnData in memory, which is not changed. Coordinates
        and labels are not needed.
    layer, allow_normalized
        As for :func:`lloki.io.read_slices`.
    option
        Name of the parameter that the caller gives the layer by, for the hints of errors.

    Returns
    -------
    AnnData
        ``X`` (m, G) csr float32 counts, ``var_names`` unique symbols (Ensembl ids if it has nothing else),
        ``obs`` all input columns, ``uns["lloki"]`` as for a slice.

    Raises
    ------
    InputError
        If it cannot be read or holds no counts; the message names the file, the slot and the fix.
    GeneError
        If no gene can be recognized.

    Warns
    -----
    LlokiWarning
        Once for each thing corrected.
    """
    where = "reference" if isinstance(source, AnnData) else str(source)
    adata, messages = check_reference(
        open_input(source), where=where, layer=layer, allow_normalized=allow_normalized, option=option
    )
    warn_once_each(messages, stacklevel=3)
    return adata


def check_reference(
    adata: AnnData,
    *,
    where: str,
    layer: str | None = None,
    allow_normalized: bool = False,
    option: str = "layer",
) -> tuple[AnnData, list[str]]:
    """Check an opened reference; as `read_reference`, which names the parameters and the errors.

    Returns
    -------
    reference, messages
        The checked AnnData, and what was corrected.
    """
    findings = Findings(where, strict=True)
    counts = read_counts(adata, findings, layer=layer, allow_normalized=allow_normalized, option=option)
    x, var, ids = read_features(counts.x, counts.var, findings)
    obs = read_obs(adata, findings)
    empty = int((np.diff(x.indptr) == 0).sum())
    if empty:
        findings.corrected(f"{number(empty, 'cell')} without any count; kept, and left out of the statistics")
    info = {
        "source": where,
        "scale": counts.scale,
        "gene_ids": ids.kind,
        "species": ids.species,
        "messages": findings.messages,
    }
    return AnnData(X=x, obs=obs, var=var, uns={keys.UNS: info}), findings.messages
