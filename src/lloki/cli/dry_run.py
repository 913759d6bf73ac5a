"""``lloki integrate --dry-run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lloki.cli.tables import show_checks, show_stages


def show_plan(paths: Sequence[Path], *, out: Path, skip_bad: bool = False, **how: Any) -> bool:
    """Check everything a run would check, and print that and the plan; return whether the run would start."""
    from lloki.run import plan

    planned = plan(paths, out=out, skip_bad=skip_bad, **how)
    show_checks(planned)
    if planned.stages:
        show_stages(planned)
    return bool(planned.stages)
