"""The held-out-gene score: what raises it, what lowers it, and what it must not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lloki.evaluate import UnseenGenes, held_out_score
from lloki.evaluate.held_out import _draw

GENES = [f"g{i}" for i in range(12)]
Folds = list[dict[str, UnseenGenes]]


def made(*, sizes: tuple[int, ...] = (300, 260, 280), seed: int = 0, folds: int = 2) -> Folds:
    """Slices of cells with a state each; genes depend on the state, and the embedding is the state."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(len(GENES), 4))
    out: Folds = [{} for _ in range(folds)]
    for name, n in zip("abc", sizes):
        state = rng.normal(size=(n, 4))
        values = state @ loadings.T + rng.normal(size=(n, len(GENES)))
        for i, fold in enumerate(out):
            part = slice(i, None, folds)
            rows = state + 0.1 * rng.normal(size=state.shape)
            fold[name] = UnseenGenes(GENES[part], rows.astype(np.float32), values[:, part])
    return out


def changed(folds: Folds, name: str, **fields: object) -> Folds:
    return [fold | {name: replace(fold[name], **fields)} for fold in folds]


def shuffled(folds: Folds, name: str) -> Folds:
    """The rows of one slice go to other cells."""
    order = np.random.default_rng(1).permutation(len(folds[0][name].rows))
    return [fold | {name: replace(fold[name], rows=fold[name].rows[order])} for fold in folds]


def test_matched_slices_predict_each_other_as_they_predict_themselves():
    found = held_out_score(made())
    assert len(found.table) == 6
    assert (found.table["genes"] == len(GENES)).all()
    assert (found.table["within"] > 0.5).all()
    assert found.mean == pytest.approx(1, abs=0.05)


def test_a_spoiled_slice_lowers_the_score_of_its_pairs_and_of_no_other():
    folds = made()
    intact, spoiled = held_out_score(folds), held_out_score(shuffled(folds, "b"))
    assert spoiled.relative_to(intact) < intact.mean - 0.4
    pairs = intact.table.join(spoiled.table, rsuffix="_spoiled")
    hit = (pairs["target"] == "b") | (pairs["source"] == "b")
    assert (pairs["across_spoiled"][hit].abs() < 0.2).all()
    assert (pairs["across_spoiled"][~hit] == pairs["across"][~hit]).all()


def test_an_embedding_that_is_poor_within_slices_too_does_not_profit_from_it():
    folds = made()
    rng = np.random.default_rng(2)
    noisy = [
        {n: replace(u, rows=u.rows + 3 * rng.normal(size=u.rows.shape)) for n, u in fold.items()}
        for fold in folds
    ]
    intact, poor = held_out_score(folds), held_out_score(noisy)
    assert poor.mean > 0.8
    assert poor.relative_to(intact) < 0.6


def test_without_any_structure_within_there_is_no_ratio():
    folds = made()
    for name in "abc":
        folds = shuffled(folds, name)
    found = held_out_score(folds).table
    assert found["ratio"].isna().equals(found["within"] < 0.02)
    assert (found["within"].abs() < 0.15).all()


def test_a_gene_that_leaks_into_the_rows_raises_the_score():
    folds = made()
    leaking = [
        {n: replace(u, rows=np.hstack([u.rows, 3 * u.values])) for n, u in fold.items()} for fold in folds
    ]
    assert (held_out_score(leaking).table["across"] > held_out_score(folds).table["across"] + 0.03).all()


def test_order_threads_and_units_change_nothing():
    folds = made()
    table = held_out_score(folds).table
    turned = [dict(reversed(fold.items())) for fold in folds]
    assert held_out_score(turned).table.equals(table)
    assert held_out_score(folds, threads=2).table.equals(table)
    scaled = [{n: replace(u, values=5 * u.values + 2) for n, u in fold.items()} for fold in folds]
    np.testing.assert_allclose(held_out_score(scaled).table["across"], table["across"])


def test_slices_without_common_genes_have_no_score():
    folds = made()
    for name in "bc":
        folds = [
            fold | {name: replace(fold[name], genes=[f"{name}{g}" for g in fold[name].genes])}
            for fold in folds
        ]
    found = held_out_score(folds)
    assert found.table.empty
    assert np.isnan(found.mean)
    assert np.isnan(held_out_score([]).mean)


def test_few_common_genes_are_listed_but_not_summarized():
    folds = [{n: fold[n] for n in "ab"} for fold in made(folds=1)]
    few = changed(folds, "b", genes=[*GENES[:4], *(f"x{i}" for i in range(8))])
    found = held_out_score(few)
    assert list(found.table["genes"]) == [4, 4]
    assert np.isnan(found.mean)


def test_genes_are_found_by_name():
    folds = made()
    turned = [
        fold | {"b": replace(fold["b"], genes=fold["b"].genes[::-1], values=fold["b"].values[:, ::-1])}
        for fold in folds
    ]
    np.testing.assert_allclose(held_out_score(turned).table["across"], held_out_score(folds).table["across"])


def test_the_score_is_the_mean_correlation_with_the_mean_of_the_nearest():
    (fold,) = made(sizes=(40, 50, 30), folds=1)
    found = held_out_score([fold], n_neighbors=4).table.set_index(["target", "source"])

    def expected(target: str, source: str) -> float:
        a, b = fold[target], fold[source]
        x, y = (u.rows / np.linalg.norm(u.rows, axis=1, keepdims=True) for u in (a, b))
        cosine = x @ y.T
        if target == source:
            np.fill_diagonal(cosine, -2)
        near = np.argsort(-cosine, axis=1)[:, :4]
        guess = b.values[near].mean(1)
        return np.mean([np.corrcoef(a.values[:, j], guess[:, j])[0, 1] for j in range(len(GENES))])

    for target, source in found.index:
        assert found.loc[(target, source), "across"] == pytest.approx(expected(target, source))
        assert found.loc[(target, source), "within"] == pytest.approx(expected(target, target))


def test_cells_are_drawn_by_the_seed_and_predicted_cells_are_searched_too():
    queries, targets = _draw(100, 10, 30, seed=0)
    assert (len(queries), len(targets)) == (10, 30)
    assert set(queries) <= set(targets)
    assert not np.array_equal(queries, _draw(100, 10, 30, seed=1)[0])
    folds = made()
    few = held_out_score(folds, n_queries=100, n_targets=150)
    assert few.mean == pytest.approx(1, abs=0.1)
    assert not few.table.equals(held_out_score(folds, n_queries=100, n_targets=150, seed=1).table)


def test_genes_that_do_not_vary_and_collapsed_rows():
    folds = made(folds=1)
    values = folds[0]["a"].values.copy()
    values[:, 0] = 1
    found = held_out_score(changed(folds, "a", values=values)).table.set_index(["target", "source"])
    assert found.loc[("a", "b"), "genes"] == len(GENES) - 1
    assert found.loc[("b", "a"), "genes"] == len(GENES)
    flat = held_out_score(changed(folds, "a", rows=np.ones_like(folds[0]["a"].rows))).table
    assert np.isfinite(flat["across"]).all()


def with_states(seed: int = 0) -> tuple[Folds, dict[str, np.ndarray]]:
    """Two slices of three kinds of cells."""
    rng = np.random.default_rng(seed)
    profile = rng.normal(size=(3, len(GENES)))
    out: Folds = [{}, {}]
    kinds = {}
    for name in "ab":
        kinds[name] = kind = rng.integers(3, size=200)
        values = profile[kind] + 0.3 * rng.normal(size=(200, len(GENES)))
        for i, fold in enumerate(out):
            rows = np.eye(3)[kind] + 0.1 * rng.normal(size=(200, 3))
            fold[name] = UnseenGenes(GENES[i::2], rows.astype(np.float32), values[:, i::2])
    return out, kinds


def test_clusters_whose_like_the_other_slice_holds_are_predicted_by_it():
    folds, kinds = with_states()
    table = held_out_score(folds, clusters=kinds).clusters
    assert len(table) == 6
    assert (table["genes"] == len(GENES)).all()
    assert table.groupby("target")["cells"].sum().tolist() == [200, 200]
    assert (table[["within", "across"]] > 0.9).all(axis=None)


def test_a_cluster_without_its_like_is_told_from_the_others():
    folds, kinds = with_states()
    left = kinds["b"] != 2
    without = [
        fold | {"b": replace(fold["b"], rows=fold["b"].rows[left], values=fold["b"].values[left])}
        for fold in folds
    ]
    table = held_out_score(without, clusters={"a": kinds["a"], "b": kinds["b"][left]}).clusters
    of_a = table[table["target"] == "a"].set_index("cluster")
    assert (of_a["within"] > 0.9).all()
    assert (of_a.loc[[0, 1], "across"] > 0.9).all()
    assert of_a.loc[2, "across"] < 0.5


def test_small_clusters_and_few_genes_are_left_out():
    folds, kinds = with_states()
    rare = {name: np.where(np.arange(200) < 14, 7, kind) for name, kind in kinds.items()}
    assert 7 not in set(held_out_score(folds, clusters=rare).clusters["cluster"])
    few = [
        {name: replace(u, genes=u.genes[:2], values=u.values[:, :2]) for name, u in f.items()} for f in folds
    ]
    assert len(held_out_score(few, clusters=kinds).clusters) == 0
    assert len(held_out_score(folds).clusters) == 0
