"""``kill -9`` at random moments over a whole run, on one process and on Dask: the same bits as undisturbed.

    python benchmarks/faults.py                    # 20 kills of the run, one process
    python benchmarks/faults.py --dask             # on a Dask cluster of two workers on this machine
    python benchmarks/faults.py --dask --victim worker restarted workers scheduler --kills 4
    python benchmarks/faults.py --signal TERM      # SIGTERM in place of SIGKILL

Victims, taken in turn: the ``run``; on Dask also one ``worker`` with its nanny, in whose place none comes; a
worker whose nanny starts it again (``restarted``); all ``workers``, in whose place others come; the
``scheduler``.

A small simulated tissue, ``lloki integrate`` with report. Each kill is at a moment drawn from the time that
the run takes when nothing disturbs it, in a folder of its own, followed by the same command until it ends
well. Every array of integrated.h5ad, every table and the model are then compared bit by bit with those of
the undisturbed run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import psutil

from lloki.datasets import ALPHAFISH, BETASEQ, tissue

PORT = 18786
VICTIMS = ("run", "worker", "restarted", "workers", "scheduler")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cells", type=int, default=150, help="of each of three slices")
    parser.add_argument("--steps", type=int, default=60, help="of training")
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--victim", nargs="+", choices=VICTIMS, default=["run"])
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.dask and set(options.victim) != {"run"}:
        parser.error("workers and a scheduler are there with --dask only")
    with tempfile.TemporaryDirectory() as here:
        folder = Path(here)
        made = tissue(
            n_cells=options.cells,
            n_reference=250,
            n_genes=400,
            platforms=(ALPHAFISH, BETASEQ, ALPHAFISH),
            seed=3,
        )
        *slices, reference = made.write(folder / "slices")
        config = folder / "config.toml"
        config.write_text(f"[cae]\nsteps = {options.steps}\nbatch_size = 256\n")
        command = [
            sys.executable,
            "-m",
            "lloki",
            "integrate",
            *map(str, slices),
            "--reference",
            str(reference),
        ]
        command += ["--label-key", "cell_type", "--config", str(config), "--benchmark", "none"]
        started = time.perf_counter()
        ended = _run([*command, "--out", str(folder / "base")])
        if ended.returncode:
            raise SystemExit(f"the undisturbed run failed: {ended.stderr}")
        whole = time.perf_counter() - started
        known = fingerprint(folder / "base")
        if options.dask:
            command += ["--scheduler", f"tcp://127.0.0.1:{PORT}"]
        print(f"undisturbed: {whole:.0f} s of wall, {len(known)} arrays and files")
        print("| kill | victim | at, s | finished pieces | status | last line | runs after it | same |")
        print("|---|---|---|---|---|---|---|---|")
        draw, same = random.Random(options.seed), 0
        for kill in range(options.kills):
            victim = options.victim[kill % len(options.victim)]
            moment = draw.uniform(0.0, whole)
            row = disturbed(command, folder / f"run{kill}", victim, moment, known, options)
            same += row["same"] == "yes"
            print("|", kill, "|", " | ".join(map(str, row.values())), "|", flush=True)
            shutil.rmtree(folder / f"run{kill}", ignore_errors=True)
        print(f"{same} of {options.kills} the same, bit by bit")


def disturbed(
    command: list[str],
    out: Path,
    victim: str,
    moment: float,
    known: dict[str, str],
    options: argparse.Namespace,
) -> dict[str, object]:
    """Kill one victim at a moment, repeat the command until it ends well, and compare."""
    with cluster(options.dask) as servers:
        run = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True)
        time.sleep(moment)
        number = getattr(signal, f"SIG{options.signal}")
        if victim == "run":
            run.send_signal(number)
        elif victim == "restarted":  # the nanny lives on
            for child in psutil.Process(servers[1].pid).children():
                child.send_signal(number)
        else:
            first, last = {"worker": (1, 2), "workers": (1, 3), "scheduler": (0, 1)}[victim]
            _kill(servers[first:last], number)
        if victim == "workers":
            servers += [_worker(), _worker()]
        _, errors = run.communicate()
        pieces = len([p for p in (out / "work").rglob("*.npz")]) if out.exists() else 0
    again, ended = 0, subprocess.CompletedProcess(command, run.returncode, "", errors)
    if run.returncode:
        with cluster(options.dask):
            while ended.returncode and again < 3:
                again += 1
                ended = _run([*command, "--out", str(out)])
    found = fingerprint(out) if ended.returncode == 0 else {}
    differ = sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name))
    last = next(iter(errors.strip().splitlines()[-1:]), "")
    return {
        "victim": victim,
        "at": f"{moment:.1f}",
        "pieces": pieces,
        "status": run.returncode,
        "line": last[:150].replace("|", "/"),
        "runs": again,
        "same": "yes"
        if not differ
        else f"no: {', '.join(differ[:3])} {ended.stderr[-200:] if ended.returncode else ''}",
    }


def fingerprint(out: Path) -> dict[str, str]:
    """Sum of every array of the results, and of the files that hold no time or place."""
    found = {}

    def visit(name: str, part: object) -> None:
        if isinstance(part, h5py.Dataset) and not name.startswith("uns"):
            value = part[()]
            content = repr(value.tolist()).encode() if part.dtype.hasobject else np.asarray(value).tobytes()
            found[name] = hashlib.sha256(content).hexdigest()

    with h5py.File(out / "integrated.h5ad") as file:
        file.visititems(visit)
    for path in [*out.glob("*.csv"), *(p for p in (out / "model").rglob("*") if p.is_file())]:
        if path.name not in ("SHA256SUMS", "cae.json"):
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
    model = json.loads((out / "model" / "cae.json").read_text())
    model["history"] = [{k: v for k, v in row.items() if "second" not in k} for row in model["history"]]
    found["model/cae.json"] = hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()
    return found


@contextmanager
def cluster(wanted: bool) -> Iterator[list[subprocess.Popen[str]]]:
    """A scheduler and two workers with nannies, on this machine, where one is wanted."""
    servers: list[subprocess.Popen[str]] = []
    if wanted:
        place = ["--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard"]
        servers.append(_server([sys.executable, "-m", "distributed.cli.dask_scheduler", *place]))
        servers += [_worker(), _worker()]
    try:
        yield servers
    finally:
        _kill(servers, signal.SIGKILL)


def _worker() -> subprocess.Popen[str]:
    where = [
        "--nthreads",
        "1",
        "--nworkers",
        "1",
        "--no-dashboard",
        "--local-directory",
        tempfile.gettempdir(),
    ]
    return _server([sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://127.0.0.1:{PORT}", *where])


def _server(command: list[str]) -> subprocess.Popen[str]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, text=True, start_new_session=True, **quiet)  # type: ignore[call-overload]


def _kill(servers: list[subprocess.Popen[str]], number: int) -> None:
    for server in servers:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        server.wait()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main()
