"""``lloki doctor``."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from lloki.cli.console import reporting
from lloki.cli.failures import Debug
from lloki.cli.tables import show

_FOR = {
    "spatialdata": "reading SpatialData stores",
    "distributed": "--scheduler (Dask)",
    "benchmark": "scib-metrics and Harmony, for lloki benchmark",
    "mofa": "MOFA+, a method to compare with",
    "scvi": "scVI, a method to compare with",
    "dev": "working on lloki itself",
}


def doctor(debug: Debug = False) -> None:
    """Report installed packages, device and threads, and how to install optional packages."""
    with reporting(debug=debug):
        import psutil
        import torch

        from lloki._device import choose_device
        from lloki._parallel import n_threads
        from lloki.embed.base import embedder_names
        from lloki.run.record import versions

        memory = psutil.virtual_memory()
        facts = {
            "system": platform.platform(),
            "processor cores": os.cpu_count() or 0,
            "threads lloki uses": n_threads(),
            "LLOKI_THREADS": os.environ.get("LLOKI_THREADS") or "not set (it bounds the threads)",
            "torch threads": torch.get_num_threads(),
            "device for training": str(choose_device()),
            "memory": f"{memory.total / 2**30:.1f} GB, {memory.available / 2**30:.1f} GB free",
            "embedders": ", ".join(embedder_names()),
        }
        installed = versions()
    show(("this machine", ""), list(facts.items()))
    show(("package", "version"), list(installed.items()))
    show(("optional", "for", "state"), list(_extras()))


def _extras() -> Iterator[tuple[str, str, str]]:
    """Extras of the installed package, and how to get those that are not all there."""
    from packaging.requirements import Requirement

    wanted: dict[str, list[str]] = {}
    for line in requires("lloki") or ():
        requirement = Requirement(line)
        for extra in _FOR:
            marker = requirement.marker
            if marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
                wanted.setdefault(extra, []).append(requirement.name)
    for extra, packages in wanted.items():
        absent = [name for name in packages if not _installed(name)]
        state = f"absent: {', '.join(absent)}; pip install 'lloki[{extra}]'" if absent else "installed"
        yield extra, _FOR[extra], state


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
