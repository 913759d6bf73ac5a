"""The ``obs`` of a slice as arrays that the store can hold, and back, every value and type kept.

Of a table as :mod:`lloki.io` gives it: numbers, booleans, text and categories. Text is kept as its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def table_arrays(frame: pd.DataFrame) -> Arrays:
    """Arrays of a table (n rows), for `lloki.run.store.write_arrays`; `table_of` reads them."""
    index = list(map(str, frame.index))
    arrays, kinds = _text("index", index), []
    for i, name in enumerate(frame.columns):
        kind, own = _column(f"c{i}", frame[name])
        kinds.append([str(name), kind])
        arrays |= own
    about = {"rows": len(index), "columns": kinds, "index_name": frame.index.name}
    return arrays | {"about": np.array(json.dumps(about, default=str))}


def table_of(arrays: Arrays) -> pd.DataFrame:
    """Table of what `table_arrays` made."""
    about = json.loads(str(arrays["about"]))
    columns: dict[str, Any] = {}
    for i, (name, kind) in enumerate(about["columns"]):
        columns[name] = _read(arrays, f"c{i}", kind)
    index = pd.Index(_texts(arrays, "index"), dtype=object, name=about["index_name"])
    frame = pd.DataFrame(columns, index=index, copy=False)
    frame.columns = pd.Index(list(columns), dtype=object)
    return frame


def _column(key: str, column: pd.Series) -> tuple[dict[str, Any], Arrays]:
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        kind, arrays = _column(f"{key}_names", pd.Series(dtype.categories))
        arrays[f"{key}_codes"] = column.cat.codes.to_numpy(np.int32)
        return {"categories": kind, "ordered": bool(dtype.ordered)}, arrays
    if pd.api.types.is_extension_array_dtype(dtype) and (
        pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)
    ):
        own = getattr(dtype, "numpy_dtype", np.dtype(object))
        missing = column.isna().to_numpy()
        values = column.fillna(False if own.kind == "b" else 0).to_numpy(dtype=own)
        return {"masked": str(own)}, {f"{key}_values": values, f"{key}_missing": missing}
    if not pd.api.types.is_object_dtype(dtype) and not pd.api.types.is_extension_array_dtype(dtype):
        return {"numbers": str(dtype)}, {f"{key}_values": column.to_numpy()}
    codes, names = pd.factorize(column.where(column.notna(), None))
    arrays = _text(f"{key}_names", list(map(str, names)))
    return {"text": str(dtype)}, arrays | {f"{key}_codes": codes.astype(np.int32)}


def _read(arrays: Arrays, key: str, kind: dict[str, Any]) -> Any:
    if "categories" in kind:
        names = pd.Index(_read(arrays, f"{key}_names", kind["categories"]))
        codes = arrays[f"{key}_codes"]
        return pd.Categorical.from_codes(codes, categories=names, ordered=kind["ordered"])
    if "masked" in kind:
        values, missing = arrays[f"{key}_values"], arrays[f"{key}_missing"]
        made = pd.arrays.BooleanArray if values.dtype == bool else pd.arrays.IntegerArray
        return made(values, missing)
    if "numbers" in kind:
        return arrays[f"{key}_values"]
    names = np.array([*_texts(arrays, f"{key}_names"), None], dtype=object)
    return names[arrays[f"{key}_codes"]]  # -1: missing


def _text(key: str, values: Sequence[str]) -> Arrays:
    """Keep text as bytes and where each value ends: an array of text would be as wide as the longest."""
    encoded = [value.encode("utf-8", "surrogatepass") for value in values]
    ends = np.cumsum([len(value) for value in encoded], dtype=np.int64)
    return {f"{key}_bytes": np.frombuffer(b"".join(encoded), np.uint8), f"{key}_ends": ends}


def _texts(arrays: Arrays, key: str) -> list[str]:
    joined, ends = arrays[f"{key}_bytes"].tobytes(), arrays[f"{key}_ends"].tolist()
    return [joined[a:b].decode("utf-8", "surrogatepass") for a, b in zip([0, *ends], ends)]
