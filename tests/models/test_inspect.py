"""What a folder of weights says of itself."""

from __future__ import annotations

import hashlib
import json

import pytest

from lloki.errors import ModelError
from lloki.genes import PanelCoverage
from lloki.models import embedder_of, inspect_model, match_panel

ARGS = {"nlayers": 3, "embsize": 64, "nheads": 4, "d_hid": 128, "n_bins": 51, "max_seq_len": 1200, "lr": 1e-4}


@pytest.fixture
def scgpt(tmp_path):
    (tmp_path / "args.json").write_text(json.dumps(ARGS))
    (tmp_path / "vocab.json").write_text(json.dumps({"SST": 0, "GAD1": 1, "<cls>": 2}))
    (tmp_path / "best_model.pt").write_bytes(b"weights")
    return tmp_path


def test_sizes_and_hashes_are_read_without_loading_weights(scgpt):
    facts = inspect_model(scgpt)
    assert facts.embedder == "scgpt"
    assert facts.vocabulary == 3
    assert (facts.sizes["layers"], facts.sizes["dimension"], facts.sizes["bins of values"]) == (3, 64, 51)
    weights = next(file for file in facts.files if file.name == "best_model.pt")
    assert (weights.size, weights.sha256) == (7, hashlib.sha256(b"weights").hexdigest())
    assert weights.published_as == ""


def test_a_published_file_is_recognized_by_its_hash(scgpt, monkeypatch):
    known = "6cb5d451ab5c4b33eb673adbe4fddc61d2389df1b89b7651a9fe2e557572b922"
    monkeypatch.setattr("lloki.models.inspect.file_sha256", lambda path: known)
    assert {file.published_as for file in inspect_model(scgpt).files} == {"scgpt-human"}


def test_geneformer_is_told_by_its_files(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 6, "vocab_size": 25_426}))
    (tmp_path / "token_dictionary_gc30M.pkl").write_bytes(b"")
    facts = inspect_model(tmp_path)
    assert (facts.embedder, facts.vocabulary, facts.sizes) == ("geneformer", 25_426, {"layers": 6})


def test_the_folder_of_another_embedder(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"weights\.bin.*--embedder"):
        embedder_of(tmp_path)
    facts = inspect_model(tmp_path, embedder="mine")
    assert (facts.embedder, facts.vocabulary, len(facts.files)) == ("mine", 0, 1)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_settings_that_cannot_be_read(scgpt, text):
    (scgpt / "args.json").write_text(text)
    with pytest.raises(ModelError, match=r"args\.json"):
        inspect_model(scgpt)


def test_no_folder(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        inspect_model(tmp_path / "none")


def test_an_embedder_that_only_tells_its_coverage():
    class Plain:
        def coverage(self, genes):
            return PanelCoverage(("A",), ("B",), "few genes", "use others")

    match = match_panel(Plain(), ["A", "B"])  # type: ignore[arg-type]
    assert match.names == ("A", "")
    assert list(match.dropped) == ["B"]
    assert match.coverage() == PanelCoverage(("A",), ("B",), "few genes", "use others")
