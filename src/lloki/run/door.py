"""The door: every input is read and checked before anything is kept or computed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anndata import AnnData

from lloki import keys
from lloki.errors import InputError
from lloki.io import SliceCheck, check_slices
from lloki.io.sources import Source, is_checked, plan_sources


@dataclass(frozen=True)
class ReadAs:
    """How inputs are to be read; see :func:`lloki.io.read_slices`. The lists hold one entry an input."""

    layer: str | None = None
    allow_normalized: bool = False
    slice_key: str | None = None
    label_key: str | None = None
    technology: Mapping[str, str] | None = None
    samples: Sequence[str] | None = None
    panels: Sequence[str | None] | None = None
    layers: Sequence[str | None] | None = None
    k: int = 40

    def options(self) -> dict[str, Any]:
        """As keyword arguments."""
        return dict(vars(self))

    def sources(self, inputs: Sequence[Any]) -> list[Source]:
        """Pair inputs with their names."""
        return plan_sources(
            inputs, layer=self.layer, samples=self.samples, panels=self.panels, layers=self.layers
        )


@dataclass(frozen=True)
class Inputs:
    """Inputs that passed the check, and what was said about those that did not.

    Attributes
    ----------
    inputs, read
        What to read, and how.
    tokens
        Slice → batch token, of every slice that can be read.
    aside
        Slice → why it was set aside.
    """

    inputs: list[Any]
    read: ReadAs
    tokens: dict[str, str]
    aside: dict[str, str] = field(default_factory=dict)


def check_inputs(inputs: Any, *, read: ReadAs, skip_bad: bool = False) -> Inputs:
    """Read every input once and say all that is wrong with any of them.

    Parameters
    ----------
    inputs
        Files or AnnData; a single one need not be in a list.
    read
        How to read them.
    skip_bad
        Set inputs with an error aside instead of stopping.

    Raises
    ------
    InputError
        If an input has an error (all errors of all inputs are in the message), or if none is left.
    ConfigError
        If the parameters contradict each other.
    """
    inputs = [inputs] if isinstance(inputs, (str, os.PathLike, AnnData)) else list(inputs)
    sources = read.sources(inputs)
    checks = check_slices(inputs, **read.options())
    bad: set[int] = set()
    aside: dict[str, str] = {}
    for i, source in enumerate(sources):
        mine = [check for check in checks if _is_of(check, source)]
        errors = [error for check in mine for error in check.errors]
        if errors:
            bad.add(i)
            aside |= {check.name: errors[0] for check in mine}
    if bad and (not skip_bad or len(bad) == len(inputs)):
        raise all_wrong([e for check in checks for e in check.errors], len(inputs))
    return Inputs(
        [x for i, x in enumerate(inputs) if i not in bad],
        _without(read, inputs, bad) if bad else read,
        {c.name: f"{c.technology}|{c.panel}" for c in checks if c.name not in aside},
        aside,
    )


def _is_of(check: SliceCheck, source: Source) -> bool:
    if isinstance(source.data, AnnData) and is_checked(source.data) and not source.named:
        return check.name == str(source.data.obs[keys.SLICE].iloc[0])  # its sample may have other sections
    return check.path == source.where


def _without(read: ReadAs, inputs: Sequence[Any], bad: set[int]) -> ReadAs:
    """Keep the settings of the inputs that stay, under the names that they had among all."""

    def stay(values: Sequence[Any] | None) -> list[Any] | None:
        return None if values is None else [v for i, v in enumerate(values) if i not in bad]

    names = [source.sample for i, source in enumerate(read.sources(inputs)) if i not in bad]
    technology = {n: t for n, t in (read.technology or {}).items() if n in names}
    left = replace(
        read,
        samples=stay(read.samples),
        panels=stay(read.panels),
        layers=stay(read.layers),
        technology=technology,
    )
    if [source.sample for source in left.sources(stay(inputs) or [])] != names:
        left = replace(left, samples=names)
    return left


def all_wrong(errors: Sequence[str], inputs: int) -> InputError:
    """One error that says all that is wrong with some of several inputs."""
    errors = list(dict.fromkeys(errors))
    if len(errors) == 1:
        what = errors[0].rstrip(".")
    else:
        what = f"{len(errors)} errors in the inputs:\n  - " + "\n  - ".join(e.rstrip(".") for e in errors)
    hint = "" if inputs == 1 else "Fix them, or skip invalid inputs with --skip-bad (skip_bad=True)."
    return InputError(what, hint=hint)
