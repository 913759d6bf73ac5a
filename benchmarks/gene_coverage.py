"""Mouse panels on a human vocabulary: the table of one-to-one orthologs against upper-casing.

    python benchmarks/gene_coverage.py DATA TABLES                         # mouse files of DATA/spatial
    python benchmarks/gene_coverage.py DATA TABLES --vocabulary vocab.json  # of a checkpoint
    python benchmarks/gene_coverage.py DATA TABLES --genes                  # also name the genes that differ

TABLES is the input of ``tools/orthologs.py``: gene pairs of Ensembl and HCOP, one-to-one or not. Without
``--vocabulary`` the vocabulary is all human symbols of lloki's tables and the gene names of all human files
in DATA. Prints a line per panel: genes found and share of counts kept by either approach, and how they
differ:

other gene     upper-casing matches another gene than the ortholog, or than any related gene
family         upper-casing finds one of several orthologs; the table excludes those
not related    upper-casing finds a name, but neither Ensembl nor HCOP relate the two genes
old name       the mouse name is a former symbol, and the vocabulary has the same former symbol
other name     the ortholog has another name: upper-casing misses it
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from lloki.genes import counts_kept, gene_table, identify, match_vocabulary
from lloki.io import read_slices

KINDS = ("other gene", "family", "not related", "old name", "other name")


def human_names(data: Path) -> set[str]:
    """Human symbols of the tables, and names of all files that hold human genes."""
    names = set(gene_table("human").ids)
    for file in sorted(data.glob("*/*.h5ad")):
        genes = list(map(str, ad.read_h5ad(file, backed="r").var_names))
        if identify(genes).species == "human":
            names |= set(genes)
    return names


def relatives(tables: Path) -> dict[str, set[str]]:
    """Mouse symbol → all human symbols that Ensembl or HCOP relate to it."""
    found: dict[str, set[str]] = {}
    for part in ("biomart", "hcop"):
        table = pd.read_csv(tables / part / "mouse_to_human.csv", dtype=str, keep_default_na=False)
        for mouse, human in zip(table["Gene name"], table["Human gene name"]):
            if mouse and human not in ("", "-"):
                found.setdefault(mouse, set()).add(human)
    return found


def difference(gene: str, mapped: str, upper: str, related: set[str]) -> str:
    """In which way the two differ on a gene; ``""`` if they agree."""
    if mapped == upper:
        return ""
    if not upper:
        return "other name"
    if not gene_table("mouse").find(gene):
        return "old name"
    if not mapped and not related:
        return "not related"
    return "family" if not mapped and upper in related else "other gene"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--vocabulary", type=Path)
    parser.add_argument("--genes", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    known = set(
        json.loads(options.vocabulary.read_text()) if options.vocabulary else human_names(options.data)
    )
    related = relatives(options.tables)
    print(f"vocabulary: {len(known):,} names\n")
    print(f"| panel | genes | orthologs | upper case | counts | counts | {' | '.join(KINDS)} |")
    print("|---" * (6 + len(KINDS)) + "|")
    named: list[str] = []
    for file in sorted((options.data / "spatial").glob("*.h5ad")):
        if identify(ad.read_h5ad(file, backed="r").var_names).species != "mouse":
            continue
        (adata,) = read_slices([file], technology={file.stem: "any"})
        genes = list(map(str, adata.var_names))
        match = match_vocabulary(genes, known, min_genes=0)
        upper = [gene.upper() if gene.upper() in known else "" for gene in genes]
        totals = np.asarray(adata.X.sum(axis=0)).ravel()
        kept = totals[np.array(upper) != ""].sum() / totals.sum()
        ways = [difference(g, m, u, related.get(g, set())) for g, m, u in zip(genes, match.names, upper)]
        count = Counter(ways)
        found = (len(match.used), sum(map(bool, upper)))
        cells = [file.stem, f"{len(genes):,}", *(f"{n} ({n / len(genes):.1%})" for n in found)]
        cells += [f"{share:.1%}" for share in (counts_kept(adata.X, match).overall, kept)]
        print(f"| {' | '.join([*cells, *(str(count[kind]) for kind in KINDS)])} |")
        for kind in KINDS:
            shown = [f"{g} → {m}" if m else g for g, m, way in zip(genes, match.names, ways) if way == kind]
            named += [f"{file.stem}, {kind}: {', '.join(shown)}"] if shown else []
    if options.genes:
        print("", *named, sep="\n")


if __name__ == "__main__":
    main()
