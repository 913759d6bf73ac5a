"""Batches of rows of unequal length, bounded by tokens instead of by rows.

Sorted by length, neighbors differ by little, so that hardly any computation goes into padding; a budget of
tokens bounds memory whatever the lengths are. Batches run longest first: where memory does not suffice, it
shows at once, and threads that share the work end at about the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._log import logger
from lloki._parallel import map_ordered, n_threads
from lloki._progress import Advance
from lloki.errors import ModelError

Rows: TypeAlias = NDArray[np.int64]
Batch: TypeAlias = tuple[torch.Tensor, ...]

_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def length_buckets(lengths: NDArray[np.integer], budget: int) -> list[Rows]:
    """Cut rows into batches of similar length, longest first.

    Parameters
    ----------
    lengths
        (n,) tokens of each row.
    budget
        Most tokens of a batch, padding counted: rows x longest row. A row longer than this is alone.

    Returns
    -------
    buckets
        Row numbers of each batch, by falling length; every row is in one batch. Time grows with n·log n.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    buckets, start = [], 0
    while start < len(order):
        stop = start + max(budget // max(int(lengths[order[start]]), 1), 1)
        buckets.append(order[start:stop])
        start = stop
    return buckets


class BatchRunner:
    """Runs a model over rows of unequal length and gives the results back in the order of the rows.

    On the CPU every batch is one thread's, prepared and run there with single-threaded libraries, so results
    do not depend on the number of threads. On other devices threads prepare batches ahead of the model,
    which gets them one after the other.

    When memory does not suffice for a batch, the budget is halved for good and the batch is cut.

    Parameters
    ----------
    model
        Called with the tensors of a batch on ``device``, under ``torch.inference_mode``; gives (rows, dim).
    dim
        Columns of what the model gives.
    device
        Where it runs.
    budget
        Most tokens of a batch, padding counted; on the CPU of a thread's batch.
    """

    def __init__(
        self, model: Callable[..., torch.Tensor], *, dim: int, device: torch.device, budget: int
    ) -> None:
        self.model, self.dim, self.device, self.budget = model, dim, device, budget

    def run(
        self,
        lengths: NDArray[np.integer],
        prepare: Callable[[Rows], Batch],
        *,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        """Run all rows.

        Parameters
        ----------
        lengths
            (n,) tokens of each row.
        prepare
            Makes the batch of the given rows, as CPU tensors. Called on several threads; should release the
            GIL. The order within a batch is that of the row numbers given.
        threads
            Batches at a time on the CPU, elsewhere threads that prepare; default all cores.
        advance
            Called with the number of rows done.

        Returns
        -------
        out
            (n, dim) float32.

        Raises
        ------
        ModelError
            If memory does not suffice for a single row.
        """
        tokens: Rows = np.maximum(np.asarray(lengths, dtype=np.int64), 1)
        out = np.empty((len(tokens), self.dim), dtype=np.float32)
        todo = length_buckets(tokens, self.budget)
        results = self._here if self.device.type == "cpu" else self._ahead
        for rows, tensor in results(todo, tokens, prepare, threads or n_threads()):
            out[rows] = tensor.float().cpu().numpy()
            if advance:
                advance(len(rows))
        return out

    def _here(
        self, todo: list[Rows], lengths: Rows, prepare: Callable[[Rows], Batch], threads: int
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        def compute(rows: Rows) -> list[tuple[Rows, torch.Tensor]]:
            return list(self._pieces(rows, None, lengths, prepare))

        for pieces in map_ordered(compute, todo, threads=threads):
            yield from pieces

    def _ahead(
        self, todo: list[Rows], lengths: Rows, prepare: Callable[[Rows], Batch], threads: int
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        pin = self.device.type == "cuda"

        def ready(rows: Rows) -> tuple[Rows, Batch]:
            return rows, tuple(t.pin_memory() if pin else t for t in prepare(rows))

        # Fetching a result waits for the device: a batch's is fetched when the next is already under way.
        behind: list[tuple[Rows, torch.Tensor]] = []
        for rows, batch in map_ordered(ready, todo, threads=max(threads, 2)):
            now = list(self._pieces(rows, batch, lengths, prepare))
            yield from behind
            behind = now
        yield from behind

    def _pieces(
        self, rows: Rows, batch: Batch | None, lengths: Rows, prepare: Callable[[Rows], Batch]
    ) -> Iterator[tuple[Rows, torch.Tensor]]:
        """Run one batch, or where it is over the budget or memory its parts."""
        size = len(rows) * int(lengths[rows].max())
        if size <= self.budget or len(rows) == 1:
            result = self._attempt(rows, batch or prepare(rows))
            if result is not None:
                yield rows, result
                return
            # Another thread may have halved it already.
            self.budget = min(self.budget, max(size // 2, 1))
            logger.info("memory is short: going on with %d tokens a batch", self.budget)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        del batch
        for part in length_buckets(lengths[rows], self.budget):
            yield from self._pieces(rows[part], None, lengths, prepare)

    def _attempt(self, rows: Rows, batch: Batch) -> torch.Tensor | None:
        """Run a batch; None if memory did not suffice (nothing of it is held when this returns)."""
        try:
            with torch.inference_mode():
                return self.model(*(t.to(self.device, non_blocking=True) for t in batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise ModelError(
                    f"the memory of {self.device} does not suffice for a single cell of "
                    f"{batch[0].shape[-1]} tokens. Use a smaller model or another device, or free memory."
                ) from error
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: CUDA's has a type, the others a text."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)
