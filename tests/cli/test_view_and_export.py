"""``lloki view``, ``lloki export``, and the index over the analyses of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from lloki import keys
from lloki.report.index_page import add_to_index
from planted import planted


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run, as far as these commands read it."""
    folder = tmp_path / "my run"
    folder.mkdir()
    adata = planted(cells=80)
    adata.obs[keys.CLUSTER] = pd.Categorical(adata.obs["cell_type"].astype(str))
    adata.write_h5ad(folder / "integrated.h5ad")
    (folder / "run.json").write_text(json.dumps({"parameters": {"label_key": "cell_type"}}))
    (folder / "report.html").write_text(
        '<body><h1>lloki report</h1><p class="lead">Cells &amp; more.</p>'
        '<div class="card good">\n<b>Yes. They mix.</b></div>'
    )
    return folder


def test_view_writes_a_page_beside_the_cells_and_opens_it(lloki, run, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    result = lloki("view", run)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"Look at: {run / 'view.html'}"
    assert opened == [(run / "view.html").as_uri()]
    page = (run / "view.html").read_text()
    assert 'class="viewer"' in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)  # nothing from outside
    other = lloki(
        "view", run / "integrated.h5ad", "--color", "G3", "--no-open", "--out", run.parent / "a.html"
    )
    assert other.exit_code == 0, other.output
    assert len(opened) == 1
    wrong = lloki("view", run, "--color", "G3x", "--no-open")
    assert wrong.exit_code == 1
    assert "Did you mean 'G3'?" in wrong.stderr


def test_the_index_links_every_page_of_a_run_through_analyses_of_analyses(lloki, run, monkeypatch):
    monkeypatch.chdir(run.parent)
    how = ("--label-key", "cell_type", "--source", "a", "--out", "labels here")
    first = lloki("transfer-labels", run / "integrated.h5ad", *how)
    assert first.exit_code == 0, first.output
    assert f"All analyses of this run: {run / 'index.html'}" in first.stdout
    second = lloki("view", "labels here/labeled.h5ad", "--no-open")
    assert second.exit_code == 0, second.output
    page = (run / "index.html").read_text()
    assert re.findall(r'<a href="([^"]*)"', page) == [
        "report.html",
        "../labels%20here/labels.html",
        "../labels%20here/view.html",
    ]
    assert "Yes. They mix." in page
    assert "Cells &amp; more." in page
    (run.parent / "labels here" / "labels.html").unlink()
    assert lloki("view", run, "--no-open").exit_code == 0
    assert "labels.html" not in (run / "index.html").read_text()


def test_the_verdict_of_one_pair_is_not_that_of_its_page(run):
    page = run / "align" / "alignment.html"
    page.parent.mkdir()
    page.write_text(
        '<body><h1>Slice alignment</h1><p class="lead">One aligned, one failed.</p>'
        '<section id="explore"></section><div class="card good">\n<b>aligned</b></div>'
    )
    assert add_to_index(page, run / "integrated.h5ad") == run / "index.html"
    index = (run / "index.html").read_text()
    assert "One aligned, one failed." in index
    assert "<b>aligned</b>" not in index


def test_export_from_a_folder_says_what_to_do_next(lloki, run, tmp_path):
    result = lloki("export", run, "--to", "csv", "--out", tmp_path / "csv", "--slice", "a")
    assert result.exit_code == 0, result.output
    assert f"Wrote {tmp_path / 'csv' / 'cells.csv'}" in result.stdout
    table = pd.read_csv(tmp_path / "csv" / "cells.csv")
    assert set(table["slice"]) == {"a"}
    cellxgene = lloki("export", run, "--to", "cellxgene", "--out", tmp_path / "c")
    assert f"cellxgene launch {tmp_path / 'c' / 'cells.h5ad'}" in " ".join(cellxgene.stdout.split())
    assert lloki("export", run, "--to", "excel", "--out", tmp_path / "d").exit_code == 2
    none = lloki("export", tmp_path / "none", "--to", "csv", "--out", tmp_path / "d")
    assert none.exit_code == 1
    assert "Give the folder of a finished run" in none.stderr
