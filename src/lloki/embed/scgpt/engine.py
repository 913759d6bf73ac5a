"""Where and in what precision the network runs, and in what batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._device import choose_device
from lloki.embed._transformer import PRECISIONS, BatchRunner, check_precision, precision_on
from lloki.embed.scgpt.checkpoint import Checkpoint
from lloki.embed.scgpt.network import Network
from lloki.errors import ModelError

# Tokens of a batch. On the CPU it is one thread's, and what is passed between layers then fits its cache;
# elsewhere it keeps the device busy with about 2 GB at 512 columns.
BUDGET = {"cpu": 2_048, "mps": 16_384, "cuda": 65_536}


class Engine:
    """Runs a checkpoint's network.

    Parameters
    ----------
    checkpoint
        The model.
    device
        Its name, see :func:`lloki._device.choose_device`; may be set to another.
    precision
        ``"float32"``, ``"bf16"``, ``"fp16"``; ``"auto"`` is fp16 on CUDA, as in the public
        package, and float32 elsewhere.

    Attributes
    ----------
    token_budget
        Most tokens of a batch, padding counted; None takes that of the device. Halved when memory does not
        suffice.

    Raises
    ------
    ConfigError
        If there is no such precision.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str | None, precision: str) -> None:
        check_precision(precision)
        self.checkpoint, self.device, self.precision = checkpoint, device, precision
        self.token_budget: int | None = None
        self._networks: dict[tuple[torch.device, torch.dtype], Network] = {}

    def place(self) -> torch.device:
        """Find the device; ConfigError if it is not there."""
        return choose_device(self.device)

    def precision_used(self) -> str:
        """Precision on the device, by name: float32, bf16 or fp16."""
        return precision_on(self.place(), self.precision)

    def network(self) -> Network:
        """Put the network on the device, in the precision; it is kept until another is asked for."""
        device = self.place()
        dtype = PRECISIONS[self.precision_used()]
        if (device, dtype) not in self._networks:
            with torch.device("meta"):
                network = Network(self.checkpoint.sizes)
            network.load_state_dict(dict(self.checkpoint.weights), assign=True)
            network = network.eval().requires_grad_(False).to(device)
            self._networks = {(device, dtype): network.compute_in(dtype)}
        return self._networks[device, dtype]

    def run(
        self,
        model: Callable[..., torch.Tensor],
        lengths: NDArray[np.int64],
        prepare: Callable[[NDArray[np.int64]], tuple[torch.Tensor, ...]],
        **options: Any,
    ) -> NDArray[np.float32]:
        """Run ``model`` over rows; parameters as of :meth:`BatchRunner.run`.

        Raises
        ------
        ModelError
            If a row comes out NaN or infinite, as products do that are too large for half precision.
        """
        device = self.place()
        budget = self.token_budget or BUDGET[device.type]
        runner = BatchRunner(model, dim=self.checkpoint.sizes.dim, device=device, budget=budget)
        try:
            rows = runner.run(lengths, prepare, **options)
        finally:
            if runner.budget < budget:
                self.token_budget = runner.budget
        bad = int((~np.isfinite(rows)).any(1).sum())
        if bad:
            raise ModelError(
                f"{bad} of {len(rows)} cells came out NaN or infinite in precision {self.precision!r}. "
                "Choose precision='float32'; if that gives the same, the weights are not usable."
            )
        return rows
