"""The joint embedding of cells without some of their genes: from the run's own models, or estimated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._parts import Part
from lloki._sums import require_whole
from lloki.cae import CAEModel
from lloki.embed import Factor, HoldsOut, SliceSummary, load_embedder, propagate_slice
from lloki.errors import GeneError, ModelError
from lloki.fp import OFF, FPConfig, Propagation, average_neighbors, propagate_embedding

SAME = 1e-3  # relative difference up to which an embedding is the model's
_LARGE = 20_000  # cells of a slice from which the second model learns
_RIDGE = 1e-3

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cells:
    """One slice or reference: its part, (n, g) log-normalized expression, genes, (n, d) joint embedding."""

    part: Part
    expression: sparse.csr_matrix
    genes: tuple[str, ...]
    embedding: NDArray[np.floating]

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.diff(self.expression.indptr) > 0

    @property
    def coords(self) -> NDArray[np.float64] | None:
        return self.part.positions() if keys.SPATIAL in self.part.own.obsm else None


class Unseen:
    """Embed cells without folds of genes, as `lloki.analysis.held_out` asks for it.

    With the folder of the run, by the run's embedder, its propagation and its autoencoder, wherever these
    give the embedding that is in the AnnData. Elsewhere by a factor model that is fitted here, of which the
    joint embedding is taken to be a linear function near each cell: to the cell's row is added what the
    missing genes change in the factors, as far as factors tell rows of this slice.

    Parameters
    ----------
    cells
        Slices to try genes in, and others that the factor model may learn from.
    tried
        How many of them, from the first on, may be asked for.
    run
        Folder of the run, or None.
    seed
        Draws the folds by which the share of neighbors is chosen.
    """

    def __init__(self, cells: Sequence[Cells], run: Path | None, seed: int) -> None:
        self.cells, self.seed = cells, seed
        self.models = None if run is None else _Models.load(run)
        self.exact: dict[str, bool] = {}  # slice → whether the run's own models were used

    def __call__(
        self, i: int, rows: NDArray[np.int64], folds: Sequence[Sequence[str]]
    ) -> Iterator[NDArray[np.floating]]:
        """Rows (m, d) of cells of one slice without each fold."""
        one = self.cells[i]
        found = self.models.without(one, rows, folds) if self.models else None
        self.exact[one.part.name] = found is not None
        yield from found if found is not None else self._estimated(one, rows, folds)

    def _estimated(
        self, one: Cells, rows: NDArray[np.int64], folds: Sequence[Sequence[str]]
    ) -> Iterator[NDArray[np.floating]]:
        joint = one.embedding[rows]
        state = _summary(self.factor, one)
        try:
            plain = self.factor.embed(one.expression, one.genes, state=state)
        except GeneError:  # too few genes for a model: the rows as they are
            yield from [joint] * len(folds)
            return
        spatial = _Spatial(one, Propagation(None, *_SHAPE), self.factor, state, plain, self.seed)
        whole = spatial.rows
        here = one.known
        x = whole[here] - whole[here].mean(0)
        y = one.embedding[here] - one.embedding[here].mean(0)
        gram = x.T.astype(np.float64) @ x
        penalty = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        to_joint = np.linalg.solve(gram + penalty, x.T.astype(np.float64) @ y)
        for held in _each(self.factor, one, state, folds):
            yield joint if held is None else joint + (spatial.of(held, rows) - whole[rows]) @ to_joint

    @cached_property
    def factor(self) -> Factor:
        """A factor model of all cells that were given."""
        model = Factor()
        summaries = {c.part.name: _summary(model, c) for c in self.cells}
        nothing = {"n": np.array(0.0), "mean": np.zeros(0), "scale": np.zeros(0), "moment": np.zeros((0, 0))}
        return model.fit(summaries, SliceSummary((), nothing))


_SHAPE = (FPConfig().propagation.n_neighbors, FPConfig().propagation.bandwidth)


@dataclass(frozen=True, eq=False)
class _Models:
    """What a run fitted, and how it propagated embeddings."""

    embedder: Any
    model: CAEModel
    features: FPConfig
    propagation: Propagation | None
    panels: Mapping[str, Sequence[str]]
    seed: int

    @classmethod
    def load(cls, run: Path) -> _Models | None:
        """Read ``RUN/model``; None where its embedder cannot leave genes out.

        Raises
        ------
        ModelError
            If it holds no finished run.
        """
        folder = run / "model" if (run / "model").is_dir() else run
        require_whole(folder)
        try:
            facts: Mapping[str, Any] = json.loads((folder / "run.json").read_text())
            fp, seed, panels = facts["config"]["fp"], int(facts["config"]["seed"]), facts["panels"]
            embedder = load_embedder(folder / "embedder")
        except (OSError, ValueError, KeyError) as error:
            text = f"{run}: holds no finished run that can be read ({error})"
            raise ModelError(f"{text}. Give the folder that lloki integrate wrote (--out).") from error
        if not isinstance(embedder, HoldsOut):
            return None
        config = None if fp is None else FPConfig.from_dict(fp)
        propagation = None if config is None or config.latent_alpha == 0 else config.propagation
        features = (config or OFF).for_embedder(joint=embedder.joint)
        return cls(embedder, CAEModel.load(folder), features, propagation, panels, seed)

    def without(
        self, one: Cells, rows: NDArray[np.int64], folds: Sequence[Sequence[str]]
    ) -> list[Floats] | None:
        """Rows without each fold; None where the models do not give the embedding that is there."""
        token, coords = one.part.column(keys.TOKEN), one.coords
        if token is None or coords is None or token[0] not in self.model.tokens:
            return None
        if self.features.imputes:  # within budgets that the reference sets, which is not at hand
            return None
        one = self._as_fitted(one, str(token[0]))
        observed = one.expression
        one = replace(one, expression=average_neighbors(observed, coords, config=self.features))
        try:
            state = self.embedder.summarize(one.expression, one.genes)
            plain = self.embedder.embed(
                one.expression, one.genes, state=state, cell_ids=list(map(str, one.part.rows))
            )
        except GeneError:
            return None
        spatial = _Spatial(one, self.propagation, self.embedder, state, plain, self.seed, observed=observed)

        def encode(x: Floats) -> Floats:
            name = one.part.name if one.part.name in self.model.conditions.slices else None
            return self.model.encode(x, str(token[0]), slice_name=name)

        again, there = encode(spatial.rows[rows]), one.embedding[rows]
        if again.shape != there.shape or np.linalg.norm(again - there) > SAME * np.linalg.norm(there):
            return None
        return [
            there if held is None else encode(spatial.of(held, rows))
            for held in _each(self.embedder, one, state, folds)
        ]

    def _as_fitted(self, one: Cells, token: str) -> Cells:
        """Put genes in the order in which the run read them: by it the embedder knows a slice of its fit."""
        at = {gene: j for j, gene in enumerate(one.genes)}
        panel = self.panels.get(token, ())
        genes = tuple([g for g in panel if g in at] + sorted(set(at) - set(panel)))
        expression = sparse.csr_matrix(one.expression[:, [at[g] for g in genes]])
        expression.sort_indices()
        return replace(one, expression=expression, genes=genes)


class _Spatial:
    """Propagation of one slice's embedding, and of others of its cells with the same share of neighbors."""

    def __init__(
        self,
        one: Cells,
        propagation: Propagation | None,
        embedder: Any,
        state: SliceSummary,
        plain: Floats,
        seed: int,
        *,
        observed: sparse.csr_matrix | None = None,
    ) -> None:
        self.rows, self.alpha, self.shape = plain, 0.0, (0, 0.0)
        self.known, self.coords = one.known, one.coords
        if propagation is not None and self.coords is not None:
            self.shape = (propagation.n_neighbors, propagation.bandwidth)
            self.rows, self.alpha = propagate_slice(
                plain,
                self.coords,
                propagation,
                embedder=embedder,
                expression=one.expression,
                genes=one.genes,
                state=state,
                observed=observed,
                known=self.known,
                seed=seed,
            )

    def of(self, plain: Floats, cells: NDArray[np.int64]) -> Floats:
        if self.coords is None or self.alpha == 0:
            return plain[cells]
        return propagate_embedding(plain, self.coords, self.alpha, *self.shape, known=self.known, cells=cells)


def _each(
    embedder: HoldsOut, one: Cells, state: SliceSummary, folds: Sequence[Sequence[str]]
) -> Iterator[Floats | None]:
    """Rows of all cells without each fold; None for one that the slice has no gene of."""
    for fold in folds:
        held = next(iter(embedder.hold_out(one.expression, one.genes, [fold], state=state)), None)
        yield None if held is None else held.rows


def _summary(model: Factor, one: Cells) -> SliceSummary:
    n = one.expression.shape[0]
    some = np.unique(np.linspace(0, n - 1, min(n, _LARGE)).astype(np.int64)) if n else slice(0)
    return model.summarize(one.expression[some], one.genes)
