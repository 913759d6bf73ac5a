"""The paper's protocol of alignment on a run."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lloki.benchmark.alignment import _protocol, benchmark_alignment, summarize
from lloki.benchmark.alignment._paste import ALPHAS, paste
from lloki.benchmark.alignment.trial import draw_trial
from lloki.errors import ConfigError, InputError

pytestmark = pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")

FAKE = """
import numpy as np
from types import SimpleNamespace

def pairwise_align(a, b, alpha):
    return np.eye(len(a), len(b))

def analysis(a, b, plan, output_params, matrix):
    return None, None, np.eye(2), a.mean(0), b.mean(0)

visualization = SimpleNamespace(generalized_procrustes_analysis=analysis)
"""


@pytest.fixture
def fake_paste(tmp_path: Path) -> str:
    """A Python that has a package of PASTE's name, which moves middle on middle."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "paste.py").write_text(FAKE)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}/site" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return str(python)


def test_every_method_at_every_overlap_and_nothing_twice(run, tmp_path, monkeypatch):
    settings = {"out": tmp_path / "b", "overlaps": (1.0, 0.0), "replicates": 1}
    table = benchmark_alignment(run.folder, **settings)
    assert [set(g["method"]) for _, g in table.groupby("overlap")] == [
        {"lloki", "kabsch", "truth"},  # no genes to compare, so no PCA of them
        {"lloki", "kabsch", "pca", "truth"},
    ]
    assert table.loc[table["method"] == "truth", "degrees"].max() < 1e-6
    assert table[["distance", "agreement"]].notna().all().all()
    assert set(table.loc[table["method"] == "lloki", "verdict"]) <= {"aligned", "ambiguous", "failed"}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "b" / "alignment.csv"), table)
    assert (tmp_path / "b" / "alignment.png").stat().st_size > 10_000
    means = summarize(table)
    assert len(means) == 7
    assert (means["worst"] >= means["degrees"] - 1e-9).all()

    def never(*args: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(_protocol, "_methods", never)
    pd.testing.assert_frame_equal(benchmark_alignment(run.folder, **settings), table)


def test_what_cannot_be_compared_is_said(run, tmp_path):
    out = {"out": tmp_path / "b"}
    with pytest.raises(InputError, match="is no run"):
        benchmark_alignment(tmp_path, **out)
    with pytest.raises(InputError, match="no slice 'none'"):
        benchmark_alignment(run.folder, moving="none", **out)
    first = run.adata.obs["slice"].iloc[0]
    with pytest.raises(ConfigError, match="two slices"):
        benchmark_alignment(run.folder, fixed=first, moving=first, **out)
    with pytest.raises(InputError, match=r"obs\['kind'\]"):
        benchmark_alignment(run.folder, label_key="kind", **out)
    with pytest.raises(ConfigError, match="replicates"):
        benchmark_alignment(run.folder, replicates=0, **out)
    with pytest.raises(ConfigError, match="PASTE does not run"):
        benchmark_alignment(run.folder, paste_python=sys.executable, overlaps=(1.0,), **out)
    assert not (tmp_path / "b" / "alignment.csv").exists()


def test_paste_runs_in_another_environment_on_some_of_the_cells(run, fake_paste):
    call = _protocol.Inputs.from_dict(_protocol.json.loads((run.folder / "run.json").read_text())["inputs"])
    names = _protocol._names(list(run.adata.obs["slice"].unique()), None, None)
    trial = draw_trial(*_protocol._read(call, names, None), overlap=0.5, seed=1)
    found = paste(fake_paste, trial, seed=0, cells=10**6)
    assert [alpha for alpha, _ in found] == list(ALPHAS)
    fixed, moving = trial.positions
    np.testing.assert_allclose(found[0][1].apply(moving).mean(0), fixed.mean(0))
    some = paste(fake_paste, trial, seed=0, cells=20)[0][1]
    assert not np.allclose(some.translation, found[0][1].translation)
