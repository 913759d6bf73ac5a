"""The cells of an input: names, positions, columns, and the sections they are in."""

from __future__ import annotations

import difflib
import re

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique

from lloki import keys
from lloki._missing import stands_for_missing
from lloki.errors import InputError
from lloki.io._findings import Findings, number, some
from lloki.io._overlap import codes_of, on_one_another
from lloki.io.files import misfit_error
from lloki.io.frames import as_text, tidy

_POSITION = re.compile(
    r"(.*[_.])?[xy]([_.](centroid|coord|location|position|micron|um|px).*)?|center_[xy]", re.IGNORECASE
)
_FEW_LABELS = 20  # labeled cells, of which any number of types is possible
# a column of one coordinate; a pixel's row is its y
_AXIS = re.compile(r"(?:.*[_.\s])?([xyz]|(?:image)?(?:row|col|column))(?:[_.\s].*)?", re.IGNORECASE)
_SECTIONS = (
    "slice",
    "slice_id",
    "section",
    "section_id",
    "library_id",
    "sample_id",
    "bregma",
    "brain_section_label",
)
# names that sections have too, besides much else; taken for them only where their cells lie on one another
_MAY_BE_SECTIONS = frozenset(
    {
        *(
            "batch",
            "donor",
            "donor_id",
            "core",
            "roi",
            "slide",
            "slide_id",
            "orig.ident",
            "orig_ident",
            "sample",
        ),
        *(
            "patient",
            "patient_id",
            "animal",
            "animal_id",
            "mouse",
            "mouse_id",
            "specimen",
            "replicate",
            "tma",
        ),
        *("dataset", "library", "image", "image_id", "well", "run", "sample_name", "capture_area"),
    }
)


def read_coordinates(adata: AnnData, findings: Findings) -> np.ndarray:
    """Positions of all cells: float64 (n, 2) or (n, 3), finite.

    Corrected, with a message: a table whose columns are named in another order than x, y, z, or hold more.

    Raises
    ------
    InputError
        If ``obsm['spatial']`` is missing (the message names columns that look like positions), is not a table
        of two or three numbers a cell, or holds NaN or infinite values.
    """
    slot, where = f"obsm['{keys.SPATIAL}']", findings.where
    if keys.SPATIAL not in adata.obsm:
        near = [str(name) for name in adata.obs.columns if _POSITION.fullmatch(str(name))]
        near_obsm = [name for name in adata.obsm if "spatial" in name.lower() or "coord" in name.lower()]
        if near_obsm:
            hint = (
                f"obsm['{near_obsm[0]}'] may hold them: adata.obsm['spatial'] = adata.obsm['{near_obsm[0]}']."
            )
        elif len(near) >= 2:
            hint = f"obs has {some(near)}: adata.obsm['spatial'] = adata.obs[{near[:2]}].to_numpy()."
        else:
            hint = "Put the cells' centroids there, (cells, 2) or (cells, 3)."
        raise InputError("is missing", where=where, slot=slot, hint=hint)
    values = adata.obsm[keys.SPATIAL]
    if isinstance(values, pd.DataFrame):
        values = _in_order(values, slot, findings)
    if np.ma.is_masked(values):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        if np.iscomplexobj(values):
            raise ValueError("complex numbers")
        coords = np.array(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"holds values that are not numbers ({error})",
            where=where,
            slot=slot,
            hint="Give numeric centroids.",
        ) from error
    if coords.shape[0] != adata.n_obs:
        raise misfit_error(where, slot, coords.shape[0], adata.n_obs)
    if coords.ndim != 2 or coords.shape[1] not in (2, 3):
        raise InputError(
            f"has shape {coords.shape}, not (cells, 2) or (cells, 3)",
            where=where,
            slot=slot,
            hint="Give the x and y (and z) of each cell's centroid, one row a cell.",
        )
    bad = ~np.isfinite(coords).all(axis=1)
    if bad.any():
        raise InputError(
            f"is NaN or infinite for {number(int(bad.sum()), 'cell')} ({some(adata.obs_names[bad], 3)})",
            where=where,
            slot=slot,
            hint="Give their positions, or remove them: adata[np.isfinite(adata.obsm['spatial']).all(1)].",
        )
    return coords


def _in_order(table: pd.DataFrame, slot: str, findings: Findings) -> pd.DataFrame:
    """Columns of a table of positions as x, y, z, where their names say which is which."""
    axes = [_axis(str(name)) for name in table.columns]
    order = sorted((i for i, axis in enumerate(axes) if axis), key=lambda i: axes[i])
    if [axes[i] for i in order] not in (["x", "y"], ["x", "y", "z"]) or order == list(range(len(axes))):
        return table
    read_as = ", ".join(axes[i] for i in order)
    findings.corrected(f"{slot} has its columns as {some(table.columns)}; read as {read_as}")
    return table.iloc[:, order]


def _axis(name: str) -> str:
    """Coordinate that a column's name says it is, ``""`` if none."""
    match = _AXIS.fullmatch(name)
    if match is None:
        return ""
    word = match[1].lower()
    return "y" if word.endswith("row") else "x" if "col" in word else word


def read_obs(adata: AnnData, findings: Findings, *, label_key: str | None = None) -> pd.DataFrame:
    """All columns of ``obs`` under unique cell names, in a form that can be written again.

    Corrected, with a message: repeated cell names (``-1``, ``-2``… from the second on, as scanpy does), a
    label column of numbers (made categorical) or without any value, and what :func:`lloki.io.frames.tidy`
    fixes.
    """
    obs = tidy(adata.obs, "obs", findings)
    names = pd.Index([str(name) for name in obs.index], dtype=object)
    if not names.is_unique:
        repeated = names[names.duplicated()].unique()
        what = f"{number(len(repeated), 'name')} ({some(repeated)})"
        findings.corrected(f"obs_names repeats {what}; made unique with -1, -2… as scanpy does")
        names = make_index_unique(names)
    obs.index = names
    if label_key is not None and label_key in obs.columns:
        obs[label_key] = _labels(_stripped(_without_words(obs[label_key], findings), findings), findings)
    return obs


def has_column(adata: AnnData, key: str, findings: Findings, *, parameter: str) -> bool:
    """Whether ``obs`` has a column; if not, a message (another input of the same call may have it)."""
    if key in adata.obs.columns:
        return True
    near = difflib.get_close_matches(key, list(map(str, adata.obs.columns)), n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    findings.corrected(f"obs has no column {key!r}{guess}; {parameter} is not used here")
    return False


def missing_column(columns: list[str], key: str, where: str, parameter: str) -> InputError:
    """Error for a column that none of the inputs has."""
    return InputError(
        f"has no column {key!r}, nor has any other input",
        where=where,
        slot="obs",
        hint=f"Give {parameter} one of: {some(columns, 12)}.",
    )


def section_column(obs: pd.DataFrame) -> pd.Series | None:
    """Column that by its name holds sections, if it has several values."""
    for name in _SECTIONS:
        found = next((c for c in obs.columns if str(c).lower() == name), None)
        if found is not None and 1 < obs[found].nunique() <= max(2, len(obs) // 2):
            return obs[found]
    return None


def _lying_on_one_another(obs: pd.DataFrame, coords: np.ndarray) -> pd.Series | None:
    """Column that may hold sections by its name and does by its cells' positions."""
    for name in obs.columns:
        codes = codes_of(obs[name]) if str(name).lower() in _MAY_BE_SECTIONS else None
        if codes is not None and on_one_another(coords, codes):
            return obs[name]
    return None


def split_sections(
    obs: pd.DataFrame, findings: Findings, *, slice_key: str | None, coords: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Rows of each section, by its name; one section named ``""`` without a key.

    Raises
    ------
    InputError
        If some cells have no section.
    """
    if slice_key is None:
        column = section_column(obs)
        if column is None and coords is not None:
            column = _lying_on_one_another(obs, coords)
        if column is not None:
            found = column.name
            findings.corrected(
                f"obs['{found}'] has {column.nunique()} values but the file is read as one section; "
                f"if they are sections, pass slice_key={found!r} (--slice-key {found}), or cells of "
                "different sections become neighbors"
            )
        return {"": np.arange(len(obs))}
    if not len(obs):  # then refused for having no cells, rather than no sections at all
        return {"": np.arange(0)}
    column = obs[slice_key]
    missing = stands_for_missing(column, unknown=False)
    if missing.any():
        words = sorted(set(column[missing].dropna().astype(str)))
        as_what = f" ({some(map(repr, words))})" if words else ""
        raise InputError(
            f"is missing for {number(int(missing.sum()), 'cell')}{as_what}",
            where=findings.where,
            slot=f"obs['{slice_key}']",
            hint="Remove those cells, or give their sections.",
        )
    if pd.api.types.is_float_dtype(column.dtype):  # 0.1 + 0.2 and 0.3 are one section
        column = column.astype(float).map(lambda value: float(f"{value:.12g}"))
    text = _stripped(as_text(column), findings).to_numpy()
    return {str(name): np.flatnonzero(text == name) for name in sorted(set(text))}


def _without_words(column: pd.Series, findings: Findings) -> pd.Series:
    """Labels with missing values where text stands for one: ``nan`` after ``astype(str)``, ``Unknown``."""
    words = stands_for_missing(column) & column.notna().to_numpy()
    if not words.any():
        return column
    called = some(map(repr, sorted(set(column[words].astype(str)))))
    findings.corrected(
        f"{number(int(words.sum()), 'cell')} labeled {called} in obs['{column.name}']; taken as unlabeled"
    )
    column = column.mask(words)
    return column.cat.remove_unused_categories() if isinstance(column.dtype, pd.CategoricalDtype) else column


def _stripped(column: pd.Series, findings: Findings) -> pd.Series:
    """Names of groups without blanks around them, which make two groups of one."""
    padded = [v for v in column.dropna().unique() if isinstance(v, str) and v != v.strip()]
    if not padded:
        return column
    findings.corrected(f"blanks around {some(map(repr, padded))} in obs['{column.name}'] cut off")
    return column.astype(object).map(lambda v: v.strip() if isinstance(v, str) else v)


def are_names(labels: int, cells: int) -> bool:
    """Whether so many different labels of so many cells are names or measures of cells rather than types."""
    return 2 * labels > cells > _FEW_LABELS


def _labels(column: pd.Series, findings: Findings) -> pd.Series:
    if column.isna().all():
        findings.corrected(f"no cell has a label in obs['{column.name}']; used as a slice without labels")
        return column.astype(object).astype("category")  # the categories of NaN would be numbers
    if are_names(column.nunique(), int(column.notna().sum())):
        text = f"{column.nunique():,} labels for {number(int(column.notna().sum()), 'cell')}"
        findings.corrected(f"obs['{column.name}'] has {text}: names or measures of cells rather than types")
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if pd.api.types.is_numeric_dtype(values.dtype):
        findings.corrected(
            f"labels in obs['{column.name}'] are numbers; taken as names of {column.nunique()} groups"
        )
        whole = column.astype(values.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column
        return as_text(whole).astype("category")
    return column if isinstance(column.dtype, pd.CategoricalDtype) else as_text(column).astype("category")
