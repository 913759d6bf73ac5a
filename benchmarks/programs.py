"""Gene programs compared with popari, on slices with planted metagenes and affinities.

    python benchmarks/programs.py OUT [--peer PYTHON] [--iterations N] [--seeds N]
    python benchmarks/programs.py OUT --large

Simulates slices from the model itself: compositions by Gibbs sampling from planted affinities, features of
planted metagenes plus noise. Both start from the same metagenes and run the same numbers of iterations.
PYTHON is that of the environment that programs_peer.py describes. Prints a Markdown table: cosine of matched
metagenes, mean and lowest; correlation of the states with the planted ones; rank correlation of the
affinities over all pairs and over those of different metagenes, the share of correct signs, and the error
relative to the planted ones, both centered; CPU time per iteration; means over seeds.

`--large`: time of 210 iterations on 4 slices of 5,000 cells x 128 features, K = 15.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

from lloki.analysis import ProgramConfig, fit_programs, spatial_neighbors
from lloki.analysis.programs.start import first_metagenes

SWEEPS = 40
CASES = ((5, 0.3), (5, 1.0), (10, 0.3), (10, 1.0), (15, 0.5))


def colors(graph: sparse.csr_matrix) -> list[np.ndarray]:
    """Sets of cells without neighbors among themselves."""
    color = np.full(graph.shape[0], -1)
    for i in range(graph.shape[0]):
        taken = set(color[graph.indices[graph.indptr[i] : graph.indptr[i + 1]]])
        color[i] = next(c for c in range(graph.shape[0]) if c not in taken)
    return [np.flatnonzero(color == c) for c in range(color.max() + 1)]


def sample_states(graph: sparse.csr_matrix, affinity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compositions: Gibbs sampling, mass moved between two metagenes of a cell at a time."""
    n, k = graph.shape[0], len(affinity)
    z = rng.dirichlet(np.full(k, 0.3), n)
    field = np.zeros(k)  # keeps the metagenes about equally common: without it one takes the whole tissue
    for _ in range(SWEEPS):
        field += 4 * (z.mean(0) * k - 1)
        for cells in colors(graph):
            eta = (graph[cells] @ z) @ affinity + field
            for _ in range(k):
                a = rng.integers(k, size=len(cells))
                b = (a + rng.integers(1, k, size=len(cells))) % k
                mass = z[cells, a] + z[cells, b]
                rows = np.arange(len(cells))
                rate = (eta[rows, a] - eta[rows, b]) * mass  # density of a's share of the mass: exp(-rate u)
                rate = np.where(np.abs(rate) < 1e-9, 1e-9, rate)
                u = rng.random(len(cells))
                share = np.where(
                    rate > 0,
                    -np.log1p(-u * -np.expm1(-np.abs(rate))) / np.abs(rate),
                    1 + np.log1p(-u * -np.expm1(-np.abs(rate))) / np.abs(rate),
                )
                z[cells, a], z[cells, b] = share * mass, (1 - share) * mass
    return z


def planted(k: int, noise: float, seed: int, *, n: int = 400, d: int = 60, slices: int = 2) -> dict:
    rng = np.random.default_rng(seed)
    metagenes = rng.dirichlet(np.full(d, 0.3), k).T
    affinity = rng.normal(size=(k, k)) * 3
    affinity = (affinity + affinity.T) / 2
    np.fill_diagonal(affinity, -8 - rng.random(k))
    affinity = (affinity - affinity.mean()) * k / 5
    case: dict = {"metagenes": metagenes, "affinity": affinity, "slices": slices}
    states, features = [], []
    for i in range(slices):
        xy = rng.random((n, 2)) * np.sqrt(n)
        graph = spatial_neighbors(xy)
        x = sample_states(graph, affinity, rng) * rng.gamma(8, k / 8, (n, 1))
        y = x @ metagenes.T
        y = np.maximum(y + noise * y.std() * rng.normal(size=y.shape), 0)
        case |= {f"y{i}": y, f"xy{i}": xy, f"edges{i}": np.array(graph.nonzero()).T}
        states.append(x)
        features.append(y)
    case["states"] = np.concatenate(states)
    case["start"] = first_metagenes([f.astype(np.float32) for f in features], k, seed=seed)
    return case


def scores(case: dict, metagenes: np.ndarray, states: np.ndarray, affinity: np.ndarray) -> list[float]:
    a, b = (m / np.linalg.norm(m, axis=0) for m in (case["metagenes"], metagenes))
    cosine = a.T @ b
    rows, found = linear_sum_assignment(-cosine)
    x = states[:, found]
    spread = x.std(0) > 0
    r = [np.corrcoef(case["states"][:, i], x[:, i])[0, 1] if spread[i] else 0.0 for i in rows]
    truth, mine = case["affinity"], affinity[np.ix_(found, found)]
    pairs, off = np.triu_indices(len(rows)), np.triu_indices(len(rows), 1)
    # the mean is not determined by the data, so signs are those around it
    signs = np.sign(truth - truth.mean())[pairs] == np.sign(mine - mine.mean())[pairs]
    error = np.linalg.norm(mine - mine.mean() - truth + truth.mean()) / np.linalg.norm(truth - truth.mean())
    rho = [float(spearmanr(truth[p], mine[p])[0]) if np.ptp(mine[p]) else np.nan for p in (pairs, off)]
    figures = cosine[rows, found].mean(), cosine[rows, found].min(), float(np.mean(r))
    return [*figures, *rho, signs.mean(), float(error)]


def large(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    metagenes = rng.dirichlet(np.full(128, 0.3), 15).T
    features, graphs = [], []
    for _ in range(4):
        xy = rng.random((5000, 2)) * 1000
        kind = ((xy[:, 0] // 67).astype(int) + rng.integers(0, 3, 5000)) % 15
        z = rng.dirichlet(np.full(15, 0.2), 5000) * 0.4 + 0.6 * np.eye(15)[kind]
        y = (z * rng.gamma(8, 1, (5000, 1))) @ metagenes.T
        features.append(np.maximum(y + 0.3 * y.std() * rng.normal(size=y.shape), 0).astype(np.float32))
        graphs.append(spatial_neighbors(xy))
    begin, cpu = time.perf_counter(), time.process_time()
    fitted = fit_programs(features, graphs, config=ProgramConfig(tolerance=0))
    took, used = time.perf_counter() - begin, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        "| slices x cells x features | K | iterations | wall s | CPU s | peak memory, GB |\n"
        + "|---" * 6
        + "|"
    )
    print(f"| 4 x 5,000 x 128 | 15 | {len(fitted.history)} | {took:.0f} | {used:.0f} | {memory:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.large:
        large(options)
        return
    print("| K | noise | | cosine | least | states | affinities | of different | signs | error | CPU s |")
    print("|---" * 11 + "|")
    ways = {
        "no affinities": {"iterations": 0, "pretraining": 10 + options.iterations},
        "lloki": {"iterations": options.iterations},
        "lloki, coupled": {"iterations": options.iterations, "affinities": "coupled"},
    }
    for k, noise in CASES:
        rows: dict[str, list] = {}
        for seed in range(options.seeds):
            case = planted(k, noise, seed)
            features = [case[f"y{i}"] for i in range(case["slices"])]
            graphs = [spatial_neighbors(case[f"xy{i}"]) for i in range(case["slices"])]
            for name, settings in ways.items():
                config = ProgramConfig(n_metagenes=k, tolerance=0, **settings)
                begin = time.process_time()
                p = fit_programs(features, graphs, config=config, start=case["start"])
                took = (time.process_time() - begin) / len(p.history)
                found = scores(case, p.metagenes, np.concatenate(p.states), p.affinity)
                rows.setdefault(name, []).append([*found, took])
            if options.peer:
                theirs = peer(case, options, f"{k}-{noise}-{seed}")
                found = scores(case, theirs["metagenes"], theirs["states"], theirs["affinity"])
                rows.setdefault("popari", []).append([*found, float(theirs["coupled"])])
        for name, figures in rows.items():
            print(
                f"| {k} | {noise} | {name} |",
                " | ".join(f"{v:.3f}" for v in np.mean(figures, axis=0)) + " |",
                flush=True,
            )


def peer(case: dict, options: argparse.Namespace, name: str) -> dict:
    """Fit by popari, kept in OUT for the next call."""
    file, out = options.out / f"{name}.npz", options.out / f"{name}-peer.npz"
    np.savez(file, **case)
    call = [options.peer, str(Path(__file__).with_name("programs_peer.py")), str(file), str(out)]
    if not out.exists():
        subprocess.run(
            [*call, "--pretraining", "10", "--iterations", str(options.iterations)],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    return np.load(out)


if __name__ == "__main__":
    main()
