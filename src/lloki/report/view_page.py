"""The page of any slices with a joint embedding: the viewer alone, with what each cluster is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anndata as ad

from lloki import keys
from lloki.errors import InputError
from lloki.pl._viewer import COMMON_FRAME, EMBEDDING, TISSUE, viewer_of
from lloki.report import clusters, panels, words
from lloki.report.page import write_page


def build_view_page(
    adata: ad.AnnData,
    *,
    label_key: str | None = None,
    genes: Sequence[str] = (),
    columns: Sequence[str] = (),
    first: str | None = None,
    slice_key: str = keys.SLICE,
    title: str = "Cells",
    out: str | Path,
) -> Path:
    """Write a page with the viewer, and pictures for browsers without WebGL 2.

    Parameters
    ----------
    adata
        All cells, with an embedding or positions.
    label_key, genes, columns, first, slice_key
        As :func:`lloki.pl.interactive` has them.
    title
        Heading of the page.
    out
        The file to write.

    Raises
    ------
    InputError
        If there is neither an embedding nor a position.
    OutputError
        If the page cannot be written there.
    """
    markers = clusters.markers_of(adata)
    offered = [*genes, *clusters.one_of_each(markers)]
    viewer = viewer_of(
        adata,
        label_key=label_key,
        genes=offered,
        columns=columns,
        first=first,
        panels=(EMBEDDING, COMMON_FRAME, TISSUE),
        slice_key=slice_key,
    )
    if viewer is None:
        hint = "Give slices with positions, or with an embedding."
        raise InputError(f"neither {keys.UMAP!r} nor {keys.SPATIAL!r} is there", slot="obsm", hint=hint)
    by = panels.colorings(adata, label_key)
    known = keys.CLUSTER in by and keys.SLICE in by
    in_tissue = {k: by[k] for k in (keys.CLUSTER, label_key) if k in by}
    slices = adata.obs[slice_key].nunique() if slice_key in adata.obs else 1
    return write_page(
        "view.html.j2",
        out,
        viewer=viewer,
        title=title,
        summary=f"{words.plural(adata.n_obs, 'cell')} of {words.plural(slices, 'slice')}.",
        umaps=panels.umaps(adata, in_tissue, label_key),
        sections=panels.sections(adata, in_tissue, label_key),
        legends={k: coloring.legend for k, coloring in in_tissue.items()},
        clusters=clusters.describe(adata, by, markers, label_key) if known else [],
        slice_key=by[keys.SLICE].legend if keys.SLICE in by else (),
    )
