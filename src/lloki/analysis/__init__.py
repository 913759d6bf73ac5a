"""What people do with the embedding: gene programs, spatial domains. Arrays in, arrays out."""

from lloki.analysis.domain_config import DomainConfig, Domains
from lloki.analysis.domains import find_domains
from lloki.analysis.enrichment import by_maximum, consistency, enrichment, match_metagenes
from lloki.analysis.loadings import gene_loadings, top_genes
from lloki.analysis.moran import moran
from lloki.analysis.programs import ProgramConfig, Programs, fit_programs
from lloki.analysis.spatial_graph import spatial_neighbours

__all__ = [
    "DomainConfig",
    "Domains",
    "ProgramConfig",
    "Programs",
    "by_maximum",
    "consistency",
    "enrichment",
    "find_domains",
    "fit_programs",
    "gene_loadings",
    "match_metagenes",
    "moran",
    "spatial_neighbours",
    "top_genes",
]
