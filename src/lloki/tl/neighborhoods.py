"""Programs of a cell type in the neighborhood of another, on AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from lloki import keys
from lloki.errors import InputError, LlokiWarning
from lloki.tl._parts import joint_embedding, owners, read_parts, record, write_column

if TYPE_CHECKING:
    from lloki.analysis import NeighborhoodProgram


def neighborhood_program(
    adatas: AnnData | Sequence[AnnData],
    *,
    focal: str,
    neighbor: str,
    label_key: str,
    dataset_key: str | None = None,
    key: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    **settings: Any,
) -> NeighborhoodProgram:
    """Find the program that cells of one type express where another type is around them.

    Of T cells and malignant cells, that is what infiltrating T cells do. Slices may have any panels: focal
    cells are clustered together in the joint embedding, and genes compared within each data set.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts,
        positions and labels.
    focal, neighbor
        Names of the two types.
    label_key
        ``obs`` column of cell types.
    dataset_key
        ``obs`` column that names the data sets, where one has several slices, as tissue arrays have; default
        each slice is one.
    key
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices.
    layer
        Layer of counts, where ``X`` does not hold them.
    settings
        Fields of :class:`lloki.analysis.NeighborhoodConfig`, such as ``k=50`` or ``permutations=1000``.

    Returns
    -------
    NeighborhoodProgram
        ``.found`` and ``.reason`` first: whether there is a program at all. Then ``.up``, ``.down``,
        ``.genes`` and ``.correlations``. Written into ``adatas``, for focal cells (NaN for others):

        ``obs["lloki_neighbor_share"]``
            Share of the neighbor type among the nearest cells.
        ``obs["lloki_focal_cluster"]``, ``obs["lloki_infiltrating"]``
            Cluster, and whether it is rich in that share: ``"yes"`` or ``"no"``.
        ``obs["lloki_program_score"]``
            Signed score of the program.
        ``uns["lloki"]["neighborhood_program"]``
            Parameters, version, verdict, genes and correlations.

    Raises
    ------
    InputError
        If a slot is absent, a slice has no cell of the focal type, or there are too few in all.
    ConfigError
        If a setting is unknown or out of its range.

    Warns
    -----
    LlokiWarning
        If no program was found, or a slice has no more cells than neighbors are counted.

    Notes
    -----
    Method, time and memory are those of :func:`lloki.analysis.neighborhood_program`. The paper integrated
    its ovarian sections with ``lloki.cae.CAEConfig.preset("ovarian")``.
    """
    from lloki import analysis
    from lloki.fp import log_normalize

    config = analysis.NeighborhoodConfig.from_dict(settings)
    parts = sorted(read_parts(adatas, slice_key=slice_key), key=lambda part: part.name)
    joint_embedding(parts, key)
    tissues, slot = [], f"obs[{label_key!r}]"
    for part in parts:
        labels = part.column(label_key)
        if labels is None:
            raise InputError("the column is absent", where=part.name, slot=slot, hint="Set label_key.")
        if not (labels == focal).any():
            there = ", ".join(sorted(set(labels) - {""})) or "no labels"
            hint = f"Leave the slice out, or name another type. There: {there}."
            raise InputError(f"no cell of the focal type {focal!r}", where=part.name, slot=slot, hint=hint)
        if len(part.rows) <= config.k:
            text = f"{part.name}: {len(part.rows)} cells, so all of them stand for the {config.k} nearest."
            warnings.warn(text, LlokiWarning, stacklevel=2)
        group = part.column(dataset_key) if dataset_key is not None else None
        if dataset_key is not None and (group is None or len(set(group)) != 1):
            hint = "Every slice belongs to one data set."
            raise InputError("does not name one", where=part.name, slot=f"obs[{dataset_key!r}]", hint=hint)
        counts, genes = part.counts(layer)
        tissues.append(
            analysis.Tissue(
                part.name,
                part.name if group is None else str(group[0]),
                log_normalize(counts),
                tuple(genes),
                part.positions(),
                part.embedding(key),
                labels == focal,
                labels == neighbor,
            )
        )
    found = analysis.neighborhood_program(tissues, config=config)
    is_focal = np.concatenate([t.focal for t in tissues])
    _spread(parts, is_focal, keys.NEIGHBOR_SHARE, found.share)
    _spread(parts, is_focal, keys.PROGRAM_SCORE, found.score)
    clusters = [str(i) for i in range(int(found.cluster.max()) + 1)]
    _spread(parts, is_focal, keys.FOCAL_CLUSTER, found.cluster.astype(str), clusters)
    sides = np.where(found.infiltrating, "yes", "no")
    _spread(parts, is_focal, keys.INFILTRATING, sides, ["no", "yes"])
    names = {"focal": focal, "neighbor": neighbor, "label_key": label_key, "key": key}
    facts = {"found": found.found, "reason": found.reason, "contrast": found.contrast, "p": found.contrast_p}
    tables = {"genes": found.genes, "correlations": found.correlations}
    record(owners(parts), "neighborhood_program", config.to_dict() | names, **facts, **tables)
    if not found.found:
        warnings.warn(f"No program of {focal} near {neighbor}: {found.reason}", LlokiWarning, stacklevel=2)
    return found


def _spread(parts: Any, rows: Any, key: str, values: Any, categories: list[str] | None = None) -> None:
    wide = np.full(len(rows), np.nan, object if categories is not None else float)
    wide[rows] = values
    write_column(parts, key, wide, categories=categories)
