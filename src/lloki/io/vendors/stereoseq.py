"""Stereo-seq (STOmics): ``cellbin.gef``, cells segmented by SAW, in HDF5."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from lloki.errors import InputError
from lloki.io.trust import open_hdf5
from lloki.io.vendors._export import Cells, Export, Vendor
from lloki.io.vendors._tenx import text

_NANOMETRES = 500.0  # between the spots of a chip, which positions count, where the file does not say
_KEPT = ("geneCount", "expCount", "dnbCount", "area", "cellTypeID", "clusterID")


def read(export: Export) -> Cells:
    """Read counts and cells. Positions count spots of the chip, whose distance is the file's ``resolution``.

    The counts of a cell are ``geneCount`` entries of ``cellExp`` from ``offset`` on, each an index into
    ``gene`` and a count.
    """
    try:
        with open_hdf5(export.counts) as file:
            group = file["cellBin"]
            cell, gene, counted = (group[name][:] for name in ("cell", "gene", "cellExp"))
            step = float(
                np.ravel(file.attrs.get("resolution", group.attrs.get("resolution", _NANOMETRES)))[0]
            )
        fields = gene.dtype.names
        names = text(gene["geneName" if "geneName" in fields else "gene"])
        ids = text(gene["geneID"]) if "geneID" in fields else names
        lengths = cell["geneCount"].astype(np.int64)
        starts = np.repeat(
            cell["offset"].astype(np.int64) - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths
        )
        entries = counted[starts + np.arange(lengths.sum())]
        counts = sparse.csr_matrix(
            (
                entries["count"].astype(np.float32),
                entries["geneID"].astype(np.int64),
                np.concatenate([[0], np.cumsum(lengths)]),
            ),
            shape=(len(cell), len(gene)),
        )
        counts.check_format(full_check=True)
    except InputError:
        raise
    except (KeyError, IndexError, ValueError, OSError) as error:
        raise export.damaged(export.counts, f"is damaged, or not cellbin.gef ({error})") from error
    pixel = export.pixel_size or step / 1000.0
    obs = pd.DataFrame(
        {name: cell[name] for name in _KEPT if name in cell.dtype.names},
        index=pd.Index(text(cell["id"]), dtype=object),
    )
    if "area" in obs:
        obs["area_px2"], obs["area"] = obs["area"], obs["area"] * pixel**2
    return Cells(
        counts=counts,
        features=pd.DataFrame(
            {"gene_ids": ids}, index=pd.Index([n or i for n, i in zip(names, ids)], dtype=object)
        ),
        obs=obs,
        positions=np.stack([cell["x"], cell["y"]], axis=1).astype(float) * pixel,
        size="area" if "area" in obs else "",
        panel="whole transcriptome",
    )


STEREOSEQ = Vendor(
    technology="Stereo-seq",
    counts=("cellbin*adjusted*.gef", "adjusted.cellbin.gef", "cellbin*.gef"),
    cells=("cellbin*adjusted*.gef", "adjusted.cellbin.gef", "cellbin*.gef"),
    read=read,
    example="*.cellbin.gef",
)
