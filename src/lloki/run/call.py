"""What a run was given, apart from its parameters: kept in ``run.json`` so that it can be opened again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from anndata import AnnData

from lloki.errors import ConfigError
from lloki.run.door import ReadAs

IN_MEMORY = None  # in place of the path of an AnnData


@dataclass(frozen=True)
class Call:
    """Inputs of a run and how to read them; see :func:`lloki.integrate` for each.

    Attributes
    ----------
    slices, reference
        Paths or AnnData.
    read
        How the slices are read.
    reference_layer, project_only, skip_bad
        As given.
    """

    slices: Sequence[Any]
    reference: Any
    read: ReadAs
    reference_layer: str | None = None
    project_only: Sequence[str] = ()
    skip_bad: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; files by their absolute paths."""
        slices = self.slices
        given = [slices] if isinstance(slices, (str, os.PathLike, AnnData)) else list(slices)
        only = [self.project_only] if isinstance(self.project_only, str) else list(self.project_only)
        return {
            "slices": [_path(x) for x in given],
            "reference": _path(self.reference),
            "read": self.read.options(),
            "reference_layer": self.reference_layer,
            "project_only": only,
            "skip_bad": self.skip_bad,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Call:
        """From what ``to_dict`` gave.

        Raises
        ------
        ConfigError
            If a slice was given in memory, or a file is no longer there.
        """
        known = {f.name for f in fields(ReadAs)}
        call = cls(**{**values, "read": ReadAs(**{k: v for k, v in values["read"].items() if k in known})})
        if any(path is IN_MEMORY for path in call.slices):
            raise ConfigError("the run's slices were given in memory, not as files, so it cannot be repeated")
        for path in [*call.slices, *([call.reference] if call.reference else [])]:
            if not Path(path).exists():
                raise ConfigError(f"{path}: was an input of the run and is no longer there")
        return call


def _path(given: Any) -> str | None:
    return str(Path(given).resolve()) if isinstance(given, (str, os.PathLike)) else IN_MEMORY
