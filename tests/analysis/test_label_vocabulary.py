"""Two vocabularies of cell types: found, matched, mapped; and never mixed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lloki
from lloki.analysis import conflicts, read_label_map, read_parents, rename, suggest_label_map
from lloki.errors import InputError, LlokiWarning, VocabularyError
from planted import planted

pytestmark = pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")
OTHER = {"Astro": "t1", "Neuron": "t2", "Oligo": "t3", "Vascular": "t4"}


def two_vocabularies(**names: str):
    """Slice b has other names; c is not labeled."""
    adata = planted()
    labels = adata.obs["cell_type"].astype(object)
    own = adata.obs["slice"] == "b"
    adata.obs["named"] = labels.where(~own, labels.replace(names or OTHER)).where(adata.obs["slice"] != "c")
    return adata


def correct(adata) -> float:
    target = adata.obs["slice"] == "c"
    return float((adata.obs["lloki_label_best"].astype(str) == adata.obs["cell_type"])[target].mean())


def test_two_vocabularies_are_rejected_with_a_map_that_reconciles_them():
    adata = two_vocabularies()
    with pytest.raises(VocabularyError, match=r"'t1' of b is 'Astro'.*label_map") as caught:
        lloki.tl.transfer_labels(adata, label_key="named")
    assert "lloki_label" not in adata.obs
    table = caught.value.suggested
    of_b = table[table["source"] == "b"].set_index("name")["common_name"]
    assert of_b.to_dict() == {v: k for k, v in OTHER.items()}
    found = lloki.tl.transfer_labels(adata, label_key="named", label_map=table)
    assert found.types == tuple(OTHER)
    agreed = two_vocabularies(t="t")
    lloki.tl.transfer_labels(agreed, label_key="named")
    assert correct(adata) == correct(agreed) > 0.95


def test_names_that_are_mapped_to_themselves_stay_apart():
    adata = two_vocabularies()
    found = lloki.tl.transfer_labels(adata, label_key="named", label_map={n: n for n in OTHER.values()})
    assert set(found.types) == {*OTHER, *OTHER.values()}


def test_one_type_under_another_name_is_found_among_many_that_agree():
    with pytest.raises(VocabularyError, match="'Vessel' of b is 'Vascular'"):
        lloki.tl.transfer_labels(two_vocabularies(Vascular="Vessel"), label_key="named")


def test_sources_of_different_types_are_no_different_vocabularies():
    adata = planted()
    labels, kinds = (
        adata.obs["cell_type"].astype(object),
        {"a": ["Astro", "Oligo"], "b": ["Neuron", "Vascular"]},
    )
    kept = [k in kinds.get(s, []) for s, k in zip(adata.obs["slice"], labels)]
    adata.obs["named"] = labels.where(kept)
    with pytest.warns(LlokiWarning, match="a and b have few names of types in common"):
        found = lloki.tl.transfer_labels(adata, label_key="named")
    assert len(found.types) == 4


def test_a_part_of_a_larger_type_is_suggested_as_such():
    rng = np.random.default_rng(0)
    kind = np.tile(np.repeat([0, 1, 2], 100), 2)
    x = np.eye(3, 5)[kind] * 3 + rng.normal(0, 0.3, (600, 5))
    sources = np.repeat(["big", "small"], 300)
    fine = np.array(["L2 IT", "L5 IT", "Oligo"])[kind]
    coarse = np.array(["Glut", "Glut", "Oligo"])[kind]
    table = suggest_label_map(x, np.where(sources == "big", coarse, fine), sources)
    of = table[table["source"] == "small"].set_index("name")["common_name"].to_dict()
    assert of == {"L2 IT": "Glut", "L5 IT": "Glut", "Oligo": "Oligo"}
    assert set(conflicts(table)["name"]) == {"L2 IT", "L5 IT"}


def test_a_map_is_read_by_source_and_for_all(tmp_path):
    file = tmp_path / "map.csv"
    file.write_text("source,name,common_name,note\na,T,T cell,x\n,T,tumor,\n,kept,,\n")
    names = read_label_map(file)
    assert list(rename(np.array(["T", "kept", "", "else"]), "a", names)) == ["T cell", "kept", "", "else"]
    assert list(rename(np.array(["T"]), "b", names)) == ["tumor"]
    assert read_label_map(pd.DataFrame({"name": ["T"], "common_name": ["x"]})) == {("", "T"): "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from,to\na,b\n", "map.csv: has the columns from, to. Give the columns name and common_name"),
        ("name,common_name\n", "map.csv: holds no row"),
        ("name,common_name\na,b\na,c\n", "map.csv: 'a' is mapped to 'b' and to 'c'"),
    ],
)
def test_a_bad_map_is_named(tmp_path, text, message):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_label_map(tmp_path / "map.csv")


def test_a_map_of_other_names_is_rejected():
    with pytest.raises(InputError, match=r"label_map: has no name that a source uses.*It maps Tcell"):
        lloki.tl.transfer_labels(two_vocabularies(), label_key="named", label_map={"Tcell": "T"})


def test_groups_come_from_a_table_or_a_column(tmp_path):
    (tmp_path / "groups.csv").write_text("type,group\nAstro,Glia\nOligo,Glia\n")
    assert read_parents(tmp_path / "groups.csv") == {"Astro": "Glia", "Oligo": "Glia"}
    with pytest.raises(InputError, match="'Astro' is in 'Glia' and in 'Neural'"):
        read_parents(pd.DataFrame({"type": ["Astro"] * 2, "group": ["Glia", "Neural"]}))
    adata = planted(spread=1.6)
    adata.obs["class"] = adata.obs["cell_type"].map({"Astro": "Glia", "Oligo": "Glia"}).fillna("Other")
    adata.X = adata.X * 0  # the embedding alone, in which types overlap
    options = {"label_key": "cell_type", "sources": ["a", "b"], "threshold": 0.8, "parents": "class"}
    lloki.tl.transfer_labels(adata, **options)
    target = adata[adata.obs["slice"] == "c"].obs
    grouped = target["lloki_label"].astype(str).isin(["Glia", "Other"])
    assert grouped.sum() > 10
    assert (target["lloki_label"].astype(str) == target["class"])[grouped].mean() > 0.65
