"""Cost of LLOKI-FP on simulated slices of 500 genes, compared with a dense implementation.

    python benchmarks/fp.py                     # the table: n, CPU-seconds, wall, peak memory, stages
    python benchmarks/fp.py --cells 2000 50000  # other sizes
    python benchmarks/fp.py --tolerance         # effect of further propagation steps

Every row is measured in a fresh process after a warm-up on 1,200 cells, which compiles
or loads the numba kernels; that time is reported separately. CPU-seconds are summed over threads. The dense
implementation runs up to 5,000 cells unless ``--dense-up-to`` is given: at 10,000 it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist

GENES = 500


def made_up_slice(n: int, seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Counts (n, 500) of twelve layered cell types, 87 % zeros; µm; a reference of 75 % zeros."""
    rng = np.random.default_rng(seed)
    programs = rng.gamma(0.4, 1.0, (12, GENES))
    coords = rng.random((n, 2)) * 10.0 * np.sqrt(n)
    layer = np.clip(coords[:, 0] / (10.0 * np.sqrt(n)) * 12 + rng.normal(0, 1.5, n), 0, 11).astype(int)
    parts = []
    for rows in np.array_split(np.arange(n), max(n // 5_000, 1)):
        depth, noise = rng.gamma(2, 0.125, (len(rows), 1)) * 2, rng.gamma(3, 1 / 3, (len(rows), GENES))
        counts = rng.poisson(programs[layer[rows]] * depth * noise)
        parts.append(sparse.csr_matrix(counts.astype(np.float32)))
    return sparse.vstack(parts).tocsr(), coords, 1.0 - rng.beta(6, 18, 3_000)


def dense_reference(counts: sparse.csr_matrix, coords: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The equations as written, on n × n float32 matrices, 40 steps of propagation; ties as they fall."""
    k, x0 = 40, counts.toarray().astype(np.float32)
    totals = x0.sum(1)
    x0 = np.log1p(x0 * (np.median(totals[totals > 0]) / np.maximum(totals, 1))[:, None])
    n, g = x0.shape
    distance = cdist(coords, coords).astype(np.float32)
    rng = np.random.default_rng(0)
    sigma = distance[rng.integers(n, size=100), rng.integers(n, size=100)].mean()

    def graph(x: np.ndarray) -> np.ndarray:
        unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
        similarity = unit @ unit.T
        np.fill_diagonal(similarity, -1)
        near = np.argpartition(-similarity, k, axis=1)[:, :k]
        w = np.zeros((n, n), np.float32)
        rows = np.arange(n)[:, None]
        w[rows, near] = np.exp(-(distance[rows, near] ** 2) / (2 * sigma**2))
        w = (w + w.T) / 2 + np.eye(n, dtype=np.float32)
        scale = 1 / np.sqrt(w.sum(1))
        return scale[:, None] * w * scale

    def cut(x: np.ndarray) -> np.ndarray:
        free = np.sort(np.where(mask, 0, x), axis=1)
        least = free[np.arange(n), np.minimum(g - budgets, g - 1)]
        return np.where(mask | ((x >= least[:, None]) & (budgets > 0)[:, None]), x, 0)

    mask = x0 > 0
    s = 1 - mask.mean(1)
    at = np.searchsorted(np.sort(s), s, side="right") / n
    targets = np.sort(reference)[np.ceil(at * len(reference) - 1e-9).astype(int) - 1]
    budgets = np.maximum(np.ceil((1 - targets) * g - 1e-9).astype(int) - mask.sum(1), 0)
    a, x = graph(x0), x0
    for _ in range(40):
        x = cut(np.where(mask, x0, a @ x))
    return cut(np.where(mask, x0, 0.5 * (graph(x) @ x0)))


def measure(n: int, what: str) -> dict[str, object]:
    """Run one row's work in this process."""
    import lloki.fp as fp
    from lloki import graph

    times: dict[str, float] = {}
    clock = time.process_time()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.process_time()
        times[name] = times.get(name, 0.0) + now - clock
        clock = now

    config = fp.FPConfig.preset("default")
    fp.align_features(*made_up_slice(1_200, 1))
    lap("warm-up")
    counts, coords, reference = made_up_slice(n)
    clock, wall = time.process_time(), time.perf_counter()
    start = clock
    extra: dict[str, object] = {}
    if what == "dense":
        dense_reference(counts, coords, reference)
    elif what == "whole":
        result = fp.align_features(counts, coords, reference, config=config)
        extra = {
            "steps": result.iterations,
            "before": 1 - counts.nnz / counts.shape[0] / GENES,
            "after": float(result.sparsity_after.mean()),
        }
    else:  # the same calls as align_features makes, one by one
        observed = fp.log_normalize(counts)
        nonzero = np.diff(observed.indptr)
        targets = fp.sparsity_targets(fp.cell_sparsity(observed), reference)
        budgets = fp.imputation_budgets(targets, nonzero, GENES)
        sigma = graph.spatial_bandwidth(coords, pairs=config.sigma_pairs, seed=config.seed)
        lap("normalize, targets")
        near = graph.cosine_neighbors(observed, config.n_neighbors)
        lap("neighbors")
        a = graph.spatial_graph(near, coords, sigma)
        lap("weights")
        imputed, _, _ = fp.propagate(a, observed, budgets, iterations=config.iterations, tol=config.tol)
        lap("propagation")
        near = graph.cosine_neighbors(imputed, config.n_neighbors)
        lap("neighbors again")
        a = graph.spatial_graph(near, coords, sigma)
        lap("weights")
        fp.denoise(a, observed, budgets, alpha=config.alpha)
        lap("denoising")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cpu": time.process_time() - start,
        "wall": time.perf_counter() - wall,
        "peak_gb": peak / (1e9 if sys.platform == "darwin" else 1e6),  # bytes there, kilobytes elsewhere
        "times": times,
        **extra,
    }


def in_fresh_process(n: int, what: str) -> dict:
    command = [sys.executable, __file__, "--measure", str(n), what]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(cells: list[int], dense_up_to: int) -> None:
    """Print the cost of each size, then of its stages, as Markdown."""
    print("| cells | CPU-s | wall s | peak GB | steps | zeros before → after | dense CPU-s | GB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for n in cells:
        row = in_fresh_process(n, "whole")
        line = f"| {n:,} | {row['cpu']:.2f} | {row['wall']:.1f} | {row['peak_gb']:.2f} | {row['steps']} "
        line += f"| {row['before']:.2f} → {row['after']:.2f} "
        if n <= dense_up_to:
            dense = in_fresh_process(n, "dense")
            line += f"| {dense['cpu']:.1f} | {dense['peak_gb']:.2f} | {dense['cpu'] / row['cpu']:.0f}x |"
        else:
            line += "| – | – | – |"
        print(line, flush=True)
    names: list[str] = []
    for n in cells:
        times = in_fresh_process(n, "stages")["times"]
        if not names:
            names = list(times)
            print("\nCPU-seconds of the stages:\n\n| cells | " + " | ".join(names) + " |")
            print("|---" * (len(names) + 1) + "|")
        print(f"| {n:,} | " + " | ".join(f"{times[name]:.2f}" for name in names) + " |", flush=True)


def tolerance(n: int = 3_000, long: int = 150) -> None:
    """Print how far the result of each tolerance is from that of many more steps."""
    import lloki.fp as fp
    from lloki import graph

    counts, coords, reference = made_up_slice(n)
    observed = fp.log_normalize(counts)
    nonzero = np.diff(observed.indptr)
    targets = fp.sparsity_targets(fp.cell_sparsity(observed), reference)
    budgets = fp.imputation_budgets(targets, nonzero, GENES)
    sigma = graph.spatial_bandwidth(coords, seed=0)
    a = graph.spatial_graph(graph.cosine_neighbors(observed, 40), coords, sigma)

    def run(tol: float) -> tuple[sparse.csr_matrix, int, np.ndarray, sparse.csr_matrix]:
        imputed, steps, _ = fp.propagate(a, observed, budgets, iterations=long, tol=tol)
        near = graph.cosine_neighbors(imputed, 40)
        final = fp.denoise(graph.spatial_graph(near, coords, sigma), observed, budgets, alpha=0.5)
        return imputed, steps, near, final

    best, _, best_near, best_final = run(0.0)
    print("| tol | steps | imputed: difference | same genes | same neighbors | result: difference |")
    print("|---|---|---|---|---|---|")
    norm = sparse.linalg.norm
    for tol in (1e-1, 5e-2, 2e-2, 1e-2, 1e-3):
        imputed, steps, near, final = run(tol)
        common = np.mean([np.isin(p, q).mean() for p, q in zip(near, best_near)])
        genes = (imputed > 0).multiply(best > 0).nnz / best.nnz
        off = norm(imputed - best) / norm(best - observed)
        off_final = norm(final - best_final) / norm(best_final - observed)
        print(f"| {tol:g} | {steps} | {off:.3f} | {genes:.4f} | {common:.4f} | {off_final:.3f} |", flush=True)


if __name__ == "__main__":
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--cells", type=int, nargs="+", default=[2_000, 5_000, 10_000, 50_000, 100_000])
    parser.add_argument("--dense-up-to", type=int, default=5_000)
    parser.add_argument("--tolerance", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("N", "WHAT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(int(chosen.measure[0]), chosen.measure[1])))
    elif chosen.tolerance:
        tolerance()
    else:
        table(chosen.cells, chosen.dense_up_to)
