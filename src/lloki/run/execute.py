"""Independent units of work, run here, on local processes, or on a Dask cluster: the same results from each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from lloki._log import logger
from lloki._parallel import n_threads
from lloki.errors import ConfigError, MissingExtraError, RunError

U = TypeVar("U")
R = TypeVar("R")

ATTEMPTS = 3  # of a unit whose worker died; a unit that keeps killing workers must not loop for ever


def run_units(
    function: Callable[[U], R],
    units: Sequence[U],
    *,
    workers: int = 1,
    scheduler: str | None = None,
) -> Iterator[R]:
    """Yield the results of ``function(unit)`` in the order in which units end.

    Parameters
    ----------
    function, units
        Picklable. A unit writes its result to its own file, so nothing large travels.
    workers
        Local processes; 1 stays in this one.
    scheduler
        Address of a Dask scheduler whose workers see the same file system.

    Raises
    ------
    RunError
        If workers die again and again.
    """
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    if scheduler:
        yield from _on_dask(function, units, scheduler)
    elif workers == 1 or len(units) < 2:
        yield from map(function, units)
    else:
        yield from _on_processes(function, units, workers)


def _on_processes(function: Callable[[U], R], units: Sequence[U], workers: int) -> Iterator[R]:
    """A process pool that is made anew when a worker is killed, for the units that were not finished."""
    left, deaths = list(range(len(units))), 0
    while left:
        done: set[int] = set()
        threads = max(1, n_threads() // workers)
        # spawn: a forked child of a process whose libraries run threads can hang
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_limit_threads, initargs=(threads,)
        )
        try:
            futures: dict[Future[R], int] = {pool.submit(function, units[i]): i for i in left}
            for future in as_completed(futures):
                result = future.result()
                done.add(futures[future])
                yield result
        except BrokenProcessPool as error:
            deaths += 1
            if deaths >= ATTEMPTS:
                raise RunError(
                    f"worker processes died {deaths} times; the last time {len(left) - len(done)} units were left. "
                    "The usual cause is too little memory: use fewer workers."
                ) from error
            logger.warning("A worker process died; its unit is run again.")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        left = [i for i in left if i not in done]


def _limit_threads(threads: int) -> None:
    os.environ["LLOKI_THREADS"] = str(threads)


def _on_dask(function: Callable[[U], R], units: Sequence[U], scheduler: str) -> Iterator[R]:
    try:
        from distributed import Client
        from distributed import as_completed as dask_completed
    except ImportError as error:
        raise MissingExtraError("distributed", "distributed", "A Dask scheduler") from error
    try:
        client = Client(scheduler, timeout="10s")
    except OSError as error:
        raise RunError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client:
        # pure=False: a unit's function writes a file, so a remembered result of an earlier run must not stand in
        futures = client.map(function, units, pure=False)
        for future in dask_completed(futures):
            yield future.result()
