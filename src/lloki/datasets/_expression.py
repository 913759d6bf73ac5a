"""Expression of the made-up tissue: rates by cell type, panels, and counts. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lloki.datasets._anatomy import CELL_TYPES
from lloki.datasets._genes import ACTIVITY, CLASS_MARKERS, CLASS_OF, CORE, MARKERS, transcriptome
from lloki.errors import ConfigError


@dataclass(frozen=True)
class Biology:
    """What the tissue expresses, whoever looks. ``g`` genes, ``t`` cell types."""

    genes: tuple[str, ...]
    log_rate: NDArray  # (t, g)
    activity: NDArray  # (g,) effect of the activity programme
    gradient: NDArray  # (g,) effect of depth on excitatory cells

    @classmethod
    def draw(cls, n_genes: int, rng: np.random.Generator) -> Biology:
        """Draw the tissue's expression programme.

        Markers come out 1 to 3 natural-log units above their low baseline, genes of a class likewise; every
        other gene differs a little between classes and types, so that no gene says nothing.
        """
        genes = tuple(transcriptome(n_genes))
        column = {g: j for j, g in enumerate(genes)}
        if len(genes) < n_genes or any(g not in column for names in MARKERS.values() for g in names):
            every = transcriptome(1_000_000)
            raise ConfigError(
                f"n_genes must lie between 292, the markers, and {len(every)}; it is {n_genes}."
            )
        g = len(genes)
        log_rate = np.tile(rng.normal(0, 1.0, g), (len(CELL_TYPES), 1))
        specific = [
            column[x] for names in (*MARKERS.values(), *CLASS_MARKERS.values(), ACTIVITY) for x in names
        ]
        log_rate[:, specific] -= 1.8  # off where they do not belong
        classes = {name: rng.normal(0, 0.25, g) for name in (*CLASS_MARKERS, "")}
        for name, markers in CLASS_MARKERS.items():
            classes[name][[column[x] for x in markers]] += rng.uniform(1.0, 3.0, len(markers))
        for t, kind in enumerate(CELL_TYPES):
            log_rate[t] += sum((classes[c] for c in CLASS_OF[kind] or ("",)), start=rng.normal(0, 0.25, g))
            log_rate[t, [column[x] for x in MARKERS[kind]]] += rng.uniform(1.0, 3.0, len(MARKERS[kind]))
        activity = np.zeros(g)
        activity[[column[x] for x in ACTIVITY]] = rng.uniform(1.0, 2.5, len(ACTIVITY))
        return cls(genes, log_rate, activity, rng.normal(0, 0.4, g) * (rng.random(g) < 0.3))

    def panel(self, size: int, rng: np.random.Generator) -> NDArray:
        """Choose a panel: the core, two markers of every type, the rest from anywhere; sorted indices."""
        column = {g: j for j, g in enumerate(self.genes)}
        chosen = {column[x] for names in MARKERS.values() for x in rng.choice(names, 2, replace=False)}
        chosen |= {column[x] for x in CORE}
        rest = rng.permutation([j for j in range(len(self.genes)) if j not in chosen])
        return np.sort([*chosen, *rest[: size - len(chosen)]])

    def rates(self, kind: NDArray, depth: NDArray, rng: np.random.Generator) -> NDArray:
        """Expression rates (n, g) of cells of the given types and depths."""
        neuron = np.array(["neuron" in CLASS_OF[t] for t in CELL_TYPES])[kind]
        excitatory = np.array(["excitatory" in CLASS_OF[t] for t in CELL_TYPES])[kind]
        active = rng.gamma(4.0, 0.25, kind.size) * (rng.random(kind.size) < 0.1) * neuron
        log_rate = self.log_rate[kind]
        log_rate += np.outer(active, self.activity)
        log_rate += np.outer(excitatory * (depth - 0.5) * 2, self.gradient)
        return np.exp(log_rate)

    def sizes(self, kind: NDArray, rng: np.random.Generator) -> NDArray:
        """Relative RNA content (n,): log-normal, glia and endothelium half of neurons."""
        base = np.array([1.0 if "neuron" in CLASS_OF[t] else 0.5 for t in CELL_TYPES])[kind]
        return base * rng.lognormal(0, 0.35, kind.size)


def measure(
    rates: NDArray,
    sizes: NDArray,
    efficiency: NDArray,
    *,
    counts_per_cell: float,
    dispersion: float,
    ambient: float,
    rng: np.random.Generator,
) -> NDArray:
    """Negative-binomial counts (n, g) with mean ``counts_per_cell`` per row on average."""
    mean = (1 - ambient) * rates + ambient * rates.mean(axis=0)
    mean *= efficiency
    mean *= sizes[:, None]
    mean *= counts_per_cell / mean.sum(axis=1).mean()
    return rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, mean.shape))
