"""Tests on a real task that a run resumes after being killed and does not depend on how it is computed.

    python benchmarks/robustness.py TASK OUT

TASK is a folder of slices with reference.h5ad. Runs `lloki integrate` as a separate process: undisturbed;
killed with SIGKILL at three points and restarted; on two workers, one of them killed; with one thread;
with the slices in another order. Prints the units that were reused and the largest difference of X_lloki.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import psutil

CONFIG = "[cae]\nsteps = 300\n"  # enough to show it


def start(
    slices: list[Path], reference: Path, out: Path, *options: str, threads: int = 2
) -> subprocess.Popen[bytes]:
    config = out.parent / "config.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("lloki")), "integrate", *map(str, slices)]
    command += ["--reference", str(reference), "--out", str(out), "--config", str(config), *options]
    environment = os.environ | {"LLOKI_THREADS": str(threads)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(*arguments: object, **named: object) -> None:
    if start(*arguments, **named).wait():  # type: ignore[arg-type]
        raise SystemExit("a run failed")


def pieces(out: Path, stage: str) -> int:
    return len([f for f in (out / "work" / stage).glob("*") if not f.name.startswith(".")])


def difference(one: Path, other: Path) -> float:
    a, b = (ad.read_h5ad(path / "integrated.h5ad") for path in (one, other))
    return float(np.abs(a.obsm["X_lloki"] - b[a.obs_names].obsm["X_lloki"]).max())


def reused(out: Path) -> str:
    stages = json.loads((out / "run.json").read_text())["stages"]
    return f"{sum(s['status'] == 'reused' for s in stages)} units reused"


def main(task: Path, out: Path) -> None:
    slices = sorted(f for f in task.glob("*.h5ad") if f.stem != "reference")
    reference = task / "reference.h5ad"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plain = out / "plain"
    finish(slices, reference, plain)
    killed = out / "killed"
    points = {
        "features": lambda: pieces(killed, "features") >= 2,
        "embedding": lambda: pieces(killed, "embedding") >= 1,
        "training": lambda: pieces(killed, "embedding") == len(slices) and (time.sleep(5) or True),
    }
    for name, reached in points.items():
        run = start(slices, reference, killed)
        while run.poll() is None and not reached():
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        done = [f"{stage} {pieces(killed, stage)}" for stage in ("features", "embedding", "cae")]
        print(f"killed in {name}; pieces finished: {', '.join(done)}")
    finish(slices, reference, killed)
    print(f"kill -9 three times: {reused(killed)}, difference {difference(plain, killed)}")

    workers = out / "workers"
    run = start(slices, reference, workers, "--workers", "2")
    victim = None
    while run.poll() is None and victim is None:
        if pieces(workers, "features") >= 1:
            spawned = [c for c in psutil.Process(run.pid).children() if "spawn_main" in " ".join(c.cmdline())]
            victim = spawned[0] if spawned else None
        time.sleep(0.01)
    if victim:
        victim.kill()
    if run.wait():
        raise SystemExit("the run with a killed worker failed")
    print(f"two workers, one killed ({victim is not None}): difference {difference(plain, workers)}")

    for name, order, threads in (("one thread", slices, 1), ("slices reversed", slices[::-1], 2)):
        folder = out / name.replace(" ", "_")
        finish(order, reference, folder, threads=threads)
        print(f"{name}: difference {difference(plain, folder)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
