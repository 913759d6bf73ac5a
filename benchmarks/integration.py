"""Integrates tasks of real slices with one set of defaults and compares methods and ablations on each.

    python benchmarks/integration.py TASKS OUT [--task NAME …] [--ablate] [--seeds N] [--methods NAME …]
                                     [--profile fast|full] [--label-key KEY] [--scorer SCRIPT]

TASKS holds one folder per task: slices (.h5ad) and reference.h5ad. OUT keeps results: finished ones are
reused. Nothing is tuned to a task; labels are only used to score. Prints Markdown tables. With --scorer, the
embedding of the first seed is also scored by `SCRIPT TASK RESULT.h5ad --key X_lloki --json FILE`, and the
largest difference of its `bio`, `batch` and `transfer_accuracy` from ours is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import anndata as ad
import pandas as pd

import lloki
from lloki.benchmark import Benchmark, benchmark
from lloki.errors import LlokiWarning
from lloki.run import Result

COLUMNS = ("transfer_accuracy", "transfer_macro_f1", "bio", "batch", "total")


def compare(task: Path, out: Path, options: argparse.Namespace) -> tuple[Result, Benchmark]:
    """Run (or find) everything on one task."""
    slices = sorted(f for f in task.glob("*.h5ad") if f.stem != "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        run = lloki.integrate(
            slices,
            reference=task / "reference.h5ad",
            out=out / "run",
            label_key=options.label_key,
            benchmark="none",
        )
        result = benchmark(
            run.folder,
            out=out / "benchmark",
            ablate=options.ablate,
            methods=options.methods,
            seeds=options.seeds,
            profile=options.profile,
        )
    return run, result


def markdown(task: str, table: pd.DataFrame, first: str) -> None:
    """Print a table: mean ± standard deviation where there are several seeds."""
    for _, row in table.iterrows():
        cells = [
            f"{row[c]:.3f}" + (f" ± {row[f'{c}_sd']:.3f}" if pd.notna(row[f"{c}_sd"]) else "")
            for c in COLUMNS
        ]
        print(f"| {task} | {row[first]} | {' | '.join(cells)} |", flush=True)


def check(task: Path, run: Result, result: Benchmark, scorer: Path) -> None:
    """Print how far another script's scores of the same embedding are from ours."""
    small = ad.AnnData(obs=run.adata.obs[[]], obsm={"X_lloki": run.adata.obsm["X_lloki"]})
    file, scores = result.folder / "scored.h5ad", result.folder / "scored.json"
    small.write_h5ad(file)
    command = [sys.executable, str(scorer), str(task), str(file), "--key", "X_lloki", "--json", str(scores)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    theirs = json.loads(scores.read_text())
    ours = result.scores[(result.scores["name"] == "lloki") & (result.scores["repeat"] == 0)].iloc[0]
    off = {k: abs(theirs[k] - ours[k]) for k in ("bio", "batch", "transfer_accuracy")}
    print(f"{task.name}: differs from {scorer.name} by {', '.join(f'{v:.4f} ({k})' for k, v in off.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", action="append")
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--profile", choices=("fast", "full"), default="full")
    parser.add_argument("--label-key", default="cell_type")
    parser.add_argument("--scorer", type=Path)
    options = parser.parse_args()
    tasks = [t for t in sorted(options.tasks.iterdir()) if (t / "reference.h5ad").exists()]
    tasks = [t for t in tasks if not options.task or t.name in options.task]
    made = [(t, *compare(t, options.out / t.name, options)) for t in tasks]
    header = f"| task | method | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 2)}|"
    print(header)
    for task, _, result in made:
        markdown(task.name, result.methods, "method")
    if options.ablate:
        print(f"\nDifferences from LLOKI:\n\n{header}")
        for task, _, result in made:
            if result.ablations is not None:
                markdown(task.name, result.ablations, "ablation")
    if options.scorer:
        print()
        for task, run, result in made:
            check(task, run, result, options.scorer)


if __name__ == "__main__":
    main()
