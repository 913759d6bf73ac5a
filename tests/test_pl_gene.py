"""``lloki.pl.gene``: a gene in all slices, gray where it was not measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.figure import Figure
from scipy import sparse

import lloki
from lloki import keys
from lloki.errors import InputError
from lloki.fp import log_normalize

GENES = ["Rorb", "Calb1", "Gad1", "Never"]
MEASURED = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], bool)  # Calb1 not in b


@pytest.fixture
def joint() -> AnnData:
    """Three slices a, b, c of 60 cells each, in mixed order."""
    rng = np.random.default_rng(0)
    names = rng.permutation(np.repeat(["a", "b", "c"], 60))
    counts = rng.poisson(2.0, (180, 4)) * MEASURED[:, [list("abc").index(n) for n in names]].T
    return AnnData(
        X=sparse.csr_matrix(counts, dtype=np.float32),
        obs=pd.DataFrame({keys.SLICE: names}, index=[f"cell{i}" for i in range(180)]),
        var=pd.DataFrame(index=GENES),
        obsm={keys.SPATIAL: rng.uniform(0, 500, (180, 2))},
        varm={keys.MEASURED: MEASURED},
        uns={keys.UNS: {"slices": np.array(["a", "b", "c"])}},
    )


def panels(figure: Figure) -> dict[str, np.ndarray | None]:
    """Title → values of the drawn cells, ``None`` where they have a color only."""
    drawn = {ax.get_title(): ax.collections[0] for ax in figure.axes if ax.get_title()}
    return {
        title: None if points.get_array() is None else np.asarray(points.get_array())
        for title, points in drawn.items()
    }


def test_slices_that_measured_the_gene_have_values_on_one_scale(joint: AnnData) -> None:
    figure = lloki.pl.gene(joint, "Calb1")
    found = panels(figure)
    assert list(found) == [
        f"{n}\nnot measured" if n == "b" else n for n in dict.fromkeys(joint.obs[keys.SLICE])
    ]
    assert found["b\nnot measured"] is None
    for name in "ac":
        rows = joint[(joint.obs[keys.SLICE] == name).to_numpy()]
        expected = log_normalize(rows.X)[:, [1]].toarray().ravel()
        np.testing.assert_allclose(np.sort(expected), found[name], rtol=1e-5)
    scales = {ax.collections[0].get_clim() for ax in figure.axes if ax.get_title() in ("a", "c")}
    assert len(scales) == 1
    assert any("Calb1" in ax.get_ylabel() for ax in figure.axes)


def test_the_place_of_a_value_is_its_cell(joint: AnnData) -> None:
    joint = joint[(joint.obs[keys.SLICE] == "a").to_numpy()].copy()
    joint.X = sparse.csr_matrix(np.ones((60, 4), np.float32) + 5 * np.eye(60, 4, dtype=np.float32))
    (points,) = (ax.collections[0] for ax in lloki.pl.gene(joint, "Rorb").axes if ax.get_title())
    brightest = int(np.argmax(points.get_array()))
    np.testing.assert_allclose(points.get_offsets()[brightest], joint.obsm[keys.SPATIAL][0])


def test_a_gene_of_few_cells_is_not_drawn_as_if_all_were_full(joint: AnnData) -> None:
    counts = joint.X.toarray()
    counts[:, 0] = 0
    counts[0, 0] = 4
    joint.X = sparse.csr_matrix(counts)
    (_, top), *_ = [
        ax.collections[0].get_clim() for ax in lloki.pl.gene(joint, "Rorb").axes if ax.get_title()
    ]
    assert top > 0.5


def test_counts_in_a_layer_and_no_column_of_slices(joint: AnnData) -> None:
    joint.layers["counts"], joint.X = joint.X.copy(), None
    with pytest.raises(InputError, match="X: is absent"):
        lloki.pl.gene(joint, "Rorb")
    assert len(panels(lloki.pl.gene(joint, "Rorb", layer="counts"))) == 3
    del joint.obs[keys.SLICE]
    assert len(panels(lloki.pl.gene(joint, "Rorb", layer="counts"))) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("RORB", "there is no gene 'RORB'.* Did you mean 'Rorb'"),
        ("Xxxxx", "There are 4, such as Rorb, Calb1"),
        ("Never", "no slice here measured 'Never'.*impute"),
    ],
)
def test_genes_that_cannot_be_drawn(joint: AnnData, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        lloki.pl.gene(joint, name)
