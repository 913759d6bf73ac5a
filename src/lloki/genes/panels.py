"""Panels: a stable name for a set of genes, and what one list of genes covers of another."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lloki.errors import GeneError
from lloki.genes.identifiers import identify

_FEW = 0.1  # below this share of the panel, names that differ in kind or species meet only by chance
_BY_ORTHOLOGS = "match it by one-to-one orthologs: orthologs=True (--orthologs)"
_ONE_CASE = "If both are of one species, write the gene symbols of both in the same letter case."
_DERIVED = re.compile(r"panel_\d+g_[0-9a-f]{8}")


@dataclass(frozen=True)
class PanelCoverage:
    """What one list of genes finds in another.

    Attributes
    ----------
    used, dropped
        Genes that are there and genes that are not, in the order of the first list.
    diagnosis
        Why so few are there, in plain words; ``""`` if nothing looks wrong.
    hint
        What to do about it; ``""`` likewise.
    """

    used: tuple[str, ...]
    dropped: tuple[str, ...]
    diagnosis: str = ""
    hint: str = ""

    @property
    def fraction(self) -> float:
        """Share of the first list that is there, 0 to 1."""
        return len(self.used) / max(len(self.used) + len(self.dropped), 1)


def panel_name(genes: Iterable[str]) -> str:
    """Label of a set of genes: ``panel_<number>g_<first 8 hex digits of its SHA-256>``.

    It depends on the set alone, not on the order of the genes nor on how often one is named, and is the same
    on every machine: two slices with the same genes get the same label, which the model is conditioned on.
    """
    unique = sorted({str(gene) for gene in genes})
    digest = hashlib.sha256("\n".join(unique).encode()).hexdigest()
    return f"panel_{len(unique)}g_{digest[:8]}"


def is_panel_name(label: str) -> bool:
    """Whether a label was made by :func:`panel_name`, and so goes stale when the genes change."""
    return bool(_DERIVED.fullmatch(label))


def coverage(
    genes: Iterable[str], reference: Iterable[str], *, reference_name: str = "the reference"
) -> PanelCoverage:
    """Which of ``genes`` are in ``reference``, and if hardly any are, why.

    Parameters
    ----------
    genes
        Genes of a slice.
    reference
        Genes to find them in: a reference's, another slice's, a model's vocabulary.
    reference_name
        What to call the second list in the diagnosis.

    Returns
    -------
    PanelCoverage
        A diagnosis is made below 10 % coverage, or where far more names agree without letter case: Ensembl
        ids against symbols, mouse against human symbols, symbols that differ in letter case only, or none of
        these.
    """
    genes, reference = list(dict.fromkeys(map(str, genes))), set(map(str, reference))
    used = tuple(gene for gene in genes if gene in reference)
    dropped = tuple(gene for gene in genes if gene not in reference)
    enough = len(used) >= _FEW * len(genes) and not _case_differs(genes, reference, len(used))
    if genes and enough:
        return PanelCoverage(used, dropped)
    return PanelCoverage(used, dropped, *_diagnose(genes, reference, len(used), reference_name))


def match_reference(
    genes: Iterable[str], reference: Iterable[str], *, where: str, reference_name: str = "the reference"
) -> PanelCoverage:
    """Coverage of a slice's genes by the reference, or an error that says why there is none.

    Parameters
    ----------
    genes, reference
        Gene names of the slice and of the reference.
    where
        File or name of the slice, for the message.
    reference_name
        File or name of the reference, for the message.

    Returns
    -------
    PanelCoverage
        With at least one gene used. Low coverage without a plain reason is returned with its ``diagnosis``.

    Raises
    ------
    GeneError
        If no gene is in common, or few are and the names differ in kind, species or letter case: those
        that agree then do so by chance.
    """
    genes, reference = list(genes), list(reference)
    found = coverage(genes, reference, reference_name=reference_name)
    mine, theirs = identify(genes), identify(reference)
    known_to_differ = "unknown" not in (mine.species, theirs.species) and mine.species != theirs.species
    differ = known_to_differ or mine.kind != theirs.kind
    if found.diagnosis and not differ:
        differ = _case_differs(genes, set(reference), len(found.used))
    if not found.used or (found.diagnosis and differ):
        raise GeneError(found.diagnosis, where=where, slot="var_names", hint=found.hint)
    if (
        not found.diagnosis
        and not differ
        and (near := _written_otherwise(found.dropped, reference, found.used))
    ):
        shown = ", ".join(f"{gene} here, {there} there" for gene, there in list(near.items())[:3])
        text = f"{len(near)} of {len(genes)} genes are written otherwise in {reference_name} ({shown})"
        hint = "They count as absent there: rename them in one of the two, if they are the same genes."
        return replace(found, diagnosis=text, hint=hint)
    if known_to_differ and not found.diagnosis:
        text = f"the slice has gene names of {mine.species}, {reference_name} of {theirs.species}"
        hint = f"Genes are matched by name only: take a reference of the same species, or {_BY_ORTHOLOGS}."
        return replace(found, diagnosis=text, hint=hint)
    return found


def in_letter_case(genes: Iterable[str], reference: Iterable[str]) -> list[str]:
    """Names of a reference in the letter case of a slice, where both are known to be of one species.

    Parameters
    ----------
    genes, reference
        Gene names of the slice and of the reference.

    Returns
    -------
    list of str
        The reference's names, in its order: those of the slice where only letter case differs and one name
        alone is meant. As they are where most agree already, and where the names alone do not show the same
        species: letter case distinguishes mouse from human (``Gad1``, ``GAD1``), so that only symbols that
        one of them lacks are evidence.
    """
    genes, reference = list(map(str, genes)), list(map(str, reference))
    known = set(reference)
    if not _case_differs(genes, known, sum(gene in known for gene in genes)):
        return reference
    # in lower case, which no species has, symbols are judged by what only one species has
    mine, theirs = (identify(map(str.lower, names)) for names in (genes, reference))
    if mine.species == "unknown" or mine != theirs:
        return reference
    here, there = Counter(map(str.casefold, genes)), Counter(map(str.casefold, reference))
    spelled = {gene.casefold(): gene for gene in genes}
    one = {name for name in spelled if here[name] == 1 and there[name] == 1}
    return [spelled[name.casefold()] if name.casefold() in one else name for name in reference]


def _written_otherwise(genes: Iterable[str], reference: Iterable[str], used: Iterable[str]) -> dict[str, str]:
    """Genes that the reference has under a like name, which none of those used has.

    Alike are names but for case, punctuation (``H2.K1``), R's ``X`` before a digit, and the number that makes
    a name unique (``Gad1.1``).
    """
    taken, bare = set(used), dict[str, list[str]]()
    for name in dict.fromkeys(reference):
        bare.setdefault(_bare(name), []).append(name)
    found = {}
    for gene in genes:
        alike = bare.get(_bare(gene)) or bare.get(_bare(re.sub(r"[.-]\d+$", "", gene)), [])
        if len(alike) == 1 and alike[0] not in taken:
            found[gene] = alike[0]
    return found


def _bare(name: str) -> str:
    letters = re.sub(r"[\W_]", "", name).casefold()
    return letters[1:] if re.match(r"x\d", letters) else letters


def _alike(genes: list[str], reference: set[str]) -> int:
    folded = {gene.casefold() for gene in reference}
    return sum(gene.casefold() in folded for gene in genes)


def _case_differs(genes: list[str], reference: set[str], shared: int) -> bool:
    """Whether far more names agree when letter case is ignored than do as they are."""
    return 2 * shared < len(genes) and _alike(genes, reference) > max(2 * shared, _FEW * len(genes))


def _diagnose(genes: list[str], reference: set[str], shared: int, name: str) -> tuple[str, str]:
    mine, theirs = identify(genes), identify(reference)
    sizes = f"{shared} of {len(genes)} genes are in {name} ({len(reference)} genes)"
    examples = (
        f"here {', '.join(genes[:3]) or 'nothing'}; there {', '.join(sorted(reference)[:3]) or 'nothing'}"
    )
    if mine.kind != theirs.kind:
        return (
            f"{mine} against {theirs} in {name}: {sizes}; {examples}",
            "Give both the same kind of names: put symbols into var_names, or into a var column such as "
            "'gene_symbol', of the one that lacks them.",
        )
    if "unknown" not in (mine.species, theirs.species) and mine.species != theirs.species:
        return (
            f"{mine} against {theirs} in {name}: {sizes}; {examples}",
            f"Use a {mine.species} reference, or {_BY_ORTHOLOGS}."
            + (f" {_ONE_CASE}" if _case_differs(genes, reference, shared) else ""),
        )
    if _case_differs(genes, reference, shared):
        return (
            f"{sizes}, but {_alike(genes, reference)} when letter case is ignored; {examples}",
            f"{_ONE_CASE} If not, {_BY_ORTHOLOGS}.",
        )
    return f"{sizes}; {examples}", "Check that both come from the same species and name their genes alike."
