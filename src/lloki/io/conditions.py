"""What lloki writes into ``obs``: the section, what it is conditioned on, and the flags of its cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._missing import stands_for_missing
from lloki.errors import InputError
from lloki.genes import is_panel_name, panel_name
from lloki.io._findings import Findings, some
from lloki.io.frames import as_text
from lloki.io.sources import Source, stem


def technology_of(
    adata: AnnData, obs: pd.DataFrame, source: Source, chosen: Mapping[str, str], findings: Findings
) -> str:
    """Name a section's technology: by the caller, ``uns``, ``obs``, else the input's name, with a warning."""
    for known in (source.sample, source.given):
        if known is not None and known in chosen:
            return chosen[known]
    given = adata.uns.get(keys.TECHNOLOGY)
    if given is not None and np.size(given) == 1 and not isinstance(given, Mapping | set):
        value = np.ravel(np.asarray(given, dtype=object))[0]
        value = value.decode(errors="replace") if isinstance(value, bytes) else value
        if not stands_for_missing(np.array([value], dtype=object))[0]:
            return str(value)
    found = _one(obs, keys.TECHNOLOGY, findings.where)
    if found:
        return found
    name = source.sample if isinstance(source.data, AnnData) else stem(source.data)
    findings.corrected(
        f"no technology is given; its name {name!r} is used (--technology NAME={source.sample})"
    )
    return name


def panel_of(adata: AnnData, obs: pd.DataFrame, genes: pd.Index, source: Source, findings: Findings) -> str:
    """Name a section's panel: the caller's, ``obs``'s, ``uns``'s, else by its genes; not a stale one."""
    found = source.panel or _one(obs, keys.PANEL, findings.where)
    given = adata.uns.get(keys.PANEL)
    if not found and isinstance(given, str) and given.strip():
        found = given
    return found if found and not is_panel_name(found) else panel_name(genes)


def _one(obs: pd.DataFrame, column: str, where: str) -> str:
    """Return the one value of a column in this section, ``""`` if it has none."""
    if column not in obs.columns:
        return ""
    named = obs[column][~stands_for_missing(obs[column])]
    values = sorted(set(as_text(named).dropna()))
    if len(values) > 1:
        raise InputError(
            f"holds {some(values)} in one section",
            where=where,
            slot=f"obs['{column}']",
            hint=f"Split the file by it (--slice-key {column}), or remove the column.",
        )
    return values[0] if values else ""


def with_ours(
    obs: pd.DataFrame, ours: Mapping[str, Any], findings: Findings, slice_key: str | None, *, drop: bool
) -> pd.DataFrame:
    """Join the input's columns and ours; an input column of our name and other content is renamed.

    Parameters
    ----------
    obs
        The input's columns.
    ours
        By name, one value or (n,) values.
    findings
        Gets a message for each renamed column, but for the one that names the sections.
    slice_key
        That column.
    drop
        Columns of our names are ours, from an earlier reading: replace them.
    """
    obs = obs.copy()
    for name in keys.OURS_OBS:
        if name not in obs.columns:
            continue
        same = name in ours and (as_text(obs[name]).to_numpy() == ours[name]).all()
        if same or (drop and name in ours):
            del obs[name]
            continue
        new = name + keys.INPUT_SUFFIX
        while new in obs.columns:
            new += keys.INPUT_SUFFIX
        obs = obs.rename(columns={name: new})
        if name != slice_key:
            findings.corrected(f"obs['{name}'] has a name that lloki uses; kept as obs['{new}']")
    for name, value in ours.items():
        obs[name] = pd.Categorical(value if isinstance(value, np.ndarray) else [value] * len(obs))
    return obs
