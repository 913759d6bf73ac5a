"""Neighborhood programs of a cell type, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np
from anndata import AnnData

import lloki
from lloki import keys
from lloki._keywords import keywords
from lloki._parts import Part, joint_embedding, owners, read_parts, record, write_column
from lloki.errors import InputError, LlokiWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    import lloki.analysis
    from lloki.analysis import NeighborhoodProgram


@keywords
def neighborhood_program(
    adatas: AnnData | Sequence[AnnData],
    *,
    focal: str,
    neighbor: str,
    label_key: str,
    dataset_key: str | None = None,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    key_added: str = keys.NEIGHBORHOOD,
    **options: Unpack[lloki.analysis.NeighborhoodOptions],
) -> NeighborhoodProgram:
    """Find the neighborhood program of a cell type: genes that depend on another type around it.

    With T cells and malignant cells, these are the genes of infiltrating T cells. Slices may have any panels:
    focal cells are clustered together in the joint embedding, and genes compared within each data set.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts,
        positions and labels.
    focal, neighbor
        Names of the type whose genes are tested, and of the type around it.
    label_key
        ``obs`` column of cell types.
    dataset_key
        ``obs`` column that names the data sets, where one has several slices, as tissue arrays have; default
        each slice is a data set.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    layer
        Layer of counts, where ``X`` does not hold them.
    key_added
        Prefix of the ``obs`` columns.
    options
        Fields of :class:`lloki.analysis.NeighborhoodConfig`, such as ``n_neighbors=50``,
        ``permutations=1000`` or ``seed=1``.

    Returns
    -------
    NeighborhoodProgram
        ``.found`` and ``.reason``: whether there is a neighborhood program; then ``.up``, ``.down``,
        ``.genes`` and ``.correlations``. Written into ``adatas``, for focal cells (NaN for others):

        ``obs["lloki_neighborhood_share"]``
            Share of the neighbor type among the nearest cells.
        ``obs["lloki_neighborhood_cluster"]``, ``obs["lloki_neighborhood_infiltrating"]``
            Cluster, and whether it is rich in that share: ``"yes"`` or ``"no"``.
        ``obs["lloki_neighborhood_score"]``
            Signed score of the neighborhood program.
        ``uns["lloki"]["neighborhood_program"]``
            Parameters, version, verdict, genes and correlations.

    Raises
    ------
    InputError
        If a slot is absent, a slice has no cell of the focal type, or there are too few in all.
    ConfigError
        If an option is unknown or out of its range.

    Warns
    -----
    LlokiWarning
        If no neighborhood program was found, or a slice has no more cells than ``n_neighbors``.

    Notes
    -----
    Method, time and memory are those of :func:`lloki.analysis.neighborhood_program`. The paper integrated
    its ovarian slices with ``lloki.cae.CAEConfig.preset("ovarian")``.
    """
    from lloki import analysis
    from lloki.fp import log_normalize

    config = analysis.NeighborhoodConfig.from_dict(options)
    parts = sorted(read_parts(adatas, slice_key=slice_key), key=lambda part: part.name)
    joint_embedding(parts, use_rep)
    tissues, slot = [], f"obs[{label_key!r}]"
    for part in parts:
        labels = part.labels(label_key)
        if labels is None:
            raise InputError("the column is absent", where=part.name, slot=slot, hint="Set label_key.")
        if not (labels == focal).any():
            there = ", ".join(sorted(set(labels) - {""})) or "no labels"
            hint = f"Leave the slice out, or name another type. Its types: {there}."
            raise InputError(f"no cell of the focal type {focal!r}", where=part.name, slot=slot, hint=hint)
        if len(part.rows) <= config.n_neighbors:
            text = f"{part.name} has {len(part.rows)} cells, n_neighbors={config.n_neighbors}: all are used."
            warnings.warn(text, LlokiWarning, stacklevel=3)
        group = part.column(dataset_key) if dataset_key is not None else None
        if dataset_key is not None and (group is None or len(set(group)) != 1):
            hint = "Every slice must belong to one data set."
            raise InputError(
                "does not name one data set", where=part.name, slot=f"obs[{dataset_key!r}]", hint=hint
            )
        counts, genes = part.counts(layer)
        tissues.append(
            analysis.Tissue(
                part.name,
                part.name if group is None else str(group[0]),
                log_normalize(counts),
                tuple(genes),
                part.positions(),
                part.embedding(use_rep),
                labels == focal,
                labels == neighbor,
            )
        )
    found = analysis.neighborhood_program(tissues, config=config)
    is_focal = np.concatenate([t.focal for t in tissues])
    _spread(parts, is_focal, f"{key_added}_share", found.share)
    _spread(parts, is_focal, f"{key_added}_score", found.score)
    clusters = [str(i) for i in range(int(found.cluster.max()) + 1)]
    _spread(parts, is_focal, f"{key_added}_cluster", found.cluster.astype(str), clusters)
    sides = np.where(found.infiltrating, "yes", "no")
    _spread(parts, is_focal, f"{key_added}_infiltrating", sides, ["no", "yes"])
    names = {"focal": focal, "neighbor": neighbor, "label_key": label_key}
    slots = {"use_rep": use_rep, "key_added": key_added}
    facts = {"found": found.found, "reason": found.reason, "contrast": found.contrast, "p": found.contrast_p}
    tables = {"genes": found.genes, "correlations": found.correlations}
    record(owners(parts), "neighborhood_program", config.to_dict() | names | slots, **facts, **tables)
    if not found.found:
        text = f"No neighborhood program of {focal} near {neighbor}: {found.reason}"
        warnings.warn(text, LlokiWarning, stacklevel=3)
    return found


def _spread(
    parts: Sequence[Part],
    rows: NDArray[np.bool_],
    column: str,
    values: NDArray,
    categories: list[str] | None = None,
) -> None:
    """Write values of focal cells, NaN for all others."""
    wide = np.full(len(rows), np.nan, object if categories is not None else float)
    wide[rows] = values
    write_column(parts, column, wide, categories=categories)
