"""The embedding of each method, computed or found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.benchmark._scvi import scvi
from lloki.benchmark.methods import Baseline, Method, Peer, Variant
from lloki.benchmark.peers import SEEDED, UNSEEDED, Measured
from lloki.benchmark.rerun import Rerun
from lloki.benchmark.subject import Subject
from lloki.errors import ConfigError, InputError
from lloki.evaluate import expression_pca, harmony
from lloki.run.store import Store, load_arrays, write_arrays

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Makes the embeddings of methods.

    Attributes
    ----------
    subject
        The cells.
    store
        Where embeddings that are not part of a run are kept.
    rerun
        The run behind the cells, if there is one.
    """

    subject: Subject
    store: Store
    rerun: Rerun | None

    def title(self, method: Method) -> str:
        """Name the method as figures do."""
        embedder = self.rerun.config.embedder.partition(":")[0] if self.rerun else "embedder"
        return method.title.format(embedder=embedder)

    def seeded(self, method: Method) -> bool:
        """Say whether another seed gives another embedding."""
        return isinstance(method, Variant) or method.harmony or method.model in ("scvi", *SEEDED)

    def of(self, method: Method, repeat: int = 0) -> Rows:
        """Compute, or find, the (n, d) embedding of all cells, for the given repeat with another seed.

        Raises
        ------
        ConfigError, InputError, MissingExtraError
            If the method cannot be applied to these cells, with the reason.
        """
        seed = repeat + (self.rerun.config.seed if self.rerun else 0)
        if isinstance(method, Variant):
            x = self._variant(method, repeat)
        else:
            x = self._peer(method, seed) if isinstance(method, Peer) else self._baseline(method, seed)
        if not method.harmony:
            return x
        inputs = (x, self.subject.batches.tolist(), seed)
        return self._cached("harmony", inputs, lambda: harmony(x, self.subject.batches, seed=seed))

    def _variant(self, method: Variant, repeat: int) -> Rows:
        if self.rerun is None:
            raise ConfigError("it needs the folder of a run of lloki integrate in place of an .h5ad file")
        own, config = self.rerun.config, method.change(self.rerun.config, repeat)
        if own.embedder.startswith("precomputed") and (method.fp or method.preset):
            raise ConfigError("the run's embedding was made elsewhere, so LLOKI-FP has no part in it")
        if config == own and method.slot in self.subject.embeddings:
            return self.subject.embeddings[method.slot]
        return self.rerun.embedding(config, method.slot)

    def _baseline(self, method: Baseline, seed: int) -> Rows:
        what = self.subject
        if method.genes == "shared" and what.shared.sum() < 3:
            raise InputError(f"{what.shared.sum()} genes are measured by every slice")
        genes = what.shared if method.genes == "shared" else np.ones_like(what.shared)
        if method.model == "scvi":
            return self._scvi(genes, seed)
        x = what.expression(genes)
        return self._cached("pca", _arrays(x), lambda: expression_pca(x))

    def _peer(self, method: Peer, seed: int) -> Rows:
        if self.rerun is None:
            raise ConfigError(
                "it needs the counts of a scRNA-seq reference: give the folder of a run of lloki integrate "
                "in place of an .h5ad file"
            )
        parts = self.subject.measured()
        slices = [measured for _, measured in parts.values()]
        cells = np.concatenate([rows for rows, _ in parts.values()])
        reference = _of_panels(self.rerun.reference(), slices)
        name, arrays = method.model, [a for data in (*slices, reference) for a in _content(data)]

        def compute() -> Rows:
            if name in SEEDED:
                found = SEEDED[name](slices, reference, seed=seed)
            else:
                found = UNSEEDED[name](slices, reference)
            x = np.concatenate(found)
            out = np.empty_like(x)
            out[cells] = x
            return out

        inputs = (name, *arrays, cells, seed if name in SEEDED else None)
        return self._cached("peer", inputs, compute, name=name)

    def _scvi(self, genes: NDArray[np.bool_], seed: int) -> Rows:
        x = self.subject.counts(genes)
        inputs = (*_arrays(x), self.subject.batches.tolist(), seed)
        return self._cached("scvi", inputs, lambda: scvi(x, self.subject.batches, seed=seed))

    def _cached(
        self, stage: str, inputs: Sequence[Any], compute: Callable[[], Rows], *, name: str = ""
    ) -> Rows:
        piece = self.store.piece(stage, name or stage, *inputs)
        path = self.store.cached(piece, lambda path: write_arrays(path, {"rows": compute()}))
        rows: Rows = load_arrays(path)["rows"]
        return rows


def _arrays(x: sparse.csr_matrix) -> tuple[NDArray, NDArray, NDArray]:
    return x.data, x.indices, x.indptr


def _content(data: Measured) -> tuple[Any, ...]:
    return (*_arrays(data.counts), list(data.genes))


def _of_panels(reference: Measured, slices: Sequence[Measured]) -> Measured:
    """Cut a reference to the genes that some slice measured, as a run does."""
    known = {gene for data in slices for gene in data.genes}
    return reference.only([gene for gene in reference.genes if gene in known])
