"""What many slices share is reported once; every slice keeps its own record."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np

from lloki import io
from lloki.io.messages import bare, grouped, rank_of, together

RENAMED = "obs['batch: 1'] was renamed"


def test_the_place_is_cut_off_a_message_and_nothing_else() -> None:
    assert bare(f"/a b/x.h5ad: {RENAMED}", "/a b/x.h5ad") == RENAMED
    assert bare(f"/a b/x.h5ad [s 1]: {RENAMED}", "/a b/x.h5ad") == RENAMED
    assert bare(RENAMED, "/a b/x.h5ad") == RENAMED
    assert bare(f"/a b/x.h5ad.old: {RENAMED}", "/a b/x.h5ad") == f"/a b/x.h5ad.old: {RENAMED}"


def test_messages_shared_by_slices_are_gathered() -> None:
    assert grouped([("a", "x"), ("b", "y"), ("c", "x"), ("a", "x"), ("", "z")]) == [
        ("x", ["a", "c"]),
        ("y", ["b"]),
        ("z", []),
    ]


def test_one_line_for_a_correction_of_several_inputs() -> None:
    given = [
        ("a", "a.h5ad", "a.h5ad: odd"),
        ("b", "b.h5ad", "b.h5ad: odd"),
        ("b", "b.h5ad", "b.h5ad: even"),
    ]
    assert together(given) == ["a, b: odd", "b.h5ad: even"]
    sections = [(f"f:{i}", "f.h5ad", "f.h5ad: odd") for i in range(3)]
    assert together(sections) == ["f.h5ad: odd"]
    sections = [(f"f:{i}", "f.h5ad", f"f.h5ad [{i}]: odd") for i in range(8)]
    assert together(sections) == ["f:0, f:1, f:2, f:3, f:4 and 3 more: odd"]


def test_slices_corrected_alike_share_one_warning(
    good: Callable[..., anndata.AnnData], tmp_path: Path
) -> None:
    paths = [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
    for seed, path in enumerate(paths):
        adata = good(seed=seed)
        adata.obs["slice"] = "mine"
        if seed:
            adata.X[3] = 0
        adata.write_h5ad(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        slices = io.read_slices(paths)
    text = "obs['slice'] has a name that lloki uses; kept as obs['slice_input']"
    empty = "1 cell without any count; kept and flagged 'no counts'"
    assert {str(w.message) for w in caught} == {f"a, b: {text}", f"{paths[1]}: {empty}"}
    for path, slice_ in zip(paths, slices):
        assert f"{path}: {text}" in slice_.uns["lloki"]["messages"]
    assert np.array_equal([len(s.uns["lloki"]["messages"]) for s in slices], [1, 2])


def test_ranks_of_messages():
    assert rank_of("training", "slices are hardly mixed") == "act"
    assert rank_of("held-out genes", "no two slices share 5 genes") == "act"
    assert rank_of("a", "skipped: no counts") == "act"
    assert rank_of("a", "two cells have the name 'x'") == "note"
    assert rank_of("a", "blanks around 1 gene name cut off ('A ')") == "trivial"
