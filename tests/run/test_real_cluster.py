"""A Dask cluster of processes on this machine, of which some are killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from killable import slow

from lloki.errors import RunError
from lloki.run.execute import Workers

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Server = subprocess.Popen


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def start(address: str, tmp_path: Path) -> Iterator[Callable[[], list[Server]]]:
    """Start a scheduler and two workers, each with a nanny that starts it again."""
    started: list[Server] = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    host, port = address.removeprefix("tcp://").split(":")
    one = [address, "--nthreads", "1", "--nworkers", "1", "--local-directory", str(tmp_path / "dask")]
    modules = [("dask_scheduler", ["--host", host, "--port", port]), *[("dask_worker", one)] * 2]

    def cluster() -> list[Server]:
        servers = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *given],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for module, given in modules
        ]
        started.extend(servers)
        return servers

    yield cluster
    for server in started:
        kill(server)


def kill(server: Server) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def kill_below(server: Server) -> None:
    """Kill the worker, not its nanny."""
    for child in psutil.Process(server.pid).children():
        child.kill()


def connected(address: str) -> Workers:
    """Wait for the scheduler and its two workers: they take seconds to start."""
    import distributed

    with distributed.Client(address, timeout="300s", set_as_default=False) as client:
        client.wait_for_workers(2, timeout=300)
    return Workers(scheduler=address)


@pytest.mark.parametrize("how", [kill, kill_below])
def test_a_worker_that_is_killed(how, address, start, tmp_path):
    """Its unit is run again, whether another worker does it or the same one, started again."""
    servers = start()
    with connected(address) as workers:
        workers.check_sight(tmp_path)
        units = [(tmp_path, i) for i in range(8)]
        found = workers.run(slow, units)
        done = [next(found)]
        how(servers[1])
        done += found
    assert sorted(done) == list(range(8))
    assert all((tmp_path / str(i)).exists() for i in range(8))


def test_a_scheduler_that_is_killed(address, start, tmp_path, monkeypatch):
    """A sentence; on a new cluster the same units are done."""
    monkeypatch.setattr("lloki.run.execute._LOST_S", 3.0)
    servers, units = start(), [(tmp_path, i) for i in range(8)]
    with connected(address) as workers:
        found = workers.run(slow, units)
        next(found)
        kill(servers[0])
        with pytest.raises(RunError, match=r"the Dask scheduler at .* was lost\. What was finished is kept"):
            list(found)
    for server in servers[1:]:
        kill(server)
    start()
    with connected(address) as workers:
        assert sorted(workers.run(slow, units)) == list(range(8))
