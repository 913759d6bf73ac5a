"""A training in a process of its own that kills itself (``kill -9``) after a number of steps.

Called as ``python killed_training.py CHECKPOINT STEP``.
"""

from __future__ import annotations

import os
import signal
import sys

import numpy as np

from lloki.cae import CAEConfig, CAEModel, checkpoint, train

CONFIG = CAEConfig(
    steps=40, batch_size=120, check_every=5, patience=2, refreshes=2, n_pairs=8, n_neighbors=5, hidden=(24,)
)


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(i, 1, size=(80, 6)).astype(np.float32) for i, name in enumerate("ab")}


def run(file: str | None, advance=None) -> CAEModel:
    return train(data(), {"a": "t|1", "b": "t|2"}, config=CONFIG, checkpoint=file, advance=advance)


if __name__ == "__main__":
    left = int(sys.argv[2])

    def advance(n: int) -> None:
        global left
        left -= n
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.EVERY_S = 0.0
    run(sys.argv[1], advance)
