"""A single-cell reference through a finished run: its labels and genes can then be carried over to slices."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._device import choose_device
from lloki._keywords import keywords
from lloki._names import free_name
from lloki._progress import Progress, chosen
from lloki._version import __version__
from lloki.cae import CAEModel, fit_token
from lloki.cae.token import STEPS
from lloki.embed import Embedder, Precomputed, SliceSummary, load_embedder
from lloki.errors import ConfigError
from lloki.evaluate.evidence import gene_correlations, gene_structure
from lloki.evaluate.verdict import fits_reference
from lloki.fp import log_normalize
from lloki.genes import match_reference
from lloki.io._findings import warn_once_each
from lloki.io.files import open_input
from lloki.io.reference import check_reference, matched
from lloki.run._project import check_place, model_folder, read_facts
from lloki.run._write import write_h5ad
from lloki.run.config import RunConfig
from lloki.run.outputs import REFERENCE
from lloki.run.reference import Reference

NAME = "reference"  # of its cells in obs["slice"], if no slice has it, obs["sample"] and obs["panel"]


@keywords
def project_reference(
    reference: str | Path | AnnData,
    *,
    run: str | Path,
    out: str | Path | None = None,
    technology: str = "scRNA-seq",
    layer: str | None = None,
    orthologs: bool = False,
    allow_normalized: bool = False,
    device: str | None = None,
    progress: Progress | bool | None = None,
) -> AnnData:
    """Embed dissociated cells, such as scRNA-seq, with a finished run's model. The run does not change.

    `integrate` uses its reference only to learn how sparse cells are. Here the cells of a reference are
    embedded in the joint space, as a source for :func:`lloki.tl.transfer_labels` and
    :func:`lloki.tl.impute`.

    Parameters
    ----------
    reference
        File or AnnData with counts; see :func:`lloki.io.read_reference`. It need not be the run's.
    run
        Folder of a finished run (or its ``model`` folder).
    out
        Folder for ``reference.h5ad``, not the run's own; ``None`` writes nothing.
    technology
        Name of its technology. A batch token is fitted for it; the rest of the model is unchanged
        (:func:`lloki.cae.fit_token`).
    layer, allow_normalized
        How the reference is read; see :func:`lloki.io.read_reference`.
    orthologs, device, progress
        As for :func:`lloki.integrate`.

    Returns
    -------
    AnnData
        The reference with counts of all its genes, ``obsm["X_lloki"]`` in the space of the run and
        ``obsm["X_lloki_fp"]`` before batch alignment. ``obs["slice"]`` is ``"reference"``, followed by
        ``_`` if a slice has that name; ``obs["lloki_flag"]`` marks cells without counts of the run's genes.
        Columns of the reference with these names are kept as ``slice_input`` and so on.

    Raises
    ------
    ModelError
        If there is no finished run, or it cannot be read.
    ConfigError
        If the run knows a technology and panel of this name, or ``out`` holds a run.
    InputError, GeneError
        If the reference cannot be read, or has none of the genes that the run's slices measured.

    Warns
    -----
    LlokiWarning
        If its genes do not go together as in the reference of the run: it may be of another tissue.

    Notes
    -----
    Cells are embedded by the genes that any slice of the run measured. LLOKI-FP is not applied, as the
    reference has no positions and is not sparse. Time and memory grow with its cells.
    """
    device = str(choose_device(device))  # fails before any work if it is not available
    folder = model_folder(Path(run).expanduser())
    out = None if out is None else Path(out).expanduser()
    check_place(out, folder)
    facts = read_facts(folder)
    config = RunConfig.from_dict(facts["config"])
    model, embedder = CAEModel.load(folder, device=device), load_embedder(folder / "embedder", device=device)
    token = f"{technology}|{NAME}"
    if token in model.tokens:
        raise ConfigError(f"the run was trained with {token}. Give another name with technology=.")
    given = open_input(reference)
    where = NAME if isinstance(reference, AnnData) else str(reference)
    adata, messages = check_reference(given, where=where, layer=layer, allow_normalized=allow_normalized)
    warn_once_each(messages, stacklevel=3)
    measured = list(dict.fromkeys(gene for genes in facts["panels"].values() for gene in genes))
    adata = matched(adata, [measured], orthologs=orthologs)
    if (folder / REFERENCE).exists():
        warn_once_each(
            _otherwise(adata, Reference.load(folder / REFERENCE), where, config.seed), stacklevel=3
        )
    some = np.ones(adata.n_obs, bool)
    if isinstance(embedder, Precomputed):
        rows = embedder.take(given.obsm, where=NAME)
    else:
        rows, some = _embedded(adata, embedder, config, measured, where)
    name = free_name(NAME, model.conditions.slices)
    advance = chosen(progress).task("Fitting the batch token", STEPS, "steps")
    fitted = fit_token(model, {name: rows[some]}, token=token, advance=advance)
    adata.obsm[keys.FP] = rows
    adata.obsm[keys.JOINT] = fitted.encode(rows, token, slice_name=name)
    ours = {
        keys.SLICE: name,
        keys.SAMPLE: NAME,
        keys.PANEL: NAME,
        keys.TECHNOLOGY: technology,
        keys.FLAG: np.where(some, "", "no counts"),
    }
    theirs = {c: free_name(c + keys.INPUT_SUFFIX, adata.obs) for c in ours if c in adata.obs}
    adata.obs = adata.obs.rename(columns=theirs).assign(**ours)
    adata.uns[keys.UNS] |= {
        "version": __version__,
        "run": str(run),
        "parameters": json.dumps(config.to_dict()),
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_h5ad(out / "reference.h5ad", adata)
    return adata


def _otherwise(adata: AnnData, known: Reference, where: str, seed: int) -> list[str]:
    """Warn, in a list, where genes do not go together as in the run's own reference."""
    own = set(known.genes)
    columns = [i for i, gene in enumerate(adata.var_names) if gene in own]
    counts = sparse.csr_matrix(sparse.csr_matrix(adata.X)[:, columns])
    of_run = gene_correlations(sparse.csr_matrix(known.counts, dtype=np.float64), known.genes, seed=seed)
    mine = gene_correlations(counts, [str(adata.var_names[i]) for i in columns], seed=seed)
    like = gene_structure(mine, of_run, seed=seed)
    if like is None:
        return []
    found = pd.DataFrame({"reference_structure": [like.relative], "reference_z": [like.z]})
    if fits_reference(found).all():
        return []
    figure = "" if math.isnan(like.relative) else f" (agreement {like.relative:.2f}, 1 in one tissue)"
    return [
        f"{where}: genes do not go together as in the reference of the run{figure}: it may be of another "
        "tissue or species, and labels and genes taken from it may be wrong"
    ]


def _embedded(
    adata: AnnData, embedder: Embedder, config: RunConfig, measured: Sequence[str], where: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(m, d) by the genes that some slice of the run measured, and (m,) which cells have counts of these."""
    found = match_reference(measured, adata.var_names, where="the run's slices", reference_name=where)
    if found.diagnosis:
        warn_once_each([f"{found.diagnosis}. {found.hint}"], stacklevel=4)
    wanted = set(found.used)
    columns = [i for i, gene in enumerate(adata.var_names) if gene in wanted]
    counts = sparse.csr_matrix(sparse.csr_matrix(adata.X)[:, columns])
    genes = tuple(map(str, adata.var_names[columns]))
    expression = log_normalize(counts) if config.aligns(embedder) else counts  # as the run's slices were
    state = embedder.summarize(expression, genes) if embedder.joint else SliceSummary(genes)
    names = list(map(str, adata.obs_names))
    rows = embedder.embed(expression, genes, state=state, cell_ids=names, seed=config.seed)
    return rows, np.asarray(counts.sum(axis=1)).ravel() > 0
