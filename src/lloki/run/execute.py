"""Independent units of work, run here, on local processes or on a Dask cluster, with the same results."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import current_process, get_context, parent_process
from pathlib import Path
from typing import Any, TypeVar

from lloki._log import logger
from lloki._parallel import n_threads
from lloki.errors import ConfigError, LlokiError, MissingExtraError, RunError

U = TypeVar("U")
R = TypeVar("R")

ATTEMPTS = 3  # pools of processes for one set of units: a unit that keeps killing them must not loop for ever
_CLOSE_S, _LOOK_S, _ARRIVAL_S = 5.0, 0.05, 10.0
_GPU = "GPU"  # what a Dask worker with one is started with: --resources GPU=1
_LOST_S = 30.0  # without a scheduler: it may come back
_ALONE_S = 60.0  # without workers, until that is reported
# One unit at a time in a Dask worker, whatever its threads: a unit uses all cores, and two at once can fail
# on Python 3.11 when both read files or compile (SystemError: AST constructor recursion depth mismatch).
_ALONE = threading.Lock()
# What asking a scheduler that is gone ends with; Dask's closed connections are errors of input and output.
_GONE = (OSError, CancelledError)
_UNGUARDED = 73  # exit status of a worker that would run the script that started it once more


class Workers:
    """Where units are computed: ``with Workers(2) as workers``.

    Parameters
    ----------
    processes
        Local processes; 1 stays in this one. They are started when first needed, share the threads, and end
        with the process that started them, even if that is killed.
    scheduler
        Address of a Dask scheduler whose workers see the same file system, in place of local processes.

    Raises
    ------
    ConfigError
        If ``processes`` is no positive number, or the script comes from standard input, so that several
        processes cannot import it.
    MissingExtraError
        If a scheduler is named and Dask is not installed.
    RunError
        If no scheduler answers.
    """

    def __init__(self, processes: int = 1, scheduler: str | None = None) -> None:
        if not isinstance(processes, int) or processes < 1:
            raise ConfigError(f"workers must be a whole number of at least 1, got {processes!r}")
        if processes > 1 and str(getattr(sys.modules["__main__"], "__file__", "")).startswith("<"):
            raise ConfigError(
                "workers import the script that starts them, and this one is read from standard input. Save "
                "it in a file, or use workers=1."
            )
        if processes > 1 and getattr(current_process(), "_inheriting", False):
            os._exit(_UNGUARDED)  # this is a worker that imports its script; Python would refuse it later
        self.processes, self.scheduler = processes, scheduler
        self._pool: ProcessPoolExecutor | None = None
        self._client: Any = None
        self._mark: Path | None = None

    @property
    def here(self) -> bool:
        """Whether units are computed in this process."""
        return self.processes == 1 and not self.scheduler

    def __enter__(self) -> Workers:
        if self.scheduler:
            self._client = _connect(self.scheduler)
            if not self._staffed():
                logger.warning(
                    "The Dask scheduler at %s has no workers yet: waiting for them.", self.scheduler
                )
        return self

    def __exit__(self, *exception: object) -> None:
        if self._mark is not None:
            with suppress(OSError):
                self._mark.unlink()
        if self._client is not None:
            with suppress(Exception):  # of a scheduler that is gone
                self._client.close(timeout=_CLOSE_S)
        # who stops a run does not wait for the units that are being computed
        self._end_pool(kill=bool(exception) and isinstance(exception[1], KeyboardInterrupt))

    def check_sight(self, folder: Path) -> None:
        """Say if a Dask worker does not see a folder, which exists here: results are passed on as files.

        Workers that come later are asked before each unit, and so are those that are lost while they are
        asked here.

        Raises
        ------
        RunError
            With the worker's address; or if the scheduler is lost.
        """
        if self._client is None:
            return
        # by a file of this run, as another machine may have a folder of that name; a run sweeps it up
        self._mark = folder / f".sight.{uuid.uuid4().hex[:12]}.part"
        self._mark.touch()
        with self._answered():
            answers = self._client.run(_sees, str(self._mark), on_error="return")
        for address, sees in answers.items():
            if isinstance(sees, Exception) and not isinstance(sees, OSError):
                raise _failed(sees) from sees
            if sees is False:
                raise _blind(folder, address)

    def have_gpu(self) -> bool:
        """Whether some Dask worker was started with ``--resources GPU=1``."""
        if self._client is None:
            return False
        with self._answered():
            return bool(self._client.run_on_scheduler(_gpu_workers))

    def require_result(self, path: Path) -> None:
        """Say if what a Dask worker has written does not arrive here.

        Raises
        ------
        RunError
            After some seconds, in which network folders show new files.
        """
        last = time.monotonic() + (_ARRIVAL_S if self.scheduler else 0)
        while not path.exists():
            if time.monotonic() > last:
                raise RunError(
                    f"{path}: a worker has written it, and it is not here. All workers must share the "
                    "folder of "
                    "--out (out=), at the same path. Start the run again when they do."
                )
            time.sleep(0.1)

    def run(self, function: Callable[[U], R], units: Sequence[U], *, gpu: bool = False) -> Iterator[R]:
        """Yield the results of ``function(unit)`` in the order in which units end.

        Parameters
        ----------
        function, units
            Picklable, unless ``here``. A unit writes its result to its own file, so nothing large travels.
        gpu
            Send them to Dask workers that were started with ``--resources GPU=1``, see `have_gpu`.

        Raises
        ------
        RunError
            If workers die again and again, or run their script once more for want of a main guard; if the
            Dask scheduler is lost, or one of its workers does not see the run's folder.
        """
        if self._client is not None:
            return self._run_on_dask(function, units, gpu=gpu)
        if self.processes == 1 or len(units) < 2:
            return map(function, units)
        return self._run_on_processes(function, units)

    def _run_on_processes(self, function: Callable[[U], R], units: Sequence[U]) -> Iterator[R]:
        """Run units again, in a new pool, that were not finished when a process was killed."""
        left, deaths = list(range(len(units))), 0
        while left:
            done: set[int] = set()
            futures: dict[Future[R], int] = {}
            try:
                pool = self._start_pool()
                for i in left:
                    futures[pool.submit(function, units[i])] = i
            except BrokenProcessPool:
                pass  # what was submitted before is handled below
            for future in as_completed(futures):
                if not isinstance(future.exception(), BrokenProcessPool):
                    done.add(futures[future])
                    yield future.result()
            left = [i for i in left if i not in done]
            if not left:
                return
            unguarded = self._unguarded()
            self._end_pool()
            if unguarded:
                raise RunError(
                    "workers import the script that starts them, and it starts lloki outside of "
                    "`if __name__ == '__main__':`. Put the call under it, or use workers=1."
                )
            deaths += 1
            if deaths >= ATTEMPTS:
                raise RunError(
                    f"worker processes died {deaths} times; {len(left)} units are left. The usual cause is "
                    "too little memory: use fewer workers. In a script, the call must stand under "
                    "`if __name__ == '__main__':`, since workers import the script."
                )
            logger.warning("A worker process died; its units are run again.")

    def _start_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            threads = max(1, n_threads() // self.processes)
            # spawn: a forked child of a process whose libraries run threads can hang
            self._pool = ProcessPoolExecutor(
                self.processes, get_context("spawn"), initializer=_start_worker, initargs=(threads,)
            )
        return self._pool

    def _unguarded(self) -> bool:
        """Whether a worker ended since it came to the call that started it, in its script."""
        started = getattr(self._pool, "_processes", None) or {}
        return any(process.exitcode == _UNGUARDED for process in started.values())

    def _end_pool(self, *, kill: bool = False) -> None:
        if self._pool is not None:
            for process in (getattr(self._pool, "_processes", None) or {}).values() if kill else ():
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _run_on_dask(self, function: Callable[[U], R], units: Sequence[U], *, gpu: bool) -> Iterator[R]:
        # pure=False: a unit writes a file; the remembered result of an earlier run must not stand in for it
        task = _InSight(function, str(self._mark) if self._mark else "")
        where = {"resources": {_GPU: 1}} if gpu else {}
        futures = self._client.map(task, list(units), pure=False, **where)
        waiting = dict(zip(futures, units))
        connected = staffed = time.monotonic()
        try:
            while waiting:
                # looked at here and not waited for: waiting would not end with the scheduler
                done = [future for future in waiting if future.status != "pending"]
                for future in done:
                    unit = waiting.pop(future)
                    yield self._result(future, unit)
                now = time.monotonic()
                if self._client.status == "running":
                    connected = now
                elif now - connected > _LOST_S or self._client.status == "closed":
                    raise self._lost()
                if done or self._staffed():
                    staffed = now
                elif now - staffed > _ALONE_S:
                    logger.warning("The Dask scheduler at %s has no workers left: waiting.", self.scheduler)
                    staffed = now
                if not done:
                    time.sleep(_LOOK_S)
        finally:
            with suppress(Exception):  # of a scheduler that is gone
                self._client.cancel(list(waiting))

    def _result(self, future: Any, unit: Any) -> Any:
        from distributed import KilledWorker

        if future.status in ("cancelled", "lost"):
            raise self._lost()
        try:
            return future.result(timeout=_LOST_S)
        except LlokiError:
            raise
        except KilledWorker as error:
            raise RunError(
                f"Dask workers died again and again ({error}). The usual cause is too little memory a "
                "worker: give "
                "it more (--memory-limit), or fewer threads. The same command resumes from what is finished."
            ) from error
        except (CancelledError, TimeoutError) as error:
            raise self._lost() from error
        except Exception as error:
            raise _failed(error) from error

    def _staffed(self) -> bool:
        """Whether there are workers; a scheduler that does not answer is looked after by its status."""
        with suppress(*_GONE):
            return bool(self._client.scheduler_info()["workers"])
        return True

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Say if the scheduler is lost while it is asked."""
        try:
            yield
        except _GONE as error:
            raise self._lost() from error

    def _lost(self) -> RunError:
        return RunError(
            f"the Dask scheduler at {self.scheduler} was lost. What was finished is kept: start the "
            "scheduler and its "
            "workers, and the same command again."
        )


class _InSight:
    """A function that a Dask worker calls only if it sees the run's folder."""

    def __init__(self, function: Callable[[Any], Any], mark: str) -> None:
        self.function, self.mark = function, mark

    def __call__(self, unit: Any) -> Any:
        if self.mark and not _sees(self.mark):
            from distributed import get_worker

            raise _blind(Path(self.mark).parent, get_worker().address)
        with _ALONE:
            return self.function(unit)


def _failed(error: Exception) -> RunError:
    return RunError(
        f"a Dask worker failed with {type(error).__name__}: {error}. Each worker needs this "
        "version of "
        "lloki and of its dependencies. The same command resumes from what is finished."
    )


def _gpu_workers(dask_scheduler: Any) -> int:
    return sum(_GPU in worker.resources for worker in dask_scheduler.workers.values())


def _sees(path: str) -> bool:
    with suppress(OSError):
        os.listdir(os.path.dirname(path))  # a network folder then looks for new files
    return os.path.exists(path)


def _blind(folder: Path, address: str) -> RunError:
    return RunError(
        f"{folder} is not there on the Dask worker {address}. Choose a place with --out (out=) that all "
        "workers share, "
        "such as a network folder."
    )


def _connect(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("distributed", "distributed", "A Dask scheduler") from error
    try:
        return Client(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Dask scheduler answers at {scheduler} ({error}). Check the address, for example "
            "tcp://host:8786."
        ) from error


def _start_worker(threads: int) -> None:
    os.environ["LLOKI_THREADS"] = str(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it was killed: it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
