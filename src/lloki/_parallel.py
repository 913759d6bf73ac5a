"""Threads that do not change results.

A BLAS library splits a product differently on two threads than on one, and the last bits of the results
differ; a neighbor list or a long training run makes differences of that size visible. So every stage cuts
its work into chunks whose size does not depend on the number of threads, computes each chunk on one thread,
keeps the libraries inside a chunk single-threaded, and reduces in the order of the chunks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from lloki._settings import settings

T = TypeVar("T")
R = TypeVar("R")


def n_threads() -> int:
    """Threads to use: ``lloki.settings.threads``, else ``LLOKI_THREADS``, else the available cores."""
    if settings.threads is not None:
        return settings.threads
    asked = os.environ.get("LLOKI_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


_found: tuple[int, ThreadpoolController] | None = None


def _libraries() -> ThreadpoolController:
    """Libraries with threads of their own. To look for them takes 10 ms: only after an import."""
    global _found
    modules = len(sys.modules)  # a library is loaded by a module
    if _found is None or _found[0] != modules:
        _found = modules, ThreadpoolController()
    return _found[1]


_limit_lock = Lock()
_limit_users = 0
_limit = ExitStack()


@contextmanager
def single_threaded() -> Iterator[None]:
    """BLAS, OpenMP and torch use one thread inside the block; restored when the last such block is left.

    The setting is the process's: only the outermost of nested or concurrent blocks sets it.
    """
    global _limit_users
    with _limit_lock:
        if _limit_users == 0:
            import torch

            _limit.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
            _limit.enter_context(_libraries().limit(limits=1))
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if _limit_users == 0:
                _limit.close()


def map_ordered(function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None) -> Iterator[R]:
    """Yield ``function(item)`` in the order of ``items``, computed on ``threads`` threads.

    At most ``2 x threads`` results wait at a time, so memory is bounded. ``function`` must release the GIL
    for the threads to help (numpy and torch products, numba with ``nogil=True``).
    """
    threads = threads or n_threads()
    with single_threaded():
        if threads == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(threads) as pool:
            waiting = []
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()


def blocks(n: int, size: int) -> list[slice]:
    """Cut ``range(n)`` into slices of ``size``; the cut depends on ``n`` and ``size`` alone."""
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
