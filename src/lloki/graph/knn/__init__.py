"""Nearest neighbors by cosine similarity: the one search behind every stage and analysis.

`cosine_neighbors` searches within one set of cells, `nearest` among those of another. Both take dense or
sparse rows, compare every pair exactly, and order by one rule: larger cosine first, computed in float64 and
rounded to multiples of 2^-40; of equal cosines the lower index first. Results do not depend on threads,
blocks or the BLAS library.

Training searches on whichever device it runs on, in tensors: see :mod:`lloki.graph.knn.tensors`.
"""

from lloki.graph.knn.result import Near
from lloki.graph.knn.search import EXACT, cosine_neighbors, mutual_nearest, nearest
from lloki.graph.knn.vectors import unit_rows

__all__ = ["EXACT", "Near", "cosine_neighbors", "mutual_nearest", "nearest", "unit_rows"]
