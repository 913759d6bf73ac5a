"""Propagation of a slice by its embedder: the share of neighbors that held-out genes choose is used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lloki.embed import Factor, propagate_slice
from lloki.embed.factor import stabilize
from lloki.fp import (
    Propagation,
    average_neighbors,
    choose_alpha,
    gene_folds,
    log_normalize,
    propagate_embedding,
)

SHAPE = (15, 3.0)


def slice_() -> tuple[Factor, np.ndarray, np.ndarray, dict[str, Any]]:
    """Types in patches of a tissue, seen with few counts; the last cells have none."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 20, (400, 2))
    kind = (xy[:, 0] // 5).astype(int)
    rates = np.exp(rng.normal(-1, 1, (4, 30)))[kind]
    counts = rng.poisson(rates).astype(np.float32)
    counts[390:] = 0
    x, genes = log_normalize(sparse.csr_matrix(counts)), [f"G{i:02d}" for i in range(30)]
    model = Factor(factors=4)
    state = model.summarize(x, genes)
    model.fit({"a": state}, model.summarize(x, genes))
    known = np.arange(400) < 390
    given = {"embedder": model, "expression": x, "genes": genes, "state": state, "known": known, "seed": 3}
    return model, model.embed(x, genes, state=state), xy, given


def test_held_out_genes_choose_the_share_that_is_used() -> None:
    model, rows, xy, given = slice_()
    found, alpha = propagate_slice(rows, xy, Propagation(None, *SHAPE), **given)
    folds = gene_folds(given["genes"], seed=3)
    held = model.hold_out(given["expression"], given["genes"], folds, state=given["state"])
    parts = [(h.rows, h.predict, h.values) for h in held]
    assert len(parts) == 5
    assert alpha == choose_alpha(parts, xy, *SHAPE, known=given["known"], seed=3)
    assert alpha > 0
    want = propagate_embedding(rows, xy, alpha, *SHAPE, known=given["known"])
    np.testing.assert_array_equal(found, want)
    assert np.abs(found - rows).max() > 0.05


def test_the_values_that_are_predicted_are_the_observed_ones() -> None:
    model, _, xy, given = slice_()
    observed = given["expression"]
    average = average_neighbors(observed, xy)
    folds = gene_folds(given["genes"], seed=3)
    state = model.summarize(average, given["genes"])
    held = list(model.hold_out(average, given["genes"], folds, state=state, observed=observed))
    plain = model.hold_out(average, given["genes"], folds, state=state)
    for one, other, fold in zip(held, plain, folds, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)  # of the average
        columns = [given["genes"].index(g) for g in one.genes]
        want = stabilize(observed)[:, columns]
        for j, g in enumerate(one.genes):
            assert g in fold
            assert np.corrcoef(one.values[:, j], want[:, j])[0, 1] == pytest.approx(1)
        assert np.abs(one.values - other.values).max() > 0.1


def test_the_share_is_chosen_by_the_observed_values() -> None:
    _, rows, xy, given = slice_()
    _, usual = propagate_slice(rows, xy, Propagation(None, *SHAPE), **given)
    turned = given["expression"][np.random.default_rng(0).permutation(400)]  # other cells' values
    _, alpha = propagate_slice(rows, xy, Propagation(None, *SHAPE), **given, observed=turned)
    assert alpha != usual


@pytest.mark.parametrize("limit", [0, 10**8])
def test_folds_are_the_same_at_once_and_one_by_one(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    model, _, _, given = slice_()
    monkeypatch.setattr("lloki.embed.factor.SHARED", limit)
    folds = gene_folds(given["genes"], seed=3)
    held = list(model.hold_out(given["expression"], given["genes"], folds, state=given["state"]))
    for fold, found in zip(folds, held, strict=True):
        alone = model.hold_out(given["expression"], given["genes"], [fold], state=given["state"])
        (want,) = alone
        assert set(found.genes) == set(fold)
        for name in ("rows", "predict", "values"):
            np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
        rest = [g for g in given["genes"] if g not in fold]
        assert found.rows.shape == (400, 4)
        assert len(rest) + found.values.shape[1] == len(given["genes"])


def test_a_given_share_is_used_whatever_the_genes_say() -> None:
    _, rows, xy, given = slice_()
    found, alpha = propagate_slice(rows, xy, Propagation(0.1, *SHAPE), **given)
    assert alpha == 0.1
    want = propagate_embedding(rows, xy, 0.1, *SHAPE, known=given["known"])
    np.testing.assert_array_equal(found, want)


def test_an_embedder_that_cannot_leave_genes_out_is_not_propagated() -> None:
    _, rows, xy, given = slice_()

    class Plain:
        """Has no `hold_out`."""

    found, alpha = propagate_slice(rows, xy, Propagation(None, *SHAPE), **given | {"embedder": Plain()})
    assert alpha == 0
    np.testing.assert_array_equal(found, rows)
