"""The method on AnnData: its stages one by one, and analyses of the joint embedding.

Every function writes its results into the AnnData it is given, into slots that ``key_added`` names, and its
parameters into ``uns["lloki"]``, and returns a result object. ``X``, the cells and their order are never
changed; imputed expression is a new AnnData.

``align_features``, ``embed`` and ``align_batches`` take one AnnData per slice. Input is checked by
:func:`lloki.io.read_slices` on every call. The three in this order give the result of :func:`lloki.integrate`
for the same slices in memory.

The others take all slices in one AnnData, as :func:`lloki.integrate` returns, or one AnnData each.
"""

from lloki.tl.alignment import align_slices
from lloki.tl.comparison import compare
from lloki.tl.imputation import impute
from lloki.tl.label_transfer import transfer_labels
from lloki.tl.marker_annotation import annotate_by_markers
from lloki.tl.neighborhoods import neighborhood_program
from lloki.tl.program_measures import enrichment, gene_loadings, moran
from lloki.tl.programs import domains, metagenes
from lloki.tl.stages import align_batches, align_features, embed

__all__ = [
    "align_batches",
    "align_features",
    "align_slices",
    "annotate_by_markers",
    "compare",
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
