"""``check``, ``demo``, ``doctor``, and what all commands share: exit codes, errors, a light start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import anndata
import numpy as np
import pytest

import lloki as package
from lloki._log import logger
from lloki.cli.console import reporting
from lloki.cli.failures import stop_on_sigterm
from lloki.errors import LlokiWarning, ModelError
from lloki.genes import orthologs


def test_check_of_good_slices_and_their_reference(lloki, tissue_files):
    slices = sorted(tissue_files.glob("*_1.h5ad"))
    result = lloki("check", *slices, "--reference", tissue_files / "reference.h5ad")
    assert result.exit_code == 0, result.output
    assert "88 of 88" in result.stdout  # Alphafish's genes in the reference
    assert "All can be used." in result.stdout


def test_check_lists_every_error_and_exits_with_1(lloki, tissue_files, tmp_path):
    adata = anndata.read_h5ad(tissue_files / "betaseq_1.h5ad")
    adata.X = np.log1p(adata.X.toarray() / 3)
    del adata.obsm["spatial"]
    adata.write_h5ad(tmp_path / "bad.h5ad")
    result = lloki("check", tissue_files / "alphafish_1.h5ad", tmp_path / "bad.h5ad")
    assert result.exit_code == 1
    assert "2 errors" in result.stdout
    assert "obsm['spatial']" in result.stdout
    assert "1 of 2 slices cannot be used" in result.stdout


def test_check_reports_once_what_several_slices_share(lloki, tissue_files):
    slices = sorted(tissue_files.glob("*_1.h5ad"))
    result = lloki("check", *slices, *(f"--technology=T{i}={file}" for i, file in enumerate(slices)))
    assert result.exit_code == 0, result.output
    shown = [line for line in result.stdout.splitlines() if "obs['technology']" in line]
    text = "obs['technology'] has a name that lloki uses; kept as obs['technology_input']"
    assert shown == [f"Warning: alphafish_1, betaseq_1, gammamap_1: {text}"]


def test_check_with_a_reference_of_another_species(lloki, tissue_files, tmp_path):
    adata = anndata.read_h5ad(tissue_files / "reference.h5ad")
    human = orthologs("mouse", "human")
    adata = adata[:, [gene in human for gene in adata.var_names]].copy()
    adata.var_names = [human[gene] for gene in adata.var_names]
    adata.write_h5ad(tmp_path / "human.h5ad")
    result = lloki("check", tissue_files / "alphafish_1.h5ad", "--reference", tmp_path / "human.h5ad")
    assert result.exit_code == 1
    assert "--orthologs" in result.stdout


def test_check_with_a_reference_that_is_not_there(lloki, tissue_files, tmp_path):
    result = lloki("check", tissue_files / "alphafish_1.h5ad", "--reference", tmp_path / "none.h5ad")
    assert result.exit_code == 1
    assert "does not exist" in result.stdout


def test_names_are_never_read_as_markup(lloki, tissue_files, tmp_path):
    file = tmp_path / "[red]x[bold]<script>.h5ad"
    file.write_bytes((tissue_files / "alphafish_1.h5ad").read_bytes())
    result = lloki("check", file)
    assert result.exit_code == 0, result.output
    assert "[red]x[bold]<script>" in result.stdout


def test_demo_runs_the_pipeline_and_names_the_report(lloki, tmp_path, monkeypatch):
    monkeypatch.setattr("lloki.run.outputs.own_scores", lambda adata, config: (None, {}))  # compiles long
    out = tmp_path / "demo run"
    result = lloki("demo", "--cells", 120, "--epochs", 20, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"Report: {out / 'report.html'}" in result.stdout.splitlines()
    assert (out / "report.html").stat().st_size > 10_000
    joint = anndata.read_h5ad(out / "integrated.h5ad")
    assert joint.n_obs == 360
    assert joint.obs["cell_type"].notna().all()
    assert f"lloki integrate '{out}/data/alphafish_1.h5ad'" in result.stdout


def test_doctor(lloki, monkeypatch):
    monkeypatch.setenv("LLOKI_THREADS", "1")
    result = lloki("doctor")
    assert result.exit_code == 0, result.output
    for text in (
        package.__version__,
        "torch",
        "factor, geneformer, precomputed, scgpt",
        "spatialdata",
        "device",
    ):
        assert text in result.stdout
    threads = next(line for line in result.stdout.splitlines() if "LLOKI_THREADS" in line)
    assert threads.split()[-1] == "1"


def test_doctor_names_the_extra_of_an_absent_package(lloki, monkeypatch):
    monkeypatch.setattr("lloki.cli._doctor._installed", lambda package: package != "distributed")
    result = lloki("doctor")
    assert "absent: distributed; pip install 'lloki[distributed]'" in result.stdout


def test_errors_are_one_message_without_a_traceback(lloki, tmp_path):
    out = tmp_path / "out"
    none, r = tmp_path / "none.h5ad", tmp_path / "r"
    missing = lloki("integrate", none, "--reference", r, "--out", out)
    assert missing.exit_code == 1
    first, *each = missing.stderr.splitlines()
    assert first == "2 errors in the inputs:"
    assert [f"{path}: does not exist" in line for path, line in zip((r, none), each)] == [True, True]
    assert len(each) == 2
    usage = lloki("integrate", "--preset", "none", "x.h5ad", "--out", out)
    assert usage.exit_code == 2
    assert usage.stderr.startswith("no preset 'none'")
    assert lloki("integrate", "--neighbors", 3).exit_code == 2


def test_debug_shows_the_error_itself(lloki, tmp_path):
    with pytest.raises(ModelError, match="no finished run"):
        lloki("project", "x.h5ad", "--run", tmp_path, "--out", tmp_path / "out", "--debug")


def test_ctrl_c_names_the_way_to_continue(lloki, monkeypatch):
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lloki.run._plan.check_inputs", stop)
    result = lloki("check", "x.h5ad")
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr


def test_sigterm_stops_as_ctrl_c_does(lloki, monkeypatch):
    def stop(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("lloki.run._plan.check_inputs", stop)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop_on_sigterm()
        result = lloki("check", "x.h5ad")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 143
    assert result.stderr == "Stopped; run the same command again to continue.\n"


def test_a_full_memory_is_one_sentence(lloki, monkeypatch):
    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lloki.run._plan.check_inputs", fail)
    result = lloki("check", "x.h5ad")
    assert result.exit_code == 1
    assert result.stderr.startswith("The memory is full.")
    assert result.stderr.count("\n") == 1


def test_an_unexpected_error_is_one_sentence_with_a_log(lloki, monkeypatch, tmp_path):
    def fail(*arguments: object, **options: object) -> None:
        raise TypeError("no such thing\nand more")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("lloki.cli._annotate.check_place", fail)
    command = ("annotate", "x.h5ad", "--markers", "m.csv", "--out", tmp_path / "out")
    result = lloki(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("Unexpected error (TypeError: no such thing)")
    assert result.stderr.count("\n") == 1
    assert "the same command continues" in result.stderr
    (log,) = tmp_path.glob("lloki-*.log")
    assert str(log) in result.stderr
    assert "TypeError: no such thing" in log.read_text()
    with pytest.raises(TypeError):
        lloki(*command, "--debug")


def test_warnings_are_shown_once_as_sentences(capsys):
    with reporting() as console:
        for _ in range(2):
            warnings.warn("a gene is odd", LlokiWarning, stacklevel=1)
        warnings.warn("not ours", UserWarning, stacklevel=1)
        logger.warning("a %s died", "worker")
        console.messages(
            [
                {"slice": "reference", "text": "/a.h5ad: odd"},
                *({"slice": name, "text": "few genes"} for name in "st"),
                {"slice": "t", "text": "skipped: bad"},
            ],
            files=[Path("/a.h5ad")],
        )
    assert capsys.readouterr().err.splitlines() == [
        "Warning: a gene is odd",
        "Warning: a worker died",
        "Warning: /a.h5ad: odd",
        "Warning: s, t: few genes",
    ]
    assert not logger.handlers


def test_version_and_help(lloki):
    assert lloki("--version").stdout.strip() == f"lloki {package.__version__}"
    for command in ("demo", "integrate", "project", "benchmark", "check", "doctor"):
        assert lloki(command, "--help").exit_code == 0


def test_python_m_lloki_is_the_command():
    command = [sys.executable, "-m", "lloki", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"lloki {package.__version__}"


def test_help_loads_nothing_heavy():
    heavy = {"torch", "numpy", "pandas", "scipy", "anndata", "scanpy", "numba", "matplotlib"}
    code = f"import sys, lloki.cli; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_home_where_shells_leave_its_sign(lloki, finished, tmp_path, monkeypatch):
    """In ``--out=~/run``, or in quotes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(finished[0])
    done = lloki("export", "~/run", "--to", "cellxgene", "--out=~/exported")
    assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exported", "run"]
