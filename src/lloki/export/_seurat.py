"""Seurat: a folder of counts a slice, tables, and the R script that makes one object of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import io as mtx

from lloki import keys
from lloki.export._cells import Cells
from lloki.export._tables import file_names
from lloki.io import atomic

_SCRIPT = """# Makes a Seurat object (version 5 or later) of the files beside this script:
#   source("load.R", chdir = TRUE); lloki
library(Seurat)
names <- read.csv("slices.csv")
metadata <- read.csv(
  "metadata.csv", row.names = 1, check.names = FALSE, colClasses = c(cell_id = "character")
)
# A layer of counts for each slice, with the genes that it measured and no others
lloki <- lapply(seq_len(nrow(names)), function(i) {
  counts <- ReadMtx(
    file.path(names$folder[i], "matrix.mtx.gz"), cells = file.path(names$folder[i], "barcodes.tsv.gz"),
    features = file.path(names$folder[i], "features.tsv.gz"), feature.column = 1
  )
  CreateSeuratObject(counts, assay = "Spatial", project = names$slice[i])
})
lloki <- if (length(lloki) > 1) merge(lloki[[1]], lloki[-1]) else lloki[[1]]
lloki <- AddMetaData(lloki, metadata[Cells(lloki), ])
for (name in c("umap", "lloki")) {
  file <- paste0(name, ".csv")
  if (!file.exists(file)) next
  x <- as.matrix(read.csv(file, row.names = 1))[Cells(lloki), ]
  lloki[[name]] <- CreateDimReducObject(x, key = paste0(name, "_"), assay = "Spatial")
}
positions <- read.csv("positions.csv", row.names = 1)
for (i in seq_len(nrow(names))) {
  xy <- positions[positions$slice == names$slice[i], ]
  xy <- data.frame(x = xy$x, y = xy$y, cell = rownames(xy))
  lloki[[names$image[i]]] <- CreateFOV(CreateCentroids(xy), assay = "Spatial")
}
"""


def write(cells: Cells, out: Path) -> list[Path]:
    """Write ``load.R`` and what it reads."""
    table: list[dict[str, str]] = []
    with atomic(out) as folder:
        folder.mkdir()
        for name, place in file_names(cells.rows).items():
            counts, genes = cells.counts(name)
            (folder / place).mkdir()
            with gzip.open(folder / place / "matrix.mtx.gz", "wb", compresslevel=5) as file:
                whole = np.array_equal(counts.data, np.rint(counts.data))
                mtx.mmwrite(file, counts.T.astype(np.int64 if whole else float))
            _lines(folder / place / "features.tsv.gz", genes)
            _lines(
                folder / place / "barcodes.tsv.gz", list(cells.adata.obs_names[cells.rows[name]].astype(str))
            )
            table.append({"slice": name, "folder": place, "image": f"slice{len(table) + 1}"})
        pd.DataFrame(table).to_csv(folder / "slices.csv", index=False)
        metadata = cells.obs.drop(columns=keys.CELL_ID).assign(cell_id=cells.obs[keys.CELL_ID])
        metadata.to_csv(folder / "metadata.csv")
        for key, name in ((keys.UMAP, "umap"), (keys.JOINT, "lloki")):
            if key in cells.adata.obsm:
                x = np.asarray(cells.adata.obsm[key])[cells.all_rows]
                columns = [f"{name}_{i + 1}" for i in range(x.shape[1])]
                pd.DataFrame(x, index=cells.obs.index, columns=columns).to_csv(folder / f"{name}.csv")
        xy = cells.positions() if keys.SPATIAL in cells.adata.obsm else np.full((len(cells.obs), 2), np.nan)
        positions = pd.DataFrame(xy, index=cells.obs.index, columns=["x", "y"])
        positions.assign(slice=cells.obs[cells.slice_key].astype(str)).to_csv(folder / "positions.csv")
        (folder / "load.R").write_text(_SCRIPT, encoding="utf-8")
    return [out / "load.R"]


def _lines(path: Path, lines: list[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
