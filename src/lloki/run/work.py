"""The stages of a run over its store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki._log import logger
from lloki._progress import Progress
from lloki._settings import settings
from lloki.cae import CAEModel, fit_token, train
from lloki.cae.token import STEPS as TOKEN_STEPS
from lloki.embed import Embedder, SliceSummary, load_embedder, save_embedder, settings_of
from lloki.fp import OFF
from lloki.io import atomic
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.inputs import SliceRecord
from lloki.run.labels import Labels
from lloki.run.record import Recorder
from lloki.run.reference import Reference
from lloki.run.store import Store, hash_of_files, key_of, load_arrays, save_arrays
from lloki.run.units import EmbeddingUnit, FeatureUnit, SummaryUnit, Unit, compute
from lloki.run.view import view


class Work:
    """The stages of a run over one store. Each method does one stage, or finds it done."""

    def __init__(
        self,
        store: Store,
        config: RunConfig,
        recorder: Recorder,
        progress: Progress,
        workers: Workers,
        device: str | None = None,
    ) -> None:
        self.store, self.config, self.recorder, self.progress = store, config, recorder, progress
        self.workers = workers
        self.device = settings.device if device is None else device  # by name: workers find their own
        self._weights = hash_of_files(config.model)

    def features(self, records: Sequence[SliceRecord], ref: Reference) -> dict[str, FeatureUnit]:
        """LLOKI-FP of every slice: independent units."""
        config, units = self.config.fp or OFF, {}
        for r in records:
            sparsity = ref.sparsity(r.genes, mode=config.reference_genes)
            key = key_of("fp", r.hash, sparsity, config)
            units[r.name] = FeatureUnit(
                stage="features",
                name=r.name,
                cells=r.cells,
                key=key,
                path=self.store.path("features", r.name, key),
                source=r.path,
                reference_sparsity=sparsity,
                config=config,
            )
        self._units("Aligning features", list(units.values()))
        return units

    def fit(
        self,
        embedder: Embedder,
        trained: Sequence[SliceRecord],
        features: Mapping[str, FeatureUnit],
        ref: Reference | None,
    ) -> tuple[Path, str]:
        """Fit an embedder that learns from the run's data; save it. Returns its folder and key."""
        summaries: dict[str, SummaryUnit] = {}
        if embedder.joint:
            for r in trained:
                summaries[r.name] = self._summary_unit(embedder, r, features[r.name])
            self._units("Summarizing slices", list(summaries.values()))
        names = sorted(summaries)
        learned = [summaries[n].key for n in names]
        key = key_of("fit", *self._identity(embedder), self.config.seed, learned, ref.hash if ref else "")
        folder = self.store.path("embedder", embedder.name, key, "")
        if folder.exists():
            self.recorder.reused("fit", embedder.name, key)
            return folder, key
        with self.recorder.measure("fit", embedder.name, key):
            advance = self.progress.task("Fitting the embedder", 1, "fits")
            if embedder.joint:
                parts = {n: SliceSummary(summaries[n].genes, load_arrays(summaries[n].path)) for n in names}
                embedder = embedder.fit(parts, ref.summary(embedder) if ref else SliceSummary(()))
            with atomic(folder) as temporary:
                temporary.mkdir()
                save_embedder(embedder, temporary)
            advance(1)
        return folder, key

    def _identity(self, embedder: Embedder) -> tuple[Any, ...]:
        """Say what makes two embedders the same before they are fitted."""
        return embedder.name, settings_of(embedder), self._weights or self.config.model

    def _summary_unit(self, embedder: Embedder, r: SliceRecord, features: FeatureUnit) -> SummaryUnit:
        key = key_of("summary", *self._identity(embedder), features.key, r.genes)
        return SummaryUnit(
            stage="summary",
            name=r.name,
            cells=r.cells,
            key=key,
            path=self.store.path("summary", r.name, key),
            features=features.path,
            genes=r.genes,
            embedder=embedder,
        )

    def embed(
        self, records: Sequence[SliceRecord], features: Mapping[str, FeatureUnit], fitted: Path, fit_key: str
    ) -> dict[str, EmbeddingUnit]:
        """Embed every slice's cells: independent units again."""
        embedder = load_embedder(fitted, device=self.device)
        summaries = {}
        if embedder.joint:
            summaries = {r.name: self._summary_unit(embedder, r, features[r.name]) for r in records}
            self._units("Summarizing slices", [u for u in summaries.values() if not u.path.exists()])
        units = {}
        for r in records:
            feature = features.get(r.name)
            key = key_of(
                "embed", fit_key, settings_of(embedder), feature.key if feature else r.hash, self.config.seed
            )
            units[r.name] = EmbeddingUnit(
                stage="embedding",
                name=r.name,
                cells=r.cells,
                key=key,
                path=self.store.path("embedding", r.name, key),
                source=r.path,
                features=feature.path if feature else None,
                summary=summaries[r.name].path if r.name in summaries else None,
                model=fitted,
                seed=self.config.seed,
                device=self.device,
            )
        self._units("Embedding cells", list(units.values()))
        return units

    def align(
        self,
        trained: Sequence[SliceRecord],
        rows: Mapping[str, NDArray[np.float32]],
        embeddings: Mapping[str, EmbeddingUnit],
        labels: Labels | None = None,
    ) -> tuple[CAEModel, str]:
        """Train LLOKI-CAE on the trained slices, going on where a run that was stopped had come to."""
        parts = sorted((r.name, r.token, embeddings[r.name].key) for r in trained)
        key = key_of("cae", parts, self.config.cae, *([] if labels is None else [labels]))
        folder = self.store.path("cae", "model", key, "")
        if folder.exists():
            self.recorder.reused("training", "all slices", key)
            return CAEModel.load(folder, device=self.device), key
        checkpoint = self.store.path("cae", "model", key, ".checkpoint")
        with self.recorder.measure("training", "all slices", key):
            steps = self.config.cae.total_steps(sum(r.cells for r in trained))
            model = train(
                {r.name: rows[r.name] for r in trained},
                {r.name: r.token for r in trained},
                labels=labels,
                config=self.config.cae,
                device=self.device,
                checkpoint=checkpoint,
                advance=self.progress.task("Aligning batches", steps, "steps"),
            )
            with atomic(folder) as temporary:
                temporary.mkdir()
                model.save(temporary)
        checkpoint.unlink(missing_ok=True)
        return model, key

    def fit_token(
        self,
        model: CAEModel,
        model_key: str,
        token: str,
        rows: Mapping[str, NDArray[np.float32]],
        embeddings: Mapping[str, EmbeddingUnit],
    ) -> tuple[CAEModel, str]:
        """Add a token to a model, from all slices ``rows`` that have it."""
        key = key_of("token", model_key, token, sorted((name, embeddings[name].key) for name in rows))
        folder = self.store.path("cae", token, key, "")
        if folder.exists():
            self.recorder.reused("token", token, key)
            return CAEModel.load(folder, device=self.device), key
        with self.recorder.measure("token", token, key):
            advance = self.progress.task("Fitting the batch token", TOKEN_STEPS, "steps")
            model = fit_token(model, rows, token=token, advance=advance)
            with atomic(folder) as temporary:
                temporary.mkdir()
                model.save(temporary)
        return model, key

    def view(
        self, joint: NDArray[np.float32], model_key: str, records: Sequence[SliceRecord]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """UMAP and clusters, made in the order of names so that the order given does not matter."""
        start = np.cumsum([0, *(r.cells for r in records)])
        order = sorted(range(len(records)), key=lambda i: records[i].name)
        rows = np.concatenate([np.arange(start[i], start[i + 1]) for i in order])
        parts = [(records[i].name, records[i].hash) for i in order]
        key = key_of("view", model_key, parts, self.config.resolution, self.config.seed)
        path = self.store.path("view", "umap", key)
        if path.exists():
            self.recorder.reused("view", "all slices", key)
        else:
            with self.recorder.measure("view", "all slices", key):
                advance = self.progress.task("Drawing the map", len(joint))
                umap, clusters = view(joint[rows], resolution=self.config.resolution, seed=self.config.seed)
                save_arrays(path, {"umap": umap, "clusters": clusters})
                advance(len(joint))
        arrays = load_arrays(path)
        back = np.argsort(rows)
        return arrays["umap"][back], arrays["clusters"][back]

    def _units(self, description: str, units: Sequence[Unit]) -> None:
        """Compute units that are missing, here or on workers."""
        missing = [u for u in units if not u.path.exists()]
        done = {u.path for u in units} - {u.path for u in missing}
        for u in units:
            if u.path in done:
                self.recorder.reused(u.stage, u.name, u.key)
        if not missing:
            return
        advance = self.progress.task(description, sum(u.cells for u in missing))
        sizes = {(u.stage, u.name): u.cells for u in missing}
        here = self.workers.here
        function: Callable[[Unit], Any] = (lambda unit: compute(unit, advance)) if here else compute
        for record in self.workers.run(function, missing):
            self.recorder.stages.append(record)
            if not here:
                advance(sizes[record.stage, record.unit])
            logger.debug("%s %s: %.1f s", record.stage, record.unit, record.seconds)
