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
import os
import re
import shutil
import subprocess
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
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--no-header", "--tb=line")


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
        cache, target = self.folder / "numba", None
        if fault is not None:
            target, text = self.folder / fault.file, (self.root / fault.file).read_text()
            self.planted += 1
            target.write_text(text.replace(fault.find, fault.replace))
            stamp = (
                target.stat().st_mtime + self.planted
            )  # bytecode of another fault must not be taken for this
            os.utime(target, (stamp, stamp))
            if "njit" in text:  # compiled functions do not notice that one that they call has changed
                cache = self.folder / f"numba{self.planted}"
        environment = os.environ | {
            "PYTHONPATH": str(self.folder / "src"),
            "NUMBA_CACHE_DIR": str(cache),
            "LLOKI_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, *PYTEST, *(["-x"] if fault else []), *tests],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT if fault else None,
            )
            status, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            status, output = 1, ""
        finally:
            if target is not None and fault is not None:
                shutil.copy2(self.root / fault.file, target)
                shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        return status, time.monotonic() - begin, output


def run(root: Path, faults: Sequence[Fault], jobs: int = 1) -> int:
    """Plant all faults, one after the other; print what became of them; return the exit status."""
    begin = time.monotonic()
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
