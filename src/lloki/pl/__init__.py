"""Figures of lloki's results, on AnnData: ``lloki.pl.umap(joint, color="technology")``.

Every function draws on matplotlib Axes and returns them: one, or a list where it draws several panels.
``ax=`` draws on yours, ``save=`` writes a file, and ``ax.figure`` is the figure. Figures show in notebooks by
themselves.
"""

from lloki.pl.alignment import aligned, deformation, overlay, residuals, rotations
from lloki.pl.cells import spatial, umap
from lloki.pl.interactive_view import Interactive, interactive
from lloki.pl.labels import confusion, imputation_scores, imputed, reliability
from lloki.pl.neighborhoods import neighborhood_program, neighborhood_program_map
from lloki.pl.programs import affinity, domains, enrichment, metagene, moran
from lloki.pl.training import losses, sparsity

__all__ = [
    "Interactive",
    "affinity",
    "aligned",
    "confusion",
    "deformation",
    "domains",
    "enrichment",
    "imputation_scores",
    "imputed",
    "interactive",
    "losses",
    "metagene",
    "moran",
    "neighborhood_program",
    "neighborhood_program_map",
    "overlay",
    "reliability",
    "residuals",
    "rotations",
    "sparsity",
    "spatial",
    "umap",
]
