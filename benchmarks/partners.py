"""Mixing and preservation of LLOKI-CAE on slices of growing size, and what they cost.

    python benchmarks/partners.py                                  # 3 x 2,000 and 3 x 20,000 cells, 400 steps
    python benchmarks/partners.py --cells 100000 --steps 400

Made-up embeddings: twenty types, some of them close to each other, that vary along a few directions of
their own. Each slice moves all types together, and each of them a little in its own way, so that offsets of
components do not align the slices alone. Every size has the same types and the same moves; quality is
measured on the same number of cells of each slice, as neighborhoods depend on it. Every row is measured in a
fresh process. CPU-seconds are summed over threads; memory is the peak of the process in addition to what it
held before training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import psutil

SLICES, COLUMNS, TYPES, SAMPLED = 3, 50, 20, 1_500


def made_up(cells: int) -> dict[str, np.ndarray]:
    """Slices (cells, 50) of twenty types, each type bent in every slice its own way."""
    rng = np.random.default_rng(0)
    families = 2.0 * rng.standard_normal((5, COLUMNS))
    centers = families[np.arange(TYPES) % 5] + 0.7 * rng.standard_normal((TYPES, COLUMNS))
    directions = 0.8 * rng.standard_normal((TYPES, 4, COLUMNS))
    moves = rng.standard_normal((SLICES, COLUMNS))
    bends = 0.5 * rng.standard_normal((SLICES, TYPES, COLUMNS))
    turns = 0.25 * rng.standard_normal((SLICES, TYPES, 4, COLUMNS))
    slices = {}
    for s in range(SLICES):
        kind = rng.integers(TYPES, size=cells)
        place = rng.standard_normal((cells, 4))
        x = centers[kind] + moves[s] + bends[s][kind] + 0.6 * rng.standard_normal((cells, COLUMNS))
        x += np.einsum("ij,ijk->ik", place, (directions + turns[s])[kind])
        slices[f"slice {s}"] = x.astype(np.float32)
    return slices


def measured(cells: int, steps: int, seed: int) -> dict[str, float]:
    from lloki.cae import CAEConfig, train
    from lloki.evaluate import mixing, preservation
    from lloki.run.record import metered

    slices = made_up(cells)
    tokens = {name: f"t|{name}" for name in slices}
    few = {name: x[:200] for name, x in slices.items()}
    train(few, tokens, config=CAEConfig(steps=2, batch_size=100, components=4), device="cpu")  # compiles
    before, start = psutil.Process().memory_info().rss, time.process_time()
    with metered("", "", "") as record:
        model = train(slices, tokens, config=CAEConfig(steps=steps, seed=seed), device="cpu")
    cpu = time.process_time() - start
    rng = np.random.default_rng(1)
    drawn = {name: x[rng.permutation(len(x))[:SAMPLED]] for name, x in slices.items()}
    x = np.concatenate(list(drawn.values()))
    z = np.concatenate([model.encode(rows, tokens[name]) for name, rows in drawn.items()])
    where = np.repeat(np.arange(SLICES), [len(rows) for rows in drawn.values()])
    return {
        "mixing_before": mixing(x, where),
        "mixing": mixing(z, where),
        "preservation": preservation(x, z, where),
        "cpu": cpu,
        "peak_gb": record.peak_rss_mb / 2**10 - before / 2**30,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[2_000, 20_000], help="of each slice")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", action="store_true", help="measure one size in this process, print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.cells[0], options.steps, options.seed)))
        return
    print("| cells | mixing before | mixing | preservation | CPU-s | peak, GB |")
    print("|---|---|---|---|---|---|")
    for cells in options.cells:
        arguments = ["--here", "--cells", str(cells), "--steps", str(options.steps)]
        command = [sys.executable, __file__, *arguments, "--seed", str(options.seed)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"| {SLICES} × {cells:,} | {row['mixing_before']:.3f} | {row['mixing']:.3f} "
            f"| {row['preservation']:.3f} | {row['cpu']:.0f} | {row['peak_gb']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
