"""Runs with a pretrained embedder: from features, from raw counts, refused panels, stops inside a slice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import lloki
from checkpoints import make_scgpt
from lloki.embed import ScGPT
from lloki.errors import ConfigError, InputError, LlokiWarning
from lloki.fp import log_normalize
from lloki.io import read_slices


@pytest.fixture(scope="session")
def checkpoint(files, tmp_path_factory):
    genes = sorted({gene for path in files.slices for gene in ad.read_h5ad(path).var_names})
    return make_scgpt(tmp_path_factory.mktemp("scgpt"), genes=genes[::2])


@pytest.fixture(scope="session")
def pretrained(files, settings, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrained") / "run"
    return lloki.integrate(
        files.slices, reference=files.reference, out=out, embedder="scgpt", model=str(checkpoint), **settings
    )


def test_the_run_says_what_it_was_made_with(pretrained, checkpoint):
    reported = pretrained.run["embedder"]
    assert reported["name"] == "scgpt"
    assert reported["settings"] == ScGPT.from_checkpoint(checkpoint).config
    assert len(reported["settings"]["weights"]) == 64
    assert pretrained.adata.obsm["X_lloki_fp"].shape[1] == reported["dim"] == 32


def test_another_checkpoint_embeds_anew(pretrained, files, settings, checkpoint, integrate, status, tmp_path):
    genes = list(json.loads((checkpoint / "vocab.json").read_text()))[:-3]
    other = make_scgpt(tmp_path / "other", genes=genes, seed=1)
    (tmp_path / "run").mkdir()
    os.symlink(pretrained.folder / "work", tmp_path / "run" / "work")
    result = integrate(embedder="scgpt", model=str(other))
    assert set(status(result, "features")) == {"reused"}
    assert set(status(result, "embedding")) == {"computed"}


def test_without_features_the_model_reads_raw_counts(files, integrate, checkpoint):
    result = integrate(embedder="scgpt", model=str(checkpoint), fp=False, reference=None)
    assert not [s for s in result.run["stages"] if s["stage"] == "features"]
    assert result.run["parameters"]["fp"] is None
    model = ScGPT.from_checkpoint(checkpoint)
    for slice_ in read_slices(files.slices):
        name = slice_.obs["slice"].iloc[0]
        rows = result.adata[result.adata.obs["slice"] == name].obsm["X_lloki_fp"]
        alone = model.embed(slice_.X, list(slice_.var_names), cell_ids=list(slice_.obs_names), seed=0)
        np.testing.assert_allclose(rows, alone, atol=1e-6)


@pytest.mark.parametrize("fp", [False, None])
def test_single_cells_are_read_as_the_slices_were(files, integrate, checkpoint, monkeypatch, fp):
    reference = None if fp is False else files.reference
    result = integrate(embedder="scgpt", model=str(checkpoint), fp=fp, reference=reference)
    given, embed = [], ScGPT.embed

    def spy(self, expression, genes, **rest):  # scGPT bins values: its rows alone would not tell
        given.append(expression)
        return embed(self, expression, genes, **rest)

    monkeypatch.setattr(ScGPT, "embed", spy)
    (slice_,) = read_slices(files.slices[:1])
    lloki.project_reference(slice_, run=result.folder)
    wanted = slice_.X if fp is False else log_normalize(slice_.X)
    np.testing.assert_allclose(given[0].toarray(), wanted.toarray())


def test_without_features_the_factor_model_reads_log_normalized_counts(integrate, base):
    result = integrate(fp=False)
    assert set(result.run["metrics"]) == set(base.run["metrics"])
    without = result.adata  # read before the folder is written again
    shares = ((0.0, 0.0), (0.0, 0.4))
    unpropagated, propagated = (integrate(alpha=a, latent_alpha=b).adata for a, b in shares)
    np.testing.assert_array_equal(without.obsm["X_lloki"], unpropagated.obsm["X_lloki"])
    assert not np.allclose(without.obsm["X_lloki_fp"], propagated.obsm["X_lloki_fp"])


def test_settings_without_effect_are_reported(integrate):
    with pytest.warns(LlokiWarning, match="iterations, transport has no effect"):
        integrate(alpha=0.3, fp={"iterations": 3, "transport": False})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*has no effect")
        integrate(n_neighbors=7, fp={"spatial": False})
        integrate(fp={"impute": True, "iterations": 3})


def test_settings_of_what_is_left_out_are_refused(integrate):
    with pytest.raises(ConfigError, match="n_neighbors is a setting of LLOKI-FP"):
        integrate(fp=False, n_neighbors=10)


def test_a_panel_that_the_model_does_not_know_is_refused_before_any_work(integrate, tmp_path):
    stranger = make_scgpt(tmp_path / "stranger", genes=[f"UNKNOWN{i}" for i in range(50)])
    with pytest.raises(InputError, match="0 of 88 genes"):
        integrate(embedder="scgpt", model=str(stranger))
    assert not (tmp_path / "run").exists()


def test_a_new_slice_goes_through_the_saved_model(pretrained, files):
    again = lloki.project(files.beta, run=pretrained.folder)
    names = list(again.obs_names)
    np.testing.assert_allclose(
        again.obsm["X_lloki_fp"], pretrained.adata[names].obsm["X_lloki_fp"], atol=1e-6
    )


def test_a_run_killed_inside_a_slice_goes_on_there(
    files, settings, checkpoint, pretrained, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    script = Path(__file__).with_name("killed_run.py")
    given = settings | {"embedder": "scgpt", "model": str(checkpoint)}
    # Three pieces a slice, and the end comes in the third.
    given_json = json.dumps(given | {"rows_per_piece": 50})
    command = [
        sys.executable,
        script,
        out,
        files.reference,
        "Embedding cells",
        "130",
        given_json,
        *files.slices,
    ]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    pieces = sorted(out.glob("work/embedding/*/*.npz"))
    assert [p.name for p in pieces] == ["0-50.npz", "50-100.npz"]
    asked, embed = [], ScGPT.embed

    def counting(self, x, *rest, **named):
        asked.append(x.shape[0])
        return embed(self, x, *rest, **named)

    monkeypatch.setattr(ScGPT, "rows_per_piece", 50)
    monkeypatch.setattr(ScGPT, "embed", counting)
    result = lloki.integrate(files.slices, reference=files.reference, out=out, **given)
    assert sum(asked) == len(result.adata) - 100
    # pieces make other batches, so not bit for bit; training makes more of the difference
    for key, atol in (("X_lloki_fp", 1e-4), ("X_lloki", 1e-3)):
        np.testing.assert_allclose(result.adata.obsm[key], pretrained.adata.obsm[key], atol=atol, err_msg=key)
    assert not list(out.glob("work/embedding/*/*.npz"))
