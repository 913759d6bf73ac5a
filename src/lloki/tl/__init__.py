"""The method on AnnData: its stages one by one, and what is done with their result.

``align_features``, ``embed`` and ``align_batches`` take the user's own AnnData, one section each, and write
slots into it; ``X`` is never changed, and neither are the cells or their order. What they read is checked by
:func:`lloki.io.read_slices` first, every time; what it warns of is said once only if the slices passed are
ones that it returned. The three in this order give what :func:`lloki.integrate` gives for the same slices in
memory.

The others take all slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
"""

from lloki.tl.alignment import align_slices
from lloki.tl.imputation import impute
from lloki.tl.labels import annotate_by_markers, transfer_labels
from lloki.tl.neighborhoods import neighborhood_program
from lloki.tl.program_measures import enrichment, gene_loadings, moran
from lloki.tl.programs import domains, metagenes
from lloki.tl.stages import align_batches, align_features, embed

__all__ = [
    "align_batches",
    "align_features",
    "align_slices",
    "annotate_by_markers",
    "domains",
    "embed",
    "enrichment",
    "gene_loadings",
    "impute",
    "metagenes",
    "moran",
    "neighborhood_program",
    "transfer_labels",
]
