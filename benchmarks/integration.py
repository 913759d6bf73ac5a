"""Scores `lloki.integrate` and its ablations on integration tasks, beside Harmony on the same embedding.

    python benchmarks/integration.py TASKS SCORER OUT [--task NAME …] [--variant NAME …] [--seeds N]

TASKS holds a folder a task (slices and reference.h5ad), SCORER is a script called as
`SCORER TASK RESULT.h5ad --key KEY --json FILE`, OUT keeps results: what is there is not computed again.
Every variant runs on all tasks with the same settings; nothing is tuned to a task. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import lloki

# name → (settings of lloki.integrate, obsm key to score, post-processing)
VARIANTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "LLOKI": ({}, "X_lloki", ""),
    "LLOKI-FP + factor": ({}, "X_lloki_fp", ""),
    "LLOKI-FP + factor + Harmony": ({}, "X_lloki_fp", "harmony"),
    "factor (FP off)": ({"fp": {"iterations": 0, "alpha": 0.0}}, "X_lloki_fp", ""),
    "factor + Harmony (FP off)": ({"fp": {"iterations": 0, "alpha": 0.0}}, "X_lloki_fp", "harmony"),
    "LLOKI, FP off": ({"fp": {"iterations": 0, "alpha": 0.0}}, "X_lloki", ""),
    "LLOKI, observed values kept": ({"fp": {"preserve_observed": True}}, "X_lloki", ""),
    "LLOKI, observed values smoothed": ({"fp": {"preserve_observed": False}}, "X_lloki", ""),
    "LLOKI, no budget": ({"fp": {"preserve_observed": False, "respect_budget": False}}, "X_lloki", ""),
    "LLOKI, preset paper": ({"preset": "paper"}, "X_lloki", ""),
    "LLOKI, preset published-code": ({"preset": "published-code"}, "X_lloki", ""),
    "LLOKI, no reconstruction": ({"cae": {"reconstruction": 0.0}}, "X_lloki", ""),
    "LLOKI, no triplet": ({"cae": {"triplet": 0.0}}, "X_lloki", ""),
    "LLOKI, no conservation": ({"cae": {"conservation": 0.0}}, "X_lloki", ""),
}
COLUMNS = ("transfer_accuracy", "transfer_macro_f1", "bio", "batch", "total")


def harmony(x: np.ndarray, batch: pd.Series) -> np.ndarray:
    """Harmony on the same embedding, batch by batch token, as (cells, columns)."""
    import harmonypy

    z = np.asarray(
        harmonypy.run_harmony(
            x, pd.DataFrame({"batch": batch.astype(str).values}), "batch", verbose=False
        ).Z_corr
    )
    return z if z.shape[0] == len(x) else z.T


def result(task: Path, variant: str, seed: int, out: Path) -> dict[str, float]:
    """Run (or find) one variant on one task and score it."""
    settings, key, after = VARIANTS[variant]
    name = f"{variant}-{seed}".replace(" ", "_").replace(",", "").replace("(", "").replace(")", "")
    scores = out / task.name / f"{name}.json"
    if scores.exists():
        return json.loads(scores.read_text())
    slices = sorted(f for f in task.glob("*.h5ad") if f.stem != "reference")
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = lloki.integrate(
            slices, reference=task / "reference.h5ad", out=out / task.name / "run", seed=seed, **settings
        )
    seconds = time.perf_counter() - start
    adata = ad.read_h5ad(run.folder / "integrated.h5ad")
    x = adata.obsm[key]
    if after == "harmony":
        x = harmony(x, adata.obs["lloki_token"])
    small = ad.AnnData(obs=pd.DataFrame(index=adata.obs_names), obsm={"X_lloki": np.asarray(x, np.float32)})
    file = out / task.name / f"{name}.h5ad"
    small.write_h5ad(file)
    shutil.copy(run.folder / "run.json", out / task.name / f"{name}.run.json")
    done = subprocess.run(
        [sys.executable, str(SCORER), str(task), str(file), "--json", str(scores)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{SCORER} failed on {file}:\n{done.stderr[-2000:]}")
    found = json.loads(scores.read_text()) | {"seconds": seconds}
    scores.write_text(json.dumps(found, indent=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path)
    parser.add_argument("scorer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", action="append")
    parser.add_argument("--variant", action="append", choices=sorted(VARIANTS))
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    global SCORER
    SCORER = options.scorer
    tasks = [t for t in sorted(options.tasks.iterdir()) if (t / "reference.h5ad").exists()]
    print("| task | variant | transfer acc | macro-F1 | bio | batch | total |\n|---|---|---|---|---|---|---|")
    for task in tasks:
        if options.task and task.name not in options.task:
            continue
        for variant in options.variant or VARIANTS:
            rows = [result(task, variant, seed, options.out) for seed in range(options.seeds)]
            cells = []
            for column in COLUMNS:
                values = [row[column] for row in rows]
                spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}")
            print(f"| {task.name} | {variant} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
