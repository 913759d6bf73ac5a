"""How a training is put together: what it searches when, which state it keeps, what it draws and scales."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lloki.cae import CAEConfig, CAEModel, fit_token, loop, train
from lloki.cae._objective import Objective
from lloki.cae.batches import Batch, Sampler
from lloki.cae.cells import Cells, own_neighbors, slice_pairs
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.pairs import PairTable
from lloki.cae.scaling import Scaling
from lloki.errors import LlokiWarning

SMALL = CAEConfig(
    steps=40,
    batch_size=120,
    check_every=5,
    refreshes=2,
    n_pairs=6,
    n_neighbors=5,
    hidden=(24, 16),
    latent=8,
    components=4,
    holdout=0.2,
)
Slices = dict[str, np.ndarray]


def slices(sizes: tuple[int, ...] = (90, 80, 70)) -> Slices:
    """Three types, moved in each slice its own way."""
    rng = np.random.default_rng(0)
    centers = 3 * rng.normal(size=(3, 10))
    out = {}
    for s, n in enumerate(sizes):
        moved = centers + 1.5 * rng.normal(size=(3, 10))
        out[f"s{s}"] = (moved[np.arange(n) % 3] + rng.normal(size=(n, 10))).astype(np.float32)
    return out


class Watched:
    """What a training does, step by step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop: Any = None
        self.searches: list[dict[str, Any]] = []
        self.batches: list[tuple[int, Batch, PairTable]] = []  # that were trained on
        self.looks: list[tuple[int, dict[str, Tensor]]] = []
        self.optimizer: list[tuple[float, float]] = []
        search, backward = loop.Loop._search, Objective.backward
        draw, step, record = Sampler.draw, torch.optim.Adam.step, loop.Loop._record
        drawn: dict[int, PairTable] = {}

        def searched(this: Any) -> PairTable:
            self.loop = this
            before = this.rng.get_state()
            pairs = search(this)
            network = copy.deepcopy(this.loss.network)
            self.searches.append({"step": this.step, "rng": before, "pairs": pairs, "network": network})
            return pairs

        def stepped(this: Any, shards: Any) -> Tensor:
            self.batches += [(self.loop.step, batch, drawn[id(batch)]) for batch in shards]
            return backward(this, shards)

        def drew(this: Any, n: int, m: int, pairs: PairTable, rng: Any) -> Batch:
            batch = draw(this, n, m, pairs, rng)
            drawn[id(batch)] = pairs
            self.kept = [*getattr(self, "kept", []), batch]  # so that no id comes twice
            return batch

        def optimized(this: Any, *arguments: Any) -> Any:
            (group,) = this.param_groups
            self.optimizer.append((group["lr"], group["weight_decay"]))
            return step(this, *arguments)

        def recorded(this: Any, *arguments: Any) -> None:
            self.looks.append((this.step, copy.deepcopy(this.loss.network.state_dict())))
            record(this, *arguments)

        monkeypatch.setattr(loop.Loop, "_search", searched)
        monkeypatch.setattr(loop.Loop, "_record", recorded)
        monkeypatch.setattr(Objective, "backward", stepped)
        monkeypatch.setattr(Sampler, "draw", drew)
        monkeypatch.setattr(torch.optim.Adam, "step", optimized)

    @property
    def cells(self) -> Cells:
        cells: Cells = self.loop.loss.cells
        return cells


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def trained(config: CAEConfig = SMALL, **options: Any) -> CAEModel:
    data = slices()
    return train(data, {name: f"t|{name}" for name in data}, config=config, **options)


def held_out_loss(watched: Watched, network: ConditionalAutoencoder, config: CAEConfig) -> float:
    """Weighted loss of held-out cells, drawn as at every look and paired as at the last search."""
    cells = watched.cells
    sampler = Sampler(cells, own_neighbors(cells, config.n_neighbors), seen=False)
    rng = torch.Generator().manual_seed(config.seed + 1)
    batch = sampler.draw(2000, config.neighbors_per_step, watched.searches[-1]["pairs"], rng)
    assert not cells.seen[batch.cell].any()
    loss = watched.loop.loss
    parts = replace_network(loss, network).parts(batch)
    weights = [config.reconstruction, config.triplet, config.conservation]
    return sum(weight * float(part) for weight, part in zip(weights, parts))


def replace_network(loss: Objective, network: ConditionalAutoencoder) -> Objective:
    return Objective(network, loss.cells, loss.config, loss.distance_scale, None, loss.types)


@pytest.mark.parametrize("ends", ["early", "at the last step"])
def test_the_network_returned_has_the_lowest_held_out_loss_of_its_history(
    watched: Watched, ends: str
) -> None:
    # a rate so large that the loss goes up and down
    config = replace(SMALL, learning_rate=0.3, steps=120, patience=2, refreshes=1)
    if ends != "early":
        config = replace(config, steps=60, patience=1000, refreshes=0, learning_rate=1.0, seed=1)
    model = trained(config)
    looks = {row["step"]: row["validation"] for row in model.history}
    assert len(watched.searches) == config.refreshes + 1
    last_search = watched.searches[-1]["step"]
    comparable = {step: loss for step, loss in looks.items() if step > last_search}
    best = min(comparable, key=lambda step: comparable[step])
    assert best != max(looks)  # the state at the end is another
    assert (max(looks) < config.steps) == (ends == "early")
    assert held_out_loss(watched, model.network, config) == pytest.approx(comparable[best], rel=1e-5)
    kept = dict(watched.looks)[best]
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, kept[name]), name
    if ends == "early":
        assert max(looks) == best + 2 * config.check_every  # two looks without a better one


def test_without_held_out_cells_the_last_state_is_kept(watched: Watched) -> None:
    model = trained(replace(SMALL, holdout=0.0))
    assert all(row["validation"] is None for row in model.history)
    step, last = watched.looks[-1]
    assert step == SMALL.steps
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, last[name]), name


def searched_anew(watched: Watched, at: int, config: CAEConfig, space: Tensor) -> Tensor:
    rng = torch.Generator()
    rng.set_state(watched.searches[at]["rng"])
    return slice_pairs(
        watched.cells,
        space,
        config.n_pairs,
        cells_per_slice=config.pair_cells,
        partners=config.pair_slices,
        rng=rng,
        neighbors=own_neighbors(watched.cells, config.n_neighbors),
    ).positive


@pytest.mark.parametrize("refreshes", [0, 2, 3])
def test_pairs_come_from_the_inputs_first_and_then_from_the_latent_space_of_the_moment(
    watched: Watched, refreshes: int
) -> None:
    config = replace(SMALL, refreshes=refreshes, learning_rate=0.01)
    trained(config)
    # evenly over the first two thirds
    at = [round(i * 2 / 3 * config.steps / (refreshes + 1)) for i in range(refreshes + 1)]
    assert [search["step"] for search in watched.searches] == at
    x = watched.cells.x
    assert torch.equal(watched.searches[0]["pairs"].positive, searched_anew(watched, 0, config, x))
    for i in range(1, refreshes + 1):
        found = watched.searches[i]["pairs"].positive
        network = watched.searches[i]["network"]
        with torch.no_grad():
            z = network.encode(x, network.condition(watched.cells.condition))
        assert torch.equal(found, searched_anew(watched, i, config, z))
        assert not torch.equal(found, searched_anew(watched, i, config, x))


def test_every_step_draws_from_the_pairs_found_last(watched: Watched) -> None:
    trained()
    assert len({step for step, _, _ in watched.batches}) == SMALL.steps
    for step, batch, pairs in watched.batches:
        latest = [search["pairs"] for search in watched.searches if search["step"] <= step][-1]
        assert pairs is latest
        anchors, positives = latest.anchor_of(), latest.positive
        known = set(zip(anchors.tolist(), positives.tolist()))
        assert set(zip(batch.anchor.tolist(), batch.positive.tolist())) <= known


def test_all_anchors_have_partners_and_all_cells_are_reconstructed(watched: Watched) -> None:
    trained(replace(SMALL, pair_cells=8, n_pairs=2, refreshes=0, steps=60))
    some, seen = watched.searches[0]["pairs"].anchors(), watched.cells.seen
    assert 0 < int(some.sum()) <= 3 * 8
    for _, batch, _ in watched.batches:
        assert len(batch.anchor) == 15  # as many as in a shard whose cells all have partners
        assert some[batch.anchor].all()
    reconstructed = torch.cat([batch.cell for _, batch, _ in watched.batches]).unique()
    assert torch.equal(reconstructed, torch.nonzero(seen).squeeze(1))


def test_a_slice_without_partners_is_reconstructed_all_the_same(watched: Watched) -> None:
    data = slices()
    labels = {name: ["z" if name == "s2" else "a"] * len(x) for name, x in data.items()}
    with pytest.warns(LlokiWarning, match="not mixed: s2"):
        trained(labels=labels)
    slice_of = watched.cells.slice_of
    for _, batch, _ in watched.batches:
        assert torch.bincount(slice_of[batch.cell]).tolist() == [5, 5, 5]
        assert torch.bincount(slice_of[batch.anchor], minlength=3).tolist() == [7, 7, 0]


def test_no_step_sees_a_held_out_cell(watched: Watched) -> None:
    trained()
    cells = watched.cells
    assert torch.bincount(cells.slice_of[~cells.seen]).tolist() == [18, 16, 14]  # a fifth of each slice
    drawn = set()
    for _, batch, _ in watched.batches:
        for part in (batch.cell, batch.anchor, batch.positive, batch.neighbor.reshape(-1)):
            drawn |= set(part[part >= 0].tolist())
    assert not drawn & set(torch.nonzero(~cells.seen).squeeze(1).tolist())
    assert len(drawn) == int(cells.seen.sum())  # and all others are trained on


def rates(height: float, steps: int) -> list[float]:
    return [
        height * min(1, (step + 1) / 50) * (0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
        for step in range(steps)
    ]


def test_the_rate_rises_over_fifty_steps_and_falls_along_a_cosine(watched: Watched) -> None:
    config = replace(SMALL, steps=80, learning_rate=0.002, weight_decay=0.03, patience=1000)
    trained(config)
    assert [rate for rate, _ in watched.optimizer] == pytest.approx(rates(0.002, 80))
    assert {decay for _, decay in watched.optimizer} == {0.03}


def test_epochs_count_the_cells_encoded(watched: Watched) -> None:
    model = trained(replace(SMALL, epochs=3, steps=1, refreshes=0))
    assert model.history[-1]["step"] == 6  # 3 x 240 cells in batches of 120
    assert len(watched.optimizer) == 6


def test_a_step_encodes_a_batch(watched: Watched) -> None:
    trained(replace(SMALL, neighbors_per_step=2, batch_size=300))
    for _, batch, _ in watched.batches:
        assert batch.cell.shape == (30,)  # each with two neighbors, in two shards
        assert batch.neighbor.shape == (30, 2)
        assert batch.anchor.shape == batch.positive.shape == (30,)
    assert len(watched.batches) == 2 * SMALL.steps
    first, second = watched.batches[0][1], watched.batches[1][1]
    assert not torch.equal(first.cell, second.cell)


def test_neighbors_are_those_of_the_own_slice(watched: Watched) -> None:
    trained()
    cells = watched.cells
    for s in range(3):
        seen = cells.members(s, seen=True)
        unit = cells.x[seen] / cells.x[seen].norm(dim=1, keepdim=True)
        near = seen[(unit @ unit.T).fill_diagonal_(-2).topk(SMALL.n_neighbors, dim=1).indices]
        known = {int(cell): set(row.tolist()) for cell, row in zip(seen, near)}
        for _, batch, _ in watched.batches:
            for cell, row in zip(batch.cell.tolist(), batch.neighbor.tolist()):
                if cell in known:
                    assert set(row) - {-1} <= known[cell]


@pytest.mark.parametrize("unit", [0.3, 1.0])
def test_the_latent_space_takes_the_unit_of_the_settings(unit: float) -> None:
    """With the conservation loss alone, random cells of a slice come to lie ``unit`` apart."""
    config = replace(
        SMALL, unit=unit, reconstruction=0.0, triplet=0.0, conservation=1.0, steps=300, learning_rate=0.01
    )
    model = trained(replace(config, check_every=100))
    distances = []
    for name, x in slices().items():
        z = model.encode(x, f"t|{name}")
        distances.append(((z[:, None] - z[None]) ** 2).sum(-1).mean())
    assert np.sqrt(np.mean(distances)) == pytest.approx(unit, rel=0.35)  # without it they are 4.5 apart


@pytest.mark.parametrize(("components", "rounds"), [(0, 0), (4, 0), (4, 2)])
def test_inputs_have_one_center_and_one_scale(components: int, rounds: int) -> None:
    data = list(slices().values())
    token_of = [0, 1, 0]
    config = CAEConfig(unit=0.8, components=components, mnn_rounds=rounds)
    scaling, given = Scaling.fit(data, token_of, [0, 0], config=config)
    moved = [scaling.mixture.apply(x, t).astype(float) for x, t in zip(data, token_of)]
    # Every cell counts alike. A center for each token would take what a batch is made of for its platform.
    center = np.concatenate(moved).mean(0)
    np.testing.assert_allclose(scaling.center, center, atol=1e-4)
    off = [scaling.correction.apply((x - center).astype(np.float32), t) for x, t in zip(moved, token_of)]
    scale = np.sqrt(np.mean([np.square(x).mean() for x in off]))
    assert scaling.scale == pytest.approx(scale, rel=1e-5)
    spread = np.sqrt(np.mean([((x[:, None] - x[None]) ** 2).sum(-1).mean() for x in off])) / scale
    assert scaling.distance == pytest.approx(0.8 / spread, rel=1e-4)
    joined = scaling.join(data, token_of)
    np.testing.assert_array_equal(given, joined)
    np.testing.assert_allclose(joined, np.concatenate(off) / scale, atol=1e-4)
    np.testing.assert_allclose(scaling.apply(data[2], 0), off[2] / scale, atol=1e-4)
    if components:
        assert np.abs(moved[0] - data[0]).max() > 0.1
    else:
        np.testing.assert_array_equal(moved[0], data[0].astype(float))
    assert (np.abs(off[0] - (moved[0] - center)).max() > 0.1) == bool(rounds)


def test_training_sees_the_cells_as_the_model_scales_them(watched: Watched) -> None:
    model = trained(replace(SMALL, unit=1.3))
    data = slices()
    expected = [model.scaling.apply(x, model.tokens.index(f"t|{name}")) for name, x in data.items()]
    np.testing.assert_allclose(watched.cells.x, np.concatenate(expected), atol=1e-6)
    assert watched.loop.loss.distance_scale == model.scaling.distance
    again, _ = Scaling.fit(list(data.values()), [0, 1, 2], [0, 0, 0], config=model.config)
    assert model.scaling.distance == again.distance
    assert model.scaling.scale == again.scale
    assert model.scaling.mixture.centers.shape[:2] == (1, 4)


def test_encoding_is_the_encoder_on_scaled_cells_with_the_token() -> None:
    model = trained()
    for i, (name, x) in enumerate(slices().items()):
        scaled = torch.from_numpy(model.scaling.apply(x, i))
        with torch.no_grad():
            rows = torch.full((len(x), 1), i)
            expected = model.network.encode(scaled, model.network.condition(rows)).numpy()
        np.testing.assert_allclose(model.encode(x, f"t|{name}"), expected, atol=1e-5)


def test_the_negatives_of_labeled_cells_are_of_another_type(watched: Watched) -> None:
    data = slices()
    labels = {name: np.array(list("pqr"))[np.arange(len(x)) % 3] for name, x in data.items()}
    labels["s2"] = np.array([""] * 70)
    chosen = []
    with pytest.MonkeyPatch.context() as patch:
        from lloki.cae import _objective as objective

        real = objective.hard_negatives

        def hard(anchor: Tensor, drawn: Tensor, random: Tensor, **known: Tensor) -> Tensor:
            found = real(anchor, drawn, random, **known)
            chosen.append((known["label"], known["drawn_label"], found))
            return found

        patch.setattr(objective, "hard_negatives", hard)
        trained(labels=labels)
    assert watched.cells.label is not None
    assert watched.cells.label[:170].min() >= 0
    assert (watched.cells.label[170:] == -1).all()
    # the slice without labels takes those of its partners
    assert (watched.loop.loss.types[170:] >= 0).any()
    assert len(chosen) >= 2 * SMALL.steps
    for label, drawn, negative in chosen:
        known = (label >= 0) & (negative >= 0)
        assert known.any()
        assert (drawn[negative[known]] != label[known]).all()


def test_a_fitted_token_is_trained_among_the_landmarks(watched: Watched) -> None:
    model = trained()
    watched.searches.clear()
    watched.batches.clear()
    watched.optimizer.clear()
    rng = np.random.default_rng(5)
    new = (slices()["s1"] + rng.normal(size=10)).astype(np.float32)
    fitted = fit_token(model, {"new": new}, token="t|new", steps=30, learning_rate=0.05)
    cells = watched.cells
    assert cells.start == [0, 80, *(80 + np.cumsum(model.landmarks.sizes)).tolist()]
    np.testing.assert_allclose(cells.x[:80], fitted.scaling.apply(new, 3), atol=1e-6)
    assert torch.equal(cells.x[80:], model.landmarks.x)
    assert cells.condition[:, 0].unique_consecutive().tolist() == [3, 0, 1, 2]
    # the new cells are drawn, the old ones are their partners alone
    assert all((batch.cell < 80).all() for _, batch, _ in watched.batches)
    assert all((batch.anchor < 80).all() for _, batch, _ in watched.batches)
    partners = torch.cat([batch.positive for _, batch, _ in watched.batches])
    assert len(partners)
    assert (partners >= 80).all()
    assert [search["step"] for search in watched.searches] == [0, 10]
    assert [rate for rate, _ in watched.optimizer] == pytest.approx(rates(0.05, 30))
    assert {decay for _, decay in watched.optimizer} == {0.0}
    # from the mean of the old vectors to one of its own
    old, table = model.network.state_dict()["token.weight"], fitted.network.state_dict()["token.weight"]
    assert torch.equal(table[:3], old)
    assert not torch.allclose(table[3], old.mean(0), atol=1e-3)
    np.testing.assert_array_equal(fitted.scaling.center, model.scaling.center)
    assert len(fitted.landmarks.sizes) == 4
    assert watched.loop.loss.distance_scale == model.scaling.distance


def test_the_seed_draws_the_weights_the_cells_held_out_and_the_batches(watched: Watched) -> None:
    starts, held, first = [], [], []
    for seed in (0, 0, 1):
        watched.batches.clear()
        watched.searches.clear()
        trained(replace(SMALL, seed=seed, steps=2))
        starts.append(watched.searches[0]["network"].state_dict()["encoder.0.weight"])
        held.append(watched.cells.seen)
        first.append(watched.batches[0][1].cell)
    for drawn in (starts, held, first):
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])


def test_cells_have_the_row_of_their_token(watched: Watched) -> None:
    data = slices()
    train(data, {"s0": "b", "s1": "a", "s2": "b"}, config=replace(SMALL, steps=2, condition="both"))
    rows = [row.tolist() for row in watched.cells.condition.unique_consecutive(dim=0)]
    assert rows == [[1, 0], [0, 1], [1, 2]]  # token, slice


def test_every_slice_has_positives(watched: Watched) -> None:
    trained(replace(SMALL, refreshes=0))
    pairs, slice_of = watched.searches[0]["pairs"], watched.cells.slice_of
    anchors = slice_of[pairs.anchor_of()]
    assert sorted(anchors.unique().tolist()) == [0, 1, 2]
    assert (slice_of[pairs.positive] != anchors).all()


def test_labels_decide_which_pairs_are_found(watched: Watched) -> None:
    """In the second slice two types have changed places: without labels their pairs are wrong."""
    rng = np.random.default_rng(0)
    centers, kind = 5 * np.eye(6), np.arange(90) % 3
    data = {
        name: rng.normal(centers[place][kind], 1).astype(np.float32)
        for name, place in (("s0", [0, 1, 2]), ("s1", [1, 0, 2]))
    }
    labels = dict.fromkeys(data, np.array(list("pqr"))[kind])
    config = replace(SMALL, components=0, steps=3, refreshes=0)
    counts = []
    for given in (labels, None):
        train(data, {name: name for name in data}, labels=given, config=config)
        pairs = watched.searches[-1]["pairs"]
        type_of = torch.from_numpy(np.tile(kind, 2))
        same = type_of[pairs.anchor_of()] == type_of[pairs.positive]
        counts.append((int(same.sum()), len(same)))
    assert counts[0][0] == counts[0][1] > 300  # as many as there are neighbors, all of one type
    assert counts[1][0] < 0.6 * counts[1][1]


def test_states_are_judged_by_the_weighted_loss(watched: Watched) -> None:
    """Weights so unlike that another state would be the best without them."""
    config = replace(
        SMALL,
        learning_rate=0.3,
        steps=60,
        refreshes=0,
        patience=1000,
        reconstruction=0.001,
        conservation=50.0,
    )
    model = trained(config)
    looks = {row["step"]: row["validation"] for row in model.history}
    best = min(looks, key=lambda step: looks[step])
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, dict(watched.looks)[best][name]), name
    assert held_out_loss(watched, model.network, config) == pytest.approx(looks[best], rel=1e-5)


class Stop(Exception):
    pass


@pytest.mark.parametrize("stopped", ["after labels were spread", "after the best state"])
def test_a_training_that_is_stopped_continues_to_the_same_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, stopped: str
) -> None:
    from lloki.cae import checkpoint

    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    data = slices()
    options: dict[str, Any] = {
        "labels": {"s0": np.array(list("pqr"))[np.arange(90) % 3]}
    }  # others take theirs
    left = 20
    if stopped == "after the best state":  # see above: the loss goes up and down
        options = {"config": replace(SMALL, learning_rate=0.3, steps=120, patience=2, refreshes=1)}
    whole = trained(**options)
    if stopped == "after the best state":
        looks = [row for row in whole.history if row["step"] > 40]
        best = min(looks, key=lambda row: row["validation"])["step"]
        assert best < looks[-1]["step"] < 120
        left = best + 2

    def stop(n: int) -> None:
        nonlocal left
        left -= n
        if left == 0:
            raise Stop

    with pytest.raises(Stop):
        trained(**options, checkpoint=tmp_path / "file", advance=stop)
    again = trained(**options, checkpoint=tmp_path / "file")
    for name, x in data.items():
        np.testing.assert_array_equal(again.encode(x, f"t|{name}"), whole.encode(x, f"t|{name}"))
    assert again.history == whole.history


def test_a_fitted_token_starts_from_the_mean_of_the_others() -> None:
    model = trained(replace(SMALL, steps=5))
    new = slices()["s1"] + np.float32(1)
    fitted = fit_token(model, {"new": new}, token="t|new", steps=1, learning_rate=1e-9)
    table = fitted.network.state_dict()["token.weight"]
    torch.testing.assert_close(table[3], table[:3].mean(0))
