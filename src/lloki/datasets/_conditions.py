"""A made-up study of two conditions: donors, platforms, and differences that were planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lloki import keys
from lloki.datasets import _anatomy, _expression
from lloki.datasets._tissue import PLATFORMS, Platform, _anndata, _measured, _reference, _stream
from lloki.errors import ConfigError

CONTROL, DISEASE = "healthy", "disease"
MORE, FEWER, MOVED, TOWARD = "Micro", "Sst", "OPC", "Endo"  # types of the planted differences
CHANGED = ("Astro", "L2/3 IT")  # types whose expression differs
_GENES = 4  # with a difference, of each of: all panels, some, one
_COMMON = 0.25  # a gene that is changed makes up at least this share of its panel's mean rate in the type


@dataclass(frozen=True)
class Conditions:
    """Slices of two conditions, with what was planted in them."""

    slices: list[ad.AnnData]
    """One per donor and platform; ``obs`` has condition, donor, technology, slice and cell_type."""
    reference: ad.AnnData
    """Dissociated cells of the same types, all genes, of no condition."""
    composition: dict[str, float]
    """Cell type → log2 factor of its share in disease."""
    expression: pd.DataFrame
    """Planted differences: type, gene, effect (log2) and n_panels."""
    moved: tuple[str, str]
    """Cells of the first type lie beside the second in disease."""


def conditions(
    *,
    n_donors: int = 5,
    slices_per_donor: int = 3,
    n_cells: int = 1000,
    platforms: Sequence[Platform] = PLATFORMS,
    confounding: str = "none",
    strength: float = 1.0,
    donor_spread: float = 0.15,
    n_reference: int = 2000,
    n_genes: int = 700,
    seed: int = 0,
) -> Conditions:
    r"""Make slices of healthy and diseased donors on several platforms, with planted differences.

    The tissue is that of :func:`lloki.datasets.tissue`. In disease,

    - there are twice as many microglia and half as many Sst neurons,
    - in astrocytes and in L2/3 IT neurons, genes are twice or half as high: four that are on all panels, four
      on some and four on one, as far as there are such,
    - half of the OPCs lie beside endothelium.

    Parameters
    ----------
    n_donors
        Donors of each condition.
    slices_per_donor
        Platforms that measure each donor. With one, donors take turns; with all, each donor is measured
        by all of them.
    n_cells
        Cells of a slice.
    platforms
        Different from each other.
    confounding
        ``"none"``: platforms measure as many donors of either condition. ``"partial"``: healthy donors are
        measured on the first two platforms and diseased ones on the last two, so that only the platforms
        between have both. ``"complete"``: healthy donors are measured on the first platform, diseased ones on
        the last, one slice each.
    strength
        Factor of all differences, on a logarithmic scale; 0 plants none.
    donor_spread
        Standard deviation, in natural log units, of a donor's share of each type and of its expression of
        each gene in each type.
    n_reference
        Cells of the reference.
    n_genes
        Genes of the transcriptome.
    seed
        Same seed, same data.

    Raises
    ------
    ConfigError
        A size is too small, or a platform is named twice.

    Notes
    -----
    A donor's slices on several platforms share its composition and expression, not its cells. Genes to change
    are chosen among those that the type expresses at a quarter of the panel's mean rate or more.

    Examples
    --------
    >>> made = conditions(n_donors=2, slices_per_donor=1, n_cells=120, n_reference=100)
    >>> [s.uns["name"] for s in made.slices]
    ['disease1_alphafish', 'disease2_betaseq', 'healthy1_alphafish', 'healthy2_betaseq']
    """
    names = [p.name for p in platforms]
    if n_donors < 1 or n_cells < 50 or strength < 0 or donor_spread < 0 or n_reference < 1:
        raise ConfigError("n_donors and n_reference must be 1, n_cells 50, strength and spread 0 or more.")
    if len(set(names)) < len(names) or len(names) < 2 or not 1 <= slices_per_donor <= len(names):
        raise ConfigError("Give two or more different platforms, and no more slices_per_donor than these.")
    if confounding not in ("none", "partial", "complete"):
        raise ConfigError(f"confounding is none, partial or complete, not {confounding!r}.")
    biology = _expression.Biology.draw(n_genes, np.random.default_rng([seed, 0]))
    panels = {p.name: biology.panel(p.n_genes, _stream(seed, p.name)) for p in platforms}
    planted = _plant(biology, panels, strength, seed)
    shares = {MORE: strength, FEWER: -strength} if strength else {}
    slices = []
    for condition in (DISEASE, CONTROL):
        for i in range(n_donors):
            donor = f"{condition}{i + 1}"
            own = _donor(biology, planted, shares, condition == DISEASE, donor_spread, _stream(seed, donor))
            if confounding == "complete":
                used = [platforms[-1 if condition == DISEASE else 0]]
            elif confounding == "partial":
                used = list(platforms[-2:] if condition == DISEASE else platforms[:2])
            else:
                used = [platforms[(i + j) % len(platforms)] for j in range(slices_per_donor)]
            for platform in used:
                move = 0.5 * strength if condition == DISEASE else 0.0
                slices.append(
                    _slice(donor, condition, platform, *own, panels[platform.name], n_cells, move, seed)
                )
    return Conditions(slices, _reference(biology, n_reference, seed), shares, planted, (MOVED, TOWARD))


def _plant(
    biology: _expression.Biology, panels: dict[str, NDArray], strength: float, seed: int
) -> pd.DataFrame:
    """Choose the genes that differ, from each class of how many panels measure them."""
    times = np.zeros(len(biology.genes), int)
    for panel in panels.values():
        times[panel] += 1
    rng, rows = np.random.default_rng([seed, 1]), []
    if not strength:
        return pd.DataFrame(columns=["type", "gene", "effect", "n_panels"])
    for kind in CHANGED:
        rate = np.exp(biology.log_rate[_anatomy.CELL_TYPES.index(kind)])
        high = np.max([rate / rate[panel].mean() for panel in panels.values()], axis=0) >= _COMMON
        for wanted in (times == len(panels), (times > 1) & (times < len(panels)), times == 1):
            there = np.flatnonzero(wanted & high)
            for i, gene in enumerate(rng.permutation(there)[:_GENES]):
                effect = strength * (1.0 if i % 2 == 0 else -1.0)
                rows.append(
                    {"type": kind, "gene": biology.genes[gene], "effect": effect, "n_panels": times[gene]}
                )
    return pd.DataFrame(rows)


def _donor(
    biology: _expression.Biology,
    planted: pd.DataFrame,
    shares: dict[str, float],
    diseased: bool,
    spread: float,
    rng: np.random.Generator,
) -> tuple[_expression.Biology, NDArray]:
    """Return a donor's own expression, and factors (t,) of its composition."""
    factors = np.exp(rng.normal(0, spread, len(_anatomy.CELL_TYPES)))
    log_rate = biology.log_rate + rng.normal(0, spread, biology.log_rate.shape)
    if diseased:
        for kind, effect in shares.items():
            factors[_anatomy.CELL_TYPES.index(kind)] *= 2.0**effect
        column = {g: j for j, g in enumerate(biology.genes)}
        for kind, gene, effect in zip(planted["type"], planted["gene"], planted["effect"]):
            log_rate[_anatomy.CELL_TYPES.index(kind), column[gene]] += effect * np.log(2)
    return replace(biology, log_rate=log_rate), factors


def _slice(
    donor: str,
    condition: str,
    platform: Platform,
    biology: _expression.Biology,
    factors: NDArray,
    panel: NDArray,
    n: int,
    move: float,
    seed: int,
) -> ad.AnnData:
    name = f"{donor}_{platform.name.lower()}"
    instrument = _stream(seed, f"{platform.name} efficiency")
    efficiency = np.exp(instrument.normal(0, platform.gene_spread, len(panel)))
    rng = _stream(seed, name)
    xy, depth, layer, kind = _anatomy.section(n, rng, factors)
    _move(kind, xy, min(move, 1.0), rng)
    counts = _measured(biology, platform, kind, depth, panel, efficiency, rng)
    data = _anndata(counts, [biology.genes[j] for j in panel], kind, name)
    data.uns["source"] = "made up by lloki.datasets.conditions"
    data.uns["technology"] = platform.name
    data.obs["layer"] = pd.Categorical.from_codes(layer, pd.Index(_anatomy.LAYERS))
    for column, value in (
        (keys.SLICE, name),
        (keys.TECHNOLOGY, platform.name),
        ("condition", condition),
        ("donor", donor),
    ):
        data.obs[column] = pd.Categorical([value] * n)
    data.obsm[keys.SPATIAL] = xy
    return data


def _move(kind: NDArray[np.intp], xy: NDArray, share: float, rng: np.random.Generator) -> None:
    """Exchange a share of the moved type with the nearest cells next to the other."""
    moved, toward = _anatomy.CELL_TYPES.index(MOVED), _anatomy.CELL_TYPES.index(TOWARD)
    who, goals = np.flatnonzero(kind == moved), np.flatnonzero(kind == toward)
    if not share or not len(who) or not len(goals):
        return
    near = cKDTree(xy).query(xy[goals], min(7, len(xy)))[1][:, 1:].ravel()
    free = np.unique(near[~np.isin(kind[near], [moved, toward])])
    who = rng.permutation(who)[: min(round(share * len(who)), len(free))]
    # each takes the nearest place, so that the cell it replaces stays in its layer
    for cell in who:
        gap = np.linalg.norm(xy[free] - xy[cell], axis=1)
        place = free[gap.argmin()]
        kind[cell], kind[place] = kind[place], moved
        free = free[free != place]
