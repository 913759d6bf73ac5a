"""What kind of gene names a list holds, and of which species, read from the names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Kind = Literal["symbol", "ensembl", "unknown"]
Species = Literal["mouse", "human", "unknown"]

_ENSEMBL = re.compile(r"ENS([A-Z]{3,6})?G\d{11}(\.\d+)?")
_ENSEMBL_SPECIES: dict[str, Species] = {"": "human", "MUS": "mouse"}
# Human symbols are upper case but for "orf" (C1orf112); mouse symbols start upper and go on lower (Slc17a7,
# 1700022I11Rik, mt-Co1). Letters that say nothing (a lone letter before digits) cast no vote.
_HUMAN_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9]*(orf\d+[A-Z0-9]*)?([-._@/][A-Z0-9.]+)*")
_MOUSE_SYMBOL = re.compile(r"(mt-)?\d*[A-Z][A-Z0-9]*[a-z][\w.\-()]*")
_CONTROL = re.compile(
    r"(blank|neg(ative)?[-_ ]?(control|ctrl|prb|probe|codeword)|negative\d*$|system[-_ ]?control"
    r"|false[-_ ]?code|unassigned[-_ ]?codeword|deprecated[-_ ]?codeword|intergenic[-_ ]?region"
    r"|genomic[-_ ]?control|antisense_|ercc-\d{5}$)",
    re.IGNORECASE,
)
# Measurements of cells, and stains, as segmentation and scanpy call them; none is a symbol of a gene.
_MEASUREMENT = re.compile(
    r"dapi|hoechst|poly[-_ ]?t|cell[-_ ]?bound(ary)?\d*|autofluorescence|((mean|max)[._]?)(dapi|membrane\w*)"
    r"|((cell|nucle(us|ar)|cytoplasm(ic)?)[-_. ]?)?(area|volume|size|perimeter)(_um[23]?)?"
    r"|eccentricity|solidity|anisotropy|aspect[-_. ]?ratio"
    r"|[xyz]|(global|local|min|max|cent(er|re)|centroid)[-_. ]?[xyz]"
    r"|[xyz][-_. ]?(centroid|coord\w*|location|um|px)"
    r"|n[-_]?(counts?|genes?|transcripts?|umis?|features?)(_by_counts)?|n(count|feature)_\w+"
    r"|total[-_ ]?(counts?|transcripts?|umis?)|(transcript|control_\w+|unassigned_\w+|deprecated_\w+)_counts"
    r"|(log1p|pct_counts|percent|pct)[._]\w+|fov|cell[-_ ]?(id|type)|barcodes?|leiden|louvain|clusters?",
    re.IGNORECASE,
)
_BOTH: tuple[Species, Species] = ("mouse", "human")
_AGREE = 0.8  # share of the names that vote which must agree before a species is stated
_VOTES = 3  # fewer votes than this say nothing


@dataclass(frozen=True)
class Identifiers:
    """Kind and species of a list of gene names.

    Attributes
    ----------
    kind
        ``"symbol"``, ``"ensembl"``, or ``"unknown"`` (numbers, blanks).
    species
        ``"mouse"``, ``"human"`` or ``"unknown"``. From symbols this is a guess by letter case, which rat
        shares with mouse and most primates with human; from Ensembl ids it is certain.
    """

    kind: Kind
    species: Species

    def __str__(self) -> str:
        species = "" if self.species == "unknown" else f"{self.species} "
        return (
            species + {"symbol": "symbols", "ensembl": "Ensembl ids", "unknown": "unknown names"}[self.kind]
        )


def identify(names: Iterable[str]) -> Identifiers:
    """Tell Ensembl ids from symbols, and mouse from human, by majority over ``names``.

    Parameters
    ----------
    names
        Gene names, as in ``adata.var_names``. Control probes (:func:`is_control`) are not counted.

    Returns
    -------
    Identifiers
        ``kind`` is what most names are. ``species`` needs 80 % of the telling names to agree, so that a few
        foreign or accession-like names (``AC149090.1`` in mouse) do not change it, and a mixture stays
        ``"unknown"``. The symbols that only one species has, in any letter case, decide before letter case.
        Time grows linearly with the number of names.
    """
    genes = [name for name in map(str, names) if name and not _CONTROL.match(name)]
    ensembl = [match for match in map(_ENSEMBL.fullmatch, genes) if match]
    if genes and 2 * len(ensembl) >= len(genes):
        return Identifiers(
            "ensembl", _majority([_ENSEMBL_SPECIES.get(m[1] or "", "unknown") for m in ensembl], 1)
        )
    named = [gene for gene in genes if re.search("[A-Za-z]", gene)]
    if 2 * len(named) <= len(genes):
        return Identifiers("unknown", "unknown")
    telling = [gene for gene in named if len(re.findall("[A-Za-z]", gene)) >= 2]
    species = _majority([_vote(gene) for gene in telling], _VOTES)
    # letter case does not make a gene of a species: names that only one has, in any letter case, decide
    return Identifiers("symbol", _by_content(telling) or species)


def is_control(names: Iterable[str]) -> np.ndarray:
    """Mark the probes that measure no gene: blanks, negative controls, unassigned codewords, spike-ins.

    Parameters
    ----------
    names
        Feature names as Xenium, CosMx, MERSCOPE and other instruments write them.

    Returns
    -------
    numpy.ndarray
        bool (g,).
    """
    return np.array([bool(_CONTROL.match(str(name))) for name in names], dtype=bool)


def is_measurement(names: Iterable[str]) -> np.ndarray:
    """Mark what is measured of cells, or stains them, and is no gene: ``DAPI``, ``area``, ``n_counts``.

    Parameters
    ----------
    names
        Feature names.

    Returns
    -------
    numpy.ndarray
        bool (g,).
    """
    return np.array([bool(_MEASUREMENT.fullmatch(str(name).strip())) for name in names], dtype=bool)


def _vote(gene: str) -> Species:
    if _HUMAN_SYMBOL.fullmatch(gene):
        return "human"
    return "mouse" if _MOUSE_SYMBOL.fullmatch(gene) else "unknown"


@cache
def _only_in() -> tuple[frozenset[str], frozenset[str]]:
    """Symbols of mouse that human lacks, and the reverse, without letter case."""
    from lloki.genes._orthologs import gene_table

    mouse, human = (frozenset(symbol.casefold() for symbol in gene_table(species).ids) for species in _BOTH)
    return mouse - human, human - mouse


def _by_content(genes: list[str]) -> Species | None:
    """Species of names by those that only one has; ``None`` if these are few or disagree."""
    folded = {gene.casefold() for gene in genes}
    votes = [len(folded & only) for only in _only_in()]
    for species, own, other in zip(_BOTH, votes, votes[::-1]):
        if own >= _VOTES and own >= _AGREE * (own + other):
            return species
    return None


def _majority(votes: list[Species], least: int) -> Species:
    options: tuple[Species, ...] = ("mouse", "human")
    for species in options:
        if len(votes) >= least and votes.count(species) >= _AGREE * len(votes):
            return species
    return "unknown"
