"""Alignment of slices in a user's AnnData, and writing the result."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki import keys
from lloki._parts import owners, record
from lloki.align import AlignConfig, Alignment, AlignResult, Rigid, Warp, align, align_stack, fit_warp
from lloki.align.series import common_genes
from lloki.errors import ConfigError, LlokiWarning
from lloki.tl._sections import Section, heights

Doubles = NDArray[np.float64]

WARP_WIDTH = 12.0  # length scale of deformations in cell spacings: some hundred cells


def align_sections(
    sections: Sequence[Section],
    *,
    reference: str | None,
    stack: bool,
    reach: int,
    use_ambiguous: bool,
    nonrigid: float | None,
    config: AlignConfig,
) -> Alignment:
    """Align each slice with the reference, or all as a stack.

    Raises
    ------
    ConfigError
        If there are fewer than two slices, no such reference, or ``nonrigid`` is not above 0.
    """
    names = [s.name for s in sections]
    fixed = names[0] if reference is None and names else reference
    if len(sections) < 2:
        raise ConfigError(f"alignment needs at least two slices, got {len(sections)}.")
    if fixed not in names:
        raise ConfigError(f"the reference {fixed!r} is not among the slices. There are: {', '.join(names)}.")
    if nonrigid is not None and not nonrigid > 0:
        raise ConfigError(f"nonrigid, the maximum displacement, must be above 0, got {nonrigid}.")
    at = names.index(fixed)
    if stack:
        if nonrigid is not None:
            raise ConfigError("nonrigid is for pairs of slices, not for a stack. Leave out one of the two.")
        return _as_stack(sections, at, reach, use_ambiguous, config)
    base = sections[at]
    results, moved, warps = {}, {fixed: base.xy[:, :2]}, {}
    transforms: dict[str, Rigid | None] = {fixed: Rigid.make(0)}
    for s in sections:
        if s.name == fixed:
            continue
        shared = common_genes(_panel(base), _panel(s))
        result = align(
            *(base.values, base.xy, s.values, s.xy),
            shared_genes=shared,
            doubt=_doubt(base) or _doubt(s),
            config=config,
        )
        results[fixed, s.name] = result
        known = result.verdict.word != "failed"
        transforms[s.name] = result.transform if known else None
        moved[s.name] = result.moved if known else np.full((len(s.xy), 2), np.nan)
        if known and nonrigid is not None:
            warps[s.name] = _warp(result, nonrigid)
            moved[s.name] = warps[s.name].apply(result.moved)
    ordered = {name: transforms[name] for name in names}
    return Alignment(fixed, ordered, _positions(sections), moved, results, warps)


def _as_stack(
    sections: Sequence[Section], at: int, reach: int, use_ambiguous: bool, config: AlignConfig
) -> Alignment:
    names = [s.name for s in sections]
    fitted = align_stack(
        [s.values for s in sections],
        [s.xy for s in sections],
        reference=at,
        reach=reach,
        use_ambiguous=use_ambiguous,
        panels=[_panel(s) for s in sections],
        doubts=[_doubt(s) for s in sections],
        config=config,
    )
    return Alignment(
        names[at],
        dict(zip(names, fitted.transforms)),
        _positions(sections),
        dict(zip(names, fitted.moved)),
        {(names[i], names[j]): r for (i, j), r in fitted.pairs.items()},
        {},
        fitted,
    )


def _panel(section: Section) -> set[str] | None:
    """Genes that a slice measured, if its AnnData records them or holds nothing else."""
    columns = section.panel()
    return None if columns is None else set(section.own.var_names[columns])


def _doubt(section: Section) -> str:
    """Why the embedding of a slice has no ground to stand on, as the verdict of its run found, or ``""``."""
    foreign = section.own.uns.get(keys.UNS, {}).get(keys.UNLIKE_REFERENCE, ())
    if section.name not in map(str, foreign):
        return ""
    return (
        f"The genes of {section.name} do not go together as in the reference of the run, so the embedding "
        "that joins the panels has no ground to stand on"
    )


def _positions(sections: Sequence[Section]) -> dict[str, Doubles]:
    return {s.name: s.xy[:, :2] for s in sections}


def _warp(result: AlignResult, bound: float) -> Warp:
    return fit_warp(
        result.moved[result.landmarks.moving],
        result.residuals,
        result.landmarks.confidence,
        width=WARP_WIDTH * max(result.spacing),
        bound=bound,
    )


def write_sections(
    sections: Sequence[Section],
    alignment: Alignment,
    *,
    z: float | str | None,
    parameters: dict[str, Any],
    key_added: str,
) -> None:
    """Write positions, matches and the record into the AnnData of the sections."""
    third = heights(sections, z)
    base = next(s for s in sections if s.name == alignment.reference)
    for own in owners(sections):
        width = 2 if third is None else 3
        own.obsm[key_added] = np.full((own.n_obs, width), np.nan)
        own.obs[f"{key_added}_in_overlap"] = np.zeros(own.n_obs, bool)
        if alignment.stack is None:
            own.obs[f"{key_added}_match"] = ""
            own.obs[f"{key_added}_match_confidence"] = np.zeros(own.n_obs)
    for i, s in enumerate(sections):
        out = s.own.obsm[key_added]
        out[s.rows, :2] = alignment.moved[s.name]
        if third is not None:
            out[s.rows, 2] = third[i]
        _write_matches(s, base, alignment, key_added)
    parameters = parameters | {"key_added": key_added}
    record(owners(sections), "align_slices", parameters, facts=json.dumps(alignment.facts()))


def _write_matches(s: Section, base: Section, alignment: Alignment, key_added: str) -> None:
    inside = np.zeros(s.own.n_obs, bool)
    inside[s.rows] = alignment.transforms[s.name] is not None
    result = alignment.results.get((base.name, s.name))
    if result is not None:
        inside[s.rows] &= result.in_overlap
    s.own.obs[f"{key_added}_in_overlap"] |= inside
    if result is None or alignment.stack is not None or alignment.transforms[s.name] is None:
        return
    marks, match = result.landmarks, f"{key_added}_match"
    names = s.own.obs[match].to_numpy(object, copy=True)
    confidence = s.own.obs[f"{match}_confidence"].to_numpy(float, copy=True)
    rows = s.rows[marks.moving]
    names[rows] = base.own.obs_names.to_numpy()[base.rows[marks.fixed]]
    confidence[rows] = marks.confidence
    s.own.obs[match], s.own.obs[f"{match}_confidence"] = names, confidence


def warn_of_verdicts(alignment: Alignment) -> None:
    """Warn of alignments that are not reliable."""
    for (fixed, moving), r in alignment.results.items():
        if r.verdict.word != "aligned":
            text = f"{moving} on {fixed}: {r.verdict.word}. {r.verdict.reason}"
            warnings.warn(text, LlokiWarning, stacklevel=4)
    for name, transform in alignment.transforms.items():
        if transform is None:
            text = (
                f"{name}: its transform to {alignment.reference} is undetermined; aligned positions are NaN."
            )
            warnings.warn(text, LlokiWarning, stacklevel=4)
