"""Cost of reading an instrument's folder, beside reading the same counts with pandas in one piece.

    python benchmarks/readers.py                                     # 100,000 cells x 1,000 genes
    python benchmarks/readers.py --cells 20000 --genes 500
    python benchmarks/readers.py --folders ../shared/data/vendor     # a table of real folders
    python benchmarks/readers.py --stacked ../shared/data/spatial    # fields laid on one another are found

Counts are made up, and written as CosMx flat files (CSV) and as a Xenium folder
(``cell_feature_matrix.h5``). Every row is measured in a fresh process, and with the file in the cache of the
system. CPU-seconds are summed over threads; memory is the peak of the process in addition to what it
held before reading.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import psutil
from scipy import sparse

CHUNK = 5_000
TYPES = ("cell_type", "layer", "broad_class", "cluster10x", "cluster", "region")


def counts(cells: int, genes: int) -> sparse.csr_matrix:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.25, 0.6, genes)  # one value in ten is above 0
    parts = []
    for at in range(0, cells, CHUNK):
        part = rng.poisson(rate, (min(CHUNK, cells - at), genes))
        parts.append(sparse.csr_matrix(np.minimum(part, 9).astype(np.int32)))
    return sparse.vstack(parts, format="csr")


def write(folder: Path, cells: int, genes: int) -> None:
    """Write both folders."""
    x, names = counts(cells, genes), [f"Gene{i}a" for i in range(genes)]
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 20 * np.sqrt(cells), (cells, 2))
    fov, cell = np.arange(cells) // 500 + 1, np.arange(cells) % 500 + 1
    cosmx, xenium = folder / "cosmx", folder / "xenium"
    cosmx.mkdir()
    xenium.mkdir()
    with (cosmx / "S0_exprMat_file.csv").open("wb") as file:
        file.write(",".join(["fov", "cell_ID", *names]).encode() + b"\n")
        for at in range(0, cells, CHUNK):
            part = x[at : at + CHUNK].toarray()
            line = np.full((len(part), 2 * genes), ord(","), np.uint8)
            line[:, 1::2] = part + ord("0")  # counts have one digit
            keys = zip(fov[at : at + CHUNK], cell[at : at + CHUNK])
            file.writelines(b"%d,%d%b\n" % (*key, row.tobytes()) for key, row in zip(keys, line))
    table = np.column_stack([fov, cell, np.full(cells, 9000), xy / 0.120280945])
    with (cosmx / "S0_metadata_file.csv").open("w") as file:
        file.write("fov,cell_ID,Area,CenterX_global_px,CenterY_global_px\n")
        np.savetxt(file, table, fmt="%.10g", delimiter=",")
    ids = np.array([f"{i:08x}-1" for i in range(cells)])
    with h5py.File(xenium / "cell_feature_matrix.h5", "w") as file:
        group = file.create_group("matrix")
        for name, values in (("data", x.data), ("indices", x.indices), ("indptr", x.indptr)):
            group.create_dataset(name, data=values, compression="gzip", compression_opts=4)
        group["shape"], group["barcodes"] = np.array(x.shape[::-1]), ids.astype("S")
        for name, values in (("id", names), ("name", names), ("feature_type", ["Gene Expression"] * genes)):
            group[f"features/{name}"] = np.array(values, "S")
    with (xenium / "cells.csv").open("w") as file:
        file.write("cell_id,x_centroid,y_centroid,cell_area\n")
        file.writelines(f"{name},{a:.6f},{b:.6f},80\n" for name, (a, b) in zip(ids, xy))


def measured(what: str, folder: Path) -> dict[str, float]:
    """Read one of the folders, in this process."""
    import pandas as pd

    from lloki.io import read_folder
    from lloki.run.record import metered

    warnings.simplefilter("ignore")
    file = folder / "cosmx" / "S0_exprMat_file.csv"
    before, start = psutil.Process().memory_info().rss, time.process_time()
    with metered("", "", "") as record:
        if what == "pandas":
            frame = pd.read_csv(file)
            x = sparse.csr_matrix(frame.iloc[:, 2:].to_numpy(np.float32))
        else:
            x = read_folder(folder / what).X
    cpu = time.process_time() - start
    return {"cpu": cpu, "peak": record.peak_rss_mb / 2**10 - before / 2**30, "sum": float(x.sum())}


ROWS = {
    "pandas": "CosMx CSV, `pandas.read_csv` in one piece",
    "cosmx": "CosMx CSV, `read_folder`",
    "xenium": "Xenium h5, `read_folder`",
}


def compare(cells: int, genes: int) -> None:
    print("| | file, MB | CPU-s | peak, GB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder, sums = Path(place), set()
        write(folder, cells, genes)
        for file in folder.rglob("*.*"):
            file.read_bytes()
        for what, title in ROWS.items():
            command = [sys.executable, __file__, "--here", what, str(folder)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            size = sum(f.stat().st_size for f in (folder / what.replace("pandas", "cosmx")).iterdir())
            print(f"| {title} | {size / 1e6:.0f} | {row['cpu']:.0f} | {row['peak']:.2f} |", flush=True)
            sums.add(row["sum"])
        assert len(sums) == 1, "the counts differ"


def real(root: Path) -> None:
    """Print one row for each folder, or why it is refused."""
    from lloki.errors import LlokiError
    from lloki.io.converting import convert_folder

    warnings.simplefilter("ignore")
    folders = [
        f for d in sorted(root.iterdir()) for f in (sorted(d.iterdir()) if d.name.endswith("_all") else [d])
    ]
    print("| folder | technology | cells | genes | controls | of all counts | extent | spacing |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for folder in folders:
            try:
                (s,) = convert_folder(folder, Path(place) / "slice.h5ad")
            except LlokiError as error:
                print(f"| {folder.name} | {error.what} | | | | | | |")
                continue
            rate = f"{s.control_rate:.2%}" if s.control_rate == s.control_rate else "–"
            unit = " µm" if s.unit else " (unit?)"
            print(
                f"| {folder.name} | {s.technology} | {s.cells:,} | {s.genes:,} | {s.controls} | {rate} "
                f"| {s.extent[0]:,.0f} × {s.extent[1]:,.0f}{unit} | {s.spacing:.1f}{unit} |"
            )


def stacked(root: Path) -> None:
    """Make positions of real slices local to fields of view, and count how often that is found."""
    import anndata as ad
    import pandas as pd

    from lloki.io import _stacked

    print("| slice | fields (found) | columns of types and regions (taken for fields) |")
    print("|---|---|---|")
    for path in sorted(root.glob("*.h5ad")):
        adata = ad.read_h5ad(path)
        if "slice" in adata.obs:
            adata = adata[adata.obs["slice"] == adata.obs["slice"].value_counts().index[0]]
        xy, fields = np.asarray(adata.obsm["spatial"], float), []
        for cells in (60, 200, 600):
            n = max(2, int(np.sqrt(len(xy) / cells)))
            width = np.ptp(xy[:, :2], axis=0) / n * 1.0001
            at = ((xy[:, :2] - xy[:, :2].min(axis=0)) // width).astype(int)
            local = xy.copy()
            local[:, :2] -= at * width
            found = _stacked.stacked(local, at[:, 0] * n + at[:, 1], "column") > 0
            fields.append(f"{n * n} ({'yes' if found else 'no'})")
        names = [c for c in TYPES if c in adata.obs and adata.obs[c].nunique() > 1]
        taken = [n for n in names if _stacked.stacked(xy, pd.factorize(adata.obs[n])[0], n) > 0]
        print(f"| {path.stem} | {', '.join(fields)} | {len(names)} ({len(taken)}) |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=1_000)
    parser.add_argument("--folders", type=Path, help="read real folders instead")
    parser.add_argument(
        "--here", nargs=2, metavar=("WHAT", "FOLDER"), help="measure in this process, print JSON"
    )
    parser.add_argument("--stacked", type=Path, help="cut slices into fields of view instead")
    options = parser.parse_args()
    if options.stacked:
        stacked(options.stacked)
    elif options.here:
        print(json.dumps(measured(options.here[0], Path(options.here[1]))))
    elif options.folders:
        real(options.folders)
    else:
        compare(options.cells, options.genes)


if __name__ == "__main__":
    main()
