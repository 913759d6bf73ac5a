"""Units on local processes and on Dask: the same results as in one process, whatever dies."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from killable import die_once, fail, process, threads

from lloki.errors import ConfigError, GeneError, MissingExtraError, RunError
from lloki.run import units
from lloki.run.execute import ATTEMPTS, Workers, _InSight
from lloki.run.store import Piece
from lloki.run.units import Unit, compute


def _worker_processes() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [c for c in children if "spawn_main" in " ".join(c.cmdline())]


class _KillOneWorker:
    """A progress display that kills a worker process when the first slice is through a stage."""

    def __init__(self, stage: str) -> None:
        self.stage, self.killed = stage, False

    def task(self, description: str, total: int, unit: str = "cells"):
        def advance(n: int) -> None:
            if description == self.stage and not self.killed:
                self.killed = True
                _worker_processes()[0].kill()

        return advance


def test_a_worker_killed_in_the_middle_changes_nothing(base, integrate, same, status, caplog):
    killer = _KillOneWorker("Aligning features")
    with caplog.at_level(logging.WARNING, logger="lloki"):
        result = integrate(workers=2, progress=killer)
    assert killer.killed
    assert "A worker process died; its units are run again." in caplog.text
    for stage in ("features", "summary", "embedding"):
        assert len(status(result, stage)) == 3
    same(base, result)
    assert not _worker_processes()


def test_a_pool_of_workers(tmp_path, monkeypatch):
    """One pool for all stages of a run; an error ends the stage, a death only costs another try."""
    monkeypatch.setenv("LLOKI_THREADS", "4")
    marks = [tmp_path / name for name in "ab"]
    marks[1].touch()
    with Workers(2) as workers:
        used = set(workers.run(process, range(6)))
        assert os.getpid() not in used
        assert {p.pid for p in _worker_processes()} >= used
        assert set(workers.run(threads, range(4))) == {"2"}
        with pytest.raises(GeneError) as caught:
            list(workers.run(fail, ["slice_1", "slice_2"]))
        assert caught.value.where.startswith("slice_")
        assert caught.value.hint == "Rename them."
        assert sorted(workers.run(die_once, marks)) == ["a", "b"]
        assert not {p.pid for p in _worker_processes()} & used
    assert not _worker_processes()


def test_workers_that_always_die_end_the_run(monkeypatch):
    started = []

    class Dying:
        def __init__(self, *args: Any, **options: Any) -> None:
            started.append(self)

        def submit(self, *args: Any) -> Future[None]:
            future: Future[None] = Future()
            future.set_exception(BrokenProcessPool("killed"))
            return future

        def shutdown(self, **options: Any) -> None:
            pass

    monkeypatch.setattr("lloki.run.execute.ProcessPoolExecutor", Dying)
    with Workers(2) as workers, pytest.raises(RunError, match=f"died {ATTEMPTS} times; 2 units.*__main__"):
        list(workers.run(process, [1, 2]))
    assert len(started) == ATTEMPTS


def test_a_script_without_main_guard_is_told(tmp_path):
    """Each worker imports the script: it ends where it would start workers itself, and the run says why."""
    (tmp_path / "run.py").write_text(
        "import killable\n"
        "from lloki.run.execute import Workers\n"
        "with Workers(2) as workers:\n"
        "    print(*workers.run(killable.process, range(4)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(tmp_path / "run.py")]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.splitlines()[-1].startswith("lloki.errors.RunError: workers import the script")


def test_a_script_from_standard_input_cannot_start_workers():
    script = "from lloki.run.execute import Workers; Workers(1); print('one'); Workers(2)"
    run = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)
    assert run.stdout == "one\n"
    assert "ConfigError: workers import the script" in run.stderr
    assert "standard input" in run.stderr


@pytest.mark.slow
def test_workers_end_with_a_killed_run(tmp_path):
    """Nobody is left behind, waiting for work for ever."""
    (tmp_path / "run.py").write_text(
        "import time, killable\n"
        "from lloki.run.execute import Workers\n"
        "if __name__ == '__main__':\n"
        "    with Workers(2) as workers:\n"
        "        print(*workers.run(killable.process, range(4)), flush=True)\n"
        "        time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.Popen(
        [sys.executable, tmp_path / "run.py"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert run.stdout is not None
    workers = {int(pid) for pid in run.stdout.readline().split()}
    assert workers
    run.send_signal(signal.SIGKILL)
    run.wait()
    gone = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in workers) and time.monotonic() < gone:
        time.sleep(0.1)
    alive = [pid for pid in workers if psutil.pid_exists(pid)]
    zombies = [pid for pid in alive if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE]
    assert alive == zombies


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two"])
def test_numbers_of_workers(workers, integrate, tmp_path):
    with pytest.raises(ConfigError, match="workers must be a whole number"):
        integrate(workers=workers)
    assert not (tmp_path / "run").exists()


def test_dask_gives_the_same(base, integrate, same, status):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        result = integrate(scheduler=cluster.scheduler_address)
    assert set(status(result, "features")) == set(status(result, "embedding")) == {"computed"}
    same(base, result)


def test_no_scheduler_is_said_before_any_work(integrate, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    import distributed

    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda a, timeout, **k: real(a, timeout="1s", **k))
    with pytest.raises(RunError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "):
        integrate(scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_dask_workers_do_not_see(tmp_path):
    class Elsewhere:
        def run(self, function, *args, on_error):
            return {"tcp://far:1": True, "tcp://lost:1": OSError("closed"), "tcp://farther:1": False}

    workers = Workers(scheduler="tcp://far:8786")
    workers._client = Elsewhere()
    with pytest.raises(RunError, match=r"is not there on the Dask worker tcp://farther:1"):
        workers.check_sight(tmp_path)


class _Asked:
    """A Dask client whose every question ends as given."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.closed = answer, False

    def run(self, function: Any, *args: Any, on_error: str) -> Any:
        assert on_error == "return"
        if isinstance(self.answer, BaseException):
            raise self.answer
        return {"tcp://far:1": True, "tcp://other:1": self.answer}

    def run_on_scheduler(self, function: Any) -> Any:
        raise self.answer

    def scheduler_info(self) -> Any:
        raise self.answer

    def close(self, timeout: float) -> None:
        self.closed = True


def _asking(answer: Any) -> Workers:
    workers = Workers(scheduler="tcp://far:8786")
    workers._client = _Asked(answer)
    return workers


def test_a_worker_that_is_killed_while_it_is_asked_is_none_that_does_not_see(tmp_path):
    class Closed(_Asked):
        def run(self, function, *args, on_error):
            return {"tcp://far:1": True, "tcp://killed:1": OSError("stream is closed")}

    workers = Workers(scheduler="tcp://far:8786")
    workers._client = Closed(None)
    workers.check_sight(tmp_path)


def test_a_worker_without_lloki_is_named_before_any_work(tmp_path):
    class Bare(_Asked):
        def run(self, function, *args, on_error):
            return {"tcp://far:1": ModuleNotFoundError("No module named 'lloki'")}

    workers = Workers(scheduler="tcp://far:8786")
    workers._client = Bare(None)
    with pytest.raises(RunError, match=r"No module named .* Each worker needs this version"):
        workers.check_sight(tmp_path)


@pytest.mark.parametrize("ask", [lambda w, folder: w.check_sight(folder), lambda w, _: w.have_gpu()])
@pytest.mark.parametrize("error", [OSError("stream is closed"), CancelledError()])
def test_a_scheduler_that_is_killed_while_it_is_asked(ask, error, tmp_path):
    with pytest.raises(RunError, match=r"scheduler at tcp://far:8786 was lost\. What was finished is kept"):
        ask(_asking(error), tmp_path)


def test_a_scheduler_that_is_killed_while_a_run_connects(monkeypatch, tmp_path):
    """Whether there are workers is not worth an end; the next question says it, and the client is closed."""
    asked = _Asked(OSError("closed"))
    monkeypatch.setattr("lloki.run.execute._connect", lambda scheduler: asked)
    with pytest.raises(RunError, match="was lost"), Workers(scheduler="tcp://far:8786") as workers:
        workers.check_sight(tmp_path)
    assert asked.closed


class _Future:
    """A Dask future that has ended as given."""

    def __init__(self, status: str, result: Any = None) -> None:
        self.status, self._result = status, result

    def result(self, timeout: float) -> Any:
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


class _Client:
    """A Dask client whose units end as given; ``after`` is its status once they were looked at."""

    def __init__(self, futures: list[_Future], after: str = "running") -> None:
        self.futures, self.status, self.cancelled = futures, after, 0

    def map(self, function: Any, units: list[Any], pure: bool, **where: Any) -> list[_Future]:
        return self.futures

    def cancel(self, futures: list[_Future]) -> None:
        self.cancelled = len(futures)

    def scheduler_info(self) -> dict[str, Any]:
        return {"workers": {}}

    def close(self, timeout: float) -> None:
        raise OSError("the scheduler is gone")


def _on_dask(*futures: _Future, after: str = "running") -> Workers:
    workers = Workers(scheduler="tcp://far:8786")
    workers._client = _Client(list(futures), after)
    return workers


def test_a_scheduler_that_is_lost_while_units_run_is_given_its_time(monkeypatch):
    """That it does not answer a question is no end: it may come back."""
    workers, late = _on_dask(_Future("pending", "a")), _Future("pending", "a")
    workers._client.futures = [late]
    asked = []

    def nobody() -> Any:
        asked.append(1)
        if len(asked) == 3:
            late.status = "finished"
        raise OSError("stream is closed")

    monkeypatch.setattr(workers._client, "scheduler_info", nobody)
    assert list(workers.run(process, ["a"])) == ["a"]


@pytest.mark.parametrize(
    "ended", [_Future("pending"), _Future("cancelled"), _Future("finished", TimeoutError())]
)
def test_a_scheduler_that_is_lost(ended: _Future) -> None:
    workers = _on_dask(_Future("finished", "a"), ended, after="closed")
    found = workers.run(process, ["a", "b"])
    assert next(found) == "a"
    with pytest.raises(RunError, match=r"scheduler at tcp://far:8786 was lost\. What was finished is kept"):
        next(found)
    workers.__exit__(None, None, None)  # though closing fails


def test_a_scheduler_that_does_not_come_back(monkeypatch) -> None:
    monkeypatch.setattr("lloki.run.execute._LOST_S", 0.2)
    with pytest.raises(RunError, match="was lost"):
        list(_on_dask(_Future("pending"), after="connecting").run(process, ["a"]))


def test_waiting_for_workers_is_said(monkeypatch, caplog) -> None:
    monkeypatch.setattr("lloki.run.execute._ALONE_S", 0.1)
    late = _Future("pending", "a")
    monkeypatch.setattr("lloki.run.execute.logger.warning", lambda *text: setattr(late, "status", "finished"))
    assert list(_on_dask(late).run(process, ["a"])) == ["a"]


def test_dask_workers_that_fail() -> None:
    distributed = pytest.importorskip("distributed")
    killed = distributed.KilledWorker("unit", SimpleNamespace(address="tcp://far:1"), 3)
    for error, text in [
        (killed, "workers died again and again .* The same command resumes"),
        (ModuleNotFoundError("No module named 'lloki'"), "No module named .* Each worker needs this version"),
        (GeneError("has no gene", where="w"), "has no gene"),
    ]:
        with pytest.raises((RunError, GeneError), match=text):
            list(_on_dask(_Future("error", error)).run(process, ["a"]))


def test_a_worker_that_goes_blind_later(tmp_path, monkeypatch) -> None:
    """Each unit asks first, so that a worker does not write into a folder of its own."""
    distributed = pytest.importorskip("distributed")

    class Worker:
        address = "tcp://far:2"

    monkeypatch.setattr(distributed, "get_worker", Worker)
    mark = tmp_path / "work" / ".sight.0123456789ab.part"
    mark.parent.mkdir()
    mark.touch()
    task = pickle.loads(pickle.dumps(_InSight(process, str(mark))))
    assert task("a") == os.getpid()
    mark.unlink()
    with pytest.raises(RunError, match=r"work is not there on the Dask worker tcp://far:2\. Choose a place"):
        task("a")


def test_a_result_that_does_not_arrive(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("lloki.run.execute._ARRIVAL_S", 0.2)
    with pytest.raises(RunError, match=r"a\.npz: a worker has written it, and it is not here"):
        Workers(scheduler="tcp://far:8786").require_result(tmp_path / "a.npz")


def test_a_unit_without_memory_is_a_sentence(tmp_path, monkeypatch) -> None:
    def full(unit: Any, advance: Any) -> None:
        raise MemoryError

    unit = Unit(piece=Piece("features", "a", "k", tmp_path / "a.npz"), cells=1)
    monkeypatch.setitem(units._COMPUTE, Unit, full)
    with pytest.raises(RunError, match="a: the memory is too small for the stage 'features'"):
        compute(unit)


@pytest.mark.parametrize(
    "error",
    [GeneError("x", where="w", slot="s", hint="m"), MissingExtraError("p", "e", "It"), RunError("r")],
)
def test_errors_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
