"""Tables of marker genes: which genes speak for a type, and which against it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.analysis.labels import UNKNOWN
from lloki.errors import InputError

_FOR = ("positive", "markers", "genes", "gene")
_AGAINST = ("negative", "absent")
_MEND = "Give a column 'type' and a column 'positive' (genes, separated by ';' or one a row)."


@dataclass(frozen=True, eq=False)
class MarkerTable:
    """Markers of T types among g genes.

    Attributes
    ----------
    types
        (T,) names.
    genes
        (g,) all genes that are named, sorted.
    sign
        (T, g) int8: 1 where the gene speaks for the type, -1 where it speaks against it, else 0.
    """

    types: tuple[str, ...]
    genes: tuple[str, ...]
    sign: NDArray[np.int8]

    def within(self, panel: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Columns (h,) of a panel that are markers, and their signs (T, h); names are matched in any case."""
        at = {gene.casefold(): i for i, gene in enumerate(panel)}
        known = [i for i, gene in enumerate(self.genes) if gene.casefold() in at]
        columns = np.array([at[self.genes[i].casefold()] for i in known], np.int64)
        return columns, self.sign[:, known]

    @classmethod
    def read(cls, table: str | Path | Mapping | pd.DataFrame) -> MarkerTable:
        """Read markers from a file, a mapping or a frame.

        Parameters
        ----------
        table
            A ``.csv`` or ``.tsv`` file or a frame with the columns type, positive and, if wanted, negative:
            genes separated by ``;`` or blanks, or one a row. Or type → genes, or type → ``{"positive": genes,
            "negative": genes}``; a gene with ``-`` before it is negative.

        Raises
        ------
        InputError
            If there is no type, a type has no marker, or a gene speaks for and against one.
        """
        pairs: dict[str, dict[str, int]] = {}
        for kind, gene, sign in _entries(table):
            said = pairs.setdefault(kind, {})
            if gene and said.setdefault(gene, sign) != sign:
                raise InputError(f"{gene} speaks for and against {kind!r}", slot="markers", hint="Decide.")
        if not pairs:
            raise InputError("there is no type", slot="markers", hint=_MEND)
        if UNKNOWN in pairs:
            hint = "Give it another name: cells in doubt are called so."
            raise InputError(f"a type is called {UNKNOWN!r}", slot="markers", hint=hint)
        for kind, said in pairs.items():
            if 1 not in said.values():
                raise InputError(f"{kind!r} has no positive marker", slot="markers", hint=_MEND)
        genes = sorted({gene for said in pairs.values() for gene in said})
        table_of_signs = [[said.get(gene, 0) for gene in genes] for said in pairs.values()]
        return cls(tuple(pairs), tuple(genes), np.array(table_of_signs, np.int8))


def _entries(table: str | Path | Mapping | pd.DataFrame) -> list[tuple[str, str, int]]:
    if isinstance(table, str | Path):
        path = Path(table)
        if not path.is_file():
            raise InputError("does not exist", where=str(path), hint="Give the file's path.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            dialect = csv.excel_tab if path.suffix in (".tsv", ".txt") else csv.excel
            return _entries(pd.DataFrame(list(csv.DictReader(file, dialect=dialect))))
    if isinstance(table, pd.DataFrame):
        frame = table.rename(columns=lambda c: str(c).strip().lower())
        good = next((c for c in _FOR if c in frame), None)
        bad = next((c for c in _AGAINST if c in frame), None)
        name = next((c for c in ("type", "cell_type") if c in frame), None)
        if good is None or name is None:
            raise InputError(f"has the columns {list(table.columns)}", slot="markers", hint=_MEND)
        return [
            entry
            for _, row in frame.iterrows()
            for column, sign in ((good, 1), (bad, -1))
            if column is not None
            for entry in _signed(str(row[name]).strip(), row[column], sign)
        ]
    found = []
    for kind, genes in table.items():
        named = genes if isinstance(genes, Mapping) else {"positive": genes}
        for key, sign in (("positive", 1), ("negative", -1)):
            found += _signed(str(kind), named.get(key, ()), sign)
    return found


def _signed(kind: str, genes: object, sign: int) -> list[tuple[str, str, int]]:
    if genes is None or (isinstance(genes, float) and np.isnan(genes)):
        return [(kind, "", sign)]
    words = genes.replace(";", " ").replace(",", " ").split() if isinstance(genes, str) else list(genes)  # type: ignore[call-overload]
    return [(kind, str(w).lstrip("-"), -1 if str(w).startswith("-") else sign) for w in words] or [
        (kind, "", sign)
    ]
