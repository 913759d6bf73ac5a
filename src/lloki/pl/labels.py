"""Transferred labels, and imputed genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki._keywords import keywords
from lloki._names import did_you_mean
from lloki.errors import InputError
from lloki.pl import _slots
from lloki.pl._figures import WIDTH, finish, new_axes, new_figure

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from lloki.analysis import LabelTransfer


@keywords
def reliability(
    curve: pd.DataFrame | LabelTransfer,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the calibration of transferred labels: accuracy against confidence.

    Parameters
    ----------
    curve
        What :func:`lloki.tl.transfer_labels` returned, for its left-out cells; or a table of
        :func:`lloki.analysis.reliability`, where the truth is known.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        If a column is absent.
    """
    import pandas as pd

    from lloki.pl._curves import reliability_curve

    table = curve if isinstance(curve, pd.DataFrame) else curve.curve
    missing = [c for c in ("confidence", "accuracy", "n_cells") if c not in table]
    if missing:
        raise InputError(
            "the column is absent", slot=missing[0], hint="Pass what lloki.tl.transfer_labels returned."
        )
    axes = new_axes(ax, (WIDTH, WIDTH))
    reliability_curve(axes, table)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def confusion(
    truth: ArrayLike,
    assigned: ArrayLike,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw which types were assigned which labels.

    Parameters
    ----------
    truth, assigned
        (n,) true types and assigned labels; cells without a true type are left out.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        They differ in length, or no cell has a true type.
    """
    import pandas as pd

    from lloki.pl._heatmaps import confusion_map, confusion_size, label_shares

    a, b = pd.Series(np.asarray(truth, object)), pd.Series(np.asarray(assigned, object))
    if len(a) != len(b):
        raise InputError(f"{len(a)} true types for {len(b)} labels", hint="Pass both for the same cells.")
    known = (a.notna() & b.notna() & (a.astype(str) != "")).to_numpy()
    if not known.any():
        raise InputError("no cell has a true type", hint="Pass cells whose type is known.")
    shares, rows, columns = label_shares(a[known].astype(str).to_numpy(), b[known].astype(str).to_numpy())
    axes = new_axes(ax, confusion_size(len(rows), len(columns)))
    confusion_map(axes, shares, rows, columns)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def imputation_scores(
    adata: ad.AnnData,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the hold-out scores of all genes that could be validated, those left out too.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.impute` returned it.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        If it holds no imputation.
    """
    import json

    import pandas as pd

    from lloki.pl._curves import score_curve

    found = adata.uns.get(keys.UNS, {}).get("impute")
    if found is None:
        hint = "Pass what lloki.tl.impute returned."
        raise InputError("holds no imputation", slot=f"uns[{keys.UNS!r}]", hint=hint)
    axes = new_axes(ax, (WIDTH, WIDTH * 0.9))
    scores = pd.concat([adata.var, found["left_out"]])
    score_curve(axes, scores, min_score=json.loads(found["parameters"])["min_score"])
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def imputed(
    adata: ad.AnnData,
    gene: str,
    *,
    truth: ArrayLike | None = None,
    unit: str | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> list[Axes]:
    """Draw an imputed gene where the cells lie, beside the measurement if that is known.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.impute` returned it.
    gene
        One of its genes.
    truth
        (n,) in the same unit.
    unit
        Unit of the positions, written beside the scale bars. Default: the one that a slice's file states.
    show, save
        As in :func:`lloki.pl.umap`.

    Returns
    -------
    list of matplotlib.axes.Axes
        The imputed gene; before it the measured one, if ``truth`` is given.

    Raises
    ------
    InputError
        There is no such gene, no positions, or the truth is not of these cells.
    """
    from lloki.pl._coloring import Scale, common_ends
    from lloki.pl._panels import panels_size, slice_panels

    if gene not in adata.var_names:
        hint = did_you_mean(gene, _slots.near_names(gene, adata.var_names) or adata.var_names[:5])
        raise InputError(f"{gene!r} was not imputed", slot="var_names", hint=hint)
    values = {f"{gene}, imputed": np.asarray(adata[:, gene].X, float).ravel()}
    if truth is not None:
        measured = np.asarray(truth, float)
        if measured.shape != (adata.n_obs,):
            text = f"{measured.shape} true values for {adata.n_obs} cells"
            raise InputError(text, hint="Pass one for each cell.")
        values = {f"{gene}, measured": measured, **values}
    positions = dict.fromkeys(values, _slots.in_space(adata, keys.SLICE))
    ends, label = common_ends(np.concatenate(list(values.values()))), "log(1 + normalized counts)"
    shades = {name: Scale.of(v, label, ends=ends) for name, v in values.items()}
    figure = new_figure(panels_size(positions, 0.9))
    whole = Scale.of(np.concatenate(list(values.values())), label, ends=ends)
    (own,) = set(adata.obs[keys.SLICE].astype(str)) if keys.SLICE in adata.obs else {""}
    units = dict.fromkeys(positions, _slots.unit_of(adata, own) if unit is None else unit)
    axes = slice_panels(figure, positions, shades, whole, units=units)
    finish(axes, given=False, show=show, save=save)
    return axes
