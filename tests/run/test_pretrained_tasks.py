"""The whole path with a pretrained embedder on real slices. Weights are random: only the path counts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import lloki
from checkpoints import make_scgpt
from lloki.embed import ScGPT
from lloki.genes import orthologs

TASKS = ("cortex", "hypothalamus-45", "hypothalamus-70", "hypothalamus-100")


@pytest.fixture(scope="module")
def tasks(shared_data, tmp_path_factory):
    script = shared_data.parent / "bench" / "tasks.py"
    if not script.is_file():
        pytest.skip(f"no integration tasks: {script} is absent")
    folder = tmp_path_factory.mktemp("tasks")
    subprocess.run([sys.executable, script, shared_data, folder], check=True, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_and_goes_on_inside_a_slice_after_a_kill(task, tasks, tmp_path, monkeypatch):
    *slices, reference = sorted((tasks / task).glob("*.h5ad"), key=lambda p: p.stem == "reference")
    genes = {gene for path in slices for gene in ad.read_h5ad(path, backed="r").var_names}
    human = sorted({name for name in map(orthologs("mouse", "human").get, sorted(genes)) if name})
    model = make_scgpt(tmp_path / "scgpt", layers=4, dim=128, genes=human)
    given = {"embedder": "scgpt", "model": str(model), "cae": {"steps": 60, "batch_size": 1000}}
    script, out = Path(__file__).with_name("killed_run.py"), tmp_path / "run"
    reported = json.dumps(given | {"rows_per_piece": 400})
    command = [sys.executable, script, out, reference, "Embedding cells", "1000", reported, *slices]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    kept = sum(
        int(p.stem.split("-")[1]) - int(p.stem.split("-")[0]) for p in out.glob("work/embedding/*/*.npz")
    )
    assert kept >= 800
    asked, embed = [], ScGPT.embed

    def counting(self, x, *rest, **named):
        asked.append(x.shape[0])
        return embed(self, x, *rest, **named)

    monkeypatch.setattr(ScGPT, "rows_per_piece", 400)
    monkeypatch.setattr(ScGPT, "embed", counting)
    result = lloki.integrate(slices, reference=reference, out=out, **given)
    assert sum(asked) == len(result.adata) - kept
    assert result.adata.obsm["X_lloki_fp"].shape[1] == 128
    assert np.isfinite(result.adata.obsm["X_lloki"]).all()
    assert (out / "report.html").stat().st_size > 10_000
