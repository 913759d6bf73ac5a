"""Figures of lloki's results, on AnnData: ``lloki.pl.umap(joint, color="technology")``.

Every function returns a matplotlib ``Figure`` that belongs to nobody: save it with ``figure.savefig(...)``,
or make it the last line of a notebook cell (after ``%matplotlib inline``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki.errors import InputError

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lloki._aligned import Alignment
    from lloki.align import AlignResult
    from lloki.analysis import LabelTransfer
    from lloki.report.colouring import Colouring

_INK = "black"


def umap(adata: ad.AnnData, *, color: str = keys.CLUSTER, basis: str = keys.UMAP, seed: int = 0) -> Figure:
    """Draw the two-dimensional embedding of all cells, with a legend.

    Parameters
    ----------
    adata
        Has ``obsm[basis]``, of which the first two columns are drawn.
    color
        Column of ``obs``: categories.
    basis
        Key of ``obsm``.
    seed
        Shuffles the order of drawing, so that no category covers the others.

    Raises
    ------
    InputError
        ``obsm`` or ``obs`` lacks the key.
    """
    from lloki.report import figures

    colouring = _colouring(adata, color)
    figure = figures.embedding(_obsm(adata, basis)[:, :2], colouring.rows, seed=seed)
    return _with_legend(figure, colouring.legend, color)


def spatial(
    adata: ad.AnnData, *, color: str = keys.CLUSTER, slice: str | None = None, slice_key: str = keys.SLICE
) -> Figure:
    """Draw the cells of one slice where they lie, with a scale bar and a legend.

    Colours are assigned over all of ``adata``, so they agree between the slices of a joint object.

    Parameters
    ----------
    adata
        Has ``obsm["spatial"]``; y runs downwards, as on a microscope's screen.
    color
        Column of ``obs``: categories.
    slice
        Which slice; may be left out where ``adata`` holds a single one.
    slice_key
        Column of ``obs`` that names the slices.

    Raises
    ------
    InputError
        A key or the slice is absent, or ``adata`` holds several slices and none is named.
    """
    from lloki.report import figures

    colouring, xy = _colouring(adata, color), _obsm(adata, keys.SPATIAL)
    rows = np.ones(adata.n_obs, dtype=bool)
    if slice_key in adata.obs:
        names = adata.obs[slice_key].astype(str)
        known = list(dict.fromkeys(names))
        if slice is None and len(known) > 1:
            raise InputError(
                f"{len(known)} slices and none chosen", slot=_obs(slice_key), mend=f"Name one: {known}"
            )
        if slice is not None:
            rows = (names == slice).to_numpy()
    elif slice is not None:
        raise InputError(
            "the column is absent", slot=_obs(slice_key), mend="Set slice_key, or leave slice out"
        )
    if not rows.any():
        raise InputError(f"no cell of slice {slice!r}", slot=_obs(slice_key), mend=f"Name one: {known}")
    figure = figures.section(xy[rows], colouring.rows[rows], ink=_INK)
    return _with_legend(figure, colouring.legend, color)


def sparsity(before: NDArray, target: NDArray, after: NDArray) -> Figure:
    """Draw sparsity per cell (n,) before LLOKI-FP, as aimed for, and after, as cumulative curves."""
    from lloki.report import figures

    return figures.sparsity_curves(before, target, after, ink=_INK)


def losses(frame: pd.DataFrame) -> Figure:
    """Draw the training's losses: column ``step`` and one column per loss, NaN where it was not computed."""
    from lloki.report import figures

    if "step" not in frame:
        raise InputError("the column is absent", slot="step", mend="Give the table that training returned")
    series = {str(c): frame[c].to_numpy(float) for c in frame.columns if c != "step"}
    return figures.loss_curves(frame["step"].to_numpy(float), series, ink=_INK)


def overlay(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw a slice on the one that it was aligned with, before and after.

    Parameters
    ----------
    alignment
        As :func:`lloki.tl.align_slices` returned it.
    moving
        Name of the slice; may be left out where only one was aligned. In a stack, a pair ``"FIXED MOVING"``
        is drawn as it was aligned by itself.

    Raises
    ------
    InputError
        No such slice was aligned, or several were and none is named.
    """
    from lloki.report import alignment as figures

    (fixed, name), result = _aligned_pair(alignment, moving)
    moved = result.moved
    if name in alignment.warps:
        moved = alignment.warps[name].apply(moved)
    positions = alignment.positions
    return figures.overlay(positions[fixed], positions[name], moved, result.in_overlap, ink=_INK)


def residuals(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw the matched cells of an alignment and how far apart they are; parameters as for `overlay`."""
    from lloki.report import alignment as figures

    return figures.residuals(_aligned_pair(alignment, moving)[1], ink=_INK)


def rotations(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw how well two slices agree at every rotation; parameters as for `overlay`."""
    from lloki.report import alignment as figures

    return figures.rotation_curve(_aligned_pair(alignment, moving)[1], ink=_INK)


def deformation(alignment: Alignment, moving: str | None = None) -> Figure:
    """Draw the deformation that followed the rigid step; parameters as for `overlay`."""
    from lloki.report import alignment as figures

    (_, name), result = _aligned_pair(alignment, moving)
    if name not in alignment.warps:
        raise InputError("was not deformed", where=name, mend="Align with nonrigid=BOUND.")
    warp = alignment.warps[name]
    moved = result.moved
    return figures.deformation(moved, warp.displacement(moved), warp.strain(moved), ink=_INK)


def aligned(alignment: Alignment) -> Figure:
    """Draw all slices that have a place in the common frame, coloured by slice, with a legend."""
    from lloki.report.alignment_page import all_placed

    figure, legend = all_placed(alignment.placed, ink=_INK)
    return _with_legend(figure, legend, "slice")


def domains(adata: ad.AnnData, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw the spatial domains of all slices side by side; a domain has one colour everywhere.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.domains` left it: all slices in one.
    slice_key
        Column of ``obs`` that names the slices.
    """
    from lloki.report import metagenes as figures

    colouring, rows = _colouring(adata, keys.DOMAIN), _by_slice(adata, slice_key)
    xy = _obsm(adata, keys.SPATIAL)
    colours = np.asarray(colouring.rows)
    figure = figures.in_space(
        {s: xy[r] for s, r in rows.items()}, {}, label="", colours={s: colours[r] for s, r in rows.items()}
    )
    handles = [
        figure.axes[0].scatter([], [], color=colour, s=25, label=name) for name, colour, _ in colouring.legend
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 12), frameon=False, fontsize=8
    )
    return figure


def enrichment(adata: ad.AnnData, label_key: str, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw which types use which metagenes in each slice that has labels.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it: all slices in one.
    label_key
        Column of ``obs`` with cell types; missing ones are left out.
    slice_key
        Column of ``obs`` that names the slices.
    """
    import pandas as pd

    from lloki.analysis import by_maximum
    from lloki.report import metagenes as figures

    tables = enrichment_by_slice(adata, label_key, slice_key=slice_key)
    scaled = pd.concat([t / t.max().replace(0, 1) for t in tables.values()])
    mean = scaled.groupby(level=0).mean()
    return figures.enrichment_maps(tables, by_maximum(mean))


def enrichment_by_slice(
    adata: ad.AnnData, label_key: str, *, slice_key: str = keys.SLICE
) -> dict[str, pd.DataFrame]:
    """Slice → :func:`lloki.analysis.enrichment`, for those with labels; parameters as for `enrichment`."""
    from lloki.analysis import enrichment as table

    if label_key not in adata.obs:
        raise InputError("the column is absent", slot=_obs(label_key), mend=f"There are {list(adata.obs)}")
    states, labels = _obsm(adata, keys.METAGENES), adata.obs[label_key].astype(object).to_numpy()
    found = {}
    for name, rows in _by_slice(adata, slice_key).items():
        try:
            found[name] = table(states[rows], labels[rows])
        except InputError:  # a slice without labels
            continue
    if not found:
        raise InputError("no slice has labels", slot=_obs(label_key), mend="Name another column.")
    return found


def metagene(adata: ad.AnnData, number: int, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw one metagene in space, in all slices side by side on one colour scale.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.metagenes` left it: all slices in one.
    number
        Which metagene, from 1.
    slice_key
        Column of ``obs`` that names the slices.
    """
    from lloki.report import metagenes as figures

    states, xy = _obsm(adata, keys.METAGENES), _obsm(adata, keys.SPATIAL)
    if not 1 <= number <= states.shape[1]:
        raise InputError(f"there is no metagene {number}", mend=f"There are {states.shape[1]}, from 1.")
    rows = _by_slice(adata, slice_key)
    return figures.in_space(
        {s: xy[r] for s, r in rows.items()},
        {s: states[r, number - 1] for s, r in rows.items()},
        label=f"metagene {number}",
    )


def moran(adata: ad.AnnData, *, slice_key: str = keys.SLICE) -> Figure:
    """Draw Moran's I of all metagenes in each slice; parameters as for `metagene`."""
    from lloki.report import metagenes as figures

    return figures.moran_boxes({"metagenes": moran_by_slice(adata, slice_key=slice_key)})


def moran_by_slice(adata: ad.AnnData, *, slice_key: str = keys.SLICE) -> dict[str, NDArray]:
    """Slice → (K,) Moran's I of the metagenes, on the Delaunay graph; parameters as for `metagene`."""
    from lloki.analysis import moran as statistic
    from lloki.analysis import spatial_neighbours

    states, xy = _obsm(adata, keys.METAGENES), _obsm(adata, keys.SPATIAL)
    rows = _by_slice(adata, slice_key)
    return {s: statistic(states[r], spatial_neighbours(xy[r])) for s, r in rows.items()}


def reliability(curve: pd.DataFrame | LabelTransfer) -> Figure:
    """Draw how often labels of a confidence are right.

    Parameters
    ----------
    curve
        What :func:`lloki.tl.transfer_labels` returned, for its left-out cells; or a table of
        :func:`lloki.analysis.reliability`, where the truth is known.
    """
    import pandas as pd

    from lloki.report import labelling

    table = curve if isinstance(curve, pd.DataFrame) else curve.curve
    missing = [c for c in ("confidence", "accuracy", "cells") if c not in table]
    if missing:
        raise InputError("the column is absent", slot=missing[0], mend="Pass what transfer_labels returned")
    return labelling.reliability_curve(table, ink=_INK)


def confusion(truth: NDArray | pd.Series, told: NDArray | pd.Series) -> Figure:
    """Draw which types (n,) were given which labels (n,); cells without a true type are left out.

    Raises
    ------
    InputError
        They are not as many, or no cell has a true type.
    """
    import pandas as pd

    from lloki.report import labelling

    a, b = pd.Series(np.asarray(truth, object)), pd.Series(np.asarray(told, object))
    if len(a) != len(b):
        raise InputError(f"{len(a)} true types for {len(b)} labels", mend="Pass both of the same cells")
    known = (a.notna() & b.notna() & (a.astype(str) != "")).to_numpy()
    if not known.any():
        raise InputError("no cell has a true type", mend="Pass cells whose type is known")
    shares, rows, columns = labelling.shares_told(
        a[known].astype(str).to_numpy(), b[known].astype(str).to_numpy()
    )
    return labelling.confusion_map(shares, rows, columns, ink=_INK)


def imputed(adata: ad.AnnData, gene: str, *, truth: NDArray | None = None) -> Figure:
    """Draw an imputed gene where the cells lie, beside its truth (n,) if that is known.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.impute` returned it.
    gene
        One of its genes.
    truth
        (n,) in the same unit.

    Raises
    ------
    InputError
        There is no such gene, no positions, or the truth is not of these cells.
    """
    from lloki.report import labelling

    if gene not in adata.var_names:
        raise InputError("was not imputed", where=gene, mend=f"There are {list(adata.var_names[:10])}")
    values = np.asarray(adata[:, gene].X, float).ravel()
    panels = {f"{gene}, imputed": values}
    if truth is not None:
        if np.shape(truth) != values.shape:
            raise InputError(f"{np.shape(truth)} true values for {len(values)} cells", mend="Pass one a cell")
        panels = {f"{gene}, measured": np.asarray(truth, float), **panels}
    return labelling.value_panels(_obsm(adata, keys.SPATIAL)[:, :2], panels, ink=_INK)


def program(adata: ad.AnnData, *, group: str = keys.SLICE) -> Figure:
    """Draw the score of a neighbourhood program against the share of the neighbour type.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.neighbourhood_program` left it.
    group
        Column of ``obs`` that names slices or data sets: medians are drawn for each.

    Raises
    ------
    InputError
        A column is absent.
    """
    from lloki.report import programs

    for column in (keys.NEIGHBOUR_SHARE, keys.PROGRAM_SCORE, group):
        if column not in adata.obs:
            mend = "Run lloki.tl.neighbourhood_program first, or set group"
            raise InputError("the column is absent", slot=_obs(column), mend=mend)
    share, score = (adata.obs[c].to_numpy(float) for c in (keys.NEIGHBOUR_SHARE, keys.PROGRAM_SCORE))
    return programs.score_against_share(share, score, adata.obs[group].astype(str).to_numpy(), ink=_INK)


def program_in_space(
    adata: ad.AnnData, *, neighbour: str, label_key: str, slice: str, slice_key: str = keys.SLICE
) -> Figure:
    """Draw the focal cells of a slice by their score, and cells of the neighbour type in grey.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.neighbourhood_program` left it.
    neighbour, label_key
        Name of the type, and ``obs`` column of types.
    slice, slice_key
        Which slice, and the ``obs`` column that names them.

    Raises
    ------
    InputError
        A slot or the slice is absent.
    """
    from lloki.report import programs

    for column in (keys.PROGRAM_SCORE, label_key, slice_key):
        if column not in adata.obs:
            mend = "Run lloki.tl.neighbourhood_program first"
            raise InputError("the column is absent", slot=_obs(column), mend=mend)
    rows = (adata.obs[slice_key].astype(str) == slice).to_numpy()
    if not rows.any():
        raise InputError(f"no cell of slice {slice!r}", slot=_obs(slice_key), mend="Name another")
    here = adata.obs[rows]
    return programs.scores_in_space(
        _obsm(adata, keys.SPATIAL)[rows, :2],
        here[keys.PROGRAM_SCORE].to_numpy(float),
        (here[label_key].astype(str) == neighbour).to_numpy(),
        title=slice,
        ink=_INK,
    )


def _by_slice(adata: ad.AnnData, slice_key: str) -> dict[str, NDArray]:
    """Slice → its rows; all rows as one where no column names slices."""
    if slice_key not in adata.obs:
        return {"": np.arange(adata.n_obs)}
    names = adata.obs[slice_key].astype(str).to_numpy()
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def _aligned_pair(alignment: Alignment, moving: str | None) -> tuple[tuple[str, str], AlignResult]:
    known = {(f"{f} {m}" if alignment.stack is not None else m): (f, m) for f, m in alignment.results}
    if moving is None and len(known) == 1:
        moving = next(iter(known))
    if moving not in known:
        said = "several slices were aligned" if moving is None else f"{moving!r} was not aligned"
        raise InputError(said, mend=f"Name one of: {', '.join(known)}.")
    pair = known[moving]
    return pair, alignment.results[pair]


def _colouring(adata: ad.AnnData, key: str) -> Colouring:
    from lloki.report.colouring import Colouring

    if key not in adata.obs:
        raise InputError("the column is absent", slot=_obs(key), mend=f"There are {list(adata.obs.columns)}")
    return Colouring.of(adata.obs[key])


def _obsm(adata: ad.AnnData, key: str) -> NDArray:
    if key not in adata.obsm:
        raise InputError("the key is absent", slot=f"obsm[{key!r}]", mend=f"There are {list(adata.obsm)}")
    return np.asarray(adata.obsm[key])


def _obs(key: str) -> str:
    return f"obs[{key!r}]"


def _with_legend(figure: Figure, entries: tuple[tuple[str, str, int], ...], title: str) -> Figure:
    """Widen the figure by as many columns of 20 names as the legend needs."""
    from matplotlib.lines import Line2D

    columns = -(-len(entries) // 20)
    width, height = figure.get_size_inches()
    extra = columns * (0.5 + 0.075 * max((len(name) for name, _, _ in entries), default=0))
    figure.set_size_inches(width + extra, height)
    share = width / (width + extra)
    figure.axes[0].set_position((0, 0, share, 1))
    handles = [
        Line2D([], [], ls="", marker="o", ms=6, mec="none", color=colour, label=name)
        for name, colour, _ in entries
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
