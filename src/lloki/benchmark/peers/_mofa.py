"""MOFA+ (Argelaguet et al. 2020) with genes that were not measured as missing values: an optional extra."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lloki._parallel import single_threaded
from lloki.benchmark.measured import Measured
from lloki.benchmark.peers._mosaic import Mosaic, Rows
from lloki.benchmark.peers._standardized import Doubles, Standardized
from lloki.errors import LlokiError, MissingExtraError

FACTORS = 30  # columns, as many as the PCA baselines have
FIT_CELLS = 1_200  # of each group; all others are projected


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model over G genes, K factors and several groups: expectations of its parameters.

    Attributes
    ----------
    weights, squares
        (G, K) expected weights and expected squared weights.
    precision
        (groups, G) noise precision of each gene.
    factors
        (cells, K) of the cells that the model was fitted to, group after group.
    """

    weights: Doubles
    squares: Doubles
    precision: Doubles
    factors: Doubles

    def loadings(self, group: int, genes: NDArray[np.integer]) -> Doubles:
        r"""Matrix (g, K) that gives the posterior mean of the factors from standardized expression of genes.

        .. math:: \big(I + \sum_d \tau_d E[w_d w_d^T]\big)^{-1} \sum_d \tau_d w_d y_d

        with only the measured genes *d* in both sums: what the model's own update of the factors converges to
        while all else is fixed.
        """
        w, tau = self.weights[genes], self.precision[group, genes][:, None]
        inner = (w * tau).T @ w
        np.fill_diagonal(inner, 1 + (tau * self.squares[genes]).sum(axis=0))
        out: Doubles = np.linalg.solve(inner, (w * tau).T).T
        return out


def mofa(
    slices: Sequence[Measured],
    reference: Measured,
    *,
    seed: int = 0,
    factors: int = FACTORS,
    fit_cells: int = FIT_CELLS,
) -> list[Rows]:
    """Compute factors of MOFA+, with slices and the reference as groups.

    Parameters
    ----------
    slices
        Counts of each slice, over its own genes.
    reference
        Counts of the scRNA-seq reference.
    seed
        Random seed: of the cells to fit to and of the start.
    factors
        Fewer if there are not as many genes.
    fit_cells
        Cells of each group to fit to, at most; all are then projected.

    Returns
    -------
    Of each slice, (n, factors) float32.

    Raises
    ------
    MissingExtraError
        Without mofapy2 (the extra ``mofa``).
    InputError
        If a data set has no counts.

    Notes
    -----
    Expression is log-normalized and standardized per data set and gene; genes that a data set lacks are NaN.
    Weights have a Gaussian prior with a relevance for each factor, factors a standard normal one; everything
    else is mofapy2's default. Its two further priors, spike-and-slab on weights and a relevance of factors in
    each group, are off: on four hypothalamus sections with 70 genes each, labels transfer worse with either
    or both (macro-F1 .42 to .46 against .48). mofapy2 has no projection of further cells: they get the
    posterior mean of their factors by the fitted weights and noise of their group, from the genes that were
    measured.

    Time grows with fit_cells · groups · genes · factors² per iteration, and linearly with the stored counts
    for the projection; memory with a few arrays of fit_cells · groups x genes, the stored counts and the
    result.

    The paper: Genome Biology 21, 111, doi:10.1186/s13059-020-02015-1.
    """
    mosaic = Mosaic.of(slices, reference)
    genes = mosaic.genes
    at = {gene: i for i, gene in enumerate(genes)}
    columns = [np.array([at[gene] for gene in data.genes], np.int64) for data in mosaic.data]
    rng = np.random.default_rng(seed)
    with single_threaded():
        data = [Standardized.of(d) for d in mosaic.data]
        groups = []
        for own, where in zip(data, columns):
            n = own.x.shape[0]
            rows = np.sort(rng.choice(n, min(n, fit_cells), replace=False))
            y = np.full((len(rows), len(genes)), np.nan)
            y[:, where] = own.dense(rows)
            groups.append(y)
        model = fit(groups, min(factors, len(genes)), seed=seed)
        rows_of = [x.dot(model.loadings(i, columns[i])) for i, x in enumerate(data[:-1])]
    return mosaic.as_given(rows_of)


def fit(groups: Sequence[Doubles], factors: int, *, seed: int) -> Fitted:
    """Fit MOFA+ to groups of cells: each (n, G), centered, NaN where not measured.

    Raises
    ------
    MissingExtraError
        Without mofapy2.
    LlokiError
        If mofapy2 gives up.
    """
    with _silent() as printed:
        try:
            from mofapy2.run.entry_point import entry_point
        except ImportError as error:
            raise MissingExtraError("mofapy2", "mofa", "The method MOFA+") from error
        state = np.random.get_state()  # noqa: NPY002 - mofapy2 seeds numpy's global generator
        try:
            nodes = _train(entry_point(), groups, factors, seed)
        except SystemExit as error:  # how it ends after an error, and after an interruption
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            last = " ".join(printed.getvalue().split("\n")[-2:]).strip()
            why = error.__context__ or last or "no reason was given"
            raise LlokiError(f"mofapy2 stopped without a result: {why}") from error
        finally:
            np.random.set_state(state)  # noqa: NPY002
    weights = nodes["W"].getExpectations()[0]
    return Fitted(
        weights=np.asarray(weights["E"], np.float64),
        squares=np.asarray(weights["E2"], np.float64),
        precision=np.asarray(nodes["Tau"].getNodes()[0].getExpectations(expand=False)["E"], np.float64),
        factors=np.asarray(nodes["Z"].getExpectations()["E"], np.float64),
    )


def _train(run: Any, groups: Sequence[Doubles], factors: int, seed: int) -> dict[str, Any]:
    """Call mofapy2; return the nodes of its model."""
    names = [f"{i:06d}" for i in range(len(groups))]  # it numbers groups in the order of their sorted names
    # Groups are centered, over all cells and not only those to fit to; float32 takes half the time.
    run.set_data_options(center_groups=False, use_float32=True)
    run.set_data_matrix(
        [[y.copy() for y in groups]],
        likelihoods=["gaussian"],
        views_names=["expression"],
        groups_names=names,
        samples_names=[[f"{g}-{i}" for i in range(len(y))] for g, y in zip(names, groups)],
        features_names=[[f"{i}" for i in range(groups[0].shape[1])]],
    )
    run.set_model_options(factors=factors, spikeslab_weights=False, ard_factors=False)
    run.set_train_options(seed=seed, convergence_mode="fast", quiet=True)
    run.build()
    run.run()
    nodes: dict[str, Any] = run.model.getNodes()
    return nodes


@contextmanager
def _silent() -> Iterator[io.StringIO]:
    """Keep what mofapy2 prints, however it is called, from the terminal; drop its warnings."""
    with redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield printed
