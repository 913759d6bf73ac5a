from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from lloki.errors import OutputError
from lloki.report import build_report, panels
from lloki.report.answer import answer_of

EVIL = '<script>alert("x")</script>'
Inputs = Callable[..., dict]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == [], f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def scripts_are_ours(html: str) -> bool:
    """Whether the page holds the viewer's script alone, and its policy allows no other and no request."""
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    code = re.findall(r"<script[^>]*>(.*?)</script", html, flags=re.DOTALL | re.IGNORECASE)
    digest = base64.b64encode(hashlib.sha256(code[0].encode()).digest()).decode()
    rules = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src"
    return len(code) == html.lower().count("<script") == 1 and policy == [f"{rules} 'sha256-{digest}'"]


def built(out: Path, given: dict) -> str:
    given = dict(given)
    return build_report(given.pop("joint"), **given, out=out).read_text(encoding="utf-8")


def test_page_shows_every_part(inputs: Inputs, tmp_path: Path) -> None:
    page = Page(built(tmp_path, inputs()))
    headings = (
        "Can it be trusted?",
        "Cells",
        "Clusters",
        "Slices",
        "Warnings",
        "Details",
        "Tissue",
        "Sparsity",
        "Training",
    )
    assert all(h in page.text for h in headings)
    # 3 embeddings, as technologies are slices here; 2 slices x 2 colorings; 2 sparsities; 2 losses
    assert len(page.all("figure")) == 3 + 4 + 2 + 2
    assert "something was corrected" in page.text
    assert "In one and two." in page.text
    assert "1 min 01 s" in page.text
    assert "fp.n_neighbors" in page.text
    assert "Like met like" in page.text
    assert "Controls" not in page.text  # no slice came from an instrument's folder


def test_a_cluster_has_the_nearest_type_of_the_reference_where_it_is_known(
    inputs: Inputs, tmp_path: Path
) -> None:
    given = inputs()
    assert "Nearest reference type" not in Page(built(tmp_path, given)).text
    table = pd.DataFrame({"type": [EVIL], "share": [0.834]}, index=["3"])
    given["joint"].uns["lloki"] = {"nearest_reference_types": table}
    text = Page(built(tmp_path, given)).text
    assert text.count("Nearest reference type") == 2  # heading and explanation
    assert f"{EVIL} (83%)" in text


def test_the_benchmark_is_shown_where_there_is_one(inputs: Inputs, tmp_path: Path) -> None:
    given = inputs(slices=("one",), n=8)
    assert "Benchmark" not in Page(built(tmp_path, given)).text
    columns = {"clisi": [0.9, 0.8], "bras": [0.7, float("nan")], "bio": 0.5, "batch": 0.6, "total": 0.54}
    given["scores"] = pd.DataFrame({"embedding": ["X_lloki_fp", "X_lloki"], **columns})
    given["run"]["benchmark"] = {"cells": 80, "types": 5, "batches": 2, "profile": "fast"}
    page = Page(built(tmp_path, given))
    assert "Benchmark" in page.text
    assert "cLISI" in page.text
    assert "0.90" in page.text
    assert "–" in page.text
    given["scores"], given["run"]["benchmark"] = None, {"why": f"no {EVIL}"}
    assert f"Not scored: no {EVIL}" in Page(built(tmp_path, given)).text


def test_every_figure_has_a_caption_and_a_description(inputs: Inputs, tmp_path: Path) -> None:
    page = Page(built(tmp_path, inputs()))
    pictures = [a for a in page.all("div") if a.get("role") == "img"]
    assert len(pictures) == len(page.all("figure")) == len(page.all("figcaption")) == len(page.all("svg"))
    assert all(a["aria-label"] and len(str(a["aria-label"])) > 20 for a in pictures)


def test_page_needs_nothing_from_outside(inputs: Inputs, tmp_path: Path) -> None:
    html = built(tmp_path, inputs())
    page = Page(html)
    assert scripts_are_ours(html)
    links = [v for _, attrs in page.elements for k, v in attrs.items() if k in ("src", "href", "xlink:href")]
    assert links
    assert all(str(v).startswith(("#", "data:")) for v in links)
    assert "url(http" not in html
    assert "@import" not in html


def test_names_from_the_data_are_escaped(inputs: Inputs, tmp_path: Path) -> None:
    given = inputs(slices=(EVIL, "切片 β & $x_1$ \" onload='x'"))
    given["joint"].obs["cell_type"] = EVIL
    given["joint"].obs["technology"] = "</figcaption><img src=x onerror=alert(1)>"
    given["run"]["parameters"][EVIL] = EVIL
    given["run"]["metrics"][EVIL] = EVIL
    given["run"]["messages"].append({"slice": EVIL, "text": EVIL})
    given["run"]["stages"][0]["unit"] = EVIL
    html = built(tmp_path, given)
    page = Page(html)
    assert scripts_are_ours(html)
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert page.text.count(EVIL) > 5
    assert "切片 β & $x_1$" in page.text


def test_the_report_leaves_no_figure_open_and_the_data_as_they_are(inputs: Inputs, tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    given = inputs()
    plt.close("all")
    built(tmp_path, given)
    assert plt.get_fignums() == []
    assert not given["joint"].uns


def test_the_colors_of_uns_are_those_of_the_report(inputs: Inputs, tmp_path: Path) -> None:
    given = inputs()
    given["joint"].obs["cell_type"] = given["joint"].obs["cell_type"].astype("category")
    given["joint"].uns["cell_type_colors"] = ["#010101", "#020202", "#030303", "#040404", "#050505"]
    assert 'background:#040404"></i><span>type 3</span>' in built(tmp_path, given)


def test_metrics_are_graded_and_unknown_ones_come_last(inputs: Inputs, tmp_path: Path) -> None:
    given = inputs()
    given["run"]["metrics"] = {"odd": 3, "mixing": 0.7, "nested": {"deep": 0.25}, "dimensions": 3.0}
    html = built(tmp_path, given)
    names = ["Mixing of batches", "Effective dimensions", "odd", "nested.deep"]
    assert [html.index(f"<span>{n}") for n in names] == sorted(html.index(f"<span>{n}") for n in names)
    metrics = html[html.index('<div class="cards">') :]
    assert re.findall(r'<div class="card (\w*)">', metrics) == ["good", "fair", "", ""]


def test_same_input_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    assert built(tmp_path / "a", inputs()) == built(tmp_path / "b", inputs())


def test_bare_results_make_a_page_too(inputs: Inputs, tmp_path: Path) -> None:
    given = inputs()
    bare = ad.AnnData(obs=pd.DataFrame({"slice": ["one"]}, index=["c"]), obsm={"spatial": np.zeros((1, 3))})
    page = Page(
        built(
            tmp_path,
            {
                "joint": bare,
                "qc": given["qc"][["slice"]],
                "losses": pd.DataFrame(),
                "run": {},
                "sparsity": {},
            },
        )
    )
    assert not page.all("figure")
    assert "Cannot tell. No verdict was made." in page.text


@pytest.mark.parametrize("labels", [1, 60, 75])
def test_legend_from_one_to_many_categories(inputs: Inputs, tmp_path: Path, labels: int) -> None:
    given = inputs(n=400, labels=labels)
    given["joint"].obs["cell_type"] = [f"type {i % labels}" for i in range(800)]
    page = Page(built(tmp_path, given))
    assert "type 0" in page.text
    assert (f"{labels - 60} smaller categories" in page.text) == (labels > 60)


def test_thinned_figures_say_so(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "MOST_POINTS", 25)
    page = Page(built(tmp_path, inputs()))
    assert "25 of 80 cells are drawn, chosen at random." in page.text
    assert "25 of 40 cells are drawn, chosen at random." in page.text


def test_size_hardly_grows_with_cells(inputs: Inputs, tmp_path: Path) -> None:
    html = built(tmp_path, inputs(n=20_000))
    assert len(html) < 4_000_000


def test_a_legend_color_is_the_color_of_the_points_everywhere(inputs: Inputs, tmp_path: Path) -> None:
    html = built(tmp_path, inputs())
    colors = re.findall(r'background:(#[0-9a-f]{6})"></i><span>type 3</span>', html)
    assert len(colors) == 2  # under the embedding and above the tissue
    assert len(set(colors)) == 1


def test_unwritable_place_is_an_output_error_and_leaves_nothing(inputs: Inputs, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OutputError):
        built(blocked, inputs())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_trivial_messages_are_folded_and_the_verdict_is_the_first_sentence(
    inputs: Inputs, tmp_path: Path
) -> None:
    given = inputs()
    given["run"]["messages"].append({"slice": "one", "text": "blanks around 1 gene name cut off ('A ')"})
    html = built(tmp_path, given)
    assert "1 minor message" in html
    assert html.index("something was corrected") < html.index("1 minor message") < html.index("blanks around")
    assert re.search(r'<div class="card good">\s*<b>Yes\. Like met like: [^.]*\.</b>', html)
    assert html.index("<b>Yes") < html.index("Go on with the joint") < html.index("<li>One thing more.</li>")
    assert html.index("<li>One thing more.</li>") < html.index('class="viewer"')


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ("yes", "Go on with the joint embedding"),
        ("with care", "Go on, but first look"),
        ("no", "Do not compare these slices"),
        ("cannot tell", "First check that known markers coincide"),
    ],
)
def test_every_answer_says_what_to_do(answer: str, advice: str) -> None:
    found = answer_of({"verdict": {"answer": answer, "reasons": ["A.", "B.", "C."], "evidence": {}}})
    assert found.reason.startswith(advice) or advice in found.reason
    assert found.word == f"{answer.capitalize()}. A."
    assert found.more == ("B.", "C.")


def test_the_share_of_controls_is_shown_where_it_is_known(inputs: Inputs, tmp_path: Path) -> None:
    given = inputs(slices=("one", "two", "three"))
    given["qc"]["control_rate"] = [0.0003, np.nan, 0.042]
    table = Page(built(tmp_path, given)).text.split("Slices")[-1]
    rates = re.search(r"Controls.*?0\.03%.*?–.*?4%", table, re.DOTALL)
    assert rates is not None


def test_clusters_have_markers_and_composition(inputs: Inputs, tmp_path: Path) -> None:
    given, rng = inputs(n=200), np.random.default_rng(0)
    joint = given["joint"]
    counts = rng.poisson(1.0, (joint.n_obs, 6)).astype(np.float32)
    high = (joint.obs["lloki_cluster"] == "3").to_numpy() | (joint.obs["lloki_cluster"] == "4").to_numpy()
    joint.obs["lloki_cluster"] = pd.Categorical(np.where(high, "high", "low"))
    counts[high, 2] += 9
    given["joint"] = ad.AnnData(
        counts, obs=joint.obs, obsm=dict(joint.obsm), var=pd.DataFrame(index=[*"ab", EVIL, *"def"])
    )
    html = built(tmp_path, given)
    assert scripts_are_ours(html)
    page = Page(html)
    row = re.search(r"</i>high</span>.*?</tr>", html, re.DOTALL)
    assert row is not None
    first = re.search(r'data-color="([^"]*)"', row[0])
    assert first is not None
    assert unescape(first[1]) == EVIL
    assert [a["aria-label"] for a in page.all("span") if a.get("class") == "parts"]
    assert "Counts per cell" in page.text


def test_names_of_legends_never_reach_the_markup_of_the_viewer(inputs: Inputs, tmp_path: Path) -> None:
    html = built(tmp_path, inputs(slices=("</div><script>alert(1)</script>", "two")))
    assert scripts_are_ours(html)
