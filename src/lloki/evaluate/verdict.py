"""Whether an integration can be trusted: an answer, its reasons, and the evidence for them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from lloki.evaluate.held_out import ENOUGH_GENES
from lloki.evaluate.types import COLUMNS

Grade = Literal["good", "fair", "poor", ""]
Answer = Literal["yes", "with care", "no", "cannot tell"]


@dataclass(frozen=True)
class Criterion:
    """A metric of integration quality, higher is better.

    Attributes
    ----------
    title, meaning
        What it is called, and what it measures.
    fair, good
        Lowest values of these grades; below ``fair`` a value is poor.
    """

    title: str
    meaning: str
    fair: float
    good: float

    def grade(self, value: object) -> Grade:
        """Grade a value; ``""`` if it is no number."""
        if not isinstance(value, int | float) or math.isnan(value):
            return ""
        return "poor" if value < self.fair else "good" if value >= self.good else "fair"


# The limits were set with real sections whose embedding was degraded in known ways.
CRITERIA: dict[str, Criterion] = {
    "mixing": Criterion(
        "Mixing of batches",
        "How evenly cells of different batches are mixed: 0 separate, 1 as even as possible.",
        0.3,
        0.6,
    ),
    "preservation": Criterion(
        "Structure preserved within slices",
        "Share of each cell's nearest neighbors within its slice that remain so in the joint space.",
        0.15,
        0.35,
    ),
    "dimensions": Criterion(
        "Effective dimensions",
        "Number of independent directions in which the cells vary. Near 1, the embedding has collapsed.",
        2.0,
        4.0,
    ),
    "types_kept": Criterion(
        "Types preserved",
        "How often a cell's neighbors within its slice share its type, relative to before the batches were "
        "aligned: 1 the same, less if types were mixed.",
        0.9,
        0.97,
    ),
    "like_with_like": Criterion(
        "Types matched across slices",
        "How often neighbors from other slices share a cell's type, relative to neighbors from its own "
        "slice: 1 equally often. Only types that both slices name count.",
        0.6,
        0.85,
    ),
    "transfer_accuracy": Criterion(
        "Label transfer",
        "Share of cells whose label is recovered from their nearest neighbors in another slice.",
        0.4,
        0.7,
    ),
    "transfer_macro_f1": Criterion(
        "Label transfer, macro F1", "The same with equal weight for every label.", 0.3, 0.6
    ),
}


def grade(name: str, value: object) -> Grade:
    """Grade a metric by its name; ``""`` if it is unknown or has no value."""
    return CRITERIA[name].grade(value) if name in CRITERIA else ""


# Limits of the evidence. They were set on one half of the cases of benchmarks/verdict.py and confirmed on the
# other (docs/evaluation.md). Sound pairs had ratios of .38 to 1.0, the lower ones where two technologies or
# two regions differ in composition; other tissues, permuted genes and noise .00 to .43.
SIGNAL = 0.05  # correlation of predicted genes within a slice, below which it holds noise
APART, LIKE = 0.3, 0.7  # prediction across slices, relative to within: unlike below, alike from here on
UNLIKE_WITHIN, UNLIKE_ACROSS = 0.5, 0.3  # correlations of a cluster's profile that has no like elsewhere
UNLIKE, ALONE = 0.15, 0.2  # share of a slice's cells in such clusters; in clusters that others hardly enter
NO_STRUCTURE, STRUCTURE = 0.1, 0.4  # agreement of gene–gene correlations, relative to its own halves
CHANCE_Z, REFERENCE_Z, REFERENCE = 2.0, 4.0, 0.2
KIND_LIKE = 0.4  # mean correlation of clusters with the nearest kind of cell of the reference
COHERENCE = 5.0  # standard deviations above shuffled places; they grow with the root of the number of cells
ENOUGH_CELLS = 500  # for intact tissue to be far above that
FEW_CELLS = 100  # chance correlations have a standard deviation of 0.1 there, twice SIGNAL
COVERED = 0.25  # share of a panel's genes that the reference has
WELL_SAMPLED = 25  # cells of a type in a slice: with 15 neighbors each, enough to tell .2 from .5
MANY = 0.1  # share of cells whose types were lost, from which on an embedding is no good
TYPE_POOR, TYPE_FAIR, TYPE_SEEN = 0.2, 0.5, 0.3  # see `_types`
SAME_NAMES = 0.5  # share of labeled cells whose type both slices name

PAIRS = ("one", "other", "genes", "structure", "structure_z", "within", "ratio", "unlike", "clusters")
SLICES = (
    *("slice", "cells", "within", "coherence", "alone", "clusters"),
    *("genes", "reference_genes", "reference_structure", "reference_z"),
    *("reference_like", "reference_clusters"),
)


NAMES = ("one", "other", "types", "shared", "cells")
_TEXT = ("one", "other", "slice", "clusters", "reference_clusters", "target", "source", "type")


def _none(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


@dataclass(frozen=True)
class Evidence:
    """What a verdict is decided from; what is absent was not looked at.

    Attributes
    ----------
    metrics
        Name of `CRITERIA` → value.
    pairs
        A row a pair of slices, ``one`` and ``other``: number of common ``genes``; ``structure`` and
        ``structure_z``, the agreement of their gene–gene correlations (`lloki.evaluate.gene_structure`);
        ``within`` and ``ratio``, the prediction of held-out genes (`lloki.evaluate.held_out_score`), of both
        directions the lower; ``unlike``, of both directions the larger share of a slice's cells whose
        cluster's profile the other slice does not predict, and these ``clusters``.
    slices
        A row a slice: ``cells``; ``within``; ``coherence`` (`lloki.evaluate.spatial_coherence`); ``alone``,
        the share of its cells in clusters that hardly any cell of another slice is in, and these
        ``clusters``; ``genes`` of its panel, ``reference_genes`` of them that the reference has (NaN without
        a reference), and the agreement with it, ``reference_structure`` and ``reference_z``;
        ``reference_like``, how far its clusters resemble the nearest kinds of cells of the reference
        (`lloki.evaluate.likeness`), averaged over cells, and the ``reference_clusters`` that do not.
    types
        Of `lloki.evaluate.type_agreement`.
    names
        Of `lloki.evaluate.shared_names`.
    held_out
        Why no genes were held out, or ``""``.
    slices_in_all
        How many slices there are; evidence is of some of them where they are many.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    pairs: pd.DataFrame = field(default_factory=lambda: _none(PAIRS))
    slices: pd.DataFrame = field(default_factory=lambda: _none(SLICES))
    types: pd.DataFrame = field(default_factory=lambda: _none(COLUMNS))
    names: pd.DataFrame = field(default_factory=lambda: _none(NAMES))
    held_out: str = ""
    slices_in_all: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON; what has no value is ``None``."""
        tables = {"pairs": self.pairs, "slices": self.slices, "types": self.types, "names": self.names}
        out = {k: t.astype(object).where(t.notna(), None).to_dict("records") for k, t in tables.items()}
        rest = {"held_out": self.held_out, "slices_in_all": self.slices_in_all}
        return {"metrics": dict(self.metrics), **out, **rest}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evidence:
        """Read what `to_dict` gave."""
        tables = {}
        for name, columns in (("pairs", PAIRS), ("slices", SLICES), ("types", COLUMNS), ("names", NAMES)):
            table = pd.DataFrame(values.get(name) or [], columns=list(columns))
            tables[name] = table.astype({c: float for c in columns if c not in _TEXT})
        return cls(
            metrics=values.get("metrics") or {},
            held_out=values.get("held_out") or "",
            slices_in_all=values.get("slices_in_all") or len(tables["slices"]),
            **tables,
        )


@dataclass(frozen=True)
class Verdict:
    """Whether to trust an integration.

    Attributes
    ----------
    answer
        ``"yes"``, ``"with care"``, ``"no"``, or ``"cannot tell"``.
    reasons
        Sentences that say why, the gravest first.
    evidence
        What they rest on, of `Evidence.to_dict`.
    """

    answer: Answer
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verdict:
        """Read what `to_dict` gave, or *cannot tell* from nothing."""
        if not values:
            return cls("cannot tell", ("No verdict was made.",))
        return cls(values["answer"], tuple(values["reasons"]), values["evidence"])

    @property
    def word(self) -> str:
        """The answer with a capital letter."""
        return self.answer.capitalize()

    @property
    def reason(self) -> str:
        """All reasons as one text."""
        return " ".join(self.reasons)

    def __str__(self) -> str:
        return f"{self.word}. {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"answer": self.answer, "reasons": list(self.reasons), "evidence": dict(self.evidence)}


@dataclass(frozen=True)
class _Finding:
    answer: Answer
    text: str


_ORDER: tuple[Answer, ...] = ("no", "cannot tell", "with care", "yes")


def judge(evidence: Evidence) -> Verdict:
    """Decide whether an integration can be trusted, as far as evidence shows.

    The gravest finding decides. *No*: the embedding collapsed or failed; a slice is noise; two slices do not
    predict each other's genes; a well-sampled type lies among others. *Cannot tell*: nothing shows that like
    met like. *With care*: true in part. *Yes* takes evidence that like met like between all slices, by genes
    that the embedding had not seen or by at least two types that slices share.
    """
    found = [
        *_each_slice(evidence.slices),
        *_pairs(evidence.pairs),
        *_types(evidence.types),
        *_linked(evidence),
        *_embedding(evidence.metrics, evidence.pairs),
        *_reference(evidence.slices),
        *_vocabularies(evidence.names),
        *_parts(evidence),
    ]
    found.sort(key=lambda finding: _ORDER.index(finding.answer))
    answer = found[0].answer if found else "yes"
    if answer == "yes":
        found.insert(0, _Finding("yes", _praise(evidence)))
    return Verdict(answer, tuple(finding.text for finding in found), evidence.to_dict())


def _praise(evidence: Evidence) -> str:
    by = []
    if (ratio := evidence.pairs["ratio"].dropna()).size:
        by.append(
            "genes that the embedding had not seen are predicted across slices at least "
            f"{ratio.min():.0%} as well as within"
        )
    if len(types := _by_type(evidence.types)):
        by.append(f"all {len(types)} types that slices share lie with their like")
    return f"Like met like: {'; '.join(by)}. The inner structure of the slices is preserved."


def _embedding(metrics: Mapping[str, Any], pairs: pd.DataFrame) -> Iterator[_Finding]:
    """Collapse, failure, separation and loss of structure.

    Slices that mix in part are no reason for care where all of them predict each other: their composition
    may differ, and biology goes before mixing.
    """
    grades = {name: grade(name, metrics.get(name)) for name in ("dimensions", "mixing", "preservation")}
    if grades["dimensions"] == "poor":
        yield _Finding(
            "no",
            f"The embedding has collapsed: cells vary in only {metrics['dimensions']:.3g} directions, so "
            "neighbors in it carry little information.",
        )
    mixing, kept = grades["mixing"], grades["preservation"]
    if not mixing or not kept:
        absent = [name for name, found in (("mixing", mixing), ("preservation", kept)) if not found]
        yield _Finding("cannot tell", f"{' and '.join(absent).capitalize()} could not be computed.")
    elif mixing == kept == "poor":
        yield _Finding("no", "The slices remain separate and their inner structure was not preserved.")
    elif mixing == "poor":
        yield _Finding("with care", "The slices remain separate: comparisons between them are not reliable.")
    elif kept == "poor":
        yield _Finding(
            "with care", "Much of the slices' inner structure was lost: they may have been forced together."
        )
    elif kept == "fair":
        yield _Finding(
            "with care", "Their inner structure is preserved in part: check the types of interest."
        )
    elif mixing == "fair":
        like = len(pairs) > 0 and bool((pairs["ratio"] >= LIKE).all())
        yield _Finding(
            "yes" if like else "with care",
            f"The slices mix in part ({metrics['mixing']:.2f} of what chance would give).",
        )


def _each_slice(slices: pd.DataFrame) -> Iterator[_Finding]:
    silent = slices["within"] < SIGNAL
    few = slices[silent & (slices["cells"] < FEW_CELLS)]
    if len(few):
        yield _Finding(
            "cannot tell",
            f"{_listed(few['slice'])}: too few cells to show whether genes predict each other "
            f"(fewer than {FEW_CELLS}).",
        )
    noise = slices[silent & (slices["cells"] >= FEW_CELLS)]
    if len(noise):
        yield _Finding(
            "no",
            f"{_listed(noise['slice'])}: no gene is predicted by the others, as in noise. The counts may "
            "have been shuffled, or belong to other genes.",
        )
    scattered = slices[(slices["coherence"] < COHERENCE) & (slices["cells"] >= ENOUGH_CELLS)]
    if len(scattered):
        yield _Finding(
            "with care",
            f"{_listed(scattered['slice'])}: neighbors in the tissue are no more alike than cells anywhere. "
            "The coordinates may belong to other cells.",
        )
    alone = slices[slices["alone"] > ALONE].sort_values("alone", ascending=False, kind="stable")
    if len(alone):
        worst = alone.iloc[0]
        yield _Finding(
            "with care",
            f"{_listed(alone['slice'])}: up to {worst['alone']:.0%} of its cells are in clusters that "
            f"hardly any cell of another slice is in ({worst['clusters']}): types that the others lack, or "
            "that were not matched.",
        )


def _pairs(pairs: pd.DataFrame) -> Iterator[_Finding]:
    """Compare slices two by two."""
    strange = _strange(pairs)
    if strange.any():
        yield _Finding(
            "no",
            f"{_couples(pairs[strange])} do not belong together: they hardly predict each other's genes, as "
            "if of different tissues, or with wrong names of genes.",
        )
    rest = pairs[~strange]
    doubtful = rest[(rest["ratio"] < LIKE) | (rest["structure"] < STRUCTURE)]
    if len(doubtful):
        worst = doubtful["ratio"].min()
        how = f" ({worst:.0%} as well as their own)" if worst == worst else ""
        yield _Finding(
            "with care",
            f"{_couples(doubtful)} predict each other's genes in part only{how}: their composition differs, "
            "or unlike cells were mixed.",
        )
    unlike = rest[rest["unlike"] > UNLIKE].sort_values("unlike", ascending=False, kind="stable")
    if len(unlike):
        worst = unlike.iloc[0]
        yield _Finding(
            "with care",
            f"{_couples(unlike)}: up to {worst['unlike']:.0%} of a slice's cells are in clusters whose "
            f"genes the other slice does not predict ({worst['clusters']}).",
        )


def _strange(pairs: pd.DataFrame) -> pd.Series:
    unlike = pairs["ratio"] < APART
    chance = (pairs["structure_z"] < CHANCE_Z) & (pairs["structure"] < NO_STRUCTURE)
    return unlike | (chance & ~(pairs["ratio"] >= LIKE))


def _checked(pairs: pd.DataFrame) -> pd.Series:
    """Whether two slices could be compared by genes that the embedding had not seen."""
    return (pairs["genes"] >= ENOUGH_GENES) & pairs["ratio"].notna()


def _linked(evidence: Evidence) -> Iterator[_Finding]:
    """Whether every slice was compared with the others, directly or through third ones."""
    pairs, slices = evidence.pairs, list(evidence.slices["slice"])
    if len(slices) < 2:
        if evidence.slices_in_all:
            yield _Finding("cannot tell", "There is no second slice to compare with.")
        return
    checked, typed = _checked(pairs), _typed(evidence.types)
    at = {name: i for i, name in enumerate(slices)}
    edges = [*zip(pairs["one"][checked], pairs["other"][checked]), *typed]
    ends = ([at[a] for a, _ in edges], [at[b] for _, b in edges])
    graph = csr_matrix(([1] * len(edges), ends), shape=(len(slices), len(slices)))
    parts, part = connected_components(graph, directed=False)
    blind = pairs[~checked & ~pd.Series([*zip(pairs["one"], pairs["other"])], index=pairs.index).isin(typed)]
    if parts == 1:
        if len(blind) and not evidence.held_out:
            yield _Finding(
                "yes",
                f"{_couples(blind)} share too few genes to be compared directly; other slices link them.",
            )
        return
    if evidence.held_out:
        yield _Finding(
            "with care",
            f"Whether like met like was not checked between all slices, since {evidence.held_out}, and types "
            "that slices share do not link them: check that known markers coincide.",
        )
        return
    groups = [[s for s in slices if part[at[s]] == i] for i in range(parts)]
    between = " with ".join(_listed(group) for group in groups[:2])
    like = evidence.slices["reference_z"] >= REFERENCE_Z
    like &= evidence.slices["reference_structure"] >= STRUCTURE
    text = f"Too few genes link {between}: whether like met like cannot be checked between them."
    if like.all():
        text += " Their genes go together as in the reference, which is the only bridge."
    yield _Finding("with care" if like.all() else "cannot tell", text)


def _typed(types: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of slices that at least two well-sampled types link."""
    sampled = _well_sampled(types)
    several = Counter(zip(sampled["target"], sampled["source"]))
    return [pair for pair, kinds in several.items() if kinds > 1]


def _reference(slices: pd.DataFrame) -> Iterator[_Finding]:
    """Whether the reference is of the slices' tissue and has their genes."""
    few = slices[slices["reference_genes"] < COVERED * slices["genes"]]
    if len(few):
        row = few.iloc[int((few["reference_genes"] / few["genes"]).argmin())]
        least = "as few as " if len(few) > 1 else ""
        yield _Finding(
            "with care",
            f"{_listed(few['slice'])}: the reference has {least}{row['reference_genes']:.0f} of "
            f"{row['genes']:.0f} genes of the panel, and tells little about it.",
        )
    other = slices[~fits_reference(slices)]
    if len(other):
        yield _Finding(
            "with care",
            f"{_listed(other['slice'])}: genes do not go together as in the reference, which may be of "
            "another tissue or species.",
        )
    foreign = slices[slices["reference_like"] < KIND_LIKE].sort_values("reference_like", kind="stable")
    if len(foreign):
        worst = foreign.iloc[0]
        yield _Finding(
            "with care",
            f"{_listed(foreign['slice'])}: hardly any cluster resembles a kind of cell of the reference "
            f"(mean correlation {worst['reference_like']:.2f}; least {worst['reference_clusters']}), which "
            "may be of another tissue, or lack types.",
        )


def fits_reference(slices: pd.DataFrame) -> pd.Series:
    """Whether the genes of each slice go together as in the reference; true where that is unknown."""
    chance = slices["reference_structure"].isna() & (slices["reference_z"] < REFERENCE_Z)
    return ~((slices["reference_structure"] < REFERENCE) | chance)


def _well_sampled(types: pd.DataFrame) -> pd.DataFrame:
    return types[types["cells"] >= WELL_SAMPLED]


def _by_type(types: pd.DataFrame) -> pd.DataFrame:
    """Mean over pairs of slices of each well-sampled type, and its share of their cells."""
    sampled = _well_sampled(types)
    columns = ["chance", "before", "within", "across"]
    if not len(sampled):
        return _none([*columns, "share"])
    groups = sampled.groupby("type")
    return groups[columns].mean().assign(share=groups["cells"].sum() / types["cells"].sum())


def _types(types: pd.DataFrame) -> Iterator[_Finding]:
    """By known types: the worst well-sampled one decides, *no* if those lost hold a tenth of the cells.

    Measured is the share of a cell's nearest cells of another slice that are of its type, over that in its
    own slice before alignment: a type that was moved onto another as a whole has few of its own near it in
    either.
    """
    each = _by_type(types)
    if len(each) < 2:
        return
    seen = each["before"] - each["chance"] >= TYPE_SEEN * (1 - each["chance"])
    if not seen.any():
        yield _Finding(
            "with care",
            "The labels do not follow expression in any slice: neighbors share a type no more often than by "
            "chance. They cannot show whether like met like; they may belong to other cells.",
        )
        return
    matched = (each["across"] / each["before"])[seen]
    lost = matched[matched < TYPE_POOR]
    if len(lost):
        yield _Finding(
            "no" if each["share"][lost.index].sum() >= MANY else "with care",
            f"{_listed(lost.index)}: in other slices, hardly any neighbor is of this type "
            f"({lost.min():.0%} as often as within the slice before alignment).",
        )
    weak = matched[(matched >= TYPE_POOR) & (matched < TYPE_FAIR)]
    if len(weak):
        yield _Finding(
            "with care",
            f"{_listed(weak.index)}: neighbors in other slices are of this type only {weak.min():.0%} as "
            "often as within the slice before alignment.",
        )


def _vocabularies(names: pd.DataFrame) -> Iterator[_Finding]:
    differ = names[names["cells"] < SAME_NAMES]
    if len(differ):
        row = differ.iloc[int((differ["shared"] / differ["types"]).argmin())]
        least = "as few as " if len(differ) > 1 else ""
        yield _Finding(
            "yes",
            f"{_couples(differ)} name types differently ({least}{row['shared']:.0f} of {row['types']:.0f} "
            "names in common): types were compared only where names agree.",
        )


def _parts(evidence: Evidence) -> Iterator[_Finding]:
    looked = len(evidence.slices)
    if 0 < looked < evidence.slices_in_all:
        yield _Finding("yes", f"Compared were {looked} of {evidence.slices_in_all} slices.")


def _listed(names: Any, most: int = 3) -> str:
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _couples(pairs: pd.DataFrame) -> str:
    return _listed([f"{a} and {b}" for a, b in zip(pairs["one"], pairs["other"])], most=2)
