"""The stages of a run over its store, in their order: each is computed, or found done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki._log import logger
from lloki._progress import Progress
from lloki._sums import forget
from lloki.cae import CAEModel, fit_token, sample_sizes
from lloki.cae.model import Output
from lloki.cae.token import STEPS as TOKEN_STEPS
from lloki.embed import Embedder, HoldsOut, SliceSummary, load_embedder, save_embedder
from lloki.errors import LlokiWarning
from lloki.run import _view, held_out
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.opening import Opened
from lloki.run.pieces import (
    Pieces,
    embedding_units,
    encode_units,
    feature_units,
    plan_pieces,
    summary_units,
    token_piece,
)
from lloki.run.reference import Reference
from lloki.run.slices import SliceRecord
from lloki.run.store import Piece, Store, StoredRows, load_arrays, write_arrays
from lloki.run.units import (
    EmbeddingUnit,
    FeatureUnit,
    PlaceUnit,
    TrainingUnit,
    Unit,
    ViewUnit,
    compute,
    compute_and_warn,
)

Rows = Mapping[str, NDArray[np.float32]]


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
        Slice → its unit of embedding, and the (n, d) that it holds, read when asked for.
    """

    features: dict[str, FeatureUnit]
    embedder: Path
    embedder_key: str
    units: dict[str, EmbeddingUnit]
    rows: Rows


@dataclass(frozen=True)
class Aligned:
    """What LLOKI-CAE made of them: the model, and slice → rows of all its cells, read when asked for."""

    model: CAEModel
    joint: StoredRows


@dataclass(frozen=True)
class Seen:
    """How the joint embedding looks.

    Attributes
    ----------
    umap
        (cells, 2), slices in the order given; None without a layout.
    clusters
        Slice → (n,) clusters of its cells.
    held_out
        The scores by held-out genes.
    latent
        Slice → rows of the latent space, where the joint embedding is the network's inputs.
    """

    umap: NDArray[np.float32] | None
    clusters: dict[str, NDArray[np.int64]]
    held_out: held_out.RunHeldOut
    latent: StoredRows | None = None


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
        sizes, tokens = {r.name: r.cells for r in trained}, {r.name: r.token for r in trained}
        unit = TrainingUnit(
            piece=piece,
            cells=sum(sample_sizes(sizes, tokens, self.config.cae.most_cells).values()),
            rows={r.name: embedded.units[r.name].path for r in trained},
            tokens=tokens,
            labels=opened.labels,
            config=self.config.cae,
            device=self.device,
            checkpoint=checkpoint,
        )
        self._train(unit)
        checkpoint.unlink(missing_ok=True)
        forget(checkpoint)
        return self.encoded(CAEModel.load(piece.path, device=self.device), opened, embedded, piece)

    def settle(
        self, opened: Opened, embedded: Embedded, aligned: Aligned, pieces: Pieces
    ) -> tuple[Aligned, Seen]:
        """Lay out, cluster and score; give the network's inputs instead where its latent space is worse.

        All is then done again, on the inputs.
        """
        of = {"latent": (pieces.view, pieces.held_out)}
        of["inputs"] = (pieces.view_of_inputs, pieces.held_out_of_inputs)
        seen = self._seen(opened, embedded, aligned, *of[aligned.model.output])
        may_change = self.config.cae.output == "better" and aligned.model.output == "latent"
        if may_change and seen.held_out.network_takes_away:
            lost = seen.held_out.clusters_lost
            aligned = self.encoded(aligned.model.giving("inputs"), opened, embedded, pieces.training)
            seen = self._seen(opened, embedded, aligned, *of["inputs"])
            seen = replace(seen, held_out=replace(seen.held_out, lost=lost))
        if aligned.model.output == "inputs":
            latent = self.encoded(aligned.model.giving("latent"), opened, embedded, pieces.training).joint
            seen = replace(seen, latent=latent)
        return aligned, seen

    def encoded(self, model: CAEModel, opened: Opened, embedded: Embedded, training: Piece) -> Aligned:
        """Encode all slices by a model of them, or by its other output."""
        own = {r.name for r in opened.slices}
        of = (opened.slices, embedded, training.path, training.key, model.output)
        return Aligned(model, self.encode(*of, own=own))

    def _train(self, unit: TrainingUnit) -> None:
        """Train here, where progress is seen and all cores are, or on one worker of a cluster."""
        record = self.store.recorder.stages.append
        if self.store.usable(unit.piece):
            record(compute(unit))
            return
        steps = unit.config.total_steps(unit.cells)
        advance = self.progress.task("Aligning batches", steps, "steps")
        if not self.workers.scheduler:
            record(compute(unit, advance))
            return
        gpu = self.workers.have_gpu()
        if gpu:  # which the process that calls lloki may lack
            unit = replace(unit, device="auto")
        for found, texts in self.workers.run(compute_and_warn, [unit], gpu=gpu):
            self.workers.require_result(unit.path)
            record(found)
            for text in texts:
                warnings.warn(text, LlokiWarning, stacklevel=5)
        advance(steps)

    def _seen(self, opened: Opened, embedded: Embedded, aligned: Aligned, view: Piece, score: Piece) -> Seen:
        umap, clusters = self.view(aligned.joint, opened.slices, view)
        ends = np.cumsum([r.cells for r in opened.slices])[:-1]
        by_slice = dict(zip((r.name for r in opened.slices), np.split(clusters, ends)))
        return Seen(umap, by_slice, self.held_out(opened, embedded, aligned, by_slice, score))

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

        return held_out.load(self.store.cached(piece, make), aligned.model.output)

    def encode(
        self,
        records: Sequence[SliceRecord],
        embedded: Embedded,
        folder: Path,
        key: str,
        output: Output,
        *,
        own: Collection[str],
    ) -> StoredRows:
        """Joint embedding of slices by the model in ``folder``, whose key that is.

        ``own`` are the slices that are encoded by their own part of the condition, where they have one.
        """
        units = encode_units(
            *(self.store, records, embedded.units, folder, key, output), own=own, device=self.device
        )
        self._units("Encoding cells", units)
        return StoredRows({name: unit.path for name, unit in units.items()})

    def fit_token(
        self, model: CAEModel, model_key: str, token: str, rows: Rows, units: Mapping[str, EmbeddingUnit]
    ) -> tuple[CAEModel, Path, str]:
        """Add a token to a model, from all slices ``rows`` that have it: it, its folder and key."""

        def make(folder: Path) -> None:
            advance = self.progress.task("Fitting the batch token", TOKEN_STEPS, "steps")
            fit_token(model, rows, token=token, advance=advance).save(folder)

        piece = token_piece(self.store, model_key, token, list(rows), units)
        folder = self.store.cached(piece, make)
        return CAEModel.load(folder, device=self.device), folder, piece.key

    def view(
        self, joint: StoredRows, records: Sequence[SliceRecord], piece: Piece
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.int64]]:
        """UMAP, unless left out, and clusters; rows are in the order of names, whatever the order given."""
        start = np.cumsum([0, *(r.cells for r in records)])
        order = sorted(range(len(records)), key=lambda i: records[i].name)
        rows = np.concatenate([np.arange(start[i], start[i + 1]) for i in order])
        named = [records[i] for i in order]
        many = len(rows) > _view.MOST
        if not many or not self.store.usable(piece):
            unit = ViewUnit(
                piece=self.store.piece("view", "sample", piece.key) if many else piece,
                cells=len(rows),
                rows=tuple(joint.paths[r.name] for r in named),
                sizes=tuple(r.cells for r in named),
                layout=self.config.umap,
                resolution=self.config.resolution,
                seed=self.config.seed,
            )
            what = "UMAP and clusters" if self.config.umap else "clusters"
            self._units(f"Computing {what}", {"all cells": unit})
            if many:
                self._place(joint, named, unit.piece, piece)
        else:
            self.store.recorder.reused(piece.stage, piece.name, piece.key)
        arrays = load_arrays(piece.path)
        back = np.argsort(rows)
        return arrays["umap"][back] if "umap" in arrays else None, arrays["clusters"][back]

    def _place(self, joint: StoredRows, named: Sequence[SliceRecord], sample: Piece, piece: Piece) -> None:
        """Place the cells of each slice, by a unit of its own, among those of a sample that was laid out."""
        units = {
            r.name: PlaceUnit(
                piece=self.store.piece("view", r.name, sample.key, i),
                cells=r.cells,
                source=joint.paths[r.name],
                anchors=sample.path,
            )
            for i, r in enumerate(named)
        }
        self._units("Placing cells", units)

        def join(path: Path) -> None:
            known, placed = load_arrays(sample.path), [load_arrays(units[r.name].path) for r in named]
            found = {key: np.concatenate([part[key] for part in placed]) for key in placed[0]}
            for key, values in found.items():
                values[known["drawn"]] = known[key]
            write_arrays(path, found)

        self.store.cached(piece, join)

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
        rows = StoredRows({name: unit.path for name, unit in units.items()})
        return Embedded(features, folder, key, units, rows)

    def _units(self, description: str, units: Mapping[str, Unit]) -> None:
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
