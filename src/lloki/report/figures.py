"""Figures as files beside a page: pixels and vectors."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anndata as ad
import matplotlib as mpl

from lloki import keys, pl
from lloki.io import atomic
from lloki.pl._slots import by_slice, unit_of

KINDS = ("png", "svg", "pdf")
SHEET = 12  # slices in a figure
_NOT_IN_NAMES = re.compile(r"[^\w.+-]")
_SAME_BYTES = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # in every run


def write_figures(out: Path, figures: Mapping[str, Callable[..., object]]) -> None:
    """Write the folder ``figures`` with each figure as PNG, SVG and PDF; points are pixels in all of them.

    Parameters
    ----------
    out
        Folder of the results.
    figures
        Name → function of ``lloki.pl`` that needs only ``show``. What file names cannot have is replaced.

    Raises
    ------
    OutputError
        If the folder cannot be written there.
    """
    import matplotlib.pyplot as plt

    how = mpl.rc_context({"svg.hashsalt": "lloki", "svg.fonttype": "none"})
    with atomic(out / "figures") as folder, how, plt.ioff():  # the user's windows and backend stay
        folder.mkdir()
        for name, draw in figures.items():
            safe = _NOT_IN_NAMES.sub("_", name)
            while (folder / f"{safe}.png").exists():
                safe += "_"
            axes = draw(show=False)
            while isinstance(axes, Sequence):
                axes = axes[0]
            figure = axes.figure.figure  # type: ignore[attr-defined]  # of a subfigure, the whole
            for kind in KINDS:
                figure.savefig(
                    folder / f"{safe}.{kind}", bbox_inches="tight", dpi=150, metadata=_SAME_BYTES[kind]
                )
            plt.close(figure)
            del axes, figure
            gc.collect()  # a figure is a cycle of references, and may hold 100 MB of pixels


def of_cells(joint: ad.AnnData, label_key: str | None) -> dict[str, Callable[..., object]]:
    """Figures of an integration: the embedding and every slice, colored as in the report.

    Of more than `SHEET` slices there are several figures, numbered: the memory that one takes grows with its
    panels, to gigabytes at 40.
    """
    colors = [c for c in (keys.CLUSTER, label_key, keys.SLICE) if c is not None and c in joint.obs]
    figures: dict[str, Callable[..., object]] = {}
    if keys.UMAP in joint.obsm:
        figures |= {f"umap-{c}": partial(pl.umap, joint, color=c) for c in colors}
    if keys.SPATIAL in joint.obsm and keys.SLICE in joint.obs:
        names = list(by_slice(joint, keys.SLICE))
        units = {unit_of(joint, name) for name in names}
        unit = units.pop() if len(units) == 1 else ""
        sheets = [names[i : i + SHEET] for i in range(0, len(names), SHEET)]
        for c in colors:
            if c == keys.SLICE:
                continue
            for number, sheet in enumerate(sheets, start=1):
                mark = f"-{number:0{len(str(len(sheets)))}d}" if len(sheets) > 1 else ""
                figures[f"tissue-{c}{mark}"] = partial(pl.spatial, joint, color=c, slice=sheet, unit=unit)
    return figures
