"""One input, read from its file to its checked sections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from lloki import keys
from lloki.genes import Identifiers
from lloki.io._findings import Findings, number, some
from lloki.io._overlap import local_positions
from lloki.io.cells import has_column, read_coordinates, read_obs, section_column, split_sections
from lloki.io.conditions import panel_of, technology_of, with_ours
from lloki.io.counts import Counts, read_counts
from lloki.io.features import read_features
from lloki.io.files import UNUSED, open_input
from lloki.io.frames import text_of, tidy, without_unused
from lloki.io.measured import measured_by_slice, measured_genes
from lloki.io.options import ReadOptions
from lloki.io.quality import drop_cells, overall_control_rate
from lloki.io.sources import Source, is_checked
from lloki.io.spatial_data import OWN_FRAMES
from lloki.io.units import MICROMETERS, median_spacing, unit_of, widest

NO_COUNTS = "no counts"  # keys.FLAG of a cell without any
_RECORD = "lloki recorded "  # var columns of what an integration recorded, while genes are chosen
_STACKED = 0.1  # share of cells at the position of another that is worth a message
_AT_ONE, _AT_ONE_SHARE = 3, 0.005  # cells at one position that are: more than these, and this share
_FAR = 20.0  # times the distance from the middle within which 90 % of the cells lie
_ON_A_LINE = 10  # so many positions on one line are no section
_LINE = 1e-10  # of the variance along it, across it
_SMALLEST, _LARGEST = 1e-100, 1e100  # squared, distances beyond these vanish or overflow
_SPACING = (1.0, 500.0)  # µm from a cell to the nearest: less than any cell, more than between sparse ones


@dataclass
class Section:
    """One section as read: facts that are known, what was found, and the checked AnnData if nothing is wrong.

    ``columns`` are the input's own ``obs`` columns, ``None`` if it could not be opened; ``labels`` are those
    of its cells.
    """

    name: str
    source: Source
    findings: Findings
    facts: dict[str, Any] = field(default_factory=dict)
    columns: list[str] | None = None
    adata: AnnData | None = None
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Whole:
    """The parts of an opened input, all sections together; ``None`` for a part that has an error."""

    adata: AnnData
    obs: pd.DataFrame
    counts: Counts | None
    genes: tuple[sparse.csr_matrix, pd.DataFrame, Identifiers] | None
    coords: np.ndarray | None
    slice_key: str | None

    def of_genes(self, measured: np.ndarray, findings: Findings) -> _Whole:
        """Take only the genes that a section measured."""
        if self.genes is None or measured.all():
            return self
        x, var, ids = self.genes
        gone = var.index[~measured]
        findings.corrected(
            f"{len(gone):,} of {number(len(measured), 'gene')} have no count in this section but in others "
            f"of the file: not measured here, and left out of this section ({some(gone)})"
        )
        return replace(self, genes=(x[:, measured], var.loc[measured], ids))


def read_sections(source: Source, options: ReadOptions, *, strict: bool) -> list[Section]:
    """Read one input and cut it into sections.

    Parameters
    ----------
    source
        The input.
    options
        What holds for all inputs.
    strict
        Raise the first error; otherwise collect all, and a section with an error has no AnnData.

    Returns
    -------
    list of Section
        Sorted by section; one without AnnData if the input cannot be cut up.
    """
    findings = Findings(source.where, strict=strict)
    adata = findings.attempt(lambda: open_input(source.data, unread=UNUSED))
    if adata is None:
        return [Section(source.sample, source, findings)]
    before = is_checked(adata)
    if before:
        findings.recall(adata.uns[keys.UNS]["messages"])
    for note in adata.uns.get(keys.NOTES, ()):
        findings.corrected(str(note))
    columns = [str(name) for name in adata.obs.columns]
    opened = adata
    read = findings.attempt(
        lambda: read_counts(opened, findings, layer=source.layer, allow_normalized=options.allow_normalized)
    )
    recorded = measured_by_slice(adata) if read and read.slot != "raw.X" else {}
    masks = {f"{_RECORD}{i}": mask for i, mask in enumerate(recorded.values())}
    genes = (
        findings.attempt(lambda: read_features(read.x, read.var.assign(**masks), findings)) if read else None
    )
    if genes and masks:
        var = genes[1]
        recorded = {name: var[column].to_numpy(dtype=bool) for name, column in zip(recorded, masks)}
        genes = genes[0], var.drop(columns=list(masks)), genes[2]
    counts = read
    if counts and genes:
        adata, counts, genes = _within_limits(adata, counts, genes, options, findings)
    within = adata
    coords = findings.attempt(lambda: read_coordinates(within, findings))
    slice_key, label_key = (
        key if key and has_column(adata, key, findings, parameter=parameter) else None
        for parameter, key in (("slice_key", options.slice_key), ("label_key", options.label_key))
    )
    obs = read_obs(adata, findings, label_key=label_key)
    parts = findings.attempt(lambda: split_sections(obs, findings, slice_key=slice_key, coords=coords))
    if parts is None:
        return [Section(source.sample, source, findings, columns=columns)]
    if genes:
        _report_empty_genes(genes[0], genes[1].index, findings)
    whole = _Whole(adata, obs, counts, genes, coords, slice_key)
    measured = measured_genes(*genes[:2], parts, recorded) if genes and len(parts) > 1 else {}
    sections = []
    for part, rows in parts.items():
        name = f"{source.sample}:{part}" if part else source.sample
        if before and not part and not source.named:
            name = str(obs[keys.SLICE].iloc[0])
        section = Section(name, source, findings.inside(part), columns=columns)
        if label_key is not None:
            section.labels = frozenset(map(str, obs[label_key].iloc[rows].dropna().unique()))
        own = whole.of_genes(measured[part], section.findings) if part in measured else whole
        _examine(section, own, rows, options)
        if not section.findings.errors:
            section.adata = _assemble(section, own, rows)
        sections.append(section)
    return sections


def _within_limits(
    adata: AnnData,
    counts: Counts,
    genes: tuple[sparse.csr_matrix, pd.DataFrame, Identifiers],
    options: ReadOptions,
    findings: Findings,
) -> tuple[AnnData, Counts, tuple[sparse.csr_matrix, pd.DataFrame, Identifiers]]:
    """Leave out cells as the caller asked for; by default none."""
    x, var, ids = genes
    limits: Any = {"min_counts": options.min_counts, "max_control_rate": options.max_control_rate}
    keep = findings.attempt(lambda: drop_cells(x, adata.obs, findings, **limits))
    if keep is None or keep.all() or not keep.any():
        return adata, counts, genes
    return adata[keep].copy(), replace(counts, x=counts.x[keep]), (x[keep], var, ids)


def _examine(section: Section, whole: _Whole, rows: np.ndarray, options: ReadOptions) -> None:
    """Check one section and fill in its facts."""
    findings, source, facts = section.findings, section.source, section.facts
    obs = whole.obs.iloc[rows]
    technology = findings.attempt(
        lambda: technology_of(whole.adata, obs, source, options.technology or {}, findings)
    )
    facts |= {"cells": len(rows), "technology": technology or ""}
    if len(rows) < 2:
        findings.refuse(
            f"has {number(len(rows), 'cell')}, and a cell needs neighbors",
            slot=f"obs['{whole.slice_key}']" if whole.slice_key else "X",
            hint="Leave this slice out.",
        )
    elif len(rows) <= options.n_neighbors:
        few = f"has {number(len(rows), 'cell')}, too few for {options.n_neighbors} neighbors each"
        findings.corrected(f"{few}; all others are used")
    if {"array_row", "array_col"} <= set(map(str, obs.columns)):
        findings.corrected(
            "obs has array_row and array_col, as Visium's spots have; spots are taken for cells"
        )
    if whole.coords is not None:
        facts |= _measures(whole.coords[rows], unit_of(whole.adata))
        _check_positions(whole.coords[rows], findings)
        _check_unit(facts, findings)
        _check_frames(whole, rows, findings)
    if whole.counts is None or whole.genes is None:
        return
    x, var, ids = whole.genes
    panel = findings.attempt(lambda: panel_of(whole.adata, obs, var.index, source, findings))
    facts |= {"genes": x.shape[1], "scale": whole.counts.scale, "panel": panel or ""}
    facts |= {"ids": ids.kind, "species": ids.species, "control_rate": overall_control_rate(x[rows], obs)}
    empty = int((np.diff(x.indptr)[rows] == 0).sum())
    if empty == len(rows):
        findings.refuse("holds zeros only", slot=whole.counts.slot, hint="Leave this section out.")
    elif empty:
        findings.corrected(f"{number(empty, 'cell')} without any count; kept and flagged {NO_COUNTS!r}")


def _assemble(section: Section, whole: _Whole, rows: np.ndarray) -> AnnData:
    """Put the checked AnnData of a section together; all its parts are good."""
    adata, coords = whole.adata, whole.coords
    if whole.counts is None or whole.genes is None or coords is None:
        raise ValueError("a section with a missing part has an error and is not assembled")
    x, var, ids = whole.genes
    x, facts, before = x[rows], section.facts, is_checked(adata)
    ours = {
        keys.SLICE: section.name,
        keys.SAMPLE: section.source.sample,
        keys.TECHNOLOGY: facts["technology"],
        keys.PANEL: facts["panel"],
        keys.TOKEN: f"{facts['technology']}|{facts['panel']}",
        keys.FLAG: np.where(np.diff(x.indptr) == 0, NO_COUNTS, ""),
    }
    obs = without_unused(whole.obs.iloc[rows])
    if keys.CELL_ID not in obs.columns:  # names may be made unique, or get a prefix in a run
        obs[keys.CELL_ID] = np.array([text_of(name) for name in adata.obs_names[rows]], dtype=object)
    obs = with_ours(obs, ours, section.findings, whole.slice_key, drop=before)
    others = {name: _rows(value, rows) for name, value in adata.obsm.items() if name != keys.SPATIAL}
    obsm = {name: _writable(value, name, section.findings) for name, value in others.items()}
    plain = (str, int, float, bool, np.generic)  # not images and the like, which belong to the input
    uns = {key: value for key, value in adata.uns.items() if isinstance(value, plain)}
    for name in (keys.TECHNOLOGY, keys.PANEL):  # obs has them, or what the caller gave in their place
        uns.pop(name, None)
    info: dict[str, Any] = {"source": section.source.where, "scale": whole.counts.scale}
    if before:  # what was found when the file was read still holds
        info = {key: str(adata.uns[keys.UNS][key]) for key in ("source", "scale")}
    info |= {"gene_ids": ids.kind, "species": ids.species}
    if facts["unit"]:
        info["unit"] = facts["unit"]
    info["messages"] = list(dict.fromkeys(section.findings.messages))
    return AnnData(
        X=x,
        obs=obs,
        var=var.copy(),
        uns={**uns, keys.UNS: info},
        obsm={keys.SPATIAL: coords[rows], **obsm},
    )


def _rows(value: Any, rows: np.ndarray) -> Any:
    return value.iloc[rows].copy() if isinstance(value, pd.DataFrame) else value[rows]


def _writable(value: Any, name: str, findings: Findings) -> Any:
    """Entry of ``obsm`` in a form that files can hold."""
    if isinstance(value, pd.DataFrame):
        return tidy(value, f"obsm['{name}']", findings)
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and np.ndim(value) == 2:
        table = tidy(pd.DataFrame(np.asarray(value)), f"obsm['{name}']", findings)
        return table.astype(str).to_numpy(dtype=object)
    return value


def _report_empty_genes(x: sparse.csr_matrix, names: pd.Index, findings: Findings) -> None:
    never = np.bincount(x.indices, minlength=x.shape[1]) == 0
    if never.any():
        findings.corrected(
            f"{number(int(never.sum()), 'gene')} without any count, kept ({some(names[never])})"
        )


def _check_frames(whole: _Whole, rows: np.ndarray, findings: Findings) -> None:
    """Refuse positions that are each group's own, so that cells of different groups lie on one another."""
    if whole.coords is None or is_checked(whole.adata):
        return
    slot = f"obsm['{keys.SPATIAL}']"
    own = whole.adata.uns.get(OWN_FRAMES)
    if own is not None:
        regions = sorted(set(whole.adata.obs[own].iloc[rows].astype(str)))
        if len(regions) > 1:
            findings.refuse(
                f"holds {len(regions)} samples, each in its own coordinates: {some(regions)}",
                slot=f"tables.obs['{own}']",
                hint=f"Read each as a section: slice_key={own!r} (--slice-key {own}).",
            )
            return
    sections = section_column(whole.obs.iloc[rows])
    ignored: list[str] = []
    found = local_positions(whole.adata, whole.coords, rows, sections, ignored)
    for name in ignored:
        findings.corrected(
            f"obs['{name}'] is called a field of view, but its groups lie on one another in one frame, as "
            "cells keep their distance across groups; it is not used"
        )
    if found is not None:
        column, true = found
        how = (
            f"{true} {'hold' if ' and ' in true else 'holds'} true positions: put these into {slot}."
            if true
            else f"If they are sections, read each as one: slice_key={column!r} (--slice-key {column}). If "
            "they are fields of view, add the position of its field to each cell. If they are no places, "
            f"remove the column: del adata.obs[{column!r}]."
        )
        findings.refuse(
            f"is local to each group of obs['{column}']: groups lie on one another, and cells far apart "
            "would become neighbors",
            slot=slot,
            hint=how,
        )


def _measures(coords: np.ndarray, unit: str) -> dict[str, Any]:
    """Facts about positions: median distance to the nearest cell, extent, and their unit."""
    if not len(coords):
        return {"unit": unit}
    width, height = (float(size) for size in np.ptp(widest(coords), axis=0))
    return {"spacing": median_spacing(coords), "extent": (width, height), "unit": unit}


def _check_unit(facts: dict[str, Any], findings: Findings) -> None:
    """Report a unit that the distances between cells contradict."""
    spacing, (low, high) = facts.get("spacing", float("nan")), _SPACING
    if facts["unit"] in MICROMETERS and (spacing < low or spacing > high):
        findings.corrected(
            f"the nearest cell is {spacing:.3g} µm away in the median, hardly a distance of cells: "
            f"check the unit of obsm['{keys.SPATIAL}'] (uns['{keys.UNIT}'])"
        )


def _check_positions(coords: np.ndarray, findings: Findings) -> None:
    places, cells = np.unique(coords, axis=0, return_counts=True)
    slot = f"obsm['{keys.SPATIAL}']"
    extent = np.ptp(coords, axis=0).max() if len(coords) else 0.0
    if len(places) == 1 and len(coords) > 1:
        findings.refuse("is the same for all cells", slot=slot, hint="Give the cells' real centroids.")
    elif len(places) > 1 and not _SMALLEST < extent < _LARGEST:
        text = f"spans {extent:.3g}, beyond what distances can be computed of"
        findings.refuse(text, slot=slot, hint="Give micrometers or pixels.")
    elif len(places) >= _ON_A_LINE and _is_line(places[~_far(places)]):
        findings.refuse(
            "has all cells on one line",
            slot=slot,
            hint="Give x and y of each cell; it may hold one of them twice, or a constant.",
        )
    elif len(coords) - len(places) > _STACKED * len(coords):
        findings.corrected(f"{slot} has {len(places):,} positions for {number(len(coords), 'cell')}")
    else:
        _report_placeholders(coords, places, cells, slot, findings)


def _is_line(places: np.ndarray) -> bool:
    """Whether positions lie on one line, within what rounding leaves."""
    spread = np.cov((places - places.mean(axis=0)) / np.ptp(places, axis=0).max(), rowvar=False)
    lengths = np.linalg.eigvalsh(spread)
    return bool(lengths[-2] <= _LINE * lengths[-1])


def _far(coords: np.ndarray) -> np.ndarray:
    """(n,) bool: cells far from all others, as at -9999."""
    if len(coords) < _ON_A_LINE:
        return np.zeros(len(coords), dtype=bool)
    away = np.abs(coords - np.median(coords, axis=0)).max(axis=1)
    return away > _FAR * np.quantile(away, 0.9)


def _report_placeholders(
    coords: np.ndarray, places: np.ndarray, cells: np.ndarray, slot: str, findings: Findings
) -> None:
    """Report positions that stand for missing ones: many cells at one, or far from all others."""
    top = int(cells.argmax()) if len(cells) else 0
    if len(cells) and cells[top] > max(_AT_ONE, _AT_ONE_SHARE * len(coords)):
        at = ", ".join(f"{value:g}" for value in places[top])
        findings.corrected(
            f"{slot} puts {number(int(cells[top]), 'cell')} at ({at}), perhaps for lack of one; "
            "kept, and neighbors of each other"
        )
    far = _far(coords)
    if far.any():
        at = ", ".join(f"{value:g}" for value in coords[far.argmax()])
        findings.corrected(
            f"{slot} puts {number(int(far.sum()), 'cell')} far from all others (one at {at}), which may "
            "stand for a missing position; kept"
        )
