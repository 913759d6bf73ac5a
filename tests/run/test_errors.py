"""What cannot be done is reported before any work, with place and fix; nothing half-written is left."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import lloki
from lloki.errors import ConfigError, GeneError, InputError, ModelError, OutputError, RunError
from lloki.fp import FPConfig
from lloki.run import units
from lloki.run.store import Piece
from lloki.run.units import FeatureUnit, compute


def _spoiled(path: Path, folder: Path, spoil) -> Path:
    adata = ad.read_h5ad(path)
    adata = spoil(adata) or adata
    folder.mkdir(exist_ok=True)
    adata.write_h5ad(folder / path.name)
    return folder / path.name


def _without_positions(adata):
    del adata.obsm["spatial"]


def _negative(adata):
    adata.X = adata.X.copy()
    adata.X.data[0] = -1


def _logged(adata):
    adata.X = adata.X.copy()
    adata.X.data = np.log1p(adata.X.data * 1.7)


def _renamed(adata):
    adata.var_names = [f"strange{i}" for i in range(adata.n_vars)]


def test_all_errors_of_all_inputs_before_any_work(files, integrate, tmp_path):
    one = _spoiled(files.alpha_1, tmp_path / "in", _without_positions)
    two = _spoiled(files.beta, tmp_path / "in", _negative)
    with pytest.raises(InputError) as caught:
        integrate([one, two, files.alpha_2])
    text = str(caught.value)
    assert "2 errors in the inputs" in text
    assert f"{one} obsm['spatial']: is missing" in text
    assert str(two) in text
    assert "--skip-bad" in text
    assert not (tmp_path / "run").exists()


def test_bad_slices_are_skipped(files, integrate, tmp_path):
    bad = _spoiled(files.beta, tmp_path / "in", _negative)
    lost = _spoiled(files.alpha_2, tmp_path / "in", _renamed)
    result = integrate(
        [bad, files.alpha_1, lost], skip_bad=True, project_only=["betaseq_1"], technology={"betaseq_1": "B"}
    )
    assert list(result.qc["slice"]) == ["alphafish_1"]
    skipped = {m["slice"]: m["text"] for m in result.run["messages"] if m["text"].startswith("skipped: ")}
    assert set(skipped) == {"betaseq_1", "alphafish_2"}
    assert str(bad) in skipped["betaseq_1"]
    with pytest.raises(InputError, match="negative"):
        integrate([bad], skip_bad=True)


def test_skipping_keeps_the_names_of_sections(files, integrate, tmp_path):
    """Sections of one sample that were read before keep their own names when another input goes."""
    both = ad.concat({"a": ad.read_h5ad(files.alpha_1), "b": ad.read_h5ad(files.alpha_2)}, label="part")
    both.uns["technology"] = "Alphafish"
    both.write_h5ad(tmp_path / "both.h5ad")
    sections = lloki.io.read_slices([tmp_path / "both.h5ad"], slice_key="part")
    bad = _spoiled(files.beta, tmp_path / "in", _negative)
    result = integrate([*sections, bad], skip_bad=True)
    assert list(result.qc["slice"]) == ["both:a", "both:b"]


def test_no_gene_in_common_with_the_reference(files, integrate, tmp_path):
    lost = _spoiled(files.beta, tmp_path / "in", _renamed)
    with pytest.raises(GeneError) as caught:
        integrate([files.alpha_1, lost])
    assert "betaseq_1" in str(caught.value)
    assert str(files.reference) in str(caught.value)
    assert not (tmp_path / "run" / "work" / "features").exists()


def test_references(files, integrate, tmp_path):
    with pytest.raises(ConfigError, match="a reference is needed"):
        integrate(reference=None)
    logged = _spoiled(files.reference, tmp_path / "in", _logged)
    with pytest.raises(InputError, match=r"reference\.h5ad X.*log"):
        integrate(reference=logged)
    with pytest.raises(InputError, match=r"nowhere\.h5ad: does not exist"):
        integrate(reference=tmp_path / "nowhere.h5ad")
    assert not (tmp_path / "run").exists()


def test_project_only(integrate, tmp_path):
    with pytest.raises(ConfigError, match="project_only names 'gamma', which is no slice"):
        integrate(project_only=["gamma"])
    with pytest.raises(ConfigError, match=r"'betaseq_1' is not trained on.*\(Betaseq\|panel_"):
        integrate(project_only=["betaseq_1"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"embedder": "scoop"}, "no embedder is called 'scoop'. Installed: factor, geneformer"),
        ({"embedder": "precomputed"}, "name the obsm key"),
        ({"embedder": "factor:x"}, "does not take these options"),
        ({"preset": "newest"}, "no preset 'newest'"),
        ({"alpha": 1.5}, "alpha must lie between 0 and 1"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
        ({"resolution": 0}, "resolution must be above 0"),
        ({"seed": -1}, "seed must be"),
        ({"seed": "one"}, "seed must be"),
        ({"seed": 2**32}, "from 0 to 4294967295"),
        ({"model": "scgpt-human"}, "'factor' reads no weights"),
        ({"cae": {"step": 3}}, "step"),
        ({"fp": {"kk": 3}}, "'kk'"),
        ({"color": "red"}, "color"),
        ({"device": "abacus"}, "'abacus' is not available"),
        ({"embeder": "factor"}, "integrate has no option 'embeder'. Did you mean 'embedder'?"),
    ],
)
def test_parameters(changed, text, integrate, tmp_path):
    with pytest.raises(ConfigError) as caught:
        integrate(**changed)
    assert text in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_labels_that_no_slice_has(integrate, tmp_path):
    with pytest.raises(InputError, match=r"has no column 'kind'.*cell_type"):
        integrate(label_key="kind")
    assert not (tmp_path / "run").exists()


def test_places_that_cannot_be_written(integrate, tmp_path, writable_again):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"file: is a file, not a folder.*--out"):
            integrate(out=out)
    if os.geteuid():  # root may write anywhere
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o555)
        writable_again(closed)
        with pytest.raises(OutputError, match="cannot be written"):
            integrate(out=closed / "run")


def _half_written(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if ".part" in p.name]


@pytest.fixture
def mount_of_its_own() -> list[str]:
    command = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    return command


@pytest.mark.slow
def test_a_full_disk(mount_of_its_own, files, settings, tmp_path):
    """A real disk too small for one stage after the other; HDF5 must not take the interpreter with it."""
    (tmp_path / "disk").mkdir()
    command = [*mount_of_its_own, sys.executable, str(Path(__file__).with_name("small_disk.py"))]
    command += [str(tmp_path / "disk"), str(files.reference), json.dumps(settings), *map(str, files.slices)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    text = json.loads(ended.stdout.splitlines()[-1])
    for one in text:
        assert f"{tmp_path / 'disk' / 'run'}" in one["error"]
        assert "the disk is full" in one["error"]
        assert "--out" in one["error"]
        assert not one["left"]
        assert not one["finished"]
    places = {Path(one["error"].split(": ")[0]).parent.name for one in text}
    assert {"features", "run"} <= places  # in the middle, and while results are written
    assert "integrated.h5ad" in text[-1]["error"]


@pytest.mark.parametrize("largest", [8_000, 40_000, 120_000, 300_000])
def test_a_file_that_may_not_grow(largest, base, integrate, same, tmp_path):
    """No file may grow beyond so many bytes: different stages meet the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        with pytest.raises(
            OutputError, match=r"larger than the file system, or the limit of this shell.*--out"
        ) as caught:
            integrate()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path / "run") in str(caught.value)
    assert not _half_written(tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    for piece in (tmp_path / "run").rglob("*.npz"):
        assert (base.folder / piece.relative_to(tmp_path / "run")).exists()
    same(base, integrate())


@pytest.mark.parametrize("name", ["integrated.h5ad", "qc.csv", "run.json", "model"])
def test_a_disk_that_fills_while_results_are_written(name, base, integrate, tmp_path, monkeypatch):
    """A finished run is text by its run.json; the one before is not left to stand for new results."""
    shutil.copytree(base.folder, tmp_path / "run")
    before = (tmp_path / "run" / "integrated.h5ad").read_bytes()
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "run" / name and not str(source).endswith(".old"):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        integrate()
    monkeypatch.undo()
    assert str(tmp_path / "run" / name) in str(caught.value)
    assert not _half_written(tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    if name in ("integrated.h5ad", "model"):
        assert (tmp_path / "run" / "integrated.h5ad").read_bytes() == before


def _unit(tmp_path: Path, **changed) -> FeatureUnit:
    given = {
        "piece": Piece("features", "slice_1", "k", tmp_path / "out.npz"),
        "cells": 3,
        "source": tmp_path / "in.h5ad",
        "reference_sparsity": np.array([0.5]),
        "config": FPConfig(),
    }
    return FeatureUnit(**(given | changed))


def test_an_unforeseen_error_names_slice_and_stage(tmp_path, monkeypatch):
    def crowded(*args, **options):
        raise MemoryError("Unable to allocate 80 GiB")

    monkeypatch.setitem(units._COMPUTE, FeatureUnit, crowded)
    with pytest.raises(RunError, match=r"slice_1: the memory is too small for the stage 'features'"):
        compute(_unit(tmp_path))

    def strange(*args, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(units._COMPUTE, FeatureUnit, strange)
    with pytest.raises(RunError, match=r"slice_1: .*'features' failed with ZeroDivisionError: division"):
        compute(_unit(tmp_path))

    def lost(*args, **options):
        raise GeneError("the model knows 1 of the 80 genes", hint="It needs 3.")

    monkeypatch.setitem(units._COMPUTE, FeatureUnit, lost)
    with pytest.raises(GeneError, match=r"slice_1: the model knows 1 of the 80 genes\. It needs 3\."):
        compute(_unit(tmp_path))


def test_a_run_of_a_missing_embedder_cannot_be_projected(base, files, tmp_path):
    shutil.copytree(base.folder / "model", tmp_path / "model")
    (tmp_path / "model" / "embedder" / "embedder.json").write_text('{"name": "absent"}')
    for sums in (tmp_path / "model").rglob("SHA256SUMS"):  # with them, it would be a damaged file
        sums.unlink()
    with pytest.raises(ModelError, match="made with the embedder 'absent', which is not installed"):
        lloki.project(files.alpha_2, run=tmp_path)
