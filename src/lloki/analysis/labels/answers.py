"""What the heads answer, on cells to label and on labeled cells left out; and which head is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki.analysis.labels.heads import AVERAGE, NEIGHBORS, Fitted
from lloki.analysis.labels.hierarchy import Hierarchy

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

_FOLDS = 5  # sets of slices, or of cells, that are left out at most
_BETTER = 0.005  # accuracy by which a head must exceed the average to be used instead


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a head for m cells, at each of L levels of a hierarchy.

    Attributes
    ----------
    best, score
        (L, m) most likely group, and its probability by the head.
    mean
        (L, m) probability of that group by the average of the heads.
    """

    best: Codes
    score: Doubles
    mean: Doubles

    @classmethod
    def join(cls, parts: list[Answers]) -> Answers:
        """Join answers for cells that follow one another."""
        return cls(
            *(np.concatenate(each, axis=1) for each in zip(*((p.best, p.score, p.mean) for p in parts)))
        )


def answer(found: Mapping[str, Doubles], hierarchy: Hierarchy) -> dict[str, Answers]:
    """Answers of every head and of their average, from probabilities in one slice (`Fitted.predict`).

    Where a head has no answer, it is that of the neighbors.
    """
    mean, out = found[AVERAGE], {}
    for head, p in found.items():
        p = np.where(p.sum(1, keepdims=True) > 0, p, found[NEIGHBORS])
        best, score, by_all = [], [], []
        for level in range(len(hierarchy.names)):
            own, every = hierarchy.summed(p, level), hierarchy.summed(mean, level)
            best.append(own.argmax(1))
            score.append(np.minimum(own.max(1), 1.0))
            by_all.append(np.minimum(every[np.arange(len(p)), best[-1]], 1.0))
        out[head] = Answers(np.stack(best), np.stack(score), np.stack(by_all))
    return out


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Labeled cells that were labeled as if they had no label.

    Attributes
    ----------
    what
        What was left out at a time: ``"slices"``, ``"batches"`` or ``"cells"``.
    rows
        (t,) of the cells.
    groups
        (t,) slice, batch or fold of each.
    answers
        Head → its answers.
    distance
        (t,) mean distance to the labeled neighbors.
    """

    what: str
    rows: Codes
    groups: NDArray
    answers: dict[str, Answers]
    distance: Doubles

    def tried(self, code: Codes) -> pd.DataFrame:
        """Accuracy of each head: the mean over the groups. Columns method, accuracy."""
        rows = []
        for head, a in self.answers.items():
            correct = pd.Series(a.best[0] == code[self.rows]).groupby(self.groups).mean()
            rows.append({"method": head, "accuracy": float(correct.mean())})
        return pd.DataFrame(rows)


def choose(left: LeftOut, tried: pd.DataFrame) -> str:
    """Head with the highest accuracy; the average, unless it is exceeded or only cells were left out.

    Within one slice every head is nearly perfect, and which of them carries over does not show.
    """
    accuracy = dict(zip(tried["method"], tried["accuracy"]))
    if left.what == "cells":
        return AVERAGE
    best = max(accuracy, key=lambda head: accuracy[head])
    return best if accuracy[best] > accuracy[AVERAGE] + _BETTER else AVERAGE


def leave_out(
    fit: Callable[[Codes], Fitted],
    slices: NDArray[np.str_],
    batches: NDArray[np.str_] | None,
    voters: Codes,
    asked: Codes,
    code: Codes,
    hierarchy: Hierarchy,
) -> LeftOut:
    """Label labeled cells from other slices, other batches, or else other cells.

    Batches are left out if there are several and a cell to label is of none of them; slices if any two
    share a type.

    Parameters
    ----------
    fit
        From rows of labeled cells to the heads.
    slices, batches
        (n,).
    voters, asked
        Rows of labeled cells, and of those to label.
    code
        (n,) type of each cell.
    """
    tries = [("slices", slices)]
    if batches is not None and not np.isin(batches[asked], batches[voters]).all():
        tries.insert(0, ("batches", batches))
    for what, groups in tries:
        pairs = _pairs(groups[voters], voters, code)
        if pairs:
            return _leave_out(what, fit, slices, groups, pairs, hierarchy)
    folds = np.full(len(slices), -1)
    folds[voters] = np.arange(len(voters)) % min(_FOLDS, len(voters))
    pairs = [(voters[folds[voters] == f], voters[folds[voters] != f]) for f in range(folds.max() + 1)]
    return _leave_out("cells", fit, slices, folds, pairs, hierarchy)


def _pairs(groups: NDArray, voters: Codes, code: Codes) -> list[tuple[Codes, Codes]]:
    """Rows to leave out, and the rows to learn from, by group; several groups at a time if there are many."""
    names, sizes = np.unique(groups, return_counts=True)
    fold = np.empty(len(names), np.int64)
    fold[np.argsort(-sizes, kind="stable")] = np.arange(len(names)) % _FOLDS
    of, pairs = fold[np.searchsorted(names, groups)], []
    for f in range(min(_FOLDS, len(names))):
        out, rest = voters[of == f], voters[of != f]
        out = out[np.isin(code[out], code[rest])]  # other types cannot be predicted correctly
        if len(out):
            pairs.append((out, rest))
    return pairs


def _leave_out(
    what: str,
    fit: Callable[[Codes], Fitted],
    slices: NDArray[np.str_],
    groups: NDArray,
    pairs: list[tuple[Codes, Codes]],
    hierarchy: Hierarchy,
) -> LeftOut:
    rows, parts, distances = [], [], []
    for out, rest in pairs:
        fitted = fit(rest)
        for name in np.unique(slices[out]):
            own = out[slices[out] == name]
            found, distance = fitted.predict(own)
            rows.append(own)
            parts.append(answer(found, hierarchy))
            distances.append(distance)
    answers = {head: Answers.join([part[head] for part in parts]) for head in parts[0]}
    every = np.concatenate(rows)
    return LeftOut(what, every, groups[every], answers, np.concatenate(distances))
