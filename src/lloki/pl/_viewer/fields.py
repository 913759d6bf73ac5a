"""What the viewer can color cells by: columns of an AnnData, states of programs, genes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki.analysis import UNKNOWN
from lloki.pl import _slots
from lloki.pl._coloring import NOT_GIVEN, categories, common_ends
from lloki.pl._palette import OTHER
from lloki.pl._viewer.encode import ABSENT, NOWHERE, levels

if TYPE_CHECKING:
    import anndata as ad

CELLS, VALUES, PROGRAMS, GENES = "Cells", "Values", "Gene programs", "Genes"
NOT_MEASURED = "not measured"

# obs column -> what it is called, and what a cell without a value is
_CATEGORIES = {
    keys.CLUSTER: ("cluster", NOT_GIVEN),
    keys.LABEL: ("cell type, transferred", NOT_GIVEN),
    keys.MARKER_TYPE: ("cell type, by markers", NOT_GIVEN),
    keys.DOMAIN: ("domain", NOT_GIVEN),
    keys.SLICE: ("slice", NOT_GIVEN),
    keys.TECHNOLOGY: ("technology", NOT_GIVEN),
    keys.FOCAL_CLUSTER: ("focal cluster", "other type"),
    keys.INFILTRATING: ("enriched cluster", "other type"),
    keys.IN_OVERLAP: ("in the overlap", "not aligned"),
    keys.FLAG: ("flag", "none"),
}
_NUMBERS = {
    keys.LABEL_CONFIDENCE: ("label confidence", "label given"),
    keys.LABEL_NOVELTY: ("label novelty (0 is new)", "label given"),
    keys.MARKER_CONFIDENCE: ("marker confidence", NOT_GIVEN),
    keys.DOMAIN_CONFIDENCE: ("domain confidence", NOT_GIVEN),
    keys.NEIGHBOR_SHARE: ("share of neighbors", "other type"),
    keys.NEIGHBORHOOD_SCORE: ("neighborhood score", "other type"),
    keys.MATCH_CONFIDENCE: ("match confidence", "not matched"),
    keys.SPARSITY: ("sparsity", NOT_GIVEN),
}
_SHARES = {  # from 0 to 1, whatever the cells have
    keys.LABEL_CONFIDENCE,
    keys.LABEL_NOVELTY,
    keys.MARKER_CONFIDENCE,
    keys.DOMAIN_CONFIDENCE,
    keys.MATCH_CONFIDENCE,
    keys.SPARSITY,
}
# of the input: a column with more kinds than this is a name or a number, not a kind of cell
_MOST_KINDS, _MOST_OTHERS = 60, 6


@dataclass(frozen=True, eq=False)
class Field:
    """Something to color cells by.

    Attributes
    ----------
    key, title, group
        Its name in the data, what it is called, and among what it is listed.
    values
        (n,) codes of categories, or levels of numbers; the highest value of the type where unknown.
    facts
        For categories ``names`` and ``colors``; for numbers ``low``, ``high`` and ``above``, whether values
        lie beyond.
    missing
        What to call cells without a value.
    quiet
        Not shown for every cell that is pointed at.
    """

    key: str
    title: str
    group: str
    values: NDArray[np.uint8] | NDArray[np.uint16]
    facts: dict[str, Any]
    missing: str = NOT_GIVEN
    quiet: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Describe the field, all but its values."""
        kind = "category" if "names" in self.facts else "numbers"
        about: dict[str, Any] = {"key": self.key, "title": self.title, "group": self.group, "kind": kind}
        about |= {"missing": self.missing, "wide": self.values.dtype == np.uint16, "quiet": self.quiet}
        return about | self.facts


def category(
    adata: ad.AnnData, column: str, *, title: str, missing: str = NOT_GIVEN, quiet: bool = False
) -> Field:
    """Take a column of ``obs`` as categories, with their colors in every figure."""
    values = adata.obs[column]
    color, known = _slots._colors(adata, column, None), values.notna().to_numpy()
    text = values.astype(str)
    present = set(text[known])
    names = [c for c in categories(values) if c in present]
    if UNKNOWN in names:  # the last of the legend
        names = [*(c for c in names if c != UNKNOWN), UNKNOWN]
    codes = pd.Categorical(text.where(values.notna()), categories=names).codes
    few = len(names) < ABSENT
    found = np.where(codes < 0, ABSENT if few else NOWHERE, codes)
    colors = [OTHER if c == UNKNOWN else color.get(c, OTHER)[:7] for c in names]
    facts = {"names": names, "colors": colors}
    coded: NDArray[np.uint8] | NDArray[np.uint16]
    coded = found.astype(np.uint8) if few else found.astype(np.uint16)
    return Field(column, title, CELLS, coded, facts, missing, quiet)


def numbers(
    key: str,
    values: NDArray,
    *,
    title: str,
    group: str = VALUES,
    missing: str = NOT_GIVEN,
    about: str = "",
    ends: tuple[float, float] | None = None,
    quiet: bool = False,
) -> Field:
    """Take numbers, NaN where unknown, on a scale from ``ends`` or :func:`common_ends`."""
    values = np.asarray(values, float)
    low, high = common_ends(values) if ends is None else ends
    above = bool((values[np.isfinite(values)] > high * (1 + 1e-9)).any())
    facts = {"low": float(low), "high": float(high), "above": above, "about": about}
    return Field(key, title, group, levels(values, low, high), facts, missing, quiet)


def of_cells(adata: ad.AnnData, *, label_key: str | None, slice_key: str, also: Iterable[str]) -> list[Field]:
    """Find the columns to color by: those that lloki writes, the label, those asked for, and a few others.

    A column that says the same as one before it, such as the technology where each slice has its own, is left
    out.
    """
    known = dict(_CATEGORIES)
    known[slice_key] = ("slice", NOT_GIVEN)
    if label_key is not None:
        label = {label_key: known.get(label_key, (label_key.replace("_", " "), NOT_GIVEN))}
        known = {keys.CLUSTER: known[keys.CLUSTER], **label, **known}
    found: list[Field] = []
    others = [c for c in also if c not in known and c not in _NUMBERS]
    for column in [*known, *_NUMBERS, *others, *_others(adata, {*known, *_NUMBERS, *others})]:
        if column not in adata.obs:
            continue
        values = adata.obs[column]
        if column in _NUMBERS or (column in others and _is_number(values)):
            title, missing = _NUMBERS.get(column, (column, NOT_GIVEN))
            ends = (0.0, 1.0) if column in _SHARES else None
            if values.notna().any():
                numeric = values.to_numpy(float, na_value=np.nan)
                found.append(numbers(column, numeric, title=title, missing=missing, ends=ends))
            continue
        title, missing = known.get(column, (column.replace("_", " "), NOT_GIVEN))
        if column == keys.FLAG and not (values.astype(str) != "").any():
            continue
        quiet = column in (slice_key, keys.TECHNOLOGY) or column not in {*known, *others}
        field = category(adata, column, title=title, missing=missing, quiet=quiet)
        if not any(_same(field, before) for before in found):
            found.append(field)
    return found


def _others(adata: ad.AnnData, taken: set[str]) -> list[str]:
    """Columns of the input that hold kinds of cells, the first few."""
    ours = {keys.SAMPLE, keys.PANEL, keys.TOKEN, keys.LABEL_BEST, keys.MATCH}
    names = [
        c
        for c in map(str, adata.obs)
        if c not in taken | ours
        and not c.endswith(keys.INPUT_SUFFIX)
        and isinstance(adata.obs[c].dtype, pd.CategoricalDtype)
        and 1 < adata.obs[c].nunique() <= _MOST_KINDS
    ]
    return names[:_MOST_OTHERS]


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _same(one: Field, other: Field) -> bool:
    """Whether two categories part the cells in the same way."""
    if "names" not in one.facts or "names" not in other.facts:
        return False
    pairs = pd.DataFrame({"a": one.values, "b": other.values}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()


def of_programs(adata: ad.AnnData) -> list[Field]:
    """Take the states of cells in gene programs, if there are any."""
    if keys.METAGENES not in adata.obsm:
        return []
    states = np.asarray(adata.obsm[keys.METAGENES])
    return [
        numbers(f"metagene{i + 1}", x, title=f"metagene {i + 1}", group=PROGRAMS, about="State", quiet=True)
        for i, x in enumerate(states.T)
    ]


def of_genes(adata: ad.AnnData, genes: Sequence[str], *, slice_key: str, label: str = "") -> Iterable[Field]:
    """Take genes, one after another; cells of slices that did not measure one have no value."""
    wanted = [g for g in dict.fromkeys(genes) if g in adata.var_names]
    values, unit = _slots.expressions(adata, wanted, layer=None, slice_key=slice_key)
    for gene, x in zip(wanted, values):
        if np.isfinite(x).any():
            yield numbers(
                gene, x, title=gene, group=GENES, missing=NOT_MEASURED, about=label or unit, quiet=True
            )
