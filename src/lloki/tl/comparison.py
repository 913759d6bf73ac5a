"""Comparison of conditions, on AnnData."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
from anndata import AnnData
from scipy import sparse

import lloki
from lloki import keys
from lloki._keywords import keywords
from lloki._missing import text_labels
from lloki._parts import Part, joint_embedding, owners, read_parts, record, write_column
from lloki.errors import InputError, LlokiWarning
from lloki.genes import is_panel_name, panel_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    import lloki.compare
    from lloki.compare import Comparison

_ALIKE = 0.9  # share of the genes of two panels that both have, from which they are one but for filters


@keywords
def compare(
    adatas: AnnData | Sequence[AnnData],
    *,
    condition_key: str,
    control: str,
    donor_key: str | None = None,
    label_key: str | None = None,
    domain_key: str | None = None,
    use_rep: str = keys.JOINT,
    slice_key: str = keys.SLICE,
    layer: str | None = None,
    key_added: str = keys.COMPARE,
    **options: Unpack[lloki.compare.CompareOptions],
) -> Comparison:
    """Compare conditions over slices of any platforms and panels, with donors as replicates.

    What is compared: composition, expression of each type, abundance in the joint space without labels, and
    who is beside whom. A difference that cannot be distinguished from one between instruments is not tested
    as one of expression; nor are genes where a panel lacks them, or imputed values.

    Parameters
    ----------
    adatas
        All slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each; with counts,
        positions and a joint embedding.
    condition_key
        ``obs`` column of conditions; a slice has one.
    control
        The condition that all others are compared with.
    donor_key
        ``obs`` column of donors, the replicates; a slice has one. Default: each slice is one, which is only
        right if no two are of one donor.
    label_key
        ``obs`` column of cell types or clusters. Default ``"lloki_label"``, else ``"lloki_cluster"``; if
        there is neither, only abundance in the joint space is compared.
    domain_key
        ``obs`` column of spatial domains, whose extent is compared. Default ``"lloki_domain"`` if there.
    use_rep
        ``obsm`` key of the joint embedding.
    slice_key
        ``obs`` column that names the slices, as squidpy's ``library_key``.
    layer
        Layer of counts, where ``X`` does not hold them.
    key_added
        Prefix of the ``obs`` column.
    options
        Fields of :class:`lloki.compare.CompareConfig`, such as ``alpha=0.1`` or ``min_units=4``.

    Returns
    -------
    Comparison
        ``.evidence`` (findings), ``.design``, ``.composition``, ``.expression``, ``.abundance`` and
        ``.neighborhood``. Written into ``adatas``:

        ``obs["lloki_compare_abundance"]``
            log2 difference in abundance of the neighborhoods that a cell is in; NaN where there is none, or
            with more than two conditions.
        ``uns["lloki"]["compare"]``
            Parameters, version, the findings and what the design can distinguish.

    Raises
    ------
    InputError
        If a column is absent, a slice has no or two conditions or donors, a donor is in two conditions, or
        only one condition is there; if names differ only by spaces or capitals; or if values are no counts.
    ConfigError
        If an option is unknown or out of its range.

    Warns
    -----
    LlokiWarning
        If conditions and instruments are confounded, there are too few donors for a test or a finding, there
        are no labels, or slices stand for donors.

    Notes
    -----
    Method: :func:`lloki.compare.compare`. The technology is read from ``obs["technology"]``, else
    ``uns["technology"]``; the panel from ``obs["panel"]``, else from the genes that a slice measured, where
    panels of a technology that share nine tenths of their genes are one.
    """
    from lloki import compare as method

    config = method.CompareConfig.from_dict(options)
    parts = sorted(read_parts(adatas, slice_key=slice_key), key=lambda part: part.name)
    if domain_key is None and all(keys.DOMAIN in own.obs for own in owners(parts)):
        domain_key = keys.DOMAIN
    facts = [_facts(part, condition_key, donor_key) for part in parts]
    _distinct(facts, {"condition": condition_key, "unit": donor_key, "technology": keys.TECHNOLOGY})
    method.Design.of(facts, control)  # before the matrices are read: its errors are those of a mistyped name
    label_key = _labels_of(parts, label_key)
    counts = _counts(parts, facts, layer)
    usable = [part.usable for part in parts]
    parts = [Part(p.name, p.own, p.rows[own]) for p, own in zip(parts, usable)]
    for part in parts:
        if not len(part.rows):
            raise InputError("no cell has counts", where=part.name, hint="Leave the slice out.")
    joint_embedding(parts, use_rep)
    facts = _with_panels(facts, [genes for _, genes in counts])
    slices = [
        method.ConditionSlice(
            fact,
            x[own],
            genes,
            part.positions(),
            part.embedding(use_rep),
            _column(part, label_key),
            _column(part, domain_key),
            _scores(part),
        )
        for part, fact, (x, genes), own in zip(parts, facts, counts, usable)
    ]
    found = method.compare(slices, control, config)
    write_column(parts, f"{key_added}_abundance", found.cell_effect)
    by_name = {part.name: part.own.obs_names[part.rows] for part in parts}
    found.abundance["cell"] = [
        by_name[s][i] for s, i in zip(found.abundance["slice"], found.abundance["cell"])
    ]
    names = {
        **{
            "condition_key": condition_key,
            "control": control,
            "donor_key": donor_key,
            "label_key": label_key,
        },
        **{"domain_key": domain_key, "use_rep": use_rep, "slice_key": slice_key, "key_added": key_added},
    }
    identified = json.dumps([asdict(each) for each in found.identified])
    record(owners(parts), "compare", config.to_dict() | names, identified=identified, evidence=found.evidence)
    if donor_key is None:
        text = (
            "Each slice counts as a donor. If some are of one donor, set donor_key: slices are no replicates."
        )
        warnings.warn(text, LlokiWarning, stacklevel=3)
    if label_key == keys.CLUSTER and not all(each.apart for each in found.identified):
        text = (
            "Clusters of the joint embedding may follow what is left of the instruments, as may their shares "
            "and contacts. Name cell types by label_key."
        )
        warnings.warn(text, LlokiWarning, stacklevel=3)
    for each in found.identified:
        if each.limited(min_units=config.min_units, alpha=config.alpha):
            warnings.warn(each.text, LlokiWarning, stacklevel=3)
    return found


def _labels_of(parts: Sequence[Part], label_key: str | None) -> str | None:
    """Find the column of labels: the one named, else those of lloki.

    Raises
    ------
    InputError
        If the one named is absent from a slice, or holds no label at all.
    """
    if label_key is None:
        for key in (keys.LABEL, keys.CLUSTER):
            own = [part.column(key) for part in parts]
            if any(labels is not None and (labels != "").any() for labels in own):
                label_key = key
                break
        else:
            text = "There are no labels and no clusters: only abundance in the joint space is compared."
            warnings.warn(f"{text} Name a column by label_key.", LlokiWarning, stacklevel=4)
            return None
    slot = f"obs[{label_key!r}]"
    known = [part.labels(label_key) for part in parts]
    for part, labels in zip(parts, known):
        if labels is None:
            there = ", ".join(map(str, part.own.obs)) or "none"
            hint = f"Name another label_key. There are: {there}."
            raise InputError("the column is absent", where=part.name, slot=slot, hint=hint)
    unlabeled = [
        part.name for part, labels in zip(parts, known) if labels is not None and not (labels != "").any()
    ]
    if len(unlabeled) == len(parts):
        raise InputError(
            "holds no label", slot=slot, hint="Name another label_key, or transfer labels first."
        )
    if unlabeled:
        text = f"{', '.join(unlabeled)}: no cell has a label in {slot}; only abundance is compared there."
        warnings.warn(text, LlokiWarning, stacklevel=4)
    return label_key


def _facts(part: Part, condition_key: str, donor_key: str | None) -> lloki.compare.SliceFacts:
    from lloki.compare import SliceFacts

    technology = _only(part, keys.TECHNOLOGY, needed=False) or str(part.own.uns.get(keys.TECHNOLOGY, ""))
    if not technology:
        hint = "Add the column: conditions are only compared within a technology."
        raise InputError("the column is absent", where=part.name, slot=f"obs[{keys.TECHNOLOGY!r}]", hint=hint)
    return SliceFacts(
        part.name,
        part.name if donor_key is None else _only(part, donor_key),
        _only(part, condition_key),
        technology,
        _only(part, keys.PANEL, needed=False),
    )


def _distinct(facts: Sequence[lloki.compare.SliceFacts], columns: Mapping[str, str | None]) -> None:
    """Check that no two names of a column are the same but for spaces and capitals.

    Raises
    ------
    InputError
        If two are: a donor would count twice, or a technology would be two.
    """
    for field, column in columns.items():
        seen: dict[str, str] = {}
        for fact in facts if column is not None else ():
            name = getattr(fact, field)
            first = seen.setdefault("".join(name.casefold().split()), name)
            if first != name:
                text = f"{first!r} and {name!r} differ only by spaces or capitals"
                hint = "Write them the same if they are the same, else rename one."
                raise InputError(text, where=fact.name, slot=f"obs[{column!r}]", hint=hint)


def _with_panels(
    facts: Sequence[lloki.compare.SliceFacts], genes: Sequence[Sequence[str]]
) -> list[lloki.compare.SliceFacts]:
    """Name the panels of slices, where none is named: by their genes, in groups that hardly differ.

    Filtering each slice leaves it with genes of its own, as if each had a panel, and nothing could be
    compared. Panels of one technology that have nine tenths of their genes in common are therefore one panel,
    named by the largest; each gene is still compared only in the slices that have it.
    """
    sets = [set(own) for own in genes]
    largest = sorted(range(len(facts)), key=lambda i: (-len(sets[i]), panel_name(sets[i])))
    heads: list[int] = []
    out = list(facts)
    for i in largest:
        if facts[i].panel and not is_panel_name(facts[i].panel):
            continue
        for head in heads:
            same = facts[head].technology == facts[i].technology
            if same and len(sets[i] & sets[head]) >= _ALIKE * len(sets[i] | sets[head]):
                break
        else:
            head = i
            heads.append(i)
        out[i] = replace(facts[i], panel=panel_name(sets[head]))
    return out


def _only(part: Part, key: str, *, needed: bool = True) -> str:
    """Return the one value of a column in a slice.

    Raises
    ------
    InputError
        If it has several, or none where it is needed.
    """
    slot = f"obs[{key!r}]"
    if key not in part.own.obs:
        if not needed:
            return ""
        there = ", ".join(map(str, part.own.obs)) or "none"
        raise InputError("the column is absent", where=part.name, slot=slot, hint=f"There are: {there}.")
    values = text_labels(part.own.obs[key].iloc[part.rows])  # "nan", as text, is no name
    known = sorted(set(map(str, values)) - {""})
    lost = int((values == "").sum())
    if needed and lost:
        text = "has no value" if not known else f"has no value in {lost} of {len(values)} cells"
        raise InputError(text, where=part.name, slot=slot, hint="Fill it in, or leave the slice out.")
    if len(known) > 1:
        text = f"holds {len(known)} values in one slice: {', '.join(known[:4])}"
        hint = "Each slice has one; split the slice, or correct the column."
        raise InputError(text, where=part.name, slot=slot, hint=hint)
    return known[0] if known else ""


def _counts(
    parts: Sequence[Part], facts: Sequence[lloki.compare.SliceFacts], layer: str | None
) -> list[tuple[sparse.csr_matrix, tuple[str, ...]]]:
    """Read the counts of each slice over the genes it measured.

    Where nothing records them, slices of one technology (and panel, if named) are taken to have measured the
    same: the genes that any of them has counts of. A gene that one slice happens to lack is a zero there.
    """
    found = [part.counts(layer, fractions=False) for part in parts]
    groups: dict[tuple[str, str], set[str]] = {}
    unknown = [part.panel() is None for part in parts]
    for fact, (_, genes), guess in zip(facts, found, unknown):
        if guess:
            groups.setdefault((fact.technology, fact.panel), set()).update(genes)
    out = []
    for fact, (x, genes), guess in zip(facts, found, unknown):
        names = tuple(sorted(groups[fact.technology, fact.panel])) if guess else tuple(genes)
        if guess:
            at = np.searchsorted(names, genes)
            x = sparse.csr_matrix((x.data, at[x.indices], x.indptr), shape=(x.shape[0], len(names)))
        out.append((x, names))
    return out


def _column(part: Part, key: str | None) -> NDArray[np.str_] | None:
    labels = None if key is None else part.labels(key)
    if key != keys.CLUSTER or labels is None:
        return labels
    return np.array([f"cluster {name}" if name else "" for name in labels])  # a number says nothing


def _scores(part: Part) -> NDArray[np.float64] | None:
    key = keys.NEIGHBORHOOD_SCORE
    return part.own.obs[key].iloc[part.rows].to_numpy(float) if key in part.own.obs else None
