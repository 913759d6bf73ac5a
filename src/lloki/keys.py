"""Names of the AnnData slots that lloki reads and writes: their one home."""

from __future__ import annotations

# obsm
FP = "X_lloki_fp"  # (n, d) feature-aligned embedding, one space for every panel; still holds batch effects
METAGENES = "X_lloki_metagenes"  # (n, K) states of cells in the metagenes (tl.metagenes)
JOINT = "X_lloki"  # (n, 128) batch-free, non-negative embedding
UMAP = "X_umap"  # (n, 2)
SPATIAL = "spatial"  # (n, 2|3) centroids
ALIGNED = "spatial_aligned"  # (n, 2|3) centroids in the frame of one slice; NaN where that is not known

# varm
MEASURED = (
    "lloki_measured"  # (g, slices) bool: which slice measured which gene; columns as uns["lloki"]["slices"]
)

# layers
DENOISED = "lloki_fp"  # (n, g) feature-propagated, denoised expression of a slice (tl.align_features)

# obs
SLICE = "slice"  # unique name of a section
SAMPLE = "sample"  # name of the input that the section came from
TECHNOLOGY = "technology"
PANEL = "panel"
TOKEN = "lloki_token"  # technology x panel: the batch that LLOKI-CAE is conditioned on
FLAG = "lloki_flag"  # "" or why a cell's row must be read with care, e.g. "no counts"
CLUSTER = "lloki_cluster"  # Leiden clusters of X_lloki
DOMAIN = "lloki_domain"  # spatial domain, one name over all slices (tl.domains)
DOMAIN_CONFIDENCE = "lloki_domain_confidence"  # 0 to 1
SPARSITY = "lloki_sparsity"  # fraction of zero genes of a cell after LLOKI-FP (tl.align_features)
SPARSITY_TARGET = "lloki_sparsity_target"  # the fraction it was to have
IN_OVERLAP = "lloki_in_overlap"  # whether a cell lies where the fixed slice has tissue (tl.align_slices)
MATCH = "lloki_match"  # name of the cell of the fixed slice that it is matched with, or ""
MATCH_CONFIDENCE = "lloki_match_confidence"  # of that pair, 0 to 1
LABEL = "lloki_label"  # cell type, given or carried over (tl.transfer_labels); "unknown" where in doubt
LABEL_BEST = "lloki_label_best"  # the likeliest type, believed or not
LABEL_CONFIDENCE = "lloki_label_confidence"  # probability that it is right; NaN where it was given
LABEL_NOVELTY = "lloki_label_novelty"  # near 0 for a cell unlike all labeled ones
MARKER_TYPE = "lloki_marker_type"  # cell type told by markers (tl.annotate_by_markers), or "unknown"
MARKER_CONFIDENCE = "lloki_marker_confidence"  # its probability by the model; not calibrated
NEIGHBOR_SHARE = "lloki_neighbor_share"  # of a type around each focal cell (tl.neighborhood_program)
FOCAL_CLUSTER = "lloki_focal_cluster"  # Leiden cluster among the focal cells
INFILTRATING = "lloki_infiltrating"  # "yes" in clusters rich in that share, else "no"
PROGRAM_SCORE = "lloki_program_score"  # signed score of the program's genes
OURS_OBS = (SLICE, SAMPLE, TECHNOLOGY, PANEL, TOKEN, FLAG, CLUSTER)

# uns
UNS = "lloki"  # parameters, versions, hashes, seed

# suffix of an input obs column whose name is ours
INPUT_SUFFIX = "_input"
