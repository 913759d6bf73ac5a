"""The Snakemake rules: they call commands and options that exist, and Snakemake reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from lloki.cli import app

WORKFLOW = Path(__file__).parents[1] / "workflow"
CONFIG = """
slices: {a: a.h5ad, "b c": b.h5ad}
reference: r.h5ad
out: results
project: {new: n.h5ad}
impute: [a]
align: ["b c"]
transfer_labels: cell_type
label_sources: ["b c"]
export: [csv]
scheduler: tcp://head:8786
"""


def test_commands_and_options_exist():
    text = (WORKFLOW / "Snakefile").read_text()
    shells = re.findall(r"shell:\n((?:        .*\n)+)", text)
    calls = [re.search(r"lloki ([a-z-]+) ((?:.|\n)*)", shell).groups() for shell in shells]
    assert {command for command, _ in calls} >= {"check", "integrate", "project", "impute", "align", "export"}
    commands = typer.main.get_command(app).commands
    for command, rest in calls:
        known = {option for parameter in commands[command].params for option in parameter.opts}
        used = set(re.findall(r"(?<!\w)--[a-z-]+", rest))
        assert "--out" in used or command == "check"
        assert used <= known, command
    integrate = {option for parameter in commands["integrate"].params for option in parameter.opts}
    assert {"--scheduler", "--reference", "--samplesheet"} <= integrate


def test_snakemake_reads_the_rules(tmp_path):
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed")
    (tmp_path / "config.yaml").write_text(CONFIG)
    for name in "abrn":
        (tmp_path / f"{name}.h5ad").touch()
    command = [snakemake, "-s", str(WORKFLOW / "Snakefile"), "--cores", "1", "--dry-run", "--printshellcmds"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    shown = ended.stdout + ended.stderr
    for call in (
        "lloki check a.h5ad --reference r.h5ad",
        "--scheduler tcp://head:8786 --out results/run",
        "lloki project n.h5ad --run results/run --out results/projected/new",
        "lloki impute results/run/integrated.h5ad a --out results/imputed/a",
        "--fixed a --moving 'b c' --out 'results/aligned/b c'",
        "lloki transfer-labels results/run/integrated.h5ad --label-key cell_type --source 'b c' --out",
        "lloki export results/run --to csv --out results/export/csv",
    ):
        assert call in shown, call
