"""Names of cell types that differ between sources: found, and matched by where their cells lie."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lloki._tables import read_table
from lloki.errors import InputError
from lloki.graph import nearest

Doubles = NDArray[np.float64]

BASE = "names are those of this source"
COLUMNS = ("source", "name", "common_name", "n_cells", "agreement", "mixing", "note")
_FEW = 0.5  # share of the smaller vocabulary that two sources must have in common
# Agreement of two names that are taken for one type, between sources that share few names, and that share
# more: there, types that only one source has are more likely than two names.
_ONE_TO_ONE = 0.3, 0.5
_MIXED = 0.4  # mixing of the cells of one type; of different types, each the nearest to the other, under .4
_FEWEST = 10  # cells of a type, for it to be matched
_NAME_WEIGHT = 0.5  # of similar names, next to where the cells lie
_LEAST_SCORE = (
    1.0  # agreement plus cosine of a match; of true ones in cortex at least 1.07, of others up to 0.93
)
_CLOSE = 0.2  # difference of scores at which a match is uncertain
_COARSER = 1.5  # times as many names left over, for a vocabulary to be taken for one of larger types
_MOST_CELLS = 4000  # of a source


def read_label_map(table: str | Path | pd.DataFrame | Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Read a map from the sources' names of types to common ones.

    Parameters
    ----------
    table
        A text file or a frame with the columns name and common_name and, where a name means something else
        in each source, source (a slice, or ``reference``); further columns are ignored. Or name → common
        name.

    Returns
    -------
    (source, or ``""`` for all, and name) → common name. An empty common name leaves a name as it is.

    Raises
    ------
    InputError
        If a column is absent, there is no row, or a name is mapped to two.
    """
    where = str(table) if isinstance(table, str | Path) else "label_map"
    if isinstance(table, Mapping):
        rows = [("", str(k).strip(), str(v).strip()) for k, v in table.items()]
    else:
        rows = _rows(table, ("name", "common_name"), "source", where)
    found: dict[tuple[str, str], str] = {}
    for source, name, common in rows:
        if found.setdefault((source, name), common) != common:
            text = f"{name!r} is mapped to {found[source, name]!r} and to {common!r}"
            raise InputError(text, where=where, hint="Keep one of the two rows.")
    return found


def read_parents(table: str | Path | pd.DataFrame | Mapping[str, str]) -> dict[str, str]:
    """Read which group holds each type: a file or a frame with the columns type and group, or a mapping.

    Raises
    ------
    InputError
        If a column is absent, there is no row, or a type is in two groups.
    """
    where = str(table) if isinstance(table, str | Path) else "parents"
    if isinstance(table, Mapping):
        return {str(k).strip(): str(v).strip() for k, v in table.items()}
    found: dict[str, str] = {}
    for _, name, group in _rows(table, ("type", "group"), "", where):
        if found.setdefault(name, group) != group:
            text = f"{name!r} is in {found[name]!r} and in {group!r}"
            raise InputError(text, where=where, hint="Keep one of the two rows.")
    return found


def _rows(
    table: str | Path | pd.DataFrame, needed: tuple[str, str], optional: str, where: str
) -> list[tuple[str, str, str]]:
    """Values of the optional column, ``""`` without it, and of two that are needed."""
    if isinstance(table, pd.DataFrame):
        columns = [str(c) for c in table.columns]
        rows = table.astype(object).where(table.notna(), "").astype(str).to_numpy().tolist()
    else:
        read = read_table(Path(table).expanduser())
        columns, rows = list(read.columns), [list(row.values) for row in read.rows]
    at = {re.sub(r"[\s-]", "_", c.strip().lower()): i for i, c in enumerate(columns)}
    hint = f"Give the columns {' and '.join(needed)}" + (f", and if wanted {optional}." if optional else ".")
    if not set(needed) <= set(at):
        raise InputError(f"has the columns {', '.join(columns) or 'none'}", where=where, hint=hint)
    if not rows:
        raise InputError("holds no row", where=where, hint=hint)
    first = [row[at[optional]].strip() if optional in at else "" for row in rows]
    return [(f, row[at[needed[0]]].strip(), row[at[needed[1]]].strip()) for f, row in zip(first, rows)]


def rename(labels: NDArray[np.str_], source: str, names: Mapping[tuple[str, str], str]) -> NDArray[np.str_]:
    """(n,) labels of a source by their common names; those that the map lacks stay as they are."""
    known, codes = np.unique(labels, return_inverse=True)
    common = [names.get((source, str(k))) or names.get(("", str(k))) or str(k) for k in known]
    return np.array(common, str)[codes]


def share_few(ours: Collection[str], theirs: Collection[str]) -> bool:
    """Whether two vocabularies have less than half of the smaller one in common."""
    return len(set(ours) & set(theirs)) < _FEW * min(len(ours), len(theirs))


def suggest_label_map(
    embedding: NDArray[np.floating],
    labels: NDArray[np.str_],
    sources: NDArray[np.str_],
    *,
    n_neighbors: int = 15,
) -> pd.DataFrame:
    r"""Suggest common names for the types of several sources.

    The source with the most labeled cells gives the names. Each other source is matched with it: cells of
    either are labeled by their nearest cells of the other, which gives the shares :math:`p_{ab}` of cells of
    type a that are called b, and :math:`q_{ba}`. Shared names stay. Of the others, pairs are assigned one to
    one so that the sum of :math:`\\sqrt{p_{ab} q_{ba}}`, of the cosine of the types' means and, with a small
    weight, of the similarity of the names is largest. If many more names are left over than there are names
    to match, they are taken for parts of larger types: each that most of its cells are called.

    Parameters
    ----------
    embedding
        (n, d) of labeled cells, in which like cells of different sources are near.
    labels, sources
        (n,).
    n_neighbors
        Number of neighbors that vote.

    Returns
    -------
    pandas.DataFrame
        One row per source and name: source, name, common_name (the name itself where there is none),
        n_cells, agreement (the larger of :math:`\\sqrt{p_{ab} q_{ba}}` and, for a part, :math:`p_{ab}`;
        1 for shared names, NaN without a match), mixing (of the cells of both names: share of neighbors
        that are the other source's, over what random mixing would give; 1 for shared names), note.
    """
    names, sizes = np.unique(sources, return_counts=True)
    base = str(names[sizes.argmax()])
    first = sources == base
    known, counts = np.unique(labels[first], return_counts=True)
    rows = [(base, str(k), str(k), int(n), 1.0, 1.0, BASE) for k, n in zip(known, counts)]
    for name in (str(k) for k in names if k != base):
        own = sources == name
        rows += _matched(name, embedding[own], labels[own], embedding[first], labels[first], n_neighbors)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def conflicts(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of `suggest_label_map` whose cells lie with cells of another name: one type under two names."""
    names = {source: set(rows["name"]) for source, rows in table.groupby("source")}
    base = set(table.loc[table["note"] == BASE, "name"])
    few = table["source"].map({source: share_few(list(own), list(base)) for source, own in names.items()})
    least = np.where(few, *_ONE_TO_ONE)
    other, mixed = table["common_name"] != table["name"], table["mixing"] >= _MIXED
    return table[other & mixed & (table["agreement"] >= least)]


def _matched(
    source: str,
    x: NDArray[np.floating],
    labels: NDArray[np.str_],
    y: NDArray[np.floating],
    base: NDArray[np.str_],
    n_neighbors: int,
) -> list[tuple[str, str, str, int, float, float, str]]:
    a, n_a = np.unique(labels, return_counts=True)
    b, n_b = np.unique(base, return_counts=True)
    there = _shares(x, np.searchsorted(a, labels), y, np.searchsorted(b, base), len(a), len(b), n_neighbors)
    back = _shares(y, np.searchsorted(b, base), x, np.searchsorted(a, labels), len(b), len(a), n_neighbors)
    both = np.sqrt(there * back.T)
    cosine = _cosine(_means(x, labels, a), _means(y, base, b))
    alike = np.array([[_similar(str(p), str(q)) for q in b] for p in a])
    plain_b = {_plain(str(q)): j for j, q in enumerate(b)}
    same = {i: plain_b[_plain(str(p))] for i, p in enumerate(a) if _plain(str(p)) in plain_b}
    free_a = [i for i in range(len(a)) if i not in same]
    free_b = [j for j in range(len(b)) if j not in same.values()]
    score = both + cosine + _NAME_WEIGHT * alike
    chosen = {i: (j, 1.0, "") for i, j in same.items()}
    if free_a and free_b:
        for i, j in zip(*linear_sum_assignment(-score[np.ix_(free_a, free_b)])):
            i, j = free_a[i], free_b[j]
            if n_a[i] >= _FEWEST and n_b[j] >= _FEWEST and both[i, j] + cosine[i, j] >= _LEAST_SCORE:
                chosen[i] = (j, float(both[i, j]), "")
    for i in [i for i in chosen if i not in same]:
        j = chosen[i][0]
        rivals = [a[r] for r in free_a if r not in chosen and score[r, j] >= score[i, j] - _CLOSE]
        chosen[i] = (*chosen[i][:2], f"uncertain: or {', '.join(rivals)}" if rivals else "")
    coarser, rows = len(free_a) >= _COARSER * len(free_b), []
    for i, p in enumerate(a):
        j, agreement, note = chosen.get(i, (-1, np.nan, "no counterpart"))
        top = int(there[i].argmax())
        if j < 0 and coarser and there[i, top] >= 0.5 and n_a[i] >= _FEWEST and top in free_b:
            j, agreement, note = top, float(there[i, top]), f"part of {b[top]}"
        mixing = 1.0 if i in same else np.nan
        if j >= 0 and i not in same:
            mixing = _mixing(x[labels == p], y[base == b[j]], n_neighbors)
        common = str(b[j]) if j >= 0 else str(p)
        rows.append((source, str(p), common, int(n_a[i]), round(agreement, 3), round(mixing, 3), note))
    return rows


def _shares(
    x: NDArray[np.floating],
    codes: NDArray,
    y: NDArray[np.floating],
    base: NDArray,
    n_a: int,
    n_b: int,
    k: int,
) -> Doubles:
    """(n_a, n_b) mean share of votes for each type of y that cells of each type of x get.

    Votes of a type of y count by its rarity: otherwise frequent types win everywhere.
    """
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(len(x))[:_MOST_CELLS])
    near = nearest(x[some], y, k)
    weight = 1 / np.sqrt(np.bincount(base, minlength=n_b))
    votes = np.zeros((len(some), n_b))
    for column in near.index.T:
        np.add.at(votes, (np.arange(len(some)), base[column]), weight[base[column]])
    votes /= votes.sum(1, keepdims=True)
    out = np.zeros((n_a, n_b))
    np.add.at(out, codes[some], votes)
    return out / np.maximum(np.bincount(codes[some], minlength=n_a), 1)[:, None]


def _mixing(x: NDArray[np.floating], y: NDArray[np.floating], k: int) -> float:
    """Mean share of the other set among the nearest cells of both, over that of random mixing."""
    both = np.concatenate([x[:_MOST_CELLS], y[:_MOST_CELLS]])
    own = np.arange(len(both)) < min(len(x), _MOST_CELLS)
    near = nearest(both, both, k, exclude=np.arange(len(both)))
    other = (own[near.index] != own[:, None]).mean(1)
    n = len(both) - 1
    return float(np.mean([other[own].mean() / ((~own).sum() / n), other[~own].mean() / (own.sum() / n)]))


def _means(x: NDArray[np.floating], labels: NDArray, names: NDArray) -> Doubles:
    """(T, d) mean of each type, less the mean of these means: types count alike, however frequent."""
    means = np.stack([x[labels == name].mean(0) for name in names])
    return np.asarray(means - means.mean(0))


def _cosine(a: Doubles, b: Doubles) -> Doubles:
    unit = [m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in (a, b)]
    return np.asarray(unit[0] @ unit[1].T)


def _plain(name: str) -> str:
    """Name without case, blanks and signs, or a plural."""
    return re.sub(r"[^a-z0-9]", "", name.casefold()).removesuffix("s")


def _similar(a: str, b: str) -> float:
    """0 for names that have little more in common than any two, 1 for the same."""
    return max(0.0, (difflib.SequenceMatcher(None, _plain(a), _plain(b)).ratio() - 0.6) / 0.4)
