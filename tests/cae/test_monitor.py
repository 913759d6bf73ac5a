"""What the monitors measure, and what they make training say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lloki.cae import CAEConfig, train, warnings_of
from lloki.cae.cells import Cells
from lloki.cae.monitor import Monitor
from lloki.cae.pairs import PairTable
from lloki.evaluate import mixing, preservation


class Encoder:
    """A network whose latents are a given function of the inputs."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def condition(self, rows: Tensor) -> Tensor:
        return rows

    def encode(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.function(x)


def gathered(slices: list[np.ndarray], holdout: float = 0.1) -> Cells:
    return Cells.gather(
        np.concatenate(slices).astype(np.float32),
        [len(x) for x in slices],
        torch.arange(len(slices))[:, None],
        holdout=holdout,
        rng=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )


def no_pairs(cells: Cells) -> PairTable:
    none = torch.empty(0, dtype=torch.int64)
    return PairTable.build(none, none, cells.slice_of)


def look(slices: list[np.ndarray], function: Callable[[Tensor], Tensor], unit: float = 1.0) -> dict:
    cells = gathered(slices)
    monitor = Monitor(cells, range(cells.slices), unit=unit, seed=0)
    return monitor.look(Encoder(function), no_pairs(cells))


def test_figures_are_those_of_the_evaluation_where_the_sample_is_everything() -> None:
    rng = np.random.default_rng(0)
    slices = [rng.normal(size=(200, 6)) + shift for shift in (0, 0.3, 0.6)]
    turn = torch.from_numpy(rng.normal(size=(6, 4))).float()
    seen = look(slices, lambda x: torch.abs(x @ turn))
    x, where = np.concatenate(slices), np.repeat(np.arange(3), 200)
    z = torch.abs(torch.from_numpy(x).float() @ turn).numpy()
    assert seen["monitor_mixing"] == pytest.approx(mixing(z, where, n_neighbors=15), abs=0.02)
    assert seen["monitor_preservation"] == pytest.approx(preservation(x, z, where, n_neighbors=15), abs=0.02)
    assert seen["monitor_preservation_least"] <= seen["monitor_preservation"]
    within = np.mean([z[where == s].var(0).sum() for s in range(3)])
    assert seen["monitor_spread"] == pytest.approx(np.sqrt(2 * within), rel=0.01)
    spectrum = np.mean([np.cov(z[where == s].T, bias=True) for s in range(3)], axis=0)
    assert seen["monitor_dimensions"] == pytest.approx(
        np.trace(spectrum) ** 2 / (spectrum**2).sum(), rel=0.01
    )
    assert seen["monitor_unpaired"] == 3


def test_nothing_moved_and_everything_gone() -> None:
    rng = np.random.default_rng(1)
    slices = [rng.normal(size=(150, 5)) for _ in range(2)]
    kept = look(slices, lambda x: x)
    assert kept["monitor_preservation"] == 1
    assert kept["monitor_positives"] > 0.5
    gone = look(slices, torch.ones_like)
    assert gone["monitor_spread"] == 0
    assert gone["monitor_dimensions"] == 0
    assert any("collapsed" in text for text in warnings_of([gone]))
    lost = look(slices, lambda x: x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))])
    assert lost["monitor_preservation"] < 0.2
    assert any("neighborhoods inside a slice were lost" in text for text in warnings_of([lost]))


def test_cells_without_a_counterpart_tell_of_mixing_too_much() -> None:
    rng = np.random.default_rng(2)
    # a type that both have, and one each that the other lacks
    shared, first, second = (center * np.eye(6)[i] for i, center in enumerate((8, 8, 8)))
    slices = [
        np.concatenate([rng.normal(shared, 1, (100, 6)), rng.normal(own, 1, (100, 6))])
        for own in (first, second)
    ]
    apart = look(slices, lambda x: x)
    assert apart["monitor_overmixing"] == pytest.approx(0, abs=1e-6)
    assert warnings_of([apart | {"monitor_unpaired": 0}]) == []

    def onto_one_another(x: Tensor) -> Tensor:
        z = x.clone()
        z[:, 1] = x[:, 1:3].sum(1)
        z[:, 2] = 0
        return z

    mixed = look(slices, onto_one_another)
    assert mixed["monitor_overmixing"] > 0.7
    assert any("mixed too much" in text for text in warnings_of([mixed]))


def test_the_sample_is_bounded_and_takes_held_out_cells_first() -> None:
    rng = np.random.default_rng(3)
    cells = gathered([rng.normal(size=(3000, 3)), rng.normal(size=(500, 3))], holdout=0.1)
    monitor = Monitor(cells, range(2), unit=1, seed=0)
    assert torch.bincount(monitor.slice_of).tolist() == [400, 400]
    assert (~cells.seen[monitor.rows]).sum() == 300 + 50
    many = gathered([rng.normal(size=(100, 3))] * 60)
    assert len(Monitor(many, range(60), unit=1, seed=0).rows) == 2000


def test_one_slice_and_tiny_slices_can_be_looked_at() -> None:
    rng = np.random.default_rng(4)
    for slices in ([rng.normal(size=(50, 3))], [rng.normal(size=(n, 3)) for n in (1, 2, 30)]):
        seen = look(slices, lambda x: x)
        assert all(value is None or np.isfinite(value) for value in seen.values())
    assert look([rng.normal(size=(50, 3))], lambda x: x)["monitor_mixing"] is None


def slices(kinds: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    centers, out = 4 * rng.normal(size=(8, 12)), {}
    for s, own in enumerate(kinds):
        kind = np.array(own)[np.arange(120) % len(own)]
        bend = rng.normal(size=12) + 0.5 * rng.normal(size=(8, 12))
        out[f"s{s}"] = (centers[kind] + bend[kind] + rng.normal(size=(120, 12))).astype(np.float32)
    return out


def warned(kinds: list[tuple[int, ...]], **settings: Any) -> str:
    data = slices(kinds)
    config = CAEConfig(**{"steps": 60, "batch_size": 300, "check_every": 60, "refreshes": 1} | settings)
    return " ".join(warnings_of(train(data, {name: f"t|{name}" for name in data}, config=config).history))


def test_a_sound_training_gives_nothing_to_say() -> None:
    assert warned([(0, 1, 2, 3)] * 3) == ""


def test_trainings_that_go_wrong_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    same = [(0, 1, 2, 3)] * 3
    assert "hardly mixed" in warned(same, triplet=0.0)
    nothing = {"reconstruction": 0.0, "conservation": 0.0, "triplet": 0.0}
    assert "collapsed" in warned(same, weight_decay=10.0, learning_rate=0.01, **nothing)
    # no slice shares more than half its types, and all mutual neighbors count, however far and few
    monkeypatch.setattr(
        "lloki.cae.cells.with_counterpart", lambda *given: torch.ones(len(given[2]), dtype=bool)
    )
    monkeypatch.setattr("lloki.cae.cells.in_company", lambda _, ends: torch.ones(len(ends), dtype=bool))
    few_shared = [(0, 1, 2, 3), (0, 1, 4, 5), (0, 1, 6, 7)]
    assert "mixed too much" in warned(few_shared, steps=240, n_pairs=40, conservation=1.0)


def test_nothing_looked_at_is_nothing_to_say() -> None:
    assert warnings_of([]) == []
    assert warnings_of([{"step": 1, "total": 2.0}]) == []
    assert warnings_of([{"monitor_unpaired": 2.0}]) == [
        "2 slices have no mutual nearest neighbors in any other: not mixed"
    ]
