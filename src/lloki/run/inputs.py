"""From what the user named to checked slices in the run's store, before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._log import logger
from lloki.embed import Precomputed
from lloki.errors import InputError
from lloki.io import atomic, check_slices, content_hash, iter_slices
from lloki.run.store import Store, key_of


@dataclass(frozen=True)
class ReadAs:
    """How inputs are to be read; see :func:`lloki.io.read_slices`. The lists hold one entry an input."""

    layer: str | None = None
    allow_normalised: bool = False
    slice_key: str | None = None
    label_key: str | None = None
    technology: Mapping[str, str] | None = None
    samples: Sequence[str] | None = None
    panels: Sequence[str | None] | None = None
    layers: Sequence[str | None] | None = None
    k: int = 40

    def options(self) -> dict[str, Any]:
        """As keyword arguments."""
        return dict(vars(self))

    def without(self, dropped: set[int], names: Sequence[str]) -> ReadAs:
        """The same for the inputs that stay; ``names`` are the samples of all, which thus keep their names."""

        def stay(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [v for i, v in enumerate(values) if i not in dropped]

        kept = stay(names) or []
        technology = {n: t for n, t in (self.technology or {}).items() if n in kept}
        changed = {"samples": kept, "panels": stay(self.panels), "layers": stay(self.layers)}
        return ReadAs(**(self.options() | changed | {"technology": technology}))


@dataclass(frozen=True)
class SliceRecord:
    """A checked slice in the store: everything about it but its counts.

    Attributes
    ----------
    name, token
        Slice and its batch.
    hash
        Of its content.
    path
        Of the checked copy.
    genes
        Its g genes.
    obs, spatial
        Its cells.
    said
        ``uns["lloki"]`` of the checked slice: source, scale, species, messages.
    """

    name: str
    token: str
    hash: str
    path: Path
    genes: tuple[str, ...]
    obs: pd.DataFrame
    spatial: np.ndarray
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.obs)


def gather(
    inputs: Sequence[Any],
    store: Store,
    *,
    read: ReadAs,
    skip_bad: bool = False,
    embedding: Precomputed | None = None,
) -> tuple[list[SliceRecord], list[dict[str, str]]]:
    """Check every input, then copy their checked slices into the store.

    Parameters
    ----------
    inputs
        Files or AnnData.
    store
        The run's.
    read
        How to read them.
    skip_bad
        Set inputs with an error aside instead of stopping.
    embedding
        Where the embedding is taken from ``obsm``: kept with the slices.

    Returns
    -------
    slices, messages
        Records in the order given, and all that was mended or set aside, as ``{"slice", "text"}``.

    Raises
    ------
    InputError
        If an input has an error (all errors of all inputs are in the message), or if none is left.
    """
    inputs = [inputs] if isinstance(inputs, (str, Path, AnnData)) else list(inputs)
    inputs, read, messages = _without_bad(inputs, read, skip_bad)
    records = []
    for adata in iter_slices(inputs, **read.options()):
        records.append(_keep(adata, store, embedding))
        messages += [{"slice": records[-1].name, "text": str(t)} for t in records[-1].said["messages"]]
    return records, messages


def _without_bad(
    inputs: list[Any], read: ReadAs, skip_bad: bool
) -> tuple[list[Any], ReadAs, list[dict[str, str]]]:
    from lloki.io.sources import plan_sources

    sources = plan_sources(
        inputs, layer=read.layer, samples=read.samples, panels=read.panels, layers=read.layers
    )
    checks = check_slices(inputs, **read.options())
    names = [source.sample for source in sources]
    bad: dict[int, list[str]] = {}
    for i, source in enumerate(sources):
        mine = [c for c in checks if c.name == source.sample or c.name.startswith(f"{source.sample}:")]
        errors = [error for check in mine for error in check.errors]
        if errors:
            bad[i] = list(dict.fromkeys(errors))
    orphans = [e for c in checks if not any(e in known for known in bad.values()) for e in c.errors]
    if orphans or (bad and not skip_bad):
        text = [error for errors in bad.values() for error in errors] + orphans
        raise InputError(
            text[0].rstrip(".")
            if len(text) == 1
            else f"{len(text)} errors in the inputs:\n  - " + "\n  - ".join(text) + "\n",
            mend=""
            if len(inputs) == 1
            else "Mend them, or set these inputs aside with --skip-bad (skip_bad=True).",
        )
    messages = []
    for i, errors in bad.items():
        messages.append({"slice": names[i], "text": f"set aside: {errors[0]}"})
        logger.warning("%s is set aside: %s", names[i], errors[0])
    left = [x for i, x in enumerate(inputs) if i not in bad]
    if not left:
        raise InputError("every input has an error", mend=f"The first is: {next(iter(bad.values()))[0]}")
    return left, read.without(set(bad), names) if bad else read, messages


def _keep(adata: AnnData, store: Store, embedding: Precomputed | None) -> SliceRecord:
    """Copy one checked slice into the store, unless it is there."""
    name, digest = str(adata.obs[keys.SLICE].iloc[0]), content_hash(adata)
    rows = None
    if embedding is not None:
        rows = embedding.take(adata.obsm, where=name)
        digest = key_of(digest, embedding.key, rows)
    path = store.path("slices", name, digest[:16], ".h5ad")
    said = dict(adata.uns[keys.UNS])
    if not path.exists():
        slim = AnnData(
            X=adata.X, obs=pd.DataFrame(index=adata.obs_names), var=pd.DataFrame(index=adata.var_names)
        )
        slim.obsm[keys.SPATIAL] = adata.obsm[keys.SPATIAL]
        if embedding is not None:
            slim.obsm[embedding.key] = rows
        with atomic(path) as temporary:
            slim.write_h5ad(temporary)
    return SliceRecord(
        name=name,
        token=str(adata.obs[keys.TOKEN].iloc[0]),
        hash=digest,
        path=path,
        genes=tuple(map(str, adata.var_names)),
        obs=adata.obs,
        spatial=np.asarray(adata.obsm[keys.SPATIAL]),
        said=said,
    )
