"""Oddities of real files: controls in columns, text for missing labels, long ids, what files reserve."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from lloki import io, keys
from lloki.errors import InputError, LlokiWarning
from lloki.run._assemble import _column

Make = Callable[..., AnnData]
CONTROLS = ["Blank-1", "NegControlProbe_00042", " NegPrb3", "UnassignedCodeword_0001"]


def read(adata: AnnData, **options: Any) -> AnnData:
    """The one slice, and its messages are in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        (found,) = io.read_slices([adata], samples=["slice"], **options)
    return found


def messages(adata: AnnData) -> str:
    return "\n".join(adata.uns[keys.UNS]["messages"])


def with_features(adata: AnnData, var: pd.DataFrame) -> AnnData:
    more = np.ones((adata.n_obs, len(var) - adata.n_vars), dtype=np.float32)
    x = sparse.hstack([adata.X, sparse.csr_matrix(more)]).tocsr()
    return AnnData(x, obs=adata.obs, var=var, obsm=dict(adata.obsm), uns=dict(adata.uns))


@pytest.mark.parametrize(
    ("column", "index"),
    [
        ("gene", str),
        ("gene_name", lambda i: f"ENSMUSG{i:011d}"),
        ("feature_name", lambda i: f"ENSMUSG{i:011d}" if i < 24 else f"NA_{i}"),
    ],
)
@pytest.mark.parametrize("categorical", [False, True])
def test_controls_named_in_a_column_are_left_out(
    good: Make, column: str, index: Callable[[int], str], categorical: bool
) -> None:
    plain = good()
    names = [*plain.var_names, *CONTROLS]
    values = pd.Categorical(names) if categorical else names
    odd = with_features(plain, pd.DataFrame({column: values}, index=[index(i) for i in range(len(names))]))
    found = read(odd)
    assert list(found.var_names) == list(plain.var_names)
    assert io.content_hash(found) == io.content_hash(read(plain))
    assert "4 features that measure no gene left out (Blank-1" in messages(found)


@pytest.mark.parametrize(
    ("column", "gene", "other"),
    [
        ("feature_type", "Gene Expression", "Protein Expression"),
        ("CodeClass", "Endogenous", "SystemControl"),
        ("feature_biotype", "gene", "spike-in"),
    ],
)
def test_other_features_by_their_type(good: Make, column: str, gene: str, other: str) -> None:
    plain = good()
    names = [*plain.var_names, "Cd4", "Cd8a"]
    var = pd.DataFrame({column: [gene] * 24 + [other] * 2}, index=names)
    assert io.content_hash(read(with_features(plain, var))) == io.content_hash(read(plain))


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "NA", "None", "none", "<NA>", "", " ", "Unknown", "unassigned"]
)
@pytest.mark.parametrize("categorical", [False, True])
def test_text_for_a_missing_label_is_no_type(good: Make, word: str, categorical: bool) -> None:
    odd = good()
    labels = odd.obs["cell_type"].astype(str).to_numpy(dtype=object)
    labels[:30] = word
    odd.obs["cell_type"] = pd.Categorical(labels) if categorical else labels
    found = read(odd, label_key="cell_type")
    assert set(found.obs["cell_type"].cat.categories) == {"Exc", "Inh", "Oligo"}
    assert found.obs["cell_type"].isna().sum() == 30
    assert "30 cells labeled" in messages(found)
    assert list(found.obs["cell_type"][30:]) == list(labels[30:])


IDS = 3953998300007100772 + np.arange(5) * 17


@pytest.mark.parametrize(
    "others",
    [
        [None],
        [pd.Series([1.0, np.nan, 3.0])],
        [pd.Series([7, 8, 9], dtype=np.uint64)],
        [pd.Series([7, pd.NA, 9], dtype="Int64")],
        [pd.Series(["a", "b", "c"])],
        [pd.Series([0.5, 1.5, 2.5]), None],
    ],
)
def test_long_ids_keep_every_digit(others: list[pd.Series | None], tmp_path: Path) -> None:
    parts = [pd.Series(IDS), *others]
    column = _column(parts, [5] + [3] * len(others))
    frame = pd.DataFrame({"id": column}, index=[f"c{i}" for i in range(5 + 3 * len(others))])
    ad.AnnData(obs=frame).write_h5ad(tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad").obs["id"]
    assert [int(value) for value in back[:5]] == list(IDS)
    assert back.isna().sum() == sum(3 if part is None else int(part.isna().sum()) for part in others)


@pytest.mark.parametrize("top", [2**64 - 1, 2**63 + 5])
def test_unsigned_ids_beside_signed_ones(top: int) -> None:
    column = _column(
        [pd.Series([top, 1], dtype=np.uint64), pd.Series([2, 3], dtype=np.int64), None], [2, 2, 1]
    )
    assert [int(v) for v in pd.Series(column)[:4]] == [top, 1, 2, 3]
    column = _column([pd.Series([top, 1], dtype=np.uint64), pd.Series([-2, 3], dtype=np.int64)], [2, 2])
    assert list(column) == [str(top), "1", "-2", "3"]


def test_short_integers_stay_as_they_were() -> None:
    assert _column([pd.Series([1, 2]), None], [2, 1]).dtype == np.float64
    assert _column([pd.Series([1, 2]), pd.Series([IDS[0]])], [2, 1]).dtype == np.int64


def test_columns_that_no_file_can_hold_are_made_so_at_the_start(good: Make, tmp_path: Path) -> None:
    odd = good()
    n = odd.n_obs
    odd.obs["_index"] = [f"c{i}" for i in range(n)]
    odd.obs["bin"] = pd.cut(np.arange(n), 4)
    odd.obs["interval"] = pd.Series(
        pd.arrays.IntervalArray.from_breaks(np.arange(n + 1)), index=odd.obs_names
    )
    odd.obs["month"] = pd.Series(pd.period_range("2024-01", periods=n, freq="M"), index=odd.obs_names)
    odd.obs["took"] = pd.to_timedelta(np.arange(n), unit="h")
    odd.obs["rare"] = pd.arrays.SparseArray(np.zeros(n))
    odd.obs["day"] = pd.Categorical(pd.date_range("2024-01-01", periods=n))
    odd.var["_index"] = list(odd.var_names)
    found = read(odd)
    found.write_h5ad(tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad")
    assert list(back.obs["index_input"]) == [f"c{i}" for i in range(n)]
    assert back.obs["bin"].nunique() == 4
    assert back.obs["month"].iloc[1] == "2024-02"
    assert back.obs["day"].iloc[1].startswith("2024-01-02")
    assert "'_index'" in messages(found)
    assert "'bin'" in messages(found)
    assert io.content_hash(found) == io.content_hash(read(good()))


def sections(good: Make, **genes: list[int]) -> dict[str, AnnData]:
    """One section each, of some of the 24 genes."""
    found = {}
    for seed, (name, chosen) in enumerate(genes.items()):
        part = good(120, seed)[:, chosen].copy()
        part.obs["section"], part.obs_names = name, [f"{name}{i}" for i in range(part.n_obs)]
        found[name] = part
    return found


def cut(merged: AnnData) -> dict[str, AnnData]:
    merged.uns["technology"] = "MERFISH"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LlokiWarning)
        found = io.read_slices([merged], samples=["m"], slice_key="section")
    return {str(s.obs[keys.SLICE].iloc[0]).removeprefix("m:"): s for s in found}


@pytest.mark.parametrize(
    "panels",
    [
        {"a": list(range(24)), "b": list(range(12, 24))},
        {"a": list(range(16)), "b": list(range(8, 24)), "c": list(range(8, 24))},
        {"a": list(range(24)), "b": list(range(20))},
    ],
)
def test_sections_of_a_merged_file_have_the_genes_they_measured(
    good: Make, panels: dict[str, list[int]]
) -> None:
    parts = sections(good, **panels)
    found = cut(ad.concat(list(parts.values()), join="outer"))
    for name, part in parts.items():
        assert sorted(found[name].var_names) == sorted(part.var_names)
        np.testing.assert_array_equal(found[name][:, part.var_names].X.toarray(), part.X.toarray())
    assert len({s.obs[keys.PANEL].iloc[0] for s in found.values()}) == 2
    assert "not measured here" in messages(found["b"])


def test_few_genes_without_counts_and_small_sections_were_measured(good: Make) -> None:
    parts = sections(good, a=list(range(24)), b=list(range(23)))  # one gene: not expressed there
    merged = ad.concat(list(parts.values()), join="outer")
    assert cut(merged)["b"].n_vars == 24
    tiny = ad.concat([parts["a"], parts["b"][:2, :12]], join="outer")
    x = tiny.X.toarray()
    x[:120, 12:] *= (
        np.random.default_rng(0).random((120, 12)) < 0.05
    )  # rare genes: none of two cells is chance
    tiny.X = sparse.csr_matrix(x)
    assert cut(tiny)["b"].n_vars == 24


def test_a_mask_in_var_says_what_a_section_measured(good: Make) -> None:
    parts = sections(good, a=list(range(24)), b=list(range(23)))
    merged = ad.concat(list(parts.values()), join="outer")
    merged.var["measured_b"] = merged.var_names.isin(parts["b"].var_names)
    assert sorted(cut(merged)["b"].var_names) == sorted(parts["b"].var_names)


def test_genomes_before_names_are_cut_off_and_dates_are_named(good: Make) -> None:
    odd = good()
    odd.var_names = [f"mm10___{name}" for name in odd.var_names]
    found = read(odd)
    assert io.content_hash(found) == io.content_hash(read(good()))
    assert "genome before gene names (mm10)" in messages(found)
    odd = good()
    odd.var_names = ["1-Mar", "2023-09-07 00:00:00", "Sep-2", *odd.var_names[3:]]
    assert "3 gene names that a spreadsheet turned into dates (1-Mar, " in messages(read(odd))


def test_counts_in_obsm_are_named(good: Make) -> None:
    odd = good()
    x = odd.X.toarray()
    odd.X = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
    odd.obsm["counts"] = x
    (check,) = io.check_slices([odd], samples=["s"])
    assert "obsm['counts'] holds counts. Make it a layer" in check.errors[0]


def test_the_hint_for_a_reference_names_its_own_option(good: Make, tmp_path: Path) -> None:
    import lloki

    reference = good()
    reference.raw = reference.copy()
    x = reference.X.toarray()
    reference.X = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
    with pytest.raises(InputError, match=r"reference_layer='raw' \(--reference-layer raw\)"):
        lloki.integrate([good()], reference=reference, out=tmp_path / "run")
    with pytest.raises(InputError, match=r"Pass layer='raw' \(--layer raw\)"):
        io.read_reference(reference)


def test_links_keep_the_name_given(good: Make, tmp_path: Path) -> None:
    paths = []
    for i, name in enumerate(["donor1", "donor2"]):
        (tmp_path / f"work{i}").mkdir()
        target = tmp_path / f"work{i}" / "out.h5ad"
        good(seed=i).write_h5ad(target)
        paths.append(tmp_path / f"{name}.h5ad")
        paths[-1].symlink_to(target)
    assert [check.name for check in io.check_slices(paths)] == ["donor1", "donor2"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            BlockingIOError(11, "Unable to synchronously open file (unable to lock file, errno = 11)"),
            "is open",
        ),
        (OSError("Unable to open file (file is already open for write)"), "is open for writing elsewhere"),
        (OSError("Unable to open file (truncated file: eof = 96)"), "is damaged or cut short"),
    ],
)
def test_a_file_open_for_writing_is_not_called_damaged(
    good: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, text: str
) -> None:
    good().write_h5ad(tmp_path / "x.h5ad")

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lloki.io.files.h5py.File", refuse)
    (check,) = io.check_slices([tmp_path / "x.h5ad"])
    assert text in check.errors[0]


def test_home_is_expanded(good: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    good().write_h5ad(tmp_path / "x.h5ad")
    assert io.check_slices(["~/x.h5ad"])[0].ok
