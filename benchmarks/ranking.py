"""Does the held-out-gene score rank embeddings as labels do?

    python benchmarks/ranking.py TASKS [--task NAME ...] [--peers]

TASKS holds one folder per task: slices (.h5ad) and reference.h5ad. Of each task, some thirty embeddings are
made twice: of all genes, whose label transfer between slices is scored, and without each of three folds of
the shared genes, which are then predicted across slices (no labels). They are the factor model with several
shares of neighbors, fewer factors, its offsets and shifts, autoencoders of several settings, Harmony, with
--peers other methods fitted without the fold's genes, and spoiled ones: noise, slices moved apart, cells
shuffled. Prints both figures of each, and the rank correlation (Spearman) over all, over those that are not
spoiled, and over lloki's own.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse
from scipy.stats import spearmanr

from composition import Part, Rows, embed, line, part, propagate
from lloki.benchmark.measured import Measured
from lloki.benchmark.peers import reference_knn, reference_ridge, stabmap
from lloki.cae import CAEConfig, train
from lloki.evaluate import UnseenGenes, harmony, held_out_score, transfer_accuracy
from lloki.fp import FPConfig, gene_folds, log_normalize, propagate_embedding
from lloki.run.held_out import FOLDS

Fold = int | None
Make = Callable[[Fold], Rows]
SHARES = (0.0, 0.3, 0.6, 0.9)
FACTORS = (2, 4, 8, 16)
NOISE = (0.25, 0.5, 1.0, 2.0)
APART = (0.3, 1.0, 3.0)
TRAININGS: Mapping[str, CAEConfig] = {
    "defaults": CAEConfig(),
    "no offsets, no shifts": CAEConfig(components=0, mnn_rounds=0),
    "500 steps": CAEConfig(steps=500),
    "no triplet loss": CAEConfig(triplet=0.0, steps=500),
    "triplet weight 50": CAEConfig(triplet=50.0, steps=500),
    "no conservation loss": CAEConfig(conservation=0.0, steps=500),
}
PEERS = {"reference-knn": reference_knn, "reference-ridge": reference_ridge, "stabmap": stabmap}


class Task:
    """Slices of a task, embedded by the factor model with all genes and without each fold."""

    def __init__(self, folder: Path) -> None:
        files = sorted(f for f in folder.glob("*.h5ad") if f.stem != "reference")
        slices = {f.stem: ad.read_h5ad(f) for f in files}
        self.parts: dict[str, Part] = {name: part(a) for name, a in slices.items()}
        self.tokens = {
            name: f"{a.obs['technology'].iloc[0]}|{a.obs['panel'].iloc[0]}" for name, a in slices.items()
        }
        reference = ad.read_h5ad(folder / "reference.h5ad")
        self.reference = Measured(sparse.csr_matrix(reference.X), tuple(map(str, reference.var_names)))
        found = embed(self.parts, reference)
        propagated, self.alpha = propagate(self.parts, found)
        counts = Counter(gene for p in self.parts.values() for gene in p.genes)
        self.folds = gene_folds([gene for gene, n in counts.items() if n > 1], n_folds=FOLDS)
        number = {gene: i for i, fold in enumerate(self.folds) for gene in fold}
        self.plain: dict[Fold, dict[str, np.ndarray]] = {None: dict(found.rows)}
        self.held: dict[Fold, dict[str, UnseenGenes]] = {}
        for name, p in self.parts.items():
            state = found.summaries[name]
            observed = log_normalize(p.counts)
            for one in found.model.hold_out(
                found.expression[name], p.genes, self.folds, state=state, observed=observed
            ):
                fold = number[one.genes[0]]
                self.plain.setdefault(fold, {})[name] = one.rows
                self.held.setdefault(fold, {})[name] = UnseenGenes(one.genes, one.rows, one.values)
        self.propagated = propagated

    def blended(self, fold: Fold, share: float | None = None) -> dict[str, np.ndarray]:
        """Propagate with one share, or with those that the slices chose."""
        near = FPConfig().propagation
        out = {}
        for name, rows in self.plain[fold].items():
            alpha = self.alpha[name] if share is None else share
            coords = self.parts[name].coords
            out[name] = propagate_embedding(rows, coords, alpha, near.n_neighbors, near.bandwidth)
        return out

    def without(self, fold: Fold) -> list[Measured]:
        """Counts of all slices without the genes of a fold."""
        left = set() if fold is None else set(self.folds[fold])
        whole = [Measured(p.counts, tuple(p.genes)) for p in self.parts.values()]
        return [m.only([gene for gene in m.genes if gene not in left]) for m in whole]


def embeddings(task: Task, peers: bool) -> dict[str, Make]:
    """Name → what makes the rows of all slices, of all genes or without a fold."""
    made: dict[str, Make] = {f"share {a:g}": lambda f, a=a: task.blended(f, a) for a in SHARES}
    base = {fold: task.blended(fold) for fold in task.plain}
    spread = float(np.mean([x.std() for x in base[None].values()]))
    made["chosen shares"] = lambda f: base[f]
    for k in FACTORS:
        made[f"{k} factors"] = lambda f, k=k: {n: x[:, :k] for n, x in base[f].items()}

    def spoiled(change: Callable[[np.ndarray, int], np.ndarray]) -> Make:
        return lambda f: {n: change(x, i) for i, (n, x) in enumerate(base[f].items())}

    def noisy(x: np.ndarray, i: int, by: float) -> np.ndarray:
        return x + by * spread * np.random.default_rng(i).normal(size=x.shape)

    def moved(x: np.ndarray, i: int, by: float) -> np.ndarray:
        return x + by * spread * np.random.default_rng(i).normal(size=x.shape[1])

    def shuffled(x: np.ndarray, i: int, share: float) -> np.ndarray:
        rng, order = np.random.default_rng(i), np.arange(len(x))
        some = rng.permutation(len(x))[: int(share * len(x))]
        order[some] = rng.permutation(some)
        return x[order]

    for by in NOISE:
        made[f"spoiled: noise {by:g}"] = spoiled(lambda x, i, by=by: noisy(x, i, by))
    for by in APART:
        made[f"spoiled: apart {by:g}"] = spoiled(lambda x, i, by=by: moved(x, i, by))
    for share in (0.2, 0.5, 1.0):
        made[f"spoiled: {share:.0%} shuffled"] = spoiled(lambda x, i, share=share: shuffled(x, i, share))
    made["spoiled: one slice shuffled"] = spoiled(lambda x, i: shuffled(x, i, 1.0) if i == 0 else x)
    for name, config in TRAININGS.items():
        model = train(task.propagated, task.tokens, config=config)
        for of in (model,) if "loss" in name or "steps" in name else (model, model.giving("inputs")):
            encode = of.encode
            made[f"{of.output}, {name}"] = lambda f, encode=encode: {
                n: encode(x, task.tokens[n]) for n, x in base[f].items()
            }
    made["harmony"] = lambda f: corrected(base[f])
    if peers:
        for name, peer in PEERS.items():
            made[name] = lambda f, peer=peer: dict(
                zip(task.parts, peer(task.without(f), task.reference), strict=True)
            )
    return made


def corrected(rows: Rows) -> Rows:
    joined = harmony(
        np.concatenate(list(rows.values())), np.repeat(list(rows), [len(x) for x in rows.values()])
    )
    return dict(zip(rows, np.split(joined, np.cumsum([len(x) for x in rows.values()])[:-1])))


def transfer(rows: Rows, parts: Mapping[str, Part]) -> float:
    names = list(parts)
    joined = np.concatenate([rows[n] for n in names])
    labels = np.concatenate([parts[n].types for n in names])
    return transfer_accuracy(joined, labels, np.repeat(names, [len(rows[n]) for n in names]))[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--task", nargs="+")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    for folder in sorted(options.tasks.iterdir()):
        if not (folder / "reference.h5ad").exists() or (options.task and folder.name not in options.task):
            continue
        task = Task(folder)
        first, table = None, []
        print(f"\n| {folder.name} | held-out genes | label transfer |\n|---|---|---|", flush=True)
        made = embeddings(task, options.peers)
        for name, make in {"chosen shares": made.pop("chosen shares"), **made}.items():
            folds = []
            for fold, of in task.held.items():
                rows = make(fold)
                folds.append({n: UnseenGenes(u.genes, rows[n], u.values) for n, u in of.items()})
            score = held_out_score(folds)
            first = first or score  # all are relative to the predictions within slices of one embedding
            table.append((name, score.relative_to(first), transfer(make(None), task.parts)))
            line(*table[-1])
        for kind, names in {
            "all": table,
            "not spoiled": [r for r in table if not r[0].startswith("spoiled")],
            "lloki, not spoiled": [
                r for r in table if not r[0].startswith("spoiled") and r[0] not in (*PEERS, "harmony")
            ],
        }.items():
            rho = spearmanr([r[1] for r in names], [r[2] for r in names]).statistic
            print(f"\n{folder.name}, {kind}: Spearman {rho:.2f} over {len(names)} embeddings", flush=True)


if __name__ == "__main__":
    main()
