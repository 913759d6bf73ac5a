"""Runs on a disk that is too small, then a little larger, until the results are being written.

Called as ``python small_disk.py FOLDER REFERENCE SETTINGS SLICE…`` in a mount namespace of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lloki
from lloki.errors import OutputError

if __name__ == "__main__":
    disk, reference, settings, *slices = sys.argv[1:]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], check=True)
    out, reported = Path(disk) / "run", []
    for size in range(200, 20_000, 250):
        subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
        try:
            lloki.integrate(slices, reference=reference, out=out, **json.loads(settings))
        except OutputError as error:
            left = [str(p.relative_to(disk)) for p in Path(disk).rglob("*") if ".part" in p.name]
            reported.append({"error": str(error), "left": left, "finished": (out / "run.json").exists()})
        else:
            break
        if "integrated.h5ad" in reported[-1]["error"]:
            break
    print(json.dumps(reported))
