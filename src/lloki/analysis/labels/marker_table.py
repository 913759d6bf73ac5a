"""Tables of marker genes: positive and negative markers of each cell type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki._tables import read_table
from lloki.analysis.labels.transfer import UNKNOWN
from lloki.errors import InputError

_POSITIVE = ("positive", "markers", "genes", "gene")
_NEGATIVE = ("negative", "absent")
_HINT = "Give a column 'type' and a column 'positive' (genes, separated by ';' or one per row)."


@dataclass(frozen=True, eq=False)
class MarkerTable:
    """Markers of T types among g genes.

    Attributes
    ----------
    types
        (T,) names.
    genes
        (g,) all genes in the table, sorted.
    sign
        (T, g) int8: 1 for a positive marker of the type, -1 for a negative one, else 0.
    """

    types: tuple[str, ...]
    genes: tuple[str, ...]
    sign: NDArray[np.int8]

    def within(self, panel: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Columns (h,) of a panel that are markers, and their signs (T, h); case is ignored."""
        at = {gene.casefold(): i for i, gene in enumerate(panel)}
        exact = {gene: i for i, gene in enumerate(panel)}  # before another that differs in case only
        known = [i for i, gene in enumerate(self.genes) if gene.casefold() in at]
        found = [exact.get(self.genes[i], at[self.genes[i].casefold()]) for i in known]
        columns = np.array(found, np.int64)
        return columns, self.sign[:, known]

    @classmethod
    def read(cls, table: str | Path | Mapping | pd.DataFrame) -> MarkerTable:
        """Read markers from a file, a mapping or a frame.

        Parameters
        ----------
        table
            A text file or a frame with the columns type, positive and, if wanted, negative: genes separated
            by ``;`` or ``,`` (or blanks where there is neither), or one per row; or with a column for each
            type and its genes below. Or type → genes, or type → ``{"positive": genes, "negative": genes}``; a
            gene with ``-`` before it is negative.

        Raises
        ------
        InputError
            If there is no type, a type has no positive marker, or a gene is both a positive and a negative
            marker.
        """
        pairs: dict[str, dict[str, int]] = {}
        where = str(table) if isinstance(table, str | Path) else ""
        for kind, gene, sign in _entries(table):
            signs = pairs.setdefault(kind, {})
            if gene and signs.setdefault(gene, sign) != sign:
                text = f"{gene} is listed as both a positive and a negative marker of {kind!r}"
                raise InputError(text, where=where, slot="markers", hint="Remove one.")
        if not pairs:
            raise InputError("there is no type", where=where, slot="markers", hint=_HINT)
        if UNKNOWN in pairs:
            hint = "Rename it: this is the label of cells that no type is assigned to."
            raise InputError(f"a type is named {UNKNOWN!r}", where=where, slot="markers", hint=hint)
        for kind, signs in pairs.items():
            if 1 not in signs.values():
                text = f"{kind!r} has no positive marker"
                raise InputError(text, where=where, slot="markers", hint=_HINT)
        genes = sorted({gene for signs in pairs.values() for gene in signs})
        table_of_signs = [[signs.get(gene, 0) for gene in genes] for signs in pairs.values()]
        return cls(tuple(pairs), tuple(genes), np.array(table_of_signs, np.int8))


def _entries(table: str | Path | Mapping | pd.DataFrame, where: str = "") -> list[tuple[str, str, int]]:
    if isinstance(table, str | Path):
        read = read_table(Path(table).expanduser())
        return _entries(
            pd.DataFrame([row.values for row in read.rows], columns=list(read.columns), dtype=object),
            str(table),
        )
    if isinstance(table, pd.DataFrame):
        frame = table.rename(columns=lambda c: str(c).strip().lower())
        good = next((c for c in _POSITIVE if c in frame), None)
        bad = next((c for c in _NEGATIVE if c in frame), None)
        name = next((c for c in ("type", "cell_type") if c in frame), None)
        if good is None and name is None and _wide(table):
            return [
                entry
                for kind in table.columns
                for value in table[kind]
                if not _blank(value)
                for entry in _signed(str(kind).strip(), value, 1)
            ]
        if good is None or name is None:
            text = f"has the columns {list(table.columns)}"
            raise InputError(text, where=where, slot="markers", hint=_HINT)
        return [
            entry
            for _, row in frame.iterrows()
            for column, sign in ((good, 1), (bad, -1))
            if column is not None
            if not _blank(row[name]) or not _blank(row[column])
            for entry in _signed(str(row[name]).strip(), row[column], sign)
        ]
    found = []
    for kind, genes in table.items():
        named = genes if isinstance(genes, Mapping) else {"positive": genes}
        for key, sign in (("positive", 1), ("negative", -1)):
            found += _signed(str(kind), named.get(key, ()), sign)
    return found


def _wide(table: pd.DataFrame) -> bool:
    """Whether each column is a type with its genes below."""
    if table.shape[1] < 2:
        return False
    values = table.to_numpy(dtype=object).ravel()
    return len(values) > 0 and all(_blank(v) or (isinstance(v, str) and bool(v.strip())) for v in values)


def _blank(value: object) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value))) or not str(value).strip()


def _words(genes: str) -> list[str]:
    """Genes of one cell of a table; blanks separate only where no other separator does."""
    parts = [part.strip() for part in re.split(r"[;,|\n\t]", genes)]
    if len(parts) > 1:
        return [part for part in parts if part]
    words = genes.split()
    # a name of letters and a numeral (MHC I) is one gene, not two
    return [genes.strip()] if len(words) == 2 and re.fullmatch(r"[IVX]+|\d+", words[1]) else words


def _signed(kind: str, genes: object, sign: int) -> list[tuple[str, str, int]]:
    if genes is None or (isinstance(genes, float) and np.isnan(genes)):
        return [(kind, "", sign)]
    words = _words(genes) if isinstance(genes, str) else list(genes)  # type: ignore[call-overload]
    return [(kind, str(w).lstrip("-"), -1 if str(w).startswith("-") else sign) for w in words] or [
        (kind, "", sign)
    ]
