"""Power, false discovery and cost of `lloki compare`, on made-up studies and on splits of real slices.

    python benchmarks/compare.py power [--seeds 50]
    python benchmarks/compare.py null FOLDER [--splits 200]
    python benchmarks/compare.py real FOLDER
    python benchmarks/compare.py cost [--slices 20] [--cells 20000]

`power` makes studies of two conditions (`lloki.datasets.conditions`) in designs of four to six donors a side,
with planted differences of three sizes, with none, and with condition and platform confounded, and compares
them with a cell-level Wilcoxon test of all genes of all panels, with zeros where a panel lacks a gene (first
two seeds). The joint embedding is a stand-in, a center for each type and noise: the tests, not the
integration, are measured here.

`null` assigns sections of real tissue to two sides at random, or halves of sections where there are few, and
prints how often each table has a finding: by the model alone, and as reported, against other labelings.
FOLDER holds
merfish_moffitt_poa_animal1.h5ad, merfish_moffitt_poa_animal7.h5ad, merfish_zhuang_mop.h5ad,
molcart_mouse_cortex.h5ad and seqfish_hippocampus.h5ad. Where there are no labels, k-means clusters stand for
types; principal components of the shared genes stand for the embedding.

`real` compares animal 1 with animal 7.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import mannwhitneyu
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD

import lloki
from lloki import keys
from lloki.compare import Compared, adjust_tables, benjamini_hochberg
from lloki.datasets import Conditions, conditions
from lloki.fp import log_normalize

ALPHA = 0.05
STUDY = {"condition_key": "condition", "control": "healthy", "donor_key": "donor"}
DESIGNS = {  # name: options of `conditions`, and how many of 50 seeds
    "every donor on three platforms, factor 2": ({}, 50),
    "every donor on one platform, factor 2": ({"slices_per_donor": 1}, 50),
    "partly confounded, factor 2": ({"confounding": "partial"}, 50),
    "confounded, factor 2": ({"confounding": "complete"}, 50),
    "factor 1.4": ({"strength": 0.5}, 20),
    "factor 2.8": ({"strength": 1.5}, 50),
    "no difference, three platforms": ({"strength": 0.0}, 6),
    "no difference, one platform": ({"slices_per_donor": 1, "strength": 0.0}, 12),
}
CHANGED = 0.1  # log2 change of a neighborhood's number of cells from which it is a true finding


def embed(slices: Sequence[ad.AnnData], seed: int) -> None:
    """Write a stand-in for a joint embedding: types lie in directions of their own, cells around them."""
    rng = np.random.default_rng([seed, 7])
    centers = np.abs(np.random.default_rng(7).normal(0, 1, (20, 16)))
    for s in slices:
        kind = s.obs["cell_type"].cat.codes.to_numpy()
        s.obsm[keys.JOINT] = np.abs(centers[kind] + rng.normal(0, 0.4, (len(kind), 16)))


def judge(found: lloki.compare.Comparison, made: Conditions) -> dict[str, float]:
    """Count findings and false ones of each table, and planted differences that were found."""
    out: dict[str, float] = {}
    planted = {(row.type, row.gene): row.effect for row in made.expression.itertuples()}
    changed = {*made.composition, *made.moved}
    for name, table in found.tables.items():
        own = table[table["q_value"] <= ALPHA]
        if name == "composition":
            right = [made.composition.get(r.group, 0) * r.effect > 0 for r in own.itertuples()]
            out["power composition"] = sum(right) / max(len(made.composition), 1)
        elif name == "expression":
            right = [planted.get((r.type, r.gene), 0) * r.effect > 0 for r in own.itertuples()]
            hits = {(r.type, r.gene) for r, good in zip(own.itertuples(), right) if good}
            for panels, group in made.expression.groupby("n_panels"):
                there = [(r.type, r.gene) in hits for r in group.itertuples()]
                out[f"power genes on {panels}"] = float(np.mean(there))
            clean = own["spill_over"] == ""
            out["unflagged expression"] = int(clean.sum())
            out["false unflagged expression"] = int((clean & ~np.array(right, bool)).sum())
        elif name == "abundance":
            change = expected_change(own, made)
            right = list((change * own["effect"] > 0) & (np.abs(change) > CHANGED))
            out["power abundance"] = len(set(own["type"]) & set(made.composition)) / max(
                len(made.composition), 1
            )
        else:
            # shares and positions of these types change: whatever involves them may
            right = [bool({r.type, r.neighbor} & changed) for r in own.itertuples()]
            pair = [{r.type, r.neighbor} == set(made.moved) for r in own.itertuples()]
            out["power arrangement"] = float(any(pair))
        if not made.composition:
            right = [False] * len(own)
        out[f"found {name}"], out[f"false {name}"] = len(own), len(own) - sum(right)
    return out


def expected_change(neighborhoods: pd.DataFrame, made: Conditions) -> np.ndarray:
    """log2 change of the number of cells of neighborhoods, from the types of their healthy cells."""
    if not len(neighborhoods):
        return np.zeros(0)
    cells = ad.concat(made.slices, join="inner")
    factor = 2.0 ** np.array([made.composition.get(t, 0.0) for t in cells.obs["cell_type"].astype(str)])
    healthy = (cells.obs["condition"] == "healthy").to_numpy()
    x = np.asarray(cells.obsm[keys.JOINT], np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    at = {name: i for i, name in enumerate(zip(cells.obs["slice"].astype(str), cells.obs_names))}
    k, out = int(neighborhoods["n_cells"].iloc[0]), []
    for row in neighborhoods.itertuples():
        near = np.argpartition(-(x @ x[at[row.slice, row.cell]]), k - 1)[:k]
        out.append(np.log2(factor[near[healthy[near]]].mean()) if healthy[near].any() else np.nan)
    return np.array(out)


def by_model(found: lloki.compare.Comparison) -> dict[str, int]:
    """Count what would be found without a look at other labelings of the units."""
    own = {
        name: Compared(t, {c: p["p_value"].to_numpy(float)[None] for c, p in t.groupby("condition")})
        for name, t in found.tables.items()
    }
    return {
        name: int((t["q_value"] <= ALPHA).sum()) if len(t) else 0
        for name, t in adjust_tables(own, ALPHA).items()
    }


def naive(made: Conditions) -> dict[str, float]:
    """Compare cells, not donors, over all genes of any panel, zeros where a panel lacks one."""
    joined = ad.concat(made.slices, join="outer", fill_value=0)
    x, kind = log_normalize(sparse.csr_matrix(joined.X)), joined.obs["cell_type"].astype(str).to_numpy()
    diseased = (joined.obs["condition"] == "disease").to_numpy()
    p, names = [], []
    for t in np.unique(kind):
        sides = [x[(kind == t) & (diseased == d)].toarray() for d in (True, False)]
        if min(map(len, sides)) < 10:
            continue
        p.append(mannwhitneyu(*sides, method="asymptotic").pvalue)
        names += [(t, gene) for gene in joined.var_names]
    q = benjamini_hochberg(np.concatenate(p))
    hits = {name for name, value in zip(names, q) if value <= ALPHA}
    planted = {(row.type, row.gene) for row in made.expression.itertuples()}
    return {
        "naive found": len(hits),
        "naive false": len(hits - planted),
        "naive power": len(hits & planted) / max(len(planted), 1),
    }


def power(seeds: int, cells: int, first: int, only: str) -> None:
    rows = []
    for seed in range(first, first + seeds):
        for name, (options, share) in DESIGNS.items():
            if seed >= share or not name.startswith(only):
                continue
            made = conditions(n_donors=4 + seed % 3, n_cells=cells, n_reference=1, seed=seed, **options)
            embed(made.slices, seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = lloki.tl.compare(
                    made.slices, label_key="cell_type", n_neighborhoods=60, n_relabelings=70, **STUDY
                )
            row = {"design": name, "seed": seed, "donors": 4 + seed % 3, **judge(found, made)}
            row |= {f"model {kind}": n for kind, n in by_model(found).items()}
            if seed < 2:
                row |= naive(made)
            rows.append(row)
        print(f"seed {seed}: {[round(r['found expression']) for r in rows if r['seed'] == seed]}", flush=True)
        table = pd.DataFrame(rows)
        table.to_csv(f"power{first}.csv", index=False)
    report_power(table)


def report_power(table: pd.DataFrame) -> None:
    kinds = list(lloki.compare.COLUMNS)
    for kind in [*kinds, "unflagged expression"]:
        found = "found" if kind in kinds else ""
        table[f"FDP {kind}"] = table[f"false {kind}"] / table[f"{found} {kind}".strip()].clip(lower=1)
    table["found"], table["false"] = (
        table[[f"{w} {k}" for k in kinds]].sum(axis=1) for w in ("found", "false")
    )
    table["any"], table["FDP"] = table["found"] > 0, table["false"] / table["found"].clip(lower=1)
    if "naive found" in table:
        table["naive FDP"] = table["naive false"] / table["naive found"].clip(lower=1)
    table["any by model"] = table[[f"model {k}" for k in kinds]].sum(axis=1) > 0
    by = table.groupby("design", sort=False)
    shown = by[[c for c in table.columns if c.startswith(("FDP", "power", "naive", "any"))]].mean()
    print(shown.T.round(3).to_string())
    print(by[[f"found {k}" for k in kinds]].mean().T.round(2).to_string())
    powers = [c for c in table.columns if c.startswith("power")]
    print(table.groupby(["design", "donors"], sort=False)[powers].mean().T.round(2).to_string())


def sections(file: Path, least: int = 100) -> list[ad.AnnData]:
    """Read the sections of a file with at least so many cells; clusters stand for types it lacks."""
    adata = ad.read_h5ad(file)
    adata = adata[np.asarray(adata.X.sum(axis=1)).ravel() > 0].copy()
    adata.X = sparse.csr_matrix(adata.X)
    if "cell_type" not in adata.obs:
        scores = TruncatedSVD(20, random_state=0).fit_transform(log_normalize(adata.X))
        clusters = MiniBatchKMeans(8, random_state=0, n_init=3).fit_predict(scores)
        adata.obs["cell_type"] = [f"cluster {c}" for c in clusters]
    adata.obs["slice"] = [f"{file.stem} {s}" for s in adata.obs["slice"]]
    adata.obs[keys.TECHNOLOGY] = str(adata.uns["technology"])
    adata.obs = adata.obs[["slice", "cell_type", keys.TECHNOLOGY]]
    adata.obsm = {keys.SPATIAL: np.asarray(adata.obsm["spatial"], float)}
    parts = [adata[adata.obs["slice"] == name].copy() for name in sorted(set(adata.obs["slice"]))]
    return [part for part in parts if part.n_obs >= least]


def halves(parts: Sequence[ad.AnnData]) -> list[ad.AnnData]:
    """Cut every section in two along its longer side."""
    out = []
    for part in parts:
        xy = np.asarray(part.obsm[keys.SPATIAL])
        along = xy[:, np.ptp(xy, axis=0).argmax()]
        for side, own in (("low", along <= np.median(along)), ("high", along > np.median(along))):
            half = part[own].copy()
            half.obs["slice"] = half.obs["slice"].astype(str) + f" {side}"
            out.append(half)
    return out


def null(folder: Path, splits: int) -> None:
    """Assign the units of each task to two sides at random: all ways to do so, or a share of ``splits``.

    A comparison computes the p-values of all labelings at once, so that each is looked at in turn as if it
    were the observed one.
    """
    hypothalamus = ("merfish_moffitt_poa_animal1", "merfish_moffitt_poa_animal7")
    cortex = ("merfish_zhuang_mop", "molcart_mouse_cortex")
    tasks = {
        "hypothalamus, sections": (hypothalamus, sections, 20),
        "hypothalamus, halves": (hypothalamus, lambda f: halves(sections(f)), 60),
        "cortex, sections": (cortex, sections, 36),
        "cortex, halves": (cortex, lambda f: halves(sections(f)), 60),
        "hippocampus, fields": (("seqfish_hippocampus",), sections, 52),
    }
    rows: list[dict[str, object]] = []
    for name, (files, read, share) in tasks.items():
        parts = [p for file in files for p in read(folder / f"{file}.h5ad")]
        shared = sorted(set.intersection(*(set(p.var_names) for p in parts)))
        x = sparse.vstack([log_normalize(sparse.csr_matrix(p[:, shared].X)) for p in parts])
        joint = TruncatedSVD(min(20, len(shared) - 1), random_state=0).fit_transform(x)
        for part, own in zip(parts, np.split(joint, np.cumsum([p.n_obs for p in parts])[:-1])):
            part.obsm[keys.JOINT] = own
        technologies = [str(p.obs[keys.TECHNOLOGY].iloc[0]) for p in parts]
        # each technology is divided evenly, an odd one to either side
        for technology in set(technologies):
            own = [p for p, t in zip(parts, technologies) if t == technology]
            for i, part in enumerate(own):
                part.obs["condition"] = "ab"[i % 2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = lloki.tl.compare(
                parts,
                condition_key="condition",
                control="a",
                label_key="cell_type",
                n_neighborhoods=100,
                n_relabelings=max(round(share * splits / 200), 20),
            )
        tables = {k: each["b"] for k, each in found.relabeled.items()}
        floor = found.identified[0].smallest_q
        for i in range(len(tables["composition"])):
            rows.append({"task": name, "smallest q": floor})
            for prefix, others in (("model ", False), ("", True)):
                order = [i, *(j for j in range(len(tables["composition"])) if others and j != i)]
                split = {
                    k: Compared(pd.DataFrame({"p_value": p[i], "condition": "b"}), {"b": p[order]})
                    for k, p in tables.items()
                }
                adjusted = adjust_tables(split, ALPHA, {"b": floor} if others else None)
                rows[-1] |= {f"{prefix}{k}": int((t["q_value"] <= ALPHA).sum()) for k, t in adjusted.items()}
        pd.DataFrame(rows).to_csv("null.csv", index=False)
    report_null(pd.DataFrame(rows))


def report_null(table: pd.DataFrame) -> None:
    kinds = list(lloki.compare.COLUMNS)
    for prefix, title in (("model ", "by the model alone"), ("", "as reported, against other labelings")):
        some = table[[f"{prefix}{k}" for k in kinds]] > 0
        some.columns = kinds
        some["any"] = some.any(axis=1)
        shown = some.groupby(table["task"], sort=False).mean()
        shown.loc["all"] = some.mean()
        shown["splits"] = [*table["task"].value_counts(sort=False), len(table)]
        print(f"Share of splits with a finding, {title}:\n{shown.round(3).to_string()}")


def real(folder: Path) -> None:
    """Compare sections of animal 1 (four) with those of animal 7 (two): as animals, and as slices."""
    parts = []
    for animal in ("1", "7"):
        adata = ad.read_h5ad(folder / f"merfish_moffitt_poa_animal{animal}.h5ad")
        adata.obs["slice"] = [f"animal {animal} {s}" for s in adata.obs["slice"]]
        adata.obs["animal"] = f"animal {animal}"
        adata.obs[keys.TECHNOLOGY] = "MERFISH"
        adata.obs = adata.obs[["slice", "animal", "cell_type", keys.TECHNOLOGY]]
        parts.append(adata)
    joined = ad.concat(parts, index_unique="-", keys=["1", "7"])
    joined = joined[np.asarray(joined.X.sum(axis=1)).ravel() > 0].copy()
    joined.obsm[keys.JOINT] = TruncatedSVD(20, random_state=0).fit_transform(
        log_normalize(sparse.csr_matrix(joined.X))
    )
    for donor, least in (("animal", 3), (None, 3), (None, 2)):
        found = lloki.tl.compare(
            joined,
            condition_key="animal",
            control="animal 1",
            donor_key=donor,
            label_key="cell_type",
            min_units=least,
        )
        print(f"\nunits: {donor or 'slices'}, min_units {least}; findings: {len(found.evidence)}")
        print(found.identified[0].text)
        print(found.evidence[["strength", "statement", "effect", "q_value"]].head(12).to_string())
        print({k: (len(t), int((t["q_value"] <= ALPHA).sum())) for k, t in found.tables.items()})


def cost(n_slices: int, n_cells: int) -> None:
    made = conditions(n_donors=n_slices // 2, slices_per_donor=1, n_cells=n_cells, n_reference=1)
    embed(made.slices, 0)
    start, cpu = time.perf_counter(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = lloki.tl.compare(made.slices, label_key="cell_type", **STUDY)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{n_slices} slices x {n_cells} cells: {time.process_time() - cpu:.1f} CPU s, "
        f"{time.perf_counter() - start:.1f} s, peak memory {after / 2**20:.2f} GB ({before / 2**20:.2f} "
        f"before), "
        f"{len(found.evidence)} findings"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    own = commands.add_parser("power")
    own.add_argument("--seeds", type=int, default=50)
    own.add_argument("--first", type=int, default=0)
    own.add_argument("--cells", type=int, default=500)
    own.add_argument("--only", default="", help="Beginning of the names of designs.")
    for name in ("null", "real"):
        own = commands.add_parser(name)
        own.add_argument("folder", type=Path)
        own.add_argument("--splits", type=int, default=200)
    own = commands.add_parser("cost")
    own.add_argument("--slices", type=int, default=20)
    own.add_argument("--cells", type=int, default=20_000)
    options = parser.parse_args()
    if options.command == "power":
        power(options.seeds, options.cells, options.first, options.only)
    elif options.command == "null":
        null(options.folder, options.splits)
    elif options.command == "real":
        real(options.folder)
    else:
        cost(options.slices, options.cells)


if __name__ == "__main__":
    main()
