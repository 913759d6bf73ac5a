"""What a run was given, apart from its parameters: kept in ``run.json`` so that it can be opened again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anndata import AnnData

from lloki.errors import ConfigError
from lloki.io import ReadOptions
from lloki.io.sources import Input, Slices, as_list, expanded

IN_MEMORY = None  # in place of the path of an AnnData


@dataclass(frozen=True)
class Inputs:
    """Inputs of a run and how to read them; see :func:`lloki.integrate` for each.

    Attributes
    ----------
    slices, reference
        Paths or AnnData.
    options
        How they are read.
    project_only
        Names of the slices that are not trained on.
    """

    slices: tuple[Input, ...]
    reference: Input | None
    options: ReadOptions
    project_only: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, slices: Slices, reference: Input | None, options: ReadOptions, *, project_only: Any = ()
    ) -> Inputs:
        """Take what a function was given: a single input need not be in a list."""
        only = [project_only] if isinstance(project_only, str) else project_only
        known = reference if reference is None or isinstance(reference, AnnData) else expanded(reference)
        return cls(tuple(as_list(slices)), known, options, tuple(only))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; files by their absolute paths."""
        return {
            "slices": [_path(x) for x in self.slices],
            "reference": _path(self.reference),
            "options": self.options.to_dict(),
            "project_only": list(self.project_only),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """From what ``to_dict`` gave.

        Raises
        ------
        ConfigError
            If a slice was given in memory, or a file is no longer there.
        """
        inputs = cls(
            tuple(values["slices"]),
            values["reference"],
            ReadOptions.from_dict(values["options"]),
            tuple(values["project_only"]),
        )
        if any(path is IN_MEMORY for path in values["slices"]):
            raise ConfigError("the run's slices were given in memory, not as files, so it cannot be repeated")
        for path in [*values["slices"], *([values["reference"]] if values["reference"] else [])]:
            if not Path(path).exists():
                raise ConfigError(f"{path}: was an input of the run and is no longer there")
        return inputs


def _path(given: Any) -> str | None:
    return os.path.abspath(given) if isinstance(given, (str, os.PathLike)) else IN_MEMORY
