"""The viewer in a browser, if there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import lloki

CHROMIUM = next(
    (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None
)
NAME = '<img src=x onerror="document.title=1">'


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("webgl", [True, False])
def test_it_starts_without_a_network_and_shows_names_as_text(tmp_path: Path, webgl: bool) -> None:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"slice": np.repeat(["one", NAME], 50), "lloki_cluster": rng.choice(["0", NAME], 100)})
    obs.index = obs.index.astype(str)
    adata = ad.AnnData(obs=obs, obsm={"X_umap": rng.normal(size=(100, 2)), "spatial": rng.random((100, 2))})
    page = lloki.pl.interactive(adata).save(tmp_path / "page.html")
    how = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    flags = how if webgl else ["--disable-gpu", "--disable-3d-apis"]
    command = [
        *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-dev-shm-usage", *flags),
        *(
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            page.as_uri(),
        ),
    ]
    environment = os.environ | {"HOME": str(tmp_path)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=240, env=environment, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("Chromium did not answer within 4 minutes")
    dom = done.stdout.decode("utf-8", errors="replace")
    if not dom:
        pytest.skip(f"Chromium does not run here: {done.stderr.decode(errors='replace')[-200:]}")
    assert "<img" not in dom.replace("&lt;img", "")
    if webgl:
        assert 'data-state="ready"' in dom
        assert "&lt;img src=x" in dom
        assert "100 cells" in dom
    else:
        assert "has no WebGL 2" in dom
        assert re.search(r'<div class="viewer" hidden', dom)
