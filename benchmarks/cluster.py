"""What the client of a Dask cluster holds, for growing numbers of slices and of cells in each.

    python benchmarks/cluster.py                                  # 8 workers; 10, 20, 40 x 2,000; 40 x 5,000
    python benchmarks/cluster.py --workers 4 --sizes 4x500 8x500  # a quick look

A scheduler and workers of one thread each on this machine's loopback run ``lloki integrate --no-map
--scheduler`` on made-up tissue of two platforms. The resident memory of the client is read every 50 ms, and
its peak taken twice: until the results are being written (the folder ``model`` appears), and over the whole
run. A line through the peaks, base + bytes x cells, says what the client holds of each cell; that the number
of slices adds nothing is seen in the remainder of each row. CPU-seconds are those of all processes.

The last lines extrapolate to 200 slices of 50,000 cells. They assume that the line continues, that the work
of a slice grows with its cells by the exponent between the two sizes of slices measured, and that training
does as many steps.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from lloki.datasets import ALPHAFISH, BETASEQ, tissue

GENES, TARGET = 400, (200, 50_000)
SHORT = "batch_size = 256\nrefreshes = 0\npair_cells = 500\nmnn_rounds = 0\ncomponents = 0\n"
STAGES = ("slices", "obs", "features", "summary", "embedding", "training", "encode", "view", "held_out")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="*", default=["10x2000", "20x2000", "40x2000", "40x5000"])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100, help="of training")
    parser.add_argument("--short", action="store_true", help="hardly train, on a busy machine")
    parser.add_argument("--port", type=int, default=18787)
    parser.add_argument("--rows", type=Path, help="file of measured rows: added to, and all are reported on")
    options = parser.parse_args()
    rows = []
    tasks = " | ".join(STAGES)
    print(
        f"| slices x cells | {tasks} | wall, s | CPU-s of workers | CPU-s of client | largest worker, MB ",
        end="",
    )
    print("| client until writing, MB | client, MB |")
    print("|" + "---|" * (len(STAGES) + 7))
    for size in options.sizes:
        slices, cells = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            row = measured(Path(folder), slices, cells, options)
        rows.append(row)
        if options.rows:
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
        counts = " | ".join(str(row["tasks"].get(stage, 0)) for stage in STAGES)
        print(
            f"| {slices} x {cells:,} | {counts} | {row['wall']:.0f} | {row['work']:.0f} | {row['cpu']:.0f} "
            f"| {row['worker']:.0f} | {row['before']:.0f} | {row['peak']:.0f} |",
            flush=True,
        )
    if options.rows and options.rows.exists():
        rows = [json.loads(line) for line in options.rows.read_text().splitlines()]
    if len(rows) > 2:
        report(rows)


def report(rows: list[dict]) -> None:
    """Fit base + bytes x cells to the client's peaks, and extrapolate."""
    cells = np.array([row["slices"] * row["cells"] for row in rows], float)
    many = TARGET[0] * TARGET[1]
    for key, name in (("before", "until results are written"), ("peak", "whole run")):
        peaks = np.array([row[key] for row in rows])
        slope, base = np.polyfit(cells, peaks, 1)
        off = ", ".join(f"{x:+.0f}" for x in peaks - (base + slope * cells))
        print(f"client, {name}: {base:.0f} MB + {slope * 2**20:.0f} bytes a cell (rows differ by {off} MB)")
        print(f"  at {TARGET[0]} x {TARGET[1]:,}: {(base + slope * many) / 2**10:.1f} GB")
    most = max(row["slices"] for row in rows)
    alike = sorted((row for row in rows if row["slices"] == most), key=lambda row: row["cells"])
    if len(alike) > 1:
        small, large = alike[0], alike[-1]
        power = np.log(large["work"] / small["work"]) / np.log(large["cells"] / small["cells"])
        each = large["work"] / most * (TARGET[1] / large["cells"]) ** power
        print(
            f"workers: CPU-s of a slice grow with cells^{power:.2f}; {each:.0f} at {TARGET[1]:,} cells, ",
            end="",
        )
        print(f"{each * TARGET[0] / 3600:.1f} CPU-hours for {TARGET[0]} slices")
    # of the run with most cells: there, map and clusters have tasks a slice as well
    counts = {stage: alike[-1]["tasks"].get(stage, 0) for stage in STAGES}
    planned = {stage: n + TARGET[0] - most if n >= most else n for stage, n in counts.items()}
    print("tasks:", ", ".join(f"{stage} {n}" for stage, n in planned.items()))


def measured(folder: Path, slices: int, cells: int, options: argparse.Namespace) -> dict:
    """Run once, and read memory and time."""
    platforms = tuple((ALPHAFISH, BETASEQ)[i % 2] for i in range(slices))
    made = tissue(n_cells=cells, n_reference=1000, n_genes=GENES, platforms=platforms, seed=3)
    *paths, reference = made.write(folder / "slices")
    del made
    # no second pass on the network's inputs, so that runs of all sizes do the same work
    settings = f'[cae]\nsteps = {options.steps}\noutput = "latent"\n{SHORT if options.short else ""}'
    (folder / "config.toml").write_text(settings)
    out = folder / "run"
    command = [sys.executable, "-m", "lloki", "integrate", *map(str, paths), "--reference", str(reference)]
    command += ["--config", str(folder / "config.toml"), "--no-map", "--benchmark", "none"]
    command += ["--scheduler", f"tcp://127.0.0.1:{options.port}", "--out", str(out)]
    with cluster(options.workers, options.port, folder) as servers:
        started = time.perf_counter()
        with (folder / "log").open("w") as log:
            run = subprocess.Popen(command, stdout=log, stderr=log)
        watch = Watch(run.pid, out / "model")
        before = sum(map(_cpu, servers))
        run.wait()
        wall = time.perf_counter() - started
        work = sum(map(_cpu, servers)) - before
        watch.join()
    if run.returncode:
        raise SystemExit((folder / "log").read_text()[-3000:])
    record = json.loads((out / "run.json").read_text())
    there = [s for s in record["stages"] if s["stage"] not in ("check", "write", "fit", "held_out")]
    return {
        "slices": slices,
        "cells": cells,
        "wall": wall,
        "work": work,
        "cpu": watch.cpu,
        "worker": max(s["peak_rss_mb"] for s in there),
        "before": watch.before / 2**20,
        "peak": watch.peak / 2**20,
        "tasks": dict(Counter(s["stage"] for s in record["stages"])),
    }


class Watch(threading.Thread):
    """Reads the memory of a process until it ends; ``before`` is its peak while ``mark`` is not there."""

    def __init__(self, pid: int, mark: Path) -> None:
        super().__init__(daemon=True)
        self.process, self.mark = psutil.Process(pid), mark
        self.before = self.peak = 0
        self.cpu = 0.0
        self.start()

    def run(self) -> None:
        with suppress(psutil.Error):
            while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
                rss, spent = self.process.memory_info().rss, self.process.cpu_times()
                self.peak, self.cpu = max(self.peak, rss), spent.user + spent.system
                if not self.mark.exists():
                    self.before = max(self.before, rss)
                time.sleep(0.05)


def _cpu(server: subprocess.Popen) -> float:
    """CPU-seconds of a server and its children."""
    total = 0.0
    with suppress(psutil.Error):
        one = psutil.Process(server.pid)
        for process in (one, *one.children(recursive=True)):
            spent = process.cpu_times()
            total += spent.user + spent.system
    return total


@contextmanager
def cluster(workers: int, port: int, folder: Path) -> Iterator[list[subprocess.Popen]]:
    """A scheduler and so many workers of one thread on this machine."""
    place = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    quiet: dict = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    one = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder / "dask")]
    commands = [[sys.executable, "-m", "distributed.cli.dask_scheduler", *place]]
    commands += [
        [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", *one]
    ] * workers
    quiet["env"] = os.environ | {"LLOKI_THREADS": "1"}
    servers = [subprocess.Popen(command, **quiet) for command in commands]
    try:
        yield servers
    finally:
        for server in servers:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


if __name__ == "__main__":
    main()
