"""Whether slices and a reference go together, before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lloki.cli.inputs import Inputs
from lloki.errors import LlokiError

if TYPE_CHECKING:
    from lloki.io import SliceCheck


@dataclass(frozen=True)
class Matched:
    """What was found.

    Attributes
    ----------
    genes
        Slice → ``"85 of 88"`` genes in the reference.
    errors, warnings
        Sentences.
    """

    genes: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def match_slices(
    inputs: Inputs,
    checks: Sequence[SliceCheck],
    reference: Path,
    *,
    reference_layer: str | None = None,
    allow_normalized: bool = False,
    **read: Any,
) -> Matched:
    """Read the reference, and find the good slices' genes in it; for that they are read once more.

    Parameters
    ----------
    inputs
        The slices.
    checks
        What :func:`lloki.io.check_slices` said of them.
    reference, reference_layer, allow_normalized
        See :func:`lloki.io.read_reference`.
    read
        How the slices are read, but for what ``inputs`` says itself.
    """
    from lloki import keys
    from lloki.genes import match_reference
    from lloki.io import iter_slices, read_reference

    matched = Matched()
    good = {c.path for c in checks} - {c.path for c in checks if not c.ok}
    left = inputs.only(good)
    try:
        known = read_reference(reference, layer=reference_layer, allow_normalized=allow_normalized).var_names
        options = {**read, **left.about(), "allow_normalized": allow_normalized}
        options.pop("label_key", None)  # labels do not matter here, and a good slice may have none
        for adata in iter_slices(left.paths, **options) if left.paths else ():
            name = str(adata.obs[keys.SLICE].iloc[0])
            try:
                found = match_reference(adata.var_names, known, where=name, reference_name=str(reference))
            except LlokiError as error:
                matched.errors.append(str(error))
                continue
            matched.genes[name] = f"{len(found.used)} of {len(found.used) + len(found.dropped)}"
            if found.diagnosis:
                matched.warnings.append(f"{name}: {found.diagnosis}. {found.hint}".strip())
    except LlokiError as error:
        matched.errors.append(str(error))
    return matched
