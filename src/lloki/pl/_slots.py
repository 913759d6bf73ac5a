"""What figures read from a user's AnnData, and their legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki.errors import InputError

if TYPE_CHECKING:
    import anndata as ad
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lloki.report.coloring import Coloring

INK = "black"


def coloring(adata: ad.AnnData, key: str) -> Coloring:
    """Colors of an ``obs`` column.

    Raises
    ------
    InputError
        If it is absent.
    """
    from lloki.report.coloring import Coloring

    if key not in adata.obs:
        raise InputError(
            "the column is absent", slot=obs_slot(key), hint=f"There are {list(adata.obs.columns)}"
        )
    return Coloring.of(adata.obs[key])


def slices_of(adata: ad.AnnData, slice_key: str) -> ad.AnnData | list[ad.AnnData]:
    """Return the AnnData, as a list of one where no column names slices."""
    return adata if slice_key in adata.obs else [adata]


def obsm(adata: ad.AnnData, key: str) -> NDArray:
    """Return ``obsm[key]``.

    Raises
    ------
    InputError
        If it is absent.
    """
    if key not in adata.obsm:
        raise InputError("the key is absent", slot=f"obsm[{key!r}]", hint=f"There are {list(adata.obsm)}")
    return np.asarray(adata.obsm[key])


def obs_slot(key: str) -> str:
    """Name a column in a message."""
    return f"obs[{key!r}]"


def with_legend(figure: Figure, entries: tuple[tuple[str, str, int], ...], title: str) -> Figure:
    """Widen the figure by as many columns of 20 names as the legend needs."""
    from matplotlib.lines import Line2D

    columns = -(-len(entries) // 20)
    width, height = figure.get_size_inches()
    extra = columns * (0.5 + 0.075 * max((len(name) for name, _, _ in entries), default=0))
    figure.set_size_inches(width + extra, height)
    share = width / (width + extra)
    figure.axes[0].set_position((0, 0, share, 1))
    handles = [
        Line2D([], [], ls="", marker="o", ms=6, mec="none", color=color, label=name)
        for name, color, _ in entries
    ]
    legend = figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(share, 0.5),
        ncols=max(columns, 1),
        frameon=False,
        fontsize=8,
    )
    legend.set_title(title)
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_parse_math(False)  # a "$" in a name is a dollar
    return figure
