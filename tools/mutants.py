"""Plant faults in copies of the package, run the tests that should notice, and list the faults that survive.

    python tools/mutants.py                # all faults of tools/faults/*.toml
    python tools/mutants.py --only fp      # those whose table or name matches a regular expression
    python tools/mutants.py --list         # names and kinds
    python tools/mutants.py --check        # each text to replace occurs once, each test exists; runs nothing
    python tools/mutants.py --jobs 2       # two at a time

The tables hold one ``[[fault]]`` after the other::

    [[fault]]
    name = "second-graph-observed"       # unique within its table
    kind = "The second graph is made from observed values."
    file = "src/lloki/fp/align.py"
    find = "graph_of(imputed),"          # occurs once in the file; indentation counts
    replace = "graph_of(observed),"
    tests = ["tests/fp/test_wiring.py::test_presets"]  # the narrowest that notice, in seconds

Copies are made in a temporary folder; the working tree is not touched. First the tests of all chosen faults
run without any fault and must pass. Exits with status 1 if they do not, if a fault survives, or if a fault
keeps its tests from running at all, which would say nothing of them.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("src", "tests", "tools", "pyproject.toml")
LIMIT = 300  # seconds for the tests of one fault: one that never ends is noticed, too
PLUGINS = (
    "pytest_timeout",
    "_hypothesis_pytestplugin",
)  # those that packages bring along take seconds to load
PYTEST = ("-p", "no:cacheprovider", *(word for name in PLUGINS for word in ("-p", name)))
PYTEST = (*PYTEST, "--hypothesis-seed=0", "--no-header", "--tb=short")
# Each fault's tests run in a process forked from one that holds the libraries that take seconds to import.
FORKS = multiprocessing.get_context("forkserver")
LIBRARIES = [
    "anndata",
    "hypothesis",
    "numba",
    "pytest",
    "scipy.stats",
    "sklearn.cluster",
    "torch",
    "torch._dynamo",
]


@dataclass(frozen=True)
class Fault:
    """One fault; see the top of the file."""

    table: str
    name: str
    kind: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.table}/{self.name}"


def read(root: Path, only: str = "") -> list[Fault]:
    """Read the tables' faults, table after table."""
    found = []
    for path in sorted((root / "tools" / "faults").glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["fault"]:
            found.append(Fault(path.stem, **(entry | {"tests": tuple(entry["tests"])})))
    return [fault for fault in found if re.search(only, fault.key)]


def check(root: Path, faults: Sequence[Fault]) -> list[str]:
    """Find what is wrong with the tables themselves: one sentence each."""
    keys = [fault.key for fault in faults]
    wrong = [f"{key}: the name is taken" for key in sorted({key for key in keys if keys.count(key) > 1})]
    for fault in faults:
        path = root / fault.file
        text = path.read_text() if path.is_file() else ""
        if text.count(fault.find) != 1:
            wrong.append(
                f"{fault.key}: the text to replace occurs {text.count(fault.find)} times in {fault.file}"
            )
            continue
        try:
            compile(text.replace(fault.find, fault.replace), fault.file, "exec")
        except SyntaxError as error:
            wrong.append(f"{fault.key}: the fault is no Python ({error})")
        if fault.find == fault.replace or not fault.tests:
            wrong.append(f"{fault.key}: changes nothing, or names no test")
        for test in fault.tests:
            file, _, name = test.partition("::")
            name = name.partition("[")[0]
            source = (root / file).read_text() if (root / file).is_file() else ""
            if not source or (name and not re.search(rf"^(async )?def {re.escape(name)}\(", source, re.M)):
                wrong.append(f"{fault.key}: there is no test {test}")
    return wrong


class Copy:
    """A copy of what the tests need, in which one fault at a time is planted."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder, self.planted = root, folder, 0
        for name in COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                shutil.copy2(source, folder / name)

    def test(self, tests: Sequence[str], fault: Fault | None = None) -> tuple[int, float, str]:
        """Run tests, with a fault if one is given: pytest's exit status, seconds, and its output."""
        cache, arguments, limit = self.folder / "numba", [*PYTEST, *tests], None
        if fault is not None:
            target, text = self.folder / fault.file, (self.root / fault.file).read_text()
            self.planted += 1
            target.write_text(text.replace(fault.find, fault.replace))
            stamp = target.stat().st_mtime + self.planted  # no bytecode of another fault is taken for this
            os.utime(target, (stamp, stamp))
            if "njit" in text:  # compiled functions do not notice that one that they call has changed
                cache = self.folder / f"numba{self.planted}"
            arguments, limit = [*arguments, "-x"], LIMIT
        begin = time.monotonic()
        process = FORKS.Process(target=in_copy, args=(self.folder, cache, arguments))
        process.start()
        process.join(limit)
        if process.exitcode is None:  # it never ends: noticed
            process.kill()
            process.join()
            process_status = 1
        else:
            process_status = process.exitcode
        if fault is not None:
            shutil.copy2(self.root / fault.file, self.folder / fault.file)
            shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        return process_status, time.monotonic() - begin, (self.folder / "output").read_text()


def in_copy(folder: Path, cache: Path, arguments: Sequence[str]) -> None:
    """Run pytest in a copy, in a process of its own, and exit with its status."""
    os.chdir(folder)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ |= {
        "PYTHONPATH": str(folder / "src"),
        "NUMBA_CACHE_DIR": str(cache),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    sys.path.insert(0, str(folder / "src"))
    sys.dont_write_bytecode = False  # the copy's own, which saves the next fault a second
    if "numba" in sys.modules:
        sys.modules["numba"].core.config.reload_config()
    import pytest

    gc.freeze()  # pytest collects garbage at its end: what the libraries hold is none
    status = int(pytest.main(list(arguments)))
    sys.stdout.flush()
    os._exit(status)


def run(root: Path, faults: Sequence[Fault], jobs: int = 1) -> int:
    """Plant all faults, one after the other; print what became of them; return the exit status."""
    begin = time.monotonic()
    os.environ |= {"LLOKI_THREADS": "1", "OMP_NUM_THREADS": "1"}
    FORKS.set_forkserver_preload(LIBRARIES)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for job in range(jobs):
            copies.put(Copy(root, Path(folder) / str(job)))
        first = copies.get()
        tests = sorted({test for fault in faults for test in fault.tests})
        status, _seconds, output = first.test(tests)
        copies.put(first)
        if status != 0:
            print(output, f"\nThe tests fail without any fault (pytest exits with status {status}).")
            return 1
        print(f"without any fault: {output.strip().splitlines()[-1]}", flush=True)

        def one(fault: Fault) -> str:
            copy = copies.get()
            try:
                status, seconds, output = copy.test(fault.tests, fault)
            finally:
                copies.put(copy)
            verdict = {0: "SURVIVES", 1: "noticed"}.get(status, "BROKEN")
            print(f"{verdict:8} {seconds:5.1f} s  {fault.key:42} {fault.kind}", flush=True)
            if verdict == "BROKEN":
                print(output, flush=True)
            return verdict

        verdicts = list(pool.map(one, faults))
    for wrong in ("SURVIVES", "BROKEN"):
        for fault, verdict in zip(faults, verdicts):
            if verdict == wrong:
                print(f"{wrong}: {fault.key}: {fault.kind} ({', '.join(fault.tests)})")
    noticed = verdicts.count("noticed")
    minutes = (time.monotonic() - begin) / 60
    print(f"{len(faults)} faults, {noticed} noticed, {len(faults) - noticed} not; {minutes:.1f} minutes")
    return int(noticed < len(faults))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="PATTERN", help="table/name matches this")
    parser.add_argument("--list", action="store_true", help="print names and kinds")
    parser.add_argument("--check", action="store_true", help="check the tables only")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time (default: 1)")
    given = parser.parse_args(arguments)
    faults = read(ROOT, given.only)
    if given.list:
        print(*(f"{fault.key:42} {fault.kind}" for fault in faults), sep="\n")
        return 0
    wrong = check(ROOT, faults)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    if wrong or given.check:
        return int(bool(wrong))
    return run(ROOT, faults, given.jobs)


if __name__ == "__main__":
    raise SystemExit(main())
