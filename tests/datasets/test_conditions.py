"""``lloki.datasets.conditions``: what is planted is there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lloki.datasets import PLATFORMS, conditions
from lloki.errors import ConfigError


def shares(made, condition):
    kinds = np.concatenate(
        [s.obs["cell_type"].astype(str) for s in made.slices if s.obs["condition"].iloc[0] == condition]
    )
    return {kind: np.mean(kinds == kind) for kind in np.unique(kinds)}


def test_planted_differences_are_in_the_data():
    made = conditions(n_donors=4, n_cells=1500, n_reference=1, donor_spread=0.05)
    healthy, diseased = shares(made, "healthy"), shares(made, "disease")
    for kind, effect in made.composition.items():
        assert np.log2(diseased[kind] / healthy[kind]) == pytest.approx(effect, abs=0.25)
    for row in made.expression.itertuples():
        rate = {}
        for condition in ("healthy", "disease"):
            own = [
                s for s in made.slices if s.obs["condition"].iloc[0] == condition and row.gene in s.var_names
            ]
            assert len(own) == 4 * row.n_panels
            cells = [s[(s.obs["cell_type"] == row.type).to_numpy(), row.gene].X.toarray() for s in own]
            rate[condition] = np.concatenate(cells).mean()
        assert np.sign(np.log2(rate["disease"] / rate["healthy"])) == np.sign(row.effect)
    moved, toward = made.moved
    beside = {}
    for condition in ("healthy", "disease"):
        near = []
        for s in made.slices:
            if s.obs["condition"].iloc[0] == condition:
                kind, xy = s.obs["cell_type"].astype(str).to_numpy(), s.obsm["spatial"]
                near.append(cKDTree(xy[kind == toward]).query(xy[kind == moved])[0].mean())
        beside[condition] = np.mean(near)
    assert beside["disease"] < 0.85 * beside["healthy"]


def test_designs_are_what_they_are_called():
    def instruments(**options):
        made = conditions(n_donors=3, n_cells=60, n_reference=1, **options)
        return {
            c: {s.uns["technology"] for s in made.slices if s.obs["condition"].iloc[0] == c}
            for c in ("healthy", "disease")
        }

    names = [p.name for p in PLATFORMS]
    assert instruments() == {"healthy": set(names), "disease": set(names)}
    assert instruments(slices_per_donor=1) == {"healthy": set(names), "disease": set(names)}
    assert instruments(confounding="partial") == {"healthy": set(names[:2]), "disease": set(names[1:])}
    assert instruments(confounding="complete") == {"healthy": {names[0]}, "disease": {names[-1]}}


def test_the_same_seed_gives_the_same_and_none_is_planted_at_strength_0():
    one, other = (conditions(n_donors=1, n_cells=60, n_reference=5, seed=4) for _ in range(2))
    for a, b in zip([*one.slices, one.reference], [*other.slices, other.reference]):
        assert (a.X != b.X).nnz == 0
    none = conditions(n_donors=1, n_cells=60, n_reference=1, strength=0.0)
    assert not none.composition
    assert not len(none.expression)


@pytest.mark.parametrize(
    "options",
    [
        {"n_donors": 0},
        {"n_cells": 10},
        {"strength": -1},
        {"platforms": PLATFORMS[:1] * 2},
        {"slices_per_donor": 4},
        {"confounding": "some"},
    ],
)
def test_impossible_studies_are_refused(options):
    with pytest.raises(ConfigError):
        conditions(**options)
