"""``lloki.tl.annotate_by_markers``: types it assigns, types it cannot identify, input it rejects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import lloki
from lloki import keys
from lloki.analysis import MarkerTable, marker_posterior
from lloki.errors import ConfigError, InputError, LlokiWarning
from planted import TYPES, planted

MARKERS = {kind: [f"G{i}" for i in range(12) if i % 4 == t] for t, kind in enumerate(TYPES)}


def accuracy(adata, rows=slice(None)):
    assigned = adata.obs[keys.MARKER_TYPE].astype(str).to_numpy()[rows]
    return (assigned == adata.obs["cell_type"].to_numpy(str)[rows]).mean()


def test_planted_types_are_assigned():
    adata = planted()
    table = lloki.tl.annotate_by_markers(adata, MARKERS)
    assert accuracy(adata) > 0.97
    assert table["identifiable"].all()
    assert (table["fold"] > 4).all()
    assert table["n_assigned"].sum() == adata.n_obs
    assert adata.obs[keys.MARKER_CONFIDENCE].between(0, 1).all()


def test_a_type_whose_markers_one_panel_lacks_is_assigned_by_neighbors():
    adata = planted("ab", cells=300)
    slices = [adata[adata.obs["slice"] == name].copy() for name in "ab"]
    slices[1] = slices[1][:, ~slices[1].var_names.isin(MARKERS["Oligo"])].copy()
    table = lloki.tl.annotate_by_markers(slices, MARKERS)
    row = table[(table["slice"] == "b") & (table["type"] == "Oligo")].iloc[0]
    assert not row["identifiable"]
    assert row["note"] == "no marker in the panel"
    assert accuracy(slices[1]) > 0.95
    lloki.tl.annotate_by_markers(slices, MARKERS, n_neighbors=0)
    assert not (slices[1].obs[keys.MARKER_TYPE] == "Oligo").any()


def test_types_with_the_same_markers_are_not_assigned_with_a_warning():
    adata = planted("a")
    with pytest.warns(LlokiWarning, match="Twin"):
        table = lloki.tl.annotate_by_markers(adata, MARKERS | {"Twin": MARKERS["Oligo"]})
    note = table.set_index("type")["note"]
    assert note["Twin"] == "same markers as Oligo"
    assert note["Oligo"] == "same markers as Twin"
    assert not adata.obs[keys.MARKER_TYPE].isin(["Twin", "Oligo"]).any()


def test_a_negative_marker_separates_two_types():
    adata = planted("a", cells=400)
    table = {"Neuron": ["G1"], "Astro": ["G0", "-G1"], "Oligo": "G2;-G1", "Vascular": {"positive": ["G3"]}}
    lloki.tl.annotate_by_markers(adata, table, n_neighbors=0)
    assert accuracy(adata) > 0.75


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_probabilities_whatever_the_counts(seed, n):
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.3, 3.0, (n, 12))).astype(np.float32))
    found = marker_posterior(counts, [f"g{i}" for i in range(12)], MarkerTable.read(MARKERS))
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1)
    assert (found.posterior >= 0).all()
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    assert (found.posterior[empty, -1] == 1).all()


def test_a_table_in_any_form_is_the_same(tmp_path):
    text = "type,positive,negative\nA,g1;g2,g3\nB,g3,\n"
    (tmp_path / "m.csv").write_text(text)
    (tmp_path / "m.tsv").write_text(text.replace(",", "\t"))
    forms = [
        tmp_path / "m.csv",
        str(tmp_path / "m.tsv"),
        pd.DataFrame(
            {"type": ["A", "A", "B"], "positive": ["g1", "g2", "g3"], "negative": ["g3", None, None]}
        ),
        {"A": ["g1", "g2", "-g3"], "B": "g3"},
        {"A": {"positive": "g1 g2", "negative": ["g3"]}, "B": ["g3"]},
    ]
    for form in forms:
        table = MarkerTable.read(form)
        assert table.types == ("A", "B")
        assert table.genes == ("g1", "g2", "g3")
        assert table.sign.tolist() == [[1, 1, -1], [0, 0, 1]]


def test_a_bad_file_is_named(tmp_path):
    (tmp_path / "markers.json").write_text('{"Astro": ["Acsbg1", "Fgfr3"]}')
    with pytest.raises(InputError, match=r"markers\.json.*columns"):
        MarkerTable.read(tmp_path / "markers.json")


def test_markers_take_the_gene_written_alike_first():
    columns, _ = MarkerTable.read({"A": ["Gad1"], "B": ["SST"]}).within(["Gad1", "GAD1", "Sst"])
    assert columns.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        ({}, "no type"),
        ({"A": ["-g1"]}, "no positive marker"),
        ({"A": ["g1", "-g1"]}, "both a positive and a negative marker"),
        ({"A": ["Nowhere1"]}, "no slice measured any"),
        (pd.DataFrame({"kind": ["A"]}), "columns"),
        ("none.csv", "does not exist"),
    ],
)
def test_bad_tables_are_named(markers, message):
    adata = planted("a", cells=20)
    with pytest.raises(InputError, match=message):
        lloki.tl.annotate_by_markers(adata, markers)
    assert keys.MARKER_TYPE not in adata.obs


@pytest.mark.parametrize(
    ("change", "settings", "kind", "message"),
    [
        (lambda a: a.obsm.pop(keys.JOINT), {}, InputError, r"obsm\['X_lloki'\]"),
        (lambda a: a.obsm[keys.JOINT].__setitem__((0, 0), np.nan), {}, InputError, "NaN"),
        (lambda a: a.X.data.__setitem__(0, -1), {}, InputError, "negative"),
        (lambda a: None, {"layer": "counts"}, InputError, r"layers\['counts'\]"),
        (lambda a: None, {"threshold": 1.5}, ConfigError, "threshold"),
        (lambda a: None, {"fold": 1.0}, ConfigError, "fold"),
    ],
)
def test_bad_input_is_named_and_nothing_written(change, settings, kind, message):
    adata = planted("ab", cells=20)
    change(adata)
    with pytest.raises(kind, match=message):
        lloki.tl.annotate_by_markers(adata, MARKERS, **settings)
    assert keys.MARKER_TYPE not in adata.obs
