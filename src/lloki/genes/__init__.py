"""Gene names: what kind they are, how to turn one kind into another, what a panel covers.

Plain sequences of names in, plain values out; no AnnData here. Turning names into other names is always
a table lookup (:func:`translate`), whether the table comes from a file's own ``var`` (:func:`to_symbols`) or
ships with the package (:func:`gene_table`, :func:`orthologs`).
"""

from __future__ import annotations

from lloki.genes._orthologs import (
    ORTHOLOG_SOURCE,
    ORTHOLOG_VERSION,
    SPECIES,
    GeneTable,
    gene_table,
    ortholog_names,
    orthologs,
)
from lloki.genes.identifiers import Identifiers, identify, is_control, is_measurement
from lloki.genes.mapping import SymbolNames, to_symbols, translate
from lloki.genes.panels import (
    PanelCoverage,
    coverage,
    in_letter_case,
    is_panel_name,
    match_reference,
    panel_name,
)
from lloki.genes.vocabulary import CountsKept, VocabularyMatch, counts_kept, match_vocabulary

__all__ = [
    "ORTHOLOG_SOURCE",
    "ORTHOLOG_VERSION",
    "SPECIES",
    "CountsKept",
    "GeneTable",
    "Identifiers",
    "PanelCoverage",
    "SymbolNames",
    "VocabularyMatch",
    "counts_kept",
    "coverage",
    "gene_table",
    "identify",
    "in_letter_case",
    "is_control",
    "is_measurement",
    "is_panel_name",
    "match_reference",
    "match_vocabulary",
    "ortholog_names",
    "orthologs",
    "panel_name",
    "to_symbols",
    "translate",
]
