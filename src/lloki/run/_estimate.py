"""How long a run will take on this machine, and its memory and disk: from kernels that are timed here.

Costs are counted in units of a few kernels, timed for a second or so; how many of them a stage takes
follows from the code, where it is not fitted to runs of made-up tissue (`benchmarks/scale.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.cae import CAEConfig, sample_sizes
from lloki.cae.cells import COMPARISONS
from lloki.cae.correction import CELLS as LANDMARKS
from lloki.evaluate.held_out import QUERIES, TARGETS
from lloki.fp import FPConfig
from lloki.fp.config import K
from lloki.fp.latent import FOLDS, SAMPLE
from lloki.run import held_out
from lloki.run._view import ANCHORS
from lloki.run._view import MOST as LAID_OUT

# Seconds of what depends neither on cells nor on the method, and bytes of the interpreter with its libraries.
START, BASE = 13.0, 0.85e9
EACH = 1.6  # seconds of folds of genes that a slice takes whatever its size
REFERENCE = 6e-9  # `Kernels.entry` of the machine on which seconds were measured
FEW = 1024  # cells of the smallest search that is timed
INDEXED = 0.1  # of all pairs of cells, those that an index compares


@dataclass(frozen=True)
class Kernels:
    """Seconds that this machine takes, on the threads of a run.

    Attributes
    ----------
    row
        One cell whose neighbors are kept and ranked.
    pair, pair_column
        One comparison of two cells, and each column of it.
    entry
        One gene of a cell, standardized.
    step
        One optimizer step of the autoencoder.
    edge
        One neighbor of a cell in Leiden clustering, on one thread.
    write
        One byte written.
    """

    row: float
    pair: float
    pair_column: float
    entry: float
    step: float
    edge: float
    write: float

    def compare(self, pairs: float, columns: int, rows: float = 0.0) -> float:
        """Seconds of comparisons of cells, of which ``rows`` look for neighbors."""
        return rows * self.row + pairs * (self.pair + columns * self.pair_column)


@dataclass(frozen=True)
class Cost:
    """What a stage takes: seconds, and bytes of memory and disk."""

    seconds: float
    memory: float
    disk: float


@dataclass(frozen=True)
class Size:
    """A slice: its cells, genes and stored counts; ``token`` is its batch."""

    cells: int
    genes: int
    stored: int
    token: str


@lru_cache(maxsize=8)
def timed(cae: CAEConfig, columns: int, *, clock: Callable[[], float] = time.perf_counter) -> Kernels:
    """Time the kernels, once in a process; ``columns`` are those of the embedding."""
    from lloki.embed.factor import stabilize
    from lloki.graph import cosine_neighbors, leiden

    rng = np.random.default_rng(0)

    def best(call: Callable[[], object], times: int = 2) -> float:
        """Seconds of the fastest call, the first of which compiles what it needs."""
        call()
        found = []
        for _ in range(times):
            start = clock()
            call()
            found.append(clock() - start)
        return max(min(found), 1e-6)

    x = rng.standard_normal((FEW * 4, 128)).astype(np.float32)
    sizes = ((FEW, 16), (FEW * 4, 16), (FEW * 4, 128))
    few, many, wide = (best(partial(cosine_neighbors, np.ascontiguousarray(x[:n, :d]), 30)) for n, d in sizes)
    pairs = np.array([FEW, FEW * 4]) ** 2 / 2  # time = rows * row + pairs * (pair + columns * pair_column)
    column = max(wide - many, 0.1 * wide) / (112 * pairs[1])
    pair = max((many - 4 * few) / (pairs[1] - 4 * pairs[0]) - 16 * column, 0.1 * many / pairs[1])
    counts = sparse.random(4096, 300, 0.2, "csr", np.float32, random_state=0)
    near = cosine_neighbors(np.ascontiguousarray(x[:FEW, :8]), 15)
    return Kernels(
        row=max(few - pairs[0] * (pair + 16 * column), 0.1 * few) / FEW,
        pair=pair,
        pair_column=column,
        entry=best(lambda: (stabilize(counts) - 0.1) / 0.5) / (4096 * 300),
        step=best(_step(cae, columns)),
        edge=best(lambda: leiden(near), 1) / near.size,
        write=1 / 400e6,
    )


def _step(cae: CAEConfig, columns: int) -> Callable[[], object]:
    """Make what trains one step on random cells."""
    import torch

    from lloki._parallel import single_threaded
    from lloki.cae.network import ConditionalAutoencoder

    network = ConditionalAutoencoder(columns, 1, latent=cae.latent, hidden=cae.hidden)
    x = torch.randn(cae.batch_size, columns)
    drawn = max(1, cae.batch_size // (3 + cae.neighbors_per_step))
    rows = torch.zeros(cae.batch_size, 1, dtype=torch.int64)

    def step() -> None:
        with single_threaded():
            network.zero_grad()
            z = network.encode(x, network.condition(rows))
            y = network.decode(z[:drawn], network.condition(rows[:drawn]))
            ((y - x[:drawn]).square().mean() + z.square().mean()).backward()

    return step


def costs(
    slices: Sequence[Size],
    kernels: Kernels,
    *,
    cae: CAEConfig,
    columns: int,
    expression: FPConfig | None,
    latent: bool,
    umap: bool,
    joint: bool,
) -> dict[str, Cost]:
    """Count what each stage of a run takes.

    Parameters
    ----------
    slices
        All of them.
    kernels
        See `timed`.
    cae
        Settings of the autoencoder.
    columns
        Of the embedding.
    expression
        How expression is propagated, or None where it is not.
    latent
        Whether embeddings are propagated, by shares that are to be chosen.
    umap
        Whether there is a map.
    joint
        Whether the embedder learns from the slices.
    """
    n = np.array([s.cells for s in slices], float)
    g = np.array([s.genes for s in slices], float)
    stored, cells, most = float(sum(s.stored for s in slices)), n.sum(), n.max()
    entries, k = float((n * g).sum()), kernels
    found = {
        "check": Cost(
            40 * k.entry * stored + 2e3 * k.entry * cells,
            BASE + 60 * stored / len(n),
            8.2 * stored + 100 * cells,
        )
    }
    seconds, memory, filled = 3 * k.entry * stored, 40 * stored / len(n), 0.0
    if expression is not None:
        neighbors = expression.n_neighbors or K
        graphs, steps = (2, 10) if expression.iterations else (1, 1)
        for s in slices:
            indexed = INDEXED if s.cells > expression.approximate_above else 1.0
            seconds += graphs * k.compare(indexed * s.cells**2 / 2, s.genes, s.cells)
            seconds += steps * neighbors * s.stored * k.entry
        memory += 8 * most * (neighbors + 40) + 16 * most * neighbors
        if not expression.respect_budget:  # nearly every value is above 0
            memory, filled = memory + 16 * most * max(g), 8.0 * entries
    found["LLOKI-FP"] = Cost(seconds, BASE + memory, max(8.2 * stored, filled) + 30 * cells)
    seconds, memory = 0.0, 8.0 * columns * most
    if joint:
        genes = max(g) * 2
        seconds += 2 * k.entry * entries + 600 * genes**2 * k.entry
        seconds += (1 + FOLDS * latent) * 1.6 * k.entry * entries
    speed = k.entry / REFERENCE
    if latent:
        seconds += EACH * speed * len(n)
        seconds += k.compare(float((n**2 / 2).sum()), columns, cells) + 40 * k.entry * 100 * cells
        seconds += FOLDS * k.compare(float((n * np.minimum(n, SAMPLE)).sum()), columns)
        memory += (8 * 140 + 4 * 100) * most + 4 * most * max(g) / FOLDS
    found["embedding"] = Cost(seconds, BASE + memory, 4 * columns * cells)
    found["LLOKI-CAE"] = _training(n, [s.token for s in slices], k, cae, columns)
    laid = min(cells, LAID_OUT)
    seconds = k.compare(laid**2 / 2, cae.latent, laid) + 15 * laid * k.edge * 2
    if cells > laid:
        seconds += k.compare((cells - laid) * ANCHORS, cae.latent)
    if umap:
        epochs = 2.5 if laid <= 10_000 else 1.0  # by umap-learn, in units of 200
        seconds += (1e-3 * laid * epochs + 6) * speed
    found["UMAP and clusters" if umap else "clusters"] = Cost(
        seconds, BASE + 4 * cells * (columns + 2 * cae.latent) + 2.5e3 * laid, 16 * cells
    )
    seconds = START * speed + 500 * k.entry * cells + 20 * k.entry * stored
    if joint:
        share = min(1.0, held_out.MOST_SLICES / len(n))  # of the slices that are compared
        seconds += 0.75 * EACH * speed * share * len(n)
        looked = share * float((n * np.minimum(n, TARGETS)).sum())
        seconds += held_out.FOLDS * (2.5 * k.entry * share * entries + k.compare(looked, columns))
        compared = share * len(n) * (share * len(n) + 1) * min(most, QUERIES) * min(most, TARGETS)
        seconds += held_out.FOLDS * (2 * k.compare(compared, columns) + k.compare(compared, cae.latent))
    # of the results, and of the joint rows of every slice in the store
    disk = 2 * 8.2 * stored + cells * (4 * (columns + 2 * cae.latent) + 200) + 2e6
    found["scores and report"] = Cost(
        seconds + k.write * disk,
        BASE + cells * (4 * (columns + cae.latent) + 800) + 30 * stored / len(n),
        disk,
    )
    return found


def _training(n: NDArray, tokens: Sequence[str], k: Kernels, cae: CAEConfig, columns: int) -> Cost:
    names = [str(i) for i in range(len(n))]
    trained = sample_sizes(dict(zip(names, map(int, n))), dict(zip(names, tokens)), cae.most_cells)
    n = np.array([trained[name] for name in names], float)
    cells, kinds = n.sum(), len(set(tokens))
    seconds = k.compare(float((n**2 / 2).sum()), columns, cells)
    pairs = min(len(n) * (len(n) - 1) / 2, len(n) * cae.pair_slices)
    each = min(n.mean(), cae.pair_cells, (COMPARISONS / max(pairs, 1)) ** 0.5)
    seconds += pairs * each**2 * (k.pair + k.pair_column * columns)
    seconds += cae.refreshes * pairs * each**2 * (k.pair + k.pair_column * cae.latent)
    if kinds > 1 and cae.mnn_rounds:
        marks = min(LANDMARKS, cells / kinds)
        rounds = 3 * cae.mnn_rounds
        seconds += rounds * kinds * (kinds + 3) / 2 * k.compare(marks**2, columns)
        seconds += 3 * k.compare(cells * marks, columns)
    seconds += cae.total_steps(int(cells)) * k.step * 1.2
    memory = (
        BASE + 8 * columns * cells + 4 * cae.n_neighbors * cells + 1e3 * min(cells, cae.pair_cells * len(n))
    )
    return Cost(seconds, memory + 2e8, 2e6)
