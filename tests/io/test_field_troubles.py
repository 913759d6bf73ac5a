# ruff: noqa: E501 -- tables, one trouble a line
"""Troubles that users of the field report (docs/troubles.md): corrected with a message, or refused with a hint."""

from __future__ import annotations

import bz2
import gzip
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from lloki import genes, io, keys
from lloki._parts import read_parts
from lloki.errors import ConfigError, InputError, LlokiError, LlokiWarning

Make = Callable[..., AnnData]
Change = Callable[[AnnData], Any]


def read(adata: Any, **options: Any) -> AnnData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        return io.read_slices([adata], samples=["s"], **options)[0]


def messages(adata: AnnData) -> str:
    return "\n".join(adata.uns[keys.UNS]["messages"])


def changed(adata: AnnData, change: Change) -> AnnData:
    other = change(adata)
    return other if isinstance(other, AnnData) else adata


def x(change: Callable[[np.ndarray], Any]) -> Change:
    return lambda a: setattr(a, "X", change(a.X.toarray()))


def xy(change: Callable[[np.ndarray], Any]) -> Change:
    return lambda a: a.obsm.__setitem__("spatial", change(np.array(a.obsm["spatial"])))


def names(change: Callable[[int, str], str]) -> Change:
    return lambda a: setattr(a, "var_names", [change(i, n) for i, n in enumerate(a.var_names)])


def column(values: Callable[[int], Any], name: str = "c") -> Change:
    return lambda a: a.obs.__setitem__(name, values(a.n_obs))


def with_features(adata: AnnData, values: dict[str, float]) -> AnnData:
    """Add features of one value each, before and after the genes."""
    more = {name: np.full((adata.n_obs, 1), value) for name, value in values.items()}
    first, *rest = more.values()
    wide = np.hstack([first, adata.X.toarray(), *rest])
    own = [*list(values)[:1], *adata.var_names, *list(values)[1:]]
    return AnnData(
        wide, obs=adata.obs, var=pd.DataFrame(index=own), obsm=dict(adata.obsm), uns=dict(adata.uns)
    )


def twice_stored(values: np.ndarray) -> sparse.csr_matrix:
    """Each count in two halves: duplicates that add up."""
    half = sparse.csr_matrix(values / 2)
    rows = np.repeat(np.arange(len(values)), np.diff(half.indptr))
    order = np.argsort(np.concatenate([rows, rows]), kind="stable")
    data, columns = (np.concatenate([part, part])[order] for part in (half.data, half.indices))
    return sparse.csr_matrix((data, columns, half.indptr * 2), shape=values.shape)


def long_indices(values: np.ndarray) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix(values)
    matrix.indices, matrix.indptr = matrix.indices.astype("i8"), matrix.indptr.astype("i8")
    return matrix


SAME = {  # other forms of the same slice
    "float16": x(lambda v: v.astype("f2")),
    "int8": x(lambda v: v.astype("i1")),
    "uint64": x(lambda v: v.astype("u8")),
    "big-endian": x(lambda v: v.astype(">f4")),
    "longdouble": x(lambda v: v.astype(np.longdouble)),
    "CSC": x(sparse.csc_matrix),
    "csr_array": x(sparse.csr_array),
    "csc_array": x(sparse.csc_array),
    "duplicates in CSR": x(twice_stored),
    "int64 indices": x(long_indices),
    "dask": x(lambda v: da.from_array(v, chunks=(20, 24))),
    "dask of sparse": x(lambda v: da.from_array(v, chunks=(20, 24)).map_blocks(sparse.csr_matrix)),
    "positions in dask": xy(lambda v: da.from_array(v)),
    "sparse positions": xy(sparse.csr_matrix),
    "positions in a table": lambda a: a.obsm.__setitem__("spatial", pd.DataFrame(a.obsm["spatial"], index=a.obs_names, columns=["x", "y"])),
    "index named like a column": lambda a: setattr(a.obs.index, "name", "cell_type"),
    "a view": lambda a: ad.concat([a, a])[: a.n_obs],
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
def test_other_forms_of_the_same_slice(good: Make, form: str) -> None:
    odd = changed(good(), SAME[form])
    odd.uns["technology"] = "MERFISH"
    assert io.content_hash(read(odd)) == io.content_hash(read(good()))


CORRECTED: dict[str, tuple[Change, dict[str, Any], str, bool]] = {  # change, options, message, whether the slice is as without it
    "y before x": (lambda a: a.obsm.__setitem__("spatial", pd.DataFrame(a.obsm["spatial"][:, ::-1], index=a.obs_names, columns=["y_um", "x_um"])), {}, "columns as y_um, x_um; read as x, y", True),
    "binarized": (x(lambda v: v > 0), {}, "all are 0 or 1: whether a gene was detected", False),
    "normalized and rounded": (x(lambda v: np.rint(v / v.sum(1, keepdims=True) * 1e4)), {}, "all cells add up to about 10,000", False),
    "one added to every count": (x(lambda v: v + 1), {}, "a constant may have been added", False),
    "counts cut off at 8 bits": (x(lambda v: np.minimum(v * 40, 255).astype("u1")), {}, "many are 255", False),
    "rows and columns of an image": (lambda a: a.obsm.__setitem__("spatial", pd.DataFrame(a.obsm["spatial"][:, ::-1], index=a.obs_names, columns=["imagerow", "imagecol"])), {}, "imagerow, imagecol; read as x, y", True),
    "a table with an id beside x and y": (lambda a: a.obsm.__setitem__("spatial", pd.DataFrame({"id": range(a.n_obs), "x": a.obsm["spatial"][:, 0], "y": a.obsm["spatial"][:, 1]}, index=a.obs_names)), {}, "read as x, y", True),
    "technology is a dict": (lambda a: a.uns.update(technology={"a": 1}), {}, "no technology is given", True),
    "a dash for a label": (column(lambda n: ["-", "A"] * (n // 2)), {"label_key": "c"}, "labeled '-'", True),
    "missing positions as 0, 0": (xy(lambda v: np.where(np.arange(80)[:, None] < 6, 0, v)), {}, r"puts 6 cells at \(0, 0\)", False),
    "missing positions as -9999": (xy(lambda v: np.where(np.arange(80)[:, None] < 2, -9999, v)), {}, "puts 2 cells far from all others", False),
    "one cell very far": (xy(lambda v: np.where(np.arange(80)[:, None] == 5, [1e9, 2e9], v)), {}, "puts 1 cell far from all others", False),
    "Visium spots": (lambda a: a.obs.assign(array_row=1, array_col=1).pipe(lambda o: setattr(a, "obs", o)), {}, "Visium's spots", True),
    "bytes made text": (names(lambda i, n: f"b'{n}'"), {}, "quotes, .* 24 gene names", True),
    "quoted by R": (names(lambda i, n: f'"{n}"'), {}, "quotes, .* 24 gene names", True),
    "byte order mark": (names(lambda i, n: "\ufeff" + n if i == 0 else n), {}, r"1 gene name \('.ufeffSlc17a7'\)", True),
    "zero-width space": (names(lambda i, n: n + "\u200b"), {}, "invisible characters", True),
    "no-break space": (names(lambda i, n: n + "\u00a0"), {}, "blanks around 24 gene names", True),
    "typographic dash": (names(lambda i, n: n.replace("-", "\u2013")), {}, "cut off 2 gene names", True),
    "symbol and id": (names(lambda i, n: f"{n}_ENSMUSG{i:011d}.{i}"), {}, "Ensembl ids", True),
    "id and symbol": (names(lambda i, n: f"ENSMUSG{i:011d}|{n}"), {}, "Ensembl ids", True),
    "genes without a name": (names(lambda i, n: ["nan", "", "NA"][i] if i < 3 else n), {}, "3 features that measure no gene left out", False),
    "measurements and stains beside genes": (lambda a: with_features(a, {"DAPI": 200.5, "area": 81.25, "n_counts": 90.0, "x": 1e4}), {}, "4 features that measure no gene left out", True),
    "letter case only": (names(lambda i, n: "GAD2" if i == 2 else n), {}, r"2 gene names differ from one another in letter case only \(GAD2, Gad2\)", False),
    "technology is text for none": (lambda a: a.uns.update(technology="nan"), {}, "no technology is given", True),
    "technology is NaN": (lambda a: a.uns.update(technology=np.nan), {}, "no technology is given", True),
    "blanks around sections": (column(lambda n: ["A", "A "] * (n // 2)), {"slice_key": "c"}, "blanks around 'A '", True),
    "blanks around labels": (column(lambda n: ["A", "A "] * (n // 2)), {"label_key": "c"}, "blanks around 'A '", True),
    "labels are names of cells": (column(lambda n: [f"x{i}" for i in range(n)]), {"label_key": "c"}, "80 labels for 80 cells", True),
    "a table of dates in obsm": (lambda a: a.obsm.__setitem__("o", pd.DataFrame({"day": pd.date_range("2024", periods=a.n_obs), "mixed": [1, "a"] * 40}, index=a.obs_names)), {}, "'day', 'mixed' held values of mixed kinds", True),
}  # fmt: skip


@pytest.mark.parametrize("trouble", CORRECTED)
def test_corrected_and_reported(good: Make, tmp_path: Path, trouble: str) -> None:
    change, options, says, same = CORRECTED[trouble]
    found = read(changed(good(), change), **options)
    assert re.search(says, messages(found)), messages(found)
    assert (io.content_hash(found) == io.content_hash(read(good()))) == same
    found.write_h5ad(tmp_path / "x.h5ad")


REFUSED: dict[str, tuple[Change, dict[str, Any], str, str]] = {
    "masked counts": (x(lambda v: np.ma.masked_greater(v, 3)), {}, "is masked in", "not a zero"),
    "masked positions": (xy(lambda v: np.ma.masked_greater(v, 400)), {}, "is NaN or infinite", "positions"),
    "complex positions": (xy(lambda v: v + 1j), {}, "not numbers", "numeric"),
    "x twice": (xy(lambda v: v[:, [0, 0]]), {}, "all cells on one line", "x and y"),
    "y constant": (xy(lambda v: v * [1, 0] + 7), {}, "all cells on one line", "x and y"),
    "a line but for one cell": (xy(lambda v: np.where(np.arange(80)[:, None] == 5, 1e7, v[:, [0, 0]])), {}, "all cells on one line", "x and y"),
    "too large to square": (xy(lambda v: v * 1e300), {}, "beyond what distances", "micrometers"),
    "too small to square": (xy(lambda v: v * 1e-200), {}, "beyond what distances", "micrometers"),
    "sections named nan": (column(lambda n: ["nan"] * 8 + ["A"] * (n - 8)), {"slice_key": "c"}, r"is missing for 8 cells \('nan'\)", "sections"),
    "log2 of sparse counts": (x(lambda v: np.log2(1 + np.where(np.arange(v.size).reshape(v.shape) % 23 == 0, 2, v > 0))), {}, "looks log-normalized", "raw counts"),
    "genes of several levels": (lambda a: setattr(a.var, "index", pd.MultiIndex.from_product([["g"], a.var_names])), {}, "several levels", "level with gene names"),
    "transposed": (names(lambda i, n: "".join(np.random.default_rng(i).choice(list("ACGT"), 16)) + "-1"), {}, "cell barcodes", "transpose"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", REFUSED)
def test_refused_with_a_hint(good: Make, trouble: str) -> None:
    change, options, what, hint = REFUSED[trouble]
    with pytest.raises(InputError) as caught:
        read(changed(good(), change), **options)
    assert re.search(what, caught.value.what)
    assert hint in caught.value.hint


def test_no_cells_to_cut_into_sections(good: Make) -> None:
    empty = changed(good(), column(lambda n: ["A"] * n))[:0].copy()
    with pytest.raises(InputError, match="no cells"):
        read(empty, slice_key="c")
    (check,) = io.check_slices([empty], slice_key="c")
    assert not check.ok


def test_sections_are_one_but_for_rounding(good: Make) -> None:
    odd = changed(good(), column(lambda n: [0.1 + 0.2, 0.3] * (n // 2)))
    assert len(io.read_slices([odd], slice_key="c", n_neighbors=5)) == 1


KINDS = {
    "complex": np.ones(80) * 1j,
    "mixed categories": pd.Categorical([1, "a"] * 40),
    "categories of tuples": pd.Categorical([(1, 2), (3, 4)] * 40),
    "lists": [[1]] * 80,
    "bytes": [b"a"] * 80,
    "nothing": [None] * 80,
    "nullable bool": pd.array([True, None] * 40, dtype="boolean"),
    "nullable float": pd.array([1.5, None] * 40, dtype="Float64"),
    "time zones": pd.date_range("2024", periods=80, tz="UTC"),
    "float16": np.ones(80, "f2"),
    "longdouble": np.ones(80, np.longdouble),
    "largest uint64": np.full(80, 2**64 - 1, dtype=np.uint64),
    "beyond 64 bits": [2**70] * 80,
    "lone surrogate": ["\ud800"] * 80,
    "zero byte": ["a\0b"] * 80,
    "text of pandas": pd.array(["a", None] * 40, dtype="string"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_any_kind_can_be_written(good: Make, tmp_path: Path, kind: str) -> None:
    found = read(changed(good(), column(lambda n: KINDS[kind])))
    found.write_h5ad(tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad")
    assert io.content_hash(found) == io.content_hash(read(good()))
    wanted = {
        "bytes": "a",
        "zero byte": "ab",
        "largest uint64": 2**64 - 1,
        "beyond 64 bits": str(2**70),
        "nullable float": 1.5,
    }
    if kind in wanted:
        assert back.obs["c"].iloc[0] == wanted[kind]
    assert back.obs["c"].isna().sum() == {
        "nothing": 80,
        "nullable bool": 40,
        "nullable float": 40,
        "text of pandas": 40,
    }.get(kind, 0)


def as_zip(path: Path) -> None:
    content = path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("s.h5ad", content)


def as_mudata(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["encoding-type"] = "MuData"
        file.create_group("mod/rna")


FILES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "Git LFS": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer", "git lfs pull"),
    "git-annex": (lambda p: p.write_text("/annex/objects/SHA256E-s1--ab.h5ad\n"), "git-annex pointer", "git annex get"),
    "web page": (lambda p: p.write_text("<!DOCTYPE html><html>403</html>"), "a web page", "Download it again"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(p.read_bytes())), "compressed with gzip", "gunzip"),
    "bzip2": (lambda p: p.write_bytes(bz2.compress(p.read_bytes())), "compressed with bzip2", "bunzip2"),
    "zip": (as_zip, "a zip archive", "unzip"),
    "MuData": (as_mudata, r"MuData: it holds several matrices \(rna\)", "mdata.mod"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_files_of_another_kind_are_named(good: Make, tmp_path: Path, kind: str) -> None:
    spoil, what, hint = FILES[kind]
    path = tmp_path / "s.h5ad"
    good().write_h5ad(path)
    spoil(path)
    with pytest.raises(InputError, match=what) as caught:
        io.read_slices([path])
    assert hint in caught.value.hint


@pytest.mark.parametrize("given", [5, [None], [pd.DataFrame()], {"a": 1}, [np.ones((2, 2))]])
def test_what_is_no_input_is_named(given: Any) -> None:
    with pytest.raises(ConfigError, match="must be a path or an AnnData, not"):
        io.read_slices(given)


@pytest.mark.parametrize("address", ["https://example.org/a.h5ad", "s3://bucket/a.zarr"])
def test_addresses_are_no_files(address: str) -> None:
    with pytest.raises(InputError, match="is an address"):
        io.read_slices([address])


def old_file(path: Path, adata: AnnData, *, sparse_format: bool) -> None:
    """As anndata 0.6 wrote: tables as compounds, categories in uns."""
    with h5py.File(path, "w") as file:
        if sparse_format:
            group = file.create_group("X")
            group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", adata.shape
            for name in ("data", "indices", "indptr"):
                group[name] = getattr(adata.X, name)
        else:
            file["X"] = adata.X.toarray()
        obs = np.zeros(adata.n_obs, dtype=[("index", "S10"), ("cell_type", "i8")])
        obs["index"], obs["cell_type"] = (
            [s.encode() for s in adata.obs_names],
            adata.obs["cell_type"].cat.codes,
        )
        var = np.array([(s.encode(),) for s in adata.var_names], dtype=[("index", "S20")])
        obsm = np.zeros(adata.n_obs, dtype=[("spatial", "f8", (2,))])
        obsm["spatial"] = adata.obsm["spatial"]
        file["obs"], file["var"], file["obsm"] = obs, var, obsm
        categories = adata.obs["cell_type"].cat.categories
        file["uns/cell_type_categories"] = np.array([s.encode() for s in categories])
        file["uns/technology"] = b"MERFISH"


@pytest.mark.parametrize("sparse_format", [False, True])
def test_files_of_old_versions(good: Make, tmp_path: Path, sparse_format: bool) -> None:
    old_file(tmp_path / "s.h5ad", good(), sparse_format=sparse_format)
    found = read(tmp_path / "s.h5ad", label_key="cell_type")
    assert io.content_hash(found) == io.content_hash(read(good()))
    assert list(found.obs["cell_type"]) == list(good().obs["cell_type"])
    assert set(found.obs["technology"]) == {"MERFISH"}


def test_genes_written_otherwise_are_named() -> None:
    panel, reference = (
        ["Gad1", "Gad2", "H2.K1", "X1700022I11Rik", "Sst"],
        ["Gad1", "Gad2", "H2-K1", "1700022I11Rik", "Sst"],
    )
    found = genes.match_reference(panel, reference, where="s")
    assert "2 of 5 genes are written otherwise" in found.diagnosis
    assert "H2.K1 here, H2-K1 there" in found.diagnosis
    assert genes.match_reference(panel[:2], reference, where="s").diagnosis == ""


def test_labels_that_differ_in_case_only_are_reported(good: Make) -> None:
    first, second = good(), good(seed=1)
    second.obs["cell_type"] = second.obs["cell_type"].astype(str).str.upper()
    checks = io.check_slices([first, second], label_key="cell_type")
    assert all(any("differ in case or punctuation only" in text for text in c.warnings) for c in checks)
    second.obs["cell_type"] = second.obs["cell_type"].str.capitalize()
    checks = io.check_slices([first, second], label_key="cell_type")
    assert not any("differ in case" in text for c in checks for text in c.warnings)


def test_a_slice_given_twice_is_reported(good: Make, tmp_path: Path) -> None:
    from lloki.io import ReadOptions
    from lloki.run._plan import check_inputs

    for name in ("a", "b"):
        good().write_h5ad(tmp_path / f"{name}.h5ad")
    good(seed=1).write_h5ad(tmp_path / "c.h5ad")
    checked = check_inputs([tmp_path / f"{n}.h5ad" for n in "abc"], ReadOptions())
    same = ["is the same as a" in "\n".join(c.warnings) for c in checked.slices]
    assert same == [False, True, False]


def integrated(good: Make) -> AnnData:
    """As an integration of two panels writes it; the last gene of b is measured and never counted."""
    parts = {"a": good(60)[:, :20].copy(), "b": good(60, seed=1)[:, 8:].copy()}
    for name, part in parts.items():
        part.X[:, -1 if name == "b" else 0] *= name != "b"
        part.obs["slice"], part.obs_names = name, [f"{name}{i}" for i in range(part.n_obs)]
    joint = ad.concat(list(parts.values()), join="outer")
    joint.varm[keys.MEASURED] = np.stack([joint.var_names.isin(p.var_names) for p in parts.values()], axis=1)
    joint.uns = {keys.UNS: {"slices": list(parts)}, "technology": "MERFISH"}
    return joint


def test_an_integration_read_again_has_the_genes_it_recorded(good: Make) -> None:
    found = io.read_slices([integrated(good)], slice_key="slice", samples=["s"])
    assert [s.n_vars for s in found] == [20, 16]
    assert not any("recorded" in str(name) for s in found for name in s.var.columns)


def test_what_was_measured_survives_a_join_with_other_slices(good: Make) -> None:
    joint = integrated(good)
    more = good(40, seed=2)
    more.obs["slice"], more.obs_names = "c", [f"c{i}" for i in range(40)]
    more.var_names = [*more.var_names[:-2], "Drd1", "Drd2"]
    both = ad.concat([joint, more], join="outer", merge="first", uns_merge="first")
    panels = {part.name: part.counts()[1] for part in read_parts(both)}
    assert (len(panels["a"]), len(panels["b"]), len(panels["c"])) == (20, 16, 24)
    assert not {"Drd1", "Drd2"} & {*panels["a"], *panels["b"]}
    del both.uns[keys.UNS]["slices"]
    assert len({part.name: part.counts()[1] for part in read_parts(both)}["c"]) == 24


@pytest.mark.parametrize("word", [np.nan, "nan", ""])
def test_cells_without_a_slice_are_no_slice(good: Make, word: Any) -> None:
    joint = integrated(good)
    joint.obs["slice"] = joint.obs["slice"].astype(object)
    joint.obs.loc[joint.obs_names[:3], "slice"] = word
    with pytest.raises(LlokiError, match="missing for 3 cells"):
        read_parts(joint)


@pytest.mark.skipif(os.sep != "/", reason="there it is the path")
def test_path_written_on_windows(good: Make, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    good().write_h5ad(tmp_path / "data" / "s.h5ad")
    with pytest.raises(InputError, match=r"does not exist. .*data/s.h5ad does: write / in place of"):
        io.read_slices([f"{tmp_path}/data\\s.h5ad"])
