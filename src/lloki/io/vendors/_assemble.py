"""From what a reader found to AnnData: controls apart, probes of several genes named, facts beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki.errors import GeneError
from lloki.genes import is_control
from lloki.io._findings import number, some
from lloki.io.vendors._export import GENE, Cells, Export

_LARGE = 5.0  # times the median area or volume, from which a cell may be several
_CONTROL_COLUMNS = ("control_probe_counts", "control_codeword_counts", "genomic_control_counts")


def assemble(found: Cells, export: Export) -> AnnData:
    """Make an AnnData of the cells of one export.

    Parameters
    ----------
    found
        What its reader found.
    export
        Where it comes from.

    Returns
    -------
    AnnData
        ``X`` counts of genes; ``obs`` all columns of the instrument, ``cell_id`` (its own, as text) and
        ``control_counts``; ``var["probe"]`` where a probe measures several genes; ``obsm["spatial"]``
        positions; ``uns`` technology, panel, spatial_unit, source, number of control features, and notes for
        the user.
    """
    notes = list(found.notes)
    genes, controls = _genes(found.features, export)
    obs = found.obs.drop(columns="unnamed", errors="ignore")  # numbers of rows, which R writes
    obs[keys.CELL_ID] = pd.Series(obs.index.astype(str), index=obs.index, dtype=object)
    obs["control_counts"], note = _control_counts(found, obs, controls)
    notes += note
    var = found.features[genes].copy()
    var.index, several = _first_genes(var.index)
    if several:
        var.insert(0, "probe", found.features.index[genes].astype(str))
        notes.append(several)
    if found.size:
        notes += _large(obs[found.size], found.size)
    known = np.isfinite(found.positions).all(axis=1)
    if not known.all():
        notes.append(f"{number(int((~known).sum()), 'cell')} without a position left out")
    facts = {keys.PANEL: found.panel, keys.UNIT: found.unit, **found.facts}
    return AnnData(
        X=found.counts[known][:, genes],
        obs=obs[known],
        var=var,
        obsm={keys.SPATIAL: found.positions[known]},
        uns={
            keys.TECHNOLOGY: export.vendor.technology,
            **{key: value for key, value in facts.items() if value},
            "source": str(export.counts),
            "control_features": int(controls.sum()),
            keys.NOTES: notes,
        },
    )


def _genes(features: pd.DataFrame, export: Export) -> tuple[np.ndarray, np.ndarray]:
    """(f,) bool each: features that measure a gene, and controls; proteins and the like are neither."""
    controls = is_control(features.index)
    other = np.zeros(len(features), dtype=bool)
    if "feature_type" in features:
        types = features["feature_type"].astype(str)
        other = (types != GENE).to_numpy()
        controls |= other & ~types.str.contains("protein|antibody", case=False).to_numpy()
    genes = ~controls & ~other
    if not genes.any():
        raise GeneError(
            "no feature measures a gene",
            where=str(export.counts),
            slot="features",
            hint="Give an export of gene expression.",
        )
    return genes, controls


def _control_counts(found: Cells, obs: pd.DataFrame, controls: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(n,) counts of controls in each cell, and their rate in words."""
    columns = [name for name in _CONTROL_COLUMNS if name in obs]
    if controls.any():
        counts = np.asarray(found.counts[:, controls].sum(axis=1)).ravel()
        names = found.features.index[controls]
        what = f"{number(len(names), 'control feature')} ({some(names, 3)}) left out"
    elif columns:
        counts = obs[columns].astype(float).sum(axis=1).to_numpy()
        what = "no control features among the counts"
    else:
        return np.full(len(obs), np.nan), []
    total = float(found.counts.sum()) + (0.0 if controls.any() else counts.sum())
    rate = counts.sum() / total if total else 0.0
    return counts, [f"{what}; controls are {rate:.2%} of all counts"]


def _first_genes(names: pd.Index) -> tuple[pd.Index, str]:
    """Names of genes for probes that measure several (``Lyz1/2``): the first, unless it has its own probe."""
    known = set(names)
    several = {name: name.split("/")[0] for name in names.astype(str) if "/" in name[1:]}
    several = {name: first for name, first in several.items() if first not in known}
    if not several:
        return names, ""
    note = (
        f"{number(len(several), 'probe')} for several genes each ({some(several, 3)}): called by the first, "
        "their own names are in var['probe']"
    )
    return pd.Index([several.get(name, name) for name in names], dtype=object), note


def _large(sizes: pd.Series, column: str) -> list[str]:
    """Report cells so large that they may be two or more."""
    values = pd.to_numeric(sizes, errors="coerce").to_numpy(float)
    large = values > _LARGE * np.nanmedian(values) if np.isfinite(values).any() else np.zeros(0, dtype=bool)
    if not large.any():
        return []
    return [
        f"{number(int(large.sum()), 'cell')} ({large.mean():.1%}) of more than {_LARGE:g} times the median "
        f"obs['{column}'] may be several cells; kept"
    ]
