"""Marker-based annotation, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki._parts import joint_embedding, owners, read_parts, record, write_column
from lloki.errors import ConfigError, LlokiWarning


@keywords
def annotate_by_markers(
    adatas: AnnData | Sequence[AnnData],
    markers: str | Path | Mapping[str, object] | pd.DataFrame,
    *,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    n_neighbors: int = 15,
    threshold: float = 0.5,
    fold: float = 1.5,
    dispersion: float = 0.3,
    key_added: str = keys.MARKER_TYPE,
) -> pd.DataFrame:
    """Assign cell types by marker genes, in slices without labels and with any panels.

    Each slice is annotated by itself first, then probabilities are averaged over neighbors in the joint
    embedding: a type whose markers one panel lacks is assigned by neighbors from slices that have them.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts.
    markers
        A ``.csv`` file or frame with columns type, positive and, if wanted, negative (genes separated by
        ``;``); or type → genes, those with ``-`` before them being negative. See
        :meth:`lloki.analysis.MarkerTable.read`.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    layer
        Layer of counts, where ``X`` does not hold them.
    n_neighbors
        Number of neighbors to average over; 0 annotates each cell by its own counts alone, and needs no
        embedding.
    threshold
        Minimum probability of a type; cells below it are *unknown*.
    fold, dispersion
        See :func:`lloki.analysis.marker_posterior`.
    key_added
        Name of the ``obs`` column of types, and prefix of the other.

    Returns
    -------
    pandas.DataFrame
        One row per slice and type: n_markers (in the panel), n_markers_listed (in the table), fold (how much
        higher the markers are in cells of the type), identifiable and note (whether the panel can identify
        the type, and why not), n_assigned (cells). Written into ``adatas``:

        ``obs["lloki_marker_type"]``, ``obs["lloki_marker_type_confidence"]``
            Type or ``"unknown"``, and its probability by the model, which is not calibrated: there are no
            labels to calibrate it with.
        ``uns["lloki"]["annotate_by_markers"]``
            Parameters, version and the table.

    Raises
    ------
    InputError
        If no slice measured a marker, the table cannot be read, or a slot is absent or holds no counts.
    ConfigError
        If a parameter is out of its range.

    Warns
    -----
    LlokiWarning
        For types that no slice can identify: they are assigned to no cell.
    """
    from lloki import analysis
    from lloki.analysis.labels import markers as model

    if not 0 <= threshold <= 1 or n_neighbors < 0:
        text = "threshold must lie between 0 and 1 and n_neighbors be at least 0"
        raise ConfigError(f"{text}, got {threshold} and {n_neighbors}.")
    table, parts = analysis.MarkerTable.read(markers), read_parts(adatas, slice_key=slice_key)
    counts = [part.counts(layer) for part in parts]
    model.check(table, [genes for _, genes in counts])
    embedding = joint_embedding(parts, use_rep) if n_neighbors else None
    each = [
        analysis.marker_posterior(x, genes, table, name=part.name, fold=fold, dispersion=dispersion)
        for part, (x, genes) in zip(parts, counts)
    ]
    lost = [t for i, t in enumerate(table.types) if not any(s.identifiable[i] for s in each)]
    if lost:
        text = f"no panel can identify {', '.join(lost)}, so no cell is assigned. See the table's notes."
        warnings.warn(text, LlokiWarning, stacklevel=3)
    p = np.concatenate([s.posterior for s in each])
    if embedding is not None:
        p = model.smooth(each, embedding, n_neighbors=n_neighbors)
    names, confidence = model.assign(p, table.types, threshold=threshold)
    usable = np.concatenate([part.usable for part in parts])
    names[~usable], confidence[~usable] = analysis.UNKNOWN, 0.0
    frame = pd.concat([s.table for s in each], ignore_index=True)
    ends = np.cumsum([len(part.rows) for part in parts])[:-1]
    frame["n_assigned"] = np.concatenate(
        [
            pd.Series(piece).value_counts().reindex(table.types, fill_value=0)
            for piece in np.split(names, ends)
        ]
    )
    write_column(parts, key_added, names, categories=[*table.types, analysis.UNKNOWN])
    write_column(parts, f"{key_added}_confidence", confidence)
    options = {"n_neighbors": n_neighbors, "threshold": threshold, "fold": fold, "dispersion": dispersion}
    slots = {"use_rep": use_rep, "key_added": key_added}
    record(owners(parts), "annotate_by_markers", slots | options, table=frame)
    return frame
