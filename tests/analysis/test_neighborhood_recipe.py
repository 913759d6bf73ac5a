"""The neighborhood program against its recipe: shares, clusters, genes, score, correlation, permutations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import norm, rankdata, spearmanr, ttest_ind

from lloki.analysis import NeighborhoodConfig, NeighborhoodProgram, Tissue, neighborhood_program

QUICK = NeighborhoodConfig(n_neighbors=12, permutations=19, graph_neighbors=8, expressed=0.05, fold=0.1)


def tissue(
    name: str, dataset: str, seed: int, *, strength: float, genes: tuple[str, ...], n: int = 500
) -> Tissue:
    """Focal cells all over; neighbors on the right, where `up` rises and `down` falls in focal cells."""
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2)) * 100
    kind = rng.choice(3, n, p=[0.4, 0.3, 0.3])
    xy[kind == 1, 0] = 50 + xy[kind == 1, 0] / 2
    state = ((xy[:, 0] > 55) & (kind == 0)) * strength
    level = {"up": 1.0 + state, "down": 2.0 - state, "flat": np.full(n, 1.5), "other": np.full(n, 0.7)}
    values = np.column_stack([np.asarray(level[g]) for g in genes]) + rng.normal(0, 0.25, (n, len(genes)))
    values *= np.where(kind == 0, 1.0, 0.35)[:, None]
    values += 0.5 * (seed == 2)  # slices of a data set differ in their level
    if "other" in genes:
        values[kind == 2, genes.index("other")] += 2
    x = np.column_stack([np.eye(3)[kind] * 3, 1 + 2 * state + rng.normal(0, 0.4, n), rng.normal(0, 0.2, n)])
    return Tissue(name, dataset, sparse.csr_matrix(np.maximum(values, 0)), genes, xy, x, kind == 0, kind == 1)


@pytest.fixture(scope="module")
def found() -> tuple[list[Tissue], NeighborhoodProgram]:
    """Two slices of one data set and one of another, whose panel lacks a gene."""
    tissues = [
        tissue("t1", "one", 1, strength=0.8, genes=("up", "down", "flat", "other")),
        tissue("t2", "one", 2, strength=0.8, genes=("flat", "up", "other", "down")),
        tissue("t3", "two", 3, strength=0.6, genes=("up", "flat", "other")),
    ]
    return tissues, neighborhood_program(tissues, config=QUICK)


def test_shares_count_the_nearest_cells_of_the_own_slice(found):
    tissues, program = found
    want = []
    for t in tissues:
        for i in np.flatnonzero(t.focal):
            to = np.linalg.norm(t.xy - t.xy[i], axis=1)
            to[i] = np.inf
            want.append(t.neighbor[np.argsort(to)[:12]].mean())
    np.testing.assert_allclose(program.share, want)


def slices_of(tissues: list[Tissue]) -> np.ndarray:
    return np.repeat([t.name for t in tissues], [int(t.focal.sum()) for t in tissues])


def best_split(cluster: np.ndarray, share: np.ndarray) -> tuple[set[int], float]:
    """Of all cuts of the clusters by their mean share, that with the largest variance between the groups."""
    order = sorted(np.unique(cluster), key=lambda c: share[cluster == c].mean())
    best: tuple[float, set[int], float] = (-1.0, set(), 0.0)
    for cut in range(1, len(order)):
        high = np.isin(cluster, order[cut:])
        gap = share[high].mean() - share[~high].mean()
        between = high.sum() * (~high).sum() * gap**2
        if between > best[0]:
            best = (between, set(map(int, order[cut:])), gap)
    return best[1], best[2]


def test_infiltrating_clusters_are_those_above_the_mean_of_their_slice(found):
    tissues, program = found
    name, centered = slices_of(tissues), program.share.copy()
    for s in np.unique(name):
        centered[name == s] -= centered[name == s].mean()
    rich, gap = best_split(program.cluster, centered)
    np.testing.assert_array_equal(program.infiltrating, np.isin(program.cluster, list(rich)))
    assert program.contrast == pytest.approx(gap)
    assert 0 < program.infiltrating.mean() < 1


def by_gene(tissues: list[Tissue], program: NeighborhoodProgram) -> pd.DataFrame:
    """Welch's t within data sets, ranks averaged over them, and correlation with the share within slices."""
    name = slices_of(tissues)
    own = {t.name: t.expression[np.flatnonzero(t.focal)].toarray() for t in tissues}
    found: dict[str, list[tuple[float, ...]]] = {}
    for dataset in ("one", "two"):
        mine = [t for t in tissues if t.dataset == dataset]
        genes = [g for g in program.genes.index if all(g in t.genes for t in mine)]
        rows = np.isin(name, [t.name for t in mine])
        rich = program.infiltrating[rows]
        values = {g: np.concatenate([own[t.name][:, t.genes.index(g)] for t in mine]) for g in genes}
        t_of = {g: ttest_ind(v[rich], v[~rich], equal_var=False).statistic for g, v in values.items()}
        weight = np.sqrt(rich.sum() * (~rich).sum() / len(rich))
        for g, v in values.items():
            rank = (sum(t_of[h] <= t_of[g] for h in genes) - 0.5) / len(genes)
            fold = np.log2(np.expm1(v[rich]).mean() / np.expm1(v[~rich]).mean())
            ranks = []
            for s in (t.name for t in mine):
                a, b = rankdata(v[name[rows] == s]), rankdata(program.share[name == s])
                ranks.append(len(a) * np.corrcoef(a, b)[0, 1])
            # z-scores within slices have unit variance in each: their mean product is the mean correlation
            found.setdefault(g, []).append((weight, rank, fold, t_of[g], sum(ranks) / rows.sum(), rows.sum()))
    table = {}
    for g, rows_ in found.items():
        w, rank, fold, t, r, n = np.array(rows_).T
        z = (w * t).sum() / np.sqrt((w**2).sum())
        share_z = (w * r * np.sqrt(n)).sum() / np.sqrt((w**2).sum())
        table[g] = {
            "n_datasets": len(w),
            "rank": np.average(rank, weights=w),
            "log2_fold": np.average(fold, weights=w),
            "share_correlation": np.average(r, weights=w),
            "p": 2 * norm.sf(abs(z)),
            "share_p": 2 * norm.sf(abs(share_z)),
        }
    return pd.DataFrame(table).T


def adjusted(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg, by their definition."""
    n = len(p)
    return np.array([min(1.0, min(q * n / np.sum(p <= q) for q in p[p >= own])) for own in p])


def test_genes_are_compared_within_data_sets_and_ranks_weighed_over_them(found):
    tissues, program = found
    want = by_gene(tissues, program)
    table = program.genes.loc[want.index]
    assert set(program.genes.index) >= {"up", "down", "flat"}
    for column in ("n_datasets", "rank", "log2_fold", "share_correlation"):
        np.testing.assert_allclose(
            table[column].to_numpy(float), want[column].to_numpy(float), rtol=0.02, atol=0.005, err_msg=column
        )
    np.testing.assert_allclose(table["q"], adjusted(want["p"].to_numpy()), rtol=0.15, atol=1e-12)
    np.testing.assert_allclose(table["share_q"], adjusted(want["share_p"].to_numpy()), rtol=0.15, atol=1e-12)


def test_signs_are_those_that_were_planted(found):
    _, program = found
    assert program.found, program.reason
    assert program.genes.loc["up", "direction"] == "up"
    assert program.genes.loc["down", "direction"] == "down"
    assert program.genes["rank"].is_monotonic_decreasing


def test_the_score_rises_with_genes_that_are_up_and_its_correlations_are_those_of_the_share(found):
    tissues, program = found
    name = slices_of(tissues)
    dataset = np.array([{t.name: t.dataset for t in tissues}[s] for s in name])
    table = program.correlations.set_index("dataset")
    for each in ("one", "two", "pooled"):
        rows = np.ones(len(name), bool) if each == "pooled" else dataset == each
        score, share = program.score[rows], program.share[rows]
        assert table.loc[each, "spearman"] == pytest.approx(spearmanr(score, share).statistic, abs=1e-6)
        assert table.loc[each, "pearson"] == pytest.approx(np.corrcoef(score, share)[0, 1], abs=1e-6)
        assert table.loc[each, "p"] == pytest.approx(1 / 20)
    assert table.loc["pooled", "spearman"] > 0.2
    # in the data set that lacks `down`, the score is that of `up` over the other genes
    third = tissues[2]
    x = third.expression[np.flatnonzero(third.focal)].toarray()
    rest = [i for i, g in enumerate(third.genes) if g != "up"]
    np.testing.assert_allclose(
        program.score[name == "t3"], x[:, third.genes.index("up")] - x[:, rest].mean(1)
    )


def test_permutations_stay_within_slices():
    """One slice has few neighbors, the other many; what clusters differ by is small beside that."""
    made = []
    for seed, (left, right) in ((1, (0.03, 0.09)), (2, (0.88, 0.94))):
        rng = np.random.default_rng(seed)
        t = tissue(f"t{seed}", "one", seed, strength=0.0, genes=("up", "down", "flat", "other"), n=800)
        xy = rng.random(t.xy.shape) * 100
        at = xy[:, 0] > 50
        neighbor = ~t.focal & (rng.random(len(at)) < np.where(at, right, left))
        embedding = np.column_stack([at, ~at]) + rng.normal(0, 0.02, (len(at), 2))
        made.append(Tissue(t.name, "one", t.expression, t.genes, xy, embedding, t.focal, neighbor))
    program = neighborhood_program(made, config=replace(QUICK, n_neighbors=60, resolution=0.05))
    assert 0.01 < program.contrast < 0.08
    assert program.contrast_p == pytest.approx(1 / 20)


def shuffled(seeds: tuple[int, int]) -> list[Tissue]:
    """Positions say nothing; focal cells form two groups that no seed splits otherwise."""
    made = []
    rng = np.random.default_rng(3)
    for i, seed in enumerate(seeds):
        t = tissue(f"t{i}", f"d{i}", seed, strength=0.8, genes=("up", "down", "flat", "other"))
        right = t.xy[:, 0] > 55
        embedding = np.column_stack([np.where(right, 1.0, 0.0), np.where(right, 0.0, 1.0)])
        embedding += rng.normal(0, 0.02, embedding.shape)
        xy = t.xy.copy()
        xy[t.focal] = rng.permutation(xy[t.focal])
        made.append(Tissue(t.name, t.dataset, t.expression, t.genes, xy, embedding, t.focal, t.neighbor))
    return made


def test_other_positions_give_no_program_and_the_seed_decides_the_shuffles():
    made = shuffled((21, 22))
    configs = [replace(QUICK, resolution=0.05, seed=s) for s in (0, 0, 1, 2, 3)]
    programs = [neighborhood_program(made, config=c) for c in configs]
    assert not any(p.found for p in programs)
    ps = [(*p.correlations["p"], p.contrast_p, p.null_genes) for p in programs]
    assert ps[0] == ps[1]
    # clusters and contrast are those of every seed: only the shuffles are others
    assert len({p.contrast for p in programs}) == 1
    assert len(set(ps)) > 1
