"""The built-in embedder: a Gaussian factor model whose cells measure different genes.

    x = W z + ε,   z ~ N(0, I_K),   ε ~ N(0, diag ψ)

A cell contributes only the genes that its assay measures, so slices of any panels and the scRNA-seq reference
share one set of loadings ``W``. Expectation-maximization has closed form, and because cells of a slice share
their panel, everything it needs of a slice is the g x g second moment of its standardized expression: one
pass over the cells, after which a round costs the same whether a slice has a thousand cells or a million.

Every gene is centered and scaled by the slice itself, which removes the platform's detection rate; what that
takes away of the slice's composition is given back as one shift of the slice along the factors, see
`lloki.embed.composition`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from scipy import sparse

from lloki._parallel import blocks, map_ordered, single_threaded
from lloki._progress import Advance
from lloki.embed.base import HeldOut, SliceSummary
from lloki.embed.composition import Levels, relative_scale, shift_of_new, solve_shifts, within_covariance
from lloki.embed.em import Doubles, FactorConfig, expectation_maximization
from lloki.errors import GeneError, ModelError
from lloki.fp import root_shares
from lloki.genes import PanelCoverage, coverage

BLOCK = 4096  # cells a chunk; fixed, so that sums are the same for any number of threads
SHARED = 10**8  # standardized values, cells x genes, up to which all folds are made at once: 400 MB


class Factor:
    """Panel-agnostic factor model, fitted jointly on the reference and on every slice.

    Parameters
    ----------
    config
        Settings; single fields can be given as keywords instead.
    model, seed
        Ignored: the model is fitted in the run, in closed form.
    """

    name = "factor"
    joint = True
    uses_expression = True

    def __init__(
        self, config: FactorConfig | None = None, *, model: Path | None = None, seed: int = 0, **settings: Any
    ) -> None:
        self.config = config or FactorConfig(**settings)
        self.genes: tuple[str, ...] = ()
        self.loadings: Doubles = np.zeros((0, self.config.factors))  # (G, K)
        self.noise: Doubles = np.zeros(0)  # (G,)
        self.levels = Levels(np.zeros(0), np.zeros(0, np.int64))
        self.shifts: dict[str, Doubles] = {}  # of the data sets of the fit, by `_fingerprint`

    @property
    def dim(self) -> int:
        return self.loadings.shape[1]

    def coverage(self, genes: Sequence[str]) -> PanelCoverage:
        """Genes that the fitted model has loadings for; before the fit, all of them."""
        return coverage(genes, self.genes or genes, reference_name="the factor model")

    def summarize(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        """One pass over (n, g) log-normalized expression: n, mean, scale and second moment of each gene.

        Time grows with n·g², memory with g² and the chunk; nothing of the size of the slice is made.
        """
        n, g = expression.shape
        total, square = np.zeros(g), np.zeros((g, g))

        def moments(rows: slice) -> tuple[Doubles, Doubles]:
            x = stabilize(expression[rows])
            return x.sum(0), x.T @ x

        for first, second in map_ordered(moments, blocks(n, BLOCK)):
            total += first
            square += second
        mean = total / max(n, 1)
        centered = square - n * np.outer(mean, mean)
        scale = np.sqrt(np.maximum(np.diag(centered), 0) / max(n, 1))
        scale[scale < 1e-8] = 0.0  # marks a gene that never varies here: it counts as not measured
        unit = np.where(scale > 0, scale, 1.0)
        moment = centered / np.outer(unit, unit)
        return SliceSummary(
            tuple(genes), {"n": np.array(float(n)), "mean": mean, "scale": scale, "moment": moment}
        )

    def fit(self, slices: Mapping[str, SliceSummary], reference: SliceSummary) -> Factor:
        """Fit loadings and noise by expectation-maximization on the summaries.

        Of the reference, genes that some slice measures take part. Time grows with rounds x Σ g²K, memory
        with Σ g².

        Raises
        ------
        GeneError
            If no gene of any slice varies between its cells.
        """
        varying = [_varying(slices[name]) for name in sorted(slices)]
        measured = {gene for assay in varying for gene in assay.genes}
        assays = [a for a in (*varying, _varying(reference, measured)) if a.genes]
        if not assays:
            raise GeneError("there is nothing to fit: no gene of any slice varies between its cells")
        self.genes = tuple(sorted(measured))
        rows = [self._rows(assay.genes) for assay in assays]
        moments = [assay.arrays["moment"] for assay in assays]
        cells = [float(assay.arrays["n"]) for assay in assays]
        with single_threaded():
            self.loadings, self.noise = expectation_maximization(
                moments, cells, rows, len(self.genes), self.config
            )
            if self.config.composition:
                self._place(assays, rows)
        return self

    def _place(self, assays: Sequence[SliceSummary], rows: Sequence[NDArray[np.int64]]) -> None:
        """Find what each data set's composition adds to its mean, and keep what further ones need."""
        placed = [self._unplaced(assay, r) for assay, r in zip(assays, rows)]
        levels = [assay.arrays["mean"] / p.scale for assay, p in zip(assays, placed)]
        shifts = solve_shifts(rows, levels, [p.covariance for p in placed], self.loadings)
        self.levels = Levels.of(rows, levels, list(shifts), self.loadings)
        self.shifts = dict(zip(map(_fingerprint, assays), shifts))

    def _unplaced(self, assay: SliceSummary, rows: NDArray[np.int64]) -> _Unplaced:
        """Find how a data set varies, of which all genes are used."""
        w = self.loadings[rows]
        covariance = within_covariance(assay.arrays["moment"], float(assay.arrays["n"]), w)
        return _Unplaced(covariance, assay.arrays["scale"] / relative_scale(covariance, w, self.noise[rows]))

    def _rows(self, genes: Sequence[str]) -> NDArray[np.int64]:
        at = {gene: i for i, gene in enumerate(self.genes)}
        return np.array([at[gene] for gene in genes], dtype=np.int64)

    def embed(
        self,
        expression: sparse.csr_matrix,
        genes: Sequence[str],
        *,
        state: SliceSummary,
        cell_ids: Sequence[str] = (),
        seed: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        """Posterior mean of each cell's factors, weighted by ``loading_power``: (n, g) → (n, K) float32.

        Center and scale of every gene are the slice's own, from ``state``: they remove the platform's
        detection rate. The shift that the slice's composition asks for (`lloki.embed.composition`) is that of
        the fit for the slices of the fit; for a new slice it is estimated with all others as they are.
        A row depends on its cell, ``state`` and the model alone, up to rounding.

        Raises
        ------
        ModelError
            If the model is not fitted.
        GeneError
            If it knows fewer than ``min_genes`` of the genes.
        """
        view = self._view(genes, state)
        projection = self._projection(view.rows)  # (g_used, K)
        out = np.empty((expression.shape[0], self.dim), dtype=np.float32)

        def project(part: slice) -> tuple[slice, Doubles]:
            return part, view.standardize(expression[part]) @ projection

        for part, z in map_ordered(project, blocks(len(out), BLOCK), threads=threads):
            out[part] = z
            if advance:
                advance(len(z))
        return out

    def hold_out(
        self,
        expression: sparse.csr_matrix,
        genes: Sequence[str],
        folds: Sequence[Sequence[str]],
        *,
        state: SliceSummary,
        observed: sparse.csr_matrix | None = None,
    ) -> Iterator[HeldOut]:
        """Embed cells (n, g) without the genes of each fold, and give what is to be predicted.

        The values to predict are those of ``observed``, (n, g) log-normalized, where ``expression`` is an
        average over neighbors; by default, those of ``expression``.
        The loadings stay those of the fit. Genes that the model does not use here are passed over; a fold
        that leaves fewer than ``min_genes``, or of which the slice has no gene, gives nothing. Time is
        that of standardizing once and of one product a fold, memory that of all folds, n·(folds·K + g);
        above 10⁸ values, folds are made one by one, each in the time of `embed`.
        """
        view = self._view(genes, state)
        names = np.array([genes[j] for j in view.columns], dtype=object)
        n = expression.shape[0]
        weight = np.linalg.norm(self.loadings, axis=0) ** self.config.loading_power
        masks = [np.isin(names, list(fold)) for fold in folds]
        masks = [out for out in masks if out.any() and (~out).sum() >= self.config.min_genes]
        shared = n * len(names) <= SHARED  # expression is standardized once for all folds
        for group in [masks] if shared else [[out] for out in masks]:
            projections = [self._projection(view.rows[~out]) for out in group]
            rows = [np.empty((n, self.dim), np.float32) for _ in group]
            values = [np.empty((n, out.sum()), np.float32) for out in group]
            with single_threaded():
                for part in blocks(n, BLOCK):
                    x = view.standardize(expression[part])
                    y = x if observed is None else view.standardize(observed[part])
                    for i, (out, projection) in enumerate(zip(group, projections)):
                        rows[i][part], values[i][part] = x[:, ~out] @ projection, y[:, out]
            for i, out in enumerate(group):
                predict = self.loadings[view.rows[out]] / np.where(weight > 0, weight, 1.0)
                yield HeldOut(tuple(names[out]), rows[i], predict, values[i])

    def _view(self, genes: Sequence[str], state: SliceSummary) -> _View:
        """Find which genes of a slice are used, and how they are standardized."""
        if not self.genes:
            raise ModelError("the factor model is not fitted. Call fit, or load a saved one.")
        known, scale = set(self.genes), state.arrays["scale"]
        columns = np.array([j for j, g in enumerate(genes) if g in known and scale[j] > 0], dtype=np.int64)
        if len(columns) < self.config.min_genes:
            raise GeneError(
                f"the model knows {len(columns)} of the {len(genes)} genes",
                hint=f"It needs {self.config.min_genes}: integrate this panel with the others instead.",
            )
        rows = self._rows([genes[j] for j in columns])
        mean, scale = state.arrays["mean"][columns], scale[columns]
        if not self.config.composition:
            return _View(columns, rows, mean, scale, np.zeros(len(rows)))
        own = _only(state, columns)
        with single_threaded():
            found = self._unplaced(own, rows)
            shift = self.shifts.get(_fingerprint(own))
            if shift is None:  # not of the fit
                level = mean / found.scale
                shift = shift_of_new(rows, level, found.covariance, self.loadings, self.levels)
            return _View(columns, rows, mean, found.scale, self.loadings[rows] @ shift)

    def _projection(self, rows: NDArray[np.int64]) -> Doubles:
        """Standardized expression of the genes ``rows`` → weighted posterior mean, as one matrix."""
        with single_threaded():
            w = self.loadings[rows]
            precise = w / self.noise[rows, None]
            posterior = precise @ np.linalg.inv(np.eye(self.dim) + w.T @ precise)
            # The loadings' columns are orthogonal (see `expectation_maximization`): (WᵀW)^(p/2) is diagonal.
            return posterior * np.linalg.norm(self.loadings, axis=0) ** self.config.loading_power

    def save(self, folder: Path) -> None:
        """Write ``factor.safetensors`` and ``factor.json``."""
        # bytes first: a full disk is then the OSError it is, not one of safetensors' own
        arrays = {"loadings": self.loadings, "noise": self.noise, **vars(self.levels)}
        arrays["shifts"] = np.array(list(self.shifts.values())).reshape(-1, self.dim)
        (folder / "factor.safetensors").write_bytes(save(arrays))
        facts = {
            "config": asdict(self.config),
            "genes": list(self.genes),
            "fitted": list(self.shifts),
        }
        (folder / "factor.json").write_text(json.dumps(facts))

    @classmethod
    def load(cls, folder: Path) -> Factor:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelError
            If a file is missing or does not fit the other.
        """
        try:
            facts = json.loads((folder / "factor.json").read_text())
            arrays = load_file(folder / "factor.safetensors")
            self = cls(FactorConfig(**facts["config"]))
            self.genes, self.loadings, self.noise = tuple(facts["genes"]), arrays["loadings"], arrays["noise"]
            self.levels = Levels(arrays["mean"], arrays["count"])
            self.shifts = dict(zip(facts["fitted"], arrays["shifts"], strict=True))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the factor model cannot be read: {error}") from error
        if len(self.loadings) != len(self.genes) or len(self.noise) != len(self.genes):
            raise ModelError(
                f"{folder}: factor.json names {len(self.genes)} genes, the weights hold another number"
            )
        return self


@dataclass(frozen=True)
class _View:
    """The used genes of a slice: columns of its expression, rows of the loadings, and their scaling."""

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    mean: Doubles
    scale: Doubles
    offset: Doubles

    def standardize(self, expression: sparse.csr_matrix) -> Doubles:
        out: Doubles = (stabilize(expression)[:, self.columns] - self.mean) / self.scale + self.offset
        return out


@dataclass(frozen=True)
class _Unplaced:
    """How a data set varies: covariance (K, K) of its factors, and (g,) scale of its genes."""

    covariance: Doubles
    scale: Doubles


def _fingerprint(summary: SliceSummary) -> str:
    """Name a data set by its genes, cells and means: it is found again whatever it is called."""
    digest = hashlib.sha256(json.dumps(summary.genes).encode())
    for name in ("n", "mean", "scale"):
        digest.update(np.ascontiguousarray(summary.arrays[name], np.float64).tobytes())
    return digest.hexdigest()[:16]


def stabilize(expression: sparse.csr_matrix) -> Doubles:
    """Root shares (`lloki.fp.root_shares`) of log1p units: (n, g) → (n, g) dense."""
    x = expression.astype(np.float64)
    np.expm1(x.data, out=x.data)
    return root_shares(x)


def _varying(summary: SliceSummary, among: set[str] | None = None) -> SliceSummary:
    """Keep the genes of a summary that vary between cells, and are ``among`` others where given."""
    scale = summary.arrays["scale"]
    wanted = [i for i, gene in enumerate(summary.genes) if scale[i] > 0 and (among is None or gene in among)]
    return _only(summary, np.array(wanted, dtype=np.int64))


def _only(summary: SliceSummary, keep: NDArray[np.int64]) -> SliceSummary:
    """Keep some genes of a summary."""
    arrays = {
        "n": summary.arrays["n"],
        "mean": summary.arrays["mean"][keep],
        "scale": summary.arrays["scale"][keep],
        "moment": summary.arrays["moment"][np.ix_(keep, keep)],
    }
    return SliceSummary(tuple(summary.genes[i] for i in keep), arrays)
