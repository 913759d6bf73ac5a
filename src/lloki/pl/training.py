"""What the stages of an integration did to the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lloki._keywords import keywords
from lloki.errors import InputError
from lloki.pl._figures import WIDTH, finish, new_axes

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_SIZE = (WIDTH, WIDTH * 0.72)


@keywords
def sparsity(
    before: NDArray,
    target: NDArray,
    after: NDArray,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the sparsity of cells (n,) before LLOKI-FP, its target, and after, as cumulative curves.

    Parameters
    ----------
    before, target, after
        Share of a cell's panel genes that are zero.
    ax, show, save
        As in :func:`lloki.pl.umap`.
    """
    from lloki.pl._curves import sparsity_curves

    axes = new_axes(ax, _SIZE)
    sparsity_curves(axes, before, target, after)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes


@keywords
def losses(
    frame: pd.DataFrame,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> Axes:
    """Draw the losses of a training.

    Parameters
    ----------
    frame
        Column ``step`` and one column per loss, NaN where it was not computed.
    ax, show, save
        As in :func:`lloki.pl.umap`.

    Raises
    ------
    InputError
        If there is no column ``step``.
    """
    from lloki.pl._curves import loss_curves

    if "step" not in frame:
        raise InputError("the column is absent", slot="step", hint="Pass the table that training returned.")
    series = {str(c): frame[c].to_numpy(float) for c in frame.columns if c != "step"}
    axes = new_axes(ax, (1.5 * WIDTH, WIDTH))
    loss_curves(axes, frame["step"].to_numpy(float), series)
    finish(axes, given=ax is not None, show=show, save=save)
    return axes
