"""Cost of training LLOKI-CAE on simulated embeddings, compared with a plain implementation of its losses.

    python benchmarks/cae.py              # 5 slices x 10,000 cells x 512, 50 epochs, and the plain one
    python benchmarks/cae.py --batch 16000 --epochs 200 --plain-epochs 0
    python benchmarks/cae.py --cells 10000 30000 100000 --epochs 1 --refreshes 0 --plain-epochs 0

An epoch encodes every cell once on average, `CAEConfig.epochs`. With and without the shifts of inputs
(``--mnn-rounds``), which are made before training. Every row is measured in a fresh process. *Before* is the
one-time cost: scaling, shifts, neighbors within slices, the first search of pairs. Further searches
(``--refreshes``) cost the same however many cells there are, and are part of the epochs' time. Memory is the
peak of a process in addition to the embeddings, the interpreter and its libraries. CPU-seconds are summed
over threads. The loss is that of held-out cells at the end, by the last pairs; mixing and preservation are
`lloki.cae.monitor`'s.

The plain implementation is a straightforward one: each epoch it encodes all cells, finds the
mutual nearest neighbors of every pair of slices (scikit-learn, k = 40) and picks positives and negatives in
Python; neighbors for the conservation loss are searched within a batch of 4,000. It draws every cell once an
epoch, and encodes it four times for that: once itself, and as anchor, positive and negative. It is not the
code that was published with the paper.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import psutil

SLICES, COLUMNS, DRAWN = 5, 512, 4_000
ENCODED = 4  # encoded cells for each that the plain implementation draws


def made_up(cells: int) -> dict[str, np.ndarray]:
    """Slices (cells, 512) of twelve types, each slice moved its own way."""
    rng = np.random.default_rng(0)
    types = 1.5 * rng.standard_normal((12, COLUMNS), dtype=np.float32)
    slices = {}
    for s in range(SLICES):
        x = rng.standard_normal((cells, COLUMNS), dtype=np.float32)
        x += rng.standard_normal(COLUMNS, dtype=np.float32)
        x += types[rng.integers(len(types), size=cells)]
        slices[f"slice {s}"] = x
    return slices


def ours(cells: int, epochs: int, refreshes: int, rounds: int, batch: int, seed: int) -> dict[str, float]:
    from lloki.cae import CAEConfig, train
    from lloki.run.record import metered

    warm = {name: x[:200] for name, x in made_up(200).items()}
    tokens = {name: name for name in warm}
    train(warm, tokens, config=CAEConfig(steps=2, batch_size=100), device="cpu")  # compiles
    slices = made_up(cells)
    before = psutil.Process().memory_info().rss
    config = CAEConfig(
        batch_size=batch,
        epochs=epochs,
        refreshes=refreshes,
        mnn_rounds=rounds,
        patience=10**9,
        seed=seed,
    )
    steps = config.total_steps(SLICES * cells)
    times: list[tuple[float, float]] = [(time.process_time(), time.perf_counter())]
    with metered("", "", "") as record:
        model = train(
            slices,
            tokens,
            config=config,
            device="cpu",
            advance=lambda n: times.append((time.process_time(), time.perf_counter())),
        )
    end = time.process_time()
    return {
        "before_cpu": times[1][0] - times[0][0],
        "epoch_cpu": (end - times[1][0]) / epochs,
        "total_cpu": end - times[0][0],
        "total_wall": time.perf_counter() - times[0][1],
        "data_gb": sum(x.nbytes for x in slices.values()) / 2**30,
        "beyond_gb": record.peak_rss_mb / 2**10 - before / 2**30,
        "steps": steps,
        "loss": model.history[-1]["validation"],
        "mixing": model.history[-1]["monitor_mixing"],
        "preservation": model.history[-1]["monitor_preservation"],
    }


def plain(cells: int, epochs: int) -> dict[str, float]:
    """Measure the plain implementation on the first epochs."""
    import random

    import torch
    from sklearn.neighbors import NearestNeighbors

    from lloki.cae.network import ConditionalAutoencoder

    slices = list(made_up(cells).values())
    x = torch.from_numpy(np.concatenate([s - s.mean(0) for s in slices]))
    batch = np.repeat(np.arange(SLICES), cells)
    token = torch.from_numpy(batch)[:, None]
    members = [np.flatnonzero(batch == b).tolist() for b in range(SLICES)]
    network = ConditionalAutoencoder(COLUMNS, SLICES)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4, weight_decay=1e-4)
    rng, wall, cpu = np.random.default_rng(0), time.perf_counter(), time.process_time()
    for _ in range(epochs):
        with torch.no_grad():
            latent = network.encode(x, network.condition(token)).numpy()
        pairs: dict[int, list[int]] = {}
        for a in range(SLICES):
            for b in range(a):
                one, other = latent[members[a]], latent[members[b]]
                nearest = [
                    NearestNeighbors(n_neighbors=40, metric="cosine")
                    .fit(t)
                    .kneighbors(q, return_distance=False)
                    for q, t in ((one, other), (other, one))
                ]
                back = [set(row) for row in nearest[1].tolist()]
                for i, row in enumerate(nearest[0].tolist()):
                    for j in row:
                        if i in back[j]:
                            pairs.setdefault(members[a][i], []).append(members[b][j])
                            pairs.setdefault(members[b][j], []).append(members[a][i])
        order = rng.permutation(len(x))
        for start in range(0, len(x), DRAWN):
            drawn = order[start : start + DRAWN].tolist()
            triplets = [
                (i, random.choice(pairs[i]), random.choice(members[batch[i]])) for i in drawn if i in pairs
            ]
            rows = torch.tensor(drawn)
            z = network.encode(x[rows], network.condition(token[rows]))
            loss = (x[rows] - network.decode(z, network.condition(token[rows]))).square().mean()
            who = torch.tensor(triplets)
            anchor, positive, negative = (
                network.encode(x[w], network.condition(token[w])) for w in (who[:, 0], who[:, 1], who[:, 2])
            )
            near, far = (anchor - positive).square().sum(1), (anchor - negative).square().sum(1)
            loss = loss + 0.2 * torch.relu(near - far + 1).mean()
            for b in range(SLICES):
                own = torch.nonzero(token[rows, 0] == b).squeeze(1)
                inputs, latents = torch.cdist(x[rows[own]], x[rows[own]]), torch.cdist(z[own], z[own])
                neighbors = inputs.topk(31, largest=False).indices[:, 1:]
                loss = (
                    loss + 250 * (inputs.gather(1, neighbors) - latents.gather(1, neighbors)).square().mean()
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {
        "epoch_cpu": (time.process_time() - cpu) / epochs,
        "epoch_wall": (time.perf_counter() - wall) / epochs,
    }


def measure(what: str, cells: int, epochs: int, *settings: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what]
    command += ["--cells", str(cells), "--epochs", str(epochs), *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=2_000, help="cells encoded in a step")
    parser.add_argument("--refreshes", type=int, default=4)
    parser.add_argument("--mnn-rounds", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--plain-epochs", type=int, default=1)
    parser.add_argument("--child", choices=["ours", "plain"])
    options = parser.parse_args()
    if options.child == "plain":
        print(json.dumps(plain(options.cells[0], options.epochs)))
        return
    if options.child:
        settings = (options.refreshes, options.mnn_rounds[0], options.batch, options.seed)
        print(json.dumps(ours(options.cells[0], options.epochs, *settings)))
        return
    print(
        "| cells | rounds of shifts | steps x cells | before, CPU-s | per epoch, CPU-s | total, CPU-s ",
        end="",
    )
    print("| wall, s | loss | mixing | preservation | data, GB | beyond, GB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for cells in options.cells:
        for rounds in options.mnn_rounds:
            given = {"refreshes": options.refreshes, "batch": options.batch, "seed": options.seed}
            words = [w for k, v in (given | {"mnn-rounds": rounds}).items() for w in (f"--{k}", str(v))]
            m = measure("ours", cells, options.epochs, *words)
            print(
                f"| {SLICES} x {cells:,} | {rounds} | {m['steps']:,} x {options.batch:,} "
                f"| {m['before_cpu']:.1f} | {m['epoch_cpu']:.2f} "
                f"| {m['total_cpu']:.0f} | {m['total_wall']:.0f} | {m['loss']:.3f} | {m['mixing']:.3f} "
                f"| {m['preservation']:.3f} | {m['data_gb']:.2f} | {m['beyond_gb']:.2f} |",
                flush=True,
            )
        if options.plain_epochs:
            p = measure("plain", cells, options.plain_epochs)
            print(
                f"plain: {p['epoch_cpu']:.1f} CPU-s, {p['epoch_wall']:.1f} s wall an epoch of "
                f"{ENCODED} x the encoded cells, {p['epoch_cpu'] / m['epoch_cpu'] / ENCODED:.0f}x ours",
                flush=True,
            )


if __name__ == "__main__":
    main()
