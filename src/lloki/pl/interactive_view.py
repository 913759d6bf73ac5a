"""The viewer of cells in a notebook, or as a file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lloki import keys
from lloki._keywords import keywords
from lloki._names import did_you_mean
from lloki.errors import InputError
from lloki.pl import _viewer
from lloki.pl._slots import near_names

if TYPE_CHECKING:
    import anndata as ad

    from lloki.pl._viewer import Viewer


@dataclass(frozen=True, eq=False)
class Interactive:
    """Cells to explore; a notebook shows them by itself.

    Attributes
    ----------
    viewer
        The packed cells.
    height
        In a notebook, in pixels.
    """

    viewer: Viewer
    height: int

    @property
    def html(self) -> str:
        """A whole page, which needs no network."""
        return _viewer.page(self.viewer, "lloki: cells")

    def save(self, path: str | Path) -> Path:
        """Write the page as a file.

        Raises
        ------
        OutputError
            If it cannot be written there.
        """
        from lloki.io import atomic

        with atomic(path) as temporary:
            temporary.write_text(self.html, encoding="utf-8")
        return Path(path).expanduser()

    def _repr_html_(self) -> str:
        source = html.escape(self.html, quote=True)
        style = f"width:100%;height:{self.height}px;border:0"
        return (
            f'<iframe srcdoc="{source}" sandbox="allow-scripts" style="{style}" title="Cells to explore">'
            "</iframe>"
        )

    def __repr__(self) -> str:
        offered = ", ".join(list(self.viewer.titles.values())[:6])
        what = f"{self.viewer.cells:,} cells, to be colored by {offered} and more"
        return f"Interactive({what}); save(path) writes a page"


@keywords
def interactive(
    adata: ad.AnnData,
    *,
    color: str | Sequence[str] = (),
    label_key: str | None = None,
    slice_key: str = keys.SLICE,
    height: int = 720,
) -> Interactive:
    """Explore cells in a notebook: embedding and tissue side by side and linked.

    Parameters
    ----------
    adata
        Has ``obsm["X_umap"]``, ``obsm["spatial"]`` or both.
    color
        Columns of ``obs`` and genes to offer in any case; the first one is shown at first. Offered are also
        all columns that lloki writes, states of gene programs, and up to 120 genes that most slices measured.
    label_key
        Column of cell types, by which selected cells are counted.
    slice_key
        Column of ``obs`` that names the slices.
    height
        Height in a notebook, in pixels.

    Returns
    -------
    Interactive
        Shows itself in a notebook; ``.save(path)`` writes a page. Works without a network and, for 500,000
        cells, takes less than 15 MB.

    Raises
    ------
    InputError
        A color is neither a column nor a gene, or there is neither an embedding nor a position.
    """
    colors = [color] if isinstance(color, str) else list(color)
    for name in [*colors, *([label_key] if label_key is not None else [])]:
        if name not in adata.obs and name not in adata.var_names:
            hint = did_you_mean(name, [*map(str, adata.obs), *near_names(name, adata.var_names)])
            raise InputError(f"{name!r} is neither a column of obs nor a gene", hint=hint)
    viewer = _viewer.viewer_of(
        adata,
        label_key=label_key,
        genes=[c for c in colors if c not in adata.obs],
        columns=[c for c in colors if c in adata.obs],
        first=colors[0] if colors else None,
        panels=(_viewer.EMBEDDING, _viewer.COMMON_FRAME, _viewer.TISSUE),
        slice_key=slice_key,
    )
    if viewer is None:
        hint = "Integrate the slices first, or add positions."
        raise InputError(f"neither {keys.UMAP!r} nor {keys.SPATIAL!r} is there", slot="obsm", hint=hint)
    return Interactive(viewer, height)
