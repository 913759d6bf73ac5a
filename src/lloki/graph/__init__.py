"""Cell graphs: who is next to whom in expression, weighted by how near they lie in space. Sparse only."""

from lloki.graph.leiden import leiden
from lloki.graph.neighbours import cosine_neighbours
from lloki.graph.spatial import spatial_bandwidth, spatial_graph

__all__ = ["cosine_neighbours", "leiden", "spatial_bandwidth", "spatial_graph"]
