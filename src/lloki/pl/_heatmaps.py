"""Tables of numbers as colors: confusion of labels, use of metagenes, affinities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lloki.analysis import by_maximum
from lloki.pl._figures import color_bar, plain
from lloki.pl._palette import COLOR_MAP, DIVERGING
from lloki.pl._panels import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.2  # inches


def confusion_size(rows: int, columns: int) -> tuple[float, float]:
    """Inches that `confusion_map` needs."""
    return 2.7 + _CELL * columns, 1.6 + _CELL * rows


def confusion_map(ax: Axes, shares: NDArray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw shares (r, c) in [0, 1] of the true types in rows that were assigned the labels in columns."""
    image = ax.imshow(shares, vmin=0, vmax=1, cmap=COLOR_MAP, aspect="equal")
    _ticks(ax, rows, columns)
    ax.tick_params(axis="x", rotation=90)
    ax.set_xlabel("assigned label", fontsize=9)
    ax.set_ylabel("true type", fontsize=9)
    color_bar([ax], image, "share of the type", shrink=0.8)


def label_shares(truth: NDArray, assigned: NDArray) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Share of each true type that was assigned each label, and names of rows and columns.

    Both are in one order; labels that are no true type come last.
    """
    rows = sorted(set(map(str, truth)))
    columns = [*[r for r in rows if r in set(assigned)], *sorted(set(map(str, assigned)) - set(rows))]
    table = pd.crosstab(pd.Series(truth, dtype=str), pd.Series(assigned, dtype=str), normalize="index")
    return table.reindex(index=rows, columns=columns, fill_value=0.0).to_numpy(), rows, columns


def affinity_size(k: int) -> tuple[float, float]:
    """Inches that `affinity_map` needs."""
    return max(_CELL * k, 1.4) + 1.6, max(_CELL * k, 1.4) + 0.8


def affinity_map(ax: Axes, affinity: NDArray) -> None:
    """Draw affinities (K, K) of metagenes; the two colors meet at 0, where there is neither of them.

    The scale ends at the largest value of a pair of different metagenes: those of a metagene with itself
    are mostly far larger.
    """
    a = np.asarray(affinity, float)
    k = len(a)
    apart = np.abs(a[~np.eye(k, dtype=bool)])
    end = max(float(apart.max(initial=0)) or float(np.abs(a).max()), 1e-9)
    image = ax.imshow(a, cmap=DIVERGING, vmin=-end, vmax=end)
    numbers = [str(i + 1) for i in range(k)]
    _ticks(ax, numbers, numbers)
    ax.set_xlabel("metagene", fontsize=8)
    ax.set_ylabel("metagene", fontsize=8)
    color_bar([ax], image, "affinity (below 0: adjacent)", extend="both", shrink=0.9)


def relative_use(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Divide each metagene's column by its largest value in any slice; all have one scale of states."""
    most = pd.concat(list(tables.values())).max().replace(0, 1)
    return {name: table / most for name, table in tables.items()}


def mean_use(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Types by metagenes: the mean of `relative_use` over the slices that have the type."""
    return pd.concat(list(relative_use(tables).values())).groupby(level=0).mean()


def enrichment_size(tables: Mapping[str, pd.DataFrame]) -> tuple[float, float]:
    """Inches that `enrichment_maps` needs."""
    types = {t for table in tables.values() for t in table.index}
    columns, rows = min(len(tables), 3), -(-len(tables) // 3)
    k = max(table.shape[1] for table in tables.values())
    return (0.19 * k + 0.4) * columns + 1.9, (max(0.17 * len(types), 1.2) + 0.5) * rows + 0.3


def enrichment_maps(
    figure: Figure, tables: Mapping[str, pd.DataFrame], order: Sequence[int] | None = None
) -> list[Axes]:
    """Draw a heat map of types by metagenes for each slice, all in one order and on one scale.

    Parameters
    ----------
    figure
        Where to draw.
    tables
        Slice → of `lloki.analysis.enrichment`. Every metagene is drawn over its largest mean in any slice.
    order
        Positions of metagenes from left to right; default by the type that uses each most.
    """
    types = sorted({t for table in tables.values() for t in table.index})
    order = by_maximum(mean_use(tables)) if order is None else order
    columns = min(len(tables), 3)
    every = list(np.ravel(figure.subplots(-(-len(tables) // columns), columns, squeeze=False, sharey=True)))
    for ax in every[len(tables) :]:
        ax.remove()
    axes = every[: len(tables)]
    for ax, (name, table) in zip(axes, relative_use(tables).items()):
        share = np.ma.masked_invalid(table.reindex(types).to_numpy()[:, list(order)])
        image = ax.imshow(share, cmap=COLOR_MAP, vmin=0, vmax=1, aspect="auto")
        ax.set_title(short(name), fontsize=8, parse_math=False)
        _ticks(ax, types, [str(k + 1) for k in order])
    color_bar(axes, image, "mean state / maximum", shrink=0.9)
    figure.supxlabel("metagene", fontsize=8)
    return axes


def _ticks(ax: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0, labelsize=7)
    ax.spines[:].set_visible(False)
    plain([*ax.get_xticklabels(), *ax.get_yticklabels()])
