# ruff: noqa: E501 -- a table, one kind of bad input a line
"""Everything a user can get wrong in a file: corrected with a warning, or refused naming file, slot and fix."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from lloki import genes, io, keys
from lloki.errors import GeneError, InputError, LlokiWarning

Spoil = Callable[[AnnData], AnnData | None]


@dataclass
class Case:
    """A spoilt input. ``spoil`` changes a good AnnData, ``damage`` the file it was written to."""

    id: str
    spoil: Spoil = lambda adata: None
    damage: Callable[[Path], None] = lambda path: None
    options: dict[str, Any] = field(default_factory=dict)
    # refused:
    slot: str = ""
    what: str = ""
    hint: str = ""
    error: type[InputError] = InputError
    # corrected:
    says: str = ""
    then: Callable[[AnnData], bool] = lambda adata: True
    in_memory: bool = False  # cannot be written to a file, but can be held


def set_x(change: Callable[[np.ndarray], Any]) -> Spoil:
    def spoil(adata: AnnData) -> None:
        adata.X = change(adata.X.toarray())

    return spoil


def set_value(value: float) -> Spoil:
    def change(x: np.ndarray) -> np.ndarray:
        x[3, 4] = value
        return x

    return set_x(change)


def set_xy(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(adata: AnnData) -> None:
        adata.obsm["spatial"] = change(np.array(adata.obsm["spatial"]))

    return spoil


def put_xy(value: float) -> Spoil:
    def change(xy: np.ndarray) -> np.ndarray:
        xy[7, 1] = value
        return xy

    return set_xy(change)


def set_obs(**columns: Callable[[int], Any]) -> Spoil:
    def spoil(adata: AnnData) -> None:
        for name, make in columns.items():
            adata.obs[name] = make(adata.n_obs)

    return spoil


def set_names(axis: str, names: Callable[[list[str]], list[str]]) -> Spoil:
    def spoil(adata: AnnData) -> None:
        setattr(adata, f"{axis}_names", names(list(getattr(adata, f"{axis}_names"))))

    return spoil


def log_normalize(x: np.ndarray) -> np.ndarray:
    return np.log1p(x / x.sum(1, keepdims=True) * 1e4).astype(np.float32)


def with_layer(adata: AnnData) -> None:
    adata.layers["counts"] = adata.X.copy()
    adata.X = log_normalize(adata.X.toarray())


def with_raw(adata: AnnData) -> None:
    adata.raw = adata.copy()
    adata.X = log_normalize(adata.X.toarray())


def without_spatial(adata: AnnData) -> None:
    del adata.obsm["spatial"]
    adata.obs["x_centroid"], adata.obs["y_centroid"] = 1.0, 2.0


def put_spatial(path: Path, values: np.ndarray) -> None:
    with h5py.File(path, "a") as file:
        attrs = dict(file["obsm/spatial"].attrs)
        del file["obsm/spatial"]
        file["obsm"].create_dataset("spatial", data=values).attrs.update(attrs)


def put_text_in_x(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["X"]
        file.create_dataset("X", data=np.full((80, 24), "many", dtype=h5py.string_dtype()))
        file["X"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["obs"].attrs["column-order"]
        del file["X/indptr"]


def make_10x(path: Path) -> None:
    path.unlink()
    with h5py.File(path, "w") as file:
        file["matrix/data"] = np.arange(3)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "transcripts.parquet").write_bytes(b"")


def ensembl(names: list[str]) -> list[str]:
    return [f"ENSMUSG{i:011d}.{i % 9}" for i in range(len(names))]


def unused_levels(adata: AnnData) -> None:
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.add_categories(["Astro", "Micro"])
    # anndata writes what it is given, unused levels and all
    assert len(adata.obs["cell_type"].cat.categories) == 5


def symbols_in_column(adata: AnnData) -> None:
    adata.var["feature_name"] = list(adata.var_names)
    adata.var_names = ensembl(list(adata.var_names))


def with_controls(adata: AnnData) -> AnnData:
    extra = AnnData(
        np.ones((adata.n_obs, 2), np.float32), obs=adata.obs, var=pd.DataFrame(index=["Blank-1", "NegPrb3"])
    )
    return anndata.concat([adata, extra], axis=1, merge="first", uns_merge="first")


def empty_cells(x: np.ndarray) -> np.ndarray:
    x[[2, 5]] = 0
    return x


def empty_genes(x: np.ndarray) -> np.ndarray:
    x[:, 3] = 0
    return x


def two_technologies(adata: AnnData) -> None:
    del adata.uns["technology"]
    adata.obs["technology"] = ["A"] + ["B"] * (adata.n_obs - 1)


SPATIAL = "obsm['spatial']"
NASTY = "<script>alert(1)</script> Zellköper 细胞"

REFUSED = [
    # positions
    Case("no spatial", without_spatial, slot=SPATIAL, what="is missing", hint=r"x_centroid.*to_numpy"),
    Case("NaN coordinates", put_xy(np.nan), slot=SPATIAL, what="NaN or infinite for 1 cell .cell7", hint="remove"),
    Case("infinite coordinates", put_xy(np.inf), slot=SPATIAL, what="NaN or infinite for 1 cell", hint="remove"),
    Case("1-D coordinates", damage=lambda p: put_spatial(p, np.arange(80.0)), slot=SPATIAL, what=r"shape \(80,( 1)?\)", hint="x and y"),
    Case("mismatched coordinates", damage=lambda p: put_spatial(p, np.ones((79, 2))), slot=SPATIAL, what="79 rows but obs has 80", hint="one row a cell"),
    Case("coordinates of four numbers", set_xy(lambda xy: np.hstack([xy, xy])), slot=SPATIAL, what=r"shape \(80, 4\)", hint="x and y"),
    Case("identical coordinates", set_xy(np.ones_like), slot=SPATIAL, what="same for all cells", hint="real centroids"),
    Case("text coordinates", lambda a: a.obsm.update(spatial=pd.DataFrame({"x": ["a"] * 80, "y": ["b"] * 80}, index=a.obs_names)), slot=SPATIAL, what="not numbers", hint="numeric"),
    # values
    Case("negative counts", set_value(-2), slot="X", what="1 negative value .lowest -2", hint="raw counts"),
    Case("NaN value", set_value(np.nan), slot="X", what="NaN or infinite in 1 value", hint="missing measurement"),
    Case("infinite value", set_value(np.inf), slot="X", what="NaN or infinite", hint="missing measurement"),
    Case("text in X", damage=put_text_in_x, slot="X", what="not numbers", hint="astype"),
    Case("log-normalized", set_x(log_normalize), slot="X", what="log-normalized, not counts", hint="allow_normalized=True"),
    Case("log-normalized beside a layer of counts", with_layer, slot="X", what="log-normalized", hint="--layer counts"),
    Case("log-normalized beside raw counts", with_raw, slot="X", what="log-normalized", hint="--layer raw"),
    Case("scaled", set_x(lambda x: (x - x.mean(0)) / (x.std(0) + 1)), slot="X", what="looks scaled", hint="cannot be undone"),
    Case("scaled, whatever is allowed", set_x(lambda x: x - x.mean(0)), options={"allow_normalized": True}, slot="X", what="looks scaled", hint="raw counts"),
    Case("fractions", set_x(lambda x: x * np.random.default_rng(1).uniform(20, 90, x.shape)), slot="X", what="holds fractions", hint="allow_normalized"),
    Case("zeros only", set_x(np.zeros_like), slot="X", what="zeros only", hint="with counts"),
    Case("no X", lambda a: AnnData(obs=a.obs, var=a.var, obsm=dict(a.obsm), layers={"counts": a.X}), slot="X", what="is empty", hint="--layer counts"),
    # size
    Case("empty slice", lambda a: a[:0].copy(), slot="X", what="no cells", hint="Leave"),
    Case("no genes", lambda a: a[:, :0].copy(), slot="X", what="no genes", hint="Leave"),
    Case("one cell", lambda a: a[:1].copy(), slot="X", what="has 1 cell", hint="Leave"),
    # names and keys
    Case("numbered genes", set_names("var", lambda v: list(map(str, range(len(v))))), slot="var_names", what="neither symbols nor Ensembl", hint="gene_symbol", error=GeneError),
    Case("controls only", set_names("var", lambda v: [f"Blank-{i}" for i in range(len(v))]), slot="var_names", what="no feature measures a gene", hint="gene expression", error=GeneError),
    Case("unknown layer", options={"layer": "spliced"}, slot="layers", what="no layer 'spliced'", hint="leave layer out"),
    Case("unknown slice key", options={"slice_key": "section"}, slot="obs", what="no column 'section'", hint="slice_key one of: cell_type"),
    Case("unknown label key", options={"label_key": "celltype"}, slot="obs", what="no column 'celltype'", hint="label_key one of: cell_type"),
    Case("cells without section", set_obs(fov=lambda n: pd.Categorical([None, *["a"] * (n - 1)])), options={"slice_key": "fov"}, slot="obs['fov']", what="missing for 1 cell", hint="section"),
    Case("a section of one cell", set_obs(fov=lambda n: ["b", *["a"] * (n - 1)]), options={"slice_key": "fov"}, slot="obs['fov']", what="has 1 cell", hint="Leave"),
    Case("two technologies in one section", two_technologies, slot="obs['technology']", what="A, B in one section", hint="slice-key technology"),
    # files
    Case("missing file", damage=Path.unlink, what="does not exist", hint="path"),
    Case("truncated h5ad", damage=cut_short, what="damaged or cut short", hint="again"),
    Case("not an h5ad", damage=lambda p: p.write_text("cell,gene\n1,2\n") and None, what="not an .h5ad", hint="convert"),
    Case("empty file", damage=lambda p: p.write_bytes(b"") and None, what="0 bytes", hint="again"),
    Case("HDF5 of another kind", damage=make_10x, what="HDF5 but not AnnData: it holds matrix", hint="coordinates"),
    Case("damaged AnnData", damage=scramble, what="cannot be read as AnnData", hint="again"),
    Case("a folder without zarr", damage=make_folder, what="transcripts only .transcripts.parquet.", hint="Segment"),
]  # fmt: skip

CORRECTED = [
    Case("all-zero cells", set_x(empty_cells), says="2 cells without any count; kept", then=lambda a: list(a.obs_names[a.obs[keys.FLAG] == "no counts"]) == ["cell2", "cell5"] and a.n_obs == 80),
    Case("all-zero genes", set_x(empty_genes), says="1 gene without any count, kept .Gad2", then=lambda a: a.n_vars == 24),
    Case("duplicate obs names", set_names("obs", lambda v: [v[0], *v[:-1]]), says="obs_names repeats 1 name .cell0", then=lambda a: a.obs_names.is_unique and a.obs_names[0] == "cell0"),
    Case("duplicate var names", set_names("var", lambda v: [v[1], *v[1:]]), says="var_names repeats 1 name .Slc17a6", then=lambda a: list(a.var_names[:2]) == ["Slc17a6", "Slc17a6-1"]),
    Case("fewer cells than k", lambda a: a[:30].copy(), says="30 cells, too few for 40 neighbors", then=lambda a: a.n_obs == 30),
    Case("many cells at one position", set_xy(lambda xy: np.round(xy / 100)), says="positions for 80 cells"),
    Case("Ensembl with symbols in a column", symbols_in_column, says=r"var\['feature_name'\] .mouse symbols", then=lambda a: a.var_names[0] == "Slc17a7"),
    Case("blanks around a gene name", set_names("var", lambda v: [v[0] + " ", *v[1:]]), says="blanks around 1 gene name cut off .'Slc17a7 '", then=lambda a: a.var_names[0] == "Slc17a7"),
    Case("control probes", with_controls, says="2 features that measure no gene left out .Blank-1, NegPrb3", then=lambda a: a.n_vars == 24),
    Case("numeric labels", set_obs(cell_type=lambda n: np.arange(n) % 3), options={"label_key": "cell_type"}, says=r"labels in obs\['cell_type'\] are numbers", then=lambda a: list(a.obs["cell_type"].cat.categories) == ["0", "1", "2"]),
    Case("numeric labels with gaps", set_obs(cell_type=lambda n: [np.nan, *[1.0] * (n - 1)]), options={"label_key": "cell_type"}, says="are numbers", then=lambda a: list(a.obs["cell_type"].cat.categories) == ["1"] and a.obs["cell_type"].isna().sum() == 1),
    Case("labels of no cell", set_obs(cell_type=lambda n: [np.nan] * n), options={"label_key": "cell_type"}, says=r"no cell has a label in obs\['cell_type'\]", then=lambda a: a.obs["cell_type"].isna().all()),
    Case("labels of no cell, categorical", set_obs(cell_type=lambda n: pd.Categorical([np.nan] * n)), options={"label_key": "cell_type"}, says=r"^((?!are numbers).)*no cell has a label", then=lambda a: a.obs["cell_type"].isna().all() and not any("numbers" in m for m in a.uns["lloki"]["messages"])),
    Case("unused levels", unused_levels, says="obs 'cell_type' had categories that no row has; removed", then=lambda a: list(a.obs["cell_type"].cat.categories) == ["Exc", "Inh", "Oligo"]),
    Case("column named like ours", set_obs(slice=lambda n: ["mine"] * n), says=r"obs\['slice'\] has a name that lloki uses", then=lambda a: set(a.obs["slice_input"]) == {"mine"} and set(a.obs["slice"]) == {"bad"}),
    Case("column named like ours and its other name", set_obs(lloki_flag=lambda n: ["x"] * n, lloki_flag_input=lambda n: ["y"] * n), says="kept as obs", then=lambda a: set(a.obs["lloki_flag_input"]) == {"y"} and set(a.obs["lloki_flag_input_input"]) == {"x"}),
    Case("unicode and script in cell names", set_names("obs", lambda v: [NASTY, *v[1:]]), options={"slice_key": "cell_type"}, says="", then=lambda a: True),
    Case("script in a column's name", lambda a: a.obs.insert(0, NASTY, "ü"), says="made _ in <script>", then=lambda a: NASTY.replace("/", "_") in a.obs),
    Case("several sections in a file", set_obs(section=lambda n: np.repeat(["A", "B"], n // 2)), says="--slice-key section"),
    Case("no technology", lambda a: a.uns.clear(), says="no technology is given; its name 'bad'", then=lambda a: set(a.obs["technology"]) == {"bad"}),
    Case("volume-normalized", set_x(lambda x: x / np.linspace(100, 900, len(x))[:, None]), says="whole counts were recovered", then=lambda a: a.X.min() == 0 and (a.X.data % 1 == 0).all() and a.uns["lloki"]["scale"] == "counts"),
    Case("nearly whole counts", set_x(lambda x: np.where(x > 0, x + 1e-4, 0)), then=lambda a: bool((a.X.data % 1 == 0).all())),
    Case("some fractions", set_value(2.5), says="no whole number in 1 value; kept", then=lambda a: a.X[3, 4] == 2.5),
    Case("log-normalized, allowed", set_x(log_normalize), options={"allow_normalized": True}, says="accepted as asked; .* counts recovered", then=lambda a: (a.X.data % 1 == 0).all() and a.uns["lloki"]["scale"] == "log-normalized"),
    Case("mixed column", set_obs(mixed=lambda n: pd.Series([1, *["a"] * (n - 1)], dtype=object).to_numpy(), date=lambda n: pd.Timestamp("2024-05-01")), says=r"obs 'mixed', 'date' held values of mixed kinds or dates", then=lambda a: a.obs["mixed"].iloc[0] == "1", in_memory=True),
    Case("columns of one name", lambda a: setattr(a, "obs", pd.concat([a.obs, a.obs], axis=1)), says="several columns called cell_type", then=lambda a: {"cell_type", "cell_type-1"} <= set(a.obs), in_memory=True),
    Case("3-D coordinates", set_xy(lambda xy: np.hstack([xy, xy[:, :1]])), then=lambda a: a.obsm["spatial"].shape == (80, 3)),
    Case("integer coordinates", set_xy(lambda xy: xy.astype(int)), then=lambda a: a.obsm["spatial"].dtype == np.float64),
]  # fmt: skip


def prepare(case: Case, good: Callable[..., AnnData], folder: Path) -> Path | AnnData:
    adata = good()
    other = case.spoil(adata)
    adata = adata if other is None else other
    if case.in_memory:
        return adata
    path = folder / "bad.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            adata.write_h5ad(path)
        except ValueError as error:  # anndata 0.13 no longer writes such names
            pytest.skip(f"anndata does not write such a file: {error}")
    case.damage(path)
    return path


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_refused_naming_file_slot_and_fix(case: Case, good: Callable[..., AnnData], tmp_path: Path) -> None:
    path = prepare(case, good, tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(case.error) as caught:
        io.read_slices([path], **case.options)
    error = caught.value
    assert error.where.startswith(str(path))
    assert error.slot == case.slot
    assert re.search(case.what, error.what), error.what
    assert re.search(case.hint, error.hint), error.hint
    assert str(path) in str(error)
    assert sorted(tmp_path.iterdir()) == before

    checks = io.check_slices([path], **case.options)
    assert str(error) in [message for check in checks for message in check.errors]
    assert not all(check.ok for check in checks)


@pytest.mark.parametrize("case", CORRECTED, ids=lambda case: case.id)
def test_mended_with_a_stated_warning(case: Case, good: Callable[..., AnnData], tmp_path: Path) -> None:
    source = prepare(case, good, tmp_path)
    where = "slice1" if case.in_memory else str(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, to anndata
        slices = io.read_slices([source], **case.options)
    reported = [str(warning.message) for warning in caught]
    assert all(warning.category is LlokiWarning for warning in caught), reported
    assert case.then(slices[0])
    if case.says:
        found = [message for message in reported if re.search(case.says, message)]
        assert found, reported
        assert found[0].startswith(where)
        assert found[0] in slices[0].uns["lloki"]["messages"]
        assert found[0] in io.check_slices([source], **case.options)[0].warnings
    for number, slice_ in enumerate(
        slices
    ):  # whatever was corrected can be written and read again, and is then good
        slice_.write_h5ad(tmp_path / f"{number}.h5ad")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what was reported before is not reported again
            warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, to anndata
            again = io.read_slices([anndata.read_h5ad(tmp_path / f"{number}.h5ad")], **case.options)[0]
        assert io.content_hash(again) == io.content_hash(slice_)


def test_a_good_slice_says_nothing(good: Callable[..., AnnData], tmp_path: Path) -> None:
    good().write_h5ad(tmp_path / "good.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, to anndata
        (check,) = io.check_slices([tmp_path / "good.h5ad"], label_key="cell_type")
        io.read_slices([tmp_path / "good.h5ad"], label_key="cell_type")
    assert check.ok
    assert check.warnings == []
    assert (check.name, check.cells, check.genes, check.scale) == ("good", 80, 24, "counts")
    assert (check.ids, check.species, check.technology) == ("symbol", "mouse", "MERFISH")


def test_check_lists_all_errors_of_a_file(good: Callable[..., AnnData], tmp_path: Path) -> None:
    adata = good()
    put_xy(np.nan)(adata)
    set_value(np.nan)(adata)
    adata.write_h5ad(tmp_path / "bad.h5ad")
    (check,) = io.check_slices([tmp_path / "bad.h5ad"])
    assert len(check.errors) == 2
    assert check.cells == 80


def test_unreadable_file(
    good: Callable[..., AnnData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "locked.h5ad"
    good().write_h5ad(path)

    def deny(name: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(h5py, "File", deny)  # a test run as root may read anything
    with pytest.raises(InputError, match="may not be read") as caught:
        io.read_slices([path])
    assert caught.value.where == str(path)
    assert "chmod" in caught.value.hint


@pytest.mark.parametrize(
    ("names", "what", "hint"),
    [
        (
            [f"ENSMUSG{i:011d}" for i in range(24)],
            "mouse symbols against mouse Ensembl ids",
            "same kind of names",
        ),
        (
            ["GAD1", "GAD2", "SST", "VIP", "MBP", "PLP1"],
            "mouse symbols against human symbols",
            "mouse reference",
        ),
        (["Abca1", "Abca2", "Abca3", "Abca4"], "0 of 24 genes", "same species"),
    ],
    ids=["Ensembl against symbols", "mouse against human symbols", "no gene in common"],
)
def test_reference_that_does_not_fit(
    good: Callable[..., AnnData], tmp_path: Path, names: list[str], what: str, hint: str
) -> None:
    good().write_h5ad(tmp_path / "s.h5ad")
    AnnData(np.ones((5, len(names)), np.float32), var=pd.DataFrame(index=names)).write_h5ad(
        tmp_path / "r.h5ad"
    )
    slice_ = io.read_slices([tmp_path / "s.h5ad"])[0]
    reference = io.read_reference(tmp_path / "r.h5ad")
    with pytest.raises(GeneError) as caught:
        genes.match_reference(
            slice_.var_names,
            reference.var_names,
            where=str(tmp_path / "s.h5ad"),
            reference_name=str(tmp_path / "r.h5ad"),
        )
    error = caught.value
    assert error.where.endswith("s.h5ad")
    assert error.slot == "var_names"
    assert what in error.what
    assert "r.h5ad" in error.what
    assert hint in error.hint


def test_reference_without_counts(good: Callable[..., AnnData], tmp_path: Path) -> None:
    adata = good()
    adata.X = log_normalize(adata.X.toarray())
    adata.write_h5ad(tmp_path / "reference.h5ad")
    with pytest.raises(InputError, match="log-normalized, not counts") as caught:
        io.read_reference(tmp_path / "reference.h5ad")
    assert caught.value.where == str(tmp_path / "reference.h5ad")
    assert caught.value.slot == "X"
    with pytest.warns(LlokiWarning, match="counts recovered"):
        recovered = io.read_reference(tmp_path / "reference.h5ad", allow_normalized=True)
    assert (recovered.X != good().X).nnz == 0
