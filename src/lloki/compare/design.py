"""Who was measured with what: the design of a comparison, and what it can distinguish."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.errors import InputError

Doubles = NDArray[np.float64]
_TINY = 1e-8


@dataclass(frozen=True)
class SliceFacts:
    """What is known of a slice: its name, unit (donor, or the slice itself), condition and instrument."""

    name: str
    unit: str
    condition: str
    technology: str
    panel: str

    @property
    def token(self) -> str:
        """Panel group: technology and panel."""
        return f"{self.technology} · {self.panel}" if self.panel else self.technology


@dataclass(frozen=True, eq=False)
class Design:
    """Observations: each unit, once for each panel group that measured it.

    Attributes
    ----------
    slices
        In order of their names.
    control
        Name of the control.
    observation
        (s,) of each slice. Slices of one unit and panel group are one observation.
    unit, token, condition
        (n,) names, of each observation.
    """

    slices: tuple[SliceFacts, ...]
    control: str
    observation: NDArray[np.int64]
    unit: NDArray[np.str_]
    token: NDArray[np.str_]
    condition: NDArray[np.str_]

    @classmethod
    def of(cls, slices: Sequence[SliceFacts], control: str) -> Design:
        """Make the design of a comparison with a control.

        Raises
        ------
        InputError
            If a slice has no condition, no slice is a control or all are, or a donor is in two conditions.
        """
        slices = tuple(sorted(slices, key=lambda s: s.name))
        for s in slices:
            if not s.condition:
                hint = "Give each slice its condition, or leave the slice out."
                raise InputError("the slice has no condition", where=s.name, hint=hint)
        known = sorted({s.condition for s in slices})
        if control not in known:
            hint = f"Name one of: {', '.join(known)}."
            raise InputError(f"no slice has the condition {control!r}, which is to be the control", hint=hint)
        if len(known) < 2:
            hint = "A comparison needs slices of a second condition."
            raise InputError(f"all slices have the condition {control!r}", hint=hint)
        of_unit: dict[str, SliceFacts] = {}
        for s in slices:
            first = of_unit.setdefault(s.unit, s)
            if first.condition != s.condition:
                text = (
                    f"donor {s.unit!r} is in two conditions: {first.condition!r} in {first.name} and "
                    f"{s.condition!r} in {s.name}"
                )
                hint = "Correct the donors or conditions. Donors compared with themselves are not supported."
                raise InputError(text, hint=hint)
        keys = sorted({(s.unit, s.token) for s in slices})
        at = {key: i for i, key in enumerate(keys)}
        return cls(
            slices,
            control,
            np.array([at[s.unit, s.token] for s in slices]),
            np.array([unit for unit, _ in keys]),
            np.array([token for _, token in keys]),
            np.array([of_unit[unit].condition for unit, _ in keys]),
        )

    @property
    def others(self) -> list[str]:
        """Conditions that are compared with the control."""
        return [c for c in np.unique(self.condition) if c != self.control]

    @property
    def tokens(self) -> list[str]:
        """Panel groups."""
        return list(np.unique(self.token))

    def matrix(self, rows: NDArray, *, adjust: bool) -> tuple[Doubles, dict[str, Doubles]]:
        """Design matrix of some observations, and what in it is each condition's difference to the control.

        Parameters
        ----------
        rows
            (m,) of the n observations.
        adjust
            Each panel group has an intercept; else there is one for all.

        Returns
        -------
        (m, r) of full rank r; and by condition the (r,) weights of the difference, for those that the design
        identifies: a difference is estimable if and only if its weights lie in the row space of the matrix.
        """
        groups = self.token[rows] if adjust else np.zeros(len(rows), int)
        blocks = [groups[:, None] == np.unique(groups)]
        others = [c for c in self.others if (self.condition[rows] == c).any()]
        blocks.append(self.condition[rows][:, None] == np.array(others, dtype=str))
        x = np.concatenate(blocks, axis=1).astype(float)
        _, sizes, axes = np.linalg.svd(x, full_matrices=False)
        axes = axes[sizes > _TINY * max(sizes.max(initial=0.0), 1.0)]
        contrasts = {}
        for i, other in enumerate(others):
            wanted = np.zeros(x.shape[1])
            wanted[x.shape[1] - len(others) + i] = 1.0
            if np.abs(axes.T @ (axes @ wanted) - wanted).max() < 1e-6:
                contrasts[other] = axes @ wanted
        return x @ axes.T, contrasts

    def informative(self, rows: NDArray, condition: str, *, adjust: bool) -> NDArray[np.bool_]:
        """(m,) whether an observation has any weight in the least-squares estimate of a difference."""
        x, contrasts = self.matrix(rows, adjust=adjust)
        if condition not in contrasts:
            return np.zeros(len(rows), bool)
        return np.abs(x @ np.linalg.solve(x.T @ x, contrasts[condition])) > 1e-9

    def relabel(self, condition: str, *, adjust: bool, most: int, seed: int) -> NDArray[np.bool_]:
        """Divide the units of a condition and the control anew, into groups of the same sizes.

        Units are exchanged with those that the same panel groups measured (as far as these inform the
        difference), so that each panel has as many of either condition as before: without a difference, the
        observed labeling is like any other.

        Parameters
        ----------
        condition
            That is compared with the control.
        adjust
            Panel groups have intercepts. If not, all units are exchanged.
        most
            All labelings if there are no more than these; else this number is drawn at random.
        seed
            Of the draws.

        Returns
        -------
        (r, n) observations with the label of the condition; the first row is the observed labeling.
        """
        used = self.informative(np.arange(len(self.unit)), condition, adjust=adjust)
        used &= np.isin(self.condition, [self.control, condition])
        own = self.condition == condition
        groups: dict[tuple[str, ...], list[str]] = {}
        for unit in np.unique(self.unit[used]):
            panels = tuple(sorted(self.token[used & (self.unit == unit)])) if adjust else ()
            groups.setdefault(panels, []).append(unit)
        labeled = {str(u) for u in self.unit[own & used]}
        sizes = [(units, sum(u in labeled for u in units)) for units in groups.values()]
        if math.prod(math.comb(len(units), k) for units, k in sizes) <= most:
            ways = itertools.product(*(itertools.combinations(units, k) for units, k in sizes))
            chosen = [set(itertools.chain(*way)) for way in ways]
            chosen.sort(key=lambda way: way != labeled)
        else:
            rng = np.random.default_rng(seed)
            draws = ([rng.permutation(units)[:k] for units, k in sizes] for _ in range(most))
            chosen = [labeled, *({str(u) for u in np.concatenate(draw)} for draw in draws)]
        return np.array([np.isin(self.unit, list(way)) & used if way else used & own for way in chosen])

    def table(self, cells: NDArray[np.int64]) -> pd.DataFrame:
        """Return the table of condition, technology, panel and donors; ``cells`` (s,) are of the slices.

        The column ``role`` says what each row is good for: ``"compared"`` with another condition on the same
        panel, ``"bridge"`` (its donors link panels that have one condition each), or ``"not comparable"``.
        """
        frame = pd.DataFrame(
            {
                "condition": [s.condition for s in self.slices],
                "technology": [s.technology for s in self.slices],
                "panel": [s.panel for s in self.slices],
                "donor": [s.unit for s in self.slices],
                "slice": [s.name for s in self.slices],
                "cells": cells,
            }
        )
        rows = []
        for (condition, technology, panel), own in frame.groupby(
            ["condition", "technology", "panel"], sort=True
        ):
            token = SliceFacts("", "", "", str(technology), str(panel)).token
            rows.append(
                {
                    "condition": condition,
                    "technology": technology,
                    "panel": panel,
                    "n_units": own["donor"].nunique(),
                    "n_slices": len(own),
                    "n_cells": int(own["cells"].sum()),
                    "role": self._role(str(condition), token),
                    "units": ";".join(sorted(own["donor"].unique())),
                }
            )
        return pd.DataFrame(rows)

    def _role(self, condition: str, token: str) -> str:
        every, mine = np.arange(len(self.unit)), (self.condition == condition) & (self.token == token)
        used = any(self.informative(every, c, adjust=True)[mine].any() for c in self.others)
        if not used:
            return "not comparable"
        return "compared" if len(set(self.condition[self.token == token])) > 1 else "bridge"


@dataclass(frozen=True)
class Identified:
    """What the design identifies of one condition's difference to the control.

    Attributes
    ----------
    condition
        Its name.
    apart
        Whether it can be distinguished from the panel groups (technology and panel).
    n_control, n_condition
        Units that inform the comparison: on panels that can be compared if ``apart``, else all.
    smallest_q
        Share of the ways to divide these units that are no other than the observed one: no q-value can be
        smaller. With two groups of the same size it counts twice, as their names do not matter.
    text
        The same in a sentence or two.
    """

    condition: str
    apart: bool
    n_control: int
    n_condition: int
    smallest_q: float
    text: str

    def limited(self, *, min_units: int, alpha: float) -> bool:
        """Whether the design rules findings out, of expression at least."""
        few = min(self.n_control, self.n_condition) < min_units
        return not self.apart or few or self.smallest_q > alpha


def identify(
    design: Design, min_units: int, *, alpha: float = 0.05, n_relabelings: int = 199, seed: int = 0
) -> list[Identified]:
    """Find what can be distinguished of each condition, from the rank of the design.

    Parameters
    ----------
    design
        Of the slices.
    min_units, alpha, n_relabelings, seed
        As in :class:`lloki.compare.CompareConfig`.
    """
    every, found = np.arange(len(design.unit)), []
    for other in design.others:
        used = design.informative(every, other, adjust=True)
        apart = bool(used.any())
        if not apart:
            used = np.isin(design.condition, [design.control, other])
        sides = [len(set(design.unit[used & (design.condition == c)])) for c in (design.control, other)]
        tokens = sorted(set(design.token[used]))
        if apart:
            alone = sorted(set(design.token[design.condition == other]) - set(tokens))
            text = f"{other} and {design.control} are compared within {_several(short(tokens, design))}"
            both = [t for t in tokens if {design.control, other} <= set(design.condition[design.token == t])]
            if len(both) < len(tokens):
                text += ", linked by donors that were measured on more than one panel"
            text += "."
            if alone:
                named = _several(short(alone, design))
                text += f" {named} measured {other} without a control, and is left out of the test."
        else:
            text = (
                f"{other} and {design.control} were never measured on the same panel, and no donor links "
                "their panels: a difference in expression cannot be distinguished from one between "
                "instruments, and is not reported; nor is abundance in the joint space tested. Only what is "
                "relative within each slice is compared (shares of types, who is beside whom), and may still "
                "be an effect of the instrument."
            )
        if min(sides) < min_units:
            text += (
                f" There {'is 1 unit' if sides[0] == 1 else f'are {sides[0]} units'} of {design.control} and "
                f"{sides[1]} of {other}, where {min_units} of each are needed for a test: only effect sizes "
                "are given."
            )
        labels = design.relabel(other, adjust=apart, most=n_relabelings, seed=seed)
        mirrored = (labels != labels[0])[:, used].all(axis=1)
        smallest = float(((labels == labels[0]).all(axis=1) | mirrored).mean()) if n_relabelings else 0.0
        if min(sides) >= min_units and smallest > alpha:
            text += (
                f" There are {len(labels)} ways to divide units that the same panels measured into groups of "
                f"these sizes, too few to tell a difference from chance: no q-value can be below "
                f"{smallest:.2g}. Four units on either side, measured by the same panels, are enough."
            )
        found.append(Identified(other, apart, sides[0], sides[1], smallest, text))
    return found


def short(tokens: Sequence[str], design: Design) -> list[str]:
    """Names of panel groups: the technology alone, where it has one panel."""
    known = {s.token: s.technology for s in design.slices}
    once = {t for t in known.values() if list(known.values()).count(t) == 1}
    return [known[token] if known[token] in once else token for token in tokens]


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
