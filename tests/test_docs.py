"""What the documentation tells people to type runs. Training is cut short: its length is no matter here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import lloki
from lloki.cae import CAEConfig
from lloki.cli import app
from lloki.datasets import ALPHAFISH, BETASEQ

pytestmark = pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning", "ignore:Writing zarr v2")
ROOT = Path(__file__).resolve().parents[1]
PAGES = ("docs/labels.md", "docs/quickstart.md", "docs/tutorials/made_up_tissue.md")
REAL = "docs/tutorials/mouse_cortex.md"


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fence = rf"^```(?:\{{code-cell\}} )?{language}\n(?::tags:.*\n)?(.*?)^```$"  # a notebook's cells, too
    return re.findall(fence, text, re.DOTALL | re.MULTILINE)


def run(code: list[str]) -> dict[str, object]:
    """Execute blocks one after the other, as in a notebook."""
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, "block", "exec"), names)
    return names


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the pages speak of, and training of a few steps."""
    made = lloki.datasets.tissue(
        n_cells=150, n_reference=200, platforms=(ALPHAFISH, BETASEQ, ALPHAFISH), seed=3
    )
    merfish, xenium, new = made.slices
    merfish.layers["counts"] = merfish.X.copy()
    for folder in (tmp_path, tmp_path / "data"):
        folder.mkdir(exist_ok=True)
        merfish.write_h5ad(folder / "merfish.h5ad")
        xenium.write_zarr(folder / "xenium.zarr")
        made.reference.write_h5ad(folder / "sc_reference.h5ad")
    # the pages name technologies by hand, which must then be those of the new slice as well
    new.write_h5ad(tmp_path / "new_slice.h5ad")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CAEConfig, "total_steps", lambda self, cells: 5)
    for limit in ("TAKES_AWAY", "CLUSTERS_LOST"):  # a network that learned nothing would be left out
        monkeypatch.setattr(f"lloki.run.held_out.{limit}", np.inf)
    monkeypatch.setattr("lloki.run.outputs.own_scores", lambda adata, config: (None, {}))  # compiles long
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_python_of_the_pages_runs(page, place):
    code = blocks(page, "python")
    assert code
    run(code)


def test_the_gallery_shows_a_small_image_beside_every_snippet():
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    images = re.findall(r"\{image\} (images/gallery-\S+)", text)
    assert len(images) == len(set(images)) == len(re.findall(r"^    ```python$", text, re.MULTILINE))
    assert all((ROOT / "docs" / image).stat().st_size < 150_000 for image in images)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_on_real_slices_runs_and_finds_what_it_says(shared_data, tmp_path, monkeypatch):
    tasks = shared_data.parent / "bench" / "tasks.py"
    if not tasks.is_file():
        pytest.skip(f"nothing to cut the slices of the tutorial from real data: {tasks} is absent")
    subprocess.run([sys.executable, str(tasks), str(shared_data), str(tmp_path), "cortex"], check=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (sheet,) = (text for text in blocks(REAL, "text") if text.startswith("path,"))
    (tmp_path / "cortex" / "slices.csv").write_text(sheet)
    for command in blocks(REAL, "shell"):
        result = CliRunner().invoke(app, shlex.split(command.replace("\\\n", " "))[1:])
        assert result.exit_code == 0, result.output
    assert "Oligo: neighbors in other slices are of this type only" in Path("run/report.html").read_text()

    names = run(blocks(REAL, "python"))
    shown = re.findall(r"images/tutorial-([\w-]+\.png)", (ROOT / REAL).read_text(encoding="utf-8"))
    assert len(shown) == 10
    assert {name for name in shown if not Path(name).is_file()} == set()
    assert names["measured"].all(axis=1).sum() == 17
    obs = names["joint"].obs
    layers = pd.crosstab(obs["cell_type"], obs["lloki_domain"]).idxmax(axis=1)
    assert layers[["Ex L2/3", "Ex L5", "Ex L6"]].is_unique
    assert len(set(names["layer6"].values())) == 1
    genes = names["first"].groupby("slice")["gene"].agg(list)
    assert all(set(genes[name]) & {"Foxp2", "Syt6", "Rprm", "Tle4"} for name in names["slices"])
    trials = pd.DataFrame(names["rows"]).set_index(["hidden", "with"])
    alone, all_of_it, others = (
        trials.loc["starmap_visp"].loc[w] for w in ("alone", "reference", "not its Ex")
    )
    assert others["right"] > all_of_it["right"] > alone["right"]
    assert (others[["Astro", "Oligo"]] > 0.5).all()
    layer4 = trials["Ex L4"].unstack()
    assert (layer4["reference"] + 0.1 < layer4["not its Ex"]).all()  # the reference has no layer 4
    assert names["carried"].left_out == "batches"
    recall = names["carried"].table.set_index("type")["recall"]
    assert (recall[["Astro", "Oligo", "Vascular", "Micro"]] > 0.5).all()
    alike = (names["by_label"] == names["by_markers"])[names["both"]]
    assert alike.mean() > 0.85
    assert names["estimate"].var.loc["Cux1", "validated"] == "within one slice"
    assert (names["alignment"].table()["verdict"] != "aligned").all()


def test_the_readme_runs_and_names_what_a_run_leaves(place):
    names = run(blocks("README.md", "python"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    left = {p.name for p in names["result"].folder.iterdir()}
    assert {name for name in left if f"`{name}" not in text} == {"work"}
    assert names["joint"].obsm["X_lloki"].shape == (300, 128)
    assert names["new"].obsm["X_lloki"].shape == (150, 128)


@pytest.mark.parametrize(("language", "option"), [("toml", "--config"), ("text", "--samplesheet")])
def test_files_of_the_inputs_page_are_understood(language, option, place):
    (text,) = blocks("docs/inputs.md", language)
    file = place / "given"
    file.write_text(text)
    rest = [] if option == "--config" else ["--reference", "sc_reference.h5ad", "--out", "run"]
    result = CliRunner().invoke(app, ["integrate", option, str(file), *rest, "--dry-run"])
    assert result.exit_code == 0, result.output
    for technology in ("MERFISH", "Xenium"):
        assert technology in result.stdout


def test_the_embedder_written_by_hand_works_in_a_run(place, monkeypatch):
    (code,) = blocks("docs/embedders.md", "python")
    hashed = run([code])["Hashed"]

    class Entry(EntryPoint):
        def load(self) -> object:
            return hashed

    entry = Entry("hashed", "my_package:Hashed", "lloki.embedders")
    monkeypatch.setattr("lloki.embed.base.entry_points", lambda group: [entry])
    result = lloki.integrate(
        ["merfish.h5ad", "xenium.zarr"], reference="sc_reference.h5ad", out="run", embedder="hashed"
    )
    assert result.adata.obsm["X_lloki_fp"].shape == (300, 64)
    assert np.ptp(result.adata.obsm["X_lloki_fp"], axis=0).all()
    new = lloki.project("new_slice.h5ad", run="run")
    assert isinstance(new, ad.AnnData)
    assert new.obsm["X_lloki"].shape == (150, 128)
