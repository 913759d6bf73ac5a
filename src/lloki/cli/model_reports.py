"""The genes of slices that a model uses: what ``lloki models inspect`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import typer

from lloki.cli.tables import show

if TYPE_CHECKING:
    from anndata import AnnData

    from lloki.embed import Embedder
    from lloki.models import ModelFacts

_SHOWN = 10  # genes of a kind; --json lists all


@dataclass(frozen=True)
class SliceReport:
    """How a model uses the genes of one slice.

    Attributes
    ----------
    slice
        Its name.
    genes, used, exact
        How many it has, how many of them the model uses, and how many of these under the name they have.
    mapped
        Gene → the model's name for it, where that is another.
    how
        The same genes → ``"other name"`` or ``"ortholog"``.
    dropped
        Gene → why the model does not use it.
    counts_kept
        Share of all counts that falls on the genes used; ``None`` without counts.
    per_cell
        Quartiles of that share over cells; ``None`` likewise.
    problem
        Why a run would refuse the slice; ``""`` if it would not.
    """

    slice: str
    genes: int
    used: int
    exact: int
    mapped: Mapping[str, str]
    how: Mapping[str, str]
    dropped: Mapping[str, str]
    counts_kept: float | None
    per_cell: tuple[float, float, float] | None
    problem: str


def report_slice(embedder: Embedder, adata: AnnData) -> SliceReport:
    """Match the genes of a checked slice with the model's, and compute the share of counts kept."""
    from lloki import keys
    from lloki.genes import counts_kept
    from lloki.models import match_panel

    match = match_panel(embedder, list(adata.var_names))
    kept = counts_kept(adata.X, match)
    none = isnan(kept.overall)
    return SliceReport(
        slice=str(adata.obs[keys.SLICE].iloc[0]),
        genes=len(match.names),
        used=len(match.used),
        exact=match.exact,
        mapped=dict(match.mapped),
        how=dict(match.how),
        dropped=dict(match.dropped),
        counts_kept=None if none else kept.overall,
        per_cell=None if none else kept.quartiles,
        problem=f"{match.diagnosis}. {match.hint}" if match.diagnosis else "",
    )


def as_json(facts: ModelFacts, reports: Sequence[SliceReport]) -> dict[str, Any]:
    """Everything, as plain values."""
    from lloki.genes import ORTHOLOG_SOURCE, ORTHOLOG_VERSION

    orthologs = {"source": ORTHOLOG_SOURCE, "version": ORTHOLOG_VERSION}
    return {"model": asdict(facts), "orthologs": orthologs, "slices": [asdict(report) for report in reports]}


def show_facts(facts: ModelFacts, *, loads: bool) -> None:
    """Print the architecture and the files of the model."""
    sizes = {"embedder": facts.embedder, **facts.sizes}
    if facts.vocabulary:
        sizes["vocabulary"] = facts.vocabulary
    sizes["weights"] = "loaded; they agree with the sizes" if loads else "not loaded"
    show(("model", ""), [(word, _plain(value)) for word, value in sizes.items()])
    show(
        ("file", "MB", "sha256", "published as"),
        [(f.name, f"{f.size / 1e6:.3f}", f.sha256, f.published_as) for f in facts.files],
    )


def show_reports(reports: Sequence[SliceReport]) -> None:
    """Print one line per slice, then the genes."""
    from lloki.genes import ORTHOLOG_SOURCE, ORTHOLOG_VERSION

    columns = (
        "slice",
        "genes",
        "used",
        "exact",
        "mapped",
        "dropped",
        "counts kept",
        "per cell: 25 %",
        "50 %",
        "75 %",
    )
    rows = []
    for r in reports:
        shares = [_percent(r.counts_kept), *map(_percent, r.per_cell or (None,) * 3)]
        rows.append((r.slice, r.genes, r.used, r.exact, len(r.mapped), len(r.dropped), *shares))
    show(columns, rows)
    for r in reports:
        _list(f"{r.slice}: mapped", [f"{g} → {name}" for g, name in r.mapped.items()])
        whys: dict[str, list[str]] = {}
        for gene, why in r.dropped.items():
            whys.setdefault(why.partition(" (")[0], []).append(gene)
        for why, genes in whys.items():
            _list(f"{r.slice}: dropped, {why}", genes)
        if r.problem:
            typer.secho(f"Warning: {r.slice} would be refused: {r.problem}", fg="yellow")
    if any("ortholog" in r.how.values() for r in reports):
        typer.echo(f"Orthologs: {ORTHOLOG_SOURCE}; {ORTHOLOG_VERSION}.")


def _list(title: str, names: Sequence[str]) -> None:
    if names:
        more = len(names) - _SHOWN
        shown = names if more <= 0 else [*names[:_SHOWN], f"and {more} more (--json lists all)"]
        typer.echo(f"{title} ({len(names)}): {', '.join(shown)}")


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
