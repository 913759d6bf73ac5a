"""What the autoencoder is conditioned on: a batch token of named parts, each a learned vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lloki.cae.network import ConditionalAutoencoder

Condition = Literal["token", "slice", "both"]
PARTS: dict[str, tuple[str, ...]] = {"token": ("token",), "slice": ("slice",), "both": ("token", "slice")}


@dataclass(frozen=True)
class Conditions:
    """What the rows of the network's tables stand for.

    Parameters
    ----------
    parts
        Names of the tables that the network has, in the order in which their vectors are joined.
    tokens
        Technology x panel of each row of the table ``token``.
    slices
        Slice → its token, in the order of the rows of the table ``slice``. It holds all trained slices, also
        where the network has no such table.
    """

    parts: tuple[str, ...]
    tokens: tuple[str, ...]
    slices: Mapping[str, str]

    @classmethod
    def of(cls, condition: Condition, tokens: Mapping[str, str]) -> Conditions:
        """From slice → token; rows are in the order of names, whatever the order given."""
        slices = {name: tokens[name] for name in sorted(tokens)}
        return cls(PARTS[condition], tuple(sorted(set(slices.values()))), slices)

    @property
    def technologies(self) -> list[int]:
        """Index of each token's technology, in the order in which they appear first."""
        names = [token.rpartition("|")[0] or token for token in self.tokens]
        order = list(dict.fromkeys(names))
        return [order.index(name) for name in names]

    def sizes(self) -> dict[str, int]:
        """Part → rows of its table."""
        sizes = {"token": len(self.tokens), "slice": len(self.slices)}
        return {part: sizes[part] for part in self.parts}

    def rows(self, names: Sequence[str]) -> Tensor:
        """Rows (len(names), parts) int64 of slices in the tables."""
        order = list(self.slices)
        row = {
            "token": [self.tokens.index(self.slices[name]) for name in names],
            "slice": [order.index(name) for name in names],
        }
        return torch.tensor([row[part] for part in self.parts], dtype=torch.int64).T.reshape(
            -1, len(self.parts)
        )

    def vector(self, network: ConditionalAutoencoder, token: str, slice_name: str | None = None) -> Tensor:
        """Vector (width,) of a trained slice, or of a token.

        A slice that was not trained with gets the token's part: where slices have vectors of their own, their
        mean over the slices of that token.
        """
        if slice_name is not None and self.slices.get(slice_name) == token:
            names = [slice_name]
        else:
            names = [name for name, own in self.slices.items() if own == token]
        rows = self.rows(names).to(
            next(network.parameters()).device
        )  # all the same in the table of tokens: a mean would round
        own = {"token": rows[:1], "slice": rows}
        with torch.no_grad():
            vectors = [network.table(part)(own[part][:, i]).mean(0) for i, part in enumerate(self.parts)]
        return torch.cat(vectors)

    def add(self, token: str, slices: Sequence[str]) -> Conditions:
        """Append a token with its slices; rows that there are stay where they are."""
        more = dict(self.slices) | {name: token for name in sorted(slices)}
        return Conditions(self.parts, (*self.tokens, token), more)
