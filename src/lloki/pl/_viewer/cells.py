"""The viewer of an AnnData as a part of a page: its cells, packed, and the script that shows them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from lloki import keys
from lloki.pl import _slots
from lloki.pl._palette import COLOR_MAP, OTHER
from lloki.pl._viewer import fields
from lloki.pl._viewer.encode import Box, positions, text_of, text_of_names

if TYPE_CHECKING:
    import anndata as ad

    from lloki.pl._viewer.fields import Field

MOST_GENES = 120
BUDGET = 13_000_000  # characters of all blocks: a page of 500,000 cells stays under 15 MB with its pictures


@dataclass(frozen=True)
class Viewer:
    """Cells of an AnnData for the page.

    Attributes
    ----------
    blocks
        Name -> base64; ``about`` describes the others.
    titles
        Of all that cells can be colored by, as ``key -> title``.
    cells
        Their number.
    """

    blocks: dict[str, str]
    titles: dict[str, str]
    cells: int

    @property
    def markup(self) -> Markup:
        """The viewer as a part of a page, which needs `style` and a policy that allows `script_hash`."""
        data = "".join(f'<div hidden id="cells-{name}">{text}</div>\n' for name, text in self.blocks.items())
        return Markup(f"{_file('viewer.html')}{data}<script>{_file('viewer.js')}</script>\n")


@cache
def _file(name: str) -> str:
    return (files("lloki.pl._viewer") / name).read_text(encoding="utf-8")


def style() -> str:
    """Style sheet of the viewer."""
    return _file("viewer.css")


def theme() -> str:
    """Colors of pages, light and dark, as variables of a style sheet."""
    return _file("theme.css")


def page(viewer: Viewer, title: str) -> str:
    """Return the viewer as a page of its own, without pictures to fall back on."""
    return (
        _file("page.html")
        .replace("POLICY", policy())
        .replace("STYLE", theme() + style())
        .replace("TITLE", escape(title))
        .replace("VIEWER", viewer.markup)
    )


def policy(*, scripts: bool = True) -> str:
    """Content-Security-Policy of a page: no request leaves it, and no script runs but the viewer's."""
    rule = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"{rule}; script-src {script_hash()}" if scripts else rule


def script_hash() -> str:
    """Source expression of a Content-Security-Policy that allows the viewer's script and no other."""
    digest = hashlib.sha256(_file("viewer.js").encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@dataclass(frozen=True)
class PanelOf:
    """A panel of the viewer.

    Attributes
    ----------
    title
        Above it.
    basis
        Key of ``obsm``.
    grid
        Slices beside one another, each in its own frame; else all in one.
    tissue
        Positions in space: y downwards, with a scale bar.
    """

    title: str
    basis: str
    grid: bool = False
    tissue: bool = False


EMBEDDING = PanelOf("Embedding (UMAP)", keys.UMAP)
TISSUE = PanelOf("Tissue", keys.SPATIAL, grid=True, tissue=True)
COMMON_FRAME = PanelOf("Common frame", keys.ALIGNED, tissue=True)


def viewer_of(
    adata: ad.AnnData,
    *,
    label_key: str | None = None,
    genes: Iterable[str] = (),
    columns: Iterable[str] = (),
    first: str | None = None,
    panels: Sequence[PanelOf] = (EMBEDDING, TISSUE),
    slice_key: str = keys.SLICE,
    label: str = "",
    budget: int = BUDGET,
) -> Viewer | None:
    """Pack cells for the viewer; ``None`` where there is neither an embedding nor a position.

    Parameters
    ----------
    adata
        All cells.
    label_key
        Column of cell types.
    genes
        To offer first; others follow, by how many slices measured them and how much they vary.
    columns
        Further columns of ``obs``.
    first
        Key of what to color by at first; default the cluster.
    panels
        Panels whose ``obsm`` is absent are left out.
    slice_key
        Column that names the slices.
    label
        What values of genes are, where they are not logarithms of counts.
    budget
        Most characters of all blocks. Genes that no longer fit are left out, then programs.

    Notes
    -----
    Time and memory grow with cells times what they can be colored by. Positions have 65,535 steps on each
    axis of a slice, numbers 255 steps.
    """
    shown = [p for p in panels if p.basis in adata.obsm]
    if not shown or not adata.n_obs:
        return None
    slices = _slots.by_slice(adata, slice_key)
    order = np.concatenate(list(slices.values()))
    blocks: dict[str, str] = {}
    about: dict[str, Any] = {
        "n": adata.n_obs,
        "slices": _slices(adata, slices),
        "other": OTHER,
        "ramp": _ramp(),
        "panels": [_panel(adata, p, slices, order, blocks, slice_key) for p in shown],
    }
    blocks["ids"], about["ids"] = text_of_names([str(adata.obs_names[i]) for i in order]), "ids"
    known = fields.of_cells(adata, label_key=label_key, slice_key=slice_key, also=columns)
    about["columns"] = _add([*known, *fields.of_programs(adata)], order, blocks, budget)
    chosen = [*genes, *_telling(adata, slice_key)][: 3 * MOST_GENES]
    chosen = list(dict.fromkeys(chosen))[:MOST_GENES]
    about["columns"] += _add(
        fields.of_genes(adata, chosen, slice_key=slice_key, label=label), order, blocks, budget
    )
    there = [c["key"] for c in about["columns"]]
    about["first"] = next(
        (k for k in (first, keys.CLUSTER, label_key) if k in there), there[0] if there else ""
    )
    about["types"] = next(
        (k for k in (label_key, keys.LABEL, keys.MARKER_TYPE, keys.CLUSTER) if k in there), ""
    )
    if not there:
        return None
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"))
    blocks["about"] = text_of(np.frombuffer(text.encode("utf-8"), np.uint8))
    return Viewer(blocks, {c["key"]: c["title"] for c in about["columns"]}, adata.n_obs)


def _add(found: Iterable[Field], order: NDArray, blocks: dict[str, str], budget: int) -> list[dict[str, Any]]:
    """Pack fields until the budget is used up, and describe those that are in."""
    described = []
    left = budget - sum(map(len, blocks.values()))
    for field in found:
        text = text_of(field.values[order])
        left -= len(text)
        if left < 0:
            break
        name = str(len(blocks))
        blocks[name] = text
        described.append(field.to_dict() | {"block": name})
    return described


def _slices(adata: ad.AnnData, slices: dict[str, NDArray]) -> list[dict[str, Any]]:
    has = keys.TECHNOLOGY in adata.obs
    technology = adata.obs[keys.TECHNOLOGY].astype(str).to_numpy() if has else None
    start, described = 0, []
    for name, rows in slices.items():
        entry = {"name": name, "start": start, "count": len(rows), "unit": _slots.unit_of(adata, name)}
        if technology is not None:
            entry["technology"] = technology[rows[0]]
        described.append(entry)
        start += len(rows)
    return described


def _panel(
    adata: ad.AnnData,
    panel: PanelOf,
    slices: dict[str, NDArray],
    order: NDArray,
    blocks: dict[str, str],
    slice_key: str,
) -> dict[str, Any]:
    """Pack the positions of a panel, and describe it."""
    if panel.tissue:
        xy = _slots.in_space(adata, slice_key, panel.basis)[:, :2].astype(float)
    else:
        xy = np.asarray(adata.obsm[panel.basis], float)[:, :2] * (1, -1)  # y points down on a screen
    boxes: list[list[float] | None] = []
    if panel.grid:
        steps = []
        for rows in slices.values():
            box = Box.around(xy[rows])
            known = bool(np.isfinite(xy[rows]).all(axis=1).any())
            boxes.append([box.left, box.top, box.width, box.height] if known else None)
            steps.append(positions(xy[rows], box))
        packed = np.concatenate(steps)
    else:
        box = Box.around(xy)
        boxes.append([box.left, box.top, box.width, box.height])
        packed = positions(xy[order], box)
    name = f"at{len(blocks)}"
    blocks[name] = text_of(packed)
    units = {_slots.unit_of(adata, s) for s in slices}
    return {
        "title": panel.title,
        "grid": panel.grid,
        "bar": panel.tissue,
        "boxes": boxes,
        "block": name,
        "unit": units.pop() if len(units) == 1 else "",
    }


def _telling(adata: ad.AnnData, slice_key: str) -> list[str]:
    """Genes in the order in which they are worth a look: measured by more slices, then more variable."""
    x = adata.X
    if x is None or not adata.n_vars:
        return []
    from lloki._parts import row_blocks

    total, squares = np.zeros(adata.n_vars), np.zeros(adata.n_vars)
    for part in row_blocks(x):
        if part.nnz and not (np.isfinite(part.data).all() and part.data.min() >= 0):
            return []  # scaled values, say, which are no expression
        total += np.bincount(part.indices, part.data, adata.n_vars)
        squares += np.bincount(part.indices, np.square(part.data, dtype=np.float64), adata.n_vars)
    mean, square = total / max(adata.n_obs, 1), squares / max(adata.n_obs, 1)
    spread = (square - mean**2) / np.maximum(mean, 1e-12)
    if keys.MEASURED in adata.varm:
        slices = np.asarray(adata.varm[keys.MEASURED]).sum(axis=1)
    else:
        slices = np.ones(adata.n_vars)
    return [str(adata.var_names[i]) for i in np.lexsort((-spread, -slices))]


def _ramp() -> str:
    """256 colors of the color map, six hexadecimal digits each."""
    from matplotlib import colormaps

    rgb = np.rint(colormaps[COLOR_MAP](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)
    return rgb.tobytes().hex()
