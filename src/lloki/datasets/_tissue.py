"""A made-up cortex seen by made-up platforms, for demonstrations, tests and tutorials."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki.datasets import _anatomy, _expression
from lloki.datasets._genes import CORE
from lloki.errors import ConfigError

LABEL = "cell_type"
TRUE_SPATIAL = "spatial_true"


@dataclass(frozen=True)
class Platform:
    """How one technology sees the tissue."""

    name: str
    n_genes: int
    """Genes of its panel; at least two markers of every cell type are among them."""
    counts_per_cell: float
    """Mean transcripts per cell, over the whole panel: the sensitivity."""
    gene_spread: float = 0.8
    """Standard deviation, in natural log units, of its detection rate from gene to gene."""
    dispersion: float = 0.3
    """Negative-binomial dispersion φ: variance = μ + φ μ²."""
    ambient: float = 0.05
    """Share of a cell's transcripts that come from its surroundings rather than from itself."""


ALPHAFISH = Platform("Alphafish", 88, 90.0, gene_spread=0.6, dispersion=0.15, ambient=0.04)
BETASEQ = Platform("Betaseq", 108, 60.0, gene_spread=0.9, dispersion=0.5, ambient=0.12)
GAMMAMAP = Platform("Gammamap", 98, 60.0, gene_spread=0.8, dispersion=0.3, ambient=0.08)
PLATFORMS = (ALPHAFISH, BETASEQ, GAMMAMAP)


@dataclass(frozen=True)
class Tissue:
    """Sections of one tissue, and its single-cell reference."""

    slices: list[ad.AnnData]
    """One per platform given, raw counts in ``X``."""
    reference: ad.AnnData
    """Dissociated cells of the same types, all genes."""

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``<slice>.h5ad`` and ``reference.h5ad``; return the paths, the reference last."""
        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for data, name in [*((s, s.uns["name"]) for s in self.slices), (self.reference, "reference")]:
            paths.append(folder / f"{name}.h5ad")
            data.write_h5ad(paths[-1], compression="gzip")
        return paths


def tissue(
    *,
    n_cells: int = 3000,
    platforms: Sequence[Platform] = PLATFORMS,
    n_reference: int = 4000,
    n_genes: int = 700,
    seed: int = 0,
) -> Tissue:
    r"""Make sections of a layered cortex, each seen by its own platform, and a scRNA-seq reference.

    The task that this poses is the one lloki is for. Any two panels share 10-30 % of the smaller one's genes,
    and all of them only a handful, so a principal component analysis of the shared genes cannot separate the
    cell types; yet every panel holds markers of every type, so a method that can compare cells measured on
    different genes does well.

    Parameters
    ----------
    n_cells
        Cells in each section. The piece of tissue grows with it, at 330 µm² a cell.
    platforms
        One section is cut for each entry. A platform named twice gives two sections with one panel and the
        same gene detection rates, as two runs of one instrument do.
    n_reference
        Cells of the reference.
    n_genes
        Genes of the transcriptome (the reference measures all of them): every marker (292) and then others.
    seed
        Same seed, same data. A section depends on the seed and its own name (``alphafish_1``), not on the
        other sections asked for.

    Returns
    -------
    Tissue
        Each slice has ``X`` (raw counts, CSR float32), ``obsm["spatial"]`` (µm, turned and shifted as if by
        the operator's hand), ``obsm["spatial_true"]`` (µm, in the frame common to all sections), ``obs``
        cell_type, layer and technology, and ``uns`` name, technology, species, rotation_deg and translation.

    Raises
    ------
    ConfigError
        A size is too small or too large.

    Notes
    -----
    **Anatomy.** Fourteen types lie in the six layers of a bent sheet by a fixed table of shares; excitatory
    types keep to their layer, glia do not. Each section is a new cut: new cells, wavering layers, other
    capillaries.

    **Expression.** Cell :math:`c` of type :math:`t` expresses gene :math:`g` at the rate

    .. math:: r_{cg} = \exp(b_g + m_{tg} + v_{tg} + a_c A_g + \delta_c D_g)

    with a baseline :math:`b_g`, marker effects :math:`m`, small differences between types in every gene
    :math:`v`, an activity programme :math:`a_c` (immediate early genes) switched on in a tenth of the neurons
    and a depth gradient :math:`\delta_c` in excitatory cells: variation within types that an embedding should
    keep.

    **Measurement.** Platform :math:`p` counts
    :math:`x_{cg} \sim \mathrm{NB}(\mu_{cg}, \phi_p)` with
    :math:`\mu_{cg} = \ell_c\, e_{pg} [(1-\alpha_p)\, r_{cg} + \alpha_p\, \bar r_g]`: cell size :math:`\ell_c`
    (log-normal, glia half of neurons), detection rate per platform and gene :math:`e_{pg}` (log-normal), and
    ambient share :math:`\alpha_p` of the section's mean profile. The reference is one more platform, without
    positions and without a panel.

    Time grows linearly with cells x genes: 3 x 3,000 cells and the reference take about a second.

    Examples
    --------
    >>> made = tissue(n_cells=200, n_reference=200, seed=1)
    >>> [s.uns["name"] for s in made.slices]
    ['alphafish_1', 'betaseq_1', 'gammamap_1']
    """
    biology = _expression.Biology.draw(n_genes, np.random.default_rng([seed, 0]))
    _check(n_cells, n_reference, platforms, biology)
    seen: dict[str, int] = {}
    slices = []
    for platform in platforms:
        seen[platform.name] = seen.get(platform.name, 0) + 1
        slices.append(
            _slice(f"{platform.name.lower()}_{seen[platform.name]}", platform, biology, n_cells, seed)
        )
    return Tissue(slices, _reference(biology, n_reference, seed))


def _check(
    n_cells: int, n_reference: int, platforms: Sequence[Platform], biology: _expression.Biology
) -> None:
    if n_cells < 1 or n_reference < 1:
        raise ConfigError("n_cells and n_reference must be at least 1.")
    if not platforms:
        raise ConfigError("platforms is empty. Give at least one Platform.")
    least, most = 2 * len(_anatomy.CELL_TYPES) + len(CORE), len(biology.genes)
    for p in platforms:
        if not least <= p.n_genes <= most:
            raise ConfigError(f"{p.name}: a panel has {least} to {most} genes here, not {p.n_genes}.")
    by_name = {p.name: p for p in platforms}
    if any(by_name[p.name] != p for p in platforms):
        raise ConfigError("Two different platforms have one name.")


def _stream(seed: int, name: str) -> np.random.Generator:
    """Random numbers that belong to one name, so that nothing depends on what else is made."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _measured(
    biology: _expression.Biology,
    platform: Platform,
    kind: NDArray[np.intp],
    depth: NDArray[np.floating],
    panel: NDArray[np.intp],
    efficiency: NDArray[np.floating],
    rng: np.random.Generator,
) -> NDArray:
    """Draw counts (n, g) of cells of these types and depths, of the genes on a platform's panel."""
    return _expression.measure(
        biology.rates(kind, depth, rng)[:, panel],
        biology.sizes(kind, rng),
        efficiency,
        counts_per_cell=platform.counts_per_cell,
        dispersion=platform.dispersion,
        ambient=platform.ambient,
        rng=rng,
    )


def _slice(name: str, platform: Platform, biology: _expression.Biology, n: int, seed: int) -> ad.AnnData:
    instrument = _stream(seed, platform.name)
    panel = biology.panel(platform.n_genes, instrument)
    efficiency = np.exp(instrument.normal(0, platform.gene_spread, panel.size))
    rng = _stream(seed, name)
    true, depth, layer, kind = _anatomy.section(n, rng)
    counts = _measured(biology, platform, kind, depth, panel, efficiency, rng)
    degrees, shift = rng.uniform(-180, 180), rng.normal(0, 1500, 2)
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    data = _anndata(counts, [biology.genes[j] for j in panel], kind, name)
    data.obs["layer"] = pd.Categorical.from_codes(layer, pd.Index(_anatomy.LAYERS))
    data.obs[keys.TECHNOLOGY] = pd.Categorical([platform.name] * n)
    data.obsm[keys.SPATIAL] = true @ rotation.T + shift
    data.obsm[TRUE_SPATIAL] = true
    data.uns |= {"technology": platform.name, "rotation_deg": float(degrees), "translation": shift}
    data.uns[keys.UNIT] = "micrometre"
    return data


def _reference(biology: _expression.Biology, n: int, seed: int) -> ad.AnnData:
    rng = _stream(seed, "reference")
    # Dissociation loses no type altogether: cells of a section, then every fifth drawn evenly over the types.
    _, depth, _, kind = _anatomy.section(n, rng)
    even = rng.random(n) < 0.2
    kind[even] = rng.integers(len(_anatomy.CELL_TYPES), size=even.sum())
    efficiency = np.exp(rng.normal(0, 0.5, len(biology.genes)))
    counts = _expression.measure(
        biology.rates(kind, depth, rng),
        biology.sizes(kind, rng),
        efficiency,
        counts_per_cell=1500.0,
        dispersion=0.25,
        ambient=0.02,
        rng=rng,
    )
    data = _anndata(counts, list(biology.genes), kind, "reference")
    data.uns["technology"] = "scRNA-seq (made up)"
    return data


def _anndata(counts: NDArray, genes: list[str], kind: NDArray[np.intp], name: str) -> ad.AnnData:
    data = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    data.var_names = genes
    data.obs_names = [f"{name}-{i}" for i in range(len(kind))]
    data.obs[LABEL] = pd.Categorical.from_codes(kind, pd.Index(_anatomy.CELL_TYPES))
    data.uns |= {"name": name, "species": "Mus musculus", "source": "made up by lloki.datasets.tissue"}
    return data
