"""Gene names: what kind they are, how to turn one kind into another, what a panel covers.

Plain sequences of names in, plain values out; no AnnData here. Turning names into other names is always
a table lookup (:func:`translate`), whether the table comes from a file's own ``var`` (:func:`to_symbols`) or
from somewhere else, such as a list of orthologs.
"""

from __future__ import annotations

from lloki.genes.identifiers import Identifiers, identify, is_control
from lloki.genes.mapping import SymbolNames, to_symbols, translate
from lloki.genes.panels import PanelCoverage, coverage, is_panel_name, match_reference, panel_name

__all__ = [
    "Identifiers",
    "PanelCoverage",
    "SymbolNames",
    "coverage",
    "identify",
    "is_control",
    "is_panel_name",
    "match_reference",
    "panel_name",
    "to_symbols",
    "translate",
]
