"""The genes of an input: what measures no gene is left out, names become unique symbols where possible."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique
from scipy import sparse

from lloki.errors import GeneError
from lloki.genes import Identifiers, SymbolNames, is_control, to_symbols
from lloki.io._findings import Findings, number, some
from lloki.io.frames import tidy

_GENOME = re.compile(r"(mm\d+|hg\d+|GRC[hm]\d+|rn\d+|mRatBN[\d.]+)(?:-[\w-]*?)?_{1,3}(?=\w)", re.IGNORECASE)
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATE = re.compile(
    rf"\d{{1,2}}-({_MONTHS})(-\d+)?|({_MONTHS})-\d{{1,2}}"
    r"|\d{4}-\d\d-\d\d([ T].*)?|\d{1,2}/\d{1,2}/\d{2,4}",
    re.IGNORECASE,
)
# Columns that say what a feature is, and what a gene is called in them: 10x Genomics, CosMx, CELLxGENE.
_TYPES = {
    "feature_types": "gene expression",
    "feature_type": "gene expression",
    "codeclass": "endogenous",
    "feature_biotype": "gene",
}


def read_features(
    x: sparse.csr_matrix, var: pd.DataFrame, findings: Findings
) -> tuple[sparse.csr_matrix, pd.DataFrame, Identifiers]:
    """Columns that measure genes, under unique names, symbols where the file has them.

    Parameters
    ----------
    x
        (n, G) counts.
    var
        (G rows) names and columns of the features.
    findings
        Gets a message for everything corrected: control probes and other feature types left out, names taken
        from another column, repeated names.

    Returns
    -------
    tuple
        (n, g) counts, the (g rows) var, and what its names are. A repeated name gets ``-1``, ``-2``… from its
        second use on, as scanpy's ``var_names_make_unique`` does, so that no column is lost or changed; only
        the first is then found in a reference.

    Raises
    ------
    GeneError
        If no column measures a gene, or the names are numbers and no column holds better ones.
    """
    features = list(map(str, var.index))
    keep = _measures_genes(var)
    found = _names(var.loc[keep])
    controls = is_control(found.names)  # known only under the final names, where a column holds them
    if controls.any():
        features = list(np.array(features, dtype=object))
        for i, name in zip(np.flatnonzero(keep)[controls], np.array(found.names, dtype=object)[controls]):
            features[i] = name
        keep[np.flatnonzero(keep)[controls]] = False
        found = _names(var.loc[keep])
    _report_others(np.array(features, dtype=object), keep, findings)
    if not keep.all():
        x, var = x[:, keep], var.loc[keep]
    if found.ids.kind == "unknown":
        raise GeneError(
            f"gene names are neither symbols nor Ensembl ids (for example {some(found.names, 3)})",
            where=findings.where,
            slot="var_names",
            hint="Put gene symbols into var_names, or into a var column such as 'gene_symbol'.",
        )
    padded = [name for name in var.index.astype(str) if name != name.strip()]
    if padded:
        findings.corrected(
            f"blanks around {number(len(padded), 'gene name')} cut off ({some(map(repr, padded))})"
        )
    genomes = sorted({match[1] for name in var.index if (match := _GENOME.match(str(name)))})
    if genomes and not found.column:
        findings.corrected(f"the genome before gene names ({some(genomes)}) cut off")
    dates = [name for name in found.names if _DATE.fullmatch(name)]
    if dates:
        findings.corrected(
            f"{number(len(dates), 'gene name')} that a spreadsheet turned into dates ({some(dates)}), as "
            "Marchf1 or Septin2; kept, and found in no reference"
        )
    if found.column:
        findings.corrected(f"gene names taken from var['{found.column}'] ({found.ids}) in place of var_names")
        if found.unmapped:
            findings.corrected(
                f"{number(found.unmapped, 'gene')} without a name in var['{found.column}'] kept the old one"
            )
    names = pd.Index(np.array(found.names, dtype=object), dtype=object)
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        findings.corrected(
            f"var_names repeats {number(len(repeated), 'name')} ({some(repeated)}); made unique with -1, -2… "
            "as scanpy does, the first keeps its name (sum them yourself if they are probes of one gene)"
        )
        names = make_index_unique(names)
    var = tidy(var, "var", findings)
    var.index = pd.Index(names, dtype=object)
    return x, var, found.ids


def _names(var: pd.DataFrame) -> SymbolNames:
    columns = {str(name): [_bare(v) for v in var[name].astype(object)] for name in var.columns}
    return to_symbols([_bare(str(name)) for name in var.index], columns)


def _bare(name: Any) -> Any:
    """Name without the genome that 10x Genomics puts before it (``mm10___Gad1``)."""
    return _GENOME.sub("", name) if isinstance(name, str) else name


def _measures_genes(var: pd.DataFrame) -> np.ndarray:
    """(G,) bool: neither a control probe, by its name in the index, nor another kind of feature."""
    keep = np.ones(len(var), dtype=bool)
    for column in var.columns:
        gene = _TYPES.get(str(column).lower())
        if gene is not None:
            types = var[column].astype(str).str.strip().str.lower().to_numpy()
            if (types == gene).any():
                keep &= types == gene
    return keep & ~is_control(var.index)


def _report_others(features: np.ndarray, keep: np.ndarray, findings: Findings) -> None:
    """Say which features are left out; refuse where nothing is left."""
    if not keep.any():
        raise GeneError(
            "no feature measures a gene: all are controls or of another kind",
            where=findings.where,
            slot="var_names",
            hint="Give a matrix with gene expression features.",
        )
    if not keep.all():
        gone = features[~keep]
        findings.corrected(f"{number(len(gone), 'feature')} that measure no gene left out ({some(gone)})")
