"""Cell graphs: who is next to whom in expression, weighted by how near they lie in space. Sparse only."""

from lloki.graph.leiden import leiden
from lloki.graph.neighbors import cosine_neighbors
from lloki.graph.spatial import spatial_bandwidth, spatial_graph

__all__ = ["cosine_neighbors", "leiden", "spatial_bandwidth", "spatial_graph"]
