"""The invariants of LLOKI-FP on every real section; ``-s`` prints the table."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy import sparse, stats

from lloki.fp import FPConfig, align_features, log_normalize, reference_sparsity

FILES = [
    "iss_ca1_pciseq",
    "merfish_allen_visp",
    "merfish_moffitt_poa_animal1",
    "merfish_moffitt_poa_animal7",
    "merfish_zhuang_mop",
    "merscope_mouse_brain_mini",
    "molcart_mouse_cortex",
    "seqfish_hippocampus",
    "starmap_visp_1020",
    "verafish_hippocampus",
    "xenium_breast_mini",
    "xenium_mouse_brain_ctx_hp",
]
MOUSE, HUMAN = "scrna_mouse_brain_strt_combined", "scrna_human_pancreas_baron"
# Sections that this whole-transcriptome reference covers badly have a motor-cortex one of 500 genes.
CORTEX = {"merfish_allen_visp", "merfish_zhuang_mop", "starmap_visp_1020", "xenium_mouse_brain_ctx_hp"}


def test_every_listed_file_is_there(shared_data: Path) -> None:
    assert set(FILES) <= {path.stem for path in (shared_data / "spatial").glob("*.h5ad")}


def sections(path: Path, most: int = 12_000) -> list[ad.AnnData]:
    """Cut a file into its sections; of one larger than ``most`` cells, a part that is whole in space."""
    data = ad.read_h5ad(path)
    names = data.obs["slice"].to_numpy() if "slice" in data.obs else np.zeros(data.n_obs)
    cut = []
    for name in np.unique(names):
        section = data[names == name]
        along = np.argsort(section.obsm["spatial"][:, 0], kind="stable")
        cut.append(section[np.sort(along[:most])].copy())
    return cut


@pytest.mark.parametrize("name", FILES)
def test_invariants(name: str, shared_data: Path) -> None:
    reference = HUMAN if "breast" in name else "scrna_mouse_mop_500g" if name in CORTEX else MOUSE
    single_cells = ad.read_h5ad(shared_data / "reference" / f"{reference}.h5ad")
    for section in sections(shared_data / "spatial" / f"{name}.h5ad"):
        counts = sparse.csr_matrix(section.X)
        ref = reference_sparsity(single_cells.X, list(single_cells.var_names), list(section.var_names))
        config = FPConfig.preset("default")
        result = align_features(counts, section.obsm["spatial"], ref, config=config)

        before, after = log_normalize(counts).toarray(), result.expression.toarray()
        seen = before > 0
        np.testing.assert_array_equal(after[seen], before[seen])  # observed values untouched
        gained = (after > 0).sum(1) - seen.sum(1)
        assert (gained <= result.budgets).all()  # budgets never exceeded
        order = np.argsort(result.sparsity_before, kind="stable")
        same = np.diff(result.sparsity_before[order]) == 0
        assert (np.diff(result.targets[order]) >= 0).all()  # never in the other order
        assert (np.diff(result.targets[order])[same] == 0).all()  # ties share one target
        assert np.isfinite(after).all()  # rows finite
        assert (after[result.flagged] == 0).all()
        np.testing.assert_array_equal(result.flagged, ~seen.any(axis=1))
        assert result.w1_after <= result.w1_before + 1 / counts.shape[1]  # a budget is rounded up to a gene
        # What budget is left unused belongs to cells whose neighbors express nothing more.
        reached = (gained == result.budgets) | result.flagged
        assert reached.mean() > 0.98
        rho = stats.spearmanr(result.sparsity_before, result.targets).statistic
        print(
            f"\n{name} {section.shape}: sparsity {result.sparsity_before.mean():.3f}, "
            f"target {result.targets.mean():.3f}, after {result.sparsity_after.mean():.3f}; "
            f"W1 to target {result.w1_before:.4f} -> {result.w1_after:.4f}, "
            f"to reference before {result.w1_reference:.4f}; Spearman {rho:.4f}; {result.iterations} steps; "
            f"imputed per cell {gained.mean():.1f}; budget reached by {reached.mean():.4f}",
            end="",
        )
