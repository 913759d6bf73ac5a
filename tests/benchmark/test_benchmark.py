"""Methods of a run and of files beside each other, computed once."""

from __future__ import annotations

import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lloki.benchmark import ABLATIONS, METHODS
from lloki.benchmark.methods import DEFAULT_METHODS
from lloki.benchmark.subject import open_subject
from lloki.errors import ConfigError, InputError
from lloki.evaluate import expression_pca, normalized
from lloki.io import ReadOptions
from lloki.run.inputs import Inputs

pytestmark = pytest.mark.filterwarnings("ignore::lloki.errors.LlokiWarning")


@pytest.fixture
def file(run, tmp_path) -> Path:
    """The run's cells in a file of their own, with an embedding from elsewhere."""
    adata = run.adata.copy()
    rng = np.random.default_rng(0)
    adata.obsm["X_other"] = rng.normal(size=(adata.n_obs, 5))
    adata.obsm["frame"] = pd.DataFrame({"a": ["text"] * adata.n_obs}, index=adata.obs_names)
    adata.write_h5ad(tmp_path / "other.h5ad")
    return tmp_path / "other.h5ad"


def test_every_method_of_a_run(run, compare, judged):
    result = compare(run.folder, seeds=2)
    absent = set() if find_spec("mofapy2") else {"mofa", "mofa-harmony"}
    assert set(result.facts["skipped"]) == {METHODS[m].title for m in absent}
    titles = [METHODS[m].title.format(embedder="factor") for m in DEFAULT_METHODS if m not in absent]
    assert list(result.methods["method"]) == titles
    by_name: dict[str, list[np.ndarray]] = {}
    for name, x in judged:
        by_name.setdefault(name, []).append(x)
    joint = run.adata
    np.testing.assert_array_equal(by_name["lloki"][0], joint.obsm["X_lloki"])
    np.testing.assert_array_equal(by_name["fp"][0], joint.obsm["X_lloki_fp"])
    assert (by_name["lloki"][1] != by_name["lloki"][0]).any()
    shared = normalized(joint[:, joint.varm["lloki_measured"].all(1)].X)
    np.testing.assert_allclose(by_name["pca-shared"][0], expression_pca(shared), atol=1e-4)
    repeats = result.methods.set_index("method")["repeats"]
    assert repeats["PCA, shared genes"] == 1
    assert repeats["LLOKI"] == repeats["PCA, shared genes + Harmony"] == 2


def test_the_same_call_again_computes_nothing(run, compare, computed, tmp_path):
    first = compare(run.folder, methods=["lloki", "pca-union-harmony"])
    before = first.scores
    work = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "work").rglob("*") if p.is_file()}
    assert len(computed) == 2
    again = compare(run.folder, methods=["lloki", "pca-union-harmony", "pca-shared"])
    assert len(computed) == 3
    pd.testing.assert_frame_equal(again.scores.iloc[:2], before, check_exact=False)
    assert all(p.stat().st_mtime_ns == t for p, t in work.items())


def test_the_run_itself_is_not_touched(run, compare):
    left = {p: p.read_bytes() for p in run.folder.iterdir() if p.is_file()}
    compare(run.folder, methods=["embedder"])
    assert {p: p.read_bytes() for p in run.folder.iterdir() if p.is_file()} == left


def test_every_ablation_beside_the_default(run, compare, judged):
    result = compare(run.folder, methods=["fp"], ablate=True, figures=True)
    assert result.facts["skipped"] == {}
    table = result.ablations
    assert table is not None
    assert table["ablation"].iloc[0] == "LLOKI (its values)"
    assert len(table) == 1 + len(ABLATIONS)
    scores = result.scores.set_index("name")
    own = table.set_index("ablation")
    assert own.loc["no triplet loss", "clisi"] == pytest.approx(
        scores.loc["no-triplet", "clisi"] - scores.loc["lloki", "clisi"]
    )
    by_name = dict(judged)
    changed = (
        "no-reconstruction",
        "no-triplet",
        "no-conservation",
        "no-average",
        "imputation",
        "no-transport",
    )
    for name in changed:
        assert (by_name[name] != by_name["lloki"]).any(), name
    np.testing.assert_array_equal(by_name["no-cae"], by_name["fp"])
    for name in ("methods", "ablations"):
        for kind in ("png", "svg", "pdf"):
            assert (result.folder / f"{name}.{kind}").stat().st_size > 5_000


def test_any_embedding_of_any_file_is_a_method(file, compare):
    result = compare(file, label_key="cell_type", batch_key="technology", pre="X_other")
    assert result.facts["batches"] == ["Alphafish", "Betaseq"]
    there = set(result.methods["method"])
    assert {"X_other", "X_lloki", "X_lloki_fp", "PCA, union of genes"} <= there
    assert not {"spatial", "X_umap", "frame", "LLOKI"} & there
    asked = compare(file, label_key="cell_type", methods=["X_umap", "lloki"])
    assert list(asked.methods["method"]) == ["X_umap"]
    assert "folder of a run" in asked.facts["skipped"]["LLOKI"]


def test_files_of_the_same_cells_add_their_embeddings_whatever_their_order(run, file, compare, judged):
    turned = ad.read_h5ad(file)[::-1].copy()
    turned.write_h5ad(file)
    result = compare([run.folder, file], methods=["X_other", "other: X_lloki"])
    assert list(result.methods["method"]) == ["X_other", "other: X_lloki"]
    own = turned[run.adata.obs_names]
    np.testing.assert_allclose(judged[0][1], own.obsm["X_other"], rtol=1e-6)
    few = turned[:20].copy()
    few.write_h5ad(file)
    with pytest.raises(InputError, match="lacks 280 of the 300 cells"):
        compare([run.folder, file])


def test_an_umap_of_every_method(run, compare):
    result = compare(run.folder, methods=["lloki", "pca-union"], umap=True, figures=True)
    for kind in ("png", "svg", "pdf"):
        assert (result.folder / f"umap.{kind}").stat().st_size > 5_000


def test_what_cannot_be_judged_is_left_out_with_its_reason(run, file, compare, monkeypatch):
    broken = ad.read_h5ad(file)
    broken.obsm["X_nan"] = np.full((broken.n_obs, 3), np.nan)
    broken.X = -broken.X
    broken.write_h5ad(file)
    monkeypatch.setitem(sys.modules, "scvi", None)
    result = compare(file, label_key="cell_type", methods=["pca-union", "scvi", "X_nan", "X_other"])
    skipped = result.facts["skipped"]
    assert list(result.methods["method"]) == ["X_other"]
    assert "NaN" in skipped["X_nan"]
    assert "not counts" in skipped["PCA, union of genes"]
    assert "not counts" in skipped["scVI, union of genes"]
    assert "pcr" not in result.facts["aggregated"]
    assert result.facts["notes"]["X_other, repeat 0"]["pcr"] == "nothing to compare with"
    with pytest.raises(InputError, match="no method could be judged"):
        compare(file, label_key="cell_type", methods=["X_nan"])
    absent = compare(run.folder, methods=["scvi", "fp"])
    assert "pip install 'lloki[scvi]'" in absent.facts["skipped"]["scVI, union of genes"]


def test_scvi_gets_counts_and_batches(run, compare, monkeypatch, judged):
    given = {}

    class Model:
        def __init__(self, adata, **settings):
            given.update(adata=adata, **settings)

        @staticmethod
        def setup_anndata(adata, batch_key):
            given["batch"] = list(adata.obs[batch_key])

        def train(self, **settings):
            given["trained"] = settings

        def get_latent_representation(self):
            return np.asarray(given["adata"].X[:, :30].toarray())

    fake = SimpleNamespace(settings=SimpleNamespace(seed=None), model=SimpleNamespace(SCVI=Model))
    monkeypatch.setitem(sys.modules, "scvi", fake)
    result = compare(run.folder, methods=["scvi"])
    assert list(result.methods["method"]) == ["scVI, union of genes"]
    assert given["batch"] == list(run.adata.obs["slice"].astype(str))
    assert given["adata"].X.sum() == run.adata.X.sum()
    assert judged[0][1].shape[1] == given["n_latent"] == 30
    assert fake.settings.seed == 5


def test_a_peer_gets_the_panel_of_each_slice_and_the_reference(run, compare, monkeypatch, judged, tmp_path):
    """Also where batches are not slices and cells of a slice do not lie together."""
    folder = tmp_path / "turned"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("work"))
    order = np.random.default_rng(0).permutation(run.adata.n_obs)
    turned = run.adata[order].copy()
    turned.obs["all"] = "one"
    turned.write_h5ad(folder / "integrated.h5ad")
    call = json.loads((folder / "run.json").read_text())["inputs"]
    files = [ad.read_h5ad(path) for path in call["slices"]]
    reference = ad.read_h5ad(call["reference"])
    given = {}

    def peer(slices, other):
        given.update(slices=slices, reference=other)
        return [s.counts[:, :3].toarray() + 1000 * len(s.genes) for s in slices]

    monkeypatch.setattr("lloki.benchmark.embeddings.UNSEEDED", {"stabmap": peer})
    compare(folder, methods=["stabmap"], batch_key="all", label_key="cell_type", profile="fast")
    union = set().union(*(f.var_names for f in files))
    assert [set(s.genes) for s in given["slices"]] == [set(f.var_names) for f in files]
    assert given["reference"].genes == tuple(g for g in reference.var_names if g in union)
    np.testing.assert_array_equal(
        given["reference"].counts.toarray(), reference[:, list(given["reference"].genes)].X.toarray()
    )
    [(name, rows)] = judged
    assert name == "stabmap"
    for s, file in zip(given["slices"], files):
        slice_name = file.uns["name"]
        at = np.flatnonzero(turned.obs["slice"] == slice_name)
        own = turned[at, list(s.genes)].X.toarray()
        np.testing.assert_array_equal(s.counts.toarray(), own)
        np.testing.assert_array_equal(rows[at], own[:, :3] + 1000 * len(s.genes))


def test_a_peer_is_seeded_and_followed_by_harmony(run, compare, monkeypatch, judged):
    seeds = []

    def peer(slices, reference, *, seed):
        seeds.append(seed)
        n = sum(s.counts.shape[0] for s in slices)
        return list(np.array_split(np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32), 2))

    monkeypatch.setattr("lloki.benchmark.embeddings.SEEDED", {"mofa": peer})
    result = compare(run.folder, methods=["mofa", "mofa-harmony", "reference-ridge"], seeds=2)
    assert list(result.methods["method"]) == ["MOFA+ + Harmony", "MOFA+", "Reference PCs, ridge"]
    assert list(result.methods["repeats"]) == [2, 2, 1]
    assert seeds == [5, 6]  # with and without Harmony from the same rows
    by_name = [(name, x) for name, x in judged if name.startswith("mofa")]
    assert len({x.tobytes() for _, x in by_name}) == 4
    assert {x.shape for _, x in by_name} == {(300, 6)}


def test_peers_without_a_reference_are_left_out_with_the_reason(run, file, compare, tmp_path):
    asked = {"methods": ["pca-union", "stabmap", "reference-knn-harmony"]}
    skipped = compare(file, label_key="cell_type", **asked).facts["skipped"]
    assert list(skipped) == ["StabMap", "Reference PCs, neighbors + Harmony"]
    assert "give the folder of a run" in skipped["StabMap"]
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("work"))
    record = json.loads((folder / "run.json").read_text())
    for path, reason in (
        (str(tmp_path / "gone.h5ad"), "gone.h5ad: was the reference of the run"),
        (None, "the run had none in a file"),
    ):
        record["inputs"]["reference"] = path
        (folder / "run.json").write_text(json.dumps(record))
        assert reason in compare(folder, **asked).facts["skipped"]["StabMap"]
    del record["inputs"]
    (folder / "run.json").write_text(json.dumps(record))
    assert "Run lloki integrate again" in compare(folder, **asked).facts["skipped"]["StabMap"]


def test_what_mofa_needs_is_named(run, compare, monkeypatch):
    monkeypatch.setitem(sys.modules, "mofapy2.run.entry_point", None)
    skipped = compare(run.folder, methods=["mofa", "fp"]).facts["skipped"]
    assert "pip install 'lloki[mofa]'" in skipped["MOFA+"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"methods": ["harmonie"]}, ConfigError, "no method 'harmonie'. Built in: lloki"),
        ({"seeds": 0}, ConfigError, "seeds"),
        ({"profile": "quick"}, ConfigError, "fast, full"),
        ({"pre": "X_none"}, ConfigError, "no embedding 'X_none'"),
        ({"label_key": "kind"}, InputError, r"obs\['kind'\]: the column is absent"),
        ({"batch_key": "lloki_flag"}, InputError, "cells without a batch"),
        ({"label_key": "lloki_flag"}, InputError, "more than 50 cells with a label"),
    ],
)
def test_what_is_asked_for_is_checked(run, compare, settings, error, message):
    with pytest.raises(error, match=message):
        compare(run.folder, **settings)


def test_files_need_a_label_key_and_runs_for_ablations(file, compare, tmp_path):
    with pytest.raises(ConfigError, match="--label-key"):
        compare(file)
    with pytest.raises(ConfigError, match="folder of a run"):
        compare(file, label_key="cell_type", ablate=True)
    with pytest.raises(InputError, match="no such file"):
        compare(tmp_path / "none.h5ad")
    with pytest.raises(ConfigError, match="at least one"):
        compare([])


def test_a_run_whose_inputs_are_gone_still_has_its_own_embeddings(run, compare, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    record = json.loads((folder / "run.json").read_text())
    record["inputs"]["slices"][0] = str(tmp_path / "gone.h5ad")
    (folder / "run.json").write_text(json.dumps(record))
    result = compare(folder, methods=["lloki", "fp", "embedder"])
    assert list(result.methods["method"]) == ["LLOKI", "LLOKI-FP + factor"]
    assert "gone.h5ad: was an input of the run" in result.facts["skipped"]["factor alone"]
    del record["inputs"]
    (folder / "run.json").write_text(json.dumps(record))
    assert (
        "Run lloki integrate again"
        in compare(folder, methods=["lloki", "embedder"]).facts["skipped"]["factor alone"]
    )


def test_inputs_that_changed_are_noticed(run, compare, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    record = json.loads((folder / "run.json").read_text())
    other = ad.read_h5ad(record["inputs"]["slices"][0])
    other.X = other.X + sparse.csr_matrix(np.eye(*other.shape, dtype=np.float32))
    other.write_h5ad(tmp_path / Path(record["inputs"]["slices"][0]).name)
    record["inputs"]["slices"][0] = str(tmp_path / Path(record["inputs"]["slices"][0]).name)
    (folder / "run.json").write_text(json.dumps(record))
    result = compare(folder, methods=["lloki", "embedder"])
    assert "inputs have changed" in result.facts["skipped"]["factor alone"]


def test_pieces_are_kept_with_the_benchmark_where_the_run_has_none(run, compare, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("work"))
    result = compare(folder, methods=["embedder"])
    assert list(result.methods["method"]) == ["factor alone"]
    assert not (folder / "work").exists()
    assert list((tmp_path / "out" / "work" / "features").iterdir())


def test_slices_in_memory_cannot_be_opened_again(run):
    inputs = Inputs.of(run.adata, "reference.h5ad", ReadOptions())
    with pytest.raises(ConfigError, match="in memory"):
        Inputs.from_dict(inputs.to_dict())


def test_genes_of_a_file_are_shared_if_every_batch_has_counts_of_them(tmp_path):
    x = np.ones((120, 4), np.float32)
    x[:60, 0] = 0
    adata = ad.AnnData(sparse.csr_matrix(x), obs=pd.DataFrame({"slice": ["a"] * 60 + ["b"] * 60, "t": "k"}))
    adata.obs_names = [f"c{i}" for i in range(120)]
    adata.write_h5ad(tmp_path / "x.h5ad")
    subject = open_subject([tmp_path / "x.h5ad"], label_key="t")
    assert list(subject.shared) == [False, True, True, True]


def test_python_of_the_docs_runs(run, compare, tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
    code = re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(code) == 2
    (tmp_path / "run").symlink_to(run.folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "lloki.evaluate.score.score_cells", sys.modules["lloki.benchmark.scoring"].score_cells
    )
    x = np.random.default_rng(0).normal(size=(120, 3))
    names: dict[str, object] = {"embedding": x, "labels": ["a"] * 120, "batches": ["b"] * 120, "pre": x}
    exec(code[0].replace("seeds=5, ablate=True", "methods=['fp']"), names)
    assert (tmp_path / "compared" / "benchmark.json").exists()
    exec(code[1], names)
    assert isinstance(names["table"], pd.DataFrame)
