"""The evidence of a run, gathered for its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki.evaluate.evidence import GeneCorrelations, gene_correlations, gene_structure, spatial_coherence
from lloki.evaluate.held_out import ENOUGH_GENES, LEAST_WITHIN
from lloki.evaluate.kinds import CellKinds, cell_kinds, likeness
from lloki.evaluate.types import shared_names, type_agreement
from lloki.evaluate.verdict import KIND_LIKE, PAIRS, SLICES, UNLIKE_ACROSS, UNLIKE_WITHIN, Evidence
from lloki.run.held_out import RunHeldOut, choose
from lloki.run.reference import Reference
from lloki.run.slices import SliceRecord
from lloki.run.store import load_arrays

HARDLY = 0.05  # of a cluster's share in one slice: its share in every other, where these hardly enter it
SMALL = 0.005  # share of a slice's cells below which a cluster is passed over
MOST_CLUSTERS = 5  # named in a reason


def evidence(
    trained: Sequence[SliceRecord],
    reference: Reference | None,
    held_out: RunHeldOut,
    clusters: Mapping[str, NDArray[np.integer]],
    before: Mapping[str, NDArray[np.floating]],
    joint: Mapping[str, NDArray[np.floating]],
    labels: Mapping[str, NDArray] | None,
    metrics: Mapping[str, Any],
    *,
    seed: int,
) -> Evidence:
    """Gather what shows whether like met like.

    Parameters
    ----------
    trained
        Slices of the fit. At most 10 are looked at, those of the held-out genes.
    reference
        The run's.
    held_out
        Scores of both embeddings.
    clusters
        Slice → (n,) clusters in the joint space.
    before, joint
        Slice → (n, d) and (n, e), before and after the autoencoder.
    labels
        Slice → (n,) known types, ``""`` where unknown.
    metrics
        Of the joint embedding, `lloki.evaluate.quality`.
    seed
        Draws cells.

    Notes
    -----
    From at most 5,000 cells of a slice: time grows with slices x 5,000 x genes², with slices² x 300² for
    gene structure, and with labels as `type_agreement`.
    """
    chosen = choose(trained, seed)
    correlations: dict[str, GeneCorrelations] = {}
    coherence: dict[str, float] = {}
    alikeness: dict[str, tuple[float, str]] = {}
    kinds: dict[tuple[str, ...], CellKinds | None] = {}  # of the reference, seen through a panel
    for r in chosen:
        cells = load_arrays(r.piece.path)
        counts = sparse.csr_matrix(cells["counts"])
        panel = tuple(r.genes)
        if reference is not None:
            if panel not in kinds:
                kinds[panel] = cell_kinds(reference.counts, reference.genes, among=panel, seed=seed)
            alikeness[r.name] = _alikeness(r, counts, clusters[r.name], kinds[panel], seed)
        correlations[r.name] = gene_correlations(counts, r.genes, seed=seed)
        coherence[r.name] = spatial_coherence(counts, cells["spatial"], seed=seed)
    of_reference = None
    if reference is not None:
        of_reference = gene_correlations(reference.counts, reference.genes, seed=seed)
    types: dict[str, pd.DataFrame] = {}
    if labels is not None:
        names = [r.name for r in chosen]
        known = np.concatenate([labels[name] for name in names])
        where = np.repeat(names, [len(labels[name]) for name in names])
        one, other = (np.concatenate([rows[name] for name in names]) for rows in (before, joint))
        types["types"] = type_agreement(one, other, known, where, seed=seed)
        types["names"] = shared_names(known, where)
    return Evidence(
        metrics=metrics,
        pairs=_pairs(chosen, correlations, held_out, seed),
        slices=_slices(chosen, correlations, coherence, of_reference, alikeness, held_out, clusters, seed),
        held_out=held_out.why,
        slices_in_all=len(trained),
        **types,
    )


def _pairs(
    chosen: Sequence[SliceRecord],
    correlations: Mapping[str, GeneCorrelations],
    held_out: RunHeldOut,
    seed: int,
) -> pd.DataFrame:
    directions = ["target", "source"]
    table = held_out.before.table.merge(held_out.after.table, on=directions, suffixes=("", "_after"))
    found = []
    for one, other in combinations((r.name for r in chosen), 2):
        structure = gene_structure(correlations[one], correlations[other], seed=seed)
        both = table[table["target"].isin([one, other]) & table["source"].isin([one, other])]
        genes, within, ratio = 0, float("nan"), float("nan")
        if len(both) == 2:
            genes, within = int(both["genes"].min()), float(both["within"].min())
            if within >= LEAST_WITHIN and genes >= ENOUGH_GENES:
                ratio = float((both["across_after"] / both["within"]).min())
        unlike, names = _unlike(held_out.after.clusters, one, other)
        found.append(
            {
                "one": one,
                "other": other,
                "genes": genes,
                "structure": structure.relative if structure else float("nan"),
                "structure_z": structure.z if structure else float("nan"),
                "within": within,
                "ratio": ratio,
                "unlike": unlike,
                "clusters": names,
            }
        )
    return pd.DataFrame(found, columns=list(PAIRS))


def _unlike(table: pd.DataFrame, one: str, other: str) -> tuple[float, str]:
    """Larger share of the cells of either slice whose cluster the other one does not predict."""
    worst, names = float("nan"), ""
    for target, source in ((one, other), (other, one)):
        part = table[(table["target"] == target) & (table["source"] == source)]
        judged = part[part["within"] >= UNLIKE_WITHIN]
        if not len(judged):
            continue
        bad = judged[judged["across"] < UNLIKE_ACROSS].sort_values("cells", ascending=False)
        share = float(bad["cells"].sum() / judged["cells"].sum())
        if not share <= worst:
            worst, names = share, _named(target, bad["cluster"])
    return worst, names


def _alikeness(
    record: SliceRecord,
    counts: sparse.csr_matrix,
    clusters: NDArray[np.integer],
    kinds: CellKinds | None,
    seed: int,
) -> tuple[float, str]:
    """How far a slice's clusters resemble the reference's kinds of cells, and those that do not."""
    if kinds is None:
        return float("nan"), ""
    table = likeness(counts, record.genes, clusters, kinds, seed=seed)
    judged = table[table["itself"] >= UNLIKE_WITHIN]
    if not len(judged):
        return float("nan"), ""
    bad = judged[judged["like"] < KIND_LIKE].sort_values("cells", ascending=False, kind="stable")
    return float(np.average(judged["like"], weights=judged["cells"])), _named(record.name, bad["cluster"])


def _slices(
    chosen: Sequence[SliceRecord],
    correlations: Mapping[str, GeneCorrelations],
    coherence: Mapping[str, float],
    reference: GeneCorrelations | None,
    alikeness: Mapping[str, tuple[float, str]],
    held_out: RunHeldOut,
    clusters: Mapping[str, NDArray[np.integer]],
    seed: int,
) -> pd.DataFrame:
    kinds = int(max((clusters[r.name].max(initial=0) for r in chosen), default=0)) + 1
    share = {r.name: np.bincount(clusters[r.name], minlength=kinds) / max(r.cells, 1) for r in chosen}
    within = held_out.before.table.groupby("target")["within"].max()
    found = []
    for r in chosen:
        others = [share[s.name] for s in chosen if s.name != r.name]
        mine, most = share[r.name], np.max(others, axis=0) if others else share[r.name]
        alone = np.flatnonzero((mine >= SMALL) & (most < HARDLY * mine))
        alone = alone[np.argsort(-mine[alone], kind="stable")]
        like = gene_structure(correlations[r.name], reference, seed=seed) if reference else None
        alike, names = alikeness.get(r.name, (float("nan"), ""))
        found.append(
            {
                "slice": r.name,
                "cells": r.cells,
                "within": float(within.get(r.name, np.nan)),
                "coherence": coherence[r.name],
                "alone": float(mine[alone].sum()),
                "clusters": _named(r.name, alone),
                "genes": len(r.genes),
                "reference_genes": len(r.coverage.used) if reference and r.coverage else float("nan"),
                "reference_structure": like.relative if like else float("nan"),
                "reference_z": like.z if like else float("nan"),
                "reference_like": alike,
                "reference_clusters": names,
            }
        )
    return pd.DataFrame(found, columns=list(SLICES))


def _named(name: str, clusters: Any) -> str:
    numbers = [str(int(c)) for c in clusters]
    if not numbers:
        return ""
    more = " and others" if len(numbers) > MOST_CLUSTERS else ""
    noun = "cluster" if len(numbers) == 1 else "clusters"
    return f"{noun} {', '.join(numbers[:MOST_CLUSTERS])}{more} of {name}"
