"""Ten real output folders: what is read equals the numbers in their files, by id."""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from anndata import AnnData

from lloki import io
from lloki.errors import InputError, LlokiWarning

PIXEL = 0.120280945


def read(path: Path) -> AnnData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        return io.read_folder(path)


def rows(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV as text, without pandas."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        lines = csv.reader(file)
        names = next(lines)
        return [dict(zip(["id", *names[1:]] if not names[0] else names, line)) for line in lines]


MERSCOPE = {
    "sfe_merscope_cellbound": ("cell_by_gene.csv", "cell", "cell_metadata.csv", "EntityID", 1058, 49),
    "sfe_merscope_liver": (
        "Liver1Slice1_cell_by_gene.csv",
        "id",
        "Liver1Slice1_cell_metadata.csv",
        "id",
        100,
        347,
    ),
    "merfishing_merscope_mouse_brain": ("cell_by_gene.csv.gz", "id", "cell_metadata.csv.gz", "id", 103, 494),
    "spexio_all/MERSCOPE_small": (
        "ovarian_p2s2_cell_by_gene.csv",
        "cell",
        "ovarian_p2s2_cell_metadata.csv",
        "X",
        8,
        9,
    ),
}


@pytest.mark.parametrize("name", MERSCOPE)
def test_merscope(shared_data: Path, name: str) -> None:
    counts, counts_id, cells, cells_id, n, genes = MERSCOPE[name]
    folder = shared_data / "vendor" / name
    adata = read(folder)
    assert (adata.n_obs, adata.n_vars) == (n, genes)
    positions = {
        row[cells_id]: (float(row["center_x"]), float(row["center_y"])) for row in rows(folder / cells)
    }
    found = {row.pop(counts_id): row for row in rows(folder / counts)}
    for i, cell in enumerate(adata.obs["cell_id"]):
        assert tuple(adata.obsm["spatial"][i]) == positions[cell]
        own = found[cell]
        assert [float(own[gene]) for gene in adata.var_names] == adata.X[i].toarray()[0].tolist()
        blanks = [float(v) for gene, v in own.items() if gene.startswith("Blank")]
        assert not blanks or adata.obs["control_counts"].iloc[i] == sum(blanks)
        assert len(own) == len(blanks) + genes
    assert (adata.uns["technology"], adata.uns["spatial_unit"]) == ("MERSCOPE", "micrometre")


COSMX = {
    "sfe_cosmx_mouse_brain": ("Run5642_S3_Quarter", 27, 950),
    "spexio_all/CosMx_small": ("lung_p9s1", 9, 8),
}


@pytest.mark.parametrize("name", COSMX)
def test_cosmx(shared_data: Path, name: str) -> None:
    prefix, n, genes = COSMX[name]
    folder = shared_data / "vendor" / name
    adata = read(folder)
    assert (adata.n_obs, adata.n_vars) == (n, genes)
    table = {(row["fov"], row["cell_ID"]): row for row in rows(folder / f"{prefix}_metadata_file.csv")}
    found = {(row.pop("fov"), row.pop("cell_ID")): row for row in rows(folder / f"{prefix}_exprMat_file.csv")}
    probes = adata.var.get("probe", adata.var_names)
    for i, (fov, cell) in enumerate(zip(adata.obs["fov"].astype(str), adata.obs["cell_ID"].astype(str))):
        assert cell != "0"
        row = table[fov, cell]
        true = [float(row["CenterX_global_px"]) * PIXEL, float(row["CenterY_global_px"]) * PIXEL]
        np.testing.assert_allclose(adata.obsm["spatial"][i], true, rtol=1e-12)
        assert [float(found[fov, cell][p]) for p in probes] == adata.X[i].toarray()[0].tolist()
        assert adata.obs["cell_id"].iloc[i] == f"{fov}_{cell}"
    if prefix.startswith("Run"):
        assert {"Lyz1", "Tuba1a", "Aph1b", "Bex1", "C1s1", "Lilrb4a"} <= set(adata.var_names)


@pytest.mark.parametrize(("name", "n", "genes"), [("sfe_xenium", 526, 27), ("spexio_all/Xenium_small", 6, 4)])
def test_xenium(shared_data: Path, name: str, n: int, genes: int) -> None:
    folder = shared_data / "vendor" / name
    adata = read(folder)
    assert (adata.n_obs, adata.n_vars) == (n, genes)
    table = {row["cell_id"]: row for row in rows(folder / "cells.csv.gz")}
    with h5py.File(folder / "cell_feature_matrix.h5") as file:
        group = file["matrix"]
        data, indices, indptr = (group[key][:] for key in ("data", "indices", "indptr"))
        names = [name.decode() for name in group["features/name"][:]]
        cells = [name.decode() for name in group["barcodes"][:]]
    for i, cell in enumerate(adata.obs["cell_id"]):
        assert adata.obsm["spatial"][i].tolist() == [
            float(table[cell][key]) for key in ("x_centroid", "y_centroid")
        ]
        at = cells.index(cell)
        own = slice(int(indptr[at]), int(indptr[at + 1]))
        values = {names[int(k)]: v for k, v in zip(indices[own], data[own])}
        assert adata.X[i].toarray()[0].tolist() == [values.get(gene, 0.0) for gene in adata.var_names]
    assert not any("BLANK" in gene or gene.startswith("Neg") for gene in adata.var_names)


def test_starmap(shared_data: Path) -> None:
    folder = shared_data / "vendor" / "spexio_all" / "STARmapPLUS_small"
    adata = read(folder)
    assert (adata.n_obs, adata.n_vars) == (9, 8)
    table = {row["NAME"]: row for row in rows(folder / "mock_spatial.csv")}
    by_gene = {row.pop("GENE"): row for row in rows(folder / "mockraw_expression_pd.csv")}
    for i, cell in enumerate(adata.obs["cell_id"]):
        np.testing.assert_allclose(
            adata.obsm["spatial"][i], [float(table[cell][key]) for key in "XYZ"], rtol=1e-12
        )
        assert [float(by_gene[gene][cell]) for gene in adata.var_names] == adata.X[i].toarray()[0].tolist()
    assert "TYPE" not in set(adata.obs["cell_id"])
    assert "spatial_unit" not in adata.uns


def test_a_folder_of_transcripts_is_refused_in_words(shared_data: Path) -> None:
    with pytest.raises(
        InputError, match=r"transcripts only \(vizgen_transcripts\.gz\).*Segment the cells first"
    ):
        read(shared_data / "vendor" / "giotto_merscope_mouse_brain")


def test_a_folder_of_folders_is_several_slices(shared_data: Path) -> None:
    checks = io.check_slices([shared_data / "vendor" / "spexio_all"], n_neighbors=3)
    assert [c.technology for c in checks] == ["CosMx", "MERSCOPE", "STARmap PLUS", "Xenium"]
    assert [c.name.removeprefix("spexio_all_") for c in checks] == [
        "CosMx_small",
        "MERSCOPE_small",
        "STARmapPLUS_small",
        "Xenium_small",
    ]
