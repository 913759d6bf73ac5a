"""What a dry run says about time, memory and disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lloki.cae import CAEConfig
from lloki.fp import FPConfig
from lloki.run._estimate import BASE, Cost, Kernels, Size, costs, timed

KERNELS = Kernels(2e-5, 3e-9, 7e-11, 6e-9, 0.03, 1e-6, 2.5e-9)


def slices(cells: int, n: int = 4) -> list[Size]:
    return [Size(cells, 350, 65 * cells, str(i)) for i in range(n)]


HOW: dict[str, Any] = {
    **{"cae": CAEConfig(), "columns": 50, "expression": None},
    **dict.fromkeys(("latent", "umap", "joint"), True),
}


def of(cells: int, kernels: Kernels = KERNELS, **options: Any) -> dict[str, Cost]:
    return costs(slices(cells), kernels, **(HOW | options))


def total(found: dict[str, Cost]) -> float:
    return sum(cost.seconds for cost in found.values())


def test_time_grows_with_cells_and_faster_than_they_do_where_all_are_compared() -> None:
    small, large = of(25_000), of(250_000)
    assert large["embedding"].seconds > 20 * small["embedding"].seconds
    assert small["UMAP and clusters"].seconds < large["UMAP and clusters"].seconds
    assert large["LLOKI-CAE"].seconds < 12 * small["LLOKI-CAE"].seconds  # steps and pairs are bounded
    for name in small:
        assert small[name].memory <= large[name].memory
        assert small[name].disk <= large[name].disk


def test_training_costs_what_it_draws() -> None:
    """A bounded number of cells of a token is trained on, and of slices at most ten are compared."""
    whole, drawn = (
        costs(
            [replace(s, token="one") for s in slices(250_000, 8)],
            KERNELS,
            **(HOW | {"cae": CAEConfig(most_cells=most)}),
        )["LLOKI-CAE"]
        for most in (10**7, 10**5)
    )
    assert drawn.seconds < 0.5 * whole.seconds
    assert drawn.memory - BASE < 0.5 * (whole.memory - BASE)
    few, many = (costs(slices(20_000, n), KERNELS, **HOW)["scores and report"].seconds for n in (4, 40))
    assert many < 10 * few


def test_what_is_left_out_costs_nothing() -> None:
    whole = total(of(50_000))
    for option in ({"umap": False}, {"latent": False}, {"joint": False}):
        assert total(of(50_000, **option)) < whole
    assert "UMAP and clusters" not in of(50_000, umap=False)
    averaged, imputed = (of(50_000, expression=FPConfig().for_embedder(joint=j)) for j in (True, False))
    assert averaged["LLOKI-FP"].seconds > 10 * of(50_000)["LLOKI-FP"].seconds
    assert imputed["LLOKI-FP"].seconds > 1.9 * averaged["LLOKI-FP"].seconds
    assert averaged["LLOKI-FP"].disk > 5 * of(50_000)["LLOKI-FP"].disk  # hardly a value stays at 0


def test_a_slower_machine_takes_longer() -> None:
    slow = Kernels(*(3 * value for value in vars(KERNELS).values()))
    assert total(of(50_000, slow)) == pytest.approx(3 * total(of(50_000)), rel=1e-6)
    steps = of(2_000, replace(KERNELS, step=0.06))["LLOKI-CAE"].seconds - of(2_000)["LLOKI-CAE"].seconds
    assert steps == pytest.approx(2000 * 0.03 * 1.2)


def test_kernels_are_timed_in_positive_seconds() -> None:
    found = timed(CAEConfig(batch_size=200), 20)
    assert all(value > 0 for value in vars(found).values())
