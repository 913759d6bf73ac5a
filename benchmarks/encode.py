"""Times the encoding of 250,000 cells x 512 by a trained LLOKI-CAE: one forward pass on the CPU.

python benchmarks/encode.py [CELLS] [COLUMNS]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from lloki.cae import CAEConfig, train


def main(cells: int = 250_000, columns: int = 512) -> None:
    rng = np.random.default_rng(0)
    some = {name: rng.standard_normal((500, columns), dtype=np.float32) for name in "ab"}
    # Weights do not matter for the time: one step of training makes a model.
    model = train(
        some, {name: name for name in some}, config=CAEConfig(steps=1, batch_size=200), device="cpu"
    )
    x = rng.standard_normal((cells, columns), dtype=np.float32)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = model.encode(x, "a")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{cells:,} x {columns} -> {rows.shape[1]}: {wall:.2f} s wall, {cpu:.2f} CPU-s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
