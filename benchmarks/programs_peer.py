"""Fits popari, the public successor of SpiceMix, on one simulated case; called by programs.py.

    PEER_PYTHON benchmarks/programs_peer.py CASE.npz OUT.npz --pretraining N --iterations N

In a separate environment: pip install "popari==0.0.72" "numpy<2" "setuptools<81" "pyarrow<21"
"""

from __future__ import annotations

import argparse
import time
import warnings

import anndata as ad
import numpy as np
import torch
from popari.model import Popari
from scipy import sparse


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("out")
    parser.add_argument("--pretraining", type=int, required=True)
    parser.add_argument("--iterations", type=int, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    case = np.load(options.case)
    slices, start = int(case["slices"]), case["start"]
    adatas = []
    for i in range(slices):
        y = case[f"y{i}"].astype(np.float32)
        adata = ad.AnnData(y, obsm={"spatial": case[f"xy{i}"]})
        edges = case[f"edges{i}"]
        w = sparse.csr_matrix((np.ones(len(edges)), edges.T), shape=(len(y), len(y)))
        adata.obsp["adjacency_matrix"] = w
        lists = np.empty(len(y), object)
        lists[:] = [list(w.indices[a:b]) for a, b in zip(w.indptr[:-1], w.indptr[1:])]
        adata.obs["adjacency_list"] = lists
        adatas.append(adata)
    model = Popari(
        K=start.shape[1],
        replicate_names=[f"s{i}" for i in range(slices)],
        datasets=adatas,
        lambda_Sigma_x_inv=1e-4,
        initialization_method="svd",  # replaced below
        torch_context={"device": "cpu", "dtype": torch.float64},
        initial_context={"device": "cpu", "dtype": torch.float64},
        verbose=0,
    )
    parameters, states = model.parameter_optimizer, model.embedding_optimizer.embedding_state
    first = torch.from_numpy(start.astype(np.float64))
    for name in states:
        parameters.metagene_state[name][:] = first
        states[name][:] = 1.0
    model.estimate_weights(use_neighbors=False)
    parameters.update_sigma_yx()
    seconds = {"free": 0.0, "coupled": 0.0}
    for phase, count in (("free", options.pretraining), ("coupled", options.iterations)):
        begin = time.process_time()
        for _ in range(count):
            model.estimate_parameters(update_spatial_affinities=phase == "coupled")
            model.estimate_weights(use_neighbors=phase == "coupled")
        seconds[phase] = (time.process_time() - begin) / max(count, 1)
        if phase == "free":
            parameters.spatial_affinity_state.initialize([states[name] for name in states])
    name = next(iter(states))
    np.savez(
        options.out,
        metagenes=parameters.metagene_state[name].numpy(),
        affinity=parameters.spatial_affinity_state[name].detach().numpy(),
        states=np.concatenate([states[n].numpy() for n in states]),
        free=seconds["free"],
        coupled=seconds["coupled"],
    )


if __name__ == "__main__":
    main()
