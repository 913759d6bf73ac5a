"""What a run did: timings, peak memory, versions; the content of ``run.json``."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from lloki._version import __version__

PACKAGES = ("anndata", "igraph", "numba", "numpy", "scipy", "torch", "umap-learn")


@dataclass
class StageRecord:
    """One unit of work: what it was, whether it was computed or found done, its cost."""

    stage: str
    unit: str
    key: str
    status: str = "computed"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0


@dataclass
class Recorder:
    """Collects the records of a run, and what was noted of them: (unit, text)."""

    stages: list[StageRecord] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def reused(self, stage: str, unit: str, key: str) -> None:
        """Note a piece that was there already."""
        self.stages.append(StageRecord(stage, unit, key, status="reused"))

    @contextmanager
    def measure(self, stage: str, unit: str, key: str = "") -> Iterator[None]:
        """Time a block of this process and note its peak memory."""
        with metered(stage, unit, key) as record:
            yield
        self.stages.append(record)

    def as_list(self) -> list[dict[str, Any]]:
        """Give the records as plain values, rounded."""
        return [
            asdict(r)
            | {name: round(getattr(r, name), 3) for name in ("seconds", "cpu_seconds")}
            | {"peak_rss_mb": round(r.peak_rss_mb, 1)}
            for r in self.stages
        ]


@contextmanager
def metered(stage: str, unit: str, key: str) -> Iterator[StageRecord]:
    """Measure a block: wall and CPU time, and this process's highest resident memory, sampled every 50 ms."""
    record = StageRecord(stage, unit, key)
    process, done = psutil.Process(os.getpid()), threading.Event()

    def sample() -> None:
        while not done.is_set():
            record.peak_rss_mb = max(record.peak_rss_mb, process.memory_info().rss / 2**20)
            done.wait(0.05)

    watcher = threading.Thread(target=sample, daemon=True)
    start, spent = time.perf_counter(), time.process_time()
    watcher.start()
    try:
        yield record
    finally:
        record.seconds, record.cpu_seconds = time.perf_counter() - start, time.process_time() - spent
        done.set()
        watcher.join()


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"lloki": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
