"""The page of an analysis: what it shows, what it escapes, and what each analysis contributes."""

from __future__ import annotations

import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lloki import keys
from lloki.analysis import ACROSS, NOT, WITHIN, NeighborhoodProgram, ProgramConfig, Programs
from lloki.errors import OutputError
from lloki.report.analysis_page import Answer, Section, build_analysis_page
from lloki.report.pages import (
    best_first,
    build_imputation_page,
    build_neighborhood_page,
    build_programs_page,
)
from lloki.report.panels import Shown
from lloki.report.table import Table
from lloki.report.words import cells_of

EVIL = '<script>alert("x")</script>'


def plain(path: Path) -> str:
    """Text of a page, without its markup."""
    body = re.sub(
        r'(?s)<(style|svg|script).*?</\1>|<div hidden id="cells-[^>]*>[^<]*</div>', "", path.read_text()
    )
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_a_page_holds_its_parts_in_order_and_nothing_from_outside(tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1])
    shown = Shown.of(figure, "one", f"a line {EVIL}", f"A caption {EVIL}.")
    table = Table.of(pd.DataFrame({"name": [EVIL], "n": [1234]}), title="Numbers", note="Below.")
    sections = [
        Section("First", [f"A text {EVIL}."], [shown], [table], legend=((EVIL, "#123456", 5),)),
        Section("Nothing"),
        Section("Last", ["The end."]),
    ]
    answer = Answer("Yes", "good", "For this reason.")
    page = build_analysis_page(
        f"A title {EVIL}", "In short.", sections, answer=answer, out=tmp_path / "a.html"
    )
    html = page.read_text()
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    text = plain(page)
    order = ["In short.", "Yes", "A text", "A caption", "Numbers", "1,234", "Below.", "The end."]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    assert "Nothing" not in text
    assert html.count("<svg") == 1
    assert html.count("prefers-color-scheme: dark") == 1
    named, linked = re.findall(r'<section id="(\w+)"', html), re.findall(r'<a href="#(\w+)"', html)
    assert linked == named == ["part1", "part2"]


def test_a_page_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        build_analysis_page("A", "B", [], out=tmp_path / "file" / "a.html")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_tables_keep_their_headings_order_and_unknown_values():
    frame = pd.DataFrame({"x": [0.256, np.nan], "who": ["a", "b"], "y": [1.0, 0.5], "z": [True, False]})
    table = Table.of(frame, {"who": "Name", "y": "Y"}, shares=("x",), hundredths=("y",))
    assert table.headings == ("Name", "Y", "x", "z")
    assert table.rows == (("a", "1.00", "26%", "yes"), ("b", "0.50", "–", "no"))
    assert table.numeric[:3] == (False, True, True)


def slices(k: int = 3, n: int = 40) -> ad.AnnData:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"slice": np.repeat(["one", "two"], n)}, index=[f"c{i}" for i in range(2 * n)])
    obs[keys.DOMAIN] = pd.Categorical(rng.choice(["D1", "D2"], 2 * n))
    obs["cell_type"] = rng.choice(["T cell", "malignant"], 2 * n)
    states = rng.random((2 * n, k)).astype(np.float32)
    states[:, -1] = 0
    return ad.AnnData(obs=obs, obsm={"spatial": rng.random((2 * n, 2)), keys.METAGENES: states})


def test_the_page_of_programs_names_genes_and_what_is_unused(tmp_path):
    adata = slices()
    states = tuple(adata.obsm[keys.METAGENES][adata.obs["slice"] == s] for s in ("one", "two"))
    history = pd.DataFrame({"phase": ["free"], "objective": [1.0]})
    flat = np.full((4, 3), 0.25, np.float32)
    found = Programs(flat, np.eye(3), states, (1, 1), (1, 1), history, False, ProgramConfig(n_metagenes=3))
    weights = pd.DataFrame(
        {
            "slice": ["one", "one", "two", "two"],
            "metagene": ["metagene1", "metagene1", "metagene1", "metagene2"],
            "gene": ["Up", "Down", "Up", "Other"],
            "weight": [2.0, -1.0, 1.0, 0.5],
        }
    )
    moran = pd.DataFrame({"one": [0.5, 0.1, np.nan], "two": [np.nan] * 3})
    page = build_programs_page(
        adata, found, moran=moran, loadings=weights, domains=True, out=tmp_path / "programs.html"
    )
    text = plain(page)
    assert "3 gene programs" in text
    assert "was stopped after 1 iteration, before it converged" in text
    assert "1 program is used by almost no cell: 3" in text
    assert "Metagene 1. Genes: Up." in text
    assert "Down" not in text
    assert "Cell types" not in text
    assert page.read_text().count("<svg") == 3 + 2 + 2


def test_genes_validated_across_slices_come_first():
    validated = [WITHIN, ACROSS, NOT, ACROSS, WITHIN]
    table = pd.DataFrame(
        {"score": [0.9, 0.2, np.nan, 0.5, 0.95], "validated": validated}, index=list("abcde")
    )
    assert list(best_first(table).index) == ["d", "b", "e", "a", "c"]


def test_the_page_of_an_imputation_names_what_was_not_validated(tmp_path):
    genes = pd.DataFrame(
        {"n_sources": [2, 1], "validated": [ACROSS, NOT], "score": [0.6, np.nan], "error": [0.5, np.nan]},
        index=["Good", "Blind"],
    ).assign(spread=1.0, lower=[0.25, np.nan], upper=[1.75, np.nan])
    adata = ad.AnnData(np.random.default_rng(0).random((30, 2)), var=genes)
    adata.layers["sd"] = np.full((30, 2), 0.3)
    adata.uns["lloki"] = {"impute": {"parameters": '{"of_target": 0.8, "transfer": 1.0}'}}
    adata.obsm["spatial"] = np.random.default_rng(1).random((30, 2))
    page = build_imputation_page(
        adata, genes.iloc[:0], target="one", min_score=None, out=tmp_path / "imputation.html"
    )
    text = plain(page)
    assert "Good: score 0.60, validated across slices. Standard deviation of a value: 0.30." in text
    assert "Blind: not validated" in text
    assert "times 0.80 because one differs" in text
    assert "where a single slice measured" not in text  # a ratio of 1 says nothing
    assert all(end in text for end in ("Interval from", "0.25", "1.75"))
    assert "1 gene could not be validated across slices" in text
    assert "Left out" not in text
    del adata.obsm["spatial"]
    page = build_imputation_page(adata, genes.iloc[:0], target="one", min_score=None, out=tmp_path / "b.html")
    assert page.read_text().count("<svg") == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_the_page_of_a_neighborhood_answers_first(tmp_path, is_there):
    adata = slices()
    focal = (adata.obs["cell_type"] == "T cell").to_numpy()
    n, rng = int(focal.sum()), np.random.default_rng(0)
    share, score = rng.random(n), rng.random(n) if is_there else np.full(n, np.nan)
    for column, values in ((keys.NEIGHBOR_SHARE, share), (keys.NEIGHBORHOOD_SCORE, score)):
        adata.obs[column] = np.nan
        adata.obs.loc[focal, column] = values
    columns = {"n_datasets": 2, "log2_fold": 1.2, "q": 1e-9, "share_correlation": 0.3, "share_q": 0.01}
    direction = ["up", "down"] if is_there else ["", ""]
    genes = pd.DataFrame(columns, index=["Upper", "Lower"]).assign(direction=direction, rank=[0.9, 0.1])
    correlations = pd.DataFrame(
        {"dataset": ["pooled"], "n_cells": n, "pearson": 0.5, "spearman": 0.5, "p": 0.01}
    )
    cluster = np.arange(n) % 2
    found = NeighborhoodProgram(
        is_there, "Because.", share, cluster, cluster == 1, score, genes, correlations, 0.2, 0.01, 0.1
    )
    page = build_neighborhood_page(
        adata,
        found,
        focal="T cell",
        neighbor="malignant",
        label_key="cell_type",
        k=10,
        out=tmp_path / "neighborhood.html",
    )
    text = plain(page)
    answer = "A program was found" if is_there else "No program was found"
    assert text.index(answer) < text.index("Clusters", text.index("Because."))
    assert ("Upper" in text, "Lower" in text) == (is_there, is_there)
    assert "T cells" in text
    assert "T cell cells" not in text
    assert page.read_text().count("<svg") == (3 if is_there else 2)


def test_cells_of_a_type_are_named_once():
    assert [cells_of(t) for t in ("Astro", "T cell", "B cells")] == ["Astro cells", "T cells", "B cells"]
