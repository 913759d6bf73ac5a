"""Labels in training: cells of one type may be partners, cells of another are the negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lloki.errors import InputError
from lloki.graph.knn.tensors import differ

Labels = Mapping[str, Sequence[Any]]
# A cell without a label takes that of its partners if there are so many and such a share of them agrees.
VOTES, SURE = 3, 0.8


def encode_labels(labels: Labels, names: Sequence[str], sizes: Sequence[int]) -> Tensor:
    """Give each type of all slices together a number.

    Parameters
    ----------
    labels
        Slice → label of each of its cells; ``None``, NaN and ``""`` for a cell without. Slices may be absent.
    names, sizes
        Slices in order, and how many cells each has.

    Returns
    -------
    codes
        (N,) int64, -1 where there is no label.

    Raises
    ------
    InputError
        If a slice is unknown, has another number of labels than cells, or no cell has a label.
    """
    for name in labels:
        if name not in names:
            hint = f"The slices are: {', '.join(names)}."
            raise InputError(
                "labels are given for it, but it is no slice of this training", where=name, hint=hint
            )
    text: list[str] = []
    for name, n in zip(names, sizes):
        own = list(labels.get(name, [None] * n))
        if len(own) != n:
            raise InputError(
                f"there are {len(own)} labels for {n} cells", where=name, hint="Give one label a cell."
            )
        text += ["" if value is None or value != value else str(value) for value in own]
    types = sorted(set(text) - {""})
    if not types:
        raise InputError("no cell has a label", hint="Leave the labels out to train without.")
    code = {"": -1} | {name: i for i, name in enumerate(types)}
    return torch.tensor([code[value] for value in text])


def spread(label: Tensor, anchor: Tensor, positive: Tensor) -> Tensor:
    """Give cells without a label the one on which their mutual neighbors agree.

    Without this, labels of one slice would say nothing of the others, which are to be brought to it.

    Parameters
    ----------
    label
        (N,) of all cells, -1 where there is none.
    anchor, positive
        (p,) pairs of cells in different slices.

    Returns
    -------
    type
        (N,) ``label``, and for a cell without one the label that `SURE` of its labeled partners have, if
        there are `VOTES` of them; else -1.
    """
    kinds = int(label.max()) + 1
    labeled = label[positive] >= 0
    place = anchor[labeled] * kinds + label[positive[labeled]]
    votes = torch.bincount(place, minlength=len(label) * kinds).reshape(-1, kinds)
    most, kind = votes.max(dim=1)
    voters = votes.sum(1)
    sure = (label < 0) & (voters >= VOTES) & (most >= SURE * voters)
    return torch.where(sure, kind, label)


def hard_negatives(
    anchor: Tensor,
    drawn: Tensor,
    random: Tensor,
    *,
    label: Tensor,
    slice_of: Tensor,
    positive_label: Tensor,
    positive_slice: Tensor,
    drawn_label: Tensor,
    drawn_slice: Tensor,
) -> Tensor:
    """Choose for each anchor the nearest drawn cell of another type.

    The type in question is the anchor's; an anchor without a label takes its positive's, and is then
    separated from the other types in the positive's slice. So labels of one slice reach the others through
    their mutual neighbors.

    Parameters
    ----------
    anchor
        (a, latent) of the anchors.
    drawn
        (n, latent) of the drawn cells, the candidates.
    random
        (a,) a random drawn cell of the anchor's slice, the negative of anchors of which nothing is known.
    label, slice_of
        (a,) of the anchors; -1 for no label.
    positive_label, positive_slice
        (a,) of their positives.
    drawn_label, drawn_slice
        (n,) of the drawn cells.

    Returns
    -------
    negative
        (a,) drawn cells; -1 where the random cell would be of the anchor's type and no other is there.

    Notes
    -----
    Memory and time grow with a·n: a few milliseconds for a batch.
    """
    known = label >= 0
    kind = torch.where(known, label, positive_label)
    place = torch.where(known, slice_of, positive_slice)
    allowed = differ(kind[:, None], drawn_label[None]) & (place[:, None] == drawn_slice[None])
    instead = torch.where((drawn_label[random] >= 0) & (drawn_label[random] == kind), -1, random)
    with torch.no_grad():
        distance = torch.cdist(anchor, drawn).masked_fill(~allowed, torch.inf)
    nearest, index = distance.min(dim=1)
    return torch.where(nearest.isfinite(), index, instead)
