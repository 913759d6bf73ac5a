"""Programs of a cell type near another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lloki import keys
from lloki.errors import InputError
from lloki.pl._slots import INK, obs_slot, obsm

if TYPE_CHECKING:
    import anndata as ad
    from matplotlib.figure import Figure


def program(adata: ad.AnnData, *, group: str = keys.SLICE) -> Figure:
    """Draw the score of a neighborhood program against the share of the neighbor type.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.neighborhood_program` left it.
    group
        Column of ``obs`` that names slices or data sets: medians are drawn for each.

    Raises
    ------
    InputError
        A column is absent.
    """
    from lloki.report import programs

    for column in (keys.NEIGHBOR_SHARE, keys.NEIGHBORHOOD_SCORE, group):
        if column not in adata.obs:
            hint = "Run lloki.tl.neighborhood_program first, or set group"
            raise InputError("the column is absent", slot=obs_slot(column), hint=hint)
    share, score = (adata.obs[c].to_numpy(float) for c in (keys.NEIGHBOR_SHARE, keys.NEIGHBORHOOD_SCORE))
    return programs.score_against_share(share, score, adata.obs[group].astype(str).to_numpy(), ink=INK)


def program_in_space(
    adata: ad.AnnData, *, neighbor: str, label_key: str, slice: str, slice_key: str = keys.SLICE
) -> Figure:
    """Draw the focal cells of a slice by their score, and cells of the neighbor type in gray.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.neighborhood_program` left it.
    neighbor, label_key
        Name of the type, and ``obs`` column of types.
    slice, slice_key
        Which slice, and the ``obs`` column that names them.

    Raises
    ------
    InputError
        A slot or the slice is absent.
    """
    from lloki.report import programs

    for column in (keys.NEIGHBORHOOD_SCORE, label_key, slice_key):
        if column not in adata.obs:
            hint = "Run lloki.tl.neighborhood_program first"
            raise InputError("the column is absent", slot=obs_slot(column), hint=hint)
    rows = (adata.obs[slice_key].astype(str) == slice).to_numpy()
    if not rows.any():
        raise InputError(f"no cell of slice {slice!r}", slot=obs_slot(slice_key), hint="Name another")
    here = adata.obs[rows]
    return programs.scores_in_space(
        obsm(adata, keys.SPATIAL)[rows, :2],
        here[keys.NEIGHBORHOOD_SCORE].to_numpy(float),
        (here[label_key].astype(str) == neighbor).to_numpy(),
        title=slice,
        ink=INK,
    )
