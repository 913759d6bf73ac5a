"""What to read and under which names: one :class:`Source` an input, before any file is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from anndata import AnnData

from lloki import keys
from lloki.errors import ConfigError
from lloki.io.folders import samples_in
from lloki.io.trust import require_name

Input: TypeAlias = str | os.PathLike[str] | AnnData
Slices: TypeAlias = Sequence[Input] | Input
_ENDINGS = (".h5ad", ".zarr", ".h5")


@dataclass(frozen=True)
class Source:
    """One input of :func:`lloki.io.read_slices`.

    Attributes
    ----------
    data
        Path or AnnData.
    sample
        Its name, unique among the inputs but for sections of one file that were read before.
    named
        Whether the caller chose that name.
    layer, panel
        Where its counts are and what its panel is called; ``None`` leaves it to the file.
    given
        Name of the input that it is a part of: an instrument's folder with several samples.
    """

    data: Input
    sample: str
    named: bool = False
    layer: str | None = None
    panel: str | None = None
    given: str | None = None

    @property
    def where(self) -> str:
        """What errors call it: the path, or the sample's name for an AnnData in memory."""
        return self.sample if isinstance(self.data, AnnData) else str(self.data)


def is_checked(adata: AnnData) -> bool:
    """Whether an AnnData came out of :func:`lloki.io.read_slices`, as one section."""
    info = adata.uns.get(keys.UNS)
    return (
        isinstance(info, Mapping)
        and {"source", "scale", "messages"} <= set(info)
        and {keys.SLICE, keys.SAMPLE} <= set(adata.obs.columns)
        and adata.obs[keys.SLICE].nunique() == 1
    )


def as_list(inputs: Slices) -> list[Input]:
    """List of inputs; a single one need not be in a list, and ``~`` is the home folder."""
    several = isinstance(inputs, Iterable) and not isinstance(inputs, (str, os.PathLike, AnnData, Mapping))
    given: list[Any] = list(cast(Iterable[Any], inputs)) if several else [inputs]
    for x in given:
        if not isinstance(x, (str, os.PathLike, AnnData)):
            hint = " Give sdata.tables['table']." if type(x).__name__ == "SpatialData" else ""
            raise ConfigError(f"an input must be a path or an AnnData, not {type(x).__name__}.{hint}")
    return [x if isinstance(x, AnnData) else expanded(x) for x in given]


def expanded(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Path with ``~`` expanded, which a shell leaves within ``--option=~/file`` and tables; else as it is.

    Raises
    ------
    InputError
        If it is longer than the file system allows.
    """
    found = os.path.expanduser(path) if str(path).startswith("~") else path
    require_name(found)
    return found


def plan_sources(
    paths: Slices,
    *,
    layer: str | None = None,
    samples: Sequence[str] | None = None,
    panels: Sequence[str | None] | None = None,
    layers: Sequence[str | None] | None = None,
) -> list[Source]:
    """Name every input and pair it with its own settings.

    Parameters
    ----------
    paths
        The inputs. Two files of one name (``a/x.h5ad``, ``b/x.h5ad``) are named with their folder (``a_x``,
        ``b_x``), so that a name does not depend on the order of the inputs. An instrument's folder with
        several samples becomes one source for each, named ``folder_sample``.
    layer
        Layer for every input without an entry in ``layers``.
    samples, panels, layers
        One per input, or ``None``.

    Raises
    ------
    ConfigError
        If there is no input, if a list has another length than ``paths``, if a name is used twice, or if one
        path is given twice.
    """
    paths = as_list(paths)
    if not paths:
        raise ConfigError("No slices were given. Name at least one file.")
    for name, values in (("samples", samples), ("panels", panels), ("layers", layers)):
        if values is not None and len(values) != len(paths):
            raise ConfigError(
                f"{name} has {len(values)} entries for {len(paths)} inputs. Give one per input."
            )
    files = Counter(str(Path(path).resolve()) for path in paths if not isinstance(path, AnnData))
    twice = [file for file, count in files.items() if count > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is given twice. Name every slice once.")
    names = list(samples) if samples is not None else names_of(paths)
    for name in names:
        # sections of one file that were read before share their sample
        if names.count(name) > 1 and not all(
            isinstance(path, AnnData) and is_checked(path)
            for path, other in zip(paths, names)
            if other == name
        ):
            raise ConfigError(f"Two inputs are called {name!r}. Give different names with samples=.")
    sources = [
        Source(
            data=path,
            sample=names[i],
            named=samples is not None,
            layer=(layers[i] if layers is not None else None) or layer,
            panel=panels[i] if panels is not None else None,
        )
        for i, path in enumerate(paths)
    ]
    return [part for source in sources for part in _samples(source)]


def _samples(source: Source) -> list[Source]:
    """One source for each sample of an instrument's folder that holds several; else the source itself."""
    if isinstance(source.data, AnnData):
        return [source]
    inside = samples_in(source.data)
    return [
        replace(source, data=path, sample=f"{source.sample}_{name}", given=source.sample)
        for name, path in inside.items()
    ] or [source]


def stem(path: str | os.PathLike[str]) -> str:
    """Name a file without the ending of its format; other dots stay (``animal1_b-0.09``)."""
    name = Path(os.path.abspath(path)).name  # a link is named as it is, not by its target
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def names_of(paths: Sequence[Input]) -> list[str]:
    """Name each input after its file, with the folder's name where two files share theirs."""
    names = []
    for i, path in enumerate(paths):
        if not isinstance(path, AnnData):
            names.append(stem(path))
        elif is_checked(path):
            names.append(str(path.obs[keys.SAMPLE].iloc[0]))
        else:
            names.append(stem(path.filename) if path.filename else f"slice{i + 1}")
    shared = Counter(names)
    return [
        f"{Path(os.path.abspath(path)).parent.name}_{name}"
        if shared[name] > 1 and not isinstance(path, AnnData)
        else name
        for path, name in zip(paths, names)
    ]
