"""Batches by length, and draws that belong to a cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lloki.embed._transformer import BatchRunner, cell_keys, length_buckets, uniform
from lloki.errors import ModelError

LENGTHS = np.random.default_rng(0).integers(1, 60, 400)


@given(st.lists(st.integers(0, 500), max_size=200), st.integers(1, 2_000))
def test_buckets_hold_every_row_once_within_the_budget(lengths, budget):
    buckets = length_buckets(np.array(lengths, dtype=np.int64), budget)
    rows = np.concatenate([*buckets, np.zeros(0, np.int64)])
    assert sorted(rows) == list(range(len(lengths)))
    assert list(np.array(lengths)[rows.astype(int)]) == sorted(lengths, reverse=True)
    for bucket in buckets:
        assert len(bucket) == 1 or len(bucket) * max(lengths[i] for i in bucket) <= budget


class Model:
    """Gives each row's sum and number, and fails above a size as torch does when memory is short."""

    def __init__(self, most: int = 10**9, error: type[Exception] | str = torch.OutOfMemoryError) -> None:
        self.most, self.error, self.sizes = most, error, []

    def __call__(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        self.sizes.append(x.numel())
        if x.numel() > self.most:
            raise RuntimeError(self.error) if isinstance(self.error, str) else self.error("no memory")
        assert torch.is_inference_mode_enabled()
        return torch.stack([x.sum(1), rows.to(x.dtype)], 1)


def prepare(rows):
    longest = LENGTHS[rows].max()
    x = (np.arange(longest) < LENGTHS[rows][:, None]).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(rows)


def runner(model: Model, *, ahead: bool = False, budget: int = 1_000) -> BatchRunner:
    made = BatchRunner(model, dim=2, device=torch.device("cpu"), budget=budget)
    if ahead:  # the way of other devices, which the CPU can go as well
        made._here = made._ahead
    return made


EXPECTED = np.stack([LENGTHS, np.arange(len(LENGTHS))], 1).astype(np.float32)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_come_back_in_their_order(ahead, threads):
    done: list[int] = []
    out = runner(Model(), ahead=ahead).run(LENGTHS, prepare, threads=threads, advance=done.append)
    np.testing.assert_array_equal(out, EXPECTED)
    assert out.dtype == np.float32
    assert sum(done) == len(LENGTHS)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError, MemoryError, "DefaultCPUAllocator: can't allocate memory: you tried"]
)
def test_short_memory_halves_the_budget_and_goes_on(ahead, error):
    model = Model(most=130, error=error)
    made = runner(model, ahead=ahead)
    out = made.run(LENGTHS, prepare, threads=2)
    np.testing.assert_array_equal(out, EXPECTED)
    assert 60 <= made.budget <= 130
    before = len(model.sizes)
    made.run(LENGTHS, prepare, threads=2)  # the budget stays halved: nothing fails again
    assert max(model.sizes[before:]) <= 130


def test_a_row_too_large_for_memory_is_named():
    with pytest.raises(ModelError, match="memory of cpu does not suffice for a single cell of 59 tokens"):
        runner(Model(most=40)).run(LENGTHS, prepare, threads=1)


def test_other_errors_are_not_taken_for_short_memory():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        runner(Model(most=100, error="mat1 and mat2 shapes cannot be multiplied")).run(LENGTHS, prepare)


def test_no_rows():
    assert runner(Model()).run(np.zeros(0, np.int64), prepare).shape == (0, 2)


def test_keys_are_the_same_everywhere():
    """Pinned: another machine or version must draw the same, or a resumed run would mix two."""
    assert cell_keys(0, ["a", "cell-7", "ß"]).tolist() == PINNED
    assert cell_keys(0, []).shape == (0,)


PINNED = [4399238400374694274, 17045653388217201374, 14221135449686607756]


def test_keys_belong_to_seed_and_cell():
    names = [f"c{i}" for i in range(5_000)]
    keys = cell_keys(3, names)
    assert len({*keys.tolist(), *cell_keys(4, names).tolist(), *cell_keys(-3, names).tolist()}) == 15_000
    np.testing.assert_array_equal(cell_keys(3, names[::-1]), keys[::-1])


def test_draws_are_uniform():
    keys = cell_keys(0, [f"c{i}" for i in range(400)])
    draws = np.array([[uniform(key, np.uint64(i)) for i in range(50)] for key in keys])
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 45.3  # chi-square, 19 degrees of freedom, p = 0.0006
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.03
