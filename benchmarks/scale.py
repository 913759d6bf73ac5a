"""What a whole run costs on made-up tissue of growing size: CPU time, wall time, memory and disk per stage.

    python benchmarks/scale.py FOLDER --cells 10000 40000
    python benchmarks/scale.py FOLDER --cells 100000 --options --no-map

The last table has the dry run's estimate beside what the run took.

FOLDER receives the tissue and the runs, about 10 kB a cell. Four slices of equal size, by panels of 300, 340,
380 and 420 of 800 genes, about 120 transcripts a cell, and a reference of 5,000 cells. Slices of more than
25,000 cells are pieces of tissue side by side, of one panel and one instrument.
``lloki integrate`` runs as a process of its own, with two threads or fewer where `LLOKI_THREADS` says so;
a run that is there already is only read, with the figures of the time it was made.

CPU-seconds are summed over threads. The peak is that of the process during the stage, with all that it held
before.
*Growth* is the exponent between the smallest and the largest size, of CPU time.

Quality: mixing, preservation and the score by held-out genes as in the report, before and after the
autoencoder; and label transfer by 15 nearest neighbors between slices, on 10,000 cells of each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PANELS = {"one": 300, "two": 340, "three": 380, "four": 420}
GENES, COUNTS, REFERENCE, PIECE, SIDE_GAP = 800, 120.0, 5_000, 25_000, 200.0
SAMPLED = 10_000


def make_tissue(folder: Path, cells: int) -> None:
    """Write four slices, and the reference."""
    import anndata as ad
    import numpy as np

    from lloki.datasets import Platform, tissue

    folder.mkdir(parents=True, exist_ok=True)
    each = cells // len(PANELS)
    pieces = math.ceil(each / PIECE)
    for name, genes in PANELS.items():
        platform = Platform(name.capitalize(), genes, COUNTS)
        made = tissue(
            n_cells=math.ceil(each / pieces), platforms=[platform] * pieces, n_reference=1, n_genes=GENES
        ).slices
        at = 0.0
        for part in made:
            part.obsm["spatial"] = np.add(part.obsm["spatial_true"], [at, 0])
            at = float(part.obsm["spatial"][:, 0].max()) + SIDE_GAP
        whole = ad.concat(made, uns_merge="first")[:each].copy()
        whole.write_h5ad(folder / f"{name}.h5ad")
    tissue(n_cells=1, n_reference=REFERENCE, n_genes=GENES).reference.write_h5ad(folder / "reference.h5ad")


def run(folder: Path, cells: int, options: list[str]) -> dict[str, Any]:
    """Integrate, unless that is done, and give what it cost."""
    data, out = (
        folder / f"tissue-{cells}",
        folder / "-".join(["run", str(cells), *(o.strip("-") for o in options)]),
    )
    if not (data / "reference.h5ad").exists():
        call = f"import scale; scale.make_tissue(scale.Path({str(data)!r}), {cells})"
        subprocess.run([sys.executable, "-c", call], check=True, cwd=Path(__file__).parent)
    cost = out / "cost.json"
    if not cost.exists():
        slices = [str(data / f"{name}.h5ad") for name in PANELS]
        command = [sys.executable, "-m", "lloki", "integrate", *slices, "--reference"]
        command += [str(data / "reference.h5ad"), "--out", str(out), *options]
        with (folder / f"{out.name}.log").open("w") as log:
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"lloki integrate failed: see {log.name}")
        cost.write_text(
            json.dumps(
                {
                    "wall": time.perf_counter() - start,
                    "cpu": used.ru_utime + used.ru_stime,
                    "peak": used.ru_maxrss / 2**20,
                }
            )
        )
    found = json.loads(cost.read_text())
    stages: dict[str, dict[str, float]] = {}
    for record in json.loads((out / "run.json").read_text())["stages"]:
        name = record["unit"] if record["stage"] == "write" else record["stage"]
        stage = stages.setdefault(name, {"wall": 0.0, "cpu": 0.0, "peak": 0.0, "disk": 0.0})
        stage["wall"] += record["seconds"]
        stage["cpu"] += record["cpu_seconds"]
        stage["peak"] = max(stage["peak"], record["peak_rss_mb"] / 2**10)
        stage["disk"] = size(out / "work" / name)
    for name in ("integrated.h5ad", "report.html"):
        stages[name]["disk"] = size(out / name)
    rest = {k: found[k] - sum(s[k] for s in stages.values()) for k in ("wall", "cpu")}
    stages["start and end"] = {**rest, "peak": 0.0, "disk": 0.0}
    stages["all"] = found | {"disk": size(out)}
    return {"stages": stages, "out": out}


def size(path: Path) -> float:
    """GB of a file or folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files if p.is_file()) / 1e9


def quality(out: Path) -> dict[str, float]:
    """Scores of a finished run, and label transfer on its joint embedding."""
    import h5py
    import numpy as np
    import pandas as pd
    from anndata.io import read_elem

    from lloki.evaluate.transfer import transfer_accuracy

    held = json.loads((out / "run.json").read_text())["held_out"]
    table = pd.read_csv(out / "quality.csv").iloc[-1]
    with h5py.File(out / "integrated.h5ad") as file:
        z, obs = file["obsm/X_lloki"][:], read_elem(file["obs"])
    names, kinds = obs["slice"].astype(str).to_numpy(), obs["cell_type"].astype(str).to_numpy()
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(np.flatnonzero(names == n))[:SAMPLED] for n in sorted(set(names))]
    rows = np.concatenate(drawn)
    accuracy, macro_f1 = transfer_accuracy(z[rows], kinds[rows], names[rows])
    return {
        "mixing": float(table["mixing"]),
        "preservation": float(table["preservation"]),
        "held-out before": held["before"],
        "held-out after": held["after"],
        "label transfer": accuracy,
        "macro-F1": macro_f1,
    }


def estimate(folder: Path, cells: int, options: list[str]) -> dict[str, float]:
    """What the dry run expects, now: seconds of wall time, GB of memory and disk."""
    from lloki.run import plan

    data = folder / f"tissue-{cells}"
    slices = [data / f"{name}.h5ad" for name in PANELS]
    planned = plan(slices, reference=data / "reference.h5ad", umap="--no-map" not in options)
    return {"wall": planned.seconds, "peak": planned.memory / 2**30, "disk": planned.disk / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 40_000], help="of all four slices")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of lloki integrate")
    options = parser.parse_args()
    done = {cells: run(options.folder.resolve(), cells, options.options) for cells in sorted(options.cells)}
    few, many = min(done), max(done)
    print(
        "| stage | " + " | ".join(f"{n:,}: CPU-s | wall s | peak GB | disk GB" for n in done) + " | growth |"
    )
    print("|---" * (4 * len(done) + 2) + "|")
    for name in done[few]["stages"]:
        cells = []
        for n in done:
            s = done[n]["stages"].get(name, dict.fromkeys(("cpu", "wall", "peak", "disk"), 0.0))
            cells += [f"{s['cpu']:.1f}", f"{s['wall']:.1f}", f"{s['peak']:.2f}", f"{s['disk']:.2f}"]
        growth = ""
        small, large = (done[n]["stages"].get(name, {}).get("cpu", 0.0) for n in (few, many))
        if few < many and small > 0.05:
            growth = f"{math.log(large / small) / math.log(many / few):.2f}"
        print(f"| {name} | {' | '.join(cells)} | {growth} |", flush=True)
    print()
    for n in done:
        scores = quality(done[n]["out"])
        if n == few:
            print(f"| cells | {' | '.join(scores)} |\n{'|---' * (len(scores) + 1)}|")
        print(f"| {n:,} | {' | '.join(f'{v:.3f}' for v in scores.values())} |", flush=True)
    print(
        "\n| cells | wall s | estimate | peak GB | estimate | disk GB | estimate |" + "\n" + "|---" * 7 + "|"
    )
    for n in done:
        expected, real = estimate(options.folder.resolve(), n, options.options), done[n]["stages"]["all"]
        both = (f"{real[k]:.1f} | {expected[k]:.1f}" for k in ("wall", "peak", "disk"))
        print(f"| {n:,} | {' | '.join(both)} |", flush=True)


if __name__ == "__main__":
    main()
