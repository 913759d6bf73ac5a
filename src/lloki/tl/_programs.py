"""Gene programs and domains on a user's AnnData: reading features, writing results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from lloki import keys
from lloki._parts import in_memory, owners, record, write_column
from lloki.analysis import Domains, Programs, spatial_neighbors
from lloki.errors import InputError
from lloki.tl._sections import Section, read_sections


def read_features(
    adatas: AnnData | Sequence[AnnData],
    *,
    use_rep: str | None,
    layer: str | None,
    genes: Sequence[str] | None,
    slice_key: str,
) -> tuple[list[Section], list[Any], list[str]]:
    """Read slices, their features, and the features' names.

    Raises
    ------
    InputError
        If a slot or a gene is absent, slices have no gene in common, or positions are not finite.
    """
    if use_rep is not None:
        sections = read_sections(adatas, use_rep=use_rep, slice_key=slice_key, slices=None)
        width = sections[0].values.shape[1]
        return sections, [s.values for s in sections], [f"{use_rep}:{i}" for i in range(width)]
    sections = read_sections(adatas, use_rep=keys.SPATIAL, slice_key=slice_key, slices=None)
    wanted = [genes] if isinstance(genes, str) else genes
    names = common_genes(sections) if wanted is None else list(dict.fromkeys(wanted))
    if not names:
        raise InputError(
            "slices share no gene", hint="Set use_rep to an embedding, or give slices of one panel."
        )
    return sections, [_expression(s, names, layer) for s in sections], names


def non_negative(adatas: AnnData | Sequence[AnnData], use_rep: str | None) -> str | None:
    """Take the latent space where the joint embedding is the autoencoder's inputs, which have both signs."""
    parts = [adatas] if isinstance(adatas, AnnData) else list(adatas)
    joint = use_rep == keys.JOINT and all(keys.LATENT in part.obsm for part in parts)
    return keys.LATENT if joint else use_rep


def common_genes(sections: Sequence[Section]) -> list[str]:
    """Genes that every slice measured, in the order of the first."""
    first = sections[0].own
    common = dict.fromkeys(map(str, first.var_names))
    for s in sections:
        columns, measured = s.panel(), s.own.varm.get(keys.MEASURED)
        if columns is None:  # of all slices of the integration
            columns = (
                np.arange(s.own.n_vars) if measured is None else np.flatnonzero(np.all(measured, axis=1))
            )
        here = set(map(str, s.own.var_names[columns]))
        common = {gene: None for gene in common if gene in here}
    return list(common)


def _expression(section: Section, genes: Sequence[str], layer: str | None) -> sparse.csr_matrix:
    """(n, g) of these genes: a layer as it is, or counts of X, normalized over them."""
    from lloki.fp import log_normalize
    from lloki.io.counts import require_counts

    own = section.own
    columns = own.var_names.get_indexer(list(genes))
    if (columns < 0).any():
        absent = genes[int(np.flatnonzero(columns < 0)[0])]
        raise InputError(
            f"there is no gene {absent!r}", where=section.name, slot="var_names", hint="Leave it out."
        )
    if layer is not None and layer not in own.layers:
        known = ", ".join(name for name in own.layers if name is not None) or "none"
        raise InputError(
            "is absent", where=section.name, slot=f"layers[{layer!r}]", hint=f"There are: {known}."
        )
    whole = sparse.csr_matrix(in_memory(own.X if layer is None else own.layers[layer]))[section.rows]
    if layer is None:
        require_counts(whole, own, where=section.name, slot="X")
    x = sparse.csr_matrix(whole[:, columns], dtype=np.float32)
    return x if layer is not None else log_normalize(x)


def graphs(sections: Sequence[Section], n_neighbors: int | None) -> list[sparse.csr_matrix]:
    """Compute the spatial graph of every slice."""
    return [spatial_neighbors(s.xy, n_neighbors=n_neighbors) for s in sections]


def write_metagenes(
    sections: Sequence[Section],
    programs: Programs,
    *,
    features: Sequence[str],
    parameters: dict[str, Any],
    key_added: str,
) -> None:
    """Write states, metagenes and the record into the AnnData of the sections."""
    for own in owners(sections):
        own.obsm[key_added] = np.zeros((own.n_obs, programs.config.n_metagenes), np.float32)
    for s, states in zip(sections, programs.states):
        s.own.obsm[key_added][s.rows] = states
    record(
        owners(sections),
        "metagenes",
        parameters | {"key_added": key_added},
        facts=json.dumps(programs.facts()),
        slices=np.array([s.name for s in sections], object),
        features=np.array(list(features), object),
        metagenes=programs.metagenes,
        affinity=programs.affinity,
        objective=programs.history["objective"].to_numpy(),
    )


def write_domains(
    sections: Sequence[Section], domains: Domains, *, parameters: dict[str, Any], key_added: str
) -> None:
    """Write domains as D1, D2, …, the largest first, and the record."""
    labels = np.concatenate(domains.labels)
    names = np.array([f"D{i + 1}" for i in range(labels.max() + 1)], object)
    write_column(sections, key_added, names[labels], categories=names)
    write_column(sections, f"{key_added}_confidence", np.concatenate(domains.confidence))
    facts = {}
    if domains.stability is not None:
        facts["stability"] = json.dumps({str(k): v for k, v in domains.stability.items()})
    record(owners(sections), "domains", parameters | {"key_added": key_added}, **facts)
