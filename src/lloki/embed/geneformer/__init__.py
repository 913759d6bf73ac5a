"""Geneformer-style rank-token models behind the embedder protocol; needs the extra ``geneformer``."""

from lloki.embed.geneformer.embedder import Geneformer

__all__ = ["Geneformer"]
