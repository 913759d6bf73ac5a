"""Figures of lloki's results, on AnnData: ``lloki.pl.umap(joint, color="technology")``.

Every function returns a matplotlib ``Figure`` that belongs to nobody: save it with ``figure.savefig(...)``,
or make it the last line of a notebook cell (after ``%matplotlib inline``).
"""

from lloki.pl.alignment import aligned, deformation, overlay, residuals, rotations
from lloki.pl.genes import gene
from lloki.pl.labels import confusion, imputation_scores, imputed, reliability
from lloki.pl.maps import losses, sparsity, spatial, umap
from lloki.pl.neighborhoods import program, program_in_space
from lloki.pl.programs import affinity, domains, enrichment, metagene, moran

__all__ = [
    "affinity",
    "aligned",
    "confusion",
    "deformation",
    "domains",
    "enrichment",
    "gene",
    "imputation_scores",
    "imputed",
    "losses",
    "metagene",
    "moran",
    "overlay",
    "program",
    "program_in_space",
    "reliability",
    "residuals",
    "rotations",
    "sparsity",
    "spatial",
    "umap",
]
