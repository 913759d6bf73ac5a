"""The stages of a run over its store, in their order: each is computed, or found done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki._log import logger
from lloki._progress import Progress
from lloki._sums import forget
from lloki.cae import CAEModel, fit_token, train
from lloki.cae.token import STEPS as TOKEN_STEPS
from lloki.embed import Embedder, HoldsOut, SliceSummary, load_embedder, save_embedder
from lloki.run import held_out
from lloki.run._view import view
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.opening import Opened
from lloki.run.pieces import (
    Pieces,
    embedding_units,
    feature_units,
    plan_pieces,
    summary_units,
    token_piece,
)
from lloki.run.reference import Reference
from lloki.run.slices import SliceRecord
from lloki.run.store import Piece, Store, load_arrays, write_arrays
from lloki.run.units import EmbeddingUnit, FeatureUnit, SummaryUnit, Unit, compute

Rows = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Embedded:
    """Slices after LLOKI-FP and the embedder.

    Attributes
    ----------
    features
        Slice → its unit of LLOKI-FP; empty without a reference.
    embedder, embedder_key
        Folder of the fitted embedder, and its key.
    units, rows
        Slice → its unit of embedding, and the (n, d) that it holds.
    """

    features: dict[str, FeatureUnit]
    embedder: Path
    embedder_key: str
    units: dict[str, EmbeddingUnit]
    rows: Rows


@dataclass(frozen=True)
class Aligned:
    """What LLOKI-CAE made of them: the model, and slice → (n, 128)."""

    model: CAEModel
    joint: Rows


@dataclass(frozen=True)
class Stages:
    """The stages of one run.

    Attributes
    ----------
    store, config
        Where pieces are kept, and the parameters.
    progress
        Where to report.
    workers
        Where units are computed.
    device
        Name of the torch device, the same for all workers.
    """

    store: Store
    config: RunConfig
    progress: Progress
    workers: Workers
    device: str

    def plan(self, opened: Opened, embedder: Embedder) -> Pieces:
        """Name all pieces of a run of these inputs."""
        return plan_pieces(self.store, self.config, opened, embedder, device=self.device)

    def embed(self, opened: Opened, embedder: Embedder, pieces: Pieces) -> Embedded:
        """Take opened inputs through LLOKI-FP and the embedder, which is fitted first if it learns."""
        self._units("Aligning features", pieces.features)
        self._units("Summarizing slices", pieces.summaries)
        self._fit(embedder, opened, pieces)
        return self._embedded(pieces.features, pieces.fit.path, pieces.fit.key, pieces.embedding)

    def embed_by(
        self,
        records: Sequence[SliceRecord],
        reference: Reference | None,
        embedder: Embedder,
        folder: Path,
        fit_key: str,
    ) -> Embedded:
        """Take slices through LLOKI-FP and an embedder that another run has fitted, in ``folder``."""
        features = feature_units(self.store, self.config, records, reference, embedder)
        summaries = summary_units(self.store, self.config, records, features, embedder)
        self._units("Aligning features", features)
        self._units("Summarizing slices", summaries)
        units = embedding_units(
            *(self.store, self.config, records, features, summaries, embedder, folder, fit_key),
            device=self.device,
        )
        return self._embedded(features, folder, fit_key, units)

    def align(self, opened: Opened, embedded: Embedded, piece: Piece) -> Aligned:
        """Train LLOKI-CAE on the trained slices, resuming a run that was stopped, and encode all."""
        trained = opened.trained
        checkpoint = piece.path.with_name(f"{piece.path.name}.checkpoint")

        def make(folder: Path) -> None:
            steps = self.config.cae.total_steps(sum(r.cells for r in trained))
            model = train(
                {r.name: embedded.rows[r.name] for r in trained},
                {r.name: r.token for r in trained},
                labels=opened.labels,
                config=self.config.cae,
                device=self.device,
                checkpoint=checkpoint,
                advance=self.progress.task("Aligning batches", steps, "steps"),
            )
            model.save(folder)

        folder = self.store.cached(piece, make)
        checkpoint.unlink(missing_ok=True)
        forget(checkpoint)
        model = CAEModel.load(folder, device=self.device)
        with self.store.recorder.measure("encode", "all slices"):
            joint = {r.name: self.encode(model, r, embedded.rows, trained=True) for r in opened.slices}
        return Aligned(model, joint)

    def held_out(
        self,
        opened: Opened,
        embedded: Embedded,
        aligned: Aligned,
        clusters: Mapping[str, NDArray[np.int64]],
        piece: Piece,
    ) -> held_out.RunHeldOut:
        """Score both embeddings by genes that they have not seen, where the embedder can leave genes out."""
        embedder = load_embedder(embedded.embedder, device=self.device)
        if not isinstance(embedder, HoldsOut):
            return held_out.nothing(f"the embedder {embedder.name} cannot leave genes out")

        def make(path: Path) -> None:
            advance = self.progress.task("Predicting held-out genes", 1, "scores")
            scores = held_out.score(
                *(opened.trained, embedded.units, embedder, aligned.model, clusters), seed=self.config.seed
            )
            write_arrays(path, held_out.arrays(scores))
            advance(1)

        return held_out.load(self.store.cached(piece, make))

    def encode(self, model: CAEModel, r: SliceRecord, rows: Rows, *, trained: bool) -> NDArray[np.float32]:
        """Joint embedding of one slice; ``trained``: by its own part of the condition, where it has one."""
        name = r.name if trained else None
        return model.encode(rows[r.name], r.token, slice_name=name)

    def fit_token(
        self, model: CAEModel, model_key: str, token: str, rows: Rows, units: Mapping[str, EmbeddingUnit]
    ) -> tuple[CAEModel, str]:
        """Add a token to a model, from all slices ``rows`` that have it."""

        def make(folder: Path) -> None:
            advance = self.progress.task("Fitting the batch token", TOKEN_STEPS, "steps")
            fit_token(model, rows, token=token, advance=advance).save(folder)

        piece = token_piece(self.store, model_key, token, list(rows), units)
        return CAEModel.load(self.store.cached(piece, make), device=self.device), piece.key

    def view(
        self, joint: NDArray[np.float32], records: Sequence[SliceRecord], piece: Piece
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
        """UMAP, unless left out, and clusters; rows are in the order of names, whatever the order given."""
        start = np.cumsum([0, *(r.cells for r in records)])
        order = sorted(range(len(records)), key=lambda i: records[i].name)
        rows = np.concatenate([np.arange(start[i], start[i + 1]) for i in order])

        def make(path: Path) -> None:
            what = "UMAP and clusters" if self.config.umap else "clusters"
            advance = self.progress.task(f"Computing {what}", len(joint))
            config, x = self.config, joint[rows]
            umap, clusters = view(x, layout=config.umap, resolution=config.resolution, seed=config.seed)
            write_arrays(path, {"clusters": clusters} | ({} if umap is None else {"umap": umap}))
            advance(len(joint))

        arrays = load_arrays(self.store.cached(piece, make))
        back = np.argsort(rows)
        return arrays["umap"][back] if "umap" in arrays else None, arrays["clusters"][back]

    def _fit(self, embedder: Embedder, opened: Opened, pieces: Pieces) -> None:
        def make(folder: Path) -> None:
            advance, fitted = self.progress.task("Fitting the embedder", 1, "fits"), embedder
            if embedder.joint:
                units = {r.name: pieces.summaries[r.name] for r in opened.trained}
                parts = {n: units[n].load() for n in sorted(units)}
                ref = opened.reference
                fitted = embedder.fit(parts, ref.summary(embedder) if ref else SliceSummary(()))
            folder.mkdir()
            save_embedder(fitted, folder)
            advance(1)

        self.store.cached(pieces.fit, make)

    def _embedded(
        self, features: dict[str, FeatureUnit], folder: Path, key: str, units: dict[str, EmbeddingUnit]
    ) -> Embedded:
        self._units("Embedding cells", units)
        rows = {name: load_arrays(unit.path)["rows"] for name, unit in units.items()}
        return Embedded(features, folder, key, units, rows)

    def _units(
        self, description: str, units: Mapping[str, FeatureUnit | SummaryUnit | EmbeddingUnit]
    ) -> None:
        """Compute units that are missing, here or on workers."""
        record = self.store.recorder.stages.append
        for u in (done := [u for u in units.values() if self.store.usable(u.piece)]):
            record(compute(u))
        missing = [u for u in units.values() if u.piece not in {u.piece for u in done}]
        if not missing:
            return
        advance = self.progress.task(description, sum(u.cells for u in missing))
        sizes = {u.piece.name: u.cells for u in missing}
        here = self.workers.here
        function: Callable[[Unit], Any] = (lambda unit: compute(unit, advance)) if here else compute
        pieces = {u.piece.name: u.piece for u in missing}
        for found in self.workers.run(function, missing):
            self.workers.require_result(pieces[found.unit].path)
            record(found)
            if not here:
                advance(sizes[found.unit])
            logger.debug("%s %s: %.1f s", found.stage, found.unit, found.seconds)
