"""Each ablation changes what it says and nothing else."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from lloki.benchmark import ABLATIONS, METHODS
from lloki.benchmark.methods import Variant
from lloki.run import RunConfig

OWN = RunConfig.make(label_key="x", seed=3, n_neighbors=12, cae={"steps": 7, "triplet": 2.0}, fp={"seed": 9})


def changed(variant: Variant, repeat: int = 0) -> set[str]:
    """Name the fields that differ from the run's."""
    one, other = (asdict(c) for c in (OWN, variant.change(OWN, repeat)))
    parts = {k for k in one if k not in ("fp", "cae") and one[k] != other[k]}
    if other["fp"] is None:
        parts, other["fp"] = parts | {"fp"}, one["fp"]
    return parts | {f"{p}.{k}" for p in ("fp", "cae") for k in one[p] if one[p][k] != other[p][k]}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("no-reconstruction", {"cae.reconstruction"}),
        ("no-triplet", {"cae.triplet"}),
        ("no-conservation", {"cae.conservation"}),
        ("no-mnn", {"cae.mnn_rounds"}),
        ("no-components", {"cae.components"}),
        ("no-fp", {"fp"}),
        ("no-average", {"fp.alpha"}),
        ("no-latent", {"fp.latent_alpha"}),
        ("imputation", {"fp.impute"}),
        ("no-transport", {"fp.impute", "fp.transport"}),
        ("no-cae", set()),
        ("harmony", set()),
        ("embedder-alone", {"fp"}),
    ],
)
def test_an_ablation_changes_what_it_says(name, fields):
    assert changed(ABLATIONS[name]) == fields


def test_every_ablation_differs_from_the_default():
    made = [(v.change(OWN), v.slot, v.harmony) for v in ABLATIONS.values()]
    assert all(each not in made[:i] for i, each in enumerate(made))
    assert (OWN, METHODS["lloki"].slot, False) not in made


def test_the_default_is_the_run_itself():
    assert METHODS["lloki"].change(OWN) == OWN


def test_a_preset_takes_the_place_of_parameters_but_not_of_the_seed():
    config = ABLATIONS["published-code"].change(OWN)
    assert config.preset == "published-code"
    assert config.fp.alpha == 1.0
    assert config.fp.for_embedder(joint=True).n_neighbors == 40
    assert config.fp.seed == 9
    assert config.cae == OWN.cae


def test_a_repeat_moves_every_seed():
    assert changed(METHODS["lloki"], 2) == {"seed", "fp.seed", "cae.seed"}
    config = METHODS["lloki"].change(OWN, 2)
    assert (config.seed, config.fp.seed, config.cae.seed) == (5, 11, 5)
