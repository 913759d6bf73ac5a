"""A finished run under other settings: what it computed is found in its store, only the rest is computed."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._device import choose_device
from lloki._progress import Progress
from lloki.benchmark.measured import Measured
from lloki.embed import Embedder, Precomputed, get_embedder
from lloki.errors import ConfigError
from lloki.io import ReadOptions, read_reference
from lloki.io.reference import matched
from lloki.run import RunConfig
from lloki.run.execute import Workers
from lloki.run.inputs import Inputs
from lloki.run.opening import Opened, open_inputs
from lloki.run.pieces import Pieces
from lloki.run.stages import Embedded, Stages
from lloki.run.store import Store


class Rerun:
    """The stages of a run, again: ``with Rerun(folder, ...) as rerun``.

    Inputs are read once, when first needed. The run's own results are not touched, only its ``work`` grows;
    where that was removed, pieces are kept in ``store``.

    Parameters
    ----------
    run
        Folder of a finished run.
    store
        Open, to use where the run has no store of its own.
    progress
        Where to report.
    """

    def __init__(self, run: Path, store: Store, progress: Progress) -> None:
        self.run, self.progress = run, progress
        self.record: dict[str, Any] = json.loads((run / "run.json").read_text())
        self.config = RunConfig.from_dict(self.record["parameters"])
        own = run / "work"
        self._own = Store(own) if own.is_dir() and own.resolve() != store.folder else None
        self.store = self._own or store
        self._opened: tuple[Opened, Embedder] | None = None
        self._reference: Measured | None = None
        self._last: tuple[RunConfig, Pieces, Embedded] | None = None

    def __enter__(self) -> Rerun:
        if self._own is not None:
            self._own.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            self._own.__exit__()

    def embedding(self, config: RunConfig, slot: str) -> NDArray[np.float32]:
        """Rows of all cells under a configuration, in the order of the run's ``integrated.h5ad``.

        Parameters
        ----------
        config
            Of the same embedder as the run's.
        slot
            ``keys.FP`` (nothing is trained then) or ``keys.JOINT``: the network's inputs where the run's own
            joint embedding is.

        Raises
        ------
        ConfigError
            If the run does not say how it was called, its inputs are gone, or they are no longer the same.
        """
        device = str(choose_device())
        with Workers() as here:
            stages = Stages(self.store, config, self.progress, here, device)
            opened, embedder = self._inputs()
            if self._last is None or self._last[0] != config:
                if not isinstance(embedder, Precomputed):  # fitting may change it: each fit begins anew
                    embedder = get_embedder(
                        config.embedder, model=config.model, seed=config.seed, device=device
                    )
                pieces = stages.plan(opened, embedder)
                self._last = (config, pieces, stages.embed(opened, embedder, pieces))
            _, pieces, embedded = self._last
            parts = embedded.rows
            if slot == keys.JOINT:
                aligned = stages.align(opened, embedded, pieces.training)
                if config.cae.output == "better" and self.record["held_out"].get("output") == "inputs":
                    aligned = stages.encoded(
                        aligned.model.giving("inputs"), opened, embedded, pieces.training
                    )
                parts = aligned.joint
        return np.concatenate([parts[r.name] for r in opened.slices])

    def reference(self) -> Measured:
        """Read the counts of the run's scRNA-seq reference, all genes, when first needed.

        Raises
        ------
        ConfigError
            If the run had none, or it is no longer there.
        InputError
            If it cannot be read.
        """
        if self._reference is None:
            given = self._call()
            path, options = given["reference"], ReadOptions.from_dict(given["options"])
            if path is None:
                raise ConfigError(
                    "it needs the counts of a scRNA-seq reference, and the run had none in a file. Run lloki "
                    "integrate with the path of a reference."
                )
            if not Path(path).exists():
                raise ConfigError(f"{path}: was the reference of the run and is no longer there")
            adata = read_reference(
                path,
                layer=options.reference_layer,
                allow_normalized=options.allow_normalized,
                option="reference_layer",
            )
            adata = matched(
                adata, [list(r.genes) for r in self._inputs()[0].slices], orthologs=options.orthologs
            )
            self._reference = Measured(sparse.csr_matrix(adata.X), tuple(map(str, adata.var_names)))
        return self._reference

    def _call(self) -> dict[str, Any]:
        if "inputs" not in self.record:
            raise ConfigError(
                f"{self.run}: does not say what it was called with. Run lloki integrate again: it "
                "computes only what is missing."
            )
        call: dict[str, Any] = self.record["inputs"]
        return call

    def _inputs(self) -> tuple[Opened, Embedder]:
        if self._opened is None:
            inputs = Inputs.from_dict(self._call())
            embedder = get_embedder(self.config.embedder, model=self.config.model, seed=self.config.seed)
            opened = open_inputs(inputs, self.store, self.config, embedder)
            before = [(s["name"], s["hash"]) for s in self.record["slices"]]
            if [(r.name, r.hash) for r in opened.slices] != before:
                raise ConfigError(f"{self.run}: its inputs have changed since. Run lloki integrate again.")
            self._opened = opened, embedder
        return self._opened
