"""The held-out-gene score of a run: of its embedding before the autoencoder, and of the joint one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lloki import keys
from lloki.cae import CAEModel
from lloki.cae.model import Output
from lloki.embed import HoldsOut
from lloki.evaluate import HeldOutScore, UnseenGenes, held_out_score
from lloki.evaluate.held_out import ENOUGH_GENES, TARGETS
from lloki.fp import gene_folds, log_normalize, propagate_embedding
from lloki.run.slices import SliceRecord
from lloki.run.store import load_arrays
from lloki.run.units import EmbeddingUnit

FOLDS = 3
MOST_SLICES = 10
WORSE = 0.01
# What the latent space may lose beside the network's inputs. Of all cells, sections with the same types lost
# 0.002 to 0.030, and where it was more than 0.02, the inputs matched types better. Of clusters, they lost
# 0.03 at most, and slices of cortex, one with hardly any glia, 0.036; two sections of astrocytes only, which
# the network mixed with other types, lost 0.07 and 0.16.
TAKES_AWAY = 0.02
CLUSTERS_LOST = 0.05

_KINDS = ("pairs", "clusters")

Fold = dict[str, UnseenGenes]


@dataclass(frozen=True)
class RunHeldOut:
    """Both scores, on the same cells and genes.

    Attributes
    ----------
    before, after
        Of ``X_lloki_fp`` and ``X_lloki``.
    other
        Of what the autoencoder could give in place of ``X_lloki``, with the same clusters.
    output
        What ``X_lloki`` is, see `lloki.cae.CAEConfig.output`.
    why
        Why there are none, or ``""``.
    lost
        Where the inputs took the latent space's place: `clusters_lost` by clusters of the latent space.
    """

    before: HeldOutScore
    after: HeldOutScore
    other: HeldOutScore
    output: Output = "latent"
    why: str = ""
    lost: float = float("nan")

    @property
    def figures(self) -> tuple[float, float]:
        """Mean prediction across slices before and after, both relative to that within slices before."""
        return self.before.mean, self.after.relative_to(self.before)

    @property
    def latent_and_inputs(self) -> tuple[float, float]:
        """Mean prediction across slices from the latent space and from the inputs, measured alike."""
        after, other = (score.relative_to(self.before) for score in (self.after, self.other))
        return (after, other) if self.output == "latent" else (other, after)

    @property
    def clusters_lost(self) -> float:
        """What the latent space loses of the mean profiles of clusters, where it loses most; 0 if unknown.

        Mean over the clusters of a slice, by their cells, of how much better their correlation with what the
        other slice predicts is by the inputs; the largest of all ordered pairs. Types of which all cells were
        put amid unlike ones show here, and hardly among all cells if they are few.
        """
        if not np.isnan(self.lost):
            return self.lost
        index = ["target", "source", "cluster"]
        after, other = (score.clusters.set_index(index) for score in (self.after, self.other))
        latent, inputs = (after, other) if self.output == "latent" else (other, after)
        both = latent.join(inputs["across"], rsuffix="_inputs", how="inner").dropna(
            subset=["across", "across_inputs"]
        )
        if both.empty:
            return 0.0
        lost = (both["across_inputs"] - both["across"]) * both["cells"]
        pairs = ["target", "source"]
        return float((lost.groupby(level=pairs).sum() / both["cells"].groupby(level=pairs).sum()).max())

    @property
    def network_takes_away(self) -> bool:
        """Whether the latent space predicts cells or clusters clearly worse than the network's inputs."""
        latent, inputs = self.latent_and_inputs
        return inputs - latent > TAKES_AWAY or self.clusters_lost > CLUSTERS_LOST

    @property
    def better(self) -> str:
        """Name of the embedding that predicts better across slices; the joint one where that is unknown."""
        before, after = self.figures
        return keys.FP if before > after else keys.JOINT

    @property
    def message(self) -> str:
        """What a user should know, or ``""``."""
        before, after = self.figures
        if not self.why and np.isnan(before):
            return (
                f"no two slices share {ENOUGH_GENES} genes that predict each other: whether matching cells "
                "were mixed cannot be checked without labels"
            )
        if self.output == "inputs" and self.network_takes_away:
            latent, inputs = self.latent_and_inputs
            figures = f"{latent:.2f} against {inputs:.2f}; clusters lose {max(self.clusters_lost, 0):.2f}"
            return (
                "on genes that the embedding had not seen, the autoencoder's latent space predicts across "
                f"slices worse than its inputs ({figures}): obsm['{keys.JOINT}'] "
                "holds the inputs, without offsets and shifts between batches. The setting "
                "output = 'latent' of LLOKI-CAE keeps the latent space"
            )
        if not before - after > WORSE:
            return ""
        return (
            "on genes that the embedding had not seen, the joint embedding predicts across slices worse than "
            f"the embedding before the autoencoder ({after:.2f} against {before:.2f}): "
            f"obsm['{keys.FP}'] may serve better for label transfer"
        )

    @property
    def table(self) -> pd.DataFrame:
        """A row an embedding and ordered pair of slices."""
        return _stacked(
            {
                keys.FP: self.before.table,
                keys.JOINT: self.after.table,
                _other(self.output): self.other.table,
            }
        )

    @property
    def clusters(self) -> pd.DataFrame:
        """A row an embedding, ordered pair of slices and cluster."""
        return _stacked(
            {
                keys.FP: self.before.clusters,
                keys.JOINT: self.after.clusters,
                _other(self.output): self.other.clusters,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON: figures without a value are ``None``."""
        if self.why:
            return {"before": None, "after": None, "pairs": [], "why": self.why}
        before, after = (None if np.isnan(x) else float(x) for x in self.figures)
        latent, inputs = (None if np.isnan(x) else float(x) for x in self.latent_and_inputs)
        pairs = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {
            "before": before,
            "after": after,
            "latent": latent,
            "inputs": inputs,
            "clusters_lost": self.clusters_lost,
            "output": self.output,
            "pairs": pairs,
        }


def nothing(why: str) -> RunHeldOut:
    """No score, and the reason."""
    empty = held_out_score([], clusters={})
    return RunHeldOut(empty, empty, empty, why=why)


def _other(output: Output) -> Output:
    return "inputs" if output == "latent" else "latent"


def _stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [t.assign(embedding=key) for key, t in tables.items()]
    return pd.concat(parts, ignore_index=True)[["embedding", *parts[0].columns.drop("embedding")]]


def load(path: Path, output: Output) -> RunHeldOut:
    """Read what `arrays` made of scores of this output."""
    stored, tables = load_arrays(path), {}
    for kind in _KINDS:
        columns = {k.removeprefix(f"{kind}_"): v for k, v in stored.items() if k.startswith(f"{kind}_")}
        tables[kind] = pd.DataFrame(columns)
    before, after, other = (
        HeldOutScore(*(t[t["embedding"] == key].drop(columns="embedding") for t in tables.values()))
        for key in (keys.FP, keys.JOINT, _other(output))
    )
    return RunHeldOut(before, after, other, output)


def arrays(scores: RunHeldOut) -> dict[str, NDArray[Any]]:
    """Columns of both tables, as the store keeps them."""
    text = ("embedding", "target", "source")
    return {
        f"{kind}_{name}": values.to_numpy(str if name in text else None)
        for kind, table in zip(_KINDS, (scores.table, scores.clusters))
        for name, values in table.items()
    }


def score(
    records: Sequence[SliceRecord],
    units: Mapping[str, EmbeddingUnit],
    embedder: HoldsOut,
    model: CAEModel,
    clusters: Mapping[str, NDArray[np.integer]],
    *,
    seed: int,
) -> RunHeldOut:
    """Embed slices without each of three folds of their shared genes, by the fitted models, and score that.

    Parameters
    ----------
    records, units
        Trained slices, and how each is embedded: the same propagation with the same share of neighbors.
    embedder, model
        Fitted to these slices; they have seen the genes, a cell's rows have not.
    clusters
        Slice → (n,) clusters of its cells in the joint space, whose profiles are predicted.
    seed
        Draws folds, cells and slices.

    Notes
    -----
    At most 10 slices are compared, of as many batches as possible, and 10,000 cells of each; the others of a
    large slice are neighbors in propagation. Time grows with slices x (cells x 10,000 x d) for that.
    """
    chosen = choose(records, seed)
    shared = Counter(gene for r in chosen for gene in set(r.genes))
    folds = gene_folds([gene for gene, n in shared.items() if n > 1], n_folds=FOLDS, seed=seed)
    before: list[Fold] = [{} for _ in folds]
    after: list[Fold] = [{} for _ in folds]
    other: list[Fold] = [{} for _ in folds]
    groups = {}
    for r in chosen:
        cells, found = _unseen(units[r.name], embedder, folds, seed)
        groups[r.name] = clusters[r.name][cells]
        for i, unseen in found:
            before[i][r.name] = unseen
            rows = model.encode_both(unseen.rows, r.token, slice_name=r.name)
            after[i][r.name] = replace(unseen, rows=rows[model.output])
            other[i][r.name] = replace(unseen, rows=rows[_other(model.output)])
    return RunHeldOut(
        held_out_score(before, clusters=groups, seed=seed),
        held_out_score(after, clusters=groups, seed=seed),
        held_out_score(other, clusters=groups, seed=seed),
        model.output,
    )


def choose(records: Sequence[SliceRecord], seed: int) -> list[SliceRecord]:
    """At most `MOST_SLICES`, of every batch in turn, whatever the order given."""
    ordered = sorted(records, key=lambda r: r.name)
    shuffled = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]
    seen: Counter[str] = Counter()
    turns = []
    for r in shuffled:
        turns.append(seen[r.token])
        seen[r.token] += 1
    order = np.argsort(turns, kind="stable")[:MOST_SLICES]
    return sorted((shuffled[i] for i in order), key=lambda r: r.name)


def _unseen(
    unit: EmbeddingUnit, embedder: HoldsOut, folds: Sequence[Sequence[str]], seed: int
) -> tuple[NDArray[np.int64], list[tuple[int, UnseenGenes]]]:
    """Cells of one slice, and these without the genes of each fold that it has a gene of, with its number."""
    slice_, nothing = load_arrays(unit.source), np.zeros(0, np.int64)
    names, state = slice_["genes"].tolist(), unit.summary.load() if unit.summary else None
    if unit.features is None or state is None:
        return nothing, []
    expression, observed = load_arrays(unit.features)["expression"], log_normalize(slice_["counts"])
    known = np.diff(observed.indptr) > 0
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(known))[:TARGETS]
    cells, found = np.sort(drawn), []
    if len(cells) < 2:
        return nothing, []
    alpha, shape = 0.0, (0, 0.0)
    if unit.propagation is not None:
        alpha = float(load_arrays(unit.path)["latent_alpha"])
        shape = (unit.propagation.n_neighbors, unit.propagation.bandwidth)
    number = {gene: i for i, fold in enumerate(folds) for gene in fold}
    for held in embedder.hold_out(expression, names, folds, state=state, observed=observed):
        rows = propagate_embedding(held.rows, slice_["spatial"], alpha, *shape, known=known, cells=cells)
        found.append((number[held.genes[0]], UnseenGenes(held.genes, rows, held.values[cells])))
    return cells, found
