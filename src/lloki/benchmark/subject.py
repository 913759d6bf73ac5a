"""What methods are judged on: one set of cells, with labels, batches, counts and embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from lloki import keys
from lloki._missing import text_labels
from lloki.benchmark.measured import Measured
from lloki.errors import ConfigError, InputError
from lloki.evaluate import normalized
from lloki.io.scale import infer_scale
from lloki.io.trust import read_checked

_LAYOUTS = ("X_umap", "X_tsne", "X_draw_graph", "X_diffmap")  # to look at, not to integrate
_OURS = (keys.JOINT, keys.FP)


@dataclass(frozen=True)
class Subject:
    """Cells to judge methods on.

    Attributes
    ----------
    names
        (n,) cells.
    labels, batches
        (n,) text; a label is ``""`` where unknown.
    x, scale
        (n, g) values as they are in the file, and what they are; ``None`` where they are of no use, with
        ``no_values`` saying why.
    shared
        (g,) whether every batch measured the gene.
    genes
        (g,) names.
    slices
        (n,) text: the slice of each cell; of a file that names none, its batch.
    panels
        Slice → (g,) whether it measured the gene.
    embeddings
        Name → (n, d), from ``obsm``.
    run
        Folder of the run that the cells are from.
    label_key, batch_key
        Where labels and batches are from.
    """

    names: pd.Index
    labels: NDArray[np.str_]
    batches: NDArray[np.str_]
    x: sparse.csr_matrix | None
    scale: str
    shared: NDArray[np.bool_]
    genes: tuple[str, ...]
    slices: NDArray[np.str_]
    panels: Mapping[str, NDArray[np.bool_]]
    embeddings: dict[str, NDArray[np.float32]]
    run: Path | None
    label_key: str
    batch_key: str
    no_values: str = ""

    def counts(self, genes: NDArray[np.bool_]) -> sparse.csr_matrix:
        """Raw counts of some genes.

        Raises
        ------
        InputError
            If there are none.
        """
        if self.x is None or self.scale != "counts":
            raise InputError(self.no_values or f"{self.scale} values, where counts are needed")
        return sparse.csr_matrix(self.x[:, genes])

    def measured(self) -> dict[str, tuple[NDArray[np.int64], Measured]]:
        """Slice → rows of its cells, and their counts over the genes that it measured.

        Raises
        ------
        InputError
            If there are no counts.
        """
        found = {}
        for name, panel in self.panels.items():
            rows = np.flatnonzero(self.slices == name)
            columns = np.flatnonzero(panel)
            counts = sparse.csr_matrix(self.counts(panel)[rows])
            found[name] = rows, Measured(counts, tuple(self.genes[i] for i in columns))
        return found

    def expression(self, genes: NDArray[np.bool_]) -> sparse.csr_matrix:
        """Log-normalized expression of some genes, normalized over these alone.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.x is None:
            raise InputError(self.no_values)
        x = sparse.csr_matrix(self.x[:, genes])
        return x if self.scale == "log-normalized" else normalized(x)


def open_subject(
    inputs: Sequence[str | Path],
    *,
    label_key: str | None = None,
    batch_key: str | None = None,
    layer: str | None = None,
    keep: Sequence[str] = (),
) -> Subject:
    """Read run folders and ``.h5ad`` files of the same cells.

    Parameters
    ----------
    inputs
        The first says which cells, labels, batches and counts there are; the others add embeddings, matched
        by the cells' names.
    label_key, batch_key
        ``obs`` columns; where none is named, the run's label key, and ``"slice"``.
    layer
        With the counts, in place of ``X``.
    keep
        ``obsm`` keys that were asked for by name, which are then taken even if they look like a layout.

    Raises
    ------
    InputError
        If a file cannot be read, a column is absent, or an input lacks cells of the first.
    ConfigError
        If no input is given, or no label key is known.
    """
    if not inputs:
        raise ConfigError("name at least one run folder or .h5ad file")
    files = [_file(Path(path).expanduser()) for path in inputs]
    first, where = _read(files[0]), str(files[0])
    run = files[0].parent if (files[0].parent / "run.json").exists() else None
    label_key = label_key or (_label_key(run) if run else None)
    if label_key is None:
        raise ConfigError("name the obs column of the cell types with --label-key (label_key=)")
    batch_key = batch_key or keys.SLICE
    embeddings = _embeddings(first, files[0], keep, prefix="")
    for file in files[1:]:
        other = _matched(_read(file), first.obs_names, file)
        for name, rows in _embeddings(other, file, keep, prefix=_stem(file)).items():
            embeddings[name if name not in embeddings else f"{_stem(file)}: {name}"] = rows
    batches = _column(first, batch_key, where)
    if (batches == "").any():
        raise InputError(
            "cells without a batch", where=where, slot=f"obs[{batch_key!r}]", hint="Name another column."
        )
    x, scale, why = _values(first, layer)
    slices, panels = _panels(first, x, batches)
    return Subject(
        names=first.obs_names,
        labels=_column(first, label_key, where, unknown=True),
        batches=batches,
        x=x,
        scale=scale,
        shared=_shared(first, panels),
        genes=tuple(map(str, first.var_names)),
        slices=slices,
        panels=panels,
        embeddings=embeddings,
        run=run,
        label_key=label_key,
        batch_key=batch_key,
        no_values=why,
    )


def _label_key(run: Path) -> str | None:
    parameters = json.loads((run / "run.json").read_text()).get("parameters") or {}
    key: str | None = parameters.get("label_key")
    return key


def _file(path: Path) -> Path:
    return path / "integrated.h5ad" if path.is_dir() else path


def _stem(file: Path) -> str:
    return file.parent.name if file.name == "integrated.h5ad" else file.stem


def _read(file: Path) -> AnnData:
    try:
        return read_checked(file)
    except FileNotFoundError as error:
        raise InputError(
            "there is no such file",
            where=str(file),
            hint="Give a folder of lloki integrate or an .h5ad file.",
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error})", where=str(file), hint="Give an .h5ad file.") from error


def _matched(adata: AnnData, names: pd.Index, file: Path) -> AnnData:
    missing = int((~names.isin(adata.obs_names)).sum())
    if missing:
        raise InputError(
            f"lacks {missing:,} of the {len(names):,} cells of the first input",
            where=str(file),
            hint="Cells are matched by their names (obs_names): all inputs must have those of the first.",
        )
    return adata[names]


def _column(adata: AnnData, key: str, where: str, *, unknown: bool = False) -> NDArray[np.str_]:
    if key not in adata.obs:
        raise InputError(
            "the column is absent",
            where=where,
            slot=f"obs[{key!r}]",
            hint=f"There are: {', '.join(map(str, adata.obs.columns)) or 'none'}. Name one of them.",
        )
    column = adata.obs[key]
    return text_labels(column, unknown=unknown)


def _embeddings(
    adata: AnnData, file: Path, keep: Sequence[str], *, prefix: str
) -> dict[str, NDArray[np.float32]]:
    """Every matrix of numbers in ``obsm`` that is no layout and no position."""
    found = {}
    for key, values in adata.obsm.items():
        layout = key == keys.SPATIAL or str(key).startswith(_LAYOUTS)
        x = np.asarray(values.toarray() if sparse.issparse(values) else values)
        if (layout and key not in keep) or x.ndim != 2 or x.dtype.kind not in "fiu":
            continue
        name = f"{prefix}: {key}" if prefix and key in _OURS else key
        found[name] = np.asarray(x, np.float32)
    return found


def _values(adata: AnnData, layer: str | None) -> tuple[sparse.csr_matrix | None, str, str]:
    """Take values and what they are, or say why they are of no use."""
    slot = "X" if layer is None else f"layers[{layer!r}]"
    if layer is not None and layer not in adata.layers:
        return None, "", f"{slot} is absent"
    values: Any = adata.X if layer is None else adata.layers[layer]
    if values is None or not adata.n_vars:
        return None, "", f"{slot} is empty"
    x = sparse.csr_matrix(values, dtype=np.float32)
    x.eliminate_zeros()
    if not np.isfinite(x.data).all():
        return None, "", f"{slot} holds NaN or infinity"
    scale = infer_scale(x)
    if scale in ("counts", "proportional to counts", "log-normalized"):
        return x, scale, ""
    return None, scale, f"{slot} holds {scale} values, not counts; name the layer that has them"


def _panels(
    adata: AnnData, x: sparse.csr_matrix | None, batches: NDArray[np.str_]
) -> tuple[NDArray[np.str_], dict[str, NDArray[np.bool_]]]:
    """Slice of each cell, and the genes that each measured, as the run says.

    In other files every batch is a slice, and has measured the genes that it has counts of.
    """
    known = list(map(str, adata.uns.get(keys.UNS, {}).get("slices", [])))
    if keys.MEASURED in adata.varm and keys.SLICE in adata.obs:
        slices = adata.obs[keys.SLICE].astype(str).to_numpy(str)
        names = list(map(str, np.unique(slices)))
        if set(names) <= set(known):
            measured = np.asarray(adata.varm[keys.MEASURED], bool)
            return slices, {name: measured[:, known.index(name)] for name in names}
    if x is None:
        return batches, {str(b): np.zeros(adata.n_vars, bool) for b in np.unique(batches)}
    counted = {str(b): (x[batches == b] > 0).sum(axis=0) for b in np.unique(batches)}
    return batches, {b: np.asarray(n).ravel() > 0 for b, n in counted.items()}


def _shared(adata: AnnData, panels: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Genes that all slices measured, also those of which no cell is left in the file."""
    if keys.MEASURED in adata.varm:
        return np.asarray(np.asarray(adata.varm[keys.MEASURED], bool).all(axis=1))
    return np.asarray(np.all(list(panels.values()), axis=0))
