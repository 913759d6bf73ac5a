"""Runs integrations that should be trusted and ones that must not be, and prints their verdicts.

    python benchmarks/verdict.py cases DATA TASKS OUT [--half fit|held-back] [--only REGEX]
    python benchmarks/verdict.py labels RUN [--label-key KEY]

DATA holds real slices and references as h5ad, TASKS the references of the integration tasks. Each case
becomes a run in OUT/CASE (finished ones are not made again) and a row of the table. The limits of
`lloki.evaluate.verdict` were set with the cases of one half, and confirmed with those of the other. RUN
is a finished run with labels, of which the labels, or the embedding, are spoiled in known ways.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

import lloki
from lloki import keys
from lloki.evaluate import Evidence, judge, quality, shared_names, type_agreement

CELLS = 1_500  # of a slice, at most
STEPS = 100  # of training: what the verdict looks at is there from the start
GOOD, NONSENSE, DOUBTFUL = "good", "nonsense", "doubtful"  # doubtful: true in part, so no plain yes


@dataclass
class Case:
    """Slices and a reference, and what they are."""

    name: str
    kind: str
    make: Callable[[Data, np.random.Generator], dict[str, ad.AnnData]]
    reference: str
    half: str = "fit"


class Data:
    """Real slices by short names."""

    def __init__(self, data: Path, tasks: Path) -> None:
        self.data, self.tasks = data, tasks

    def slice(
        self, name: str, rng: np.random.Generator, window: bool = False, cells: int = CELLS
    ) -> ad.AnnData:
        """At most `cells` cells: drawn at random, or the nearest around one of them."""
        file, _, part = name.partition("@")
        a = ad.read_h5ad(self.data / "spatial" / f"{file}.h5ad")
        if part:
            a = a[a.obs["slice"].astype(str) == part].copy()
        a.X = sparse.csr_matrix(a.X).astype(np.float32)
        a = a[np.asarray(a.X.sum(1)).ravel() > 0].copy()
        if a.n_obs > cells:
            xy = np.asarray(a.obsm["spatial"])[:, :2]
            if window:
                distance = ((xy - xy[rng.integers(len(xy))]) ** 2).sum(1)
                rows = np.sort(np.argsort(distance)[:cells])
            else:
                rows = np.sort(rng.permutation(a.n_obs)[:cells])
            a = a[rows].copy()
        return bare(a, np.asarray(a.obsm["spatial"])[:, :2])

    def dissociated(
        self, file: str, genes: list[str], rng: np.random.Generator, depth: float = 150.0
    ) -> ad.AnnData:
        """Cells of another tissue as if a slice: few counts, laid out so that like cells are neighbors."""
        a = ad.read_h5ad(self.data / f"{file}.h5ad")
        a.var_names_make_unique()
        common = [g for g in genes if g in set(a.var_names)]
        a = a[np.sort(rng.permutation(a.n_obs)[:CELLS]), common].copy()
        x = sparse.csr_matrix(a.X).toarray().astype(float)
        x = rng.poisson(
            x / np.maximum(x.sum(1, keepdims=True), 1) * rng.lognormal(np.log(depth), 0.4, (len(x), 1))
        )
        a.X = sparse.csr_matrix(x.astype(np.float32))
        a = a[np.asarray(a.X.sum(1)).ravel() > 0].copy()
        z = np.sqrt(a.X.toarray())
        u = np.linalg.svd(z - z.mean(0), full_matrices=False)[0][:, :2]
        xy = np.argsort(np.argsort(u + rng.normal(size=u.shape) * u.std(0) * 0.1, axis=0), axis=0)
        return bare(a, xy * 10.0 / np.sqrt(len(xy)) + rng.random(xy.shape))

    def reference(self, name: str) -> Path:
        if "/" in name:
            return self.data / f"{name}.h5ad"
        return self.tasks / name / "reference.h5ad"


def bare(a: ad.AnnData, xy: NDArray) -> ad.AnnData:
    obs = pd.DataFrame(index=[f"c{i}" for i in range(a.n_obs)])
    if "cell_type" in a.obs:
        labels = a.obs["cell_type"].astype(str).to_numpy()
        obs["cell_type"] = np.where(np.isin(labels, ["nan", "Zero", "Ambiguous"]), "", labels)
    return ad.AnnData(
        a.X.copy(), obs=obs, var=pd.DataFrame(index=list(map(str, a.var_names))), obsm={"spatial": xy}
    )


# Ways to cut and to spoil a slice.
def panel(a: ad.AnnData, n: int, rng: np.random.Generator) -> ad.AnnData:
    keep = np.sort(rng.permutation(a.n_vars)[:n])
    return a[:, keep].copy()


def thinned(a: ad.AnnData, share: float, rng: np.random.Generator) -> ad.AnnData:
    a = a.copy()
    a.X.data = rng.binomial(a.X.data.astype(int), share).astype(np.float32)
    a.X.eliminate_zeros()
    return a


def only(a: ad.AnnData, pattern: str, keep: bool = True) -> ad.AnnData:
    hit = a.obs["cell_type"].str.contains(pattern, regex=True).to_numpy()
    known = a.obs["cell_type"].to_numpy() != ""
    return a[known & (hit == keep)].copy()


def genes_permuted(a: ad.AnnData, rng: np.random.Generator, share: float = 1.0) -> ad.AnnData:
    a, names = a.copy(), np.array(a.var_names)
    chosen = np.flatnonzero(rng.random(len(names)) < share)
    names[chosen] = names[rng.permutation(chosen)]
    a.var_names = names
    return a


def counts_shuffled(a: ad.AnnData, rng: np.random.Generator) -> ad.AnnData:
    a, x = a.copy(), a.X.toarray()
    for j in range(x.shape[1]):
        x[:, j] = x[rng.permutation(len(x)), j]
    a.X = sparse.csr_matrix(x)
    return filled(a)


def noise(a: ad.AnnData, rng: np.random.Generator) -> ad.AnnData:
    a = a.copy()
    mean = np.asarray(a.X.mean(0)).ravel()
    a.X = sparse.csr_matrix(rng.poisson(np.broadcast_to(mean, a.shape)).astype(np.float32))
    return filled(a)


def places_shuffled(a: ad.AnnData, rng: np.random.Generator) -> ad.AnnData:
    a = a.copy()
    a.obsm["spatial"] = a.obsm["spatial"][rng.permutation(a.n_obs)]
    return a


def filled(a: ad.AnnData) -> ad.AnnData:
    return a[np.asarray(a.X.sum(1)).ravel() > 0].copy()


POA1, POA7 = "merfish_moffitt_poa_animal1@bregma_", "merfish_moffitt_poa_animal7@bregma_"
MOP, MOLCART = "merfish_zhuang_mop@slice", "molcart_mouse_cortex@"
ALLEN, STARMAP, XENIUM = "merfish_allen_visp", "starmap_visp_1020", "xenium_mouse_brain_ctx_hp"
VERA, ISS, DG = "verafish_hippocampus", "iss_ca1_pciseq", "xenium_mouse_dg_labelled"
BREAST, MELANOMA = "xenium_breast_rep1_quadrants@", "merscope_melanoma_p1"
BRAIN, CORTEX, TUMOR = "hypothalamus-45", "cortex", "breast-100"


def pair(one: str, two: str, *, genes: int = 0, thin: float = 0, window: bool = False):
    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        a, b = data.slice(one, rng, window), data.slice(two, rng, window)
        if genes:
            a, b = panel(a, genes, rng), panel(b, genes, rng)
        if thin:
            b = thinned(b, thin, rng)
        return {"a": filled(a), "b": filled(b)}

    return make


def spoiled(
    one: str, two: str, how: Callable[..., ad.AnnData], *, genes: int = 0, both: bool = False, **options
):
    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        a, b = data.slice(one, rng), data.slice(two, rng)
        if genes:
            a, b = panel(a, genes, rng), panel(b, genes, rng)
        return {"a": filled(how(a, rng, **options) if both else a), "b": filled(how(b, rng, **options))}

    return make


def types(one: str, two: str, pattern: str, *, against: bool, keep: bool = True, genes: int = 0):
    """Of the second slice some types only; of the first all, or (against) the others only."""

    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        a, b = data.slice(one, rng, cells=6_000), data.slice(two, rng, cells=6_000)
        b = only(b, pattern, keep)
        a = only(a, pattern, not keep) if against else a
        a, b = (x[np.sort(rng.permutation(x.n_obs)[:CELLS])].copy() for x in (a, b))
        if genes:
            a, b = panel(a, genes, rng), panel(b, genes, rng)
        return {"a": filled(a), "b": filled(b)}

    return make


def tissues(one: str, other: str):
    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        a = data.slice(one, rng)
        return {"a": a, "b": data.dissociated(other, list(a.var_names), rng)}

    return make


def disjoint(one: str, two: str):
    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        a, b = data.slice(one, rng), data.slice(two, rng)
        common = rng.permutation(sorted(set(a.var_names) & set(b.var_names)))
        half = len(common) // 2
        return {
            "a": filled(a[:, sorted(common[:half])].copy()),
            "b": filled(b[:, sorted(common[half:])].copy()),
        }

    return make


def three(*names: str, genes: int):
    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        return {f"s{i}": filled(panel(data.slice(n, rng), genes, rng)) for i, n in enumerate(names)}

    return make


def halves(name: str, genes: int = 0):
    """Left and right half of one section."""

    def make(data: Data, rng: np.random.Generator) -> dict[str, ad.AnnData]:
        a = data.slice(name, rng, cells=2 * CELLS)
        left = a.obsm["spatial"][:, 0] < np.median(a.obsm["spatial"][:, 0])
        parts = [a[left].copy(), a[~left].copy()]
        if genes:
            parts = [panel(p, genes, rng) for p in parts]
        return {"a": filled(parts[0]), "b": filled(parts[1])}

    return make


NEURONS = "Inhibitory|Excitatory"
GLIA_STARMAP = "Oligo|Astro|Endo|Micro|Smc|SMC"
IMMUNE = "T_Cell|B_Cell|Macrophage|Plasma|Mast"


def cases() -> Iterator[Case]:
    sections = [
        (POA1 + "0.26", POA1 + "0.21"),
        (POA1 + "-0.09", POA1 + "0.26"),
        (POA1 + "-0.29", POA1 + "0.21"),
        (POA7 + "-0.09", POA7 + "0.16"),
        (POA1 + "0.26", POA7 + "0.16"),
        (POA1 + "-0.09", POA7 + "-0.09"),
    ]
    for i, (one, two) in enumerate(sections):
        for genes in ((0, 70), (45, 100))[i % 2]:
            yield Case(f"hypothalamus {i} panel {genes or 'full'}", GOOD, pair(one, two, genes=genes), BRAIN)
    for i, (one, two) in enumerate([("1", "10"), ("21", "200"), ("1", "200")]):
        for genes in (0, 80):
            yield Case(
                f"motor cortex {i} panel {genes or 'full'}",
                GOOD,
                pair(f"{MOP}{one}", f"{MOP}{two}", genes=genes),
                CORTEX,
            )
    for one, two, genes in [("A1", "A2", 0), ("A2", "B1", 50), ("A1", "B1", 35)]:
        yield Case(
            f"molecular cartography {one} {two} panel {genes or 'full'}",
            GOOD,
            pair(MOLCART + one, MOLCART + two, genes=genes),
            CORTEX,
        )
    technologies = {
        "visp starmap": (ALLEN, STARMAP),
        "visp mop": (ALLEN, MOP + "1"),
        "mop starmap": (MOP + "21", STARMAP),
        "molcart mop": (MOLCART + "A1", MOP + "10"),
        "molcart starmap": (MOLCART + "B1", STARMAP),
        "xenium molcart": (XENIUM, MOLCART + "A2"),
        "xenium mop": (XENIUM, MOP + "200"),
        "xenium vera": (XENIUM, VERA),
        "dentate vera": (DG, VERA),
    }
    for name, (one, two) in technologies.items():
        yield Case(f"technologies {name}", GOOD, pair(one, two), CORTEX)
    yield Case("xenium windows", GOOD, pair(XENIUM, XENIUM, window=True), CORTEX)
    yield Case("xenium panel 80", GOOD, pair(XENIUM, XENIUM, genes=80), CORTEX)
    yield Case("vera panel 60", GOOD, halves(VERA, 60), CORTEX)
    quadrants = [("pikachu", "squirtle"), ("bulbasaur", "charmander"), ("pikachu", "charmander")]
    for i, (one, two) in enumerate(quadrants):
        for genes in ((0, 100), (60, 150), (100, 0))[i]:
            yield Case(
                f"breast {i} panel {genes or 'full'}",
                GOOD,
                pair(BREAST + one, BREAST + two, genes=genes),
                TUMOR,
            )
    yield Case("breast mini", GOOD, pair("xenium_breast_mini", BREAST + "bulbasaur"), TUMOR)
    for genes in (0, 100, 200):
        yield Case(f"melanoma panel {genes or 'full'}", GOOD, halves(MELANOMA, genes), TUMOR)
    yield Case("thinned hypothalamus", GOOD, pair(*sections[0], genes=100, thin=0.3), BRAIN)
    yield Case("thinned breast", GOOD, pair(BREAST + "pikachu", BREAST + "squirtle", thin=0.3), TUMOR)
    yield Case("thinned motor cortex", GOOD, pair(MOP + "1", MOP + "10", thin=0.3), CORTEX)
    yield Case(
        "three hypothalamus", GOOD, three(POA1 + "0.26", POA1 + "-0.29", POA7 + "0.16", genes=60), BRAIN
    )
    yield Case("three cortex", GOOD, three(MOP + "1", ALLEN, MOLCART + "A1", genes=100), CORTEX)

    a, b = sections[0]
    other = {
        "hypothalamus pancreas": (a, "reference/scrna_mouse_pancreas_baron", BRAIN),
        "hypothalamus intestine": (POA7 + "0.16", "pretraining/raceid_intestine", BRAIN),
        "hypothalamus heart": (b, "pretraining/tenx_heart_1k", BRAIN),
        "motor cortex pancreas": (MOP + "1", "reference/scrna_mouse_pancreas_baron", CORTEX),
        "motor cortex heart": (MOP + "10", "pretraining/tenx_heart_1k", CORTEX),
        "molcart pancreas": (MOLCART + "A1", "reference/scrna_mouse_pancreas_baron", CORTEX),
        "starmap heart": (STARMAP, "pretraining/tenx_heart_1k", CORTEX),
        "vera intestine": (VERA, "pretraining/raceid_intestine", CORTEX),
        "xenium brain pancreas": (XENIUM, "reference/scrna_mouse_pancreas_baron", CORTEX),
        "breast pancreas": (BREAST + "pikachu", "reference/scrna_human_pancreas_baron", TUMOR),
        "breast lung lines": (BREAST + "squirtle", "pretraining/mixology_sc_celseq2", TUMOR),
        "melanoma pancreas": (MELANOMA, "reference/scrna_human_pancreas_baron", TUMOR),
    }
    for name, (one, two, reference) in other.items():
        yield Case(f"other tissue: {name}", NONSENSE, tissues(one, two), reference)
    for name, one, two, pattern, genes, reference in [
        ("hypothalamus neurons glia", a, b, NEURONS, 0, BRAIN),
        ("hypothalamus neurons glia panel 70", POA7 + "-0.09", POA1 + "-0.29", NEURONS, 70, BRAIN),
        ("starmap neurons glia", STARMAP, STARMAP, GLIA_STARMAP, 0, CORTEX),
        ("hippocampus neurons glia", DG, DG, "Granule|Pyramidal|Lamp5|Pvalb", 0, CORTEX),
        ("breast tumor immune", BREAST + "pikachu", BREAST + "squirtle", "Tumour|Myoep", 0, TUMOR),
        ("breast stroma immune panel 100", BREAST + "bulbasaur", BREAST + "charmander", IMMUNE, 100, TUMOR),
        ("melanoma stroma immune", MELANOMA, MELANOMA, "Fibro|Endoth", 0, TUMOR),
    ]:
        yield Case(f"apart: {name}", NONSENSE, types(one, two, pattern, against=True, genes=genes), reference)
    base = {
        "hypothalamus": (a, b, 0, BRAIN),
        "hypothalamus panel 70": (POA1 + "-0.09", POA7 + "0.16", 70, BRAIN),
        "motor cortex": (MOP + "1", MOP + "10", 0, CORTEX),
        "molcart": (MOLCART + "A1", MOLCART + "A2", 0, CORTEX),
        "breast": (BREAST + "pikachu", BREAST + "squirtle", 0, TUMOR),
        "melanoma": (MELANOMA, MELANOMA, 0, TUMOR),
        "xenium": (XENIUM, XENIUM, 0, CORTEX),
    }
    for name, (one, two, genes, reference) in base.items():
        yield Case(
            f"genes permuted: {name}", NONSENSE, spoiled(one, two, genes_permuted, genes=genes), reference
        )
    for name in ("hypothalamus", "motor cortex", "breast", "molcart"):
        one, two, genes, reference = base[name]
        yield Case(f"counts shuffled: {name}", NONSENSE, spoiled(one, two, counts_shuffled), reference)
    for name in ("hypothalamus", "motor cortex", "breast"):
        one, two, genes, reference = base[name]
        yield Case(f"noise: {name}", NONSENSE, spoiled(one, two, noise), reference)
        yield Case(f"noise in both: {name}", NONSENSE, spoiled(one, two, noise, both=True), reference)
    for name, reference in [
        ("hypothalamus", "reference/scrna_mouse_pancreas_baron"),
        ("motor cortex", "reference/scrna_mouse_pancreas_baron"),
        ("molcart", "pretraining/tenx_heart_1k"),
        ("breast", "reference/scrna_human_pancreas_baron"),
    ]:
        one, two, genes, _ = base[name]
        yield Case(f"wrong reference: {name}", DOUBTFUL, pair(one, two), reference)
    for name in ("hypothalamus", "motor cortex", "breast"):
        one, two, genes, reference = base[name]
        yield Case(
            f"places shuffled: {name}", DOUBTFUL, spoiled(one, two, places_shuffled, both=True), reference
        )
        yield Case(f"no common gene: {name}", DOUBTFUL, disjoint(one, two), reference)
        half = spoiled(one, two, genes_permuted, share=0.5)
        yield Case(f"half of genes permuted: {name}", NONSENSE, half, reference)
    yield Case("one type: astrocytes", DOUBTFUL, types(a, b, "Astro", against=False), BRAIN)
    yield Case(
        "one type: tumor",
        DOUBTFUL,
        types(BREAST + "pikachu", BREAST + "squirtle", "Tumour", against=False),
        TUMOR,
    )
    yield Case(
        "a third missing: inhibitory", DOUBTFUL, types(a, b, "Inhib", against=False, keep=False), BRAIN
    )
    yield Case(
        "a third missing: tumor",
        DOUBTFUL,
        types(BREAST + "pikachu", BREAST + "squirtle", "Tumour", against=False, keep=False),
        TUMOR,
    )
    yield Case(
        "a third missing: fibroblasts",
        DOUBTFUL,
        types(MELANOMA, MELANOMA, "Fibro", against=False, keep=False),
        TUMOR,
    )


def held_back() -> Iterator[Case]:
    """Cases that nobody looked at before the limits were set: other slices, tissues, panels and spoilings."""
    good = {
        "hypothalamus a": (pair(POA1 + "-0.29", POA7 + "0.16", genes=60), BRAIN),
        "hypothalamus b": (pair(POA1 + "0.21", POA7 + "-0.09"), BRAIN),
        "hypothalamus c": (pair(POA1 + "-0.29", POA1 + "-0.09", genes=90), BRAIN),
        "motor cortex": (pair(MOP + "10", MOP + "21", genes=100), CORTEX),
        "motor cortex full": (pair(MOP + "10", MOP + "200"), CORTEX),
        "molcart halves": (halves(MOLCART + "B1", 60), CORTEX),
        "allen halves": (halves(ALLEN, 120), CORTEX),
        "starmap halves": (halves(STARMAP, 500), CORTEX),
        "iss halves": (halves(ISS, 60), CORTEX),
        "dentate xenium": (pair(DG, XENIUM, genes=120), CORTEX),
        "melanoma": (halves(MELANOMA, 150), TUMOR),
        "breast a": (pair(BREAST + "charmander", BREAST + "squirtle", genes=80), TUMOR),
        "breast b": (pair(BREAST + "bulbasaur", BREAST + "pikachu", thin=0.3), TUMOR),
        "breast c": (pair("xenium_breast_mini", BREAST + "pikachu", genes=120), TUMOR),
    }
    nonsense = {
        "melanoma lung lines": (tissues(MELANOMA, "pretraining/mixology_sc_celseq2"), TUMOR),
        "iss heart": (tissues(ISS, "pretraining/tenx_heart_1k"), CORTEX),
        "allen pancreas": (tissues(ALLEN, "reference/scrna_mouse_pancreas_baron"), CORTEX),
        "dentate heart": (tissues(DG, "pretraining/tenx_heart_1k"), CORTEX),
        "genes permuted: vera": (spoiled(VERA, VERA, genes_permuted), CORTEX),
        "genes permuted: starmap": (spoiled(STARMAP, STARMAP, genes_permuted), CORTEX),
        "genes permuted: allen": (spoiled(ALLEN, ALLEN, genes_permuted, genes=120), CORTEX),
        "half of genes permuted: melanoma": (spoiled(MELANOMA, MELANOMA, genes_permuted, share=0.5), TUMOR),
        "half of genes permuted: molcart": (
            spoiled(MOLCART + "A1", MOLCART + "B1", genes_permuted, share=0.5),
            CORTEX,
        ),
        "counts shuffled: melanoma": (spoiled(MELANOMA, MELANOMA, counts_shuffled), TUMOR),
        "counts shuffled: xenium": (spoiled(XENIUM, XENIUM, counts_shuffled, genes=100), CORTEX),
        "noise: vera": (spoiled(VERA, VERA, noise), CORTEX),
        "apart: iss": (types(ISS, ISS, "^PC", against=True), CORTEX),
        "apart: breast tumor stroma": (
            types(BREAST + "charmander", BREAST + "pikachu", "Tumour", against=True, genes=120),
            TUMOR,
        ),
        "apart: hypothalamus": (types(POA7 + "0.16", POA1 + "-0.09", "^OD|Astro", against=True), BRAIN),
    }
    for kind, made in ((GOOD, good), (NONSENSE, nonsense)):
        for name, (make, reference) in made.items():
            yield Case(f"held back: {name}", kind, make, reference, "held-back")


def number(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def run(case: Case, data: Data, out: Path) -> Path:
    """The run of a case; what it was made of stays beside it."""
    folder = out / re.sub(r"[^a-z0-9]+", "-", case.name.lower())
    if not (folder / "run.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        slices = case.make(data, np.random.default_rng(number(case.name)))
        for name, a in slices.items():
            a.obs["sample"] = name
        start = time.process_time()
        lloki.integrate(
            list(slices.values()),
            samples=list(slices),
            technology={name: f"t{name}" for name in slices},
            reference=data.reference(case.reference),
            out=folder,
            benchmark="none",
            cae={"steps": STEPS},
            progress=False,
        )
        (folder / "seconds.txt").write_text(f"{time.process_time() - start:.0f}")
        shutil.rmtree(folder / "work", ignore_errors=True)
    return folder


def spoilt(
    x: NDArray, slices: NDArray, labels: NDArray, rng: np.random.Generator
) -> Iterator[tuple[str, NDArray, NDArray]]:
    """Yield what was spoiled, the embedding and the labels."""
    kinds, counts = np.unique(labels[labels != ""], return_counts=True)
    kinds = kinds[np.argsort(-counts)]
    last = slices == np.unique(slices)[-1]
    yield "as it is", x, labels
    known = np.flatnonzero(labels != "")
    permuted = labels.copy()
    permuted[known] = labels[rng.permutation(known)]
    yield "labels permuted", x, permuted
    yield "types of one slice renamed", x, np.where(last & (labels != ""), np.char.add("x ", labels), labels)
    yield "one type of one slice renamed", x, np.where(last & (labels == kinds[1]), "another name", labels)
    yield "one label for all", x, np.where(labels == "", "", "cell")
    for kind in kinds[[1, len(kinds) // 2]]:
        moved, rows = x.copy(), np.flatnonzero(labels == kind)
        moved[rows] = x[rng.choice(np.flatnonzero(labels == kinds[0]), len(rows))]
        yield f"all {kind} moved onto {kinds[0]}", moved, labels
        one = x.copy()
        rows = np.flatnonzero((labels == kind) & last)
        one[rows] = x[rng.choice(np.flatnonzero(labels == kinds[0]), len(rows))]
        yield f"{kind} of one slice moved onto {kinds[0]}", one, labels
    u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    yield "squeezed into one direction", x.mean(0) + u[:, :1] * s[0] * v[:1], labels
    apart = x.copy()
    for i, name in enumerate(np.unique(slices)):
        apart[slices == name, i] += 3 * x.std(0).max()
    yield "slices pulled apart", apart, labels
    shuffled = x.copy()
    for name in np.unique(slices):
        rows = np.flatnonzero(slices == name)
        shuffled[rows] = x[rng.permutation(rows)]
    yield "cells shuffled within slices", shuffled, labels


def evidence_of(folder: Path) -> Evidence:
    run = json.loads((folder / "run.json").read_text())
    return Evidence.from_dict({"metrics": run["metrics"], **run["verdict"]["evidence"]})


def of_labels(folder: Path, label_key: str) -> None:
    """Print the verdict on labels and embeddings spoiled in known ways, with held-out genes as they are."""
    joint = ad.read_h5ad(folder / "integrated.h5ad")
    slices, tokens = (joint.obs[k].astype(str).to_numpy() for k in (keys.SLICE, keys.TOKEN))
    column = joint.obs[label_key]
    labels = np.where(column.isna(), "", column.astype(str)).astype(str)
    before, x = np.asarray(joint.obsm[keys.FP]), np.asarray(joint.obsm[keys.JOINT])
    known = evidence_of(folder)
    print("| spoiled | answer | reasons |\n|---|---|---|")
    for name, y, named in spoilt(x, slices, labels, np.random.default_rng(0)):
        table = quality(before, y.astype(np.float32), slices=slices, tokens=tokens, labels=named)
        found = judge(
            replace(
                known,
                metrics=table.iloc[-1].drop(["embedding", "cells"]).to_dict(),
                types=type_agreement(before, y, named, slices),
                names=shared_names(named, slices),
            )
        )
        print(f"| {name} | {found.answer} | {found.reason} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="command")
    of_runs, of_one = commands.add_parser("cases"), commands.add_parser("labels")
    of_runs.add_argument("data", type=Path)
    of_runs.add_argument("tasks", type=Path)
    of_runs.add_argument("out", type=Path)
    of_runs.add_argument("--half", choices=("fit", "held-back"))
    of_runs.add_argument("--only", default="", help="regular expression of names")
    of_one.add_argument("run", type=Path)
    of_one.add_argument("--label-key", default="cell_type")
    options = parser.parse_args()
    if options.command == "labels":
        of_labels(options.run, options.label_key)
    else:
        of_cases(options)


def of_cases(options: argparse.Namespace) -> None:
    """Print a row a case."""
    data = Data(options.data, options.tasks)
    columns = ["structure", "ratio", "unlike", "alone", "within", "coherence", "reference", "z"]
    print(f"| case | kind | half | answer | {' | '.join(columns)} |\n{'|---' * 12}|")
    tallies: dict[tuple[str, str], Counter[str]] = {}
    for case in (*cases(), *held_back()):
        if options.half not in (None, case.half) or not re.search(options.only, case.name):
            continue
        folder = run(case, data, options.out)
        found = judge(evidence_of(folder))
        e, tally = found.evidence, tallies.setdefault((case.half, case.kind), Counter())
        tally[found.answer] += 1
        structure, ratio = (lowest(e["pairs"], c) for c in ("structure", "ratio"))
        unlike, alone = highest(e["pairs"], "unlike"), highest(e["slices"], "alone")
        within, places = (lowest(e["slices"], c) for c in ("within", "coherence"))
        reference, z = (lowest(e["slices"], c) for c in ("reference_structure", "reference_z"))
        shown = (structure, ratio, unlike, alone, within, places, reference, z)
        about = (case.name, case.kind, case.half, found.answer)
        print(f"| {' | '.join((*about, *shown))} |", flush=True)
    print("\n| half | kind | cases | yes | with care | cannot tell | no |\n|---|---|---|---|---|---|---|")
    for (part, kind), tally in sorted(tallies.items()):
        counts = [str(tally[answer]) for answer in ("yes", "with care", "cannot tell", "no")]
        print(f"| {part} | {kind} | {tally.total()} | {' | '.join(counts)} |")


def lowest(rows: Sequence[Mapping[str, float | None]], column: str) -> str:
    values = [row[column] for row in rows if row[column] is not None]
    return f"{min(values):.2f}" if values else "–"


def highest(rows: Sequence[Mapping[str, float | None]], column: str) -> str:
    values = [row[column] for row in rows if row[column] is not None]
    return f"{max(values):.2f}" if values else "–"


if __name__ == "__main__":
    main()
