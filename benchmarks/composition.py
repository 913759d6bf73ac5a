"""Does a slice that holds few kinds of cells land where they belong?

    python benchmarks/composition.py SECTIONS.h5ad REFERENCE.h5ad [--slices NAME NAME] [--seeds N] [--cae]
                      [--halves] [--task FOLDER --target SLICE --query SLICE --types TYPE ...]

SECTIONS holds sections of one animal (obs `slice` and `cell_type`). Two of them are cut to random panels of
60 genes each, and the second to some types of cells. Prints Markdown tables: of the cells of the second
section, by type, the share of the 15 nearest cells of the first (cosine) that are of their own type, with
the composition of slices (`FactorConfig.composition`) off and on; the mean over seeds of the panels. *Lowest*
is the smallest ratio to the control with the same settings, over types with 100 cells or more. These are
embeddings before propagation and autoencoder.

--cae   also after both, with default settings, for each of --cae-seeds; the mixing of excitatory
        cells of the first section with the second (its share among the 15 nearest of both, over chance);
        how well the slices predict each other's held-out genes; how many cells of the section that has the
        fewest have partners in the other (`CAEModel.partnered`); and which of the autoencoder's inputs and
        latent space a run would give as the joint embedding by both
--halves  also where nothing but composition differs: random halves of one section with one panel, of which
        the second is cut; what is mixed there is what the panel cannot distinguish
--task  also all slices of an integration task, of which QUERY is cut to one type at a time; shares among
        the cells of TARGET
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lloki.cae import train
from lloki.embed import Factor, SliceSummary, propagate_slice
from lloki.evaluate import HeldOutScore, UnseenGenes, held_out_score
from lloki.fp import FPConfig, average_neighbors, gene_folds, log_normalize, propagate_embedding
from lloki.graph import nearest
from lloki.run._view import view
from lloki.run.held_out import FOLDS, RunHeldOut

NEIGHBORS = 15
PANEL = 60
SHOWN = ("Astrocyte", "Inhibitory", "Excitatory")
NEURONS = ("Inhibitory", "Excitatory")
COUNTED = 100  # cells of a type, so that its share is not noise

Rows = Mapping[str, np.ndarray]
Encoder = Callable[[np.ndarray, str], np.ndarray]
CASES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "everything (control)": lambda t: t != "",
    "astrocytes only": lambda t: t == "Astrocyte",
    "inhibitory only": lambda t: t == "Inhibitory",
    "no inhibitory": lambda t: t != "Inhibitory",
    "neurons only": lambda t: np.isin(t, NEURONS),
    "no neurons": lambda t: ~np.isin(t, NEURONS),
}
CONTROL, *_ = CASES
WITH_CAE = (CONTROL, "astrocytes only", "inhibitory only", "no inhibitory", "neurons only", "no neurons")


@dataclass(frozen=True)
class Part:
    """Counts (n, g), genes, types ("" where unknown) and positions of a slice."""

    counts: sparse.csr_matrix
    genes: list[str]
    types: np.ndarray
    coords: np.ndarray

    def keep(self, cells: np.ndarray) -> Part:
        return replace(self, counts=self.counts[cells], types=self.types[cells], coords=self.coords[cells])


def part(adata: ad.AnnData) -> Part:
    """Read a slice; cells without counts are left out."""
    types = adata.obs["cell_type"].astype(object).where(adata.obs["cell_type"].notna(), "").to_numpy(str)
    counts = sparse.csr_matrix(adata.X)
    coords = np.asarray(adata.obsm["spatial"], float)
    whole = Part(counts, list(adata.var_names), types, coords)
    return whole.keep(np.diff(counts.indptr) > 0)


def averaged(p: Part) -> sparse.csr_matrix:
    """Prepare a slice as a run does by default."""
    return average_neighbors(log_normalize(p.counts), p.coords)


@dataclass(frozen=True)
class Embedded:
    """A fitted model, the expression and summaries that it has seen, and rows of each slice."""

    model: Factor
    expression: Mapping[str, sparse.csr_matrix]
    summaries: Mapping[str, SliceSummary]
    rows: Rows


def embed(
    parts: Mapping[str, Part],
    reference: ad.AnnData,
    composition: bool = True,
    prepare: Callable[[Part], sparse.csr_matrix] = averaged,
) -> Embedded:
    """Fit the factor model with its defaults and embed all slices, without latent propagation."""
    model = Factor(composition=composition)
    expression = {name: prepare(p) for name, p in parts.items()}
    summaries = {name: model.summarize(expression[name], p.genes) for name, p in parts.items()}
    measured = set().union(*(p.genes for p in parts.values()))
    of_panels = reference[:, [gene in measured for gene in reference.var_names]]
    cells = log_normalize(sparse.csr_matrix(of_panels.X))
    model.fit(summaries, model.summarize(cells, list(of_panels.var_names)))
    rows = {name: model.embed(expression[name], p.genes, state=summaries[name]) for name, p in parts.items()}
    return Embedded(model, expression, summaries, rows)


def propagate(
    parts: Mapping[str, Part], found: Embedded, alpha: float | None = None
) -> tuple[Rows, dict[str, float]]:
    """Propagate all slices in the latent space, and give the share of neighbors in each."""
    out, shares = {}, {}
    for name, p in parts.items():
        out[name], shares[name] = propagate_slice(
            found.rows[name],
            p.coords,
            FPConfig(latent_alpha=alpha).propagation,
            embedder=found.model,
            expression=found.expression[name],
            genes=p.genes,
            state=found.summaries[name],
            observed=log_normalize(p.counts),
            known=np.diff(found.expression[name].indptr) > 0,
        )
    return out, shares


def own_type(rows: Rows, parts: Mapping[str, Part], query: str, target: str) -> pd.Series:
    """Share of own type among the nearest cells of ``target``, by type of the cells of ``query``."""
    near = nearest(rows[query], rows[target], NEIGHBORS).index
    own = (parts[target].types[near] == parts[query].types[:, None]).mean(1)
    table = pd.Series(own).groupby(parts[query].types).agg(["mean", "size"])
    return table["mean"][(table["size"] >= COUNTED) & (table.index != "")]


def mixing(rows: Rows, parts: Mapping[str, Part], one: str, other: str, kind: str) -> float:
    """Share of ``other`` among the nearest cells of those of a type in ``one``, over chance."""
    asked = np.flatnonzero(parts[one].types == kind)
    both = np.concatenate([rows[one], rows[other]])
    near = nearest(rows[one][asked], both, NEIGHBORS, exclude=asked).index
    return float((near >= len(rows[one])).mean() / (len(rows[other]) / (len(both) - 1)))


def pair(sections: ad.AnnData, names: Iterable[str], seed: int) -> dict[str, Part]:
    """Cut two sections to random panels of their own."""
    rng, out = np.random.default_rng(seed), {}
    for label, name in zip("AB", names):
        one = sections[sections.obs["slice"].astype(str) == name]
        genes = np.sort(rng.choice(one.n_vars, PANEL, replace=False))
        out[label] = part(one[:, genes])
    return out


def cut(parts: Mapping[str, Part], case: str) -> dict[str, Part]:
    """Keep some types of the second section."""
    return {"A": parts["A"], "B": parts["B"].keep(CASES[case](parts["B"].types))}


def line(*cells: object) -> None:
    shown = (("–" if np.isnan(c) else f"{c:.2f}") if isinstance(c, float) else str(c) for c in cells)
    print(f"| {' | '.join(shown)} |", flush=True)


def header(*cells: str) -> None:
    print()
    line(*cells)
    print("|---" * len(cells) + "|", flush=True)


def lowest(found: pd.Series, control: pd.Series) -> float:
    return float((found / control).min())


def before(seeds: list[dict[str, Part]], reference: ad.AnnData) -> None:
    """Print shares before the autoencoder."""
    header("second section", "composition", *SHOWN, "lowest")
    controls: dict[bool, pd.Series] = {}
    for case in CASES:
        for on, state in ((False, "off"), (True, "on")):
            made = []
            for parts in seeds:
                held = cut(parts, case)
                made.append(own_type(embed(held, reference, on).rows, held, "B", "A"))
            mean = pd.concat(made, axis=1).mean(axis=1)
            line(case, state, *mean.reindex(SHOWN), lowest(mean, controls.setdefault(on, mean)))


def after(parts: dict[str, Part], reference: ad.AnnData) -> None:
    """Print shares and mixing before and after the autoencoder, and in its inputs."""
    columns = ("lowest", "mixing of excitatory", "held-out genes", "partnered")
    header("second section", "embedding", *SHOWN, *columns)
    tokens = {"A": "MERFISH|A", "B": "MERFISH|B"}
    controls: dict[str, pd.Series] = {}
    for case in WITH_CAE:
        held = cut(parts, case)
        found = embed(held, reference)
        propagated, alpha = propagate(held, found)
        model = train(propagated, tokens)
        encoders: dict[str, Encoder] = {
            "propagated": lambda x, _: x,
            "inputs": model.giving("inputs").encode,
            "autoencoder": model.giving("latent").encode,
        }
        stages = {"factor model": found.rows}
        for stage, encode in encoders.items():
            stages[stage] = {name: encode(x, tokens[name]) for name, x in propagated.items()}
        at = np.cumsum([len(p) for p in propagated.values()])[:-1]
        joint = np.concatenate([stages["autoencoder"][name] for name in propagated])
        clusters = dict(zip(propagated, np.split(view(joint, layout=False)[1], at)))
        of = held_out(held, found, alpha, {s: (e, tokens) for s, e in encoders.items()}, clusters)
        scores = {stage: score.relative_to(of["propagated"]) for stage, score in of.items()}
        both = RunHeldOut(of["propagated"], of["autoencoder"], of["inputs"])
        given = "inputs" if both.network_takes_away else model.output
        chosen = "inputs" if given == "inputs" else "autoencoder"
        stages[f"joint: {chosen}"], scores[f"joint: {chosen}"] = stages[chosen], scores[chosen]
        for stage, rows in stages.items():
            shares = own_type(rows, held, "B", "A")
            control = controls.setdefault(stage.partition(":")[0], shares)
            mixed = mixing(rows, held, "A", "B", "Excitatory")
            score = scores.get(stage, float("nan"))
            figures = (lowest(shares, control), mixed, score, min(model.partnered.values()))
            line(case, stage, *shares.reindex(SHOWN), *figures)


def halves(seeds: list[dict[str, Part]], reference: ad.AnnData) -> None:
    """Print shares and mixing of halves of one section, before the autoencoder: the mean of all sections."""
    header("second half", *SHOWN, "lowest", "mixing of excitatory", "least", "most")
    control = None
    for case in CASES:
        shares, mixed = [], []
        for whole in (p for parts in seeds for p in parts.values()):
            first = np.random.default_rng(0).permutation(len(whole.types)) < len(whole.types) // 2
            held = cut({"A": whole.keep(first), "B": whole.keep(~first)}, case)
            rows, _ = propagate(held, embed(held, reference))
            shares.append(own_type(rows, held, "B", "A"))
            mixed.append(mixing(rows, held, "A", "B", "Excitatory"))
        mean = pd.concat(shares, axis=1).mean(axis=1)
        control = mean if control is None else control
        figures = (lowest(mean, control), float(np.mean(mixed)), min(mixed), max(mixed))
        line(case, *mean.reindex(SHOWN), *figures)


def held_out(
    parts: Mapping[str, Part],
    found: Embedded,
    alpha: Mapping[str, float],
    encoders: Mapping[str, tuple[Encoder, Mapping[str, str]]],
    clusters: Mapping[str, NDArray[np.integer]] | None = None,
) -> dict[str, HeldOutScore]:
    """Score embeddings by genes left out of both, as a run does."""
    counts = Counter(gene for p in parts.values() for gene in p.genes)
    folds = gene_folds([gene for gene, n in counts.items() if n > 1], n_folds=FOLDS)
    unseen: dict[str, list[dict[str, UnseenGenes]]] = {s: [{} for _ in folds] for s in encoders}
    number = {gene: i for i, fold in enumerate(folds) for gene in fold}
    near = FPConfig().propagation
    for name, p in parts.items():
        state = found.summaries[name]
        for one in found.model.hold_out(
            found.expression[name], p.genes, folds, state=state, observed=log_normalize(p.counts)
        ):
            known = np.diff(found.expression[name].indptr) > 0
            rows = propagate_embedding(
                one.rows, p.coords, alpha[name], near.n_neighbors, near.bandwidth, known=known
            )
            for stage, (encode, tokens) in encoders.items():
                given = UnseenGenes(one.genes, encode(rows, tokens[name]), one.values)
                unseen[stage][number[one.genes[0]]][name] = given
    return {stage: held_out_score(made, clusters=clusters) for stage, made in unseen.items()}


def of_task(folder: Path, query: str, target: str, types: list[str]) -> None:
    """Print shares where one slice of a task is cut to one type."""
    files = sorted(f for f in folder.glob("*.h5ad") if f.stem != "reference")
    slices = {f.stem: ad.read_h5ad(f) for f in files}
    parts = {name: part(a) for name, a in slices.items()}
    reference = ad.read_h5ad(folder / "reference.h5ad")
    header(f"{query} holds", "composition", "own type", "whole slice", "ratio")
    whole = {on: own_type(embed(parts, reference, on).rows, parts, query, target) for on in (False, True)}
    for kind in types:
        held = {**parts, query: parts[query].keep(parts[query].types == kind)}
        for on, state in ((False, "off"), (True, "on")):
            share = float(own_type(embed(held, reference, on).rows, held, query, target)[kind])
            control = float(whole[on][kind])
            line(f"{kind} only", state, share, control, share / control)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--slices", nargs=2, help="default: the first two by name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cae", action="store_true")
    parser.add_argument("--cae-seeds", type=int, default=1)
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--task", type=Path)
    parser.add_argument("--target", default="merfish_allen_visp")
    parser.add_argument("--query", default="starmap_visp_1020")
    parser.add_argument("--types", nargs="+", default=["Ex L2/3", "Ex L4", "Ex L6"])
    options = parser.parse_args()
    sections = ad.read_h5ad(options.sections)
    sections = sections[sections.obs["cell_type"].astype(str) != "Ambiguous"].copy()
    names = options.slices or sorted(sections.obs["slice"].astype(str).unique())[:2]
    reference = ad.read_h5ad(options.reference)
    seeds = [pair(sections, names, seed) for seed in range(options.seeds)]
    before(seeds, reference)
    if options.halves:
        halves(seeds[: options.cae_seeds], reference)
    if options.cae:
        for parts in seeds[: options.cae_seeds]:
            after(parts, reference)
    if options.task:
        of_task(options.task, options.query, options.target, options.types)


if __name__ == "__main__":
    main()
