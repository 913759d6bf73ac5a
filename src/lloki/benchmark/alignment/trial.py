"""The paper's test of slice alignment: genes are taken away, one slice is turned, methods put it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki.align import Rigid, kabsch
from lloki.benchmark.measured import Measured
from lloki.embed import Factor
from lloki.errors import InputError
from lloki.evaluate.alignment import alignment_quality, overlap_panels, pose_error, random_pose
from lloki.fp import log_normalize
from lloki.graph import mutual_nearest

Doubles = NDArray[np.float64]

COMPONENTS = 30  # of the PCA, as in the paper
FEWEST_SHARED = 3  # genes, for a PCA of them


@dataclass(frozen=True, eq=False)
class Placed:
    """A slice whose place in the common frame is known.

    Attributes
    ----------
    measured
        Its n cells' counts.
    xy
        (n, 2) positions in that frame.
    labels
        (n,) cell types, ``""`` where unknown; methods do not see them.
    """

    measured: Measured
    xy: Doubles
    labels: NDArray


@dataclass(frozen=True, eq=False)
class Trial:
    """Two slices that have a fraction of their common genes left, one of them moved away.

    Attributes
    ----------
    whole
        Fixed and moving slice, as they were.
    panels
        What is left of the two for methods to see.
    shared
        Genes in both.
    put
        What was done to the moving slice.
    """

    whole: tuple[Placed, Placed]
    panels: tuple[Measured, Measured]
    shared: tuple[str, ...]
    put: Rigid

    @property
    def positions(self) -> tuple[Doubles, Doubles]:
        """Positions (n, 2) and (m, 2) as methods see them."""
        return self.whole[0].xy, self.put.apply(self.whole[1].xy)

    def score(self, found: Rigid) -> dict[str, float]:
        """Score a transform, moving to fixed: error of the pose, and the paper's three measures.

        Expression is compared over all genes that both slices had at first.
        """
        fixed, moving = self.whole
        _, seen = self.positions
        both = [g for g in fixed.measured.genes if g in set(moving.measured.genes)]
        expression = tuple(log_normalize(s.measured.only(both).counts) for s in self.whole)
        quality = alignment_quality(
            fixed.xy,
            found.apply(seen),
            truth=(fixed.xy, moving.xy),
            expression=(expression[0], expression[1]),
            labels=(fixed.labels, moving.labels),
        )
        degrees, displacement = pose_error(found, self.put.inverse(), seen)
        return {"degrees": degrees, "displacement": displacement} | quality.to_dict()


def draw_trial(fixed: Placed, moving: Placed, *, overlap: float, seed: int) -> Trial:
    """Take genes away, and turn and shift the moving slice at random.

    Parameters
    ----------
    fixed, moving
        In one frame, with genes in common; genes that only one has stay.
    overlap
        Fraction of the common genes that stay common; of the others, each slice keeps half.
    seed
        Random seed.

    Raises
    ------
    ConfigError
        If ``overlap`` is not between 0 and 1.
    """
    both = [g for g in fixed.measured.genes if g in set(moving.measured.genes)]
    drawn = overlap_panels(both, overlap, seed=seed)
    kept = []
    for placed, panel in zip((fixed, moving), drawn):
        stays = set(panel) | (set(placed.measured.genes) - set(both))
        kept.append(placed.measured.only([g for g in placed.measured.genes if g in stays]))
    shared = tuple(g for g in drawn[0] if g in set(drawn[1]))
    return Trial((fixed, moving), (kept[0], kept[1]), shared, random_pose(moving.xy, seed=seed))


def joint_embedding(slices: Sequence[Measured], reference: Measured) -> list[NDArray[np.float32]]:
    """Joint embedding (n_i, K) of slices by the factor model, on log-normalized counts as they are.

    The reference and the genes are all that links slices. It takes a second where a whole run takes minutes,
    and is what a run begins with.
    """
    wanted = set().union(*(s.genes for s in slices))
    known = reference.only([g for g in reference.genes if g in wanted])
    model = Factor()
    expression = [log_normalize(s.counts) for s in slices]
    summaries = {str(i): model.summarize(x, s.genes) for i, (x, s) in enumerate(zip(expression, slices))}
    # normalized over all genes of the reference, then cut: cells keep their totals
    columns = [i for i, g in enumerate(reference.genes) if g in wanted]
    linked = sparse.csr_matrix(log_normalize(reference.counts)[:, columns])
    model.fit(summaries, model.summarize(linked, known.genes))
    return [
        model.embed(x, s.genes, state=summaries[str(i)]) for i, (x, s) in enumerate(zip(expression, slices))
    ]


def shared_pca(trial: Trial) -> list[Doubles]:
    """Principal components (n, 30) of both slices over the shared genes, each slice standardized by itself.

    Raises
    ------
    InputError
        With fewer than three shared genes.
    """
    if len(trial.shared) < FEWEST_SHARED:
        raise InputError(f"{len(trial.shared)} shared genes are too few for a PCA")
    parts = [log_normalize(p.only(trial.shared).counts).toarray() for p in trial.panels]
    both = np.concatenate([(x - x.mean(0)) / np.maximum(x.std(0), 1e-6) for x in parts])
    axes = np.linalg.svd(both, full_matrices=False)[2]
    scores = both @ axes[:COMPONENTS].T
    return [scores[: len(parts[0])], scores[len(parts[0]) :]]


def nearest_kabsch(embeddings: Sequence[NDArray], positions: tuple[Doubles, Doubles]) -> Rigid:
    """Mutual nearest neighbors by cosine, and Kabsch without weights: the paper's method.

    With fewer than three pairs, nothing is moved.
    """
    i, j = mutual_nearest(*embeddings)
    try:
        return kabsch(positions[1][j], positions[0][i])
    except InputError:
        return Rigid.make(0)
