"""Names of the AnnData slots that lloki reads and writes: their one home.

Where one call writes several slots, ``key_added`` names the first and the others are it with a suffix.
"""

from __future__ import annotations

# obsm
FP = "X_lloki_fp"  # (n, d) feature-aligned embedding, one space for every panel; still holds batch effects
METAGENES = "X_lloki_metagenes"  # (n, K) states of cells in the metagenes (tl.metagenes)
JOINT = "X_lloki"  # batch-free embedding: (n, 128) non-negative latent space, or the network's inputs
LATENT = "X_lloki_latent"  # (n, 128) the latent space, only where X_lloki is the inputs
UMAP = "X_umap"  # (n, 2)
SPATIAL = "spatial"  # (n, 2|3) centroids
ALIGNED = "spatial_aligned"  # (n, 2|3) centroids in the frame of one slice; NaN where that is not known

# layers
COUNTS = "counts"  # (n, g) raw counts, which stay when X is normalized
# varm
MEASURED = (
    "lloki_measured"  # (g, slices) bool: which slice measured which gene; columns as uns["lloki"]["slices"]
)

# layers
DENOISED = "lloki_fp"  # (n, g) feature-propagated, denoised expression of a slice (tl.align_features)

# obs
CELL_ID = "cell_id"  # a cell's own name in its file or its instrument's, whatever it is called later
SLICE = "slice"  # unique name of a section
SAMPLE = "sample"  # name of the input that the section came from
TECHNOLOGY = "technology"
PANEL = "panel"
TOKEN = "lloki_token"  # technology x panel: the batch that LLOKI-CAE is conditioned on
FLAG = "lloki_flag"  # "" or why a cell's row must be read with care, e.g. "no counts"
CLUSTER = "lloki_cluster"  # Leiden clusters of X_lloki
DOMAIN = "lloki_domain"  # spatial domain, shared by all slices (tl.domains)
DOMAIN_CONFIDENCE = f"{DOMAIN}_confidence"  # 0 to 1
SPARSITY = f"{DENOISED}_sparsity"  # fraction of zero genes of a cell after LLOKI-FP (tl.align_features)
SPARSITY_TARGET = f"{DENOISED}_sparsity_target"  # its target
IN_OVERLAP = f"{ALIGNED}_in_overlap"  # whether a cell is where the fixed slice has tissue (tl.align_slices)
MATCH = f"{ALIGNED}_match"  # name of the cell of the fixed slice that it is matched with, or ""
MATCH_CONFIDENCE = f"{ALIGNED}_match_confidence"  # of that pair, 0 to 1
LABEL = "lloki_label"  # cell type, given or transferred (tl.transfer_labels), or "unknown"
LABEL_BEST = f"{LABEL}_best"  # the most likely type, whatever its confidence
LABEL_CONFIDENCE = f"{LABEL}_confidence"  # probability that it is correct; NaN where it was given
LABEL_NOVELTY = f"{LABEL}_novelty"  # near 0 for a cell unlike all labeled ones
MARKER_TYPE = "lloki_marker_type"  # cell type by markers (tl.annotate_by_markers), or "unknown"
MARKER_CONFIDENCE = f"{MARKER_TYPE}_confidence"  # its probability by the model; not calibrated
NEIGHBORHOOD = "lloki_neighborhood"  # prefix of what tl.neighborhood_program writes
NEIGHBOR_SHARE = f"{NEIGHBORHOOD}_share"  # of the neighbor type around each focal cell
FOCAL_CLUSTER = f"{NEIGHBORHOOD}_cluster"  # Leiden cluster among the focal cells
INFILTRATING = f"{NEIGHBORHOOD}_infiltrating"  # "yes" in clusters rich in that share, else "no"
NEIGHBORHOOD_SCORE = f"{NEIGHBORHOOD}_score"  # signed score of the neighborhood program
COMPARE = "lloki_compare"  # prefix of what tl.compare writes
OURS_OBS = (SLICE, SAMPLE, TECHNOLOGY, PANEL, TOKEN, FLAG, CLUSTER)

# uns
UNIT = "spatial_unit"  # of obsm["spatial"]: "micrometre", "pixel"…, absent where it is not known
NOTES = "lloki_notes"  # what a reader of an instrument's folder decided, for the user
UNS = "lloki"  # parameters, versions, hashes, seed
UNLIKE_REFERENCE = "unlike_reference"  # in UNS: slices whose genes do not go together as in the reference
NEAREST_TYPES = "nearest_reference_types"  # in UNS, by cluster: type of most near reference cells, its share

# suffix of an input obs column whose name is ours
INPUT_SUFFIX = "_input"
