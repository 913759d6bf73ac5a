"""Made-up output folders of instruments, in every variant that a reader must know, from one truth."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from scipy import io, sparse

GENES = [
    *("Slc17a7", "Gad1", "Gad2", "Sst", "Pvalb", "Vip", "Lamp5", "Cux2", "Rorb", "Fezf2", "Foxp2", "Mbp"),
    *("Plp1", "Pdgfra", "Gfap", "Aqp4", "Cx3cr1", "Flt1", "Cldn5", "C1ql3"),
]
PIXEL = 0.120280945


@dataclass(frozen=True)
class Truth:
    """Cells as they are, in the order of their ids' table."""

    ids: list[str]
    counts: np.ndarray  # (n, g) of genes
    controls: np.ndarray  # (n, 2)
    xy: np.ndarray  # (n, 2) micrometers

    @classmethod
    def make(cls, ids: Callable[[int], str], n: int = 60, seed: int = 0) -> Truth:
        rng = np.random.default_rng(seed)
        counts = rng.poisson(2.0, (n, len(GENES))).astype(np.int64)
        counts[:, 0] += 1
        xy = 5000 + 20.0 * np.stack(np.divmod(np.arange(n), 8), axis=1) + rng.uniform(-4, 4, (n, 2))
        return cls([ids(i) for i in range(n)], counts, rng.poisson(0.2, (n, 2)), xy)

    def whole(self, names: tuple[str, str]) -> pd.DataFrame:
        """All counts, of genes and controls, in an order of its own."""
        values = np.hstack([self.counts, self.controls])
        frame = pd.DataFrame(values, index=self.ids, columns=[*GENES, *names])
        return frame.iloc[np.random.default_rng(1).permutation(len(frame))]


def write_csv(frame: pd.DataFrame, path: Path, **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, **({"index": False} | how))


# Xenium
# ------------------------------------------------------------------------------------------------------


def letters(i: int) -> str:
    return f"{100_000 + 7919 * i:08x}".translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop")) + "-1"


def xenium(
    folder: Path,
    *,
    counts: str = "cell_feature_matrix.h5",
    cells: str = "cells.csv.gz",
    prefix: str = "",
    integers: bool = False,
    fractions: bool = False,
    bytes_ids: bool = False,
    row_numbers: bool = False,
    panel: dict[str, Any] | None = None,
    n: int = 60,
    seed: int = 0,
) -> Truth:
    truth = Truth.make(lambda i: str(i + 1) if integers else letters(i), n=n, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    whole = truth.whole(("NegControlProbe_00042", "BLANK_0070"))
    x = sparse.csr_matrix(whole.to_numpy())
    types = ["Gene Expression"] * len(GENES) + ["Negative Control Probe", "Negative Control Codeword"]
    features = (
        [f"ENSMUSG{i:011d}" if t == types[0] else c for i, (c, t) in enumerate(zip(whole.columns, types))],
        list(whole.columns),
        types,
    )
    path = folder / f"{prefix}{counts}"
    if counts.endswith(".h5"):
        with h5py.File(path, "w") as file:
            group = file.create_group("matrix")
            kind = np.float64 if fractions else np.int32
            for name, values in (
                ("data", x.data),
                ("indices", x.indices),
                ("indptr", x.indptr),
                ("shape", x.shape[::-1]),
            ):
                group[name] = np.asarray(values).astype(kind)
            group["barcodes"] = np.array(list(whole.index), "S")
            for name, values in zip(("id", "name", "feature_type"), features):
                group[f"features/{name}"] = np.array(values, "S")
    elif counts.endswith(".zarr.zip"):
        group = new_zarr(path.with_suffix(""))
        part = group.create_group("cell_features")
        part.attrs.update(
            feature_keys=features[1],
            feature_ids=features[0],
            feature_types=["gene" if t == types[0] else "negative_control_probe" for t in types],
        )
        by_feature = x.T.tocsr()
        put(part, data=by_feature.data, indices=by_feature.indices, indptr=by_feature.indptr)
        put(part, cell_id=numbers(list(whole.index)))
        zipped(path.with_suffix(""))
    else:
        path.mkdir()
        with gzip.open(path / "matrix.mtx.gz", "wb") as file:
            io.mmwrite(file, x.T.tocoo())
        for name, lines in (("barcodes", whole.index), ("features", map("\t".join, zip(*features)))):
            with gzip.open(path / f"{name}.tsv.gz", "wt") as file:
                file.write("\n".join(lines) + "\n")
    table = pd.DataFrame(
        {
            "cell_id": truth.ids,
            "x_centroid": truth.xy[:, 0],
            "y_centroid": truth.xy[:, 1],
            "control_probe_counts": truth.controls[:, 0],
            "cell_area": 60.0,
            "nucleus_count": 1.0,
        }
    )
    table.loc[3, "cell_area"] = 900.0
    path = folder / f"{prefix}{cells}"
    if cells.endswith(".zarr.zip"):
        group = new_zarr(path.with_suffix(""))
        summary = table.rename(columns={"x_centroid": "cell_centroid_x", "y_centroid": "cell_centroid_y"})
        summary = summary.drop(columns="cell_id")
        put(group, cell_summary=summary.to_numpy(float), cell_id=numbers(truth.ids))
        group["cell_summary"].attrs.update(column_names=list(summary.columns))
        zipped(path.with_suffix(""))
    elif cells.endswith(".parquet"):
        if bytes_ids:
            table["cell_id"] = [name.encode() for name in table["cell_id"]]
        table.to_parquet(path)
    else:
        write_csv(table, path, index=row_numbers)
    if panel is not None:
        (folder / f"{prefix}experiment.xenium").write_text(json.dumps(panel))
    return truth


def numbers(names: list[str]) -> np.ndarray:
    """Ids as zarr holds them: a number and the data set, or one number."""
    if "-" not in names[0]:
        return np.array(names, np.uint32)
    back = str.maketrans("abcdefghijklmnop", "0123456789abcdef")
    return np.array(
        [[int(n.split("-")[0].translate(back), 16), int(n.split("-")[1])] for n in names], np.uint32
    )


def new_zarr(path: Path) -> Any:
    how = {"zarr_format": 2} if int(zarr.__version__.split(".")[0]) > 2 else {}
    return zarr.open_group(str(path), mode="w", **how)


def zipped(folder: Path) -> None:
    shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)


def put(group: Any, **arrays: np.ndarray) -> None:
    for name, values in arrays.items():
        if hasattr(group, "create_array"):
            group.create_array(name, data=np.asarray(values))
        else:
            group.create_dataset(name, data=np.asarray(values))


# MERSCOPE
# ----------------------------------------------------------------------------------------------------


def merscope(
    folder: Path,
    *,
    prefix: str = "",
    gz: str = "",
    counts_id: str = "cell",
    cells_id: str = "EntityID",
    row_numbers: bool = False,
    n: int = 60,
    seed: int = 0,
) -> Truth:
    truth = Truth.make(lambda i: str(103327291694389284070574461648020091166 + 997 * i), n=n, seed=seed)
    whole = truth.whole(("Blank-1", "Blank-22"))
    whole.insert(0, counts_id, whole.index)
    write_csv(whole.reset_index(drop=True), folder / f"{prefix}cell_by_gene.csv{gz}", index=row_numbers)
    table = pd.DataFrame(
        {
            cells_id: truth.ids,
            "fov": np.arange(n) // 20,
            "volume": 400.0,
            "center_x": truth.xy[:, 0],
            "center_y": truth.xy[:, 1],
        }
    )
    write_csv(table, folder / f"{prefix}cell_metadata.csv{gz}")
    return truth


# CosMx
# -------------------------------------------------------------------------------------------------------


def cosmx(
    folder: Path,
    *,
    positions: str = "global",
    own: bool = False,
    prefix: str = "Run5642_S3_",
    gz: str = "",
    fields: str = "",
    n: int = 60,
    seed: int = 0,
) -> Truth:
    """``positions``: global, local or slide; ``fields``: columns of the file of fields, as (fov, x, y)."""
    fov, cell = np.arange(n) // 20 + 1, np.arange(n) % 20 + 1  # the same numbers in every field
    truth = Truth.make(lambda i: f"c_1_{fov[i]}_{cell[i]}" if own else f"{fov[i]}_{cell[i]}", n=n, seed=seed)
    corner = np.array([[0.0, 0.0], [4800.0, 4900.0], [4900.0, 4800.0], [4950.0, 4900.0]])  # of each field
    whole = truth.whole(("NegPrb1", "SystemControl10")).rename(columns={"Plp1": "Plp1/2"})
    order = [truth.ids.index(name) for name in whole.index]
    whole.insert(0, "fov", fov[order])
    whole.insert(1, "cell_ID", cell[order])
    outside = whole.iloc[:2].assign(cell_ID=0)
    whole = pd.concat([outside, whole])
    table = pd.DataFrame({"fov": fov, "cell_ID": cell, "Area": 10_000, "Mean.DAPI": 7})
    if own:
        table["cell"] = truth.ids
    for a, axis in enumerate("XY"):
        table[f"Center{axis}_local_px"] = (truth.xy[:, a] - corner[fov, a]) / PIXEL
        if positions == "global":
            table[f"Center{axis}_global_px"] = truth.xy[:, a] / PIXEL
        if positions == "slide":
            table[f"{axis.lower()}_slide_mm"] = truth.xy[:, a] / 1000
    if positions == "slide":
        table = table.drop(columns=["CenterX_local_px", "CenterY_local_px"])
    write_csv(whole, folder / f"{prefix}exprMat_file.csv{gz}")
    write_csv(table, folder / f"{prefix}metadata_file.csv{gz}")
    if fields:
        name, x, y = fields.split(",")
        scale = PIXEL if "px" in x else 1000.0
        listed = pd.DataFrame({name: [1, 2, 3], x: corner[1:, 0] / scale, y: corner[1:, 1] / scale})
        write_csv(listed, folder / f"{prefix}fov_positions_file.csv{gz}")
    return truth


# Others
# ------------------------------------------------------------------------------------------------------


def starmap(folder: Path, *, prefix: str = "well05", n: int = 60, seed: int = 0) -> Truth:
    truth = Truth.make(lambda i: f"{prefix}_{i}", n=n, seed=seed)
    whole = truth.whole(("Blank1", "Blank2"))
    by_gene = whole.T.rename(index=str.upper)
    by_gene.insert(0, "GENE", by_gene.index)
    write_csv(by_gene, folder / f"{prefix}raw_expression_pd.csv")
    table = pd.DataFrame({"NAME": truth.ids, "X": truth.xy[:, 0], "Y": truth.xy[:, 1], "Z": 11.0})
    table = table.astype(str).assign(Main_molecular_cell_type="Astrocytes")
    types = pd.DataFrame([["TYPE", "numeric", "numeric", "numeric", "group"]], columns=table.columns)
    write_csv(pd.concat([types, table]), folder / f"{prefix}_spatial.csv")
    return truth


def seqfish(folder: Path, *, prefix: str = "Roi1_", n: int = 60, seed: int = 0) -> Truth:
    truth = Truth.make(lambda i: str(3 * i + 1), n=n, seed=seed)
    write_csv(truth.whole(("Blank1", "Blank2")), folder / f"{prefix}CellxGene.csv", index=True)
    table = pd.DataFrame({"label": truth.ids, "area": 70.0})
    table["center_x"], table["center_y"] = truth.xy.T
    write_csv(table, folder / f"{prefix}CellCoordinates.csv")
    return truth


def molecular_cartography(folder: Path, *, n: int = 60, seed: int = 0) -> Truth:
    truth = Truth.make(lambda i: str(i + 5), n=n, seed=seed)
    whole = truth.whole(("Blank1", "Blank2")).loc[truth.ids]
    whole.insert(0, "CellID", whole.index)
    whole["Y_centroid"], whole["X_centroid"] = truth.xy[:, 1] / 0.138, truth.xy[:, 0] / 0.138
    whole["Area"], whole["Solidity"] = 3000.0, 0.9
    write_csv(whole, folder / "sample.mesmer.cellxgene.csv")
    return truth


def stereoseq(folder: Path, *, name: str = "SS2.cellbin.gef", n: int = 60, seed: int = 0) -> Truth:
    truth = Truth.make(lambda i: str(i), n=n, seed=seed)
    truth = Truth(truth.ids, truth.counts, truth.controls * 0, np.round(truth.xy / 0.5) * 0.5)
    x = sparse.csr_matrix(truth.counts)
    folder.mkdir(parents=True, exist_ok=True)
    cell = np.zeros(
        n, [("id", "u4"), ("x", "i4"), ("y", "i4"), ("offset", "u4"), ("geneCount", "u2"), ("area", "u2")]
    )
    cell["id"], cell["x"], cell["y"] = np.arange(n), *(truth.xy / 0.5).astype(int).T
    cell["offset"], cell["geneCount"], cell["area"] = x.indptr[:-1], np.diff(x.indptr), 300
    gene = np.zeros(len(GENES), [("geneID", "S64"), ("geneName", "S64")])
    gene["geneID"], gene["geneName"] = [f"ENSMUSG{i:011d}" for i in range(len(GENES))], GENES
    entries = np.zeros(x.nnz, [("geneID", "u4"), ("count", "u2")])
    entries["geneID"], entries["count"] = x.indices, x.data
    with h5py.File(folder / name, "w") as file:
        file.attrs["resolution"] = np.array([500], np.uint32)
        for key, values in (("cell", cell), ("gene", gene), ("cellExp", entries)):
            file[f"cellBin/{key}"] = values
    return truth


def visium_hd(folder: Path, *, pixel: float = 0.27, n: int = 60, seed: int = 0) -> Truth:
    truth = Truth.make(lambda i: f"cellid_{i + 1:09d}-1", n=n, seed=seed)
    whole = truth.whole(("NEG1", "NEG2"))[GENES]
    x, folder = sparse.csr_matrix(whole.to_numpy()), folder / "segmented_outputs"
    (folder / "spatial").mkdir(parents=True)
    with h5py.File(folder / "filtered_feature_cell_matrix.h5", "w") as file:
        for name, values in (
            ("data", x.data),
            ("indices", x.indices),
            ("indptr", x.indptr),
            ("shape", x.shape[::-1]),
        ):
            file[f"matrix/{name}"] = values
        file["matrix/barcodes"] = np.array(list(whole.index), "S")
        for name, names in (
            ("id", GENES),
            ("name", GENES),
            ("feature_type", ["Gene Expression"] * len(GENES)),
        ):
            file[f"matrix/features/{name}"] = np.array(names, "S")
    corners = np.array([[-4, -3], [4, -3], [4, 3], [-4, 3], [-4, -3]])
    outlines = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [((xy + corners) / pixel).tolist()]},
            "properties": {"cell_id": i + 1},
        }
        for i, xy in enumerate(truth.xy)
    ]
    (folder / "cell_segmentations.geojson").write_text(json.dumps({"features": outlines}))
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps({"microns_per_pixel": pixel}))
    return truth
