"""``lloki integrate --dry-run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lloki.cli.inputs import Inputs
from lloki.cli.references import match_slices
from lloki.cli.tables import show_checks, show_stages
from lloki.errors import ConfigError

if TYPE_CHECKING:
    from lloki.run import RunConfig


def show_plan(
    inputs: Inputs,
    config: RunConfig,
    *,
    reference: Path | None,
    reference_layer: str | None,
    skip_bad: bool,
    **read: Any,
) -> bool:
    """Check everything a run would check, and print that and the plan; return whether the run would start."""
    from lloki.embed import get_embedder
    from lloki.run import plan

    embedder = get_embedder(config.embedder, model=config.model, seed=config.seed)
    aligns = config.aligns(embedder)
    if aligns and reference is None:
        raise ConfigError(f"the embedder {config.embedder} needs a reference. Give one with --reference.")
    read |= {"label_key": config.label_key, "k": config.n_neighbors}
    planned = plan(inputs.paths, config=config, **read, **inputs.about())
    matched = None
    if reference is not None and aligns:
        matched = match_slices(inputs, planned.slices, reference, reference_layer=reference_layer, **read)
    show_checks(planned.slices, matched)
    good = [check.ok for check in planned.slices]
    if any(good):
        show_stages(planned.stages)
    return (any(good) if skip_bad else all(good)) and not (matched and matched.errors)
