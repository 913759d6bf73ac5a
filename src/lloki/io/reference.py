"""The scRNA-seq reference: its counts and gene symbols; everything else about it is optional."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from lloki import keys
from lloki._keywords import keywords
from lloki.errors import GeneError
from lloki.genes import SPECIES, in_letter_case, ortholog_names
from lloki.io._findings import Findings, number, some, warn_once_each
from lloki.io.cells import read_obs
from lloki.io.counts import read_counts
from lloki.io.features import read_features
from lloki.io.files import UNUSED, open_input
from lloki.io.sources import Input


@keywords
def read_reference(
    source: Input, *, layer: str | None = None, allow_normalized: bool = False, option: str = "layer"
) -> AnnData:
    """Read and check a single-cell reference.

    Parameters
    ----------
    source
        ``.h5ad``, AnnData or SpatialData ``.zarr``, or AnnData in memory, which is not changed. Coordinates
        and labels are not needed.
    layer, allow_normalized
        As for :func:`lloki.io.read_slices`.
    option
        Name of the parameter that the caller gives the layer by, for the hints of errors.

    Returns
    -------
    AnnData
        ``X`` (m, G) csr float32 counts, ``var_names`` unique symbols (Ensembl ids if it has nothing else),
        ``obs`` all input columns, ``uns["lloki"]`` as for a slice.

    Raises
    ------
    InputError
        If it cannot be read or holds no counts; the message names the file, the slot and the fix.
    GeneError
        If no gene can be recognized.

    Warns
    -----
    LlokiWarning
        Once for each thing corrected.
    """
    where = "reference" if isinstance(source, AnnData) else str(source)
    adata, messages = check_reference(
        open_input(source, unread=UNUSED),
        where=where,
        layer=layer,
        allow_normalized=allow_normalized,
        option=option,
    )
    warn_once_each(messages, stacklevel=3)
    return adata


def check_reference(
    adata: AnnData,
    *,
    where: str,
    layer: str | None = None,
    allow_normalized: bool = False,
    option: str = "layer",
) -> tuple[AnnData, list[str]]:
    """Check an opened reference; as `read_reference`, which names the parameters and the errors.

    Returns
    -------
    reference, messages
        The checked AnnData, and what was corrected.
    """
    findings = Findings(where, strict=True)
    counts = read_counts(adata, findings, layer=layer, allow_normalized=allow_normalized, option=option)
    x, var, ids = read_features(counts.x, counts.var, findings)
    obs = read_obs(adata, findings)
    empty = int((np.diff(x.indptr) == 0).sum())
    if empty:
        findings.corrected(f"{number(empty, 'cell')} without any count; kept, and left out of the statistics")
    info = {
        "source": where,
        "scale": counts.scale,
        "gene_ids": ids.kind,
        "species": ids.species,
        "messages": findings.messages,
    }
    return AnnData(X=x, obs=obs, var=var, uns={keys.UNS: info}), findings.messages


def by_orthologs(reference: AnnData, *, where: str = "") -> AnnData:
    """Name the genes of a reference by their one-to-one orthologs: mouse to human, and the reverse.

    Parameters
    ----------
    reference
        As :func:`read_reference` returns it.
    where
        Its file, for the error.

    Returns
    -------
    AnnData
        The same cells and the genes that have such an ortholog (:func:`lloki.genes.orthologs`), under its
        name; the first of two columns of one gene. ``uns["lloki"]`` says so.

    Raises
    ------
    GeneError
        If the species of the reference is neither, or unknown.
    """
    info = reference.uns[keys.UNS]
    source, place = info["species"], where or info["source"]
    if source not in SPECIES:
        raise GeneError(
            "no species is evident from the gene names, so that there are no orthologs",
            where=place,
            slot="var_names",
            hint="Give a reference of mouse or human with its usual gene names.",
        )
    target = next(species for species in SPECIES if species != source)
    names = ortholog_names(reference.var_names, source, target, by=info["gene_ids"])
    keep = np.array([bool(name) for name in names]) & ~pd.Index(names).duplicated()
    other = reference[:, keep].copy()
    other.var_names = [name for name, kept in zip(names, keep) if kept]
    text = (
        f"{place}: genes of {source} named by their one-to-one orthologs in {target}: {int(keep.sum()):,} of "
        f"{number(len(keep), 'gene')}, the others left out"
    )
    messages = [*info["messages"], text]
    other.uns[keys.UNS] = {**info, "species": target, "messages": messages}
    return other


def matched(reference: AnnData, panels: Iterable[Sequence[str]], *, orthologs: bool) -> AnnData:
    """Take a reference as it is, by its orthologs, or in the letter case in which the slices have its genes.

    Parameters
    ----------
    reference
        As :func:`read_reference` returns it.
    panels
        Genes of each slice.
    orthologs
        Whether to look for orthologs at all.

    Raises
    ------
    GeneError
        If some slices fit the genes as they are, and others do not.

    Warns
    -----
    LlokiWarning
        What became of the genes.
    """
    panels, found = list(panels), reference
    if orthologs:
        other = by_orthologs(reference)
        fits = {closer_by_orthologs(genes, reference.var_names, other.var_names) for genes in panels}
        if len(fits) > 1:
            raise both_species(reference.uns[keys.UNS]["source"])
        found = other if True in fits else reference
    found = spelled_as(found, panels)
    known = len(reference.uns[keys.UNS]["messages"])
    warn_once_each(found.uns[keys.UNS]["messages"][known:], stacklevel=4)
    return found


def spelled_as(reference: AnnData, panels: Iterable[Sequence[str]]) -> AnnData:
    """Name the genes of a reference in the letter case of the slices, where nothing else differs.

    Parameters
    ----------
    reference
        As :func:`read_reference` returns it.
    panels
        Genes of each slice.

    Returns
    -------
    AnnData
        The reference itself where the names of its genes agree as they are, or the species is not evident
        (:func:`lloki.genes.in_letter_case`); else a copy, whose ``uns["lloki"]`` says so.

    Raises
    ------
    GeneError
        If slices differ among themselves.
    """
    info, panels = reference.uns[keys.UNS], [list(map(str, genes)) for genes in panels]
    old = list(map(str, reference.var_names))
    differ = [in_letter_case(genes, old) != old for genes in panels]
    if not any(differ):
        return reference
    genes = {gene for panel in panels for gene in panel}
    if not all(differ) or len({gene.casefold() for gene in genes}) < len(genes):
        raise GeneError(
            "its gene names differ in letter case from those of slices that differ among themselves",
            where=info["source"],
            slot="var_names",
            hint="Write the gene symbols of all slices in the same letter case.",
        )
    new = in_letter_case(genes, old)
    changed = [f"{a} → {b}" for a, b in zip(old, new) if a != b]
    text = (
        f"{info['source']}: {number(len(changed), 'gene name')} written in the letter case of the slices "
        f"({some(changed, 3)}): the same species by the symbols that only one species has"
    )
    other = reference.copy()
    other.var_names = new
    other.uns[keys.UNS] = {**info, "messages": [*info["messages"], text]}
    return other


def closer_by_orthologs(genes: Iterable[str], names: Iterable[str], orthologs: Iterable[str]) -> bool:
    """Whether more of a slice's genes are among the orthologs than among the names as they are."""
    own = set(genes)
    return len(own & set(orthologs)) > len(own & set(names))


def both_species(where: str) -> GeneError:
    """Error for slices of mouse and human in one call."""
    return GeneError(
        "some slices have its gene names, others those of its orthologs",
        where=where,
        slot="var_names",
        hint="Integrate the slices of each species on their own.",
    )
