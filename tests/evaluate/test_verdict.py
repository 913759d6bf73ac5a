"""Whether an integration can be trusted: every kind of evidence decides alone, and says so in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lloki.evaluate import Evidence, Verdict, judge
from lloki.evaluate.verdict import CRITERIA, grade

NAMES = ("a", "b", "c")
PART = ("with care", "mix in part (0.59")


def sound(names: tuple[str, ...] = NAMES) -> Evidence:
    """Evidence of slices that can be trusted."""
    pairs = [
        {
            "one": one,
            "other": other,
            "genes": 40,
            "structure": 0.9,
            "structure_z": 20.0,
            "within": 0.4,
            "ratio": 0.9,
            "unlike": 0.0,
            "clusters": "",
        }
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    ]
    slices = [
        {
            "slice": name,
            "cells": 1000,
            "within": 0.4,
            "coherence": 40.0,
            "alone": 0.0,
            "clusters": "",
            "genes": 100,
            "reference_genes": 80,
            "reference_structure": 0.6,
            "reference_z": 15.0,
            "reference_like": 0.6,
            "reference_clusters": "",
        }
        for name in names
    ]
    return Evidence(
        metrics={"mixing": 0.8, "preservation": 0.5, "dimensions": 6.0},
        pairs=pd.DataFrame(pairs, columns=list(Evidence().pairs.columns)),
        slices=pd.DataFrame(slices),
        slices_in_all=len(names),
    )


def with_metrics(**changed: Any) -> Evidence:
    evidence = sound()
    return replace(evidence, metrics={**evidence.metrics, **changed})


def with_pair(one: str, other: str, **changed: Any) -> Evidence:
    evidence = sound()
    pairs = evidence.pairs.copy()
    row = (pairs["one"] == one) & (pairs["other"] == other)
    for name, value in changed.items():
        pairs.loc[row, name] = value
    return replace(evidence, pairs=pairs)


def with_slice(name: str, **changed: Any) -> Evidence:
    evidence = sound()
    slices = evidence.slices.copy()
    for column, value in changed.items():
        slices.loc[slices["slice"] == name, column] = value
    return replace(evidence, slices=slices)


def types(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    """Type, neighbors of it before, and after, and across; of two slices, both ways."""
    return pd.DataFrame(
        [
            {
                "target": target,
                "source": source,
                "type": kind,
                "cells": 100,
                "chance": 1 / len(rows),
                "before": before,
                "within": within,
                "across": across,
            }
            for target, source in (("a", "b"), ("b", "a"))
            for kind, before, within, across in rows
        ]
    )


def test_sound_evidence_is_a_yes_with_its_ground():
    verdict = judge(sound())
    assert verdict.answer == "yes"
    assert verdict.reasons == (
        "Like met like: genes that the embedding had not seen are predicted across slices at least 90% as "
        "well as within. The inner structure of the slices is preserved.",
    )
    assert str(verdict).startswith("Yes. Like met like")


@pytest.mark.parametrize(
    ("evidence", "answer", "words"),
    [
        # the embedding
        (with_metrics(dimensions=1.99), "no", "collapsed: cells vary in only 1.99 directions"),
        (with_metrics(dimensions=2.0), "yes", "Like met like"),
        (with_metrics(mixing=0.29, preservation=0.14), "no", "remain separate and their inner structure"),
        (with_metrics(mixing=0.29), "with care", "remain separate: comparisons"),
        (with_metrics(mixing=0.59), "yes", "Like met like"),
        (
            replace(with_pair("a", "b", genes=0, ratio=np.nan), metrics={**sound().metrics, "mixing": 0.59}),
            *PART,
        ),
        (with_metrics(mixing=0.6), "yes", "Like met like"),
        (with_metrics(preservation=0.14), "with care", "forced together"),
        (with_metrics(preservation=0.34), "with care", "preserved in part"),
        (with_metrics(preservation=float("nan")), "cannot tell", "Preservation could not be computed"),
        # one slice
        (with_slice("b", within=0.049), "no", "b: no gene is predicted by the others"),
        (with_slice("b", within=0.05), "yes", "Like met like"),
        (with_slice("b", within=0.049, cells=100), "no", "b: no gene is predicted by the others"),
        (with_slice("b", within=0.049, cells=99), "cannot tell", "b: too few cells to show"),
        (with_slice("b", coherence=4.9), "with care", "b: neighbors in the tissue are no more alike"),
        (with_slice("b", coherence=float("nan")), "yes", "Like met like"),
        (with_slice("b", coherence=2.0, cells=499), "yes", "Like met like"),
        (
            with_slice("b", alone=0.21, clusters="cluster 4 of b"),
            "with care",
            "21% of its cells are in cluster",
        ),
        (with_slice("b", reference_genes=24), "with care", "has 24 of 100 genes"),
        (
            with_slice("b", reference_z=3.9, reference_structure=0.19),
            "with care",
            "another tissue or species",
        ),
        (with_slice("b", reference_z=3.9, reference_structure=0.2), "yes", "Like met like"),
        (with_slice("b", reference_z=float("nan")), "yes", "Like met like"),
        (
            with_slice("b", reference_like=0.39, reference_clusters="cluster 4 of b"),
            "with care",
            "b: hardly any cluster resembles a kind of cell of the reference (mean correlation 0.39; least "
            "cluster 4 of b), which may be of another tissue",
        ),
        (with_slice("b", reference_like=0.4), "yes", "Like met like"),
        (with_slice("b", reference_like=float("nan")), "yes", "Like met like"),
        # two slices
        (with_pair("a", "b", ratio=0.29), "no", "a and b do not belong together"),
        (with_pair("a", "b", ratio=0.3), "with care", "a and b predict each other's genes in part only (30%"),
        (with_pair("a", "b", ratio=0.69), "with care", "in part only (69%"),
        (with_pair("a", "b", structure=0.39), "with care", "in part only"),
        (with_pair("a", "b", structure=0.09, structure_z=1.9, ratio=0.69), "no", "do not belong together"),
        (with_pair("a", "b", structure=0.09, structure_z=2.1, ratio=0.69), "with care", "in part only"),
        # too noisy to tell is no sign of another tissue
        (with_pair("a", "b", structure=np.nan, structure_z=1.0, ratio=0.69), "with care", "in part only"),
        (with_pair("a", "b", unlike=0.16, clusters="cluster 2 of a"), "with care", "16% of a slice's cells"),
    ],
)
def test_one_thing_decides(evidence: Evidence, answer: str, words: str):
    verdict = judge(evidence)
    assert verdict.answer == answer
    assert words in verdict.reasons[0]


def test_the_gravest_comes_first_and_nothing_is_left_out():
    evidence = replace(with_pair("a", "b", ratio=0.1), metrics={**sound().metrics, "mixing": 0.5})
    slices = evidence.slices.assign(coherence=[1.0, 40.0, 40.0])
    verdict = judge(replace(evidence, slices=slices))
    assert verdict.answer == "no"
    assert "a and b do not belong" in verdict.reasons[0]
    assert len(verdict.reasons) == 3


def test_what_many_pairs_have_is_one_reason_that_names_the_worst():
    evidence = sound()
    pairs = evidence.pairs.assign(unlike=[0.2, 0.6, 0.3], clusters=["cluster 1 of a", "cluster 2 of c", ""])
    (reason,) = judge(replace(evidence, pairs=pairs)).reasons
    assert reason.startswith("a and c, b and c and 1 more: up to 60% of a slice's cells")
    assert "(cluster 2 of c)" in reason


def test_slices_without_common_genes_need_a_third_one_or_the_reference():
    linked = with_pair("a", "b", genes=0, ratio=np.nan, structure=np.nan, structure_z=np.nan)
    verdict = judge(linked)
    assert verdict.answer == "yes"
    assert verdict.reasons[1].startswith("a and b share too few genes to be compared directly; other slices")
    alone = sound(("a", "b"))
    alone = replace(
        alone, pairs=alone.pairs.assign(genes=4, ratio=np.nan, structure=np.nan, structure_z=np.nan)
    )
    verdict = judge(alone)
    assert verdict.answer == "with care"
    assert "link a with b" in verdict.reason
    assert "as in the reference, which is the only bridge" in verdict.reason
    blind = replace(alone, slices=alone.slices.assign(reference_structure=np.nan, reference_z=np.nan))
    assert judge(blind).answer == "cannot tell"
    known = replace(blind, types=types(("T", 0.9, 0.9, 0.8), ("B", 0.9, 0.9, 0.8)))
    assert judge(known).answer == "yes"
    assert "all 2 types" in judge(known).reason


def test_nothing_is_promised_without_evidence():
    assert judge(Evidence()).answer == "cannot tell"
    assert judge(Evidence(metrics=sound().metrics, slices_in_all=3)).answer != "yes"
    one = sound(("a",))
    assert judge(one).answer == "cannot tell"
    assert "no second slice" in judge(one).reason
    unchecked = replace(
        sound(),
        held_out="the embedder x cannot leave genes out",
        pairs=sound().pairs.assign(genes=0, ratio=np.nan),
    )
    assert judge(unchecked).answer == "with care"
    assert "since the embedder x cannot leave genes out" in judge(unchecked).reason
    table = types(("T", 0.9, 0.9, 0.8), ("B", 0.9, 0.9, 0.8))
    assert judge(replace(unchecked, types=table)).answer == "with care"  # c has no types
    third = table.replace({"target": {"a": "c"}, "source": {"a": "c"}})
    known = judge(replace(unchecked, types=pd.concat([table, third])))
    assert known.answer == "yes"
    assert "all 2 types that slices share lie with their like" in known.reason


@pytest.mark.parametrize(
    ("table", "answer", "words"),
    [
        (types(("T", 0.9, 0.9, 0.8), ("B", 0.8, 0.8, 0.7)), "yes", "Like met like"),
        # moved onto another as a whole, in both slices: few of its own near it anywhere
        (types(("T", 0.9, 0.9, 0.8), ("B", 0.8, 0.1, 0.1)), "no", "B: in other slices, hardly any neighbor"),
        (types(("T", 0.9, 0.9, 0.8), ("B", 0.8, 0.8, 0.3)), "with care", "B: neighbors in other slices"),
        # names drawn at random
        (types(("T", 0.5, 0.5, 0.5), ("B", 0.5, 0.5, 0.5)), "with care", "labels do not follow expression"),
        # one name for all says nothing
        (types(("T", 1.0, 1.0, 1.0)), "yes", "Like met like"),
        # a type that was hard to tell before is not held against the embedding
        (types(("T", 0.9, 0.9, 0.9), ("B", 0.6, 0.5, 0.05)), "yes", "Like met like"),
    ],
)
def test_the_worst_well_sampled_type_decides(table: pd.DataFrame, answer: str, words: str):
    verdict = judge(replace(sound(), types=table))
    assert verdict.answer == answer
    assert words in verdict.reasons[0]
    few = judge(replace(sound(), types=table.assign(cells=24)))
    assert few.answer == "yes"


def test_a_lost_type_of_few_cells_is_a_reason_for_care():
    table = types(("T", 0.9, 0.9, 0.8), ("B", 0.8, 0.1, 0.1))
    verdict = judge(replace(sound(), types=table.assign(cells=[500, 30, 500, 30])))
    assert verdict.answer == "with care"
    assert "B: in other slices, hardly any neighbor" in verdict.reasons[0]


def test_of_several_slices_the_worst_figure_is_given():
    slices = sound().slices.assign(reference_genes=[20, 10, 80])
    (reason,) = judge(replace(sound(), slices=slices)).reasons
    assert reason.startswith("a, b: the reference has as few as 10 of 100 genes")


def test_slices_that_name_types_differently_are_named():
    names = pd.DataFrame([{"one": "a", "other": "b", "types": 9, "shared": 2, "cells": 0.1}])
    verdict = judge(replace(sound(), names=names))
    assert verdict.answer == "yes"
    assert "a and b name types differently (2 of 9 names in common)" in verdict.reason
    assert judge(replace(sound(), names=names.assign(cells=0.6))).reasons == judge(sound()).reasons


def test_a_verdict_goes_through_json():
    verdict = judge(with_pair("a", "b", genes=0, ratio=np.nan))
    text = json.dumps(verdict.to_dict(), allow_nan=False)
    again = Verdict.from_dict(json.loads(text))
    assert again.answer == verdict.answer
    assert again.reasons == verdict.reasons
    assert again.evidence["pairs"][0]["ratio"] is None
    assert again.evidence["pairs"][1]["ratio"] == 0.9
    assert judge(Evidence.from_dict(again.evidence)) == verdict
    assert Verdict.from_dict({}).answer == "cannot tell"


def test_values_at_a_limit_have_the_better_grade():
    values = {"mixing": (0.299, 0.3, 0.6), "dimensions": (1.9, 2.0, 4.0)}
    for name, three in values.items():
        assert [grade(name, v) for v in three] == ["poor", "fair", "good"]
    assert grade("mixing", float("nan")) == grade("mixing", None) == grade("nothing", 0.5) == ""
    assert all(c.fair < c.good for c in CRITERIA.values())
