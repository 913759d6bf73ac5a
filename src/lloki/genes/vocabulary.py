"""Which name a model's vocabulary has for each gene of a panel, and what is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lloki.errors import GeneError
from lloki.genes._orthologs import SPECIES, GeneTable, KnownSpecies, gene_table, orthologs
from lloki.genes.identifiers import identify
from lloki.genes.panels import PanelCoverage

if TYPE_CHECKING:
    from scipy import sparse

LEAST, LEAST_FRACTION = 20, 0.05
OTHER_NAME, ORTHOLOG = "other name", "ortholog"  # how a gene was found that was not found exactly


@dataclass(frozen=True)
class VocabularyMatch:
    """What :func:`match_vocabulary` found.

    Attributes
    ----------
    names
        (g,) the vocabulary's name of each gene, ``""`` where it has none. No name occurs twice.
    used
        Genes that have a name there, in the order given.
    mapped
        Those of them that were not found under the name given → the vocabulary's name.
    how
        The same genes → how they were found: ``"other name"`` (Ensembl id ↔ symbol, or the second symbol of
        a gene that has two) or ``"ortholog"``.
    dropped
        Genes without a name there, in the order given → why.
    diagnosis, hint
        What is wrong and what to do where too few are used; else ``""``.
    """

    names: tuple[str, ...]
    used: tuple[str, ...]
    mapped: Mapping[str, str]
    how: Mapping[str, str]
    dropped: Mapping[str, str]
    diagnosis: str = ""
    hint: str = ""

    @property
    def exact(self) -> int:
        """How many genes were found under the name given."""
        return len(self.used) - len(self.mapped)

    def coverage(self) -> PanelCoverage:
        """Tell the same as any embedder does: used, dropped, and what is wrong."""
        return PanelCoverage(self.used, tuple(self.dropped), self.diagnosis, self.hint)


@dataclass(frozen=True)
class CountsKept:
    """Share of counts that lies in the genes used, 0 to 1; NaN where there is no count at all.

    Attributes
    ----------
    overall
        Share of all counts of the slice.
    quartiles
        25 %, 50 % and 75 % quantile of the share per cell, over cells that have counts.
    """

    overall: float
    quartiles: tuple[float, float, float]


def match_vocabulary(
    genes: Sequence[str],
    vocabulary: Iterable[str],
    *,
    where: str = "",
    min_genes: int = LEAST,
) -> VocabularyMatch:
    """Find the genes of a panel in a model's vocabulary: exactly, else by tables, never by letter case.

    Parameters
    ----------
    genes
        (g,) names as in ``var_names``: symbols or Ensembl ids, of mouse or human. Of a name that is repeated
        the first counts.
    vocabulary
        The model's names, or a mapping from them. Special tokens (``<cls>``, ``<pad>``) are no genes.
    where
        File or slice, for the message.
    min_genes
        Minimum number of genes; 0 never raises, and describes the problem in the ``diagnosis`` of the match.

    Returns
    -------
    VocabularyMatch

    Raises
    ------
    GeneError
        If fewer are found; says what the names look like and what to do.

    Notes
    -----
    Three rounds: (1) the same name; (2) another name of the same gene, Ensembl id ↔ symbol; (3) a name of its
    one-to-one ortholog in the other species (:func:`~lloki.genes.orthologs`). The species is that of
    :func:`~lloki.genes.identify`; where it does not say, both are tried. Letter case is never changed: the
    human TAC3 is Tac2 in mouse, and upper-casing would put its counts on another gene.

    A name is given away once. Earlier rounds go first, and within a round genes go in alphabetical order, so
    the outcome does not depend on the order of the panel; who comes too late is dropped. Time grows with the
    number of genes and of names: 10 ms for 1,000 genes and 60,000 names, once the tables are read.
    """
    known = {name for name in vocabulary if name and not (name[0] == "<" and name[-1] == ">")}
    panel = list(dict.fromkeys(map(str, genes)))
    found = {gene: gene for gene in panel if gene in known}
    how: dict[str, str] = {}
    late: dict[str, str] = {}
    owner = dict(found)
    species: tuple[KnownSpecies, ...] = tuple(s for s in SPECIES if s == identify(panel).species) or SPECIES
    rounds: tuple[tuple[str, Callable[[str, KnownSpecies], Iterator[str]]], ...] = (
        (OTHER_NAME, _other_names),
        (ORTHOLOG, _ortholog_names),
    )
    for way, names_of in rounds:
        for gene in sorted(gene for gene in panel if gene not in found and gene not in late):
            name = next((name for s in species for name in names_of(gene, s) if name in known), "")
            if name in owner:
                late[gene] = f"another gene has its name there ({name}, taken by {owner[name]})"
            elif name:
                found[gene], how[gene], owner[name] = name, way, gene
    match = VocabularyMatch(
        names=_once(map(str, genes), found),
        used=tuple(gene for gene in panel if gene in found),
        mapped={gene: found[gene] for gene in panel if gene in how},
        how={gene: how[gene] for gene in panel if gene in how},
        dropped={gene: late.get(gene) or _why(gene, species) for gene in panel if gene not in found},
    )
    return _judge(match, known, where, min_genes)


def counts_kept(counts: sparse.csr_matrix, match: VocabularyMatch) -> CountsKept:
    """Share of a slice's counts that lies in the genes a model uses.

    Parameters
    ----------
    counts
        (n, g) counts, columns as the genes that were matched.
    match
        What was found.

    Returns
    -------
    CountsKept
        Two passes over the stored values; memory of n numbers.
    """
    stays = np.array([bool(name) for name in match.names], dtype=np.float64)
    total, kept = counts @ np.ones_like(stays), counts @ stays
    has = total > 0
    if not has.any():
        return CountsKept(float("nan"), (float("nan"),) * 3)
    low, middle, high = np.quantile(kept[has] / total[has], (0.25, 0.5, 0.75))
    return CountsKept(float(kept.sum() / total.sum()), (float(low), float(middle), float(high)))


def _other_names(gene: str, species: KnownSpecies) -> Iterator[str]:
    """Names of the same gene: its symbols, then its id."""
    yield from _names(gene_table(species), gene_table(species).find(gene))


def _ortholog_names(gene: str, species: KnownSpecies) -> Iterator[str]:
    """Names of the gene's ortholog."""
    other: KnownSpecies = "human" if species == "mouse" else "mouse"
    there = orthologs(species, other, by="ensembl").get(gene_table(species).find(gene), "")
    yield from _names(gene_table(other), there)


def _names(table: GeneTable, gene: str) -> Iterator[str]:
    if gene:
        yield from table.symbols[gene]
        yield gene


def _once(genes: Iterable[str], found: Mapping[str, str]) -> tuple[str, ...]:
    left = dict(found)
    return tuple(left.pop(gene, "") for gene in genes)


def _why(gene: str, species: tuple[KnownSpecies, ...]) -> str:
    """Say why a gene is not found, as far as the tables show."""
    homes = [s for s in species if gene_table(s).find(gene)]
    if not homes:
        return "unknown name (an old symbol, or no gene)"
    for home in homes:
        there = next(_ortholog_names(gene, home), "")
        if there:
            return f"not in the vocabulary, nor is its ortholog ({there})"
    return "not in the vocabulary, and it has no one-to-one ortholog"


def _judge(match: VocabularyMatch, known: set[str], where: str, min_genes: int) -> VocabularyMatch:
    """Return the match, with a diagnosis if it is too small and that is allowed; else raise."""
    panel = [*match.used, *match.dropped]
    needed = max(min_genes or LEAST, LEAST_FRACTION * len(panel))
    if len(match.used) >= needed:
        return match
    theirs = sorted(known, key=lambda name: (not name[:1].isalpha(), name))
    diagnosis = (
        f"{len(match.used)} of {len(panel)} genes are in the model's vocabulary ({len(known):,} names, such "
        f"as {', '.join(theirs[:3]) or 'nothing'}), also by Ensembl id and by mouse-human ortholog; here "
        f"{', '.join(list(match.dropped)[:3]) or 'nothing else'}; at least {min_genes or LEAST} genes "
        f"and {LEAST_FRACTION:.0%} of the panel are needed"
    )
    folded = {name.casefold() for name in known}
    alike = sum(gene.casefold() in folded for gene in match.dropped)
    if 2 * alike > len(match.dropped):
        hint = "Write symbols in the letter case of their species: Gad1 in mouse, GAD1 in human."
    elif identify(panel).kind == "unknown":
        hint = "Put gene symbols or Ensembl ids into var_names."
    else:
        hint = (
            "Check that the genes are mouse or human ones, or use an embedder that learns from the run's own "
            "data and takes any panel, such as factor."
        )
    if not min_genes:
        return replace(match, diagnosis=diagnosis, hint=hint)
    raise GeneError(diagnosis, where=where, slot="var_names", hint=hint)
