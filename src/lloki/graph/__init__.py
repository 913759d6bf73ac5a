"""Cell graphs: who is next to whom in expression, weighted by how near they lie in space. Sparse only."""

from lloki.graph._leiden import leiden
from lloki.graph.knn import EXACT, Near, cosine_neighbors, mutual_nearest, nearest, unit_rows
from lloki.graph.plane import in_plane
from lloki.graph.spatial import spatial_bandwidth, spatial_graph

__all__ = [
    "EXACT",
    "Near",
    "cosine_neighbors",
    "in_plane",
    "leiden",
    "mutual_nearest",
    "nearest",
    "spatial_bandwidth",
    "spatial_graph",
    "unit_rows",
]
