"""Gene programs: the state of a fit, and its iterations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lloki._parallel import map_ordered
from lloki.analysis.order import given_order
from lloki.analysis.programs.config import ProgramConfig
from lloki.analysis.programs.parameters import fit_affinity, fit_metagenes, pairs_value
from lloki.analysis.programs.result import Programs
from lloki.analysis.programs.section import Section
from lloki.analysis.programs.start import first_metagenes, given_metagenes
from lloki.analysis.programs.states import composition, coupled_states, free_states
from lloki.cae.checkpoint import fingerprint

_PATIENCE = 5  # iterations over which the objective must have settled
_FREE_STEPS = 60
_STATE_ROUNDS, _STATE_STEPS = 4, 12  # rounds for compositions and sizes, and gradient steps in a round
_METAGENE_STEPS = 100  # at most


class Fit:
    """State of a fit."""

    def __init__(
        self,
        features: Sequence[Any],
        graphs: Sequence[Any],
        config: ProgramConfig,
        device: torch.device,
        threads: int | None,
        start: ArrayLike | None,
    ) -> None:
        self.config, self.threads = config, threads if device.type == "cpu" else 1
        self.sections = [
            Section.of(y, g, config.n_metagenes, config.block, device) for y, g in zip(features, graphs)
        ]
        first = (
            first_metagenes(features, config.n_metagenes, seed=config.seed)
            if start is None
            else given_metagenes(start, features[0].shape[1], config.n_metagenes)
        )
        self.m = torch.from_numpy(first).to(device)
        self.affinity = torch.zeros(config.n_metagenes, config.n_metagenes, dtype=torch.float64)
        self.double = torch.device("cpu") if device.type == "mps" else device
        self.bend: Tensor | None = None
        self.history: list[dict[str, Any]] = []

    def iterate(self, *, coupled: bool) -> None:
        """Fit states, then what cells share, and record the objective."""
        self.states(coupled=coupled)
        values = sum(s.cells for s in self.sections) * len(self.m)
        pairs = 0.0
        if coupled:
            own, penalty = self.config.affinities == "own", self.config.regularization
            self.affinity, self.bend, _ = fit_affinity(
                [self._compositions(s, own=own) for s in self.sections],
                self.affinity.to(self.double),
                regularization=penalty,
                block=self.config.block,
                bend=self.bend,
            )
            now = [self._compositions(s, own=False) for s in self.sections]
            pairs = pairs_value(now, self.affinity, regularization=penalty, block=self.config.block)
        if self.history or coupled:
            self.m = fit_metagenes(self.sections, self.m, steps=_METAGENE_STEPS)
        fit = 0.0
        for s in self.sections:
            residual = s.residual(self.m)
            s.set_noise(residual)
            fit += s.cells * len(self.m) * float(np.log(s.noise)) + residual / (2 * s.noise**2)
        if not self.history:  # the first noise was a guess, which weighed slices wrongly
            self.m = fit_metagenes(self.sections, self.m, steps=_METAGENE_STEPS)
        self.history.append(
            {
                "phase": "coupled" if coupled else "free",
                "objective": (fit + pairs / 2) / values,
                "fit": fit / values,
                "pairs": pairs / 2 / values,
            }
        )

    def _compositions(self, section: Section, *, own: bool) -> tuple[Tensor, Tensor]:
        """(n, K) compositions by own features or with those of neighbors, and their sums over neighbors."""
        z = composition(section.own)[0] if own else section.z
        return z.to(self.double, torch.float64), section.neighbors(z).to(self.double, torch.float64)

    def states(self, *, coupled: bool) -> None:
        """Fit the states of all slices."""

        def one(section: Section) -> None:
            if not coupled or self.config.affinities == "own":
                free_states(section, self.m, steps=_FREE_STEPS)
            if not coupled:
                section.z, section.s = composition(section.own)
                return
            coupled_states(
                section,
                self.m,
                self.affinity.to(self.m),
                rounds=_STATE_ROUNDS,
                steps=_STATE_STEPS,
            )

        list(map_ordered(one, self.sections, threads=self.threads))

    def settled(self) -> bool:
        """Whether the objective of the coupled phase has stopped changing."""
        course = [h["objective"] for h in self.history if h["phase"] == "coupled"][-_PATIENCE - 1 :]
        return len(course) > _PATIENCE and max(course) - min(course) < self.config.tolerance

    def fingerprint(self, graphs: Sequence[Any], start: ArrayLike | None) -> str:
        """Hash of all that determines the result."""
        arrays = [self.m.cpu().numpy()] if start is not None else []
        for section, graph in zip(self.sections, graphs):
            y, w = section.features, graph
            arrays += [
                w.indptr,
                w.indices,
                *((y.data, y.indices, y.indptr) if hasattr(y, "indptr") else (y,)),
            ]
        plain = {k: v for k, v in self.config.to_dict().items() if k != "checkpoint_every"}
        return fingerprint(plain, arrays)

    def state(self) -> dict[str, Any]:
        """Return everything that changes, as torch can save it."""
        return {
            "sections": [(s.z.cpu(), s.s.cpu(), s.own.cpu(), s.noise) for s in self.sections],
            "shared": (self.m.cpu(), self.affinity.cpu(), None if self.bend is None else self.bend.cpu()),
            "history": self.history,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        for s, (z, size, own, noise) in zip(self.sections, saved["sections"]):
            s.z, s.s, s.own, s.noise = z.to(s.z), size.to(s.s), own.to(s.own), noise
        m, affinity, bend = saved["shared"]
        self.m, self.affinity = m.to(self.m), affinity.to(self.double)
        self.bend = None if bend is None else bend.to(self.double)
        self.history = saved["history"]

    def result(self, order: Sequence[int]) -> Programs:
        """Return host arrays, slices in the order that they were given in."""
        return Programs(
            metagenes=self.m.cpu().numpy(),
            affinity=self.affinity.cpu().numpy(),
            states=given_order([(s.s * s.z).cpu().numpy() for s in self.sections], order),
            scales=given_order([s.scale for s in self.sections], order),
            noise=given_order([s.noise for s in self.sections], order),
            history=pd.DataFrame(self.history),
            converged=self.settled(),
            config=self.config,
        )
