"""Turn gene names of one kind into another by looking them up in a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lloki.genes.identifiers import Identifiers, identify

# Names that files use for the column of symbols, likeliest first; content decides, these only break ties.
_USUAL = (
    *("gene_symbol", "gene_symbols", "symbol", "symbols", "gene_name", "gene_names", "feature_name"),
    *("gene_short_name", "hgnc_symbol", "mgi_symbol", "gene", "name"),
)
_SYMBOL = re.compile(r"(?=.*[A-Za-z])[\w.\-()@/:+]{1,40}")
_ACCESSION = re.compile(
    r"(ENS[A-Z]*\d{11}|[NX][MRP]_\d+|uc\d{3}\w{3})(\.\d+)?|(chr)?[\dXYM]+[:_]\d+.*", re.IGNORECASE
)
_BLANK = frozenset({"", "nan", "None", "NA", "<NA>", "-"})


@dataclass(frozen=True)
class SymbolNames:
    """Gene names after :func:`to_symbols`.

    Attributes
    ----------
    names
        (g,) names, in the order given; not made unique.
    ids
        Kind and species of ``names``.
    column
        The column that they were taken from; ``""`` where the names given were kept.
    unmapped
        How many names had no symbol in that column and kept the name they had.
    """

    names: tuple[str, ...]
    ids: Identifiers
    column: str = ""
    unmapped: int = 0


def translate(names: Iterable[str], table: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """Look every name up in ``table``; a name that is not there keeps itself.

    Parameters
    ----------
    names
        (g,) gene names.
    table
        From old to new name: a file's own symbols, or a list of one-to-one orthologs.

    Returns
    -------
    tuple
        The (g,) new names and how many were not in the table.
    """
    old = list(names)
    return tuple(table.get(name, name) for name in old), sum(name not in table for name in old)


def to_symbols(names: Sequence[str], columns: Mapping[str, Sequence[object]]) -> SymbolNames:
    """Gene symbols of a file, through the column that holds them if its names are something else.

    Parameters
    ----------
    names
        (g,) names as the file has them (``var_names``). The version of an Ensembl id (``.12``) is cut off.
    columns
        The columns of ``var``, each (g,). The one that holds symbols is found by what is in it: text, nearly
        all different, most of it shaped like symbols. Its name only decides between several such columns.

    Returns
    -------
    SymbolNames
        Symbols where the file has them; otherwise Ensembl ids; otherwise the names as they are.
    """
    names = [str(name).strip() for name in names]
    ids = identify(names)
    if ids.kind == "symbol":
        return SymbolNames(tuple(names), ids)
    if ids.kind == "ensembl":
        names = [name.split(".")[0] if name.startswith("ENS") else name for name in names]
    wanted = ("symbol", "ensembl") if ids.kind == "unknown" else ("symbol",)
    for kind in wanted:
        column = _find(columns, kind)
        if column:
            new = [str(value).strip() for value in columns[column]]
            # by position, not by name: numbered features may repeat
            mapped = tuple(old if value in _BLANK else value for old, value in zip(names, new))
            return SymbolNames(mapped, identify(mapped), column, sum(value in _BLANK for value in new))
    return SymbolNames(tuple(names), ids)


def _find(columns: Mapping[str, Sequence[object]], kind: str) -> str:
    """Find the column whose content is of this kind; ``""`` if none is."""
    usual = {name: rank for rank, name in enumerate(_USUAL)}
    for column in sorted(columns, key=lambda name: (usual.get(str(name).lower(), len(usual)), str(name))):
        values = [str(value).strip() for value in columns[column] if isinstance(value, str)]
        values = [value for value in values if value not in _BLANK]
        # A column of chromosomes, feature types or pathways repeats itself; one of gene names hardly does.
        if 2 * len(values) < len(columns[column]) or not values or len(set(values)) < 0.8 * len(values):
            continue
        if identify(values).kind == kind and (kind == "ensembl" or _symbol_like(values)):
            return column
    return ""


def _symbol_like(values: Sequence[str]) -> bool:
    good = sum(bool(_SYMBOL.fullmatch(value)) and not _ACCESSION.fullmatch(value) for value in values)
    return good >= 0.8 * len(values)
