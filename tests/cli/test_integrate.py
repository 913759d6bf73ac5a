"""``lloki integrate`` and ``lloki project`` on files, from the options to what lies in the folder."""

from __future__ import annotations

import html
import json
from pathlib import Path

import anndata
import numpy as np
import pytest

from lloki.evaluate import Verdict


def test_a_run_says_whether_to_trust_it_where_the_report_is_and_how_good_it_is(finished):
    out, result = finished
    lines = result.stdout.splitlines()
    (report,) = [line for line in lines if line.startswith("Report: ")]
    asked, said = lines[-1].split("? ", 1)
    assert asked == "Can it be trusted"
    verdict = Verdict.from_dict(json.loads((out / "run.json").read_text())["verdict"])
    assert said == str(verdict)
    page = html.unescape((out / "report.html").read_text())
    assert all(reason in page for reason in verdict.reasons)
    figures = {p.suffix for p in (out / "figures").iterdir() if p.stem == "umap-lloki_cluster"}
    assert figures == {".png", ".svg", ".pdf"}
    assert report == f"Report: {out.resolve() / 'report.html'}"
    assert Path(report.removeprefix("Report: ")).is_file()
    assert "transfer accuracy" in result.stdout
    assert "X_lloki_fp" in result.stdout


def test_without_a_terminal_progress_is_plain_lines_on_stderr(finished):
    _, result = finished
    assert result.stderr.count("Aligning features: 450/450 cells") == 1
    assert result.stderr.count("Aligning batches: 5/5 steps") == 1
    assert "\x1b" not in result.stderr


def test_options_and_file_reach_the_run_and_the_command_line_wins(finished):
    out, _ = finished
    parameters = json.loads((out / "run.json").read_text())["parameters"]
    assert parameters["fp"]["n_neighbors"] == 12  # the file says 10
    assert parameters["fp"]["keep"] == "random"
    assert parameters["fp"]["seed"] == parameters["cae"]["seed"] == parameters["seed"] == 3
    assert parameters["cae"]["steps"] == 5
    assert parameters["label_key"] == "cell_type"


def test_technology_given_for_one_file(finished):
    out, _ = finished
    obs = anndata.read_h5ad(out / "integrated.h5ad").obs
    told = obs.groupby("slice", observed=True)["technology"].agg(lambda t: "/".join(set(t.astype(str))))
    assert told.to_dict() == {"alphafish_1": "MERFISH", "betaseq_1": "Betaseq", "gammamap_1": "Gammamap"}


def test_the_same_command_again_computes_nothing(lloki, finished, tissue_files, config_file):
    out, _ = finished
    slices = sorted(tissue_files.glob("*_1.h5ad"))
    arguments = [
        "--config",
        config_file,
        "--out",
        out,
        "--n-neighbors",
        12,
        "--technology",
        "MERFISH=alphafish_1.h5ad",
    ]
    before = anndata.read_h5ad(out / "integrated.h5ad").obsm["X_lloki"]
    again = lloki("integrate", *slices, *arguments)
    assert again.exit_code == 0, again.output
    stages = json.loads((out / "run.json").read_text())["stages"]
    assert {s["status"] for s in stages if s["stage"] in ("features", "embedding", "training")} == {"reused"}
    np.testing.assert_array_equal(anndata.read_h5ad(out / "integrated.h5ad").obsm["X_lloki"], before)


def test_project_gives_the_rows_of_the_run(lloki, finished, tissue_files, tmp_path):
    out, _ = finished
    result = lloki(
        *("project", tissue_files / "betaseq_1.h5ad", "--run", out, "--out", tmp_path / "new"),
        *("--label-key", "cell_type"),
    )
    assert result.exit_code == 0, result.output
    assert "150 cells" in result.stdout
    new = anndata.read_h5ad(tmp_path / "new" / "projected.h5ad")
    whole = anndata.read_h5ad(out / "integrated.h5ad")
    old = whole[(whole.obs["slice"] == "betaseq_1").to_numpy()]
    np.testing.assert_allclose(new.obsm["X_lloki"], old.obsm["X_lloki"], atol=1e-5)


def test_project_refuses_an_unknown_batch(lloki, finished, tissue_files, tmp_path):
    out, _ = finished
    file = tissue_files / "betaseq_1.h5ad"
    result = lloki(
        *("project", file, "--run", out, "--out", tmp_path / "new", "--technology", f"Other={file}")
    )
    assert result.exit_code == 1
    assert "Other|" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("by_hand", [False, True], ids=["config", "options"])
def test_dry_run_prints_the_plan_and_writes_nothing(lloki, tissue_files, config_file, tmp_path, by_hand):
    slices = [tissue_files / "alphafish_1.h5ad", tissue_files / "betaseq_1.h5ad"]
    more = ["--reference", tissue_files / "reference.h5ad"] if by_hand else ["--config", config_file]
    result = lloki("integrate", *slices, *more, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    for text in ("alphafish_1", "Betaseq", "150", "LLOKI-FP", "LLOKI-CAE", "already done"):
        assert text in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_dry_run_fails_where_the_run_would(lloki, tissue_files, config_file, tmp_path):
    bad = tmp_path / "bad.h5ad"
    bad.write_text("no h5ad")
    arguments = ["integrate", tissue_files / "alphafish_1.h5ad", bad, "--config", config_file]
    arguments += ["--out", tmp_path / "out", "--dry-run"]
    stopped = lloki(*arguments)
    assert stopped.exit_code == 1
    assert "not an .h5ad" in stopped.stdout
    assert lloki(*arguments, "--skip-bad").exit_code == 0
    assert not (tmp_path / "out").exists()


def test_dry_run_without_a_reference(lloki, tissue_files, tmp_path):
    result = lloki("integrate", tissue_files / "alphafish_1.h5ad", "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 2
    assert "--reference" in result.stderr


def test_project_fits_a_token_where_it_is_told_to(lloki, finished, tissue_files, tmp_path):
    out, _ = finished
    file = tmp_path / "new_slice.h5ad"
    file.write_bytes((tissue_files / "betaseq_1.h5ad").read_bytes())
    how = ("--technology", f"Other={file}", "--fit-token")
    result = lloki("project", file, "--run", out, "--out", tmp_path / "new", *how)
    assert result.exit_code == 0, result.output
    assert "was fitted" in result.output
    assert (tmp_path / "new" / "fitted-model" / "cae.json").is_file()


def test_labels_for_training_are_named_with_their_slices(lloki, tissue_files, config_file, tmp_path):
    slices = sorted(tissue_files.glob("*_1.h5ad"))
    arguments = ["--config", config_file, "--out", tmp_path / "run", "--train-labels", "cell_type"]
    refused = lloki("integrate", *slices, *arguments, "--train-labels-of", "nobody")
    assert refused.exit_code == 2
    assert "'nobody'" in refused.output
    result = lloki("integrate", *slices, *arguments, "--train-labels-of", "alphafish_1")
    assert result.exit_code == 0, result.output
    parameters = json.loads((tmp_path / "run" / "run.json").read_text())["parameters"]
    assert parameters["train_labels"] == "cell_type"
    assert parameters["train_label_slices"] == ["alphafish_1"]
    assert "training saw its labels" in result.output
