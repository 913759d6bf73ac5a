"""Groups of cell types: the level at which a cell can still be labeled where its type is uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lloki.errors import InputError


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Levels of T types, from the types themselves to the largest groups.

    Attributes
    ----------
    names
        Per level, the names of its groups. At level 0 these are the types.
    of
        Per level, (T,) group of each type. A type without a group at a level is a group of its own.
    """

    names: tuple[tuple[str, ...], ...]
    of: tuple[NDArray[np.int64], ...]

    @classmethod
    def build(cls, types: tuple[str, ...], parents: Mapping[str, str]) -> Hierarchy:
        """Build the levels from type → group, and group → larger group.

        Raises
        ------
        InputError
            If a group is in itself.
        """
        chains = [_chain(t, parents) for t in types]
        names, of = [], []
        for level in range(max(map(len, chains))):
            called = [chain[min(level, len(chain) - 1)] for chain in chains]
            known, group = np.unique(called, return_inverse=True)
            names.append(tuple(map(str, known)))
            of.append(group)
        return cls(tuple(names), tuple(of))

    def groups(self) -> tuple[str, ...]:
        """Names that are no types, sorted."""
        return tuple(sorted({name for level in self.names for name in level} - set(self.names[0])))

    def summed(self, p: NDArray[np.float64], level: int) -> NDArray[np.float64]:
        """(m, T) probabilities of types → (m, groups) of the groups of a level."""
        if level == 0:
            return p
        return np.asarray(p @ np.eye(len(self.names[level]))[self.of[level]])


def _chain(name: str, parents: Mapping[str, str]) -> list[str]:
    chain = [name]
    while (up := parents.get(chain[-1], "")) and up != chain[-1]:
        if up in chain:
            text = f"the groups form a circle: {' in '.join([*chain, up])}"
            raise InputError(text, slot="parents", hint="Name for each type the group that holds it.")
        chain.append(up)
    return chain
