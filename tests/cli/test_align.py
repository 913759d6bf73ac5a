"""``lloki align``: what it writes and prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anndata as ad
import numpy as np

from lloki import keys
from sections import error, joint


def test_the_command_writes_what_the_function_does(lloki, tmp_path):
    joint().write_h5ad(tmp_path / "in.h5ad")
    out = tmp_path / "out"
    result = lloki(
        "align", tmp_path / "in.h5ad", "--fixed", "b", "--moving", "a", "--nonrigid", 10, "--out", out
    )
    assert result.exit_code == 0, result.output
    assert "aligned" in result.stdout
    adata = ad.read_h5ad(out / "aligned.h5ad")
    assert error(adata, "a", adata.obsm[keys.ALIGNED], frame="b") < 20
    facts = json.loads((out / "transforms.json").read_text())
    assert facts["reference"] == "b"
    product = np.array(facts["slices"]["a"]["matrix"]) @ facts["slices"]["a"]["inverse"]
    np.testing.assert_allclose(product, np.eye(3), atol=1e-6)
    page = (out / "alignment.html").read_text()
    assert "a on b" in page
    assert page.count("<svg") == 5
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)  # nothing from outside
    names = ("1-deformation", "1-overlay", "1-residuals", "1-rotations", "all")
    drawn = {p.name for p in (out / "figures").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "svg", "pdf")}


def test_the_command_names_what_is_wrong(lloki, tmp_path: Path):
    missing = lloki("align", tmp_path / "none.h5ad", "--out", tmp_path / "out")
    assert missing.exit_code == 1
    assert "does not exist" in missing.stderr
    joint("ab", cells=60).write_h5ad(tmp_path / "in.h5ad")
    unknown = lloki("align", tmp_path / "in.h5ad", "--fixed", "q", "--moving", "a", "--out", tmp_path / "out")
    assert unknown.exit_code == 1
    assert "There are: " in unknown.stderr
    (tmp_path / "text.h5ad").write_text("no HDF5")
    unreadable = lloki("align", tmp_path / "text.h5ad", "--out", tmp_path / "out")
    assert unreadable.exit_code == 1
    assert "is not an .h5ad (HDF5) file" in unreadable.stderr
    both = lloki("align", tmp_path / "in.h5ad", "--z-step", 3, "--z-key", "depth", "--out", tmp_path / "out")
    assert both.exit_code == 2
    assert not (tmp_path / "out").exists()
