"""The genes of an input: what measures no gene is left out, names become unique symbols where possible."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique
from scipy import sparse

from lloki._missing import stands_for_missing
from lloki.errors import GeneError
from lloki.genes import Identifiers, SymbolNames, is_control, is_measurement, to_symbols
from lloki.io._findings import Findings, number, some
from lloki.io.frames import tidy

_GENOME = re.compile(r"(mm\d+|hg\d+|GRC[hm]\d+|rn\d+|mRatBN[\d.]+)(?:-[\w-]*?)?_{1,3}(?=\w)", re.IGNORECASE)
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATE = re.compile(
    rf"\d{{1,2}}-({_MONTHS})(-\d+)?|({_MONTHS})-\d{{1,2}}"
    r"|\d{4}-\d\d-\d\d([ T].*)?|\d{1,2}/\d{1,2}/\d{2,4}",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"b?(['\"])(.*)\1")  # as bytes made text, and as R and spreadsheets write text
_UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad")) | dict.fromkeys(
    map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"
)
_WITH_ID = re.compile(
    r"(?P<symbol>.+?)[_|;:](?:ENS[A-Z]*G\d{11})(?:\.\d+)?|(?:ENS[A-Z]*G\d{11})(?:\.\d+)?[_|;:](?P<after>.+)"
)
_BARCODE = re.compile(r"(.*[_:#-])?[ACGT]{10,}([-_.:#]\w+)*")
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
    if isinstance(var.index, pd.MultiIndex):
        raise GeneError(
            "has several levels, and a gene one name",
            where=findings.where,
            slot="var_names",
            hint="Keep the level with gene names: adata.var.index = adata.var.index.get_level_values(0).",
        )
    features = list(map(str, var.index))
    keep = _measures_genes(var)
    found = _names(var.loc[keep])
    # known only under the final names, where a column holds them
    others = is_control(found.names) | is_measurement(found.names) | _nameless(found.names)
    if others.any():
        features = list(np.array(features, dtype=object))
        for i, name in zip(np.flatnonzero(keep)[others], np.array(found.names, dtype=object)[others]):
            features[i] = name
        keep[np.flatnonzero(keep)[others]] = False
        found = _names(var.loc[keep])
    _report_others(np.array(features, dtype=object), keep, findings)
    if not keep.all():
        x, var = x[:, keep], var.loc[keep]
    if 2 * sum(bool(_BARCODE.fullmatch(name)) for name in found.names) > len(found.names):
        raise GeneError(
            f"names of genes are cell barcodes (for example {some(found.names, 3)})",
            where=findings.where,
            slot="var_names",
            hint="The matrix has genes as rows and cells as columns: transpose it (adata.T).",
        )
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
    marred = [] if found.column else [name for name in map(str, var.index) if _plain(name) != name.strip()]
    if marred:
        findings.corrected(
            f"quotes, Ensembl ids and invisible characters cut off {number(len(marred), 'gene name')} "
            f"({some(map(ascii, marred))})"
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
    alike = names[names.str.casefold().duplicated(keep=False)]
    if len(alike):
        findings.corrected(
            f"{number(len(alike), 'gene name')} differ from one another in letter case only "
            f"({some(sorted(alike, key=lambda name: str(name).casefold()))}); kept as different genes"
        )
    var = tidy(var, "var", findings)
    var.index = pd.Index(names, dtype=object)
    return x, var, found.ids


def _names(var: pd.DataFrame) -> SymbolNames:
    columns = {str(name): [_bare(v) for v in var[name].astype(object)] for name in var.columns}
    return to_symbols([_bare(str(name)) for name in var.index], columns)


def _bare(name: Any) -> Any:
    """Name without the genome that 10x Genomics puts before it (``mm10___Gad1``), and as `_plain` has it."""
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return _GENOME.sub("", _plain(name)) if isinstance(name, str) else name


def _plain(name: str) -> str:
    """Name without quotes, ``b''`` of bytes, an Ensembl id beside it, invisible signs; dashes are hyphens."""
    name = name.translate(_UNSEEN).strip()
    match = _QUOTED.fullmatch(name)
    name = match[2].strip() if match else name
    both = _WITH_ID.fullmatch(name)
    return (both["symbol"] or both["after"]) if both else name


def _nameless(names: Iterable[str]) -> np.ndarray:
    """(g,) bool: text for a missing name (``nan``, also numbered as ``nan-1``), which would join features."""
    return stands_for_missing(
        np.array([re.sub(r"-\d+$", "", str(name)) for name in names], dtype=object), unknown=False
    )


def _measures_genes(var: pd.DataFrame) -> np.ndarray:
    """(G,) bool: by its name in the index no control probe or measurement, and no other kind of feature."""
    keep = np.ones(len(var), dtype=bool)
    for column in var.columns:
        gene = _TYPES.get(str(column).lower())
        if gene is not None:
            types = var[column].astype(str).str.strip().str.lower().to_numpy()
            if (types == gene).any():
                keep &= types == gene
    names = [_bare(str(name)) for name in var.index]
    return keep & ~is_control(names) & ~is_measurement(names)


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
        gone = [str(name).strip() or "without a name" for name in features[~keep]]
        findings.corrected(f"{number(len(gone), 'feature')} that measure no gene left out ({some(gone)})")
